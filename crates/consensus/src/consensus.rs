//! A member of a group, for those who live on the same node: write, read, change who belongs to it.
//!
//! # Intuition
//! Writers hand their commands to one writer task, which puts all that wait into one entry and lets a few entries be under
//! way at a time. A keeper holds the engine: it calls elections, and when the engine stops, because the disk refused, it
//! opens the same files again as soon as that can work. Meanwhile this node answers stale reads and refuses the rest.

mod change;
mod clock;
mod elector;
mod errors;
mod intruders;
mod keeper;
mod serve;
mod who;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_env::{Env, Task};
use covenant_types::{NodeId, Role, Uptime, WallTime};
use openraft::Raft;
use openraft::error::{CheckIsLeaderError, RaftError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

pub use self::change::Changed;
pub use self::clock::CLOCK_JUMP_MAX;
pub use self::errors::{ChangeError, ReadError, StartError, WriteError};
use self::intruders::Intruders;
pub use self::intruders::{INTRUDERS_MAX, Intruder};
#[cfg(test)]
pub(crate) use self::writer::ROOM_BELIEVED_FOR;
use crate::disk::Disk;
use crate::folder;
use crate::gate::Sender;
use crate::network::{Network, SPARED_FOR};
use crate::replicated::Replicated;
use crate::types::{Command, Instance, StoredMembership, Types};

/// The longest command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;
/// Commands that may wait to be put into an entry. Past this a write is refused as [`WriteError::Busy`].
pub const WRITES_WAITING_MAX: usize = 4096;
/// Requests of other members that are served at a time. Past this they are refused.
const SERVING_MAX: usize = 32;
/// Commands and questions of other nodes that are served at a time. Past this they are told to come again.
pub const ASKING_MAX: usize = 1024;
/// The shortest time after which a caller that was refused is told to come again.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(10);
/// While the disk has less room than this, writes are refused: votes, snapshots and what others send still fit.
pub const DISK_RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// How a group works. The same on all of its nodes.
#[derive(Clone, Debug)]
pub struct ConsensusConfig {
    /// What the group is called in logs.
    pub group: String,
    /// Who is believed to be a member by a node whose log names nobody yet: those whom the group was formed of, or some of
    /// those who are members now.
    pub first_voters: BTreeSet<NodeId>,
    /// Nodes of which roles may send commands and questions.
    pub askers: Vec<Role>,
    /// How long a leader may be silent. A new one is there within about twice that.
    pub election_timeout: Duration,
    /// Entries after which a snapshot is made.
    pub snapshot_every: u64,
    /// Entries that stay in the log behind a snapshot, for those who were away for a short time.
    pub entries_kept: u64,
}

impl ConsensusConfig {
    /// For nodes in one region.
    pub fn new(group: &str) -> Self {
        let election_timeout = Duration::from_millis(1000);
        Self {
            group: group.to_owned(),
            first_voters: BTreeSet::new(),
            askers: vec![Role::Hub, Role::Voter],
            election_timeout,
            snapshot_every: 20_000,
            entries_kept: 5_000,
        }
    }
}

/// A member of a group. Dropping it stops the engine at once, as a crash does; [`shutdown`](Self::shutdown) waits for it.
pub struct Consensus<R> {
    shared: Arc<Shared<R>>,
    writes: mpsc::Sender<Write>,
    stop: watch::Sender<bool>,
    keeper: Task,
    _writer: Task,
    _voucher: Task,
}

/// What the tasks of one member share.
struct Shared<R> {
    config: ConsensusConfig,
    me: NodeId,
    /// The instance of its folder.
    instance: Instance,
    /// Whose word counts while the log names nobody.
    first_voters: RwLock<BTreeSet<NodeId>>,
    env: Env,
    disk: Arc<dyn Disk>,
    network: Arc<dyn Network>,
    /// Makes a state that nothing was applied to, or opens the one that is kept.
    make_state: Box<dyn Fn() -> io::Result<R> + Send + Sync>,
    /// What reads see. Another one after the files were opened again.
    state: RwLock<Arc<RwLock<R>>>,
    /// `None` while the engine is stopped.
    engine: RwLock<Option<Engine>>,
    /// When a leader or a candidate we voted for last spoke to us.
    heard: Mutex<Uptime>,
    serving: Semaphore,
    asking: Semaphore,
    /// Who is a member by the word of one, where that is newer than our log.
    vouched: RwLock<Option<StoredMembership>>,
    /// Somebody spoke who is no member as far as we know.
    doubt: Notify,
    intruders: Intruders,
    /// Held by whoever changes the membership.
    changing: tokio::sync::Mutex<()>,
    /// What the last entry took, in microseconds.
    entry_took: AtomicU64,
}

/// The engine while it runs.
#[derive(Clone)]
struct Engine {
    raft: Raft<Types>,
    receiving: Arc<tokio::sync::Mutex<Option<serve::Receiving>>>,
    /// The time of what was applied last.
    time: Arc<AtomicU64>,
    /// Whether this node led when its log was last written.
    led: bool,
}

struct Write {
    command: Command,
    answer: oneshot::Sender<Result<Vec<u8>, WriteError>>,
}

impl<R> fmt::Debug for Consensus<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consensus({} on {})", self.shared.config.group, self.shared.me)
    }
}

impl<R: Replicated> Consensus<R> {
    /// Opens what `disk` holds of the group, or begins, and takes part in it. A node that begins is no member until the
    /// group is [`form`](Self::form)ed with it or a leader adds it.
    ///
    /// # Errors
    /// The folder is another node's, the log or the snapshot is damaged, one is there without the other, or the disk refused.
    pub async fn start(
        config: ConsensusConfig,
        me: NodeId,
        env: Env,
        disk: Arc<dyn Disk>,
        network: Arc<dyn Network>,
        make_state: impl Fn() -> io::Result<R> + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let state = RwLock::new(Arc::new(RwLock::new(make_state()?)));
        let (marked, world, group) = (disk.clone(), env.clone(), config.group.clone());
        let instance = env.blocking(move || folder::open(&*marked, &world, &group, me)).await??;
        let intruders = Intruders::new(&env, &config.group);
        let first_voters = RwLock::new(config.first_voters.clone());
        let shared = Arc::new(Shared {
            config,
            first_voters,
            me,
            instance,
            heard: Mutex::new(env.now()),
            disk,
            network,
            make_state: Box::new(make_state),
            state,
            engine: RwLock::new(None),
            serving: Semaphore::new(SERVING_MAX),
            asking: Semaphore::new(ASKING_MAX),
            vouched: RwLock::new(None),
            doubt: Notify::new(),
            intruders,
            changing: tokio::sync::Mutex::new(()),
            entry_took: AtomicU64::new(0),
            env,
        });
        keeper::open(&shared).await?;
        let (stop, stopped) = watch::channel(false);
        let (writes, waiting) = mpsc::channel(WRITES_WAITING_MAX);
        let keeper = shared.env.system.spawn(keeper::keep(shared.clone(), stopped));
        let writer = shared.env.system.spawn(writer::run(shared.clone(), waiting));
        let voucher = shared.env.system.spawn(who::vouch(shared.clone()));
        Ok(Self { shared, writes, stop, keeper, _writer: writer, _voucher: voucher })
    }

    /// Has `bytes` applied once on every node, and gives back what the application answered.
    ///
    /// # Errors
    /// See [`WriteError`]. After [`WriteError::Unknown`] the same `id` and `bytes` can be written again, and are applied once.
    ///
    /// # Cancel safety
    /// The command may be applied after the future was dropped.
    pub async fn write(&self, id: u128, bytes: Vec<u8>) -> Result<Vec<u8>, WriteError> {
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(WriteError::TooLong(bytes.len()));
        }
        let (answer, answered) = oneshot::channel();
        let write = Write { command: Command { id, bytes, at: WallTime::default() }, answer };
        self.writes.try_send(write).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy { retry_after: self.shared.retry_after() },
            mpsc::error::TrySendError::Closed(_) => WriteError::Stopped,
        })?;
        match tokio::time::timeout(self.shared.patience(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(WriteError::Unknown),
        }
    }

    /// Shows `see` a state in which everything is applied that was answered to anybody before this call: the leader asks
    /// a majority whether it still leads (ReadIndex).
    ///
    /// # Errors
    /// This node does not lead, or no majority answers. Nothing was read.
    pub async fn read_linearizable<T>(&self, see: impl FnOnce(&R) -> T) -> Result<T, ReadError> {
        let engine = self.shared.engine().ok_or(ReadError::Stopped)?;
        let current = tokio::time::timeout(self.shared.patience(), engine.raft.ensure_linearizable()).await;
        current.map_err(|_| ReadError::NoQuorum)?.map_err(|error| match error {
            RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward)) => {
                ReadError::NotLeader { leader: forward.leader_id.map(NodeId::from) }
            }
            RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)) => ReadError::NoQuorum,
            RaftError::Fatal(_) => ReadError::Stopped,
        })?;
        Ok(self.read_stale(see))
    }

    /// Shows `see` the state of this node, which may be behind: no other node is asked.
    pub fn read_stale<T>(&self, see: impl FnOnce(&R) -> T) -> T {
        let state = self.shared.state.read().clone();
        let state = state.read();
        see(&state)
    }

    /// The same, and how far behind it may be.
    pub fn read_stale_at<T>(&self, see: impl FnOnce(&R) -> T) -> (T, Staleness) {
        // Before the state is looked at: it is at least so new.
        let staleness = self.staleness();
        (self.read_stale(see), staleness)
    }

    fn staleness(&self) -> Staleness {
        let status = self.status();
        let heard = self.shared.env.now().since(*self.shared.heard.lock());
        // What the engine takes for an answer may be one of a moment before.
        let quorum_age = status.quorum_age.map(|age| age.saturating_add(SPARED_FOR));
        Staleness { position: status.applied.unwrap_or(0), age: quorum_age.unwrap_or(heard) }
    }

    /// Believes these to be members while the log of this node names nobody: for a node that did not know them when it started.
    pub fn believe(&self, first_voters: BTreeSet<NodeId>) {
        *self.shared.first_voters.write() = first_voters;
    }

    /// Answers a request that `from`, proven by whoever carried it, sent with its [`Network`].
    pub async fn serve(&self, from: Sender, request: &[u8]) -> Vec<u8> {
        serve::serve(self, from, request).await.encode()
    }

    /// Who was refused, and why: what an incident is made of. Each node and reason once, at most [`INTRUDERS_MAX`] of them.
    pub fn intruders(&self) -> Vec<Intruder> {
        self.shared.intruders.list()
    }

    /// Changes whenever somebody is refused for the first time.
    pub fn intrusions(&self) -> watch::Receiver<u64> {
        self.shared.intruders.changes()
    }

    /// The number of this node's folder, as the membership has it.
    pub fn instance(&self) -> Instance {
        self.shared.instance
    }

    /// What this node knows of the group.
    pub fn status(&self) -> Status {
        let Some(engine) = self.shared.engine() else { return Status::default() };
        let metrics = engine.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        Status {
            runs: metrics.running_state.is_ok(),
            leads: metrics.state.is_leader(),
            leader: metrics.current_leader.map(NodeId::from),
            term: metrics.current_term,
            last: metrics.last_log_index,
            applied: metrics.last_applied.map(|applied| applied.index),
            snapshot: metrics.snapshot.map(|snapshot| snapshot.index),
            purged: metrics.purged.map(|purged| purged.index),
            voters: membership.voter_ids().map(NodeId::from).collect(),
            learners: membership.learner_ids().map(NodeId::from).collect(),
            settled: metrics
                .membership_config
                .log_id()
                .filter(|at| {
                    let committed = metrics.last_applied.is_some_and(|applied| applied.index >= at.index);
                    committed && membership.get_joint_config().len() == 1
                })
                .map(|at| (at.leader_id.term, at.index)),
            quorum_age: metrics.millis_since_quorum_ack.map(Duration::from_millis),
            time: WallTime(engine.time.load(Ordering::Relaxed)),
        }
    }

    /// Stops the engine and waits until it has.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        // However it ended, it has.
        let _ended = self.keeper.await;
    }
}

impl<R> Shared<R> {
    fn engine(&self) -> Option<Engine> {
        self.engine.read().clone()
    }

    /// Who is a member by our log, if the engine runs.
    fn members(&self) -> Option<Arc<StoredMembership>> {
        Some(self.engine()?.raft.metrics().borrow().membership_config.clone())
    }

    /// When a caller that was refused may come again: when the entries under way are through.
    fn retry_after(&self) -> Duration {
        let took = Duration::from_micros(self.entry_took.load(Ordering::Relaxed));
        (took * 2).clamp(RETRY_AFTER_MIN, self.patience())
    }

    /// How long a caller waits: an election, and one more.
    fn patience(&self) -> Duration {
        self.config.election_timeout * 4
    }
}

/// What a member knows of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the engine runs. It does not while the disk refuses.
    pub runs: bool,
    /// Whether this node leads, as far as it knows.
    pub leads: bool,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// The term this node is in.
    pub term: u64,
    /// The index of its last entry.
    pub last: Option<u64>,
    /// Up to which entry its state is.
    pub applied: Option<u64>,
    /// Up to which entry its snapshot is.
    pub snapshot: Option<u64>,
    /// Up to which entry its log is gone.
    pub purged: Option<u64>,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who follows without a vote.
    pub learners: BTreeSet<NodeId>,
    /// The term and the index of the entry that says so, once that is committed and no change of voters is under way.
    pub settled: Option<(u64, u64)>,
    /// How long ago a majority followed it, where this node leads.
    pub quorum_age: Option<Duration>,
    /// The time of the command that was applied last, by the clocks of leaders.
    pub time: WallTime,
}

/// How far behind a state may be that nobody else was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// Up to which entry it is, at least.
    pub position: u64,
    /// For how long this node heard of no leader, or of no majority where it leads. What was written since is not in it, and
    /// of what was written shortly before, some may not be.
    pub age: Duration,
}
