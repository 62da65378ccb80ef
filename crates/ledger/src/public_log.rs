//! The public log of the ledger: every command, in order, where anybody can read it and prove that it never changed.
//!
//! # Intuition
//! All voters have the same commands in the same order, so each keeps a log of its own of them, and any one of these logs tells
//! all of history. A voter signs its log with a key of its own; the others cosign it, as witnesses who know better than
//! most: not only must a log extend what they saw of it, its root must be the one that their own commands make.
//!
//! # Invariants
//! - An entry follows from its command alone, so that the trees of all voters are equal where they are equally large.
//! - A checkpoint is published when more than half of the voters, this one too, have signed it.
//! - A witness signs no root that is not that of its own commands.
//!
//! # Reading order
//! 1. `entry`  2. `keys`, `keeper`  3. [`Replay`]

mod entry;
mod keeper;
mod keys;
mod replay;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use entry::entries_of;
pub(crate) use entry::{Joiner, place_of};
pub use keeper::CosignAnswer;
pub(crate) use keeper::Keeper;
pub use keys::LogKeys;
pub(crate) use keys::{log_name, witness_name};
pub use replay::{Counted, Replay, ReplayError, Replayed};

/// The folder of the files that anybody may read, below the folder of the ledger.
pub fn public_folder(ledger: &Path) -> PathBuf {
    folder_of(ledger).join(keeper::LOG).join("public")
}

pub(crate) fn folder_of(ledger: &Path) -> PathBuf {
    ledger.join("transparency")
}

/// How many witnesses it takes with so many voters: with the log's own voter they are more than half.
pub fn quorum_of(voters: usize) -> usize {
    voters / 2
}
