//! What is sent.

use ractor::RpcReplyPort;
use ractor_cluster::RactorClusterMessage;

/// To an actor of the callee's.
#[derive(RactorClusterMessage)]
pub(crate) enum Ask {
    /// Answers the same.
    #[rpc]
    Echo(Vec<u8>, RpcReplyPort<Vec<u8>>),
    /// Is taken.
    Take(Vec<u8>),
    /// Is taken, and every tenth of them takes a millisecond.
    TakeSlowly(Vec<u8>),
    /// Answers how many nanoseconds lay between the first that was taken and the last, and forgets them.
    #[rpc]
    Took(RpcReplyPort<u64>),
    /// Answers, and stops right after.
    #[rpc]
    Last(RpcReplyPort<u64>),
}

/// The group of the one actor that is asked most.
pub(crate) const WORKER: &str = "worker";
/// The group of those that stop after their answer.
pub(crate) const LAST: &str = "last";
