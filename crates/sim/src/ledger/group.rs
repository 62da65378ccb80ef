//! Three voters, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use covenant_consensus::{Consensus, ConsensusConfig, Status};
use covenant_env::{Clock, Env, RealClock, Spawner};
use covenant_types::{NodeId, Uptime, WallTime};
use rand::rngs::StdRng;

use super::book::SimBook;
use super::disk::{Faults, SimDisk};
use super::network::{Lines, Port};

/// The voters.
pub(super) const VOTERS: [NodeId; 3] = [NodeId([1; 16]), NodeId([2; 16]), NodeId([3; 16])];
/// The date on which every simulation begins.
const BEGIN_S: i64 = 1_893_456_000;
/// Short, so that snapshots are made and sent all the time.
const SNAPSHOT_EVERY: u64 = 60;
const ENTRIES_KEPT: u64 = 15;

/// A clock whose date jumps.
#[derive(Debug)]
struct JumpingClock {
    time: RealClock,
    began: Uptime,
    ahead_s: Arc<AtomicI64>,
}

impl Clock for JumpingClock {
    fn now(&self) -> Uptime {
        self.time.now()
    }

    fn wall(&self) -> WallTime {
        let passed = (self.began.0 + self.time.now().0).as_secs();
        let at = BEGIN_S + i64::try_from(passed).unwrap_or(0) + self.ahead_s.load(Ordering::Relaxed);
        WallTime(u64::try_from(at).unwrap_or(0))
    }
}

/// A member while it runs.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) member: Arc<Consensus<SimBook>>,
    /// Its power is on: nothing that it says counts otherwise.
    pub(super) alive: Arc<AtomicBool>,
}

/// One voter, running or not.
struct Voter {
    disk: SimDisk,
    ahead_s: Arc<AtomicI64>,
    running: Option<Running>,
    /// How often it was started.
    starts: u64,
}

/// The group.
pub(super) struct Group {
    seed: u64,
    clock: RealClock,
    config: ConsensusConfig,
    pub(super) lines: Arc<Lines>,
    voters: BTreeMap<NodeId, Voter>,
    pub(super) problems: Vec<String>,
}

impl Group {
    /// A group that was formed.
    pub(super) async fn form(seed: u64, luck: StdRng) -> anyhow::Result<Self> {
        let first_voters: BTreeSet<NodeId> = VOTERS.into();
        let config = ConsensusConfig {
            first_voters: first_voters.clone(),
            snapshot_every: SNAPSHOT_EVERY,
            entries_kept: ENTRIES_KEPT,
            ..ConsensusConfig::new("ledger")
        };
        let new = |_| Voter { disk: SimDisk::default(), ahead_s: Arc::default(), running: None, starts: 0 };
        let voters = VOTERS.iter().map(|node| (*node, new(node))).collect();
        let (lines, clock) = (Lines::new(luck), RealClock::new());
        let mut group = Self { seed, clock, config, lines, voters, problems: Vec::new() };
        for node in VOTERS {
            group.start(node).await;
        }
        let first = group.running(VOTERS[0]).ok_or_else(|| anyhow::anyhow!("the first voter did not start"))?;
        first.member.form(&first_voters).await?;
        Ok(group)
    }

    /// Starts a voter, where it does not run.
    pub(super) async fn start(&mut self, node: NodeId) {
        let (seed, lines, config) = (self.seed, self.lines.clone(), self.config.clone());
        let began = self.clock.now();
        let Some(voter) = self.voters.get_mut(&node).filter(|voter| voter.running.is_none()) else { return };
        voter.starts += 1;
        // Luck is another one in each life, as it is in each process.
        let life = seed ^ (u64::from(node.0[0]) << 48) ^ (voter.starts << 56);
        let mut env = Env::for_test(life);
        env.system = Spawner::inline(env.system.handle().clone());
        env.clock = Arc::new(JumpingClock { time: RealClock::new(), began, ahead_s: voter.ahead_s.clone() });
        let alive = Arc::new(AtomicBool::new(true));
        let port = Arc::new(Port { me: node, lines: lines.clone(), alive: alive.clone() });
        let disk = Arc::new(voter.disk.clone());
        match Consensus::start(config, node, env, disk, port, SimBook::new).await {
            Ok(member) => {
                let member = Arc::new(member);
                lines.members.lock().insert(node, Arc::downgrade(&member));
                voter.running = Some(Running { member, alive });
            }
            // A disk that is full or fails is a reason.
            Err(_) if voter.disk.faults() != Faults::default() => {}
            Err(error) => self.problems.push(format!("{node} does not start: {error}")),
        }
    }

    /// Takes a voter's power.
    pub(super) fn kill(&mut self, node: NodeId, luck: &mut StdRng) {
        let Some(voter) = self.voters.get_mut(&node) else { return };
        if let Some(running) = voter.running.take() {
            running.alive.store(false, Ordering::Relaxed);
            self.lines.members.lock().remove(&node);
            voter.disk = voter.disk.after_cut(luck);
        }
    }

    /// What is wrong with a voter's disk from now on.
    pub(super) fn disk(&self, node: NodeId, faults: Faults) {
        if let Some(voter) = self.voters.get(&node) {
            voter.disk.set(faults);
        }
    }

    /// Sets the date of a voter's clock.
    pub(super) fn jump(&self, node: NodeId, ahead_s: i64) {
        if let Some(voter) = self.voters.get(&node) {
            voter.ahead_s.store(ahead_s, Ordering::Relaxed);
        }
    }

    pub(super) fn running(&self, node: NodeId) -> Option<Running> {
        self.voters.get(&node)?.running.clone()
    }

    pub(super) fn statuses(&self) -> Vec<(NodeId, Option<Status>)> {
        let status = |voter: &Voter| voter.running.as_ref().map(|running| running.member.status());
        self.voters.iter().map(|(node, voter)| (*node, status(voter))).collect()
    }

    /// Whether all run and have applied the same.
    pub(super) fn agrees(&self) -> bool {
        let statuses = self.statuses();
        let first = statuses.first().and_then(|(_, status)| status.as_ref()).and_then(|status| status.applied);
        let leads = statuses.iter().flat_map(|(_, status)| status).any(|status| status.leads);
        let same = |status: &Status| status.runs && status.applied == first && status.last == first;
        leads && first.is_some() && statuses.iter().all(|(_, status)| status.as_ref().is_some_and(same))
    }

    /// What has passed.
    pub(super) fn time(&self) -> Duration {
        self.clock.now().0
    }
}
