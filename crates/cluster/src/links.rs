//! How each connection does: round trip, loss, and what passes, by plane. The numbers are a pure meter's; one task reads
//! the connections and counts into the node's metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use covenant_env::Metrics;
use covenant_transport::{PeerStats, Plane};
use covenant_types::{NodeId, NodeName, Uptime};
use metrics::{Counter, Gauge};
use serde::{Deserialize, Serialize};

use crate::session::Session;
use crate::shared::Shared;

/// How often connections are looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// After this long something that happened counts half in what is said of loss and goodput.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// The most peers that have metrics of their own. Names beyond that, in one boot, are counted together as `other`.
pub const PEERS_MEASURED_MAX: usize = 256;

/// A connection as numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// The node at the other end.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where its packets come from at present.
    pub address: SocketAddr,
    /// The round trip, smoothed, in microseconds.
    pub rtt_us: u64,
    /// How many of a thousand packets to it were lost, lately.
    pub loss_permille: u64,
    /// Bytes a second of content sent to it, lately.
    pub goodput_out: u64,
    /// Bytes a second of content received from it, lately.
    pub goodput_in: u64,
    /// Bytes sent since the connection began.
    pub sent: PlaneBytes,
    /// Bytes received since the connection began.
    pub received: PlaneBytes,
}

/// Bytes by what they are for. Headers, acknowledgements and what was sent twice are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneBytes {
    /// Gossip and records: datagrams, and the stream for what is larger.
    pub membership: u64,
    /// Monitors and acknowledgements.
    pub control: u64,
    /// Messages to actors.
    pub actors: u64,
    /// Replies and credit.
    pub replies: u64,
    /// Content.
    pub bulk: u64,
    /// Votes, entries and snapshots of consensus.
    #[serde(default)]
    pub consensus: u64,
}

impl PlaneBytes {
    fn new(streams: &[(Plane, u64)], datagrams: u64) -> Self {
        let mut bytes = Self { membership: datagrams, ..Self::default() };
        for (plane, count) in streams {
            match plane {
                Plane::Feed => bytes.membership += count,
                Plane::Control => bytes.control += count,
                Plane::Actor => bytes.actors += count,
                Plane::Reply => bytes.replies += count,
                Plane::Bulk => bytes.bulk += count,
                Plane::Consensus | Plane::Snapshot => bytes.consensus += count,
            }
        }
        bytes
    }

    /// Each plane by the word used in metrics.
    pub fn by_plane(&self) -> [(&'static str, u64); 6] {
        [
            ("membership", self.membership),
            ("control", self.control),
            ("actors", self.actors),
            ("replies", self.replies),
            ("bulk", self.bulk),
            ("consensus", self.consensus),
        ]
    }

    /// All planes together.
    pub fn total(&self) -> u64 {
        self.by_plane().iter().map(|(_, bytes)| bytes).sum()
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            membership: self.membership.saturating_sub(before.membership),
            control: self.control.saturating_sub(before.control),
            actors: self.actors.saturating_sub(before.actors),
            replies: self.replies.saturating_sub(before.replies),
            bulk: self.bulk.saturating_sub(before.bulk),
            consensus: self.consensus.saturating_sub(before.consensus),
        }
    }
}

/// What was counted on a connection since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    sent: PlaneBytes,
    received: PlaneBytes,
    packets_sent: u64,
    packets_lost: u64,
}

impl Counts {
    fn of(stats: &PeerStats) -> Self {
        Self {
            sent: PlaneBytes::new(&stats.sent, stats.datagram_bytes_sent),
            received: PlaneBytes::new(&stats.received, stats.datagram_bytes_received),
            packets_sent: stats.packets_sent,
            packets_lost: stats.packets_lost,
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent.since(&before.sent),
            received: self.received.since(&before.received),
            packets_sent: self.packets_sent.saturating_sub(before.packets_sent),
            packets_lost: self.packets_lost.saturating_sub(before.packets_lost),
        }
    }
}

/// What is said of one connection, from what was counted on it. Pure.
#[derive(Debug)]
struct Meter {
    looked: Uptime,
    last: Counts,
    /// Bytes a second, out and in.
    goodput: [f64; 2],
    /// Packets sent and lost, old ones counting less.
    packets: [f64; 2],
}

impl Meter {
    fn new(now: Uptime) -> Self {
        Self { looked: now, last: Counts::default(), goodput: [0.0; 2], packets: [0.0; 2] }
    }

    /// Takes in what was counted by `now` and returns what is new of it.
    fn sample(&mut self, now: Uptime, counts: Counts) -> Counts {
        let new = counts.since(&self.last);
        let span = now.since(self.looked).as_secs_f64();
        let keeps = 0.5_f64.powf(span / HALF_LIFE.as_secs_f64());
        for (goodput, bytes) in self.goodput.iter_mut().zip([new.sent.total(), new.received.total()]) {
            let rate = if span > 0.0 { as_f64(bytes) / span } else { *goodput };
            *goodput = *goodput * keeps + rate * (1.0 - keeps);
        }
        for (packets, count) in self.packets.iter_mut().zip([new.packets_sent, new.packets_lost]) {
            *packets = *packets * keeps + as_f64(count);
        }
        (self.looked, self.last) = (now, counts);
        new
    }

    fn loss(&self) -> f64 {
        let [sent, lost] = self.packets;
        if sent < 1.0 { 0.0 } else { (lost / sent).min(1.0) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates are told in three digits")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "none is negative or near the end of u64")]
fn rounded(value: f64) -> u64 {
    value.round() as u64
}

/// The metrics of one peer.
struct PeerMetrics {
    rtt: Gauge,
    loss: Gauge,
    goodput: [Gauge; 2],
    /// By plane, out and in.
    bytes: [[Counter; 6]; 2],
}

impl PeerMetrics {
    fn new(metrics: &Metrics, peer: &str) -> Self {
        let gauge = |name| metrics.gauge(name, &[("peer", peer)]);
        let planes = PlaneBytes::default().by_plane();
        let bytes = |direction| {
            planes.map(|(plane, _)| {
                let labels = [("peer", peer), ("plane", plane), ("direction", direction)];
                metrics.counter("covenant_peer_bytes_total", &labels)
            })
        };
        let goodput = |direction| {
            metrics.gauge("covenant_peer_goodput_bytes_per_second", &[("peer", peer), ("direction", direction)])
        };
        Self {
            rtt: gauge("covenant_peer_rtt_seconds"),
            loss: gauge("covenant_peer_loss_ratio"),
            goodput: DIRECTIONS.map(goodput),
            bytes: DIRECTIONS.map(bytes),
        }
    }

    fn count(&self, new: &Counts) {
        for (counters, bytes) in self.bytes.iter().zip([new.sent, new.received]) {
            for (counter, (_, bytes)) in counters.iter().zip(bytes.by_plane()) {
                counter.increment(bytes);
            }
        }
    }

    /// Shows what is said of the connection; zeros where there is none.
    fn show(&self, rtt: Duration, loss: f64, goodput: [f64; 2]) {
        self.rtt.set(rtt.as_secs_f64());
        self.loss.set(loss);
        self.goodput.iter().zip(goodput).for_each(|(gauge, rate)| gauge.set(rate));
    }
}

const DIRECTIONS: [&str; 2] = ["out", "in"];

/// The task's state.
pub(crate) struct LinkKeeper {
    shared: Arc<Shared>,
    meters: BTreeMap<NodeId, (Arc<Session>, Meter)>,
    metrics: BTreeMap<NodeName, PeerMetrics>,
    other: PeerMetrics,
}

impl LinkKeeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let other = PeerMetrics::new(&shared.env.metrics, "other");
        Self { shared, meters: BTreeMap::new(), metrics: BTreeMap::new(), other }
    }

    /// Runs until the task is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(SAMPLE_EVERY).await;
            self.look();
        }
    }

    fn look(&mut self) {
        let now = self.shared.env.now();
        let sessions = self.shared.sessions();
        let mut links = BTreeMap::new();
        let mut meters = std::mem::take(&mut self.meters);
        for session in sessions {
            let id = session.sender.node;
            let same = meters.remove(&id).filter(|(known, _)| Arc::ptr_eq(known, &session));
            // A new connection has come since the last look.
            let since = Uptime(now.0.saturating_sub(SAMPLE_EVERY));
            let (_, mut meter) = same.unwrap_or_else(|| (Arc::clone(&session), Meter::new(since)));
            let stats = session.peer.stats();
            let new = meter.sample(now, Counts::of(&stats));
            let name = &session.sender.name;
            match self.metrics_of(name) {
                Some(metrics) => {
                    metrics.count(&new);
                    metrics.show(stats.rtt, meter.loss(), meter.goodput);
                }
                None => self.other.count(&new),
            }
            let [goodput_out, goodput_in] = meter.goodput.map(rounded);
            let view = LinkView {
                id,
                name: name.clone(),
                address: session.peer.address(),
                rtt_us: u64::try_from(stats.rtt.as_micros()).unwrap_or(u64::MAX),
                loss_permille: rounded(meter.loss() * 1000.0),
                goodput_out,
                goodput_in,
                sent: meter.last.sent,
                received: meter.last.received,
            };
            links.insert(id, view);
            self.meters.insert(id, (session, meter));
        }
        // Those that are gone, or have been replaced by another connection to the same node.
        for (id, (session, _)) in meters {
            if !links.contains_key(&id)
                && let Some(metrics) = self.metrics.get(&session.sender.name)
            {
                metrics.show(Duration::ZERO, 0.0, [0.0; 2]);
            }
        }
        self.shared.set_links(links);
    }

    fn metrics_of(&mut self, name: &NodeName) -> Option<&PeerMetrics> {
        if !self.metrics.contains_key(name) && self.metrics.len() < PEERS_MEASURED_MAX {
            let metrics = PeerMetrics::new(&self.shared.env.metrics, name.as_str());
            self.metrics.insert(name.clone(), metrics);
        }
        self.metrics.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sent: u64, packets_sent: u64, packets_lost: u64) -> Counts {
        let sent = PlaneBytes { actors: sent, ..PlaneBytes::default() };
        Counts { sent, packets_sent, packets_lost, ..Counts::default() }
    }

    #[test]
    fn goodput_and_loss_follow_what_happens_and_forget_what_is_over() {
        let mut meter = Meter::new(Uptime::ZERO);
        let mut sent = 0;
        for second in 1..=60 {
            sent += 1000;
            let new = meter.sample(Uptime::from_millis(second * 1000), counts(sent, second * 100, second * 20));
            assert_eq!(new, counts(1000, 100, 20));
        }
        assert!((950.0..=1000.0).contains(&meter.goodput[0]), "{:?}", meter.goodput);
        assert_eq!(rounded(meter.loss() * 1000.0), 200);
        for second in 61..=120 {
            meter.sample(Uptime::from_millis(second * 1000), counts(sent, 6000 + (second - 60) * 100, 1200));
        }
        assert!(meter.goodput[0] < 20.0 && meter.loss() < 0.005, "{:?} {}", meter.goodput, meter.loss());
    }

    #[test]
    fn datagrams_and_the_feed_are_membership() {
        let planes = [Plane::Control, Plane::Actor, Plane::Reply, Plane::Bulk, Plane::Feed];
        let others = [(Plane::Consensus, 6), (Plane::Snapshot, 7)];
        let streams: Vec<_> = planes.into_iter().zip(1..).chain(others).collect();
        let bytes = PlaneBytes::new(&streams, 100);
        let expected =
            [("membership", 105), ("control", 1), ("actors", 2), ("replies", 3), ("bulk", 4), ("consensus", 13)];
        assert_eq!((bytes.by_plane(), bytes.total()), (expected, 128));
    }
}
