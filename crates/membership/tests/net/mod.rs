//! A cluster of membership cores on a little network in memory, in virtual time, replayed by its seed.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use covenant_membership::{Change, Effect, Event, Health, Membership, Profile, Stats};
use covenant_types::{BootEpoch, LinkTier, NodeId, Uptime};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Latency of a link, each way.
const LATENCY_MS: std::ops::Range<u64> = 1..5;
/// How long a connection outlives its peer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long signed records take to reach everybody, and a new node to dial everybody.
const DIAL: Duration = Duration::from_millis(200);

pub fn id(node: usize) -> NodeId {
    NodeId([u8::try_from(node).expect("a small cluster"); 16])
}

enum Happening {
    Deliver { to: usize, boot: u64, event: Event },
    Connect { a: usize, b: usize },
    Disconnect { at: usize, boot: u64, peer: usize, peer_boot: u64 },
}

struct Node {
    core: Membership,
    epoch: u64,
    connected: BTreeMap<usize, u64>,
}

pub struct Net {
    pub now: Uptime,
    profile: Profile,
    rng: StdRng,
    nodes: Vec<Option<Node>>,
    epochs: Vec<u64>,
    queue: BTreeMap<(Uptime, u64), Happening>,
    sequence: u64,
    /// Datagrams lost, in a thousand.
    pub loss: u32,
    /// Stream messages that do not come in time, in a thousand.
    pub stream_loss: u32,
    /// Directed links that carry nothing.
    pub cut: BTreeSet<(usize, usize)>,
    pub lost: u64,
    pub told: Vec<(Uptime, usize, Change)>,
    pub renewals: Vec<(Uptime, usize)>,
    pub datagram_bytes: u64,
    pub quarantined: u64,
    trace: u64,
}

impl Net {
    pub fn new(size: usize, seed: u64, profile: Profile) -> Self {
        Self {
            now: Uptime::ZERO,
            profile,
            rng: StdRng::seed_from_u64(seed),
            nodes: (0..size).map(|_| None).collect(),
            epochs: vec![0; size],
            queue: BTreeMap::new(),
            sequence: 0,
            loss: 0,
            stream_loss: 0,
            cut: BTreeSet::new(),
            lost: 0,
            told: Vec::new(),
            renewals: Vec::new(),
            datagram_bytes: 0,
            quarantined: 0,
            trace: 0,
        }
    }

    /// A cluster in which everybody knows everybody.
    pub fn formed(size: usize, seed: u64) -> Self {
        let mut net = Self::new(size, seed, Profile::loopback());
        net.boot(0);
        for node in 1..size {
            net.boot(node);
            net.join(node, 0);
        }
        // Until everybody is connected to everybody as well.
        net.run(DIAL * 2);
        net.until("everybody knows everybody", Duration::from_secs(30), Self::complete);
        net
    }

    pub fn boot(&mut self, node: usize) {
        self.epochs[node] += 1;
        let (epoch, rng) = (self.epochs[node], StdRng::seed_from_u64(self.rng.random()));
        let core = Membership::new(id(node), BootEpoch(epoch), LinkTier::Lan, self.profile.clone(), rng, self.now);
        self.nodes[node] = Some(Node { core, epoch, connected: BTreeMap::new() });
    }

    /// Connects `node` to one member; its record reaches the others, and they connect.
    pub fn join(&mut self, node: usize, seed: usize) {
        self.at(self.now, Happening::Connect { a: node, b: seed });
        for other in self.alive() {
            if other != node {
                self.at(self.now.after(DIAL), Happening::Connect { a: node, b: other });
            }
        }
    }

    /// Ends a node without a word.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    pub fn leave(&mut self, node: usize) {
        self.deliver(node, Event::Leave);
    }

    pub fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_some()).collect()
    }

    pub fn core(&self, node: usize) -> &Membership {
        &self.nodes[node].as_ref().expect("the node runs").core
    }

    pub fn stats(&self) -> Vec<Stats> {
        self.alive().into_iter().map(|node| self.core(node).stats()).collect()
    }

    pub fn health(&self, viewer: usize, subject: usize) -> Option<(Health, u64)> {
        let change = self.core(viewer).members().find(|change| change.node == id(subject))?;
        Some((change.health, change.epoch.0))
    }

    /// Whether each live node sees each other live node alive, in its present boot.
    pub fn complete(&self) -> bool {
        let alive = self.alive();
        alive.iter().all(|&viewer| {
            let sees = |&other: &usize| {
                other == viewer || self.health(viewer, other) == Some((Health::Alive, self.epochs[other]))
            };
            alive.iter().all(sees)
        })
    }

    pub fn all_see(&self, subject: usize, health: Health) -> bool {
        let others = self.alive().into_iter().filter(|&viewer| viewer != subject);
        others.into_iter().all(|viewer| self.health(viewer, subject).map(|(seen, _)| seen) == Some(health))
    }

    /// Cuts all links between the two groups, both ways.
    pub fn partition(&mut self, left: &[usize], right: &[usize]) {
        for &a in left {
            for &b in right {
                self.cut.extend([(a, b), (b, a)]);
            }
        }
    }

    pub fn run(&mut self, span: Duration) {
        let end = self.now.after(span);
        while self.step(end) {}
    }

    /// Runs until `condition` holds and returns how long that took; fails after `bound`.
    pub fn until(&mut self, what: &str, bound: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let (start, end) = (self.now, self.now.after(bound));
        while !condition(self) {
            assert!(self.step(end), "not within {bound:?}: {what}\n{}", self.describe());
        }
        self.now.since(start)
    }

    /// Two runs of one seed have the same.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    fn describe(&self) -> String {
        let views = self.alive().into_iter().map(|node| {
            let seen: Vec<_> =
                self.core(node).members().map(|c| format!("{}={:?}/{}", c.node.0[0], c.health, c.epoch)).collect();
            format!("{node}: {}", seen.join(" "))
        });
        views.collect::<Vec<_>>().join("\n")
    }

    fn at(&mut self, at: Uptime, happening: Happening) {
        self.queue.insert((at, self.sequence), happening);
        self.sequence += 1;
    }

    /// Does what happens next; false once `end` is reached.
    fn step(&mut self, end: Uptime) -> bool {
        let wake = self.alive().into_iter().filter_map(|node| Some((self.core(node).next_wake()?, node))).min();
        let next = self.queue.keys().next().map(|(at, _)| *at);
        let timer_first = match (wake, next) {
            (Some((wake, _)), Some(next)) => wake <= next,
            (wake, _) => wake.is_some(),
        };
        let at = if timer_first { wake.map(|(at, _)| at) } else { next };
        let Some(at) = at.filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(at);
        if timer_first {
            let (_, node) = wake.expect("a timer is first");
            self.deliver(node, Event::Woken);
        } else {
            let (_, happening) = self.queue.pop_first().expect("something is queued");
            self.happen(happening);
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, boot, event } => {
                if self.nodes[to].as_ref().is_some_and(|node| node.epoch == boot) {
                    self.deliver(to, event);
                }
            }
            Happening::Connect { a, b } => self.connect(a, b),
            Happening::Disconnect { at, boot, peer, peer_boot } => {
                let Some(node) = self.nodes[at].as_mut().filter(|node| node.epoch == boot) else { return };
                if node.connected.get(&peer) == Some(&peer_boot) {
                    node.connected.remove(&peer);
                    self.deliver(at, Event::PeerDown(id(peer)));
                }
            }
        }
    }

    /// Opens a connection of which neither core hears.
    pub fn link(&mut self, a: usize, b: usize) {
        for (at, peer) in [(a, b), (b, a)] {
            let epoch = self.epochs[peer];
            self.nodes[at].as_mut().expect("the node runs").connected.insert(peer, epoch);
        }
    }

    /// Opens a connection; both ends hear what the other's records say.
    pub fn connect(&mut self, a: usize, b: usize) {
        for (at, peer) in [(a, b), (b, a)] {
            let Some(epoch) = self.nodes[peer].as_ref().map(|node| node.epoch) else { return };
            let Some(node) = self.nodes[at].as_mut() else { return };
            if node.connected.insert(peer, epoch) == Some(epoch) {
                return;
            }
        }
        for (at, peer) in [(a, b), (b, a)] {
            for known in self.alive() {
                let epoch = BootEpoch(self.epochs[known]);
                self.deliver(at, Event::EpochKnown { node: id(known), epoch });
            }
            let epoch = BootEpoch(self.epochs[peer]);
            self.deliver(at, Event::PeerUp { node: id(peer), epoch });
        }
    }

    pub fn deliver(&mut self, to: usize, event: Event) {
        let now = self.now;
        let Some(node) = self.nodes[to].as_mut() else { return };
        for effect in node.core.handle(now, event) {
            self.perform(to, effect);
        }
    }

    fn perform(&mut self, from: usize, effect: Effect) {
        self.mix(&self.now.as_millis().to_be_bytes());
        if let Effect::SendDatagram { data, .. } | Effect::SendFeed { data, .. } = &effect {
            self.mix(data);
        }
        match effect {
            Effect::SendDatagram { to, data } => self.send(from, to, true, data),
            Effect::SendFeed { to, data } => self.send(from, to, false, data),
            Effect::Changed(change) => self.told.push((self.now, from, change)),
            Effect::Renewed { .. } => self.renewals.push((self.now, from)),
            Effect::Quarantined { .. } => self.quarantined += 1,
        }
    }

    fn send(&mut self, from: usize, to: NodeId, datagram: bool, data: Bytes) {
        let to = usize::from(to.0[0]);
        // The same number of draws whatever happens, so that a fault does not shift the rest.
        let (latency, dice) = (self.rng.random_range(LATENCY_MS), self.rng.random_range(0..1000));
        let Some(&boot) = self.nodes[from].as_ref().and_then(|node| node.connected.get(&to)) else { return };
        if self.cut.contains(&(from, to)) || dice < if datagram { self.loss } else { self.stream_loss } {
            self.lost += 1;
            return;
        }
        if datagram {
            assert!(data.len() <= covenant_membership::PACKET_BYTES_MAX);
            self.datagram_bytes += data.len() as u64;
        }
        let event =
            if datagram { Event::Datagram { from: id(from), data } } else { Event::Feed { from: id(from), data } };
        let at = self.now.after(Duration::from_millis(latency));
        self.at(at, Happening::Deliver { to, boot, event });
    }

    /// Lets every connection to and from a crashed or cut-off node run into its idle timeout.
    pub fn expire_connections(&mut self, peer: usize) {
        let peer_boot = self.epochs[peer];
        for at in self.alive() {
            let boot = self.epochs[at];
            self.at(self.now.after(IDLE_TIMEOUT), Happening::Disconnect { at, boot, peer, peer_boot });
        }
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
