//! Backups of the book: one file, checked from its first byte to its last, from which the book is made again as it was at its end
//! or at any position before.
//!
//! Form: a magic of 16 bytes · the length of what it says of itself (u32) and that, as JSON · a copy of the state, as a snapshot
//! of the group has it, with every command that led there · BLAKE3 of all before.
//!
//! A backup is only as good as its last check, and [`check`] does all of it again: each command is applied to an empty book,
//! and the book behind it must be the one that was there.

mod file;
mod redo;
mod restore;

use covenant_types::{NodeName, WallTime};
use serde::{Deserialize, Serialize};

pub use file::{BackupFile, write};
pub use redo::{BackupChecked, check};
pub use restore::{Restore, RestoreDone, Until, restore};

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupHead {
    /// The cluster it was taken of.
    pub cluster: String,
    /// The node that gave it.
    pub node: NodeName,
    /// When it was taken, by that node's clock, in seconds since 1970 in UTC.
    pub taken: WallTime,
    /// How many commands are in it.
    pub position: u64,
    /// How many transfers.
    pub transfers: u64,
    /// The hash of the book, in hexadecimal: what `ledger check` shows on a node at this position.
    pub state: String,
}

/// What is wrong with a backup, or with where it is to be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The file is no backup, or not what was written.
    #[error("{file} is not a whole backup: {what}; nothing was restored, use another one")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// It cannot be restored there or so.
    #[error("{0}; nothing was changed")]
    Refused(String),
    /// The disk refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the disk said.
        source: std::io::Error,
    },
}

impl BackupError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

#[cfg(test)]
mod tests;
