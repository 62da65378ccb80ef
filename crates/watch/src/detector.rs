//! The detectors: small machines that look at one thing each and say when it goes wrong and when it is well again.
//!
//! Each opens and closes at different marks, so that what hovers around one of them does not open and close for ever.

use std::collections::VecDeque;
use std::time::Duration;

use covenant_types::{Uptime, format_duration};

/// What a detector has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It went wrong.
    Open(String),
    /// It is still wrong, and this was seen.
    Note(String),
    /// It is well again.
    Close(String),
}

/// Restarts of one actor. Opens at `threshold` restarts within `window`; closes after a whole `window` without one.
#[derive(Debug, Default)]
pub(crate) struct RestartRate {
    /// The latest restarts in time order, never more than the threshold.
    restarts: VecDeque<Uptime>,
    open: bool,
}

impl RestartRate {
    /// Takes one restart, of which `why` tells the reason.
    pub(crate) fn restarted(&mut self, now: Uptime, threshold: u32, window: Duration, why: &str) -> Option<Signal> {
        self.restarts.retain(|&at| now.since(at) <= window);
        self.restarts.push_back(now);
        let threshold = usize::try_from(threshold.max(1)).unwrap_or(usize::MAX);
        if self.restarts.len() > threshold {
            self.restarts.pop_front();
        }
        if self.open {
            return Some(Signal::Note(format!("restarted again{why}")));
        }
        if self.restarts.len() < threshold {
            return None;
        }
        self.open = true;
        Some(Signal::Open(format!("{threshold} restarts within {}, the last{why}", format_duration(window))))
    }

    /// Looks at the time.
    pub(crate) fn tick(&mut self, now: Uptime, window: Duration) -> Option<Signal> {
        let calm = self.restarts.back().is_none_or(|&last| now.since(last) > window);
        if !self.open || !calm {
            return None;
        }
        self.open = false;
        self.restarts.clear();
        Some(Signal::Close(format!("no restart for {}", format_duration(window))))
    }
}

/// The depth of one mailbox. Opens when it was filled above `open_percent` for `sustain`; closes when it was below
/// `close_percent` for as long.
#[derive(Debug, Default)]
pub(crate) struct MailboxDepth {
    /// Since when it has been across the mark that would change `open`.
    across_since: Option<Uptime>,
    open: bool,
}

/// When a mailbox is too full, and when it is well again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MailboxMarks {
    pub(crate) open_percent: u8,
    pub(crate) close_percent: u8,
    pub(crate) sustain: Duration,
}

impl MailboxDepth {
    /// Takes one look.
    pub(crate) fn observe(
        &mut self,
        now: Uptime,
        depth: usize,
        capacity: usize,
        marks: MailboxMarks,
    ) -> Option<Signal> {
        let filled = |percent: u8| depth.saturating_mul(100) >= capacity.saturating_mul(usize::from(percent));
        let across = if self.open { !filled(marks.close_percent) } else { capacity > 0 && filled(marks.open_percent) };
        if !across {
            self.across_since = None;
            return None;
        }
        let since = *self.across_since.get_or_insert(now);
        if now.since(since) < marks.sustain {
            return None;
        }
        self.across_since = None;
        self.open = !self.open;
        let sustained = format_duration(marks.sustain);
        Some(if self.open {
            Signal::Open(format!("{depth} of {capacity} waiting, above {} % for {sustained}", marks.open_percent))
        } else {
            Signal::Close(format!("{depth} of {capacity} waiting, below {} % for {sustained}", marks.close_percent))
        })
    }
}

/// How membership calls a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It answers.
    Reachable,
    /// It does not answer, and may be slow.
    Unreachable,
    /// It was given up.
    Down,
    /// It said goodbye.
    Left,
}

/// One member. Opens when it cannot be reached any more; closes when it has been reachable for `sustain`, or said goodbye.
///
/// Who was just heard of and not reached yet is no loss: it becomes one when membership gives it up.
#[derive(Debug, Default)]
pub(crate) struct MemberReach {
    was_reached: bool,
    reachable_since: Option<Uptime>,
    state: Option<MemberState>,
    open: bool,
}

impl MemberReach {
    /// Takes a state that membership told.
    pub(crate) fn observe(&mut self, now: Uptime, state: MemberState, whose: &str) -> Option<Signal> {
        let same = self.state.replace(state) == Some(state);
        match state {
            MemberState::Reachable => {
                self.reachable_since.get_or_insert(now);
                self.was_reached = true;
                (self.open && !same).then(|| Signal::Note(format!("reachable, {whose}")))
            }
            MemberState::Left => {
                self.reachable_since = None;
                std::mem::take(&mut self.open).then(|| Signal::Close("it left in order".into()))
            }
            MemberState::Unreachable if !self.was_reached => None,
            MemberState::Unreachable | MemberState::Down => {
                self.reachable_since = None;
                let word = if state == MemberState::Down { "down" } else { "unreachable" };
                if std::mem::replace(&mut self.open, true) {
                    (!same).then(|| Signal::Note(format!("{word}, {whose}")))
                } else {
                    Some(Signal::Open(format!("{word}, {whose}")))
                }
            }
        }
    }

    /// Looks at the time.
    pub(crate) fn tick(&mut self, now: Uptime, sustain: Duration) -> Option<Signal> {
        let well = self.reachable_since.is_some_and(|since| now.since(since) >= sustain);
        if !self.open || !well {
            return None;
        }
        self.open = false;
        Some(Signal::Close(format!("reachable for {}", format_duration(sustain))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);
    const MARKS: MailboxMarks = MailboxMarks { open_percent: 80, close_percent: 50, sustain: Duration::from_secs(5) };

    fn s(seconds: u64) -> Uptime {
        Uptime::from_millis(seconds * 1000)
    }

    /// Feeds restarts at these seconds and returns at which of them the rate opened.
    fn opened_at(seconds: &[u64]) -> Vec<u64> {
        let mut rate = RestartRate::default();
        let opens = |&at: &u64| matches!(rate.restarted(s(at), 3, WINDOW, ""), Some(Signal::Open(_)));
        seconds.iter().copied().filter(opens).collect()
    }

    #[test]
    fn who_was_not_reached_yet_is_not_lost_until_it_is_given_up() {
        let mut member = MemberReach::default();
        assert_eq!(member.observe(s(0), MemberState::Unreachable, "epoch 1"), None);
        assert!(matches!(member.observe(s(3), MemberState::Down, "epoch 1"), Some(Signal::Open(_))));
    }

    #[test]
    fn a_burst_below_the_threshold_is_forgiven() {
        assert_eq!(opened_at(&[1, 2]), [0_u64; 0]);
    }

    #[test]
    fn the_restart_that_reaches_the_threshold_opens() {
        assert_eq!(opened_at(&[1, 2, 3, 4]), [3]);
    }

    #[test]
    fn a_restart_exactly_one_window_ago_still_counts_and_an_older_one_does_not() {
        assert_eq!(opened_at(&[0, 30, 60]), [60]);
        assert_eq!(opened_at(&[0, 30, 61]), [0_u64; 0]);
    }

    #[test]
    fn a_restart_rate_closes_after_a_whole_calm_window_and_can_open_again() {
        let mut rate = RestartRate::default();
        for at in [1, 2, 3] {
            let _ = rate.restarted(s(at), 3, WINDOW, "");
        }
        assert_eq!(rate.tick(s(63), WINDOW), None);
        assert!(matches!(rate.tick(s(64), WINDOW), Some(Signal::Close(_))));
        assert_eq!(rate.tick(s(65), WINDOW), None, "it closes once");
        assert_eq!(rate.restarted(s(66), 3, WINDOW, ""), None, "and counts anew");
    }

    /// Feeds one look a second with these depths of 100 and returns the seconds of opening and closing.
    fn changes(depths: &[usize]) -> Vec<usize> {
        let mut mailbox = MailboxDepth::default();
        let changed = |&second: &usize| {
            let at = s(u64::try_from(second).unwrap());
            mailbox.observe(at, depths[second], 100, MARKS).is_some()
        };
        (0..depths.len()).filter(changed).collect()
    }

    #[test]
    fn a_mailbox_opens_only_when_it_stays_full() {
        assert_eq!(changes(&[80; 6]), [5]);
        assert_eq!(changes(&[80, 80, 80, 80, 79, 80, 80, 80, 80]), [0_usize; 0]);
    }

    #[test]
    fn a_mailbox_that_hovers_around_the_mark_does_not_flap() {
        let hovering: Vec<usize> = [[85; 6].as_slice(), &[75, 85].repeat(20), &[50; 10]].concat();
        assert_eq!(changes(&hovering), [5], "50 of 100 is not below 50 %");
        let emptied: Vec<usize> = [[85; 6].as_slice(), &[49; 6]].concat();
        assert_eq!(changes(&emptied), [5, 11]);
    }

    #[test]
    fn an_actor_without_a_mailbox_is_never_too_full() {
        let mut none = MailboxDepth::default();
        assert!((0..20).all(|at| none.observe(s(at), 0, 0, MARKS).is_none()));
    }

    #[test]
    fn a_lost_member_opens_once_and_closes_when_it_stays_back() {
        let mut member = MemberReach::default();
        let sustain = Duration::from_secs(5);
        assert_eq!(member.observe(s(0), MemberState::Reachable, "epoch 1"), None);
        assert!(matches!(member.observe(s(1), MemberState::Unreachable, "epoch 1"), Some(Signal::Open(_))));
        assert_eq!(member.observe(s(2), MemberState::Unreachable, "epoch 1"), None);
        assert!(matches!(member.observe(s(3), MemberState::Down, "epoch 1"), Some(Signal::Note(_))));
        assert!(matches!(member.observe(s(4), MemberState::Reachable, "epoch 2"), Some(Signal::Note(_))));
        assert_eq!(member.tick(s(8), sustain), None);
        assert!(matches!(member.observe(s(8), MemberState::Down, "epoch 2"), Some(Signal::Note(_))));
        let _ = member.observe(s(9), MemberState::Reachable, "epoch 2");
        assert_eq!(member.tick(s(13), sustain), None, "the relapse began the wait anew");
        assert!(matches!(member.tick(s(14), sustain), Some(Signal::Close(_))));
    }

    #[test]
    fn a_goodbye_is_no_incident_and_ends_one() {
        let mut member = MemberReach::default();
        assert_eq!(member.observe(s(0), MemberState::Left, "epoch 1"), None);
        let _ = member.observe(s(1), MemberState::Down, "epoch 2");
        assert!(matches!(member.observe(s(2), MemberState::Left, "epoch 2"), Some(Signal::Close(_))));
    }
}
