//! What time a leader writes into its entries. Pure.
//!
//! # Intuition
//! Money expires by this time, so all members must have the same one, and it must not go back. A leader writes its own clock's
//! time, never less than that of the entries before. Where its clock is set forward while it leads, it follows by
//! [`CLOCK_JUMP_MAX`] at most and tells so: a time that was once written binds all who lead later. Refusing to write would
//! stop the money for the fault of a clock.

use std::time::Duration;

use covenant_types::{Uptime, WallTime};

/// How far the time of entries may run ahead of what has passed since this leader's first entry.
pub const CLOCK_JUMP_MAX: Duration = Duration::from_secs(10);

/// The clock of a node while it leads.
#[derive(Debug, Default)]
pub(super) struct LeaderClock {
    /// The first entry of this term.
    anchor: Option<Anchor>,
    last: WallTime,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    term: u64,
    at: WallTime,
    now: Uptime,
    told: bool,
}

impl LeaderClock {
    /// The time of the next entry: `wall` and `now` are this node's clocks, `applied` the time of what is applied.
    pub(super) fn stamp(&mut self, term: u64, now: Uptime, wall: WallTime, applied: WallTime) -> WallTime {
        self.last = self.last.max(applied);
        let Some(anchor) = self.anchor.as_mut().filter(|anchor| anchor.term == term) else {
            self.last = self.last.max(wall);
            self.anchor = Some(Anchor { term, at: self.last, now, told: false });
            return self.last;
        };
        let latest = WallTime(anchor.at.0.saturating_add((now.since(anchor.now) + CLOCK_JUMP_MAX).as_secs()));
        if wall > latest && !anchor.told {
            anchor.told = true;
            tracing::error!(
                clock = wall.0,
                written = latest.0,
                "this leader's clock was set forward; its entries follow by the bound only"
            );
        }
        self.last = self.last.max(wall.min(latest));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_never_goes_back_and_runs_ahead_by_its_bound_only() {
        let mut clock = LeaderClock::default();
        let mut check = |term, now: u64, wall, applied, expected, why: &str| {
            let at = clock.stamp(term, Uptime::from_millis(now * 1000), WallTime(wall), WallTime(applied));
            assert_eq!(at, WallTime(expected), "{why}");
        };
        check(1, 0, 1000, 0, 1000, "its own clock");
        check(1, 5, 1005, 1000, 1005, "time passes");
        check(1, 6, 900, 1005, 1005, "set back: it stands");
        check(1, 7, 9000, 1005, 1017, "set forward: the first entry, what passed, and the bound");
        check(1, 60, 9060, 1017, 1070, "and so on");
        check(2, 70, 1070, 1200, 1200, "another leader was ahead meanwhile");
        check(2, 80, 1085, 1200, 1200, "until its clock comes up");
        check(2, 300, 1300, 1200, 1300, "it has");
        check(3, 400, 9400, 1300, 9400, "a new leader's clock is believed");
    }
}
