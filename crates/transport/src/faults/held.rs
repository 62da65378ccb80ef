//! Datagrams on their way, in the order in which they arrive.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use covenant_types::Uptime;
use quinn::udp::EcnCodepoint;

/// A datagram that is not there yet.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Whom it goes to, or came from.
    pub(super) peer: SocketAddr,
    /// This machine's address that it leaves from, or came to.
    pub(super) local: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: Vec<u8>,
}

/// What waits in one direction. Bounded by count and bytes.
#[derive(Debug, Default)]
pub(super) struct HeldQueue {
    by_arrival: BTreeMap<(Uptime, u64), Held>,
    bytes: usize,
    pushed: u64,
}

impl HeldQueue {
    /// Takes a datagram in, or returns false where there is no room. Of two for the same moment the first arrives first.
    pub(super) fn push(&mut self, at: Uptime, held: Held) -> bool {
        if self.by_arrival.len() >= HELD_MAX || self.bytes + held.bytes.len() > HELD_BYTES_MAX {
            return false;
        }
        self.bytes += held.bytes.len();
        self.pushed += 1;
        self.by_arrival.insert((at, self.pushed), held);
        true
    }

    /// The next that has arrived by `now`.
    pub(super) fn pop_due(&mut self, now: Uptime) -> Option<Held> {
        let entry = self.by_arrival.first_entry().filter(|entry| entry.key().0 <= now)?;
        let held = entry.remove();
        self.bytes -= held.bytes.len();
        Some(held)
    }

    /// When the next one arrives.
    pub(super) fn next(&self) -> Option<Uptime> {
        self.by_arrival.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_arrival.is_empty()
    }
}

/// The most datagrams that are on their way in one direction.
pub const HELD_MAX: usize = 32 * 1024;
/// The most bytes that are on their way in one direction. A line of 100 Mbit/s and two seconds has 25 MB.
pub const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn held(bytes: usize) -> Held {
        Held { peer: SocketAddr::from(([127, 0, 0, 1], 1)), local: None, ecn: None, bytes: vec![0; bytes] }
    }

    #[test]
    fn what_is_on_its_way_arrives_in_order_and_has_a_bound() {
        let mut queue = HeldQueue::default();
        for (at, bytes) in [(20, 1), (10, 2), (10, 3)] {
            assert!(queue.push(Uptime::from_millis(at), held(bytes)));
        }
        assert_eq!(queue.next(), Some(Uptime::from_millis(10)));
        let mut take = |now| queue.pop_due(Uptime::from_millis(now)).map(|held| held.bytes.len());
        assert_eq!([take(9), take(10), take(10), take(10), take(20)], [None, Some(2), Some(3), None, Some(1)]);
        assert!(queue.push(Uptime::ZERO, held(HELD_BYTES_MAX)));
        assert!(!queue.push(Uptime::ZERO, held(1)));
        assert!(queue.pop_due(Uptime::ZERO).is_some() && queue.is_empty());
        assert!((0..HELD_MAX).all(|_| queue.push(Uptime::ZERO, held(0))));
        assert!(!queue.push(Uptime::ZERO, held(0)));
    }
}
