//! Who is who: keys, certificates, join tokens, and what an operator may do.
//!
//! # Intuition
//! A node is its key. A certificate says what the cluster calls it, and lasts a day. A token lets one stranger in, once.
//!
//! # Invariants
//! - No clock is read: every judgement about time takes `now`.
//! - Nothing secret is printed: `Debug` of keys, tokens and requests shows their public part.
//! - Every input is hostile: lengths are checked before anything is parsed or allocated.
//!
//! # Reading order
//! 1. [`NodeKey`]  2. [`RootAuthority`], [`IssuingAuthority`]  3. [`PeerIdentity`]  4. [`JoinToken`], [`TokenBook`]
//! 5. [`OperatorRole`], [`Verb`]
#![deny(clippy::disallowed_methods)]

mod key;

pub use key::{KeyError, NodeKey, node_id_of, verify};
