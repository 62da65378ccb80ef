//! The holding side of leases. Pure: the time, time in suspend included, is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_types::{ActorPath, Fence, Uptime};

use super::source::LeaseError;

/// The most leases one node holds at a time.
pub const HELD_MAX: usize = 1024;

/// The leases this node holds.
#[derive(Debug, Default)]
pub(super) struct HeldLeases(BTreeMap<ActorPath, Held>);

#[derive(Debug)]
struct Held {
    token: u64,
    span: Duration,
    until: Uptime,
    /// When it is to be renewed; `None` while that is under way.
    renew_at: Option<Uptime>,
}

impl HeldLeases {
    /// Whether one more fits.
    pub(super) fn room(&self) -> Result<(), LeaseError> {
        if self.0.len() < HELD_MAX { Ok(()) } else { Err(LeaseError::Full("this node holds no more at a time")) }
    }

    /// The source granted a lease, or renewed it. It counts from when it was asked for, which the source did not see before
    /// it granted. False where it is over already.
    pub(super) fn granted(&mut self, asked: Uptime, now: Uptime, fence: &Fence, span: Duration) -> bool {
        let until = asked.after(span);
        if until <= now {
            return false;
        }
        let renew_at = Some(asked.after(span / 3));
        self.0.insert(fence.key.clone(), Held { token: fence.token, span, until, renew_at });
        true
    }

    /// Whether this lease is held now.
    pub(super) fn holds(&self, now: Uptime, fence: &Fence) -> bool {
        self.0.get(&fence.key).is_some_and(|held| held.token == fence.token && now < held.until)
    }

    /// Those to be renewed now, with their spans. Each is named once until its answer is told.
    pub(super) fn due(&mut self, now: Uptime) -> Vec<(Fence, Duration)> {
        let due = self.0.iter_mut().filter(|(_, held)| held.renew_at.is_some_and(|at| at <= now));
        due.map(|(key, held)| {
            held.renew_at = None;
            (Fence { key: key.clone(), token: held.token }, held.span)
        })
        .collect()
    }

    /// A renewal came to nothing but may succeed later.
    pub(super) fn try_again(&mut self, now: Uptime, fence: &Fence) {
        if let Some(held) = self.0.get_mut(&fence.key).filter(|held| held.token == fence.token) {
            held.renew_at = Some(now.after(held.span / 10));
        }
    }

    /// Gives this lease up.
    pub(super) fn remove(&mut self, fence: &Fence) {
        if self.0.get(&fence.key).is_some_and(|held| held.token == fence.token) {
            self.0.remove(&fence.key);
        }
    }

    /// Gives up what is over.
    pub(super) fn expire(&mut self, now: Uptime) {
        self.0.retain(|_, held| now < held.until);
    }

    /// Gives up all.
    pub(super) fn drop_all(&mut self) {
        self.0.clear();
    }

    /// When something is due or over.
    pub(super) fn next_wake(&self) -> Option<Uptime> {
        self.0.values().map(|held| held.renew_at.map_or(held.until, |at| at.min(held.until))).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(9);

    fn at(seconds: u64) -> Uptime {
        Uptime(Duration::from_secs(seconds))
    }

    fn fence(token: u64) -> Fence {
        Fence { key: "/placed".parse().unwrap(), token }
    }

    #[test]
    fn a_lease_counts_from_when_it_was_asked_for() {
        let mut held = HeldLeases::default();
        assert!(held.granted(at(0), at(5), &fence(1), SPAN));
        assert!(held.holds(at(8), &fence(1)) && !held.holds(at(9), &fence(1)));
        assert!(!held.granted(at(0), at(9), &fence(2), SPAN), "the answer took longer than the lease");
        assert!(!held.holds(at(8), &fence(2)));
    }

    #[test]
    fn a_lease_is_renewed_after_a_third_and_given_up_where_that_does_not_succeed() {
        let mut held = HeldLeases::default();
        assert!(held.granted(at(0), at(0), &fence(1), SPAN));
        assert_eq!((held.due(at(2)), held.next_wake()), (Vec::new(), Some(at(3))));
        assert_eq!(held.due(at(3)), [(fence(1), SPAN)]);
        assert_eq!((held.due(at(4)), held.next_wake()), (Vec::new(), Some(at(9))), "it is under way");
        held.try_again(at(4), &fence(1));
        assert_eq!(held.due(at(5)), [(fence(1), SPAN)]);
        held.expire(at(9));
        assert_eq!((held.holds(at(8), &fence(1)), held.next_wake()), (false, None));
    }

    #[test]
    fn what_is_told_of_an_older_token_changes_nothing() {
        let mut held = HeldLeases::default();
        assert!(held.granted(at(0), at(0), &fence(2), SPAN));
        held.remove(&fence(1));
        held.try_again(at(0), &fence(1));
        assert!(held.holds(at(1), &fence(2)) && !held.holds(at(1), &fence(1)));
        held.drop_all();
        assert!(!held.holds(at(1), &fence(2)));
    }
}
