//! Moments that are later than all that was known when they were taken, and close to the date.

use covenant_types::WallTime;
use serde::{Deserialize, Serialize};

/// How far ahead of this node's date a moment may be that its clock follows. Beyond that somebody's clock is wrong.
const AHEAD_SECS_MAX: u64 = 3600;

/// A moment of a hybrid logical clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Seconds since 1970.
    pub(super) seconds: u64,
    /// Which one of that second.
    pub(super) count: u32,
}

impl Moment {
    /// Before all others: of a claim that yields to any.
    pub(crate) const NEVER: Self = Self { seconds: 0, count: 0 };
}

/// Takes moments. Pure: the date is an argument.
#[derive(Debug, Default)]
pub(crate) struct HybridClock(Moment);

impl HybridClock {
    /// A moment after all that were taken or seen.
    pub(crate) fn take(&mut self, now: WallTime) -> Moment {
        let Moment { seconds, count } = self.0;
        self.0 = if now.0 > seconds {
            Moment { seconds: now.0, count: 1 }
        } else {
            match count.checked_add(1) {
                Some(count) => Moment { seconds, count },
                None => Moment { seconds: seconds.saturating_add(1), count: 1 },
            }
        };
        self.0
    }

    /// A moment of another node: what is taken from now on is after it, unless it lies far in the future.
    pub(crate) fn see(&mut self, seen: Moment, now: WallTime) {
        if seen.seconds <= now.0.saturating_add(AHEAD_SECS_MAX) {
            self.0 = self.0.max(seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_later_than_all_that_was_taken_or_seen_also_where_the_date_goes_back() {
        let mut clock = HybridClock::default();
        let mut last = Moment::NEVER;
        for date in [100, 100, 50, 101, 0] {
            let moment = clock.take(WallTime(date));
            assert!(moment > last, "{moment:?}");
            last = moment;
        }
        let ahead = Moment { seconds: 1000, count: u32::MAX };
        clock.see(ahead, WallTime(100));
        assert!(clock.take(WallTime(100)) > ahead);
    }

    #[test]
    fn a_moment_far_in_the_future_moves_no_clock() {
        let mut clock = HybridClock::default();
        clock.see(Moment { seconds: u64::MAX, count: 7 }, WallTime(100));
        assert_eq!(clock.take(WallTime(101)), Moment { seconds: 101, count: 1 });
    }
}
