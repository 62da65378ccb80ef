//! The network between whole nodes: packets in one memory, late, lost or stopped as its weather is.
//!
//! # Invariants
//! - Each direction between two nodes has a generator of its own and draws three numbers for every packet, whatever becomes
//!   of it: a fault never shifts what it does not touch.
//! - Packets of one socket arrive in the order of (time, number), and none before [`Network::lookahead`] has passed.
//! - What was under way to a process that ended never reaches the next one at that address.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use covenant_env::Random;
use rand::Rng;
use rand::rngs::StdRng;

use crate::Trace;

/// The longest packet that any line carries, in bytes: Ethernet's, without IP and UDP.
const PACKET_BYTES_MAX: usize = 1472;
/// Packets that may wait at one socket; a kernel's buffer is no longer.
const WAITING_MAX: usize = 4096;
/// How long a line may take at least, and how much more at most, in milliseconds.
const DELAY_MIN_MS: u64 = 4;
const DELAY_SPREAD_MS: u64 = 36;
/// Up to this much more for each packet, in microseconds.
const JITTER_MICROS: u64 = 5_000;
/// A line that has bursts turns bad once in so many packets, and good again once in so many.
const TURNS_BAD: f64 = 1.0 / 100.0;
const TURNS_GOOD: f64 = 1.0 / 40.0;
/// The port that nodes listen at, and the first of those a node takes for itself.
const PORT: u16 = 7700;
const OWN_PORTS: u16 = 40_000;

/// What all lines suffer.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// Nodes of different groups do not reach each other; those without a number are of group 0.
    pub group: BTreeMap<usize, u8>,
    /// Directions that carry nothing.
    pub cut: BTreeSet<(usize, usize)>,
    /// The share of packets that is lost.
    pub loss: f64,
    /// The share that is lost while a line is bad; 0 for lines that never are.
    pub burst: f64,
    /// So much longer does everything take.
    pub lag: Duration,
    /// Packets of one line keep their order: all take the same time.
    pub steady: bool,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that were sent.
    pub sent: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Sent on a line in a bad moment.
    pub bad: u64,
    /// Stopped between two groups.
    pub parted: u64,
    /// Stopped in one direction.
    pub cut: u64,
    /// To a node that does not run.
    pub unheard: u64,
    /// Late by the weather's lag.
    pub late: u64,
    /// Too long for the line, or for the buffer at its end.
    pub refused: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
    Parted,
    Cut,
    Unheard,
    Refused,
}

/// A packet at the end of its line.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Packet {
    at: Duration,
    number: u64,
    pub(super) from: SocketAddr,
    pub(super) data: Vec<u8>,
}

/// One direction between two nodes.
struct Line {
    rng: StdRng,
    delay: Duration,
    bad: bool,
}

/// A socket that is open.
#[derive(Default)]
struct Inbox {
    packets: BinaryHeap<Reverse<Packet>>,
    waker: Option<Waker>,
}

struct State {
    weather: Weather,
    lines: Vec<Line>,
    /// The process that runs at each place, by its number; 0 for none.
    running: Vec<u64>,
    inboxes: BTreeMap<SocketAddr, Inbox>,
    next_port: u16,
    number: u64,
    counts: Counts,
    trace: Trace,
}

/// The network. One for all nodes of a simulation.
pub(super) struct Network {
    nodes: usize,
    state: Mutex<State>,
    pub(super) lookahead: Duration,
}

/// Where the node at this place listens.
pub(super) fn address(node: usize) -> SocketAddr {
    let node = u16::try_from(node).expect("a simulation has few nodes").to_be_bytes();
    SocketAddr::from(([10, 0, node[0], node[1]], PORT))
}

fn node_at(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(ip) if ip.octets()[..2] == [10, 0] => {
            Some(usize::from(u16::from_be_bytes([ip.octets()[2], ip.octets()[3]])))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

impl Network {
    /// Lines between so many nodes, all of which follow from `random`.
    pub(super) fn new(nodes: usize, random: Random) -> Arc<Self> {
        let line = |number: usize| {
            let mut rng = random.derive(&format!("line {number}"));
            let delay = Duration::from_millis(DELAY_MIN_MS + rng.random_range(0..=DELAY_SPREAD_MS));
            Line { rng, delay, bad: false }
        };
        let lines: Vec<Line> = (0..nodes * nodes).map(line).collect();
        let shortest = lines.iter().map(|line| line.delay.as_millis()).min().unwrap_or(1);
        // A step must end with each span after which rules are checked.
        let step = [25, 20, 10, 5, 4, 2, 1].into_iter().find(|step| u128::from(*step) <= shortest).unwrap_or(1);
        let state = State {
            weather: Weather::default(),
            lines,
            running: vec![0; nodes],
            inboxes: BTreeMap::new(),
            next_port: OWN_PORTS,
            number: 0,
            counts: Counts::default(),
            trace: Trace::new(),
        };
        Arc::new(Self { nodes, state: Mutex::new(state), lookahead: Duration::from_millis(step) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the weather.
    pub(super) fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.lock().weather);
    }

    /// What became of packets so far.
    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// All packets so far: when, from where, where to, how long, and what became of them.
    pub(super) fn trace(&self) -> Trace {
        self.lock().trace
    }

    /// The process `boot` runs at this place from now on; 0 for none. What was under way to the last one is gone.
    pub(super) fn set_running(&self, node: usize, boot: u64) {
        let mut state = self.lock();
        state.running[node] = boot;
        state.inboxes.retain(|address, _| node_at(*address) != Some(node));
    }

    /// Opens a socket of a node. Port 0 takes one that is free, and any address is the node's own.
    pub(super) fn open(&self, node: usize, wanted: SocketAddr) -> Option<SocketAddr> {
        let mut state = self.lock();
        let mut local = address(node);
        if wanted.port() == 0 {
            local.set_port(state.next_port);
            state.next_port = state.next_port.checked_add(1).unwrap_or(OWN_PORTS);
        } else {
            local.set_port(wanted.port());
        }
        if state.inboxes.contains_key(&local) {
            return None;
        }
        state.inboxes.insert(local, Inbox::default());
        Some(local)
    }

    /// Closes a socket, if this process is still the one that runs.
    pub(super) fn close(&self, node: usize, boot: u64, local: SocketAddr) {
        let mut state = self.lock();
        if state.running[node] == boot {
            state.inboxes.remove(&local);
        }
    }

    /// Sends a packet. A process that has ended sends nothing any more, also where its remains try to.
    pub(super) fn send(&self, sender: (usize, u64), from: SocketAddr, to: SocketAddr, data: &[u8], now: Duration) {
        let (node, boot) = sender;
        let mut state = self.lock();
        let state = &mut *state;
        let Some(target) = node_at(to).filter(|target| *target < self.nodes) else { return };
        if state.running[node] != boot {
            return;
        }
        let line = &mut state.lines[node * self.nodes + target];
        let (chance, jitter, turn) =
            (line.rng.random::<f64>(), line.rng.random_range(0..JITTER_MICROS), line.rng.random::<f64>());
        line.bad = if line.bad { turn >= TURNS_GOOD } else { turn < TURNS_BAD };
        let weather = &state.weather;
        let group = |node: usize| weather.group.get(&node).copied().unwrap_or(0);
        let loss = if line.bad { weather.loss.max(weather.burst) } else { weather.loss };
        let waiting = state.inboxes.get(&to).map(|inbox| inbox.packets.len());
        let fate = if weather.cut.contains(&(node, target)) {
            Fate::Cut
        } else if group(node) != group(target) {
            Fate::Parted
        } else if chance < loss {
            Fate::Lost
        } else if data.len() > PACKET_BYTES_MAX || waiting.is_some_and(|waiting| waiting >= WAITING_MAX) {
            Fate::Refused
        } else if waiting.is_none() {
            Fate::Unheard
        } else {
            Fate::Arrives
        };
        state.counts.sent += 1;
        state.counts.bad += u64::from(line.bad && weather.burst > 0.0);
        match fate {
            Fate::Arrives => state.counts.late += u64::from(!weather.lag.is_zero()),
            Fate::Lost => state.counts.lost += 1,
            Fate::Parted => state.counts.parted += 1,
            Fate::Cut => state.counts.cut += 1,
            Fate::Unheard => state.counts.unheard += 1,
            Fate::Refused => state.counts.refused += 1,
        }
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        state.trace.mix_u64(micros);
        state.trace.mix_u64((node * self.nodes + target) as u64);
        state.trace.mix_u64((data.len() * 8 + fate as usize) as u64);
        if fate == Fate::Arrives
            && let Some(inbox) = state.inboxes.get_mut(&to)
        {
            let jitter = if weather.steady { 0 } else { jitter };
            let at = now + line.delay + weather.lag + Duration::from_micros(jitter);
            state.number += 1;
            inbox.packets.push(Reverse(Packet { at, number: state.number, from, data: data.to_vec() }));
            if let Some(waker) = inbox.waker.take() {
                waker.wake();
            }
        }
    }

    /// The next packet that has arrived at a socket. Where there is none, when the next one will, and `waker` is woken if
    /// an earlier one comes up.
    pub(super) fn take(&self, local: SocketAddr, now: Duration, waker: &Waker) -> Result<Packet, Option<Duration>> {
        let mut state = self.lock();
        let Some(inbox) = state.inboxes.get_mut(&local) else { return Err(None) };
        match inbox.packets.peek().map(|Reverse(packet)| packet.at) {
            Some(at) if at <= now => inbox.packets.pop().map(|Reverse(packet)| packet).ok_or(None),
            next => {
                inbox.waker = Some(waker.clone());
                Err(next)
            }
        }
    }
}
