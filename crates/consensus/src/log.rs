//! The log on disk: votes and entries, each on disk before anybody hears of it.
//!
//! # Intuition
//! [`Log::submit`] changes what readers see at once and queues what has to be written. One committer takes everything that
//! waits, writes it as one frame and syncs once: whoever came while the disk was busy shares the next sync. Entries live in
//! memory until they are on disk, and after that in the file, with the newest kept in memory besides.
//!
//! # Invariants
//! - Who submitted is told of success only after the sync, and in the order of submission. So once a vote is on disk, all
//!   is that was submitted before it.
//! - After a write or sync that failed nothing more is taken: what is on disk is found out by opening the log again. What
//!   could not be synced is cut off first, so that it is not read back from a cache that the disk never saw.
//! - The log begins after what was purged and has no hole. Opening refuses a log of which that is not true.
//! - A damaged entry is never given out.

mod durable;
mod record;
mod scan;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use covenant_env::{Env, Task};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

pub(crate) use self::durable::Durable;
pub(crate) use self::record::Record;
use self::writer::{Place, Writer};
use crate::disk::Disk;
use crate::types::{LogId, Vote, VoterId};

/// Requests that may wait for the committer. Past this, who submits waits.
pub const COMMITS_WAITING_MAX: usize = 256;
/// Bytes at which a group of requests is closed and written.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the newest entries that are kept in memory beside the disk: what followers are sent most.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes at which the next segment begins.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    index: Arc<Mutex<Index>>,
    queue: mpsc::Sender<Request>,
    durable: Durable,
    /// Writes what is queued; ends with the log.
    _committer: Task,
}

/// Something to be written, and who waits for it.
struct Request {
    records: Vec<Record>,
    done: Option<Done>,
}

/// Hears whether it is on disk.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What readers see: everything submitted, on disk or on its way there.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) vote: Option<Vote>,
    /// Written along with whatever is written next; a crash may take it back to an older one.
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    entries: BTreeMap<u64, Slot>,
    /// Which entries came when, so that the oldest leave the cache first.
    order: VecDeque<u64>,
    cached_bytes: usize,
    syncs: u64,
}

#[derive(Debug)]
struct Slot {
    log_id: LogId,
    /// `None` until it is on disk.
    place: Option<Place>,
    /// `Some` until it is on disk, and as long as the cache has room.
    bytes: Option<Arc<[u8]>>,
}

/// An entry as readers find it.
enum Entry {
    Here(Arc<[u8]>),
    There(Place),
}

impl Log {
    /// Opens or begins the log on `disk`.
    ///
    /// # Errors
    /// The log is damaged, or the disk refused. Nothing was changed.
    pub(crate) async fn open(disk: Arc<dyn Disk>, env: &Env) -> Result<Self, LogError> {
        Self::open_with(disk, env, SEGMENT_BYTES).await
    }

    pub(crate) async fn open_with(disk: Arc<dyn Disk>, env: &Env, roll_at: u64) -> Result<Self, LogError> {
        let (index, writer) = env.blocking(move || scan::open(disk, roll_at)).await??;
        // What was found is on disk: opening synced the end.
        let (on_disk, next) = watch::channel(index.last().map_or(0, |last| last.index + 1));
        let index = Arc::new(Mutex::new(index));
        let (queue, requests) = mpsc::channel(COMMITS_WAITING_MAX);
        let committer = env.system.spawn(commit(requests, writer, index.clone(), on_disk, env.clone()));
        let durable = Durable { index: index.clone(), next };
        Ok(Self { index, queue, durable, _committer: committer })
    }

    /// Lets readers see `records` at once and queues them. `done` hears when they are on disk.
    ///
    /// # Errors
    /// The committer has ended; `done` was dropped.
    ///
    /// # Cancel safety
    /// None: dropped while it waits for room, readers see what will never be written. The engine does not drop it.
    pub(crate) async fn submit(&self, records: Vec<Record>, done: Option<Done>) -> io::Result<()> {
        self.index.lock().take(&records);
        let ended = || io::Error::other("the log takes no more: a write failed, or it was closed");
        self.queue.send(Request { records, done }).await.map_err(|_| ended())
    }

    /// What readers see.
    pub(crate) fn index(&self) -> &Arc<Mutex<Index>> {
        &self.index
    }

    /// Up to where it is on disk.
    pub(crate) fn durable(&self) -> Durable {
        self.durable.clone()
    }
}

/// Writes what is queued, all that waits in one frame, until the log is dropped or a write fails.
async fn commit(
    mut requests: mpsc::Receiver<Request>,
    mut writer: Writer,
    index: Arc<Mutex<Index>>,
    on_disk: watch::Sender<u64>,
    env: Env,
) {
    while let Some(first) = requests.recv().await {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while bytes < GROUP_BYTES {
            let Ok(next) = requests.try_recv() else { break };
            bytes += next.bytes();
            group.push(next);
        }
        let (mut records, mut waiting) = (Vec::new(), Vec::new());
        for request in group {
            records.extend(request.records);
            waiting.extend(request.done);
        }
        let next = durable::end_after(*on_disk.borrow(), &records);
        // A leader may know of more than it has on disk, and who opens the log looks for all of it there.
        let committed = index.lock().committed.filter(|committed| committed.index < next);
        let written = env.blocking(move || {
            let written = writer.write(&records, committed);
            (writer, records, written)
        });
        let error = match written.await {
            Ok((returned, records, Ok(places))) => {
                writer = returned;
                index.lock().placed(&records, places);
                on_disk.send_replace(next);
                waiting.into_iter().for_each(|done| done(Ok(())));
                continue;
            }
            Ok((_, _, Err(error))) | Err(error) => error,
        };
        tracing::error!(%error, "the log cannot be written");
        waiting.into_iter().for_each(|done| done(Err(io::Error::new(error.kind(), error.to_string()))));
        return;
    }
}

impl Request {
    fn bytes(&self) -> usize {
        self.records.iter().map(Record::bytes).sum()
    }
}

impl Index {
    /// The last entry, or the last one purged where none is left.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, slot)| slot.log_id).or(self.purged)
    }

    /// Whether `me` won its term.
    pub(crate) fn is_led_by(&self, me: VoterId) -> bool {
        self.vote.is_some_and(|vote| vote.committed && vote.leader_id.node_id == me)
    }

    /// Lets `me`, where it won its term, stand in it only: what it had not on disk then others may have, and would have two
    /// entries of one id if it went on. Says whether it had won.
    pub(crate) fn stop_leading(&mut self, me: VoterId) -> bool {
        let led = self.is_led_by(me);
        if let Some(vote) = self.vote.as_mut().filter(|_| led) {
            vote.committed = false;
        }
        led
    }

    /// Which entry is at `index`, or was purged last there.
    fn id_at(&self, index: u64) -> Option<LogId> {
        let here = self.entries.get(&index).map(|slot| slot.log_id);
        here.or(self.purged.filter(|purged| purged.index == index))
    }

    /// How many syncs there were since the log was opened.
    #[cfg(test)]
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs
    }

    fn take(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Vote(vote) => self.vote = Some(*vote),
                Record::Committed(committed) => self.committed = Some(*committed),
                Record::Entry { log_id, bytes } => {
                    self.cached_bytes += bytes.len();
                    self.order.push_back(log_id.index);
                    self.put(*log_id, Slot { log_id: *log_id, place: None, bytes: Some(bytes.clone()) });
                }
                Record::Truncate { since } => self.truncate(*since),
                Record::Purge(upto) => self.purge(*upto),
            }
        }
    }

    fn put(&mut self, log_id: LogId, slot: Slot) {
        if let Some(replaced) = self.entries.insert(log_id.index, slot) {
            self.cached_bytes -= replaced.bytes.map_or(0, |bytes| bytes.len());
        }
    }

    fn truncate(&mut self, since: u64) {
        let gone = self.entries.split_off(&since);
        self.forget(&gone);
        while self.order.back().is_some_and(|index| *index >= since) {
            self.order.pop_back();
        }
    }

    fn purge(&mut self, upto: LogId) {
        let kept = self.entries.split_off(&(upto.index + 1));
        let gone = std::mem::replace(&mut self.entries, kept);
        self.forget(&gone);
        while self.order.front().is_some_and(|index| *index <= upto.index) {
            self.order.pop_front();
        }
        self.purged = self.purged.max(Some(upto));
    }

    fn forget(&mut self, gone: &BTreeMap<u64, Slot>) {
        self.cached_bytes -=
            gone.values().filter_map(|slot| slot.bytes.as_ref()).map(|bytes| bytes.len()).sum::<usize>();
    }

    /// Notes where entries lie now that they are on disk. `places` has one for each entry of `records`, in their order.
    fn placed(&mut self, records: &[Record], places: Vec<Place>) {
        self.syncs += 1;
        let written = records.iter().filter_map(|record| match record {
            Record::Entry { log_id, .. } => Some(*log_id),
            Record::Vote(_) | Record::Committed(_) | Record::Truncate { .. } | Record::Purge(_) => None,
        });
        for (log_id, place) in written.zip(places) {
            // It may have been truncated meanwhile, and another one stand there.
            if let Some(slot) = self.entries.get_mut(&log_id.index).filter(|slot| slot.log_id == log_id) {
                slot.place = Some(place);
            }
        }
        while self.cached_bytes > CACHE_BYTES_MAX {
            let Some(oldest) = self.order.front() else { break };
            if let Some(slot) = self.entries.get_mut(oldest) {
                if slot.place.is_none() {
                    break;
                }
                self.cached_bytes -= slot.bytes.take().map_or(0, |bytes| bytes.len());
            }
            self.order.pop_front();
        }
    }

    /// The entries in `range`, oldest first, as many as have `bytes_max` together, but one at least.
    fn find(&self, range: impl RangeBounds<u64>, bytes_max: usize) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for slot in self.entries.range(range).map(|(_, slot)| slot) {
            let entry = match (&slot.bytes, &slot.place) {
                (Some(bytes), _) => Entry::Here(bytes.clone()),
                (None, Some(place)) => Entry::There(place.clone()),
                (None, None) => unreachable!("an entry is in memory until it is on disk"),
            };
            bytes += match &entry {
                Entry::Here(bytes) => bytes.len(),
                Entry::There(place) => place.length,
            };
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry);
        }
        found
    }
}

/// Reads the encoded entries in `range`, oldest first, as many as have `bytes_max` together, but one at least.
///
/// # Errors
/// An entry is not what was written, or the disk refused.
pub(crate) async fn read(
    index: &Mutex<Index>,
    env: &Env,
    range: impl RangeBounds<u64>,
    bytes_max: usize,
) -> Result<Vec<Arc<[u8]>>, LogError> {
    let found = index.lock().find(range, bytes_max);
    let here = |entry: &Entry| match entry {
        Entry::Here(bytes) => Some(bytes.clone()),
        Entry::There(_) => None,
    };
    if let Some(all) = found.iter().map(here).collect() {
        return Ok(all);
    }
    env.blocking(move || {
        let read = |entry| match entry {
            Entry::Here(bytes) => Ok(bytes),
            Entry::There(place) => place.read(),
        };
        found.into_iter().map(read).collect()
    })
    .await?
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// What stands there was promised, and is not what was written. Nothing was changed.
    #[error(
        "the log file {file} is damaged at byte {at}; nothing was changed: let this node leave the group, \
         empty its folder, and add it again, so that the others give it a good copy"
    )]
    Damaged {
        /// Its name.
        file: String,
        /// Where the damage begins, or where the frame with it does.
        at: u64,
    },
    /// Entries are missing. Nothing was changed.
    #[error(
        "the log has a hole before {before}: a file is missing; nothing was changed: put it back, or let this node \
         leave the group, empty its folder, and add it again"
    )]
    Hole {
        /// What follows the hole.
        before: String,
    },
    /// The disk refused.
    #[error("the log cannot be used: {0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests;
