//! The supervisor itself.

mod admin;
mod child;
mod procedure;

use std::collections::VecDeque;

use covenant_types::{ExitReason, StartAttempt, StartAttempts, Uptime};

use crate::backoff::Lots;
use crate::effect::{AdminError, Effect, Report, ReportContext};
use crate::event::{Event, Timer};
use crate::restart_window::{RestartWindow, Verdict};
use crate::spec::{ChildId, ChildKind, Restart, Shutdown, SpecError, Strategy, SupervisorSpec};
use child::{Child, Phase};
use procedure::{Awaited, Goal, Procedure};

/// Decides for one supervisor. See the crate's documentation for what it promises.
///
/// At any moment it is either at rest or in one *procedure*: booting, restarting a group, serving one administrative call,
/// or shutting down. A procedure stops some children one by one, then starts some one by one. Events that do not belong to
/// the procedure under way wait in `deferred` until it is done.
#[derive(Debug)]
pub struct Supervisor {
    strategy: Strategy,
    window: RestartWindow,
    attempts: StartAttempts,
    lots: Lots,
    children: Vec<Child>,
    procedure: Option<Procedure>,
    deferred: VecDeque<Event>,
    /// Whose group restart waits until an unkillable sibling ends after all.
    blocked: Option<ChildId>,
    ended: bool,
}

/// Where a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Its spec is kept, nothing runs.
    Undefined,
    /// Its start has not answered yet.
    Starting,
    /// It runs.
    Running,
    /// It ended and will be started again.
    Restarting,
    /// It was asked to stop.
    Stopping,
    /// It was killed and does not end.
    Unkillable,
}

/// One child as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildView<'a> {
    /// Its id.
    pub id: &'a ChildId,
    /// What it is.
    pub kind: ChildKind,
    /// When it is started again.
    pub restart: Restart,
    /// Where it stands.
    pub state: ChildState,
    /// The attempt that runs or starts; none while nothing does.
    pub attempt: Option<StartAttempt>,
    /// How often policy started it again.
    pub restarts: u64,
}

/// Administrative calls that may wait behind one procedure.
const ADMIN_WAITING_MAX: usize = 64;

impl Supervisor {
    /// A supervisor at rest. `attempts` is the node's; `jitter_seed` decides the jitter of backoffs.
    ///
    /// # Errors
    /// The spec is wrong.
    pub fn new(spec: SupervisorSpec, attempts: StartAttempts, jitter_seed: u64) -> Result<Self, SpecError> {
        spec.validate()?;
        Ok(Self {
            strategy: spec.strategy,
            window: RestartWindow::new(spec.intensity, spec.period),
            attempts,
            lots: Lots::new(jitter_seed),
            children: spec.children.into_iter().map(Child::new).collect(),
            procedure: None,
            deferred: VecDeque::new(),
            blocked: None,
            ended: false,
        })
    }

    /// Advances the supervisor by one event. After [`Effect::Exit`] or [`Effect::StartFailed`] every event is without effect.
    #[must_use = "the driver performs the effects in order"]
    pub fn handle(&mut self, now: Uptime, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.step(now, event, &mut effects);
        // What had to wait is looked at again whenever nothing is under way.
        while self.procedure.is_none() && !self.ended {
            let Some(event) = self.deferred.pop_front() else { break };
            self.step(now, event, &mut effects);
        }
        effects
    }

    /// The children in start order.
    pub fn children(&self) -> impl Iterator<Item = ChildView<'_>> {
        self.children.iter().map(Child::view)
    }

    /// The longest an orderly stop can take: children stop one after the other. `None` where one may take for ever.
    pub fn stop_bound(&self) -> Option<std::time::Duration> {
        let bounds = self.children.iter().map(|child| match child.spec.shutdown {
            Shutdown::BrutalKill => Some(child.spec.kill_grace),
            Shutdown::Timeout(timeout) => timeout.checked_add(child.spec.kill_grace),
            Shutdown::Infinity => None,
        });
        bounds.into_iter().try_fold(std::time::Duration::ZERO, |sum, bound| sum.checked_add(bound?))
    }

    fn step(&mut self, now: Uptime, event: Event, effects: &mut Vec<Effect>) {
        if self.ended {
            if let Event::Admin { call, .. } = event {
                effects.push(Effect::Answer { call, result: Err(AdminError::Stopping) });
            }
            return;
        }
        match event {
            Event::StartRequested => {
                let starts = self.children.iter().map(|child| child.spec.id.clone()).collect();
                self.begin(Procedure::new(Goal::Boot, VecDeque::new(), starts), effects);
            }
            Event::ChildStarted { child, attempt } => self.child_started(now, &child, attempt, effects),
            Event::ChildIgnored { child, attempt } => self.child_ignored(&child, attempt, effects),
            Event::ChildStartFailed { child, attempt, reason } => {
                self.child_start_failed(now, &child, attempt, reason, effects);
            }
            Event::ChildExited { child, attempt, reason } => self.child_exited(now, child, attempt, reason, effects),
            Event::TimerFired(timer) => self.timer_fired(now, timer, effects),
            Event::KillRequested(child) => self.kill_requested(&child, effects),
            Event::ShutdownRequested => self.shut_down(effects),
            Event::Admin { call, request } => self.admin(call, request, effects),
        }
    }

    /// Performs policy for a child that ended by itself.
    fn own_exit(&mut self, now: Uptime, at: usize, reason: ExitReason, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        let id = child.spec.id.clone();
        child.note_end(now);
        let restart = match child.spec.restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_orderly(),
            Restart::Temporary => false,
        };
        if restart || !reason.is_orderly() {
            effects.push(report(ReportContext::ChildTerminated, &reason, &id));
        }
        if restart {
            self.restart(now, at, effects);
        } else if child.spec.restart == Restart::Temporary {
            self.children.remove(at);
            effects.push(Effect::Forget(id));
        } else {
            child.phase = Phase::Undefined;
            effects.push(Effect::ChildEnded { child: id });
        }
    }

    /// Spends one restart on the child at `at`: at once, after a pause, or never again.
    fn restart(&mut self, now: Uptime, at: usize, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        let id = child.spec.id.clone();
        if self.window.record(now) == Verdict::Escalate {
            child.phase = Phase::Undefined;
            effects.push(report(ReportContext::ReachedMaxIntensity, &ExitReason::Shutdown, &id));
            self.shut_down(effects);
            return;
        }
        child.restarts += 1;
        match child.spec.backoff {
            Some(backoff) => {
                let pause = backoff.pause(child.in_a_row, self.lots.draw());
                child.in_a_row = child.in_a_row.saturating_add(1);
                let ticket = child.last_attempt.unwrap_or_else(|| self.attempts.next());
                child.wait(Timer::Backoff(ticket), pause, effects);
            }
            None => self.restart_group(&id, effects),
        }
    }

    /// Stops and starts those who share the fate of `offender`.
    fn restart_group(&mut self, offender: &ChildId, effects: &mut Vec<Effect>) {
        let Some(at) = self.position(offender) else { return };
        self.children[at].phase = Phase::Undefined;
        let first = match self.strategy {
            Strategy::OneForOne => {
                let starts = VecDeque::from([offender.clone()]);
                let goal = Goal::Restart { offender: offender.clone() };
                return self.begin(Procedure::new(goal, VecDeque::new(), starts), effects);
            }
            Strategy::RestForOne => at,
            Strategy::OneForAll => 0,
        };
        let group = &self.children[first..];
        let ids = |child: &Child| child.spec.id.clone();
        let stops = group.iter().rev().map(ids).filter(|id| id != offender).collect();
        let starts = group.iter().map(ids).collect();
        let goal = Goal::Restart { offender: offender.clone() };
        self.begin(Procedure::new(goal, stops, starts), effects);
    }

    /// Stops all children in reverse order, then exits. What was under way is given up.
    fn shut_down(&mut self, effects: &mut Vec<Effect>) {
        self.blocked = None;
        let given_up = self.procedure.take();
        let mut awaited = None;
        if let Some(procedure) = given_up {
            match procedure.goal {
                Goal::Shutdown | Goal::FailedBoot { .. } => {
                    self.procedure = Some(procedure);
                    return;
                }
                Goal::Admin { call, .. } => effects.push(Effect::Answer { call, result: Err(AdminError::Stopping) }),
                Goal::Boot | Goal::Restart { .. } => {}
            }
            awaited = match procedure.awaited {
                Some(Awaited::Start(id, attempt)) => {
                    // It may never answer; nobody needs it any more.
                    if let Some(at) = self.position(&id) {
                        self.kill(at, attempt, effects);
                    }
                    Some(Awaited::Stop(id, attempt))
                }
                other => other,
            };
        }
        let stops = self.children.iter().rev().map(|child| child.spec.id.clone()).collect();
        let procedure = Procedure { awaited, ..Procedure::new(Goal::Shutdown, stops, VecDeque::new()) };
        self.begin(procedure, effects);
    }

    fn kill_requested(&mut self, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(at) = self.position(id) else { return };
        if let Phase::Running { attempt } = self.children[at].phase {
            self.children[at].set_timer(Timer::KillGrace(attempt), effects);
            effects.push(Effect::Kill { child: id.clone(), attempt });
        }
    }

    fn timer_fired(&mut self, now: Uptime, timer: Timer, effects: &mut Vec<Effect>) {
        let Some(at) = self.children.iter().position(|child| child.timer == Some(timer)) else { return };
        self.children[at].timer = None;
        let id = self.children[at].spec.id.clone();
        match timer {
            Timer::StopDeadline(attempt) => self.kill(at, attempt, effects),
            Timer::KillGrace(attempt) => self.give_up_on(at, attempt, effects),
            Timer::Backoff(_) | Timer::RetryStart(_) if self.procedure.is_some() => {
                // The child stays `Restarting`; its turn comes when the procedure under way is done.
                self.children[at].timer = Some(timer);
                self.deferred.push_back(Event::TimerFired(timer));
            }
            Timer::Backoff(_) => self.restart_group(&id, effects),
            Timer::RetryStart(_) => self.restart(now, at, effects),
        }
    }

    /// A killed child did not end in time: it is fenced, reported, and nobody waits for it any longer.
    fn give_up_on(&mut self, at: usize, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        child.phase = Phase::Unkillable { attempt };
        let id = child.spec.id.clone();
        effects.push(report(ReportContext::Unkillable, &ExitReason::Killed, &id));
        let waits = self.procedure.as_ref().is_some_and(|procedure| procedure.awaits_stop_of(&id, attempt));
        if !waits {
            return;
        }
        match self.procedure.take() {
            Some(Procedure { goal: Goal::Restart { offender }, .. }) => {
                if let Some(at) = self.position(&offender) {
                    self.children[at].phase = Phase::Waiting;
                }
                self.blocked = Some(offender);
            }
            Some(Procedure { goal: Goal::Admin { call, .. }, .. }) => {
                effects.push(Effect::Answer { call, result: Err(AdminError::Unkillable) });
            }
            Some(mut procedure) => {
                procedure.awaited = None;
                self.begin(procedure, effects);
            }
            None => {}
        }
    }

    fn kill(&mut self, at: usize, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        child.phase = Phase::Stopping { attempt, killed: true };
        effects.push(Effect::Kill { child: child.spec.id.clone(), attempt });
        child.set_timer(Timer::KillGrace(attempt), effects);
    }

    fn position(&self, id: &ChildId) -> Option<usize> {
        self.children.iter().position(|child| child.spec.id == *id)
    }
}

fn report(context: ReportContext, reason: &ExitReason, offender: &ChildId) -> Effect {
    Effect::Report(Report { context, reason: reason.clone(), offender: offender.clone() })
}

#[cfg(test)]
mod tests;
