//! Nodes in several regions, laid out in pools: connections follow the topology, and boards and leases are at work.
//!
//! No loss, and one delay for all: what those do to a pool is seen in [`swim`](crate::swim).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use covenant_membership::{Effect, Event, Health, Neighbour, Paces, Place, Pools, Topology};
use covenant_types::{BootEpoch, LinkTier, NodeId, Region, Role, Uptime};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A hub on a good line.
pub fn hub(region: Region) -> Place {
    Place { role: Role::Hub, region, tier: LinkTier::Lan }
}

/// A tower on a good line.
pub fn member(region: Region) -> Place {
    Place { role: Role::Tower, region, tier: LinkTier::Lan }
}

/// A tower by way of space.
pub fn leaf(region: Region) -> Place {
    Place { role: Role::Tower, region, tier: LinkTier::Satellite }
}

/// The id of a node.
fn id(node: usize) -> NodeId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&node.to_be_bytes());
    // Buckets are told by the last byte.
    id[15] = u8::try_from(node % 251).expect("less than 256");
    NodeId(id)
}

/// How long a message travels.
const DELAY: Duration = Duration::from_millis(5);
/// How often nodes look whom they should be connected to.
const LOOK: Duration = Duration::from_millis(250);
/// How long a connection to a node that is gone stands.
const IDLE: Duration = Duration::from_secs(2);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrives { to: usize, from: usize, datagram: bool, data: Vec<u8>, boots: (u64, u64) },
    Wake { node: usize },
    Look,
    Idle { node: usize, peer: usize },
}

#[derive(Debug)]
struct Node {
    place: Place,
    boot: u64,
    core: Option<Pools>,
    away: bool,
    wake: Option<Uptime>,
    traffic: (u64, u64),
}

/// All nodes, and what is under way between them.
#[derive(Debug)]
pub struct Land {
    now: Uptime,
    sequence: u64,
    agenda: BinaryHeap<Reverse<(Uptime, u64, Happening)>>,
    nodes: Vec<Node>,
    links: BTreeSet<(usize, usize)>,
    island: BTreeSet<usize>,
    index: BTreeMap<NodeId, usize>,
    paces: Paces,
    rng: StdRng,
}

impl Land {
    /// Boots nodes at these places.
    pub fn new(places: Vec<Place>, paces: Paces, seed: u64) -> Self {
        let count = places.len();
        let node = |place| Node { place, boot: 0, core: None, away: false, wake: None, traffic: (0, 0) };
        let mut land = Self {
            now: Uptime::ZERO,
            sequence: 0,
            agenda: BinaryHeap::new(),
            nodes: places.into_iter().map(node).collect(),
            links: BTreeSet::new(),
            island: BTreeSet::new(),
            index: (0..count).map(|node| (id(node), node)).collect(),
            paces,
            rng: StdRng::seed_from_u64(seed),
        };
        (0..count).for_each(|node| land.boot(node));
        land.schedule(Duration::ZERO, Happening::Look);
        land
    }

    /// Starts a node's next boot. Its record reaches all at once.
    pub fn boot(&mut self, node: usize) {
        self.nodes[node].boot += 1;
        let (boot, place) = (BootEpoch(self.nodes[node].boot), self.nodes[node].place);
        let rng = StdRng::seed_from_u64(self.rng.random());
        let core = Pools::new((id(node), boot), (Topology::Pools, place), self.paces.clone(), rng, self.now);
        self.nodes[node].core = Some(core);
        for other in 0..self.nodes.len() {
            let theirs = (BootEpoch(self.nodes[other].boot), self.nodes[other].place);
            self.with(other, |core, now| core.placed(now, id(node), boot, place));
            self.with(node, |core, now| core.placed(now, id(other), theirs.0, theirs.1));
        }
    }

    /// Ends a node without a word. Its connections break after a while.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].core = None;
        for peer in self.peers(node) {
            self.schedule(IDLE, Happening::Idle { node, peer });
        }
    }

    /// Has a node say goodbye, and closes its connections.
    pub fn leave(&mut self, node: usize) {
        self.event(node, Event::Leave);
        self.nodes[node].away = true;
        self.run(DELAY * 2);
        for peer in self.peers(node) {
            self.disconnect(node, peer);
        }
    }

    /// Has a node that said goodbye take part again, in the same boot.
    pub fn come_back(&mut self, node: usize) {
        self.nodes[node].away = false;
        self.event(node, Event::Return);
    }

    /// Parts these from the others.
    pub fn cut(&mut self, nodes: &[usize]) {
        self.island = nodes.iter().copied().collect();
        let parted: Vec<_> = self.links.iter().copied().filter(|(one, other)| self.parted(*one, *other)).collect();
        for (node, peer) in parted {
            self.schedule(IDLE, Happening::Idle { node, peer });
        }
    }

    /// Ends the cut.
    pub fn heal(&mut self) {
        self.island.clear();
    }

    /// Sends bytes over a connection as if a node had made them.
    pub fn inject(&mut self, from: usize, to: usize, datagram: bool, data: &[u8]) {
        self.send(from, to, datagram, data.to_vec());
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now.after(span);
        while self.agenda.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until something holds.
    ///
    /// # Panics
    /// It does not hold in time.
    pub fn until(&mut self, what: &str, within: Duration, condition: impl Fn(&Self) -> bool) {
        let end = self.now.after(within);
        while !condition(self) {
            assert!(self.now < end, "not within {within:?}: {what}\n{}", self.show());
            self.run(Duration::from_millis(100));
        }
    }

    /// Lets time pass in which something must not hold.
    ///
    /// # Panics
    /// It holds.
    pub fn never(&mut self, what: &str, within: Duration, condition: impl Fn(&Self) -> bool) {
        let end = self.now.after(within);
        while self.now < end {
            assert!(!condition(self), "{what}\n{}", self.show());
            self.run(Duration::from_millis(100));
        }
    }

    /// Whether a node holds another to be so.
    pub fn sees(&self, viewer: usize, node: usize, health: Health) -> bool {
        self.view(viewer, node).is_some_and(|seen| seen == health)
    }

    /// In which boot a node holds another to be.
    pub fn epoch(&self, viewer: usize, node: usize) -> Option<u64> {
        self.nodes[viewer].core.as_ref()?.member(&id(node)).map(|member| member.epoch.0)
    }

    /// Whether all that run hold a node to be so.
    pub fn all_see(&self, node: usize, health: Health) -> bool {
        self.viewers().filter(|viewer| *viewer != node).all(|viewer| self.sees(viewer, node, health))
    }

    /// Whether any that runs does.
    pub fn anybody_sees(&self, node: usize, health: Health) -> bool {
        self.viewers().any(|viewer| self.sees(viewer, node, health))
    }

    /// Whether all that run see exactly those alive that run.
    pub fn complete(&self) -> bool {
        let runs = |node: usize| self.nodes[node].core.is_some() && !self.nodes[node].away;
        self.viewers().all(|viewer| {
            (0..self.nodes.len())
                .filter(|node| *node != viewer)
                .all(|node| self.sees(viewer, node, Health::Alive) == runs(node))
        })
    }

    /// How many connections a node has.
    pub fn degree(&self, node: usize) -> usize {
        self.peers(node).len()
    }

    /// Whether two nodes have a connection.
    pub fn connected(&self, one: usize, other: usize) -> bool {
        self.links.contains(&(one.min(other), one.max(other)))
    }

    /// What a node refused so far.
    pub fn refused(&self, node: usize) -> u64 {
        self.nodes[node].core.as_ref().map_or(0, |core| core.stats().refused)
    }

    /// What a node sent and received so far: bytes of payload, messages.
    pub fn traffic(&self, node: usize) -> (u64, u64) {
        self.nodes[node].traffic
    }

    /// The same from then until now.
    pub fn traffic_since(&self, node: usize, before: (u64, u64)) -> (u64, u64) {
        let now = self.nodes[node].traffic;
        (now.0 - before.0, now.1 - before.1)
    }

    fn viewers(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].core.is_some() && !self.nodes[*node].away)
    }

    fn view(&self, viewer: usize, node: usize) -> Option<Health> {
        self.nodes[viewer].core.as_ref()?.member(&id(node)).map(|member| member.health)
    }

    fn show(&self) -> String {
        let line = |viewer: usize| {
            let words = (0..self.nodes.len()).map(|node| match self.view(viewer, node) {
                None => '?',
                Some(Health::Alive) => 'A',
                Some(Health::Suspect) => 'S',
                Some(Health::Down) => 'D',
                Some(Health::Left) => 'L',
            });
            format!("{viewer:3} {} {:?}\n", words.collect::<String>(), self.peers(viewer))
        };
        self.viewers().map(line).collect()
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.sequence += 1;
        self.agenda.push(Reverse((self.now.after(after), self.sequence, happening)));
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, happening))) = self.agenda.pop() else { return };
        self.now = at;
        match happening {
            Happening::Arrives { to, from, datagram, data, boots } => {
                let present = (self.nodes[from].boot, self.nodes[to].boot) == boots;
                if !present || self.nodes[to].core.is_none() || !self.connected(from, to) {
                    return;
                }
                self.nodes[to].traffic.0 += data.len() as u64;
                self.nodes[to].traffic.1 += 1;
                let (from, data) = (id(from), Bytes::from(data));
                let event = if datagram { Event::Datagram { from, data } } else { Event::Feed { from, data } };
                self.event(to, event);
            }
            Happening::Wake { node } => {
                if self.nodes[node].wake == Some(at) {
                    self.nodes[node].wake = None;
                    self.event(node, Event::Woken);
                }
            }
            Happening::Look => {
                (0..self.nodes.len()).for_each(|node| self.look(node));
                self.schedule(LOOK, Happening::Look);
            }
            Happening::Idle { node, peer } => {
                if self.nodes[node].core.is_none() || self.parted(node, peer) {
                    self.disconnect(node, peer);
                }
            }
        }
    }

    /// Connects a node to those it should be connected to.
    fn look(&mut self, node: usize) {
        let runs = |node: usize| self.nodes[node].core.is_some() && !self.nodes[node].away;
        if !runs(node) {
            return;
        }
        let usable =
            |other: usize| self.view(node, other).is_none_or(|seen| matches!(seen, Health::Alive | Health::Suspect));
        let neighbours: Vec<_> = (0..self.nodes.len())
            .map(|other| Neighbour { id: id(other), place: self.nodes[other].place, usable: usable(other) })
            .collect();
        let warm = Topology::Pools.warm(id(node), &self.nodes[node].place, &neighbours);
        let wanted: Vec<usize> = warm.into_iter().map(|other| self.index[&other]).collect();
        let due: Vec<usize> = wanted
            .into_iter()
            .filter(|other| runs(*other) && !self.connected(node, *other) && !self.parted(node, *other))
            .collect();
        due.into_iter().for_each(|other| self.connect(node, other));
    }

    fn parted(&self, one: usize, other: usize) -> bool {
        self.island.contains(&one) != self.island.contains(&other)
    }

    fn peers(&self, node: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|other| *other != node && self.connected(node, *other)).collect()
    }

    fn connect(&mut self, one: usize, other: usize) {
        self.links.insert((one.min(other), one.max(other)));
        for (node, peer) in [(one, other), (other, one)] {
            let epoch = BootEpoch(self.nodes[peer].boot);
            self.event(node, Event::PeerUp { node: id(peer), epoch });
        }
    }

    fn disconnect(&mut self, one: usize, other: usize) {
        if self.links.remove(&(one.min(other), one.max(other))) {
            self.event(one, Event::PeerDown(id(other)));
            self.event(other, Event::PeerDown(id(one)));
        }
    }

    fn send(&mut self, from: usize, to: usize, datagram: bool, data: Vec<u8>) {
        if self.connected(from, to) && !self.parted(from, to) {
            self.nodes[from].traffic.0 += data.len() as u64;
            self.nodes[from].traffic.1 += 1;
            let boots = (self.nodes[from].boot, self.nodes[to].boot);
            self.schedule(DELAY, Happening::Arrives { to, from, datagram, data, boots });
        }
    }

    fn event(&mut self, node: usize, event: Event) {
        self.with(node, |core, now| core.handle(now, event));
    }

    fn with(&mut self, node: usize, step: impl FnOnce(&mut Pools, Uptime) -> Vec<Effect>) {
        let now = self.now;
        let Some(core) = &mut self.nodes[node].core else { return };
        let effects = step(core, now);
        let wake = core.next_wake().map(|wake| wake.max(now));
        for effect in effects {
            match effect {
                Effect::SendDatagram { to, data } => self.send(node, self.index[&to], true, data.to_vec()),
                Effect::SendFeed { to, data } => self.send(node, self.index[&to], false, data.to_vec()),
                Effect::Changed(_) | Effect::Renewed { .. } => {}
                Effect::Quarantined { node, why } => panic!("{node} is quarantined for {}", why.as_str()),
            }
        }
        if self.nodes[node].wake != wake {
            self.nodes[node].wake = wake;
            if let Some(wake) = wake {
                self.schedule(wake.since(now), Happening::Wake { node });
            }
        }
    }
}
