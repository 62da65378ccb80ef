//! One log that a majority agrees on, and a state that follows from it on every member.
//!
//! # Intuition
//! A leader puts commands into a log, and what a majority has on disk is committed: it is applied on every member, in the
//! same order, and the death of a minority takes none of it back. The algorithm is Raft, by `openraft`; this crate gives
//! it a log that loses nothing that was promised, snapshots, a way to other members, and those who use it a handle.
//!
//! # Invariants
//! - Acknowledged means on disk at a majority.
//! - What is read from disk or arrives from others is what was written or sent, or it is refused.
//! - Every queue has a bound. Past it callers are refused, and nothing grows.
//! - A state follows from its commands alone, so that [`Replicated::state_hash`] is the same everywhere.
//!
//! # Not here
//! What is agreed on: the book of the ledger and the table of placement implement [`Replicated`]. Who carries bytes between
//! members, and proves who they are: that is a [`Network`].
//!
//! # Reading order
//! 1. [`Replicated`]  2. [`Consensus`]  3. `log`, `frame`  4. `state_store`, `snapshot`  5. [`Network`], `message`
#![deny(clippy::disallowed_methods)]

mod codec;
mod consensus;
mod disk;
mod frame;
pub mod fuzz;
mod log;
mod log_store;
mod message;
mod network;
mod replicated;
mod snapshot;
mod state_store;
#[cfg(test)]
mod tests;
mod types;

pub use codec::MEMBERS_MAX;
pub use consensus::{
    COMMAND_BYTES_MAX, ChangeError, Consensus, ConsensusConfig, DISK_RESERVE_BYTES, ReadError, StartError, Status,
    WRITES_WAITING_MAX, WriteError,
};
pub use disk::{Disk, DiskFile, Folder};
pub use log::{COMMITS_WAITING_MAX, LogError};
pub use message::{Lane, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
pub use network::{Call, Network, Unreached};
pub use replicated::{Replicated, View};
pub use snapshot::{SnapshotError, SnapshotFile};
pub use types::{Answers, Batch, Command, VoterId};
