//! Who shares the fate of a child that is restarted, when, and whether at all.
//!
//! A restart spends one of those the window forgives, waits its back-off, and then stops and starts the group. Who ends
//! while a group it belongs to waits joins that group: one restart is spent and one pause kept for all of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt, Uptime};

use super::child::Phase;
use super::procedure::{Goal, Procedure};
use super::{Supervisor, report};
use crate::effect::{Effect, ReportContext};
use crate::event::Timer;
use crate::restart_window::Verdict;
use crate::spec::{ChildId, Restart, Strategy};

/// The least pause before a restart that is not counted.
const UNCOUNTED_PAUSE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Performs policy for a child that ended by itself. Nothing else is under way.
    pub(super) fn own_exit(&mut self, now: Uptime, at: usize, reason: &ExitReason, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        child.phase = Phase::Undefined;
        let (id, significant) = (child.id.clone(), child.spec.significant);
        let restart = match child.spec.restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_orderly(),
            Restart::Temporary => false,
        };
        if restart || !reason.is_orderly() {
            effects.push(report(ReportContext::ChildTerminated, reason, &id));
        }
        let leader = self.leader_of(at).map(|leader| self.children[leader].phase.clone());
        match leader {
            // Its group waits for somebody who would not end, perhaps for this very child, and takes it along.
            Some(Phase::Blocked) => self.stopped_with_group(at, effects),
            Some(_) if restart => self.join(now, at, effects),
            None if restart => self.restart(now, at, reason.is_counted(), effects),
            Some(_) | None => {
                if self.stopped(at, effects) {
                    effects.push(Effect::ChildEnded { child: id });
                }
                self.ended_for_good(significant, effects);
            }
        }
    }

    /// Spends one restart on the child at `at` and its group: at once, after a pause, or never again. What is not counted
    /// is not spent, and waits instead, for it has no other bound.
    fn restart(&mut self, now: Uptime, at: usize, counted: bool, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        let window = child.window().unwrap_or(&mut self.window);
        if counted && window.record(now) == Verdict::Escalate {
            child.phase = Phase::Undefined;
            effects.push(report(ReportContext::ReachedMaxIntensity, &ExitReason::Shutdown, &child.id));
            return self.shut_down(effects);
        }
        let least = (!counted).then_some(UNCOUNTED_PAUSE);
        let Some(pause) = self.pause(now, at).max(least) else { return self.restart_group(at, effects) };
        self.wait(Timer::Backoff, now, at, pause, effects);
        // Those of its group who wait already wait as long as it does.
        for member in self.group(at).filter(|member| *member != at) {
            if matches!(self.children[member].phase, Phase::Waiting { .. }) {
                self.wait(Timer::Backoff, now, member, pause, effects);
            }
        }
    }

    /// A restart's start failed. The rest of the group stays stopped; the next try counts as one more exit of this child.
    pub(super) fn try_again(&mut self, now: Uptime, at: usize, counted: bool, effects: &mut Vec<Effect>) {
        if counted {
            self.wait(Timer::RetryStart, now, at, Duration::ZERO, effects);
        } else {
            self.wait(Timer::Backoff, now, at, UNCOUNTED_PAUSE, effects);
        }
    }

    /// The wait of the child at `at` is over, and with it that of its group.
    pub(super) fn waited(&mut self, now: Uptime, at: usize, retry: bool, effects: &mut Vec<Effect>) {
        let leader = self.leader_of(at);
        if let Some(leader) = leader {
            // Has no timer any more, and must not be forgotten if the leader's restart comes to nothing.
            self.children[at].phase = Phase::Blocked;
            if self.children[leader].phase == Phase::Blocked {
                return;
            }
        }
        let first = leader.unwrap_or(at);
        if retry { self.restart(now, first, true, effects) } else { self.restart_group(first, effects) }
    }

    /// Waits with the group that waits already.
    fn join(&mut self, now: Uptime, at: usize, effects: &mut Vec<Effect>) {
        let Some(leader) = self.leader_of(at).map(|leader| &self.children[leader]) else { return };
        let Phase::Waiting { due } = leader.phase else { return };
        let kind = match leader.timer {
            Some(Timer::RetryStart(_)) => Timer::RetryStart,
            Some(
                Timer::Backoff(_)
                | Timer::DrainDeadline(_)
                | Timer::StopDeadline(_)
                | Timer::KillGrace(_)
                | Timer::InstancesDeadline
                | Timer::InstancesGrace,
            )
            | None => Timer::Backoff,
        };
        self.wait(kind, now, at, due.since(now), effects);
    }

    /// Stops and starts those who share the fate of the child at `at`, unless one of them would not end.
    fn restart_group(&mut self, at: usize, effects: &mut Vec<Effect>) {
        self.children[at].cancel_timer(effects);
        if self.group(at).any(|member| self.children[member].is_unkillable()) {
            self.children[at].phase = Phase::Blocked;
            return;
        }
        self.children[at].phase = Phase::Undefined;
        let ids: Vec<ChildId> = self.group(at).map(|member| self.children[member].id.clone()).collect();
        let offender = self.children[at].id.clone();
        let stops = ids.iter().rev().cloned().collect();
        self.begin(Procedure::new(Goal::Restart { offender }, stops, VecDeque::from(ids)), effects);
    }

    /// Restarts the group that waited for somebody who would not end, if that has ended or gone. Says whether it did.
    pub(super) fn unblock(&mut self, now: Uptime, effects: &mut Vec<Effect>) -> bool {
        if !self.has_groups() {
            return false; // nobody waits for siblings
        }
        let Some(first) = self.children.iter().position(|child| child.phase == Phase::Blocked) else { return false };
        if self.group(first).any(|member| self.children[member].is_unkillable()) {
            return false;
        }
        match self.leader_of(first).map(|leader| &self.children[leader].phase) {
            Some(Phase::Waiting { .. }) => self.join(now, first, effects),
            Some(_) | None => self.restart_group(first, effects),
        }
        true
    }

    /// Who of those that are being restarted takes the child at `at` along: the first, whose group has all the others.
    pub(super) fn leader_of(&self, at: usize) -> Option<usize> {
        let mut others = match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => return None,
            Strategy::RestForOne => 0..at,
            Strategy::OneForAll => 0..self.children.len(),
        };
        others.find(|other| *other != at && self.children[*other].is_restarting())
    }

    /// Whether children share a fate here.
    pub(super) fn has_groups(&self) -> bool {
        matches!(self.strategy, Strategy::RestForOne | Strategy::OneForAll)
    }

    fn group(&self, at: usize) -> Range<usize> {
        match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => at..at + 1,
            Strategy::RestForOne => at..self.children.len(),
            Strategy::OneForAll => 0..self.children.len(),
        }
    }

    /// How long a restart of the child at `at` waits: its own pause, under one_for_all the longest of the group's.
    fn pause(&mut self, now: Uptime, at: usize) -> Option<Duration> {
        let members = match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic | Strategy::RestForOne => at..at + 1,
            Strategy::OneForAll => 0..self.children.len(),
        };
        let mut longest = None;
        for member in members {
            let child = &mut self.children[member];
            // A temporary sibling is not started again.
            if child.spec.backoff.is_some() && child.spec.restart != Restart::Temporary {
                longest = longest.max(child.next_pause(now, self.lots.draw()));
            }
        }
        self.children[at].note_end();
        longest
    }

    fn wait(
        &mut self,
        timer: fn(StartAttempt) -> Timer,
        now: Uptime,
        at: usize,
        after: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let child = &mut self.children[at];
        // A child that ended had an attempt.
        let ticket = child.last_attempt.unwrap_or_else(|| self.attempts.next());
        child.wait(timer(ticket), now, after, effects);
    }
}
