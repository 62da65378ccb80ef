//! Who is who: keys, certificates, join tokens, and what an operator may do.
//!
//! # Intuition
//! A node is its key. A certificate says what the cluster calls it, and lasts a day. A token lets one stranger in, once. A
//! denial, signed like a certificate, keeps somebody out.
//!
//! # Invariants
//! - No clock is read: every judgement about time takes `now`.
//! - Nothing secret is printed: `Debug` of keys, tokens and requests shows their public part.
//! - Every input is hostile: lengths are checked before anything is parsed or allocated.
//!
//! # Not here
//! TLS. Whether a chain is to be believed is decided by the transport's verifiers; this reads what a certificate says.
//!
//! # Reading order
//! 1. [`NodeKey`]  2. [`RootAuthority`], [`IssuingAuthority`]  3. [`PeerIdentity`]  4. [`JoinToken`], [`TokenBook`]
//! 5. [`OperatorRole`], [`Verb`]  6. [`Denial`], [`DenyList`]  7. [`TrustedRoots`], [`TimeFloor`]
#![deny(clippy::disallowed_methods)]

mod access;
mod authority;
mod certificate;
mod chain;
mod denial;
mod deny_list;
#[doc(hidden)]
pub mod fuzz;
mod key;
mod pem;
mod renewal;
mod roots;
mod scope;
mod spiffe;
mod time_floor;
mod token;
mod token_book;
mod trust_mark;
mod x509;

pub use access::{OperatorName, OperatorNameError, OperatorRole, UnknownRole, Verb, allows};
pub use authority::{
    AuthorityError, ISSUING_LIFETIME, IssuingAuthority, NODE_LIFETIME, OPERATOR_LIFETIME, ROOT_LIFETIME, RootAuthority,
    fingerprint, make_csr,
};
pub use certificate::MintError;
pub use chain::{ChainError, counts_from, verify_chain};
pub use denial::{DENIAL_BYTES_MAX, Denial, DenialError, Denied, REASON_CHARS_MAX, SignedDenial};
pub use deny_list::{DENIALS_MAX, DENY_LIST_BYTES_MAX, DenyList, Taken};
pub use key::{KeyError, NodeKey, node_id_of, verify};
pub use pem::{PemError, certificates_from_pem, certificates_to_pem};
pub use renewal::{RENEWAL_GRACE, RenewalError, check_renewal, renew_at, retry_after};
pub use roots::{Adoption, HISTORY_BYTES_MAX, RetiredRoot, RootsError, RotationPhase, TrustedRoots};
pub use scope::{OutOfScope, Scope, UnknownScope, check_scope};
pub use spiffe::{NodeGrant, PeerIdentity, Subject, is_cluster_name};
pub use time_floor::{CLOCK_TOLERANCE, ClockVerdict, HUBS_ASKED, KnownTimes, TimeFloor};
pub use token::{ADDRESSES_MAX, JoinToken, TokenId, TokenTextError};
pub use token_book::{
    IssueError, RedeemError, TOKEN_LIFETIME_MAX, TOKENS_MAX, TokenBook, TokenDraw, TokenIssuer, TokenState, TokenView,
};
pub use trust_mark::{TrustMark, root_print};
pub use x509::{CertificateError, DER_BYTES_MAX, authority_ends, check_csr, key_id_of};
