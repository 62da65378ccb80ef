//! What a supervisor tells of the abnormal ends it hears of: one report each, and what it did because of it.

use std::sync::Arc;

use covenant_supervision::{ChildId, ChildState, Effect, ReportContext, Shutdown};
use covenant_types::{ExitReason, StartAttempt};

use super::driver::Driver;
use crate::CrashContext;
use crate::notice::What;
use crate::observe::{Case, CrashKey};
use crate::slot::Slot;

/// The end of a child that is being dealt with.
pub(super) struct Crash {
    key: CrashKey,
    child: ChildId,
    was_stopping: bool,
    had_given_up: bool,
    /// A child that does not start while this supervisor starts ends that, once those before it have stopped.
    ends_start: bool,
}

impl Driver {
    /// Reports the end of `child` if it is abnormal. Of a supervisor that gave up nothing is reported again: its end is a
    /// consequence of a crash that was.
    pub(super) fn crash_in(
        &mut self,
        slot: &Arc<Slot>,
        child: &ChildId,
        attempt: StartAttempt,
        what: &What,
    ) -> Option<Crash> {
        let (reason, started) = match what {
            What::Exited(reason) => (reason, true),
            What::StartFailed(reason) => (reason, false),
            What::Started(_) | What::Ignored => return None,
        };
        let mut left = slot.if_observed().and_then(|observed| observed.take_left(attempt));
        match left.as_ref().and_then(|left| left.trace) {
            Some(trace) => drop(self.case.traces.insert(child.clone(), trace)),
            None => drop(self.case.traces.remove(child)),
        }
        let (key, is_own) = Case::of_child(&slot.path, reason, &mut left);
        let key = key?;
        let stopping = self.core.child(child).is_some_and(|view| view.state == ChildState::Stopping);
        let brutal = self.core.child_spec(child).is_some_and(|spec| spec.shutdown == Shutdown::BrutalKill);
        if stopping && brutal && *reason == ExitReason::Killed {
            return None; // it ended as it was told to
        }
        if is_own {
            let context = match (stopping, started) {
                (true, _) => CrashContext::Stopping,
                (false, true) => CrashContext::Running,
                (false, false) => CrashContext::Starting,
            };
            self.system.report_crash(slot, &key, slot.incarnation(), context, reason, left);
        }
        if !stopping {
            self.case.last = Some(key.clone());
        }
        let had_given_up = self.case.gave_up.is_some();
        let ends_start = !started && !self.port.notice.has_started();
        Some(Crash { key, child: child.clone(), was_stopping: stopping, had_given_up, ends_start })
    }

    /// Notes for which crash this supervisor gives up, if it does.
    pub(super) fn note_giving_up(&mut self, effects: &[Effect]) {
        let gives_up = |effect: &Effect| match effect {
            Effect::Report(report) => report.context == ReportContext::ReachedMaxIntensity,
            Effect::StartFailed { .. } => true,
            Effect::Start { .. }
            | Effect::Stop { .. }
            | Effect::Kill { .. }
            | Effect::Drain { .. }
            | Effect::Discard { .. }
            | Effect::SetTimer { .. }
            | Effect::CancelTimer(_)
            | Effect::Forget(_)
            | Effect::ChildEnded { .. }
            | Effect::Started
            | Effect::Exit { .. }
            | Effect::Answer { .. } => false,
        };
        if self.case.gave_up.is_none() && effects.iter().any(gives_up) {
            self.case.gave_up = self.case.last.clone();
        }
    }

    /// This supervisor ends: the one above learns for which crash.
    pub(super) fn leave_cause(&mut self) {
        if let Some(cause) = self.case.gave_up.clone() {
            let notice = &self.port.notice;
            notice.slot().observed().leave(notice.attempt(), |left| left.cause = Some(cause));
        }
    }

    /// Tells what became of the child.
    pub(super) fn tell_decision(&self, slot: &Slot, crash: &Crash) {
        let Some(log) = self.system.crashes() else { return };
        let gave_up = crash.ends_start || !crash.had_given_up && self.case.gave_up.as_ref() == Some(&crash.key);
        let now = self.core.child(&crash.child).map(|view| view.state);
        let did = Case::decision(gave_up, crash.was_stopping, now);
        log.link(&crash.key, &self.plan.slot.path, &slot.path, did);
    }
}
