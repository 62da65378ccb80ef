//! foca as it comes, at our pace, on the same lines: what local health is measured beside.
//!
//! The same probes, suspicions and gossip, but no guard, no local health, no exchange over streams. What it has instead are
//! its own periodic announcements.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use covenant_membership::{Change, Dice, Health, PACKET_BYTES_MAX, Profile};
use covenant_types::{BootEpoch, LinkTier, Uptime};
use foca::{
    AccumulatingRuntime, Foca, Member, NoCustomBroadcast, OwnedNotification, PeriodicParams, PostcardCodec, Timer,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::Told;
use super::line::{Fate, Line, Lines};
use super::measure::Stall;
use super::world::id;

/// A node and how often it came back after it was declared down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Name {
    node: u16,
    life: u16,
}

impl foca::Identity for Name {
    type Addr = u16;

    fn renew(&self) -> Option<Self> {
        self.life.checked_add(1).map(|life| Self { life, ..*self })
    }

    fn addr(&self) -> u16 {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.life > adversary.life
    }
}

type Swim = Foca<Name, PostcardCodec, Dice, NoCustomBroadcast>;

#[derive(Debug)]
enum What {
    Timer(Timer<Name>),
    Datagram(Bytes),
}

/// Nodes that run foca alone, in one data centre.
pub(super) struct PlainWorld {
    now: u64,
    /// When, whether it is a datagram, and its number: who stood still finds its timers before its mail, as ours do here.
    queue: BinaryHeap<Reverse<(u64, bool, usize)>>,
    /// What the entries of the queue stand for, by their numbers.
    what: Vec<Option<(usize, What)>>,
    nodes: Vec<Option<Swim>>,
    /// Nothing happens at a node before this, in microseconds.
    stalled: Vec<u64>,
    /// What it sends and is sent waits until then, in microseconds.
    choked: Vec<u64>,
    lines: Lines,
    pub(super) told: Vec<Told>,
}

impl PlainWorld {
    /// So many nodes that all know each other and have been at it for a minute.
    pub(super) fn formed(size: u16, profile: &Profile, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let lines = (0..size).map(|_| Line::of(LinkTier::Lan, &mut rng)).collect();
        let lines = Lines::new(lines, StdRng::from_rng(&mut rng));
        let nodes = (0..size).map(|node| {
            let dice = Dice::new(StdRng::from_rng(&mut rng));
            Some(Foca::new(Name { node, life: 0 }, config(profile, size), dice, PostcardCodec))
        });
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            what: Vec::new(),
            nodes: nodes.collect(),
            stalled: vec![0; usize::from(size)],
            choked: vec![0; usize::from(size)],
            lines,
            told: Vec::new(),
        };
        for node in 0..size {
            let others = (0..size).filter(|other| *other != node).map(|node| Member::alive(Name { node, life: 0 }));
            world.act(usize::from(node), |swim, runtime| swim.apply_many(others, false, runtime));
            // Nobody starts to probe at the same moment as all others.
            world.stalled[usize::from(node)] = rng.random_range(0..2_000_000);
        }
        world.run(Duration::from_secs(60));
        world.told.clear();
        world
    }

    pub(super) fn now(&self) -> Uptime {
        Uptime(Duration::from_micros(self.now))
    }

    /// Holds a node up, as [`World::stall`](super::World::stall) does.
    pub(super) fn stall(&mut self, node: usize, kind: Stall, span: Duration) {
        let until = self.now + micros(span);
        match kind {
            Stall::Whole => self.stalled[node] = until,
            Stall::Mail => self.choked[node] = until,
        }
    }

    /// Ends a node without a word.
    pub(super) fn crash(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + micros(span);
        while self.queue.peek().is_some_and(|Reverse((at, _, _))| *at <= end) {
            let Some(Reverse((at, _, slot))) = self.queue.pop() else { break };
            let Some((node, what)) = self.what[slot].take() else { continue };
            self.now = self.now.max(at);
            let choked = if matches!(what, What::Datagram(_)) { self.choked[node] } else { 0 };
            let held = self.stalled[node].max(choked);
            if held > self.now {
                self.push(held, node, what);
                continue;
            }
            self.act(node, |swim, runtime| match what {
                What::Timer(timer) => swim.handle_timer(timer, runtime),
                What::Datagram(data) => swim.handle_data(&data, runtime),
            });
        }
        self.now = end;
    }

    fn act(
        &mut self,
        node: usize,
        step: impl FnOnce(&mut Swim, &mut AccumulatingRuntime<Name>) -> Result<(), foca::Error>,
    ) {
        let Some(swim) = self.nodes[node].as_mut() else { return };
        let mut runtime = AccumulatingRuntime::new();
        // foca says that it goes on after every error; what it refuses is not of interest here.
        let _refused = step(swim, &mut runtime);
        while let Some((after, timer)) = runtime.to_schedule() {
            self.push(self.now + micros(after), node, What::Timer(timer));
        }
        while let Some((to, data)) = runtime.to_send() {
            if let Fate::Arrives(after) = self.lines.datagram(self.now, node, usize::from(to.node), data.len()) {
                let leaves = self.choked[node].max(self.now);
                self.push(leaves + micros(after), usize::from(to.node), What::Datagram(data));
            }
        }
        while let Some(notification) = runtime.to_notify() {
            let (subject, health) = match notification {
                OwnedNotification::MemberUp(name) => (name.node, Health::Alive),
                OwnedNotification::MemberDown(name) => (name.node, Health::Down),
                OwnedNotification::Rename(..)
                | OwnedNotification::Active
                | OwnedNotification::Idle
                | OwnedNotification::Defunct
                | OwnedNotification::Rejoin(_)
                | OwnedNotification::DataReceived(_)
                | OwnedNotification::DataSent(_)
                | OwnedNotification::ProbeFailed(..) => continue,
            };
            let subject = usize::from(subject);
            let change = Change { node: id(subject), epoch: BootEpoch(1), health };
            self.told.push(Told { at: self.now(), viewer: node, subject, change });
        }
    }

    fn push(&mut self, at: u64, node: usize, what: What) {
        let slot = self.what.len();
        let is_mail = matches!(what, What::Datagram(_));
        self.what.push(Some((node, what)));
        self.queue.push(Reverse((at, is_mail, slot)));
    }
}

/// foca's own settings for a data centre, at the pace of ours.
fn config(profile: &Profile, size: u16) -> foca::Config {
    let count = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
    foca::Config {
        probe_period: profile.probe_period,
        probe_rtt: profile.probe_rtt,
        num_indirect_probes: count(profile.indirect_probes),
        max_transmissions: NonZeroU8::new(profile.transmissions).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: profile.suspicion,
        max_packet_size: count(PACKET_BYTES_MAX),
        periodic_gossip: Some(PeriodicParams {
            frequency: profile.gossip_period,
            num_members: count(profile.gossip_fanout),
        }),
        ..foca::Config::new_lan(u32::from(size).try_into().unwrap_or(std::num::NonZeroU32::MIN))
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
