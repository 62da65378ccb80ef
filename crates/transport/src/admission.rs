//! How many handshakes one address may ask of this node. Pure.
//!
//! # Intuition
//! A handshake costs signatures, whoever asks for it. Who fails pays nine times what who succeeds pays, so that strangers,
//! expired nodes and guessers are soon turned away by a look at their address, while a rack of honest nodes behind one
//! address is not. An address that nobody proved pays nothing: it may be somebody else's.
//!
//! # Invariants
//! - One address never has more than half of all handshakes under way.
//! - At most [`ADDRESSES_MAX`] addresses are remembered, however many ask.

use std::collections::BTreeMap;
use std::net::IpAddr;

use covenant_types::Uptime;

use crate::join::network;

/// The handshakes of each address.
#[derive(Debug, Default)]
pub(crate) struct Admission(BTreeMap<IpAddr, Asked>);

#[derive(Debug)]
struct Asked {
    /// What its handshakes may still cost, in thousandths: those of which it was not proved, and those of which it was.
    left: [u64; 2],
    since: Uptime,
    under_way: usize,
}

/// Whether a handshake may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has begun; [`Admission::ended`] must follow.
    Begun,
    /// Once it is proved that somebody is at that address.
    Prove,
    /// Not now.
    Refused,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In a peer or an answer.
    Fine,
    /// In a refusal.
    Failed,
    /// In silence: where the address was not proved, perhaps nobody there ever asked.
    Silent,
}

impl Admission {
    /// Whether a handshake of `from` may begin, whose address was `proved` or not.
    pub(crate) fn begin(&mut self, from: IpAddr, proved: bool, now: Uptime) -> Verdict {
        let address = network(from);
        if !self.0.contains_key(&address) {
            self.make_room(now);
        }
        let asked = self.0.entry(address).or_insert(Asked { left: [ALL; 2], since: now, under_way: 0 });
        asked.fill(now);
        match (asked.left[usize::from(proved)] >= 1000, proved) {
            (_, _) if asked.under_way >= UNDER_WAY_MAX => Verdict::Refused,
            (true, _) => {
                asked.under_way += 1;
                Verdict::Begun
            }
            (false, false) => Verdict::Prove,
            (false, true) => Verdict::Refused,
        }
    }

    /// A handshake of `from` has ended.
    pub(crate) fn ended(&mut self, from: IpAddr, proved: bool, outcome: Outcome) {
        let Some(asked) = self.0.get_mut(&network(from)) else { return };
        asked.under_way = asked.under_way.saturating_sub(1);
        let cost = match (outcome, proved) {
            (Outcome::Fine, _) => 1,
            (Outcome::Failed, _) | (Outcome::Silent, true) => FAILURE_COST,
            (Outcome::Silent, false) => 0,
        };
        let left = &mut asked.left[usize::from(proved)];
        *left = left.saturating_sub(cost * 1000);
    }

    /// Forgets addresses that owe nothing, or else the one that owes least.
    fn make_room(&mut self, now: Uptime) {
        if self.0.len() < ADDRESSES_MAX {
            return;
        }
        self.0.retain(|_, asked| {
            asked.fill(now);
            asked.under_way > 0 || asked.left != [ALL; 2]
        });
        if self.0.len() >= ADDRESSES_MAX {
            let idle = self.0.iter().filter(|(_, asked)| asked.under_way == 0);
            let least = idle.max_by_key(|(_, asked)| asked.left.iter().sum::<u64>()).map(|(address, _)| *address);
            if let Some(address) = least {
                self.0.remove(&address);
            }
        }
    }
}

impl Asked {
    fn fill(&mut self, now: Uptime) {
        let millis = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        for left in &mut self.left {
            *left = left.saturating_add(millis.saturating_mul(PER_SEC)).min(ALL);
        }
        if millis > 0 {
            self.since = now;
        }
    }
}

/// Handshakes that succeed and may follow each other at once: twenty nodes of one machine that all start again.
const AT_ONCE: u64 = 512;
const ALL: u64 = AT_ONCE * 1000;
/// How many more a second.
const PER_SEC: u64 = 16;
/// What one that fails costs.
const FAILURE_COST: u64 = 9;
/// The most handshakes of one address at a time.
const UNDER_WAY_MAX: usize = crate::accept::HANDSHAKES_MAX / 2;
/// The most addresses remembered.
const ADDRESSES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Uptime {
        Uptime::from_millis(seconds * 1000)
    }

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// How many handshakes with this outcome begin, one after the other, of so many asked for at one moment.
    fn begun(
        admission: &mut Admission,
        from: IpAddr,
        now: Uptime,
        outcome: Outcome,
        proved: bool,
        asked: usize,
    ) -> usize {
        let one = |admission: &mut Admission| {
            let begun = admission.begin(from, proved, now) == Verdict::Begun;
            if begun {
                admission.ended(from, proved, outcome);
            }
            begun
        };
        (0..asked).filter(|_| one(admission)).count()
    }

    #[test]
    fn who_fails_is_soon_turned_away_and_others_are_not() {
        let mut admission = Admission::default();
        assert_eq!(begun(&mut admission, v4(1), at(0), Outcome::Failed, true, 1000), 57);
        assert_eq!(admission.begin(v4(1), true, at(0)), Verdict::Refused);
        assert_eq!(begun(&mut admission, v4(1), at(10), Outcome::Failed, true, 1000), 18, "160 more in ten seconds");
        assert_eq!(begun(&mut admission, v4(2), at(0), Outcome::Fine, true, 500), 500);
    }

    #[test]
    fn who_sends_from_the_address_of_another_takes_nothing_from_it_but_makes_it_prove_itself() {
        let mut admission = Admission::default();
        assert_eq!(begun(&mut admission, v4(1), at(0), Outcome::Failed, false, 1000), 57);
        assert_eq!(admission.begin(v4(1), false, at(0)), Verdict::Prove);
        assert_eq!(begun(&mut admission, v4(1), at(0), Outcome::Fine, true, 100), 100);
        assert_eq!(begun(&mut admission, v4(2), at(0), Outcome::Silent, false, 5000), 5000);
    }

    #[test]
    fn one_address_has_at_most_half_of_the_handshakes_under_way() {
        let mut admission = Admission::default();
        let begins = |admission: &mut Admission, host| admission.begin(v4(host), false, at(0)) == Verdict::Begun;
        assert_eq!((0..100).filter(|_| begins(&mut admission, 1)).count(), UNDER_WAY_MAX);
        assert!(begins(&mut admission, 2));
        admission.ended(v4(1), false, Outcome::Fine);
        assert!(begins(&mut admission, 1));
    }

    #[test]
    fn memory_has_a_bound_and_who_owes_most_is_remembered_longest() {
        let mut admission = Admission::default();
        begun(&mut admission, v4(1), at(0), Outcome::Failed, true, 1000);
        for host in 0..4500_u32 {
            let from = IpAddr::from((0x0b00_0000 + host).to_be_bytes());
            begun(&mut admission, from, at(0), Outcome::Failed, true, 1);
        }
        assert!(admission.0.len() <= ADDRESSES_MAX);
        assert_eq!(admission.begin(v4(1), true, at(0)), Verdict::Refused);
    }
}
