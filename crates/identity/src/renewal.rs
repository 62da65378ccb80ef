//! Renewing: a fresh certificate for an old one and the same key.

use std::time::Duration;

use covenant_types::WallTime;

use crate::authority::{CLOCK_SLACK, later};
use crate::x509::{CertificateError, check_csr};
use crate::{ChainError, NodeGrant, Scope, Subject, TrustedRoots, counts_from};

/// How long after its end a node's certificate can be renewed: a long cut must not kill a region.
pub const RENEWAL_GRACE: Duration = Duration::from_hours(14 * 24);
/// The pause after the first attempt that failed, before jitter.
const RETRY_MIN: Duration = Duration::from_secs(15);
/// The longest pause, before jitter. Half of a certificate's life has 70 of them.
const RETRY_MAX: Duration = Duration::from_mins(10);

/// Decides whether a node may have a fresh certificate for an old one, and returns what to grant it.
///
/// `chain` is the old certificate and those above it, DER; any issuing authority of the cluster may have signed it. `scope` is
/// what the authority that is asked may sign for. The caller checks its deny-list.
///
/// # Errors
/// The old certificate is none of ours, ended too long ago, the request is by another key, or another authority must be asked.
pub fn check_renewal<C: AsRef<[u8]>>(
    chain: &[C],
    csr: &[u8],
    trusted: &TrustedRoots,
    scope: Scope,
    now: WallTime,
) -> Result<NodeGrant, RenewalError> {
    // It may have ended: it is judged as of its first moment.
    let identity = trusted.verify_chain(chain, counts_from(chain))?;
    if check_csr(csr)? != identity.public_key {
        return Err(RenewalError::OtherKey);
    }
    if identity.not_before > later(now, CLOCK_SLACK) {
        return Err(RenewalError::NotYet);
    }
    if now >= later(identity.not_after, RENEWAL_GRACE) {
        return Err(RenewalError::TooLate);
    }
    if !scope.permits(&identity.subject) {
        return Err(RenewalError::OutOfScope(scope));
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

/// How long to wait after the `failures`th attempt in a row that failed: twice as long each time up to ten minutes, and
/// between half and one and a half times that by `draw`, a random number: nodes that were cut off together do not come back
/// together.
pub fn retry_after(failures: u32, draw: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let pause = RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX);
    pause / 2 + pause.mul_f64(f64::from(draw) / f64::from(u32::MAX))
}

/// Why a certificate is not renewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// Certificate or request cannot be read.
    #[error("certificate or signing request: {0}")]
    Certificate(#[from] CertificateError),
    /// No authority of this cluster signed it.
    #[error("no authority of this cluster signed it: {0}")]
    Foreign(#[from] ChainError),
    /// The request is by another key.
    #[error("the signing request is by another key")]
    OtherKey,
    /// The certificate lies in the future.
    #[error("it does not count yet")]
    NotYet,
    /// It ended 14 days ago or more. The node must join again.
    #[error("it ended more than 14 days ago, join again with a new token")]
    TooLate,
    /// The authority that was asked signs for another region.
    #[error("this hub signs for {0} only, ask one of the node's own region")]
    OutOfScope(Scope),
    /// It is an operator's.
    #[error("it is not a node's")]
    NotANode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes_and_are_spread() {
        assert_eq!(retry_after(1, 0), Duration::from_millis(7_500));
        assert_eq!(retry_after(2, 0), Duration::from_secs(15));
        for failures in [7, 100, u32::MAX] {
            assert_eq!(retry_after(failures, 0), RETRY_MAX / 2);
            assert_eq!(retry_after(failures, u32::MAX), RETRY_MAX + RETRY_MAX / 2);
        }
    }
}
