//! Leases: nodes that watch each other in no pool, but keep in touch.
//!
//! A leaf writes to its hub once a period, and the hub answers. Whoever hears nothing for [`MISSED_MAX`] periods and a
//! quarter holds the other for down. The two sides do the same, so that a leaf also learns that its hub is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_types::{BootEpoch, NodeId, Uptime};

use crate::Health;

/// How many periods may pass without a word.
pub const MISSED_MAX: u32 = 2;
/// The most leases a node keeps. Those that ended longest ago make room.
pub const LEASES_MAX: usize = 1024;
/// The shortest and the longest period that a leaf may ask for.
const PERIOD_MIN: Duration = Duration::from_millis(500);
const PERIOD_MAX: Duration = Duration::from_secs(3600);

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    epoch: BootEpoch,
    period: Duration,
    heard: Uptime,
    /// When to write next; `None` on the side that answers.
    renew: Option<Uptime>,
    connected: bool,
    health: Health,
}

/// All leases of a node.
#[derive(Debug, Default)]
pub(crate) struct Leases(BTreeMap<NodeId, Lease>);

/// What is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Whom to write to.
    pub(crate) renew: Vec<NodeId>,
    /// Who was not heard of in time.
    pub(crate) ended: Vec<NodeId>,
}

impl Leases {
    /// A connection stands. `asks` says whether it is for this side to write once a period. False where there are too many.
    pub(crate) fn begin(&mut self, now: Uptime, node: NodeId, epoch: BootEpoch, period: Duration, asks: bool) -> bool {
        if !self.0.contains_key(&node) && self.0.len() >= LEASES_MAX {
            let over = self.0.iter().filter(|(_, lease)| !lease.stands());
            let Some(oldest) = over.min_by_key(|(_, lease)| lease.heard).map(|(node, _)| *node) else { return false };
            self.0.remove(&oldest);
        }
        let lease =
            Lease { epoch, period, heard: now, renew: asks.then_some(now), connected: true, health: Health::Alive };
        self.0.insert(node, lease);
        true
    }

    /// The connection is gone. The lease is not, yet.
    pub(crate) fn cut(&mut self, node: &NodeId) {
        if let Some(lease) = self.0.get_mut(node) {
            lease.connected = false;
            if lease.health == Health::Alive {
                lease.health = Health::Suspect;
            }
        }
    }

    /// Something came from the node.
    pub(crate) fn heard(&mut self, now: Uptime, node: &NodeId) {
        if let Some(lease) = self.0.get_mut(node) {
            lease.heard = now;
            if matches!(lease.health, Health::Suspect | Health::Down) {
                lease.health = Health::Alive;
            }
        }
    }

    /// The node asked for another period, names the one it will write in.
    pub(crate) fn renewed(&mut self, now: Uptime, node: &NodeId, period: Duration) {
        if let Some(lease) = self.0.get_mut(node) {
            lease.period = period.clamp(PERIOD_MIN, PERIOD_MAX);
            // Also after a goodbye: it slept.
            (lease.heard, lease.health) = (now, Health::Alive);
        }
    }

    /// The node said goodbye.
    pub(crate) fn left(&mut self, node: &NodeId) {
        if let Some(lease) = self.0.get_mut(node) {
            lease.health = Health::Left;
        }
    }

    /// What has become due. Each is told once.
    pub(crate) fn due(&mut self, now: Uptime) -> Due {
        let mut due = Due::default();
        for (node, lease) in &mut self.0 {
            if lease.ends().is_some_and(|ends| ends <= now) {
                lease.health = Health::Down;
                due.ended.push(*node);
            }
            if lease.connected && lease.renew.is_some_and(|at| at <= now) {
                lease.renew = Some(now.after(lease.period));
                due.renew.push(*node);
            }
        }
        due
    }

    /// When something becomes due.
    pub(crate) fn next(&self) -> Option<Uptime> {
        let renewal = |lease: &Lease| lease.renew.filter(|_| lease.connected);
        self.0.values().flat_map(|lease| [lease.ends(), renewal(lease)]).flatten().min()
    }

    /// What is held of a node.
    pub(crate) fn get(&self, node: &NodeId) -> Option<(BootEpoch, Health)> {
        self.0.get(node).map(|lease| (lease.epoch, lease.health))
    }

    /// Those we are connected to.
    pub(crate) fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.0.iter().filter(|(_, lease)| lease.connected).map(|(node, _)| *node)
    }

    /// Lets all write at once, and gives them time to.
    pub(crate) fn restart(&mut self, now: Uptime) {
        for lease in self.0.values_mut() {
            lease.heard = now;
            lease.renew = lease.renew.map(|_| now);
        }
    }
}

impl Lease {
    fn stands(&self) -> bool {
        matches!(self.health, Health::Alive | Health::Suspect)
    }

    fn ends(&self) -> Option<Uptime> {
        self.stands().then(|| self.heard.after(self.period * MISSED_MAX + self.period / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 16]);
    const PERIOD: Duration = Duration::from_secs(4);

    fn at(secs: u64) -> Uptime {
        Uptime::from_millis(secs * 1000)
    }

    fn leases(asks: bool) -> Leases {
        let mut leases = Leases::default();
        assert!(leases.begin(at(0), NODE, BootEpoch(1), PERIOD, asks));
        leases
    }

    fn health(leases: &Leases) -> Health {
        leases.get(&NODE).unwrap().1
    }

    #[test]
    fn one_side_writes_once_a_period_and_only_while_connected() {
        let mut leases = leases(true);
        assert_eq!(leases.due(at(0)).renew, [NODE]);
        assert_eq!((leases.due(at(3)).renew.len(), leases.next()), (0, Some(at(4))));
        leases.cut(&NODE);
        assert_eq!((leases.due(at(4)).renew.len(), leases.next()), (0, Some(at(9))));
    }

    #[test]
    fn a_lease_ends_after_two_silent_periods_and_a_quarter_and_a_word_renews_it() {
        let mut leases = leases(false);
        leases.cut(&NODE);
        assert_eq!(health(&leases), Health::Suspect);
        assert_eq!(leases.due(at(8)), Due::default());
        leases.heard(at(8), &NODE);
        assert_eq!(health(&leases), Health::Alive);
        assert_eq!(leases.due(at(16)), Due::default());
        assert_eq!(leases.due(at(17)).ended, [NODE]);
        assert_eq!((health(&leases), leases.due(at(99))), (Health::Down, Due::default()), "told once");
        assert_eq!(leases.next(), None);
    }

    #[test]
    fn who_said_goodbye_is_not_down_and_is_back_with_its_next_renewal() {
        let mut leases = leases(false);
        leases.left(&NODE);
        leases.heard(at(1), &NODE);
        assert_eq!((leases.due(at(99)), health(&leases)), (Due::default(), Health::Left));
        leases.renewed(at(100), &NODE, Duration::ZERO);
        assert_eq!(
            (health(&leases), leases.due(at(101)), leases.due(at(102)).ended.len()),
            (Health::Alive, Due::default(), 1)
        );
    }

    #[test]
    fn leases_are_bounded_and_those_that_ended_make_room() {
        let mut leases = leases(false);
        for number in 0..LEASES_MAX - 1 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            assert!(leases.begin(at(50), NodeId(id), BootEpoch(1), PERIOD, false));
        }
        assert!(!leases.begin(at(50), NodeId([9; 16]), BootEpoch(1), PERIOD, false));
        assert_eq!(leases.due(at(50)).ended, [NODE]);
        assert!(leases.begin(at(50), NodeId([9; 16]), BootEpoch(1), PERIOD, false));
        assert_eq!(leases.get(&NODE), None);
    }
}
