//! Renewing: a fresh certificate for an old one and the same key.

use std::time::Duration;

use covenant_types::WallTime;

use crate::authority::{CLOCK_SLACK, later};
use crate::x509::{CertificateError, check_csr, parse_certificate};
use crate::{NodeGrant, PeerIdentity, Subject};

/// How long after its end a node's certificate can be renewed: a long cut must not kill a region.
pub const RENEWAL_GRACE: Duration = Duration::from_hours(14 * 24);

/// Decides whether a node may have a fresh certificate for an old one, and returns what to grant it.
///
/// `issuers` are the certificates, DER, of authorities of `cluster` that may have signed the old one. The caller checks its
/// deny-list.
///
/// # Errors
/// The old certificate is none of ours, ended too long ago, or the request is by another key.
pub fn check_renewal<C: AsRef<[u8]>>(
    old_certificate: &[u8],
    csr: &[u8],
    cluster: &str,
    issuers: &[C],
    now: WallTime,
) -> Result<NodeGrant, RenewalError> {
    let identity = PeerIdentity::from_certificate(old_certificate)?;
    let parsed = parse_certificate(old_certificate)?;
    let signed_by = |issuer: &C| {
        parse_certificate(issuer.as_ref())
            .is_ok_and(|issuer| issuer.is_authority && parsed.is_signed_by(&issuer.public_key))
    };
    if identity.trust_domain != cluster || !issuers.iter().any(signed_by) {
        return Err(RenewalError::Foreign);
    }
    if check_csr(csr)? != identity.public_key {
        return Err(RenewalError::OtherKey);
    }
    if identity.not_before > later(now, CLOCK_SLACK) {
        return Err(RenewalError::NotYet);
    }
    if now >= later(identity.not_after, RENEWAL_GRACE) {
        return Err(RenewalError::TooLate);
    }
    match identity.subject {
        Subject::Node { grant, .. } => Ok(grant),
        Subject::Operator { .. } => Err(RenewalError::NotANode),
    }
}

/// When to renew a certificate that counts from `not_before` to `not_after`: at half its life.
pub fn renew_at(not_before: WallTime, not_after: WallTime) -> WallTime {
    WallTime(not_before.0 + not_after.0.saturating_sub(not_before.0) / 2)
}

/// Why a certificate is not renewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// Certificate or request cannot be read.
    #[error("certificate or signing request: {0}")]
    Certificate(#[from] CertificateError),
    /// No authority of this cluster signed it.
    #[error("no authority of this cluster signed it")]
    Foreign,
    /// The request is by another key.
    #[error("the signing request is by another key")]
    OtherKey,
    /// The certificate lies in the future.
    #[error("it does not count yet")]
    NotYet,
    /// It ended 14 days ago or more. The node must join again.
    #[error("it ended more than 14 days ago, join again with a new token")]
    TooLate,
    /// It is an operator's.
    #[error("it is not a node's")]
    NotANode,
}
