//! Nodes, a clock and a queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use covenant_membership::{Change, Effect, Event, Health, Membership, Profile, Stats};
use covenant_types::{BootEpoch, LinkTier, NodeId, Uptime};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::line::{Fate, Line, Lines};
use super::measure::Stall;
use crate::Trace;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The line of each node.
    pub tiers: Vec<LinkTier>,
    /// Everybody's pace.
    pub profile: Profile,
    /// How long a connection outlives its line.
    pub idle: Duration,
    /// The longest wait between two dials.
    pub redial: Duration,
}

impl Setup {
    /// Nodes in one data centre.
    pub fn lan(nodes: usize) -> Self {
        let tiers = vec![LinkTier::Lan; nodes];
        Self { tiers, profile: Profile::lan(), idle: Duration::from_secs(60), redial: Duration::from_secs(30) }
    }

    /// Nodes everywhere: three of ten by way of space, the rest by carriers.
    pub fn mixed(nodes: usize) -> Self {
        let tier = |node: usize| if node % 10 < 3 { LinkTier::Satellite } else { LinkTier::Wan };
        let tiers = (0..nodes).map(tier).collect();
        Self { tiers, profile: Profile::mixed(), idle: Duration::from_secs(120), redial: Duration::from_secs(60) }
    }
}

/// A change as some node saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Uptime,
    /// Who saw it.
    pub viewer: usize,
    /// Of whom.
    pub subject: usize,
    /// What it was.
    pub change: Change,
}

struct Node {
    core: Option<Membership>,
    epoch: u64,
    /// The wake that is in the queue for this node, in microseconds.
    wake: u64,
    /// Nothing happens here before this, in microseconds.
    stalled: u64,
    /// What it sends and is sent waits until then, in microseconds.
    choked: u64,
    /// The node ids it is connected to.
    connected: BTreeSet<usize>,
    /// The epoch in the record that it holds of each node, 0 where it holds none.
    records: Vec<u64>,
}

enum What {
    Wake(usize),
    Deliver {
        to: usize,
        epoch: u64,
        event: Event,
    },
    /// A line that was cut at a moment; the connection breaks unless it was mended since.
    Idle {
        a: usize,
        b: usize,
        cut: u64,
    },
    Dial {
        a: usize,
        b: usize,
    },
}

/// Cores, lines and a clock.
pub struct World {
    setup: Setup,
    now: u64,
    seq: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// What the entries of the queue stand for; moving it about in the queue would cost more than all else.
    slots: Vec<Option<What>>,
    free: Vec<usize>,
    nodes: Vec<Node>,
    index: BTreeMap<NodeId, usize>,
    /// What lies between them. Change it at will; call [`World::lines_changed`] after cuts and heals.
    pub lines: Lines,
    rng: StdRng,
    /// Since when a pair has been cut off.
    cuts: BTreeMap<(usize, usize), u64>,
    /// All changes told, in order, since it was last emptied.
    pub told: Vec<Told>,
    /// Who came back with a new life though its process ran on.
    pub renewed: Vec<(Uptime, usize)>,
    /// Who was quarantined by whom.
    pub quarantined: Vec<(Uptime, usize, usize)>,
    /// Payload bytes sent by each node: datagrams and streams.
    pub sent: Vec<u64>,
    /// Datagrams and stream messages sent.
    pub packets: u64,
    /// What was lost or blocked.
    pub lost: u64,
    trace: Trace,
    /// The first broken rule, if any.
    pub broken: Option<String>,
    epochs_told: BTreeMap<(usize, usize), BootEpoch>,
}

/// The id of a node: spread as hashes are.
pub(super) fn id(node: usize) -> NodeId {
    let mut state = node as u64;
    let mut bytes = [0; 16];
    for half in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        half.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    NodeId(bytes)
}

impl World {
    /// Nodes that do not know each other yet.
    pub fn new(setup: Setup, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let lines: Vec<Line> = setup.tiers.iter().map(|tier| Line::of(*tier, &mut rng)).collect();
        let size = lines.len();
        let lines = Lines::new(lines, StdRng::from_rng(&mut rng));
        let nodes = (0..size)
            .map(|_| Node {
                core: None,
                epoch: 0,
                wake: u64::MAX,
                stalled: 0,
                choked: 0,
                connected: BTreeSet::new(),
                records: Vec::new(),
            })
            .collect();
        let mut world = Self {
            setup,
            now: 0,
            seq: 0,
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            nodes,
            index: (0..size).map(|node| (id(node), node)).collect(),
            lines,
            rng,
            cuts: BTreeMap::new(),
            told: Vec::new(),
            renewed: Vec::new(),
            quarantined: Vec::new(),
            sent: vec![0; size],
            packets: 0,
            lost: 0,
            trace: Trace::new(),
            broken: None,
            epochs_told: BTreeMap::new(),
        };
        (0..size).for_each(|node| world.start(node));
        world
    }

    /// Nodes that all know each other and have been at it for a while: their timers are apart.
    pub fn formed(setup: Setup, seed: u64) -> Self {
        let mut world = Self::new(setup, seed);
        let size = world.nodes.len();
        for node in 0..size {
            for other in (0..size).filter(|other| *other != node) {
                world.introduce(node, other);
            }
        }
        // What they would say to each other here is what they know already.
        for node in 0..size {
            for other in (0..size).filter(|other| *other != node) {
                let up = Event::PeerUp { node: id(other), epoch: BootEpoch(1) };
                world.nodes[node].connected.insert(other);
                let now = world.now();
                if let Some(core) = world.nodes[node].core.as_mut() {
                    let _said = core.handle(now, up);
                }
            }
            world.schedule_wake(node);
        }
        // Nobody starts to probe at the same moment as all others.
        for node in 0..size {
            let micros = world.rng.random_range(0..10_000_000);
            world.nodes[node].stalled = micros.min(2_000_000);
        }
        world.run(Duration::from_secs(60));
        world.told.clear();
        world.renewed.clear();
        world
    }

    fn start(&mut self, node: usize) {
        let rng = StdRng::from_rng(&mut self.rng);
        let epoch = self.nodes[node].epoch + 1;
        let (tier, profile) = (self.setup.tiers[node], self.setup.profile.clone());
        let core = Membership::new(id(node), BootEpoch(epoch), tier, profile, rng, self.now());
        let records = vec![0; self.len()];
        self.nodes[node] = Node {
            core: Some(core),
            epoch,
            wake: u64::MAX,
            stalled: self.now,
            choked: self.now,
            connected: BTreeSet::new(),
            records,
        };
        self.schedule_wake(node);
    }

    /// Ends a node without a word.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].core = None;
        for other in std::mem::take(&mut self.nodes[node].connected) {
            let cut = self.now;
            self.cuts.insert(pair(node, other), cut);
            self.push(self.now + micros(self.setup.idle), What::Idle { a: node, b: other, cut });
        }
    }

    /// Starts a node again, which knows nobody, and lets it dial one, and then all whose records it gets there.
    pub fn restart(&mut self, node: usize, through: usize) {
        self.start(node);
        self.dial_all(node, through);
    }

    /// Starts a node again, which knows nobody, and lets it dial one alone.
    pub fn restart_through(&mut self, node: usize, through: usize) {
        self.start(node);
        let handshake = micros(self.lines.rtt(node, through)) * 2;
        self.push(self.now + handshake, What::Dial { a: node, b: through });
    }

    fn dial_all(&mut self, node: usize, through: usize) {
        let first = micros(self.lines.rtt(node, through)) * 2;
        self.push(self.now + first, What::Dial { a: node, b: through });
        for other in (0..self.nodes.len()).filter(|other| *other != node && *other != through) {
            let after = first + micros(self.lines.rtt(node, other)) * 2;
            self.push(self.now + after, What::Dial { a: node, b: other });
        }
    }

    /// Says goodbye for a node.
    pub fn leave(&mut self, node: usize) {
        self.handle(node, Event::Leave);
    }

    /// Brings back one that had said goodbye.
    pub fn wake_up(&mut self, node: usize) {
        self.handle(node, Event::Return);
    }

    /// Holds a node up: what comes in the meantime it finds when it goes on, and where it stands still whole its own timers
    /// too.
    pub fn stall(&mut self, node: usize, kind: Stall, span: Duration) {
        let until = self.now + micros(span);
        match kind {
            Stall::Whole => self.nodes[node].stalled = until,
            Stall::Mail => self.nodes[node].choked = until,
        }
    }

    /// After cuts and heals: connections over cut lines will break, and over mended ones be made again.
    pub fn lines_changed(&mut self) {
        let size = self.nodes.len();
        for a in 0..size {
            for b in a + 1..size {
                let cut = self.lines.is_cut(a, b) || self.lines.is_cut(b, a);
                match (cut, self.cuts.contains_key(&(a, b))) {
                    (true, false) => {
                        self.cuts.insert((a, b), self.now);
                        self.push(self.now + micros(self.setup.idle), What::Idle { a, b, cut: self.now });
                    }
                    (false, true) if self.is_up(a) && self.is_up(b) => {
                        let since = self.now - self.cuts.remove(&(a, b)).unwrap_or(self.now);
                        // Who has waited long waits longer, up to a bound.
                        let most = since.min(micros(self.setup.redial)).max(1);
                        let at = self.now + self.rng.random_range(0..most);
                        self.push(at, What::Dial { a, b });
                    }
                    (true, true) | (false, _) => {}
                }
            }
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Uptime {
        Uptime(Duration::from_micros(self.now))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a node's process runs.
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].core.is_some()
    }

    /// What one node holds of another.
    pub fn health(&self, viewer: usize, subject: usize) -> Option<Health> {
        self.nodes[viewer].core.as_ref()?.member(&id(subject)).map(|change| change.health)
    }

    /// How many of the nodes that run hold this of `subject`, itself left out.
    pub fn holding(&self, subject: usize, health: Health) -> usize {
        (0..self.len()).filter(|viewer| *viewer != subject && self.health(*viewer, subject) == Some(health)).count()
    }

    /// How many pairs of running nodes see each other alive, of how many.
    pub fn complete(&self) -> (usize, usize) {
        let up: Vec<usize> = (0..self.len()).filter(|node| self.is_up(*node)).collect();
        let sees = |viewer: usize| {
            up.iter().filter(|n| **n != viewer && self.health(viewer, **n) == Some(Health::Alive)).count()
        };
        (up.iter().map(|viewer| sees(*viewer)).sum(), up.len() * up.len().saturating_sub(1))
    }

    /// The sum of what all cores refused and counted.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for stats in self.nodes.iter().filter_map(|node| node.core.as_ref()).map(Membership::stats) {
            sum.refused += stats.refused;
            sum.held += stats.held;
            sum.doubted += stats.doubted;
            sum.probes_failed += stats.probes_failed;
            sum.stale_suspicions += stats.stale_suspicions;
            sum.stragglers += stats.stragglers;
            sum.faults += stats.faults;
        }
        sum
    }

    /// What this run comes to.
    pub fn trace(&self) -> Trace {
        self.trace
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + micros(span);
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `condition` holds, looked at every `every`; `None` if it does not within `bound`.
    pub fn until(&mut self, every: Duration, bound: Duration, condition: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while self.now - start <= micros(bound) {
            if condition(self) {
                return Some(Duration::from_micros(self.now - start));
            }
            self.run(every);
        }
        None
    }

    fn step(&mut self, end: u64) -> bool {
        if self.queue.peek().is_none_or(|Reverse((at, _, _))| *at > end) {
            return false;
        }
        let Some(Reverse((at, _, slot))) = self.queue.pop() else { return false };
        let Some(what) = self.slots[slot].take() else { return false };
        self.free.push(slot);
        self.now = self.now.max(at);
        match what {
            What::Wake(node) => {
                if self.nodes[node].wake == at {
                    self.nodes[node].wake = u64::MAX;
                    self.handle(node, Event::Woken);
                }
            }
            What::Deliver { to, epoch, event } => {
                if self.nodes[to].epoch != epoch || self.nodes[to].core.is_none() {
                    return true;
                }
                let stalled = self.nodes[to].stalled.max(self.nodes[to].choked);
                if stalled > self.now {
                    self.push(stalled, What::Deliver { to, epoch, event });
                } else {
                    self.handle(to, event);
                }
            }
            What::Idle { a, b, cut } => {
                if self.cuts.get(&pair(a, b)) == Some(&cut) {
                    self.disconnect(a, b);
                }
            }
            What::Dial { a, b } => self.connect(a, b),
        }
        true
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        for (at, peer) in [(a, b), (b, a)] {
            self.nodes[at].connected.remove(&peer);
            self.handle(at, Event::PeerDown(id(peer)));
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        if !self.is_up(a) || !self.is_up(b) || self.lines.is_cut(a, b) || self.lines.is_cut(b, a) {
            return;
        }
        self.cuts.remove(&pair(a, b));
        for (at, peer) in [(a, b), (b, a)] {
            self.nodes[at].connected.insert(peer);
            self.introduce(at, peer);
            // With the connection come the other's records.
            let known: Vec<usize> = self.nodes[peer].connected.iter().copied().collect();
            for other in known.into_iter().filter(|other| *other != at) {
                self.introduce(at, other);
            }
            let epoch = BootEpoch(self.nodes[peer].epoch);
            self.handle(at, Event::PeerUp { node: id(peer), epoch });
        }
    }

    /// Lets a node have another's signed record and know its line.
    fn introduce(&mut self, node: usize, other: usize) {
        let epoch = self.nodes[other].epoch;
        let known = &mut self.nodes[node].records;
        if known.get(other).is_none_or(|known| *known == epoch) {
            return;
        }
        known[other] = epoch;
        let epoch = BootEpoch(epoch);
        let rtt = self.lines.rtt(node, other);
        let tier = self.setup.tiers[other];
        let now = self.now();
        if let Some(core) = self.nodes[node].core.as_mut() {
            let _none = core.handle(now, Event::EpochKnown { node: id(other), epoch });
            let _none = core.handle(now, Event::Line { node: id(other), tier, rtt, deviation: rtt / 16 });
        }
    }

    fn handle(&mut self, node: usize, event: Event) {
        let now = self.now();
        let Some(core) = self.nodes[node].core.as_mut() else { return };
        let effects = core.handle(now, event);
        for effect in effects {
            self.perform(node, effect);
        }
        self.schedule_wake(node);
    }

    fn schedule_wake(&mut self, node: usize) {
        let Some(next) = self.nodes[node].core.as_ref().and_then(Membership::next_wake) else { return };
        // Rounded up: a wake a fraction too early finds nothing due.
        let at = (micros(next.0) + 1).max(self.nodes[node].stalled).max(self.now);
        if at < self.nodes[node].wake {
            self.nodes[node].wake = at;
            self.push(at, What::Wake(node));
        }
    }

    fn perform(&mut self, from: usize, effect: Effect) {
        self.trace.mix_u64(self.now);
        match effect {
            Effect::SendDatagram { to, data } => self.send(from, to, data, true),
            Effect::SendFeed { to, data } => self.send(from, to, data, false),
            Effect::Changed(change) => {
                let subject = self.index[&change.node];
                self.trace.mix(&[0, change.health as u8]);
                self.trace.mix(&change.node.0);
                let last = self.epochs_told.insert((from, subject), change.epoch);
                if last.is_some_and(|last| last > change.epoch) {
                    self.broke(&format!("node {from} was told an older epoch of {subject}"));
                }
                if change.epoch.0 > self.nodes[subject].epoch {
                    self.broke(&format!("node {from} was told an epoch of {subject} that never began"));
                }
                // One identity for each node: what was told last is what is held.
                let held = self.nodes[from].core.as_ref().and_then(|core| core.member(&change.node));
                if held.is_some_and(|held| held.epoch != change.epoch) {
                    self.broke(&format!("node {from} was told another epoch of {subject} than it holds"));
                }
                self.told.push(Told { at: self.now(), viewer: from, subject, change });
            }
            Effect::Renewed { bump } => {
                self.trace.mix_u64(u64::from(bump));
                self.renewed.push((self.now(), from));
            }
            Effect::Quarantined { node, .. } => self.quarantined.push((self.now(), from, self.index[&node])),
        }
    }

    fn broke(&mut self, what: &str) {
        let now = self.now();
        self.broken.get_or_insert_with(|| format!("{now}: {what}"));
    }

    fn send(&mut self, from: usize, to: NodeId, data: Bytes, datagram: bool) {
        let to = self.index[&to];
        self.trace.mix_u64((from * self.len() + to) as u64);
        self.trace.mix_u64(data.len() as u64);
        self.sent[from] += data.len() as u64;
        self.packets += 1;
        let fate = if datagram {
            self.lines.datagram(self.now, from, to, data.len())
        } else {
            self.lines.stream(self.now, from, to, data.len())
        };
        match fate {
            Fate::Arrives(after) if self.nodes[from].connected.contains(&to) => {
                let event = if datagram {
                    Event::Datagram { from: id(from), data }
                } else {
                    Event::Feed { from: id(from), data }
                };
                let epoch = self.nodes[to].epoch;
                let leaves = self.nodes[from].choked.max(self.now);
                self.push(leaves + micros(after), What::Deliver { to, epoch, event });
            }
            Fate::Arrives(_) | Fate::Lost | Fate::Blocked => self.lost += 1,
        }
    }

    fn push(&mut self, at: u64, what: What) {
        self.seq += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(what);
        self.queue.push(Reverse((at, self.seq, slot)));
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now()).field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}
