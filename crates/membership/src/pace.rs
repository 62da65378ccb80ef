//! How long to wait for whom: the profile, stretched by the line to the other node and by our own health.
//!
//! foca knows one probe time-out for all. Its timers pass through here on their way to the wheel. The wait for a direct
//! answer and the period it lies in are stretched together: foca calls it an error when the second ends before the first.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_types::{LinkTier, NodeId};

use crate::Profile;
use crate::local_health::LocalHealth;

/// Longer round trips than this are taken for this.
const RTT_MAX: Duration = Duration::from_secs(3);
/// What is added to two round trips for the answer of others, where a probe needs a longer period than the profile's.
const SLACK: Duration = Duration::from_millis(200);

/// How long an answer is waited for at least, by way of a carrier and by way of space.
const WAN_ANSWER: Duration = Duration::from_millis(900);
const SATELLITE_ANSWER: Duration = Duration::from_millis(1500);

/// A line to a node, as measured.
#[derive(Clone, Copy, Debug)]
struct Line {
    tier: LinkTier,
    rtt: Duration,
    deviation: Duration,
}

/// How long to wait for whom.
#[derive(Debug)]
pub(crate) struct Pace {
    own: LinkTier,
    lines: BTreeMap<NodeId, Line>,
    /// The longest round trip among them: who is asked to ask others may be as far away.
    slowest: Duration,
    pub(crate) health: LocalHealth,
    /// How long the answer to the probe under way may take.
    direct: Duration,
    /// Whether that probe goes by way of space.
    far: bool,
}

impl Pace {
    pub(crate) fn new(own: LinkTier) -> Self {
        Self {
            own,
            lines: BTreeMap::new(),
            slowest: Duration::ZERO,
            health: LocalHealth::default(),
            direct: Duration::ZERO,
            far: false,
        }
    }

    /// Takes in what the line to a node is like. The caller bounds their number.
    pub(crate) fn line(&mut self, node: NodeId, tier: LinkTier, rtt: Duration, deviation: Duration) {
        let rtt = rtt.min(RTT_MAX);
        let before = self.lines.insert(node, Line { tier, rtt, deviation });
        if before.is_some_and(|before| before.rtt == self.slowest && rtt < self.slowest) {
            self.slowest = self.lines.values().map(|line| line.rtt).max().unwrap_or_default();
        }
        self.slowest = self.slowest.max(rtt);
    }

    /// Begins a probe of `target`: how long its direct answer may take.
    pub(crate) fn begin_probe(&mut self, profile: &Profile, target: &NodeId) -> Duration {
        self.far = self.tier(target) == LinkTier::Satellite;
        let least = profile.probe_rtt.max(match self.tier(target) {
            LinkTier::Lan => Duration::ZERO,
            LinkTier::Wan => WAN_ANSWER,
            LinkTier::Satellite => SATELLITE_ANSWER,
        });
        let measured = self.lines.get(target).map_or(Duration::ZERO, |line| line.rtt + line.deviation * 4);
        self.direct = measured.clamp(least, least * 2);
        self.direct * self.health.factor()
    }

    /// How long the period lasts in which that probe lies.
    pub(crate) fn period(&self, profile: &Profile) -> Duration {
        // Others are asked when the direct answer is late, and their answers come over two lines.
        let needed = if self.direct > profile.probe_rtt * 2 || self.far {
            self.direct + self.slowest * 2 + SLACK
        } else {
            Duration::ZERO
        };
        profile.probe_period.max(needed) * self.health.factor()
    }

    /// How long `suspect` has to refute.
    pub(crate) fn suspicion(&self, profile: &Profile, suspect: &NodeId) -> Duration {
        let base = profile.suspicion;
        let stretched = match self.tier(suspect) {
            LinkTier::Lan => base,
            LinkTier::Wan => base * 3,
            LinkTier::Satellite => base * 5,
        };
        stretched.min(profile.suspicion_max.max(base)) * self.health.factor()
    }

    /// The worse of both ends.
    fn tier(&self, node: &NodeId) -> LinkTier {
        self.lines.get(node).map_or(self.own, |line| line.tier.max(self.own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 16]);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_node_on_a_good_line_is_waited_for_as_the_profile_says() {
        let (profile, mut pace) = (Profile::lan(), Pace::new(LinkTier::Lan));
        assert_eq!(pace.begin_probe(&profile, &NODE), profile.probe_rtt);
        assert_eq!(pace.period(&profile), profile.probe_period);
        assert_eq!(pace.suspicion(&profile, &NODE), profile.suspicion);
    }

    #[test]
    fn the_worse_end_decides_and_the_period_grows_with_the_probe() {
        let profile = Profile::lan();
        for (own, theirs) in [(LinkTier::Lan, LinkTier::Satellite), (LinkTier::Satellite, LinkTier::Lan)] {
            let mut pace = Pace::new(own);
            pace.line(NODE, theirs, millis(620), millis(50));
            let direct = pace.begin_probe(&profile, &NODE);
            assert_eq!(direct, SATELLITE_ANSWER);
            assert!(pace.period(&profile) >= direct + millis(620) * 2);
            assert!(pace.suspicion(&profile, &NODE) > profile.suspicion * 4);
        }
    }

    #[test]
    fn what_is_measured_counts_within_the_bounds_of_the_tier() {
        let (profile, mut pace) = (Profile::lan(), Pace::new(LinkTier::Lan));
        pace.line(NODE, LinkTier::Satellite, millis(1500), millis(100));
        assert_eq!(pace.begin_probe(&profile, &NODE), millis(1900));
        pace.line(NODE, LinkTier::Satellite, millis(60_000), millis(100));
        assert_eq!(pace.begin_probe(&profile, &NODE), SATELLITE_ANSWER * 2);
    }

    #[test]
    fn a_node_in_trouble_is_more_patient_with_everybody() {
        let (profile, mut pace) = (Profile::lan(), Pace::new(LinkTier::Lan));
        pace.health.trouble();
        assert_eq!(pace.begin_probe(&profile, &NODE), profile.probe_rtt * 2);
        assert_eq!(pace.period(&profile), profile.probe_period * 2);
        assert_eq!(pace.suspicion(&profile, &NODE), profile.suspicion * 2);
    }
}
