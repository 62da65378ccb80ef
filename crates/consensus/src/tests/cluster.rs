//! Members of a group in one thread and in virtual time, over a network in memory and disks that lose power.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use covenant_env::{Env, Spawner};
use covenant_types::{NodeId, Role};
use parking_lot::Mutex;

use super::{SimDisk, Tally};
use crate::consensus::{Consensus, ConsensusConfig, StartError, Status, WriteError};
use crate::gate::Sender;
use crate::message::Lane;
use crate::network::{Call, Network, Unreached};

/// What a request takes from one member to another.
const LATENCY: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
struct Hub {
    members: Mutex<BTreeMap<NodeId, Weak<Consensus<Tally>>>>,
    /// Who cannot be reached and reaches nobody.
    cut_off: Mutex<BTreeSet<NodeId>>,
}

/// One member's way into the network, as long as it lives.
#[derive(Debug)]
struct Port {
    me: NodeId,
    hub: Arc<Hub>,
    alive: Arc<AtomicBool>,
}

impl Network for Port {
    fn call(&self, to: NodeId, _lane: Lane, request: Vec<u8>) -> Call<'_> {
        Box::pin(async move {
            tokio::time::sleep(LATENCY).await;
            let unreached = |why: &str| Unreached { to, why: why.to_owned(), sent: true };
            let cut = self.hub.cut_off.lock().iter().any(|node| [self.me, to].contains(node));
            let member = self.hub.members.lock().get(&to).and_then(Weak::upgrade);
            let member = member.filter(|_| !cut && self.alive.load(Ordering::Relaxed)).ok_or(unreached("no way"))?;
            let answer = member.serve(hub(self.me), &request).await;
            if self.alive.load(Ordering::Relaxed) { Ok(answer) } else { Err(unreached("we are dead")) }
        })
    }
}

/// A group under test.
pub(crate) struct Cluster {
    hub: Arc<Hub>,
    seed: u64,
    config: ConsensusConfig,
    disks: BTreeMap<NodeId, SimDisk>,
    members: BTreeMap<NodeId, (Arc<Consensus<Tally>>, Arc<AtomicBool>)>,
    kills: u64,
}

pub(crate) fn node(number: u8) -> NodeId {
    NodeId([number; 16])
}

/// A node that may vote.
pub(crate) fn hub(node: NodeId) -> Sender {
    Sender { node, role: Role::Hub }
}

pub(crate) fn nodes(numbers: &[u8]) -> BTreeSet<NodeId> {
    numbers.iter().map(|number| node(*number)).collect()
}

impl Cluster {
    /// A group of `voters`, formed; without voters none is.
    pub(crate) async fn of(voters: &[u8], seed: u64) -> Self {
        let defaults = ConsensusConfig::new("test");
        let first_voters = nodes(voters);
        let config = ConsensusConfig { snapshot_every: 50, entries_kept: 10, first_voters, ..defaults };
        let (hub, disks, members) = (Arc::default(), BTreeMap::new(), BTreeMap::new());
        let mut cluster = Self { hub, seed, config, disks, members, kills: 0 };
        for voter in voters {
            cluster.start(node(*voter)).await;
        }
        if let Some(first) = voters.first() {
            cluster.member(node(*first)).form(&nodes(voters)).await.unwrap();
            cluster.leader().await;
        }
        cluster
    }

    pub(crate) async fn start(&mut self, me: NodeId) {
        let started = self.try_start(me).await;
        started.unwrap_or_else(|error| panic!("{me} after {} kills: {error}", self.kills));
    }

    pub(crate) async fn try_start(&mut self, me: NodeId) -> Result<(), StartError> {
        // Luck is another one in each life, as it is in each process.
        let mut env = Env::for_test(self.seed ^ u64::from(me.0[0]) ^ (self.kills << 8));
        env.system = Spawner::inline(env.system.handle().clone());
        let alive = Arc::new(AtomicBool::new(true));
        let port = Arc::new(Port { me, hub: self.hub.clone(), alive: alive.clone() });
        let disk = Arc::new(self.disk(me));
        let member = Consensus::start(self.config.clone(), me, env, disk, port, || Ok(Tally::default())).await;
        let member = Arc::new(member?);
        self.hub.members.lock().insert(me, Arc::downgrade(&member));
        self.members.insert(me, (member, alive));
        Ok(())
    }

    /// Stops a member in order. What others ask of it meanwhile is let end first.
    pub(crate) async fn shut_down(&mut self, me: NodeId) {
        self.hub.members.lock().remove(&me);
        let (mut member, _) = self.members.remove(&me).unwrap();
        let stopped = loop {
            match Arc::try_unwrap(member) {
                Ok(member) => break member,
                Err(shared) => member = shared,
            }
            tokio::time::sleep(LATENCY).await;
        };
        stopped.shutdown().await;
    }

    /// Takes a member's power. What it had not synced is there in parts or not at all when it comes back.
    pub(crate) fn kill(&mut self, me: NodeId) {
        self.kills += 1;
        let after = self.disk(me).after_cut(self.seed ^ self.kills);
        self.disks.insert(me, after);
        self.hub.members.lock().remove(&me);
        let (_, alive) = self.members.remove(&me).unwrap();
        alive.store(false, Ordering::Relaxed);
    }

    /// Lets these reach nobody, and nobody them. All others reach each other.
    pub(crate) fn cut_off(&self, members: &[NodeId]) {
        *self.hub.cut_off.lock() = members.iter().copied().collect();
    }

    /// Takes a member's folder away for good; it begins an empty one when it is started again.
    pub(crate) fn lose_folder(&mut self, me: NodeId) {
        self.disks.remove(&me);
    }

    /// Puts a folder in the place of a member's.
    pub(crate) fn restore_folder(&mut self, me: NodeId, disk: SimDisk) {
        self.disks.insert(me, disk);
    }

    pub(crate) fn disk(&mut self, of: NodeId) -> SimDisk {
        self.disks.entry(of).or_default().clone()
    }

    pub(crate) fn member(&self, me: NodeId) -> Arc<Consensus<Tally>> {
        self.members[&me].0.clone()
    }

    pub(crate) fn alive(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    pub(crate) fn statuses(&self) -> BTreeMap<NodeId, Status> {
        self.members.iter().map(|(node, (member, _))| (*node, member.status())).collect()
    }

    /// Waits until `condition` holds, for a minute of virtual time.
    pub(crate) async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        for _ in 0..3000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never: {what}; {:#?}", self.statuses());
    }

    /// Waits until somebody leads whom a majority follows, and says who.
    pub(crate) async fn leader(&self) -> NodeId {
        let mut found = None;
        self.until("a leader", |cluster| {
            let leads = |node: &NodeId| cluster.members[node].0.status().leads;
            let newest = cluster.statuses().into_iter().max_by_key(|(_, status)| status.term);
            found = newest.and_then(|(_, status)| status.leader).filter(|leader| cluster.members.contains_key(leader));
            found = found.filter(leads);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Writes as a client does: goes where it is told to, tries again, keeps its id.
    pub(crate) async fn write(&self, id: u128) -> i64 {
        let mut hint = None;
        for turn in 0..1000 {
            let alive = self.alive();
            let asked = hint.take().filter(|hint| alive.contains(hint)).unwrap_or(alive[turn % alive.len()]);
            match self.member(asked).write(id, b"1".to_vec()).await {
                Ok(answer) => return String::from_utf8(answer).unwrap().parse().unwrap(),
                Err(WriteError::NotLeader { leader }) => hint = leader,
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{id} was never written; {:#?}", self.statuses());
    }

    /// Waits until all members alive have the same state, and gives it back.
    pub(crate) async fn agreed(&self) -> Tally {
        use crate::replicated::Replicated;
        self.until("the same state everywhere", |cluster| {
            let last = cluster.statuses().into_values().map(|status| status.last.max(status.applied)).max().flatten();
            let hash = |(member, _): &(Arc<Consensus<Tally>>, _)| member.read_stale(Replicated::state_hash);
            let hashes: BTreeSet<_> = cluster.members.values().map(hash).collect();
            hashes.len() == 1 && cluster.statuses().values().all(|status| status.applied == last)
        })
        .await;
        self.members.values().next().unwrap().0.read_stale(Tally::clone)
    }
}
