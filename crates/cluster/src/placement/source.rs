//! Where leases come from.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use covenant_types::{ActorPath, Fence, NodeId};

/// The shortest lease.
pub const LEASE_SPAN_MIN: Duration = Duration::from_millis(100);
/// The longest lease.
pub const LEASE_SPAN_MAX: Duration = Duration::from_secs(600);

/// An answer of a source, when it comes.
pub type LeaseAnswer<T> = Pin<Box<dyn Future<Output = Result<T, LeaseError>> + Send>>;

/// Grants leases, one at a time for each key.
///
/// A source counts a lease from when it grants it, with a clock that does not stand still in suspend, and gives it to nobody
/// else before it is over. Of all grants of a key a later one has a higher token.
pub trait LeaseSource: Send + Sync + 'static {
    /// Grants `holder` the lease of `key` for `span`. Whoever holds it already gets a higher token: it may have forgotten.
    fn acquire(&self, key: ActorPath, holder: NodeId, span: Duration) -> LeaseAnswer<Fence>;

    /// Lets the lease last `span` from now on, under the same token.
    fn renew(&self, fence: Fence, holder: NodeId, span: Duration) -> LeaseAnswer<()>;

    /// Ends the lease, so that another may have it at once. Changes nothing where it was over.
    fn release(&self, fence: Fence, holder: NodeId) -> LeaseAnswer<()>;
}

/// Why there is no lease. Nothing may be done under it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Another node has it. Trying again later may help.
    #[error("{by} holds the lease for up to {} ms more", left.as_millis())]
    Held {
        /// Who.
        by: NodeId,
        /// For how long at most, unless it is renewed.
        left: Duration,
    },
    /// It is over, or another grant followed it.
    #[error("the lease is over")]
    Lost,
    /// The source cannot be reached, or does not decide now. Trying again may help.
    #[error("the source of leases cannot be reached")]
    Unreachable,
    /// The span is out of bounds.
    #[error("a lease lasts {} ms to {} s", LEASE_SPAN_MIN.as_millis(), LEASE_SPAN_MAX.as_secs())]
    BadSpan,
    /// The source says no, and will again. Nothing was done.
    #[error("the source of leases refuses: {0}")]
    Refused(String),
    /// There are too many leases.
    #[error("there are too many leases: {0}")]
    Full(&'static str),
}
