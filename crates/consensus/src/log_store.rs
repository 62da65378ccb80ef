//! The log as the engine wants it.
//!
//! # Intuition
//! The engine waits in [`append`](LogStore::append) before it sends entries to others. A leader need not: they may be on
//! their disks before they are on its own, as long as it is not counted before that. So while this node leads it is told
//! at once that entries are there, and whoever must not get ahead of the disk asks [`Durable`]: what is applied, and what
//! others are told is committed. `docs/adr/0021-a-leader-syncs-beside-its-followers.md` says why that is safe.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use covenant_env::Env;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, OptionalSend, RaftLogReader, StorageIOError};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::codec::{decode_entry, encode_entry};
use crate::disk::Disk;
use crate::log::{self, Durable, Index, Log, LogError};
use crate::types::{Entry, LogId, StorageError, Types, Vote, VoterId};

/// Bytes of entries that are read, and so sent, at a time.
pub(crate) const READ_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The log of one group on this node.
#[derive(Debug)]
pub(crate) struct LogStore {
    log: Log,
    reader: LogReader,
    me: VoterId,
    led: bool,
}

/// Reads the log, beside whoever writes it.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    index: Arc<Mutex<Index>>,
    env: Env,
}

impl LogStore {
    /// Opens or begins the log that `me` keeps on `disk`.
    ///
    /// # Errors
    /// The log is damaged, or the disk refused.
    pub(crate) async fn open(disk: Arc<dyn Disk>, env: &Env, me: VoterId) -> Result<Self, LogError> {
        let log = Log::open(disk, env).await?;
        let reader = LogReader { index: log.index().clone(), env: env.clone() };
        let led = reader.index.lock().stop_leading(me);
        Ok(Self { log, reader, me, led })
    }

    /// Whether this node led when the log was last written.
    pub(crate) fn led(&self) -> bool {
        self.led
    }

    /// Up to where the log is on disk.
    pub(crate) fn durable(&self) -> Durable {
        self.log.durable()
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_new(&self) -> bool {
        let index = self.reader.index.lock();
        index.vote.is_none() && index.last().is_none()
    }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(range, usize::MAX).await
    }

    /// As many as are sent at a time; the engine asks again for the rest.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start..end, READ_BYTES_MAX).await
    }
}

impl LogReader {
    async fn read(&self, range: impl RangeBounds<u64>, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        let failed = |error: &(dyn std::error::Error + 'static)| StorageIOError::read_logs(AnyError::error(error));
        let found = log::read(&self.index, &self.env, range, bytes_max).await.map_err(|error| failed(&error))?;
        let entries = found.iter().map(|bytes| decode_entry(bytes));
        Ok(entries.collect::<Result<_, _>>().map_err(|error| failed(&error))?)
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.reader.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.reader.limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let index = self.reader.index.lock();
        Ok(LogState { last_purged_log_id: index.purged, last_log_id: index.last() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let failed = |error: io::Error| StorageIOError::write_vote(AnyError::new(&error));
        let (done, on_disk) = oneshot::channel();
        let done = Box::new(move |outcome| {
            // Nobody is there to hear it once the engine has stopped.
            let _gone = done.send(outcome);
        });
        self.log.submit(vec![log::Record::Vote(*vote)], Some(done)).await.map_err(failed)?;
        Ok(on_disk.await.map_err(io::Error::other).flatten().map_err(failed)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.reader.index.lock().vote)
    }

    /// Written with what is written next: a crash may take it back, and then the leader says it again.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.reader.index.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.reader.index.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let record = |entry: Entry| log::Record::Entry { log_id: entry.log_id, bytes: encode_entry(&entry).into() };
        let records = entries.into_iter().map(record).collect();
        let failed = |error: io::Error| StorageIOError::write_logs(AnyError::new(&error));
        if self.reader.index.lock().is_led_by(self.me) {
            self.log.submit(records, None).await.map_err(failed)?;
            callback.log_io_completed(Ok(()));
        } else {
            // Who follows promises by its answer, also what it wrote itself in an earlier term.
            let done = Box::new(|outcome| callback.log_io_completed(outcome));
            self.log.submit(records, Some(done)).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.change(log::Record::Truncate { since: log_id.index }).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.change(log::Record::Purge(log_id)).await
    }
}

impl LogStore {
    /// Nobody waits for this: whatever is written later is written after it.
    async fn change(&self, record: log::Record) -> Result<(), StorageError> {
        let failed = |error: io::Error| StorageIOError::write_logs(AnyError::new(&error));
        Ok(self.log.submit(vec![record], None).await.map_err(failed)?)
    }
}
