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
//! What is agreed on: the book of the ledger and the table of placement implement [`Replicated`]. Who has
//! a connection to whom, and whose it is: that is the transport's, which [`Groups`] is given.
//!
//! # Reading order
//! 1. [`Replicated`]  2. [`Consensus`]  3. `log`, `frame`, `folder`  4. `state_store`, `snapshot`  5. [`Network`], `message`,
//!    `gate`
//! 6. [`Groups`], `plane`  7. [`GroupClient`]
#![deny(clippy::disallowed_methods)]

mod client;
mod codec;
mod consensus;
mod disk;
mod folder;
mod found;
mod frame;
pub mod fuzz;
mod gate;
mod log;
mod log_store;
mod message;
mod network;
mod plane;
mod replicated;
mod snapshot;
mod state_store;
#[cfg(test)]
mod tests;
mod types;

pub use client::{Answer, Freshness, GroupClient, HINTS_MAX, PAUSE, PAUSE_MAX, SubmitError, TRY_WITHIN};
pub use codec::MEMBERS_MAX;
pub use consensus::{
    ASKING_MAX, CLOCK_JUMP_MAX, COMMAND_BYTES_MAX, ChangeError, Changed, Consensus, ConsensusConfig,
    DISK_RESERVE_BYTES, INTRUDERS_MAX, Intruder, ReadError, Staleness, StartError, Status, WRITES_WAITING_MAX,
    WriteError,
};
pub use disk::{Disk, DiskFile, Folder};
pub use folder::FolderError;
pub use found::{FoundError, found};
pub use gate::{Offence, Sender};
pub use log::{COMMITS_WAITING_MAX, LogError};
pub use message::{ANSWER_BYTES_MAX, Lane, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
pub use network::{Call, Network, Unreached};
pub use plane::{CALLS_WAITING_MAX, Group, Groups, Peers, STREAM_BYTES_MAX, STREAMS_PER_PEER_MAX, Serving};
pub use replicated::{Replicated, View};
pub use snapshot::{SnapshotError, SnapshotFile};
pub use types::{Answers, Batch, Command, Instance, Member, VoterId};
