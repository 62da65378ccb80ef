//! What is measured in a world, once.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_membership::{Health, Profile};
use covenant_types::Uptime;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Told;
use super::plain::PlainWorld;
use super::world::{Setup, World};

/// How a crash became known.
#[derive(Clone, Copy, Debug)]
pub struct Detection {
    /// Until the first node suspected it.
    pub suspected: Duration,
    /// Until the first node declared it down.
    pub first: Duration,
    /// Until 99 of 100 held it down.
    pub most: Duration,
    /// Until all did.
    pub all: Duration,
}

impl Detection {
    /// From the first to all.
    pub fn spread(&self) -> Duration {
        self.all.saturating_sub(self.first)
    }
}

/// What a world at work looked like over a span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// Node-hours looked at.
    pub node_hours: f64,
    /// Nodes declared down that ran and were connected, each viewer counted once.
    pub false_downs: u64,
    /// Nodes that were declared down by anybody, each spell counted once.
    pub downs: u64,
    /// Spells of suspicion about nodes that ran.
    pub suspicions: u64,
    /// Lives begun anew without a restart.
    pub renewals: u64,
    /// Payload bytes a node sent in a second, on the average.
    pub bytes: f64,
    /// Packets a node sent in a second, on the average.
    pub packets: f64,
}

impl Rest {
    /// Adds what another run saw.
    pub fn add(&mut self, other: &Self) {
        let weight =
            |a: f64, b: f64| (a * self.node_hours + b * other.node_hours) / (self.node_hours + other.node_hours);
        (self.bytes, self.packets) = (weight(self.bytes, other.bytes), weight(self.packets, other.packets));
        self.node_hours += other.node_hours;
        self.false_downs += other.false_downs;
        self.downs += other.downs;
        self.suspicions += other.suspicions;
        self.renewals += other.renewals;
    }
}

/// Crashes one node of a formed world and watches the others find out. `None` where some never did within `bound`.
pub fn detection(world: &mut World, victim: usize, bound: Duration) -> Option<Detection> {
    let start = world.now();
    world.told.clear();
    world.crash(victim);
    let others = world.len() - 1;
    world.until(Duration::from_millis(500), bound, |world| world.holding(victim, Health::Down) == others)?;
    let mut times: Vec<Uptime> = world
        .told
        .iter()
        .filter(|told| told.subject == victim && told.change.health == Health::Down)
        .map(|told| told.at)
        .collect();
    times.sort();
    let suspect = |told: &&Told| told.subject == victim && told.change.health == Health::Suspect;
    let suspected = world.told.iter().find(suspect).map_or(start, |told| told.at);
    let at = |share: f64| times[rank(times.len(), share)].since(start);
    Some(Detection { suspected: suspected.since(start), first: at(0.0), most: at(0.99), all: at(1.0) })
}

/// Watches a world in which nobody dies.
pub fn rest(world: &mut World, span: Duration) -> Rest {
    watch(world, span, 0, |_, _| {})
}

/// Counts spells of suspicion and of death, whoever sees them.
struct Tally {
    /// The first node that counts as a subject.
    first: usize,
    suspected: Vec<usize>,
    down: Vec<usize>,
    held: BTreeMap<(usize, usize), Health>,
    rest: Rest,
}

impl Tally {
    fn new(nodes: usize, first: usize) -> Self {
        let none = vec![0; nodes];
        Self { first, suspected: none.clone(), down: none, held: BTreeMap::new(), rest: Rest::default() }
    }

    fn add(&mut self, told: &Told) {
        let (subject, health) = (told.subject, told.change.health);
        if subject < self.first {
            return;
        }
        let before = self.held.insert((told.viewer, subject), health).unwrap_or(Health::Alive);
        let count = |counts: &mut Vec<usize>, counted, spells: &mut u64| {
            if health == counted {
                *spells += u64::from(counts[subject] == 0);
                counts[subject] += 1;
            } else if before == counted {
                counts[subject] = counts[subject].saturating_sub(1);
            }
        };
        count(&mut self.suspected, Health::Suspect, &mut self.rest.suspicions);
        count(&mut self.down, Health::Down, &mut self.rest.downs);
        self.rest.false_downs += u64::from(health == Health::Down);
    }
}

/// Watches a world second by second, in which `each` may do something. Only nodes from `first` on count as subjects.
fn watch(world: &mut World, span: Duration, first: usize, mut each: impl FnMut(&mut World, Duration)) -> Rest {
    let (sent, packets): (u64, u64) = (world.sent.iter().sum(), world.packets);
    world.told.clear();
    world.renewed.clear();
    let mut tally = Tally::new(world.len(), first);
    let step = Duration::from_secs(1);
    let mut passed = Duration::ZERO;
    while passed < span {
        each(world, passed);
        world.run(step);
        passed += step;
        std::mem::take(&mut world.told).iter().for_each(|told| tally.add(told));
    }
    let mut rest = tally.rest;
    let nodes = world.len() as f64;
    rest.renewals = world.renewed.len() as u64;
    rest.node_hours = nodes * span.as_secs_f64() / 3600.0;
    rest.bytes = (world.sent.iter().sum::<u64>() - sent) as f64 / nodes / span.as_secs_f64();
    rest.packets = (world.packets - packets) as f64 / nodes / span.as_secs_f64();
    rest
}

/// Cuts a world in two halves for `cut` and tells how long after the heal 99 of 100 pairs, and all, see each other alive.
pub fn heal(world: &mut World, cut: Duration, bound: Duration) -> Option<(Duration, Duration)> {
    let half = world.len() / 2;
    for node in 0..half {
        world.lines.group[node] = 1;
    }
    world.lines_changed();
    world.run(cut);
    world.lines.group.fill(0);
    world.lines_changed();
    let (_, pairs) = world.complete();
    let every = Duration::from_millis(500);
    let most = world.until(every, bound, |world| world.complete().0 * 100 >= pairs * 99)?;
    let all = world.until(every, bound, |world| world.complete().0 == pairs)?;
    Some((most, most + all))
}

/// Adds one node to a formed world and tells how long it took to see everybody through the one it dialled.
pub fn join(setup: &Setup, seed: u64, uplink: u64, bound: Duration) -> Option<Duration> {
    let mut world = World::formed(setup.clone(), seed);
    let newcomer = world.len() - 1;
    world.crash(newcomer);
    world.run(Duration::from_secs(60));
    world.lines.set_uplink(uplink);
    let others = world.len() - 1;
    world.restart_through(newcomer, 0);
    world.until(Duration::from_millis(50), bound, |world| {
        (0..others).filter(|other| world.health(newcomer, *other) == Some(Health::Alive)).count() == others
    })
}

/// How a node is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// It stands still whole, as one that has no processor does.
    Whole,
    /// Its clock runs, but what it sends and what it is sent waits: the blocks of the Lifeguard paper (arXiv 1707.00788).
    Mail,
}

/// How many nodes are held up again and again, how, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Stalls {
    /// What becomes of them.
    pub kind: Stall,
    /// How many nodes.
    pub nodes: usize,
    /// How long each time.
    pub stall: Duration,
    /// How long it runs in between, at most.
    pub between: Duration,
}

/// When each of the first nodes of a world is held up.
struct Schedule {
    stalls: Stalls,
    rng: StdRng,
    next: Vec<Duration>,
}

impl Schedule {
    fn new(seed: u64, stalls: Stalls) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let next = (0..stalls.nodes).map(|_| stalls.between.mul_f64(rng.random())).collect();
        Self { stalls, rng, next }
    }

    /// The nodes whose hold-up begins now.
    fn due(&mut self, passed: Duration) -> Vec<usize> {
        let due: Vec<usize> = (0..self.next.len()).filter(|node| self.next[*node] <= passed).collect();
        for node in &due {
            self.next[*node] = passed + self.stalls.stall + self.stalls.between.mul_f64(self.rng.random());
        }
        due
    }
}

/// Holds up the first nodes of a world again and again, as overloaded ones are, and counts what befalls the others.
pub fn stalls(world: &mut World, seed: u64, stalls: Stalls, span: Duration) -> Rest {
    let mut schedule = Schedule::new(seed, stalls);
    watch(world, span, stalls.nodes, |world, passed| {
        schedule.due(passed).into_iter().for_each(|node| world.stall(node, stalls.kind, stalls.stall));
    })
}

/// The same with foca as it comes. Of what is counted only deaths and hours are set.
pub fn plain_stalls(nodes: u16, profile: &Profile, world_seed: u64, seed: u64, stalls: Stalls, span: Duration) -> Rest {
    let mut world = PlainWorld::formed(nodes, profile, world_seed);
    let mut schedule = Schedule::new(seed, stalls);
    let mut tally = Tally::new(usize::from(nodes), stalls.nodes);
    let mut passed = Duration::ZERO;
    while passed < span {
        schedule.due(passed).into_iter().for_each(|node| world.stall(node, stalls.kind, stalls.stall));
        world.run(Duration::from_secs(1));
        passed += Duration::from_secs(1);
        std::mem::take(&mut world.told).iter().for_each(|told| tally.add(told));
    }
    Rest { node_hours: f64::from(nodes) * span.as_secs_f64() / 3600.0, ..tally.rest }
}

/// How long after a crash the first node of foca's as it comes declares the victim down.
pub fn plain_detection(nodes: u16, profile: &Profile, seed: u64, bound: Duration) -> Option<Duration> {
    let mut world = PlainWorld::formed(nodes, profile, seed);
    world.run(Duration::from_millis(seed % 7 * 137));
    let (start, victim) = (world.now(), usize::from(nodes / 2));
    world.crash(victim);
    let mut found = None;
    while found.is_none() && world.now().since(start) < bound {
        world.run(Duration::from_millis(500));
        let down = world.told.iter().find(|told| told.subject == victim && told.change.health == Health::Down);
        found = down.map(|told| told.at.since(start));
    }
    found
}

/// Where in a sorted list of so many the share of them ends.
fn rank(length: usize, share: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let rank = ((length.saturating_sub(1)) as f64 * share).ceil() as usize;
    rank
}

/// The share of a list, zero where there is none.
pub fn percentile(mut spans: Vec<Duration>, share: f64) -> Duration {
    spans.sort();
    spans.get(rank(spans.len(), share)).copied().unwrap_or_default()
}
