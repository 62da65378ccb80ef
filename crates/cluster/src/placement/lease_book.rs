//! The granting side of leases. Pure: the time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_types::{ActorPath, Fence, NodeId, Uptime};

use super::source::{LEASE_SPAN_MAX, LEASE_SPAN_MIN, LeaseError};

/// The most leases one source grants at a time.
pub const LEASES_MAX: usize = 16 * 1024;

/// What a source remembers.
#[derive(Debug, Default)]
pub(super) struct LeaseBook {
    leases: BTreeMap<ActorPath, Granted>,
    /// The highest token that was given out, of any key: so a key that is forgotten needs no memory of its own.
    last: u64,
}

#[derive(Debug)]
struct Granted {
    holder: NodeId,
    token: u64,
    until: Uptime,
}

impl LeaseBook {
    pub(super) fn acquire(
        &mut self,
        now: Uptime,
        key: &ActorPath,
        holder: NodeId,
        span: Duration,
    ) -> Result<Fence, LeaseError> {
        check(span)?;
        match self.leases.get(key) {
            Some(granted) if granted.holder != holder && granted.until > now => {
                return Err(LeaseError::Held { by: granted.holder, left: granted.until.since(now) });
            }
            Some(_) => {}
            None => {
                if self.leases.len() >= LEASES_MAX {
                    self.leases.retain(|_, granted| granted.until > now);
                }
                if self.leases.len() >= LEASES_MAX {
                    return Err(LeaseError::Full("the source grants no more at a time"));
                }
            }
        }
        self.last += 1;
        let token = self.last;
        self.leases.insert(key.clone(), Granted { holder, token, until: now.after(span) });
        Ok(Fence { key: key.clone(), token })
    }

    pub(super) fn renew(
        &mut self,
        now: Uptime,
        fence: &Fence,
        holder: NodeId,
        span: Duration,
    ) -> Result<(), LeaseError> {
        check(span)?;
        match self.leases.get_mut(&fence.key) {
            Some(granted) if (granted.token, granted.holder) == (fence.token, holder) && granted.until > now => {
                granted.until = now.after(span);
                Ok(())
            }
            Some(_) | None => Err(LeaseError::Lost),
        }
    }

    pub(super) fn release(&mut self, fence: &Fence, holder: NodeId) {
        let is_it = |granted: &Granted| (granted.token, granted.holder) == (fence.token, holder);
        if self.leases.get(&fence.key).is_some_and(is_it) {
            self.leases.remove(&fence.key);
        }
    }
}

fn check(span: Duration) -> Result<(), LeaseError> {
    if (LEASE_SPAN_MIN..=LEASE_SPAN_MAX).contains(&span) { Ok(()) } else { Err(LeaseError::BadSpan) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    fn key() -> ActorPath {
        "/placed".parse().unwrap()
    }

    fn at(seconds: u64) -> Uptime {
        Uptime(Duration::from_secs(seconds))
    }

    #[test]
    fn one_holder_at_a_time_and_the_next_only_when_the_lease_is_over_or_given_back() {
        let (a, b) = (NodeId([1; 16]), NodeId([2; 16]));
        let mut book = LeaseBook::default();
        let first = book.acquire(at(0), &key(), a, SPAN).unwrap();
        let held = LeaseError::Held { by: a, left: Duration::from_secs(1) };
        assert_eq!(book.acquire(at(9), &key(), b, SPAN), Err(held));
        assert_eq!(book.renew(at(9), &first, a, SPAN), Ok(()));
        assert!(matches!(book.acquire(at(18), &key(), b, SPAN), Err(LeaseError::Held { .. })));
        let second = book.acquire(at(19), &key(), b, SPAN).unwrap();
        assert!(second.token > first.token);
        assert_eq!(book.renew(at(20), &first, a, SPAN), Err(LeaseError::Lost));
        book.release(&first, a); // is no longer its own
        assert!(matches!(book.acquire(at(20), &key(), a, SPAN), Err(LeaseError::Held { .. })));
        book.release(&second, b);
        assert!(book.acquire(at(20), &key(), a, SPAN).unwrap().token > second.token);
    }

    #[test]
    fn spans_and_the_number_of_leases_are_bounded_and_what_is_over_makes_room() {
        let mut book = LeaseBook::default();
        for span in [Duration::ZERO, LEASE_SPAN_MAX + Duration::from_millis(1)] {
            assert_eq!(book.acquire(at(0), &key(), NodeId([1; 16]), span), Err(LeaseError::BadSpan));
        }
        let key = |number: usize| format!("/a{number}").parse::<ActorPath>().unwrap();
        for number in 0..LEASES_MAX {
            book.acquire(at(0), &key(number), NodeId([1; 16]), SPAN).unwrap();
        }
        assert!(matches!(book.acquire(at(9), &key(LEASES_MAX), NodeId([1; 16]), SPAN), Err(LeaseError::Full(_))));
        assert!(book.acquire(at(10), &key(LEASES_MAX), NodeId([1; 16]), SPAN).is_ok());
    }

    proptest! {
        #[test]
        fn tokens_only_rise(steps in proptest::collection::vec((0..3u8, 0..3u8, 0..3u8, 0..15u64), 1..60)) {
            let (mut book, mut now, mut last) = (LeaseBook::default(), 0, 0);
            let mut granted: Vec<(Fence, NodeId)> = Vec::new();
            for (what, key, node, wait) in steps {
                now += wait;
                let (key, node) = (format!("/a{key}").parse::<ActorPath>().unwrap(), NodeId([node; 16]));
                match what {
                    0 => if let Ok(fence) = book.acquire(at(now), &key, node, SPAN) {
                        prop_assert!(fence.token > last);
                        last = fence.token;
                        granted.push((fence, node));
                    },
                    1 => if let Some((fence, node)) = granted.last() {
                        let _lost = book.renew(at(now), fence, *node, SPAN);
                    },
                    _ => if let Some((fence, node)) = granted.pop() {
                        book.release(&fence, node);
                    },
                }
            }
        }
    }
}
