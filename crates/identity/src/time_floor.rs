//! What time it is, for certificates, on a machine whose clock may be wrong. Pure.
//!
//! # Intuition
//! A tower without power forgets the time and boots in 1970; a bad clock boots ten years ahead. Some things bound the truth
//! from below whatever the clock says: the time this node wrote down last, the beginning of its own certificate, and the time
//! its program was built, which the real clock adds by itself. Nothing bounds it from above, but a clock beyond the end of our own certificate is doubted. Who
//! doubts asks issuing hubs, and until they answer lives with the later of clock and floor.
//!
//! Invariants:
//! - The time never lies before the floor, and the floor never sinks.
//! - A time that is doubted and that no hub confirmed is never written down: it would be the floor of every later boot.

use std::time::Duration;

use covenant_types::{Uptime, WallTime};

use crate::authority::later;

/// How far a clock may lie beside what is known before it is doubted, and two hubs apart before they contradict each other.
pub const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);
/// How many hubs are asked for the time.
pub const HUBS_ASKED: usize = 2;

/// What bounds the time from below, and what hubs said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFloor {
    /// The floor as of `since`.
    floor: WallTime,
    since: Uptime,
    /// The end of the node's own certificate.
    certificate_ends: WallTime,
    /// What hubs said, and when.
    heard: Option<(WallTime, Uptime)>,
}

/// What a boot knows of the time beside its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownTimes {
    /// The time written down last; 0 where there is none.
    pub persisted: WallTime,
    /// When the node's certificate begins.
    pub not_before: WallTime,
    /// When it ends.
    pub not_after: WallTime,
}

/// What to think of the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockVerdict {
    /// It may be right.
    Plausible,
    /// It lies before what is known to be past.
    Behind,
    /// Our own certificate would have ended: the clock is ahead, or the node was away for long.
    Ahead,
}

impl TimeFloor {
    /// The floor of a node that booted at `now`.
    pub fn new(known: KnownTimes, now: Uptime) -> Self {
        let KnownTimes { persisted, not_before, not_after } = known;
        let floor = persisted.max(not_before);
        Self { floor, since: now, certificate_ends: not_after, heard: None }
    }

    /// The earliest that it can be.
    pub fn floor(&self, now: Uptime) -> WallTime {
        later(self.floor, now.since(self.since))
    }

    /// What it is taken to be, where the machine's clock says `system`.
    pub fn time(&self, system: WallTime, now: Uptime) -> WallTime {
        let time = match self.heard {
            Some((heard, at)) => {
                let heard = later(heard, now.since(at));
                // The clock was set right meanwhile, or is finer than what was heard.
                if is_near(system, heard) { system } else { heard }
            }
            None => system,
        };
        time.max(self.floor(now))
    }

    /// What to think of a clock that says `system`.
    pub fn judge(&self, system: WallTime, now: Uptime) -> ClockVerdict {
        if let Some((heard, at)) = self.heard {
            let heard = later(heard, now.since(at));
            return match system {
                _ if is_near(system, heard) => ClockVerdict::Plausible,
                _ if system < heard => ClockVerdict::Behind,
                _ => ClockVerdict::Ahead,
            };
        }
        if later(system, CLOCK_TOLERANCE) < self.floor(now) {
            ClockVerdict::Behind
        } else if system > self.certificate_ends {
            ClockVerdict::Ahead
        } else {
            ClockVerdict::Plausible
        }
    }

    /// Whether hubs should be asked: the clock is doubted and they have not been heard.
    pub fn wants_to_ask(&self, system: WallTime, now: Uptime) -> bool {
        self.heard.is_none() && self.judge(system, now) != ClockVerdict::Plausible
    }

    /// Hubs said that it is this late. Two must agree where two are `known`; one alone is believed where there is no other.
    /// Returns whether they were believed.
    pub fn hear(&mut self, said: &[WallTime], known: usize, now: Uptime) -> bool {
        let needed = known.clamp(1, HUBS_ASKED);
        let floor = self.floor(now);
        // Before the floor nobody who is right can be.
        let mut said: Vec<WallTime> = said.iter().copied().filter(|at| later(*at, CLOCK_TOLERANCE) >= floor).collect();
        said.sort();
        let Some((&first, &last)) = said.first().zip(said.last()) else { return false };
        if said.len() < needed || !is_near(first, last) {
            return false;
        }
        // The earlier of two: to believe too late a time would end certificates, to believe too early a one ends nothing.
        self.heard = Some((first.max(floor), now));
        true
    }

    /// A fresh certificate of our own: it cannot be earlier than its beginning.
    pub fn certified(&mut self, not_before: WallTime, not_after: WallTime, now: Uptime) {
        if not_before > self.floor(now) {
            (self.floor, self.since) = (not_before, now);
        }
        self.certificate_ends = not_after;
    }

    /// What to write down: the time where it is not doubted, otherwise the floor.
    pub fn to_persist(&self, system: WallTime, now: Uptime) -> WallTime {
        if self.wants_to_ask(system, now) { self.floor(now) } else { self.time(system, now) }
    }
}

fn is_near(one: WallTime, other: WallTime) -> bool {
    one.0.abs_diff(other.0) <= CLOCK_TOLERANCE.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noon of some day; all else is told from there.
    const NOON: u64 = 1_800_000_000;
    const HOUR: u64 = 3600;
    const YEAR: u64 = 365 * 24 * HOUR;

    fn at(seconds: u64) -> Uptime {
        Uptime(Duration::from_secs(seconds))
    }

    /// A node that ran until noon with a certificate from six hours before to eighteen after.
    fn node() -> TimeFloor {
        let known = KnownTimes {
            persisted: WallTime(NOON),
            not_before: WallTime(NOON - 6 * HOUR),
            not_after: WallTime(NOON + 18 * HOUR),
        };
        TimeFloor::new(known, at(0))
    }

    #[test]
    fn the_floor_is_the_latest_of_what_is_known_and_rises_with_the_uptime() {
        assert_eq!(node().floor(at(10)), WallTime(NOON + 10));
        let fresh = KnownTimes { persisted: WallTime(0), not_before: WallTime(4), not_after: WallTime(9) };
        assert_eq!(TimeFloor::new(fresh, at(0)).floor(at(0)), WallTime(4));
    }

    #[test]
    fn a_clock_in_1970_is_behind_and_the_floor_counts_until_two_hubs_have_spoken() {
        let mut floor = node();
        let system = WallTime(100);
        assert_eq!(floor.judge(system, at(1)), ClockVerdict::Behind);
        assert_eq!(floor.time(system, at(1)), WallTime(NOON + 1));
        assert_eq!(floor.to_persist(system, at(1)), WallTime(NOON + 1));
        let truth = NOON + 3 * 24 * HOUR;
        assert!(!floor.hear(&[WallTime(truth)], 2, at(2)), "one of two is not enough");
        assert!(!floor.hear(&[WallTime(truth), WallTime(truth + HOUR)], 2, at(2)), "they contradict each other");
        assert!(floor.hear(&[WallTime(truth + 2), WallTime(truth)], 2, at(2)));
        assert_eq!(floor.time(WallTime(110), at(12)), WallTime(truth + 10));
        assert!(!floor.wants_to_ask(WallTime(110), at(12)));
        // NTP comes up: the machine's clock is believed again.
        assert_eq!(floor.time(WallTime(truth + 22), at(20)), WallTime(truth + 22));
    }

    #[test]
    fn a_clock_ten_years_ahead_is_doubted_and_never_written_down() {
        let mut floor = node();
        let system = WallTime(NOON + 10 * YEAR);
        assert_eq!(floor.judge(system, at(1)), ClockVerdict::Ahead);
        assert_eq!(floor.to_persist(system, at(1)), WallTime(NOON + 1), "the next boot starts from the truth");
        assert!(floor.hear(&[WallTime(NOON + 60), WallTime(NOON + 61)], 2, at(1)));
        assert_eq!(floor.time(system, at(1)), WallTime(NOON + 60));
        assert_eq!(floor.to_persist(system, at(1)), WallTime(NOON + 60));
    }

    #[test]
    fn a_long_cut_is_confirmed_and_no_fault_of_the_clock() {
        let mut floor = node();
        let system = WallTime(NOON + 5 * 24 * HOUR);
        assert!(floor.wants_to_ask(system, at(1)));
        assert_eq!(floor.time(system, at(1)), system, "until then the clock counts");
        assert!(floor.hear(&[WallTime(system.0 + 3)], 1, at(1)), "the only hub there is");
        assert_eq!(floor.judge(system, at(1)), ClockVerdict::Plausible);
        assert_eq!(floor.to_persist(system, at(1)), system);
    }

    #[test]
    fn hubs_that_lie_before_the_floor_are_not_believed() {
        let mut floor = node();
        assert!(!floor.hear(&[WallTime(NOON - HOUR), WallTime(NOON - HOUR)], 2, at(0)));
        assert_eq!(floor.time(WallTime(0), at(0)), WallTime(NOON));
    }

    #[test]
    fn a_fresh_certificate_raises_the_floor_and_moves_the_doubt() {
        let mut floor = node();
        floor.certified(WallTime(NOON + 20 * HOUR), WallTime(NOON + 44 * HOUR), at(5));
        assert_eq!(floor.floor(at(6)), WallTime(NOON + 20 * HOUR + 1));
        assert_eq!(floor.judge(WallTime(NOON + 30 * HOUR), at(6)), ClockVerdict::Plausible);
        floor.certified(WallTime(NOON), WallTime(NOON + 44 * HOUR), at(7));
        assert_eq!(floor.floor(at(7)), WallTime(NOON + 20 * HOUR + 2), "it never sinks");
    }
}
