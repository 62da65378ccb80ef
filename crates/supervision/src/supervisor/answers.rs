//! What children's starts and stops came to.

use std::collections::VecDeque;

use covenant_types::{ExitReason, StartAttempt, Uptime};

use super::child::Phase;
use super::procedure::{AdminAct, Awaited, Goal, Procedure};
use super::{Deferred, Supervisor, report};
use crate::effect::{AdminDone, AdminError, Effect, ReportContext};
use crate::spec::{ChildId, ChildSpec, Restart, Shutdown};

impl Supervisor {
    pub(super) fn child_started(
        &mut self,
        now: Uptime,
        id: &ChildId,
        attempt: StartAttempt,
        info: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(at) = self.starting(id, attempt) else { return };
        let child = &mut self.children[at];
        child.phase = Phase::Running { attempt };
        child.note_start(now);
        match self.procedure.as_ref().map(|procedure| &procedure.goal) {
            Some(Goal::Restart { .. }) => child.count_restart(),
            Some(&Goal::Admin { call, .. }) => {
                effects.push(Effect::Answer { call, result: Ok(AdminDone::Started { attempt, info }) });
            }
            Some(Goal::Boot | Goal::FailedBoot { .. } | Goal::Shutdown) | None => {}
        }
        self.answered(attempt, effects);
    }

    pub(super) fn child_ignored(&mut self, now: Uptime, id: ChildId, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        let Some(at) = self.starting(&id, attempt) else {
            // A start that was given up meanwhile has ended with this.
            return self.child_exited(now, id, attempt, ExitReason::Normal, effects);
        };
        if self.stopped(at, effects) {
            effects.push(Effect::ChildEnded { child: id });
        }
        if let Some(&Goal::Admin { call, .. }) = self.procedure.as_ref().map(|procedure| &procedure.goal) {
            effects.push(Effect::Answer { call, result: Ok(AdminDone::Ignored) });
        }
        self.answered(attempt, effects);
    }

    pub(super) fn child_start_failed(
        &mut self,
        now: Uptime,
        id: ChildId,
        attempt: StartAttempt,
        reason: ExitReason,
        effects: &mut Vec<Effect>,
    ) {
        let Some(at) = self.starting(&id, attempt) else {
            // A start that was given up meanwhile has ended with this.
            return self.child_exited(now, id, attempt, reason, effects);
        };
        self.children[at].phase = Phase::Undefined;
        let Some(procedure) = self.procedure.take() else { return };
        match procedure.goal {
            Goal::Boot => {
                effects.push(report(ReportContext::StartError, &reason, &id));
                let reason = ExitReason::ShutdownWith(format!("failed to start child {id}: {reason}"));
                let stops = self.children.ids().rev().collect();
                self.begin(Procedure::new(Goal::FailedBoot { reason }, stops, VecDeque::new()), effects);
            }
            Goal::Restart { .. } => {
                effects.push(report(ReportContext::StartError, &reason, &id));
                self.try_again(now, at, reason.is_counted(), effects);
            }
            // Who asked is told, and nobody else.
            Goal::Admin { call, act } => {
                let error = match (act, reason) {
                    (AdminAct::Start, ExitReason::NameConflict(holder)) => {
                        self.forget(at, effects);
                        AdminError::NameTaken(holder)
                    }
                    (AdminAct::Start, reason) => {
                        self.forget(at, effects);
                        AdminError::StartFailed(reason)
                    }
                    (AdminAct::Restart | AdminAct::Terminate(_), reason) => {
                        effects.push(Effect::ChildEnded { child: id });
                        AdminError::StartFailed(reason)
                    }
                };
                effects.push(Effect::Answer { call, result: Err(error) });
            }
            Goal::Shutdown | Goal::FailedBoot { .. } => unreachable!("nothing is started on the way out"),
        }
    }

    pub(super) fn child_exited(
        &mut self,
        now: Uptime,
        id: ChildId,
        attempt: StartAttempt,
        reason: ExitReason,
        effects: &mut Vec<Effect>,
    ) {
        let Some(at) = self.children.position(&id) else { return };
        let with_all = self.awaits_instances();
        let child = &mut self.children[at];
        if child.attempt() != Some(attempt) {
            return;
        }
        child.cancel_timer(effects);
        match child.phase {
            Phase::Starting { .. } => self.child_start_failed(now, id, attempt, reason, effects),
            Phase::Stopping { .. } if with_all => self.instance_stopped(at, reason, effects),
            Phase::Stopping { .. } => {
                self.report_stop(at, &reason, effects);
                self.stopped_by_procedure(at, effects);
                self.answered(attempt, effects);
            }
            Phase::Running { .. } | Phase::Unkillable { .. } if self.procedure.is_some() => {
                child.phase = Phase::Exited { attempt, reason: Box::new(reason) };
                self.deferred.push_back(Deferred::Exit { id, ended: attempt });
            }
            Phase::Running { .. } | Phase::Unkillable { .. } => self.own_exit(now, at, &reason, effects),
            Phase::Undefined | Phase::Exited { .. } | Phase::Waiting { .. } | Phase::Blocked => {
                unreachable!("these have no attempt")
            }
        }
    }

    /// Where the child is whose start the procedure under way waits for, if that is this attempt.
    fn starting(&self, id: &ChildId, attempt: StartAttempt) -> Option<usize> {
        let awaited = self.procedure.as_ref().and_then(|procedure| procedure.awaited.as_ref());
        let at = self.children.position(id)?;
        (awaited == Some(&Awaited::Start(attempt)) && self.children[at].attempt() == Some(attempt)).then_some(at)
    }

    /// Goes on with the procedure that waited for this attempt.
    fn answered(&mut self, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        if let Some(procedure) = &mut self.procedure
            && let Some(Awaited::Start(awaited) | Awaited::Stop(awaited)) = procedure.awaited
            && awaited == attempt
        {
            procedure.awaited = None;
            self.go_on(effects);
        }
    }

    /// Tells people of a child that was to stop and ended otherwise. It changes nothing.
    pub(super) fn report_stop(&self, at: usize, reason: &ExitReason, effects: &mut Vec<Effect>) {
        let child = &self.children[at];
        if !ends_as_asked(&child.spec, reason) {
            effects.push(report(ReportContext::ShutdownError, reason, &child.id));
        }
    }

    /// Nothing of this child runs any more, and a temporary one is forgotten. Says whether its spec is kept.
    pub(super) fn stopped(&mut self, at: usize, effects: &mut Vec<Effect>) -> bool {
        let child = &mut self.children[at];
        child.phase = Phase::Undefined;
        child.note_end();
        let keep = child.spec.restart != Restart::Temporary && !self.is_dynamic();
        if !keep {
            self.forget(at, effects);
        }
        keep
    }

    /// The spec of a child goes.
    pub(super) fn forget(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let child = if self.is_dynamic() { self.children.swap_remove(at) } else { self.children.remove(at) };
        effects.push(Effect::Forget(child.id));
    }

    /// The same, for a child whose group is to be started again.
    pub(super) fn stopped_with_group(&mut self, at: usize, effects: &mut Vec<Effect>) {
        if self.stopped(at, effects) {
            self.children[at].adrift = true;
        }
    }

    pub(super) fn stopped_by_procedure(&mut self, at: usize, effects: &mut Vec<Effect>) {
        match self.procedure.as_ref().map(|procedure| &procedure.goal) {
            Some(Goal::Restart { .. }) => self.stopped_with_group(at, effects),
            Some(Goal::Boot | Goal::FailedBoot { .. } | Goal::Admin { .. } | Goal::Shutdown) | None => {
                self.stopped(at, effects);
            }
        }
    }
}

/// Whether a child that was to stop may end for this reason without a word.
pub(super) fn ends_as_asked(spec: &ChildSpec, reason: &ExitReason) -> bool {
    let brutal = spec.shutdown == Shutdown::BrutalKill;
    match reason {
        ExitReason::Killed => brutal,
        // A permanent child ends on request with `shutdown` alone, the others in any orderly way.
        ExitReason::Shutdown => !brutal || spec.restart != Restart::Permanent,
        ExitReason::Normal | ExitReason::ShutdownWith(_) => spec.restart != Restart::Permanent,
        ExitReason::Panicked(_)
        | ExitReason::Error(_)
        | ExitReason::NoConnection
        | ExitReason::NameConflict(_)
        | ExitReason::Rebalanced => false,
    }
}
