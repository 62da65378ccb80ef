//! How many attempts an address has. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use covenant_types::Uptime;

/// The attempts of one kind in the last minute, by address.
#[derive(Debug)]
pub(crate) struct AttemptLimit {
    most: usize,
    attempts: BTreeMap<IpAddr, VecDeque<Uptime>>,
}

impl AttemptLimit {
    /// `most` attempts a minute.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, attempts: BTreeMap::new() }
    }

    /// Whether `from` may try now; if not, when it may.
    pub(crate) fn check(&mut self, from: IpAddr, now: Uptime) -> Result<(), Duration> {
        let Some(attempts) = self.attempts.get_mut(&network(from)) else {
            return Ok(());
        };
        attempts.retain(|&at| now.since(at) < PERIOD);
        match attempts.front() {
            Some(&oldest) if attempts.len() >= self.most => Err(PERIOD.saturating_sub(now.since(oldest))),
            _ => Ok(()),
        }
    }

    /// Records an attempt of `from`.
    pub(crate) fn record(&mut self, from: IpAddr, now: Uptime) {
        if self.attempts.len() >= ADDRESSES_MAX {
            self.attempts.retain(|_, attempts| attempts.back().is_some_and(|&at| now.since(at) < PERIOD));
        }
        // Still full: so many addresses tried within a minute. Forgetting the first of them keeps the bound.
        if self.attempts.len() >= ADDRESSES_MAX && !self.attempts.contains_key(&network(from)) {
            self.attempts.pop_first();
        }
        let attempts = self.attempts.entry(network(from)).or_default();
        attempts.push_back(now);
        if attempts.len() > self.most {
            attempts.pop_front();
        }
    }
}

/// An IPv6 host has a whole /64 of addresses to try from.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

/// Attempts that may fail: whoever has a token has no need of more.
pub(crate) const FAILURES_MAX: usize = 5;
/// Renewals and questions for the time. An address may be that of a whole region behind one gateway; who is turned away tries
/// again a little later.
pub(crate) const REQUESTS_MAX: usize = 60;
const PERIOD: Duration = Duration::from_mins(1);
/// The most addresses remembered.
const ADDRESSES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Uptime {
        Uptime(Duration::from_secs(seconds))
    }

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_sixth_attempt_within_a_minute_waits_until_the_first_is_a_minute_old() {
        let mut limit = AttemptLimit::new(FAILURES_MAX);
        for second in 0..5 {
            assert_eq!(limit.check(v4(1), at(second)), Ok(()));
            limit.record(v4(1), at(second));
        }
        assert_eq!(limit.check(v4(1), at(10)), Err(Duration::from_secs(50)));
        assert_eq!(limit.check(v4(2), at(10)), Ok(()), "another address");
        assert_eq!(limit.check(v4(1), at(60)), Ok(()));
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one_and_a_mapped_address_as_ipv4() {
        let mut limit = AttemptLimit::new(FAILURES_MAX);
        for host in 0..5u16 {
            limit.record(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]), at(0));
            limit.record("::ffff:10.0.0.1".parse().unwrap(), at(0));
        }
        assert!(limit.check("2001:db8::ffff".parse().unwrap(), at(1)).is_err());
        assert!(limit.check("2001:db8:0:1::1".parse().unwrap(), at(1)).is_ok());
        assert!(limit.check(v4(1), at(1)).is_err());
    }

    #[test]
    fn memory_has_a_bound_however_many_addresses_fail() {
        let mut limit = AttemptLimit::new(FAILURES_MAX);
        for host in 0..10_000u32 {
            limit.record(IpAddr::from(host.to_be_bytes()), at(0));
        }
        assert_eq!(limit.attempts.len(), ADDRESSES_MAX);
    }
}
