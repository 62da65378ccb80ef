//! Up to where the log is on disk, for those who must not get ahead of it.
//!
//! # Intuition
//! A leader sends entries to others while its own disk still writes them. What it does not have on disk it must not apply,
//! and must not call committed: the engine counts the leader among those who have an entry before that is true.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Index, Record};
use crate::types::LogId;

/// Where the durable part of one opened log ends. After a write that failed it stays where it was.
#[derive(Clone, Debug)]
pub(crate) struct Durable {
    pub(super) index: Arc<Mutex<Index>>,
    /// The index after the last entry that is on disk. Its sender is gone once nothing more is written.
    pub(super) next: watch::Receiver<u64>,
}

impl Durable {
    /// Waits until the entry at `index` and all before it are on disk.
    ///
    /// # Errors
    /// They will not be: a write failed, or the log was closed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn reached(&self, index: u64) -> io::Result<()> {
        let ended =
            |_| io::Error::other(format!("entry {index} is not on disk: a write failed, or the log was closed"));
        self.next.clone().wait_for(|next| *next > index).await.map(drop).map_err(ended)
    }

    /// Whether the log, on disk or on its way there, has entries after this one.
    pub(crate) fn log_goes_on_after(&self, log_id: Option<LogId>) -> bool {
        self.index.lock().last().map(|last| last.index) > log_id.map(|log_id| log_id.index)
    }

    /// `committed`, or the last entry on disk where that comes before it.
    pub(crate) fn clip(&self, committed: Option<LogId>) -> Option<LogId> {
        let next = *self.next.borrow();
        if committed.is_none_or(|committed| committed.index < next) {
            return committed;
        }
        next.checked_sub(1).and_then(|last| self.index.lock().id_at(last))
    }
}

/// Where the durable part ends once `records` follow what ends before `next`.
pub(super) fn end_after(next: u64, records: &[Record]) -> u64 {
    records.iter().fold(next, |next, record| match record {
        Record::Vote(_) | Record::Committed(_) => next,
        Record::Entry { log_id, .. } => log_id.index + 1,
        Record::Truncate { since } => next.min(*since),
        Record::Purge(upto) => next.max(upto.index + 1),
    })
}
