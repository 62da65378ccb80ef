//! How fast to probe, how long to suspect, how much to say. One profile per kind of network.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// The largest datagram of one pool: what is left of a 1200-byte QUIC packet when the pool is named. The same on every node,
/// because larger ones are refused.
pub const PACKET_BYTES_MAX: usize = 1146;

/// The paces of a node's pools and leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paces {
    /// Of the pool of everybody, or of a region.
    pub pool: Profile,
    /// Of the pool of all hubs.
    pub hubs: Profile,
    /// How often a node on a good line writes to a hub with which it shares no pool.
    pub lease: Duration,
    /// How often a leaf does.
    pub leaf_lease: Duration,
}

impl Paces {
    /// One machine: `covenant up` and tests.
    pub fn loopback() -> Self {
        let lease = Duration::from_millis(1500);
        Self { pool: Profile::loopback(), hubs: Profile::loopback(), lease, leaf_lease: lease }
    }

    /// Any real network.
    pub fn network() -> Self {
        Self {
            pool: Profile::lan(),
            hubs: Profile::hubs(),
            lease: Duration::from_secs(10),
            leaf_lease: Duration::from_secs(600),
        }
    }
}

/// The pace of membership in one pool. All nodes of a cluster use the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// One node is probed per period.
    pub probe_period: Duration,
    /// How long a direct answer may take before others are asked to probe. Less than half of the period.
    pub probe_rtt: Duration,
    /// How many others are asked.
    pub indirect_probes: usize,
    /// How long a suspect has to refute before it is down.
    pub suspicion: Duration,
    /// The longest that becomes on a bad line, before this node's own health counts.
    pub suspicion_max: Duration,
    /// How often a rumour is passed on at least. In a large cluster it is more often, by the logarithm of its size.
    pub transmissions: u8,
    /// Time between rounds of gossip.
    pub gossip_period: Duration,
    /// To how many nodes each round goes.
    pub gossip_fanout: usize,
    /// Time between full exchanges with one random peer, and the longest wait between two attempts to win over a
    /// connected peer that is not a member.
    pub push_pull: Duration,
    /// The first wait between two such attempts. Doubles.
    pub retry_min: Duration,
    /// How often states are compared, so that a suspicion becomes visible.
    pub sweep: Duration,
}

impl Profile {
    /// One machine: `covenant up` and tests.
    pub fn loopback() -> Self {
        Self {
            probe_period: Duration::from_millis(500),
            probe_rtt: Duration::from_millis(150),
            indirect_probes: 3,
            suspicion: Duration::from_secs(2),
            suspicion_max: Duration::from_secs(10),
            transmissions: 9,
            gossip_period: Duration::from_millis(200),
            gossip_fanout: 3,
            push_pull: Duration::from_secs(5),
            retry_min: Duration::from_millis(500),
            sweep: Duration::from_millis(100),
        }
    }

    /// One site or one region of up to 200 nodes on good lines.
    pub fn lan() -> Self {
        Self {
            // Who probes in 200 finds a dead one after 1.6 periods on the average, and after 4.6 in the worst of a hundred.
            probe_period: Duration::from_millis(600),
            probe_rtt: Duration::from_millis(250),
            indirect_probes: 3,
            suspicion: Duration::from_millis(9200),
            suspicion_max: Duration::from_secs(60),
            transmissions: 9,
            gossip_period: Duration::from_millis(200),
            gossip_fanout: 3,
            push_pull: Duration::from_secs(30),
            retry_min: Duration::from_secs(1),
            sweep: Duration::from_millis(250),
        }
    }

    /// The hubs of all regions among each other, at most 150.
    pub fn hubs() -> Self {
        Self {
            probe_period: Duration::from_secs(3),
            probe_rtt: Duration::from_millis(900),
            suspicion: Duration::from_secs(30),
            suspicion_max: Duration::from_secs(60),
            gossip_period: Duration::from_millis(500),
            gossip_fanout: 4,
            push_pull: Duration::from_secs(60),
            retry_min: Duration::from_secs(3),
            ..Self::lan()
        }
    }

    /// Many nodes of every kind in one pool, where nothing better is possible.
    pub fn mixed() -> Self {
        Self {
            // A probe over a satellite stretches its own period; on the other lines this makes up for it.
            probe_period: Duration::from_millis(3500),
            probe_rtt: Duration::from_millis(1500),
            indirect_probes: 4,
            suspicion: Duration::from_secs(60),
            suspicion_max: Duration::from_secs(60),
            transmissions: 12,
            gossip_period: Duration::from_millis(500),
            gossip_fanout: 4,
            push_pull: Duration::from_secs(30),
            retry_min: Duration::from_secs(5),
            sweep: Duration::from_millis(500),
        }
    }

    /// How often a rumour is passed on where so many nodes are known, so that hardly anybody misses it.
    pub(crate) fn transmissions_among(&self, nodes: usize) -> u8 {
        // 4 log10(n + 1), as memberlist has it, in whole numbers: 13 bits are a factor of 8192.
        let bits = (nodes + 1).ilog2() + 1;
        let scaled = u8::try_from(bits * 12 / 10).unwrap_or(u8::MAX);
        self.transmissions.max(scaled)
    }

    /// How late a timer may fire before we say that it was this node that stood still, not the others.
    pub(crate) fn stall(&self) -> Duration {
        self.probe_period * 3
    }

    pub(crate) fn foca(&self, nodes: usize) -> foca::Config {
        let count = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        foca::Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_rtt,
            num_indirect_probes: count(self.indirect_probes),
            max_transmissions: NonZeroU8::new(self.transmissions_among(nodes)).unwrap_or(NonZeroU8::MIN),
            suspect_to_down_after: self.suspicion,
            // Bounded by the number of nodes, because an identity's address is its node.
            remove_down_after: None,
            max_packet_size: count(PACKET_BYTES_MAX),
            notify_down_members: true,
            // Full exchanges between connected peers do what these announcements would.
            periodic_announce: None,
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(foca::PeriodicParams {
                frequency: self.gossip_period,
                num_members: count(self.gossip_fanout),
            }),
        }
    }
}
