//! A member of a group, for those who live on the same node: write, read, change who belongs to it.
//!
//! # Intuition
//! Writers hand their commands to one writer task, which puts all that wait into one entry and lets a few entries be under
//! way at a time. A keeper holds the engine: it calls elections, and when the engine stops, because the disk refused, it
//! opens the same files again as soon as that can work. Meanwhile this node answers stale reads and refuses the rest.

mod elector;
mod keeper;
mod serve;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use covenant_env::{Env, Task};
use covenant_types::{NodeId, Uptime};
use openraft::error::{ChangeMembershipError, CheckIsLeaderError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, EmptyNode, Raft};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::disk::Disk;
use crate::log::LogError;
use crate::network::Network;
use crate::replicated::Replicated;
use crate::snapshot::SnapshotError;
use crate::types::{Command, Types, VoterId};

/// The longest command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;
/// Commands that may wait to be put into an entry. Past this a write is refused as [`WriteError::Busy`].
pub const WRITES_WAITING_MAX: usize = 4096;
/// Requests of other members that are served at a time. Past this they are refused.
const SERVING_MAX: usize = 32;
/// While the disk has less room than this, writes are refused: votes, snapshots and what others send still fit.
pub const DISK_RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// How a group works. The same on all of its nodes.
#[derive(Clone, Debug)]
pub struct ConsensusConfig {
    /// What the group is called in logs.
    pub group: String,
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
        Self { group: group.to_owned(), election_timeout, snapshot_every: 20_000, entries_kept: 5_000 }
    }
}

/// A member of a group. Dropping it stops the engine at once, as a crash does; [`shutdown`](Self::shutdown) waits for it.
pub struct Consensus<R> {
    shared: Arc<Shared<R>>,
    writes: mpsc::Sender<Write>,
    stop: watch::Sender<bool>,
    keeper: Task,
    _writer: Task,
}

/// What the tasks of one member share.
struct Shared<R> {
    config: ConsensusConfig,
    me: NodeId,
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
}

/// The engine while it runs.
#[derive(Clone)]
struct Engine {
    raft: Raft<Types>,
    receiving: Arc<tokio::sync::Mutex<Option<serve::Receiving>>>,
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
    /// The log or the snapshot is damaged, one is there without the other, or the disk refused.
    pub async fn start(
        config: ConsensusConfig,
        me: NodeId,
        env: Env,
        disk: Arc<dyn Disk>,
        network: Arc<dyn Network>,
        make_state: impl Fn() -> io::Result<R> + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let state = RwLock::new(Arc::new(RwLock::new(make_state()?)));
        let shared = Arc::new(Shared {
            config,
            me,
            heard: Mutex::new(env.now()),
            disk,
            network,
            make_state: Box::new(make_state),
            state,
            engine: RwLock::new(None),
            serving: Semaphore::new(SERVING_MAX),
            env,
        });
        keeper::open(&shared).await?;
        let (stop, stopped) = watch::channel(false);
        let (writes, waiting) = mpsc::channel(WRITES_WAITING_MAX);
        let keeper = shared.env.system.spawn(keeper::keep(shared.clone(), stopped));
        let writer = shared.env.system.spawn(writer::run(shared.clone(), waiting));
        Ok(Self { shared, writes, stop, keeper, _writer: writer })
    }

    /// Forms a new group of `voters`, this node among them. Doing it on several of them with the same voters is one group.
    ///
    /// # Errors
    /// This node is in a group already, or not among `voters`.
    pub async fn form(&self, voters: &BTreeSet<NodeId>) -> Result<(), ChangeError> {
        let voters: BTreeSet<VoterId> = voters.iter().map(|voter| (*voter).into()).collect();
        let engine = self.shared.engine().ok_or(ChangeError::Stopped)?;
        engine.raft.initialize(voters).await.map_err(|error| match error {
            RaftError::APIError(error) => ChangeError::Refused(error.to_string()),
            RaftError::Fatal(_) => ChangeError::Stopped,
        })
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
        let write = Write { command: Command { id, bytes }, answer };
        self.writes.try_send(write).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
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

    /// Lets `node` follow the group without a vote, and waits until its log is at most
    /// [`entries_kept`](ConsensusConfig::entries_kept) behind. Only the leader can.
    ///
    /// # Errors
    /// See [`ChangeError`]. A learner that does not catch up in time is one nevertheless.
    pub async fn add_learner(&self, node: NodeId, within: Duration) -> Result<(), ChangeError> {
        let engine = self.shared.engine().ok_or(ChangeError::Stopped)?;
        let added = engine.raft.add_learner(node.into(), EmptyNode {}, true);
        changed(tokio::time::timeout(within, added).await)
    }

    /// Gives the votes to `voters`, each of whom follows the group already. Who had a vote and is not among them leaves.
    /// Only the leader can.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn change_voters(&self, voters: &BTreeSet<NodeId>, within: Duration) -> Result<(), ChangeError> {
        let voters = voters.iter().map(|voter| VoterId::from(*voter)).collect();
        let engine = self.shared.engine().ok_or(ChangeError::Stopped)?;
        let change = engine.raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), false);
        changed(tokio::time::timeout(within, change).await)
    }

    /// Answers a request that `from`, proven by whoever carried it, sent with its [`Network`].
    pub async fn serve(&self, from: NodeId, request: &[u8]) -> Vec<u8> {
        serve::serve(&self.shared, from, request).await.encode()
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

    /// How long a caller waits: an election, and one more.
    fn patience(&self) -> Duration {
        self.config.election_timeout * 4
    }
}

type Changed<T> = Result<T, RaftError<VoterId, ClientWriteError<VoterId, EmptyNode>>>;

fn changed<T, E>(outcome: Result<Changed<T>, E>) -> Result<(), ChangeError> {
    match outcome {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
            Err(ChangeError::NotLeader { leader: forward.leader_id.map(NodeId::from) })
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => Err(match error {
            ChangeMembershipError::InProgress(_) => ChangeError::InProgress,
            refused @ (ChangeMembershipError::EmptyMembership(_) | ChangeMembershipError::LearnerNotFound(_)) => {
                ChangeError::Refused(refused.to_string())
            }
        }),
        Ok(Err(RaftError::Fatal(_))) => Err(ChangeError::Stopped),
        Err(_) => Err(ChangeError::Unknown),
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
}

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
    #[error("{WRITES_WAITING_MAX} commands wait already; nothing was written, try again")]
    Busy,
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
