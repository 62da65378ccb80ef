//! Groups over the connections of a node: a [`Network`](crate::Network) on streams, and who serves what arrives on them.
//!
//! # Intuition
//! A node has one stream to each other node for each [`Lane`](crate::Lane), which all groups share and which stays open: a
//! request names its group and has a number, and its answer bears the number. So many requests are under way on one stream,
//! none waits for the answer to another one, and no stream is opened while somebody waits.
//!
//! # Invariants
//! - Of what a peer sends, at most [`STREAM_BYTES_MAX`] of each stream are held at a time, on at most
//!   [`STREAMS_PER_PEER_MAX`] streams. Past this the peer waits.
//! - A node whose role permits it no vote cannot send more than a command takes.
//! - A call ends when its time is over, at both ends.

mod groups;
mod head;
mod line;
mod serving;

pub use self::groups::{Group, Groups, Peers, Serving};
pub(crate) use self::head::{RequestHead, ResponseHead, Turned};
pub use self::line::CALLS_WAITING_MAX;
pub use self::serving::{STREAM_BYTES_MAX, STREAMS_PER_PEER_MAX};
