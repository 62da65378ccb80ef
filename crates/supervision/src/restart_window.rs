//! The restart window: how many restarts a supervisor forgives, and over how long.
//!
//! A short burst is forgiven, a crash loop is not. One restart too many inside `period` and the supervisor gives up, so that
//! its parent can decide with a wider view.
//!
//! Invariants:
//! - `restarts` is in time order and never longer than `intensity` and [`REMEMBERED_MAX`].
//! - Time is an argument. Nothing here reads a clock.

use std::collections::VecDeque;
use std::time::Duration;

use covenant_types::Uptime;

#[derive(Clone, Debug)]
pub(crate) struct RestartWindow {
    intensity: usize,
    period: Duration,
    restarts: VecDeque<Uptime>,
}

/// Restarts a window remembers. An intensity above it forgives no more than this: a supervisor that restarts a million times
/// within its period does not help its children.
const REMEMBERED_MAX: usize = 1_000_000;

/// What one more restart means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is forgiven.
    Restart,
    /// It is one too many.
    Escalate,
}

impl RestartWindow {
    pub(crate) fn new(intensity: u32, period: Duration) -> Self {
        let intensity = usize::try_from(intensity).unwrap_or(usize::MAX).min(REMEMBERED_MAX);
        Self { intensity, period, restarts: VecDeque::new() }
    }

    /// Forgives so many in so long from now on; what was recorded stays.
    pub(crate) fn change(&mut self, intensity: u32, period: Duration) {
        let changed = Self::new(intensity, period);
        (self.intensity, self.period) = (changed.intensity, changed.period);
    }

    /// Records a restart at `now` and returns what to do about it.
    ///
    /// A restart exactly `period` ago still counts, as it does in OTP.
    pub(crate) fn record(&mut self, now: Uptime) -> Verdict {
        while self.restarts.front().is_some_and(|&at| now.since(at) > self.period) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= self.intensity {
            return Verdict::Escalate;
        }
        self.restarts.push_back(now);
        Verdict::Restart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(intensity: u32, at_ms: &[u64]) -> Vec<Verdict> {
        let mut window = RestartWindow::new(intensity, Duration::from_secs(1));
        at_ms.iter().map(|&at| window.record(Uptime::from_millis(at))).collect()
    }

    #[test]
    fn a_restart_exactly_one_period_ago_still_counts() {
        assert_eq!(verdicts(1, &[0, 1000]), [Verdict::Restart, Verdict::Escalate]);
        assert_eq!(verdicts(1, &[0, 1001]), [Verdict::Restart, Verdict::Restart]);
    }

    #[test]
    fn no_window_remembers_without_end() {
        let mut window = RestartWindow::new(u32::MAX, Duration::from_secs(1));
        let forgiven = (0..).take_while(|_| window.record(Uptime::ZERO) == Verdict::Restart).count();
        assert_eq!(forgiven, REMEMBERED_MAX);
    }

    #[test]
    fn an_intensity_of_zero_forgives_nothing() {
        assert_eq!(verdicts(0, &[0]), [Verdict::Escalate]);
    }

    #[test]
    fn intensity_restarts_are_forgiven_and_one_more_is_not() {
        assert_eq!(verdicts(2, &[0, 1, 2]), [Verdict::Restart, Verdict::Restart, Verdict::Escalate]);
    }
}
