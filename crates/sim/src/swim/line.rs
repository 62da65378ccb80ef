//! What lies between nodes: delay, loss, bandwidth, cuts.

use std::collections::BTreeSet;
use std::time::Duration;

use covenant_types::LinkTier;
use rand::Rng;
use rand::rngs::StdRng;

/// How one node hangs on the net.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// What its record says.
    pub tier: LinkTier,
    /// From the node to the middle of the net, one way.
    pub delay: Duration,
    /// Up to this much more, evenly spread.
    pub jitter: Duration,
    /// Bytes a second that the node can send; 0 for as many as it likes.
    pub uplink: u64,
}

impl Line {
    /// A line as its tier usually is: 0.5 ms, 40 ms, or one of 300 and 600 ms with 64 kbit/s up.
    pub fn of(tier: LinkTier, rng: &mut StdRng) -> Self {
        let millis = Duration::from_millis;
        match tier {
            LinkTier::Lan => Self { tier, delay: Duration::from_micros(500), jitter: millis(1), uplink: 0 },
            LinkTier::Wan => Self { tier, delay: millis(40), jitter: millis(10), uplink: 0 },
            LinkTier::Satellite => {
                let delay = if rng.random_bool(0.5) { millis(300) } else { millis(600) };
                Self { tier, delay, jitter: millis(30), uplink: 8_000 }
            }
        }
    }
}

/// Loss in bursts, by a chain of two states (Gilbert, Elliott): a line is good or bad for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// How long a line stays good, on the average.
    pub good: Duration,
    /// How long it stays bad.
    pub bad: Duration,
    /// What is lost while it is bad.
    pub loss: f64,
}

/// A node's line and what has become of it.
#[derive(Clone, Debug)]
struct State {
    line: Line,
    /// When the uplink is free again, in microseconds.
    free: u64,
    bad: bool,
    /// When the line turns good or bad, in microseconds.
    turns: u64,
}

/// All lines.
#[derive(Clone, Debug)]
pub struct Lines {
    nodes: Vec<State>,
    /// What each packet risks on the way, whatever the lines are.
    pub loss: f64,
    /// Bursts on lines that are not in a data centre.
    pub burst: Option<Burst>,
    /// Nodes of different groups do not reach each other.
    pub group: Vec<u8>,
    /// Directions that carry nothing.
    pub cut: BTreeSet<(usize, usize)>,
    rng: StdRng,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives(Duration),
    Lost,
    Blocked,
}

impl Lines {
    /// Lines without loss.
    pub fn new(lines: Vec<Line>, rng: StdRng) -> Self {
        let group = vec![0; lines.len()];
        let state = |line| State { line, free: 0, bad: false, turns: 0 };
        Self { nodes: lines.into_iter().map(state).collect(), loss: 0.0, burst: None, group, cut: BTreeSet::new(), rng }
    }

    /// How a node hangs on the net.
    pub fn line(&self, node: usize) -> Line {
        self.nodes[node].line
    }

    /// Gives every node this uplink, in bytes a second.
    pub fn set_uplink(&mut self, uplink: u64) {
        self.nodes.iter_mut().for_each(|node| node.line.uplink = uplink);
    }

    /// The round trip between two nodes without jitter.
    pub fn rtt(&self, a: usize, b: usize) -> Duration {
        (self.nodes[a].line.delay + self.nodes[b].line.delay) * 2
    }

    /// Whether nothing gets from one node to the other.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.group[from] != self.group[to] || self.cut.contains(&(from, to))
    }

    pub(super) fn datagram(&mut self, now: u64, from: usize, to: usize, bytes: usize) -> Fate {
        // As many draws whatever comes of it, so that a fault does not shift the rest.
        let (luck, jitter) = (self.rng.random::<f64>(), self.rng.random::<f64>());
        let queued = self.queue(now, from, bytes);
        let loss = self.loss.max(self.burst_loss(now, from)).max(self.burst_loss(now, to));
        if self.is_cut(from, to) {
            return Fate::Blocked;
        }
        if luck < loss {
            return Fate::Lost;
        }
        Fate::Arrives(queued + self.delay(from, to, jitter))
    }

    /// A message on a stream: late by a round trip and more for each packet that has to be sent again.
    pub(super) fn stream(&mut self, now: u64, from: usize, to: usize, bytes: usize) -> Fate {
        let jitter = self.rng.random::<f64>();
        let again = Duration::from_millis(25) + self.rtt(from, to).mul_f64(1.5);
        let loss = self.loss.max(self.burst_loss(now, from)).max(self.burst_loss(now, to));
        let mut late = Duration::ZERO;
        // Packets are under way together; what counts is how often the unluckiest is sent.
        let packets = bytes.div_ceil(1200).max(1);
        let sends = (0..packets).map(|_| (0..10).take_while(|_| self.rng.random::<f64>() < loss).count()).max();
        for _ in 0..sends.unwrap_or(0) {
            late += again;
        }
        if self.is_cut(from, to) {
            return Fate::Blocked;
        }
        Fate::Arrives(self.queue(now, from, bytes) + late + self.delay(from, to, jitter))
    }

    fn delay(&self, from: usize, to: usize, jitter: f64) -> Duration {
        let (a, b) = (self.nodes[from].line, self.nodes[to].line);
        a.delay + b.delay + (a.jitter + b.jitter).mul_f64(jitter)
    }

    fn queue(&mut self, now: u64, from: usize, bytes: usize) -> Duration {
        let state = &mut self.nodes[from];
        if state.line.uplink == 0 {
            return Duration::ZERO;
        }
        let on_the_wire = bytes as u64 + PACKET_OVERHEAD;
        state.free = state.free.max(now) + on_the_wire * 1_000_000 / state.line.uplink;
        Duration::from_micros(state.free - now)
    }

    fn burst_loss(&mut self, now: u64, node: usize) -> f64 {
        let (Some(burst), state) = (self.burst, &mut self.nodes[node]) else { return 0.0 };
        if state.line.tier == LinkTier::Lan {
            return 0.0;
        }
        while state.turns <= now {
            // Exponentially distributed stays.
            let stay = if state.turns == 0 || state.bad { burst.good } else { burst.bad };
            state.bad = state.turns != 0 && !state.bad;
            let micros = stay.as_secs_f64() * 1e6 * -self.rng.random_range(f64::EPSILON..1.0).ln();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a stay of hours at most")]
            let micros = micros as u64;
            state.turns += micros.max(1);
        }
        if state.bad { burst.loss } else { 0.0 }
    }
}

/// What IP, UDP and QUIC add to a datagram.
pub(super) const PACKET_OVERHEAD: u64 = 60;
