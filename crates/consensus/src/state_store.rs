//! The application's state as the engine wants it: what is applied, and snapshots of it.
//!
//! It has its own files, apart from the log's: a snapshot is read and written beside the log and delays no entry.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use covenant_env::Env;
use covenant_types::WallTime;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use parking_lot::{Mutex, RwLock};

use crate::codec::{
    read_log_id, read_option, read_stored_membership, write_log_id, write_option, write_stored_membership,
};
use crate::disk::Disk;
use crate::log::Durable;
use crate::replicated::{Replicated, View};
use crate::snapshot::{self, Made, Meta, SnapshotError, SnapshotFile};
use crate::types::{Answers, Command, Entry, LogId, StorageError, StoredMembership, Types};

/// The state of one group on this node.
#[derive(Debug)]
pub(crate) struct StateStore<R> {
    state: Arc<RwLock<R>>,
    applied: Applied,
    /// The time of what was applied last, for whoever leads.
    time: Arc<AtomicU64>,
    snapshots: Snapshots,
    /// Nothing is applied that is not in it. `None` where there is no log, as in tests of this store.
    durable: Option<Durable>,
}

/// Up to where the log is applied, and who was a member then. What [`Replicated`] keeps as its mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Applied {
    last: Option<LogId>,
    membership: StoredMembership,
    time: WallTime,
}

/// The snapshot in force and where it lies.
#[derive(Clone, Debug)]
struct Snapshots {
    disk: Arc<dyn Disk>,
    env: Env,
    /// Held while a snapshot is put in force or opened, so that the file opened is the one that this tells of.
    current: Arc<Mutex<Option<Meta>>>,
}

/// Writes a snapshot of one view.
pub(crate) struct SnapshotBuilder {
    snapshots: Snapshots,
    meta: Meta,
    time: WallTime,
    /// Taken by the one who writes it.
    view: Mutex<Option<io::Result<View>>>,
}

impl<R: Replicated> StateStore<R> {
    /// Brings `state` to its newest snapshot on `disk`, unless it is further already.
    ///
    /// # Errors
    /// The snapshot is damaged, or state or disk refused.
    pub(crate) async fn open(disk: Arc<dyn Disk>, env: &Env, state: Arc<RwLock<R>>) -> Result<Self, SnapshotError> {
        let (folder, restored) = (disk.clone(), state.clone());
        let (applied, current) = env.blocking(move || restore(&*folder, &mut *restored.write())).await??;
        let snapshots = Snapshots { disk, env: env.clone(), current: Arc::new(Mutex::new(current)) };
        let time = Arc::new(AtomicU64::new(applied.time.0));
        Ok(Self { state, applied, time, snapshots, durable: None })
    }

    /// Applies nothing before it is in `durable`.
    pub(crate) fn behind(self, durable: Durable) -> Self {
        Self { durable: Some(durable), ..self }
    }

    /// The time of the command that was applied last; kept current.
    pub(crate) fn time(&self) -> Arc<AtomicU64> {
        self.time.clone()
    }

    /// Whether nothing was ever applied.
    pub(crate) fn is_new(&self) -> bool {
        self.applied.last.is_none() && self.snapshots.current.lock().is_none()
    }
}

impl Snapshots {
    /// Puts `made` in force, unless a newer one is: a leader may have sent one while ours was written.
    fn put_in_force(&self, made: Made, meta: Meta) -> io::Result<SnapshotFile> {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|current| current.last_log_id > meta.last_log_id) {
            return Ok(made.keep_apart());
        }
        let file = made.put_in_force(&*self.disk)?;
        *current = Some(meta);
        Ok(file)
    }
}

fn restore(disk: &dyn Disk, state: &mut impl Replicated) -> Result<(Applied, Option<Meta>), SnapshotError> {
    let applied = match state.mark()? {
        Some(mark) => Applied::decode(&mark).map_err(io::Error::other)?,
        None => Applied::default(),
    };
    let Some(file) = SnapshotFile::current(disk)? else { return Ok((applied, None)) };
    let meta = file.check(|_| Ok(()))?;
    if applied.last >= meta.last_log_id {
        return Ok((applied, Some(meta)));
    }
    let applied = Applied { last: meta.last_log_id, membership: meta.last_membership.clone(), time: file.time()? };
    state.restore(&mut file.state()?, &applied.encode())?;
    Ok((applied, Some(meta)))
}

impl<R: Replicated> RaftStateMachine<Types> for StateStore<R> {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied.last, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answers>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (mut commands, mut counts) = (Vec::new(), Vec::new());
        let mut applied = self.applied.clone();
        for entry in entries {
            applied.last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => counts.push(0),
                EntryPayload::Normal(batch) => {
                    counts.push(batch.commands.len());
                    // A new leader's clock may be behind the last one's. Here all members say the same of it.
                    applied.time = applied.time.max(batch.at);
                    commands.extend(batch.commands.into_iter().map(|command| Command { at: applied.time, ..command }));
                }
                EntryPayload::Membership(membership) => {
                    counts.push(0);
                    applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
        }
        if let Some((durable, last)) = self.durable.as_ref().zip(applied.last) {
            let failed = |error| StorageIOError::apply(last, AnyError::new(&error));
            durable.reached(last.index).await.map_err(failed)?;
        }
        let (state, mark, asked) = (self.state.clone(), applied.encode(), commands.len());
        let answers = self.snapshots.env.blocking(move || state.write().apply(&commands, &mark)).await.flatten();
        let answers = answers.map_err(|error| StorageIOError::write_state_machine(AnyError::new(&error)))?;
        if answers.len() != asked {
            let error = format!("{asked} commands were applied and {} answered", answers.len());
            return Err(StorageIOError::write_state_machine(AnyError::error(error)).into());
        }
        self.time.store(applied.time.0, Ordering::Relaxed);
        self.applied = applied;
        let mut answers = answers.into_iter();
        Ok(counts.into_iter().map(|count| Answers(answers.by_ref().take(count).collect())).collect())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let Applied { last, membership, time } = self.applied.clone();
        let snapshot_id =
            last.map_or_else(|| "empty".to_owned(), |last| format!("{}-{}", last.leader_id.term, last.index));
        let meta = Meta { last_log_id: last, last_membership: membership, snapshot_id };
        let state = self.state.clone();
        let view = self.snapshots.env.blocking(move || state.read().view()).await.flatten();
        SnapshotBuilder { snapshots: self.snapshots.clone(), meta, time, view: Mutex::new(Some(view)) }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        let disk = self.snapshots.disk.clone();
        let file = self.snapshots.env.blocking(move || SnapshotFile::receiving(&*disk)).await.flatten();
        Ok(Box::new(file.map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)))?))
    }

    async fn install_snapshot(&mut self, meta: &Meta, received: Box<SnapshotFile>) -> Result<(), StorageError> {
        let mut applied =
            Applied { last: meta.last_log_id, membership: meta.last_membership.clone(), time: self.applied.time };
        let (snapshots, state, meta) = (self.snapshots.clone(), self.state.clone(), meta.clone());
        let installed = self.snapshots.env.blocking(move || {
            let copy = snapshot::copy(&*snapshots.disk, &meta, &received)?;
            // In force first: a crash before the state is restored restores it at the next start.
            let file = snapshots.put_in_force(copy, meta)?;
            applied.time = file.time()?;
            state.write().restore(&mut file.state()?, &applied.encode())?;
            Ok::<_, SnapshotError>(applied)
        });
        let failed = |error: &dyn std::fmt::Display| StorageIOError::write_snapshot(None, AnyError::error(error));
        let installed = installed.await.map_err(|error| failed(&error))?;
        self.applied = installed.map_err(|error| failed(&error))?;
        self.time.store(self.applied.time.0, Ordering::Relaxed);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let snapshots = self.snapshots.clone();
        let found = self.snapshots.env.blocking(move || {
            let current = snapshots.current.lock();
            let file = SnapshotFile::current(&*snapshots.disk)?;
            Ok::<_, io::Error>(current.clone().zip(file))
        });
        let found = found.await.flatten();
        let found = found.map_err(|error| StorageIOError::read_snapshot(None, AnyError::new(&error)))?;
        Ok(found.map(|(meta, file)| Snapshot { meta, snapshot: Box::new(file) }))
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let (snapshots, meta, time) = (self.snapshots.clone(), self.meta.clone(), self.time);
        let view = self.view.lock().take();
        let built = self.snapshots.env.blocking(move || {
            let view = view.unwrap_or_else(|| Err(io::Error::other("a builder builds once")))?;
            let made = snapshot::make(&*snapshots.disk, &meta, time, view)?;
            snapshots.put_in_force(made, meta)
        });
        let file = built.await.flatten();
        let file = file.map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)))?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(file) })
    }
}

impl Applied {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(APPLIED);
        write_option(&mut writer, self.last.as_ref(), write_log_id);
        write_stored_membership(&mut writer, &self.membership);
        writer.u64(self.time.0);
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = Reader::new(bytes, APPLIED)?;
        let (last, membership) = (read_option(&mut reader, read_log_id)?, read_stored_membership(&mut reader)?);
        let applied = Self { last, membership, time: WallTime(reader.u64()?) };
        reader.finish()?;
        Ok(applied)
    }
}

const APPLIED: &str = "covenant/applied/1";
