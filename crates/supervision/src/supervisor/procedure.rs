//! What a supervisor is in the middle of: stop these one by one, then start those one by one.

use std::collections::VecDeque;

use covenant_types::{ExitReason, StartAttempt};

use super::Supervisor;
use super::child::{Child, Phase};
use crate::effect::{AdminDone, AdminError, Effect};
use crate::spec::{ChildId, Strategy};

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
    Start,
}

/// What a procedure waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Start(StartAttempt),
    Stop(StartAttempt),
    /// All instances that were asked to stop.
    Instances,
}

impl Procedure {
    pub(super) fn new(goal: Goal, stops: VecDeque<ChildId>, starts: VecDeque<ChildId>) -> Self {
        Self { goal, stops, starts, awaited: None }
    }
}

impl Supervisor {
    /// Takes up a procedure and goes on with it as far as it goes.
    pub(super) fn begin(&mut self, procedure: Procedure, effects: &mut Vec<Effect>) {
        self.procedure = Some(procedure);
        self.go_on(effects);
    }

    pub(super) fn go_on(&mut self, effects: &mut Vec<Effect>) {
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
        let Some(at) = self.children.position(id) else { return };
        let child = &mut self.children[at];
        match child.phase {
            Phase::Running { attempt } => {
                child.stop(attempt, effects);
                self.await_stop(attempt);
            }
            Phase::Starting { attempt } | Phase::Stopping { attempt } => self.await_stop(attempt),
            Phase::Unkillable { .. } => self.give_up_waiting(effects),
            Phase::Exited { ref reason, .. } => {
                // It ended before it was asked to, and nobody has looked at why.
                let reason = reason.clone();
                self.report_stop(at, &reason, effects);
                self.stopped_by_procedure(at, effects);
            }
            Phase::Waiting { .. } | Phase::Blocked => {
                child.cancel_timer(effects);
                self.stopped_by_procedure(at, effects);
            }
            Phase::Undefined => {}
        }
    }

    fn await_stop(&mut self, attempt: StartAttempt) {
        if let Some(procedure) = &mut self.procedure {
            procedure.awaited = Some(Awaited::Stop(attempt));
        }
    }

    /// The child that is to be stopped next would not end. The supervisor's own end goes on without it, an operator hears
    /// of it, and a group restart is put off until it has ended after all.
    pub(super) fn give_up_waiting(&mut self, effects: &mut Vec<Effect>) {
        match self.procedure.take() {
            Some(Procedure { goal: Goal::Restart { offender }, .. }) => {
                if let Some(at) = self.children.position(&offender) {
                    self.children[at].phase = Phase::Blocked;
                }
            }
            Some(Procedure { goal: Goal::Admin { call, .. }, .. }) => {
                effects.push(Effect::Answer { call, result: Err(AdminError::Unkillable) });
            }
            Some(mut procedure) => {
                procedure.awaited = None;
                self.procedure = Some(procedure);
            }
            None => {}
        }
    }

    fn start_child(&mut self, id: &ChildId, effects: &mut Vec<Effect>) {
        // A temporary child that was stopped with its group is gone.
        let Some(at) = self.children.position(id) else { return };
        let child = &mut self.children[at];
        if child.attempt().is_some() {
            return;
        }
        let attempt = self.attempts.next();
        child.cancel_timer(effects);
        child.phase = Phase::Starting { attempt };
        child.last_attempt = Some(attempt);
        child.adrift = false;
        if let Some(procedure) = &mut self.procedure {
            procedure.awaited = Some(Awaited::Start(attempt));
        }
        effects.push(Effect::Start { child: id.clone(), attempt });
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
                if self.children.position(&id).is_some() {
                    effects.push(Effect::ChildEnded { child: id });
                }
                self.release_adrift(effects);
                effects.push(Effect::Answer { call, result: Ok(AdminDone::Done) });
            }
            // These were answered when the start was.
            Goal::Admin { act: AdminAct::Restart | AdminAct::Start, .. } | Goal::Restart { .. } => {}
        }
    }

    /// Those who were stopped with a group that nobody starts any more have ended.
    fn release_adrift(&mut self, effects: &mut Vec<Effect>) {
        if !self.has_groups() {
            return;
        }
        let first = self.children.iter().position(Child::is_restarting);
        let led = |at| match (self.strategy, first) {
            (Strategy::OneForOne | Strategy::Dynamic, _) | (_, None) => false,
            (Strategy::RestForOne, Some(first)) => first < at,
            (Strategy::OneForAll, Some(_)) => true,
        };
        for at in 0..self.children.len() {
            let child = &mut self.children[at];
            if child.adrift && !led(at) {
                child.adrift = false;
                effects.push(Effect::ChildEnded { child: child.id.clone() });
            }
        }
    }
}
