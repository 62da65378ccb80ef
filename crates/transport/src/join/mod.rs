//! Joining and renewing: how a node gets a certificate from an issuing hub.
//!
//! # Intuition
//! Who joins has no certificate yet, so only the server proves itself: its chain must end in the root whose fingerprint the
//! token carries. Then the joiner sends the token's secret and a signing request; its key never leaves it. Renewing is the
//! same with the old certificate in place of a token. It works for a node whose certificate has ended, and nothing else is
//! served on such a connection: one request, one answer, limits on both.

mod client;
mod limits;
mod server;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use covenant_types::{NodeId, NodeName, WallTime};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use client::{JoinError, Renewal, Renewed, ask_time, join, renew};
pub(crate) use limits::{AttemptLimit, FAILURES_MAX, REQUESTS_MAX, network};
pub(crate) use server::JoinService;

/// What a joiner asks.
#[derive(Clone, Serialize, Deserialize)]
pub enum JoinRequest {
    /// A certificate for a token.
    Redeem {
        /// Which token.
        token_id: [u8; 16],
        /// Its secret.
        secret: [u8; 32],
        /// The signing request, DER.
        csr: Vec<u8>,
    },
    /// A fresh certificate for one that ends, or ended not long ago, same key.
    Renew {
        /// The certificate and those above it, DER, its own first.
        chain: Vec<Vec<u8>>,
        /// The signing request, DER.
        csr: Vec<u8>,
    },
    /// What time it is, for who cannot rely on its own clock. Answered with a date.
    Time,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Redeem { token_id, .. } => {
                f.debug_struct("Redeem").field("token_id", token_id).finish_non_exhaustive()
            }
            Self::Renew { .. } => f.debug_struct("Renew").finish_non_exhaustive(),
            Self::Time => f.write_str("Time"),
        }
    }
}

/// What a joiner gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// Its certificate and those that vouch for it up to the root, DER, its own first and the root last.
    pub chain: Vec<Vec<u8>>,
    /// The cluster's name.
    pub cluster: String,
    /// Nodes to dial first.
    pub seeds: Vec<(NodeName, NodeId, SocketAddr)>,
    /// The node that keeps the ledger's book.
    pub book_home: NodeName,
    /// Statements about the cluster's roots, empty where there are none: see [`covenant_identity::TrustedRoots::to_bytes`].
    pub roots: Vec<u8>,
}

/// Why a joiner gets nothing. Nothing was changed unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The token is unknown here, its secret wrong, or another node issued it. One answer for all, to tell a guesser nothing.
    #[error("the token is not valid here: it was mistyped, withdrawn, or issued by another node")]
    UnknownToken,
    /// The token has been used. Ask for a new one.
    #[error("the token was used already: each token admits one node, create another")]
    UsedToken,
    /// The token has expired. Ask for a new one.
    #[error("the token has expired, create another")]
    ExpiredToken,
    /// The signing request is malformed or does not prove its key.
    #[error("the signing request is not valid: {0}")]
    BadRequest(String),
    /// The old certificate cannot be renewed.
    #[error("the certificate cannot be renewed: {0}")]
    NotRenewable(String),
    /// The old certificate ended too long ago.
    #[error("the certificate ended more than 14 days ago, join again with a new token")]
    EndedTooLongAgo,
    /// Too many attempts from this address: five that failed, or sixty of any kind, within a minute.
    #[error("too many attempts from this address, try again in {} s", .retry_after.as_secs().max(1))]
    TooManyAttempts {
        /// When to try again.
        retry_after: Duration,
    },
    /// This node does not admit others.
    #[error("this node does not issue certificates")]
    NotAnIssuer,
    /// The key is on the deny-list. Nothing was changed; only a new key helps.
    #[error("the key was revoked and is let in nowhere any more: make a new node")]
    Revoked,
    /// The node does not rely on its own clock, and gives nobody a time by it. Ask another.
    #[error("the issuing node doubts its own clock, ask another")]
    ClockDoubted,
    /// The node failed; its log says why. The token may have been used up.
    #[error("the issuing node failed, its log says why")]
    Internal,
}

/// Redeems tokens and renews certificates; the node that runs an issuing authority implements it.
pub trait Issuer: Send + Sync + 'static {
    /// Decides about one request. A token must be durably used up before this answers.
    fn handle(&self, request: JoinRequest, from: IpAddr) -> BoxFuture<'static, Result<JoinAnswer, JoinRefusal>>;

    /// The date, for those whose clock is not to be relied on.
    ///
    /// # Errors
    /// This node issues nothing, or does not rely on its own clock either.
    fn time(&self) -> Result<WallTime, JoinRefusal>;
}

/// The protocol a joiner names in its TLS hello.
pub const JOIN_ALPN: &[u8] = b"covenant-join/1";

/// The longest request.
pub(crate) const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// The longest answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long one request may take from its connection to its answer.
pub(crate) const JOIN_DEADLINE: Duration = Duration::from_secs(15);
