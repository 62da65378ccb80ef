//! What clients and the node say to each other. Two programs share a file such as this one.

use ractor::RpcReplyPort;
use ractor_cluster::RactorClusterMessage;

/// To a counter.
#[derive(RactorClusterMessage, Debug)]
pub(crate) enum Counter {
    /// Adds to it.
    Add(u64),
    /// Answers how much it is.
    #[rpc]
    Total(RpcReplyPort<String>),
    /// Answers after so many milliseconds.
    #[rpc]
    Hold(u64, RpcReplyPort<String>),
    /// Answers, and crashes at once.
    #[rpc]
    LastWord(RpcReplyPort<String>),
    /// Takes the call and never answers it.
    #[rpc]
    Forget(RpcReplyPort<String>),
    /// Ends for good.
    Retire,
}
