//! Whom to dial next, and how long to leave those alone who did not answer. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use covenant_types::{NodeId, Uptime};
use rand::Rng;

use crate::seeds::Seed;

/// Somebody to dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// Where somebody told us to look; who answers there is seen then.
    Seed(Seed),
    /// A node we know, where its record says it is. At another address it is another target, due at once.
    Node(NodeId, SocketAddr),
}

/// The pace of attempts at one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The wait after the first failure. Doubles.
    pub(crate) min: Duration,
    /// The longest wait.
    pub(crate) max: Duration,
}

/// All targets and when each is due.
#[derive(Debug)]
pub(crate) struct DialBook {
    pace: Pace,
    targets: BTreeMap<Target, Attempt>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    next: Uptime,
    wait: Duration,
    under_way: bool,
}

impl DialBook {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, targets: BTreeMap::new() }
    }

    /// Sets whom we want, each with the head start it gives to being dialled by the other side. Attempts at targets
    /// that stay go on as they were.
    pub(crate) fn want(&mut self, now: Uptime, wanted: &BTreeMap<Target, Duration>) {
        self.targets.retain(|target, attempt| attempt.under_way || wanted.contains_key(target));
        for (target, head_start) in wanted {
            let fresh = Attempt { next: now.after(*head_start), wait: self.pace.min, under_way: false };
            self.targets.entry(target.clone()).or_insert(fresh);
        }
    }

    /// Takes those that are due, at most `limit`. Each must be followed by [`DialBook::ended`].
    pub(crate) fn take_due(&mut self, now: Uptime, limit: usize) -> Vec<Target> {
        let due = self.targets.iter_mut().filter(|(_, attempt)| !attempt.under_way && attempt.next <= now);
        due.take(limit)
            .map(|(target, attempt)| {
                attempt.under_way = true;
                target.clone()
            })
            .collect()
    }

    /// An attempt is over. If the target is still wanted it is due again after its wait, which has doubled.
    pub(crate) fn ended(&mut self, now: Uptime, target: &Target, rng: &mut impl Rng) {
        if let Some(attempt) = self.targets.get_mut(target) {
            let jitter = rng.random_range(0.75..1.25);
            let next = now.after(attempt.wait.mul_f64(jitter));
            *attempt = Attempt { next, wait: (attempt.wait * 2).min(self.pace.max), under_way: false };
        }
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Uptime> {
        self.targets.values().filter(|attempt| !attempt.under_way).map(|attempt| attempt.next).min()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const TARGET: Target = Target::Node(NodeId([1; 16]), ADDRESS);
    const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn book() -> DialBook {
        let mut book = DialBook::new(Pace { min: Duration::from_secs(1), max: Duration::from_secs(8) });
        book.want(Uptime::ZERO, &BTreeMap::from([(TARGET, Duration::ZERO)]));
        book
    }

    #[test]
    fn a_target_that_does_not_answer_is_left_alone_ever_longer_up_to_a_bound() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut book = book();
        let mut now = Uptime::ZERO;
        for expected in [1.0, 2.0, 4.0, 8.0, 8.0] {
            assert_eq!(book.take_due(now, 9), [TARGET]);
            book.ended(now, &TARGET, &mut rng);
            let wait = book.next().unwrap().since(now).as_secs_f64();
            assert!((expected * 0.75..=expected * 1.25).contains(&wait), "{wait} for {expected}");
            now = book.next().unwrap();
        }
    }

    #[test]
    fn a_target_is_dialled_once_at_a_time_and_not_when_it_is_no_longer_wanted() {
        let mut book = book();
        assert_eq!(book.take_due(Uptime::ZERO, 9).len(), 1);
        assert_eq!(book.take_due(Uptime::ZERO, 9).len(), 0);
        book.want(Uptime::ZERO, &BTreeMap::new());
        book.ended(Uptime::ZERO, &TARGET, &mut StdRng::seed_from_u64(1));
        book.want(Uptime::ZERO, &BTreeMap::new());
        assert_eq!(book.next(), None);
    }

    #[test]
    fn being_wanted_again_does_not_shorten_the_wait() {
        let mut book = book();
        let wanted = BTreeMap::from([(TARGET, Duration::ZERO)]);
        let _ = book.take_due(Uptime::ZERO, 9);
        book.ended(Uptime::ZERO, &TARGET, &mut StdRng::seed_from_u64(1));
        book.want(Uptime::ZERO, &wanted);
        assert_eq!(book.take_due(Uptime::ZERO, 9), []);
    }
}
