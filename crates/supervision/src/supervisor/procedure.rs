//! What a supervisor is in the middle of: stop these one by one, then start those one by one.

use std::collections::VecDeque;
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt, Uptime};

use super::child::Phase;
use super::{Supervisor, report};
use crate::effect::{AdminDone, AdminError, Effect, ReportContext};
use crate::event::{Event, Timer};
use crate::spec::{ChildId, Restart, Shutdown};

#[derive(Debug)]
pub(super) struct Procedure {
    pub(super) goal: Goal,
    pub(super) stops: VecDeque<ChildId>,
    pub(super) starts: VecDeque<ChildId>,
    pub(super) awaited: Option<Awaited>,
}

/// What for.
#[derive(Debug)]
pub(super) enum Goal {
    /// The supervisor starts.
    Boot,
    /// Its start failed; what was started is stopped again.
    FailedBoot { reason: ExitReason },
    /// A child ended, and its group with it.
    Restart { offender: ChildId },
    /// An operator's call.
    Admin { call: u64, act: AdminAct },
    /// The end.
    Shutdown,
}

/// Which call, as far as its end depends on it.
#[derive(Debug)]
pub(super) enum AdminAct {
    /// Stop a child.
    Terminate(ChildId),
    /// Start one that was there.
    Restart,
    /// Start a new one; its spec goes where the start fails.
    Start(ChildId),
}

/// What a procedure waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Start(ChildId, StartAttempt),
    Stop(ChildId, StartAttempt),
}

impl Procedure {
    pub(super) fn new(goal: Goal, stops: VecDeque<ChildId>, starts: VecDeque<ChildId>) -> Self {
        Self { goal, stops, starts, awaited: None }
    }

    pub(super) fn awaits_stop_of(&self, id: &ChildId, attempt: StartAttempt) -> bool {
        self.awaited == Some(Awaited::Stop(id.clone(), attempt))
    }

    fn awaits_start_of(&self, id: &ChildId, attempt: StartAttempt) -> bool {
        self.awaited == Some(Awaited::Start(id.clone(), attempt))
    }
}

impl Supervisor {
    /// Takes up a procedure and goes on with it as far as it goes.
    pub(super) fn begin(&mut self, procedure: Procedure, effects: &mut Vec<Effect>) {
        self.procedure = Some(procedure);
        self.go_on(effects);
    }

    fn go_on(&mut self, effects: &mut Vec<Effect>) {
        while let Some(procedure) = &mut self.procedure {
            if procedure.awaited.is_some() {
                return;
            }
            if let Some(id) = procedure.stops.pop_front() {
                self.stop_child(&id, effects);
            } else if let Some(id) = procedure.starts.pop_front() {
                self.start_child(&id, effects);
            } else if let Some(done) = self.procedure.take() {
                self.finish(done.goal, effects);
            }
        }
    }

    /// Begins to stop a child, or notes that nothing of it runs.
    fn stop_child(&mut self, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(at) = self.position(id) else { return };
        let shutting_down =
            matches!(self.procedure, Some(Procedure { goal: Goal::Shutdown | Goal::FailedBoot { .. }, .. }));
        let child = &mut self.children[at];
        match child.phase {
            Phase::Running { attempt } => {
                child.phase = Phase::Stopping { attempt, killed: false };
                match child.spec.shutdown {
                    Shutdown::BrutalKill => self.kill(at, attempt, effects),
                    Shutdown::Timeout(_) => {
                        effects.push(Effect::Stop { child: id.clone(), attempt });
                        child.set_timer(Timer::StopDeadline(attempt), effects);
                    }
                    Shutdown::Infinity => {
                        child.cancel_timer(effects);
                        effects.push(Effect::Stop { child: id.clone(), attempt });
                    }
                }
                self.await_stop(id, attempt);
            }
            // An unkillable child was waited for already; a group that needs it waits on, the end does not.
            Phase::Unkillable { attempt } if !shutting_down => self.await_stop(id, attempt),
            Phase::Starting { attempt } | Phase::Stopping { attempt, .. } => self.await_stop(id, attempt),
            Phase::Exited | Phase::Waiting => {
                child.cancel_timer(effects);
                child.phase = Phase::Undefined;
                self.deferred.retain(|event| !matches!(event, Event::ChildExited { child, .. } if child == id));
                self.stopped(at, effects);
            }
            Phase::Undefined | Phase::Unkillable { .. } => {}
        }
    }

    fn await_stop(&mut self, id: &ChildId, attempt: StartAttempt) {
        if let Some(procedure) = &mut self.procedure {
            procedure.awaited = Some(Awaited::Stop(id.clone(), attempt));
        }
    }

    /// A child was stopped on purpose: a temporary one is forgotten.
    fn stopped(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        child.phase = Phase::Undefined;
        child.started_at = None;
        if child.spec.restart == Restart::Temporary {
            let child = self.children.remove(at);
            effects.push(Effect::Forget(child.spec.id));
        }
    }

    fn start_child(&mut self, id: &ChildId, effects: &mut Vec<Effect>) {
        // A temporary child that was stopped with its group is gone.
        let Some(at) = self.position(id) else { return };
        if self.children[at].attempt().is_some() {
            return;
        }
        let attempt = self.attempts.next();
        let child = &mut self.children[at];
        child.cancel_timer(effects);
        child.phase = Phase::Starting { attempt };
        child.last_attempt = Some(attempt);
        if let Some(procedure) = &mut self.procedure {
            procedure.awaited = Some(Awaited::Start(id.clone(), attempt));
        }
        effects.push(Effect::Start { child: id.clone(), attempt });
    }

    pub(super) fn child_started(
        &mut self,
        now: Uptime,
        id: &ChildId,
        attempt: StartAttempt,
        effects: &mut Vec<Effect>,
    ) {
        let Some(procedure) = self.procedure.as_mut().filter(|procedure| procedure.awaits_start_of(id, attempt)) else {
            return;
        };
        procedure.awaited = None;
        if let Goal::Admin { call, .. } = procedure.goal {
            effects.push(Effect::Answer { call, result: Ok(AdminDone::Started(attempt)) });
        }
        if let Some(at) = self.position(id) {
            self.children[at].phase = Phase::Running { attempt };
            self.children[at].started_at = Some(now);
        }
        self.go_on(effects);
    }

    pub(super) fn child_ignored(&mut self, id: &ChildId, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        let Some(procedure) = self.procedure.as_mut().filter(|procedure| procedure.awaits_start_of(id, attempt)) else {
            return;
        };
        procedure.awaited = None;
        if let Goal::Admin { call, .. } = procedure.goal {
            effects.push(Effect::Answer { call, result: Ok(AdminDone::Ignored) });
        }
        if let Some(at) = self.position(id) {
            effects.push(Effect::ChildEnded { child: id.clone() });
            self.stopped(at, effects);
        }
        self.go_on(effects);
    }

    pub(super) fn child_start_failed(
        &mut self,
        now: Uptime,
        id: &ChildId,
        attempt: StartAttempt,
        reason: ExitReason,
        effects: &mut Vec<Effect>,
    ) {
        if !self.procedure.as_ref().is_some_and(|procedure| procedure.awaits_start_of(id, attempt)) {
            // A start that was given up and killed may still answer so: its task has ended.
            self.child_exited(now, id.clone(), attempt, reason, effects);
            return;
        }
        let Some(at) = self.position(id) else { return };
        effects.push(report(ReportContext::StartError, &reason, id));
        self.children[at].phase = Phase::Undefined;
        let Some(procedure) = self.procedure.take() else { return };
        match procedure.goal {
            Goal::Boot => {
                let stops = self.children.iter().rev().map(|child| child.spec.id.clone()).collect();
                self.begin(Procedure::new(Goal::FailedBoot { reason }, stops, VecDeque::new()), effects);
            }
            Goal::Restart { .. } => {
                // The rest of the group stays undefined; the next try counts as an exit of this child.
                let child = &mut self.children[at];
                let pause = match child.spec.backoff {
                    Some(backoff) => {
                        child.in_a_row = child.in_a_row.saturating_add(1);
                        backoff.pause(child.in_a_row, self.lots.draw())
                    }
                    None => Duration::ZERO,
                };
                child.wait(Timer::RetryStart(attempt), pause, effects);
            }
            Goal::Admin { call, act } => {
                if let AdminAct::Start(id) = act {
                    self.children.retain(|child| child.spec.id != id);
                    effects.push(Effect::Forget(id));
                }
                effects.push(Effect::Answer { call, result: Err(AdminError::StartFailed(reason)) });
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
        let Some(at) = self.position(&id) else { return };
        let child = &mut self.children[at];
        if child.phase == Phase::Exited && child.last_attempt == Some(attempt) {
            return self.own_exit(now, at, reason, effects);
        }
        if child.attempt() != Some(attempt) {
            return;
        }
        child.cancel_timer(effects);
        match child.phase {
            Phase::Starting { .. } => self.child_start_failed(now, &id, attempt, reason, effects),
            Phase::Stopping { killed, .. } => self.expected_exit(at, attempt, killed, reason, effects),
            Phase::Unkillable { .. } => self.late_exit(now, at, attempt, reason, effects),
            Phase::Running { .. } if self.procedure.is_some() => {
                child.phase = Phase::Exited;
                self.deferred.push_back(Event::ChildExited { child: id, attempt, reason });
            }
            Phase::Running { .. } => self.own_exit(now, at, reason, effects),
            Phase::Undefined | Phase::Exited | Phase::Waiting => unreachable!("these have no attempt"),
        }
    }

    fn expected_exit(
        &mut self,
        at: usize,
        attempt: StartAttempt,
        killed: bool,
        reason: ExitReason,
        effects: &mut Vec<Effect>,
    ) {
        let child = &self.children[at];
        let brutal = killed && child.spec.shutdown == Shutdown::BrutalKill && reason == ExitReason::Killed;
        let orderly = match child.spec.restart {
            // A permanent child ends on request with `shutdown` alone, the others in any orderly way.
            Restart::Permanent => matches!(reason, ExitReason::Shutdown | ExitReason::ShutdownWith(_)),
            Restart::Transient | Restart::Temporary => reason.is_orderly(),
        };
        if !brutal && !orderly {
            effects.push(report(ReportContext::ShutdownError, &reason, &child.spec.id));
        }
        let id = child.spec.id.clone();
        self.stopped(at, effects);
        if let Some(procedure) = self.procedure.as_mut().filter(|procedure| procedure.awaits_stop_of(&id, attempt)) {
            procedure.awaited = None;
        }
        self.go_on(effects);
    }

    /// An unkillable child ended after all: whoever waits for it goes on, else policy applies to it.
    fn late_exit(
        &mut self,
        now: Uptime,
        at: usize,
        attempt: StartAttempt,
        reason: ExitReason,
        effects: &mut Vec<Effect>,
    ) {
        let id = self.children[at].spec.id.clone();
        if let Some(procedure) = self.procedure.as_mut().filter(|procedure| procedure.awaits_stop_of(&id, attempt)) {
            procedure.awaited = None;
            self.stopped(at, effects);
            return self.go_on(effects);
        }
        if let Some(offender) = self.blocked.take() {
            self.stopped(at, effects);
            return self.restart_group(&offender, effects);
        }
        if self.procedure.is_some() {
            self.children[at].phase = Phase::Exited;
            self.deferred.push_back(Event::ChildExited { child: id, attempt, reason });
        } else {
            self.own_exit(now, at, reason, effects);
        }
    }

    fn finish(&mut self, goal: Goal, effects: &mut Vec<Effect>) {
        match goal {
            Goal::Boot => effects.push(Effect::Started),
            Goal::FailedBoot { reason } => {
                self.end(effects);
                effects.push(Effect::StartFailed { reason });
            }
            Goal::Shutdown => {
                self.end(effects);
                effects.push(Effect::Exit { reason: ExitReason::Shutdown });
            }
            Goal::Admin { call, act: AdminAct::Terminate(id) } => {
                if self.position(&id).is_some() {
                    effects.push(Effect::ChildEnded { child: id });
                }
                effects.push(Effect::Answer { call, result: Ok(AdminDone::Done) });
            }
            // These were answered when the start was.
            Goal::Admin { act: AdminAct::Restart | AdminAct::Start(_), .. } => {}
            Goal::Restart { .. } => {}
        }
    }

    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.ended = true;
        for event in self.deferred.drain(..) {
            if let Event::Admin { call, .. } = event {
                effects.push(Effect::Answer { call, result: Err(AdminError::Stopping) });
            }
        }
    }
}
