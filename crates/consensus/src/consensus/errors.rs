//! Why a member does not do as it was asked.

use std::io;
use std::time::Duration;

use covenant_types::NodeId;

use super::{COMMAND_BYTES_MAX, DISK_RESERVE_BYTES, WRITES_WAITING_MAX};
use crate::folder::FolderError;
use crate::log::LogError;
use crate::snapshot::SnapshotError;

/// Why a member did not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The folder is another member's, or does not say whose it is.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is a state and no log: votes and entries are lost, and with them what this node promised.
    #[error(
        "there is a state without its log; nothing was changed: put the log back, or let this node leave the group, \
         empty its folder, and add it again"
    )]
    LogLost,
    /// The application's state cannot be opened.
    #[error("the state cannot be opened: {0}")]
    State(#[from] io::Error),
    /// The engine did not start.
    #[error("the engine did not start: {0}")]
    Engine(String),
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Another node leads. Nothing was written; ask that one.
    #[error("another node leads: {}", leader.map_or_else(|| "none is known".to_owned(), |leader| leader.to_string()))]
    NotLeader {
        /// Who, if it is known.
        leader: Option<NodeId>,
    },
    /// This node leads and reaches no majority. Nothing was written; it may work again later, or on another node.
    #[error("no majority of the voters is reached; nothing was written")]
    NoQuorum,
    /// Too many commands wait already. Nothing was written; try again later.
    #[error("{WRITES_WAITING_MAX} commands wait already; nothing was written, try again in {retry_after:?}")]
    Busy {
        /// When there may be room.
        retry_after: Duration,
    },
    /// The command is too long. Nothing was written.
    #[error("a command of {0} bytes is longer than the {COMMAND_BYTES_MAX} that one may have")]
    TooLong(usize),
    /// The disk is all but full. Nothing was written; it works again by itself when there is room.
    #[error("the disk has less than {DISK_RESERVE_BYTES} bytes left; nothing was written, make room")]
    DiskFull,
    /// Whether it is applied is not known. Write the same id and bytes again: it is applied once.
    #[error("whether it was written is not known; send it again with the same id")]
    Unknown,
    /// The engine does not run here now. Nothing was written.
    #[error("this node takes no part now; nothing was written")]
    Stopped,
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Another node leads; ask that one.
    #[error("another node leads: {}", leader.map_or_else(|| "none is known".to_owned(), |leader| leader.to_string()))]
    NotLeader {
        /// Who, if it is known.
        leader: Option<NodeId>,
    },
    /// No majority of the voters answers.
    #[error("no majority of the voters answers")]
    NoQuorum,
    /// The engine does not run here now.
    #[error("this node takes no part now")]
    Stopped,
}

/// Why the group was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Another node leads; ask that one.
    #[error("another node leads: {}", leader.map_or_else(|| "none is known".to_owned(), |leader| leader.to_string()))]
    NotLeader {
        /// Who, if it is known.
        leader: Option<NodeId>,
    },
    /// Another change is under way. Nothing was changed; try again later.
    #[error("another change of the group is under way")]
    InProgress,
    /// A node that has to be asked for it does not answer. Nothing was changed.
    #[error("{node} has to be asked and does not answer: {why}")]
    Unreached {
        /// Which one.
        node: NodeId,
        /// What is known of it.
        why: String,
    },
    /// The node follows the group and did not catch up in time. It stays a learner: try again to make it a voter.
    #[error("the node did not catch up in time; it stays a learner without a vote: try again, or remove it")]
    Behind,
    /// It cannot be done as asked. Nothing was changed.
    #[error("the group cannot be changed so: {0}")]
    Refused(String),
    /// It is not done yet, and may be done later. Look at the status before trying again.
    #[error("the change is not done in time; look at who votes before trying again")]
    Unknown,
    /// The engine does not run here now. Nothing was changed.
    #[error("this node takes no part now")]
    Stopped,
}
