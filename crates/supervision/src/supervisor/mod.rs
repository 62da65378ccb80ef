//! The supervisor itself.

mod admin;
mod answers;
mod child;
mod children;
mod group;
mod procedure;

use std::collections::VecDeque;
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt, StartAttempts, Uptime};

use crate::backoff::Lots;
use crate::effect::{AdminError, Effect, Report, ReportContext};
use crate::event::{AdminRequest, Event, Timer};
use crate::restart_window::RestartWindow;
use crate::spec::{ChildId, ChildKind, Restart, SpecError, Strategy, SupervisorSpec};
use child::{Child, Phase};
use children::Children;
use procedure::{Awaited, Goal, Procedure};

/// Decides for one supervisor. See the crate's documentation for what it promises.
///
/// At any moment it is either at rest or in one *procedure*: booting, restarting a group, serving one administrative call,
/// or shutting down. A procedure stops some children one by one, then starts some one by one. What does not belong to the
/// procedure under way waits in `deferred` until it is done: at most one exit or timer for each child, and a bounded number
/// of operators.
#[derive(Debug)]
pub struct Supervisor {
    strategy: Strategy,
    window: RestartWindow,
    attempts: StartAttempts,
    lots: Lots,
    children: Children,
    procedure: Option<Procedure>,
    deferred: VecDeque<Deferred>,
    booted: bool,
    ended: bool,
}

/// What waits for the end of a procedure.
#[derive(Debug)]
enum Deferred {
    /// A child ended.
    Exit { id: ChildId, reason: ExitReason },
    /// A child is to be started again.
    Timer(Timer),
    /// An operator wants something.
    Admin { call: u64, request: AdminRequest },
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
            children: Children::new(spec.children),
            procedure: None,
            deferred: VecDeque::new(),
            booted: false,
            ended: false,
        })
    }

    /// Advances the supervisor by one event. After [`Effect::Exit`] or [`Effect::StartFailed`] operators are refused and
    /// every other event is without effect.
    #[must_use = "the driver performs the effects in order"]
    pub fn handle(&mut self, now: Uptime, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.ended {
            self.step(now, event, &mut effects);
            self.catch_up(now, &mut effects);
        } else if let Event::Admin { call, .. } = event {
            effects.push(Effect::Answer { call, result: Err(AdminError::Stopping) });
        }
        effects
    }

    /// The children in start order.
    pub fn children(&self) -> impl Iterator<Item = ChildView<'_>> {
        self.children.iter().map(Child::view)
    }

    /// One child, found without looking at the others.
    pub fn child(&self, id: &ChildId) -> Option<ChildView<'_>> {
        self.children.position(id).map(|at| self.children[at].view())
    }

    /// The longest an orderly stop can take: children stop one after the other. `None` where one is waited for without a
    /// limit; how long a subtree takes is known to [`TreeSpec::stop_bound`](crate::TreeSpec::stop_bound).
    pub fn stop_bound(&self) -> Option<Duration> {
        let bound = |child: &Child| child.spec.stop_bound();
        self.children.iter().try_fold(Duration::ZERO, |sum, child| sum.checked_add(bound(child)?))
    }

    fn step(&mut self, now: Uptime, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::StartRequested => self.boot(effects),
            Event::ChildStarted { child, attempt } => self.child_started(now, &child, attempt, effects),
            Event::ChildIgnored { child, attempt } => self.child_ignored(now, child, attempt, effects),
            Event::ChildStartFailed { child, attempt, reason } => {
                self.child_start_failed(now, child, attempt, reason, effects);
            }
            Event::ChildExited { child, attempt, reason } => self.child_exited(now, child, attempt, reason, effects),
            Event::TimerFired(timer) => self.timer_fired(now, timer, effects),
            Event::KillRequested(child) => self.kill_requested(&child, effects),
            Event::ShutdownRequested => self.shut_down(effects),
            Event::Admin { call, request } if self.is_free() => self.admin(call, request, effects),
            Event::Admin { call, request } => self.defer_admin(call, request, effects),
        }
    }

    /// Whether it has been booted, and nothing is under way.
    fn is_free(&self) -> bool {
        self.booted && self.procedure.is_none() && !self.ended
    }

    /// Looks at what had to wait, for as long as nothing is under way.
    fn catch_up(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        while self.is_free() {
            match self.deferred.pop_front() {
                Some(Deferred::Exit { id, reason }) => {
                    let at = self.children.position(&id).filter(|at| self.children[*at].phase == Phase::Exited);
                    if let Some(at) = at {
                        self.own_exit(now, at, &reason, effects);
                    }
                }
                Some(Deferred::Timer(timer)) => self.timer_fired(now, timer, effects),
                Some(Deferred::Admin { call, request }) => self.admin(call, request, effects),
                None if self.unblock(now, effects) => {}
                None => return,
            }
        }
    }

    fn boot(&mut self, effects: &mut Vec<Effect>) {
        if !self.booted {
            self.booted = true;
            let starts = self.children.ids().collect();
            self.begin(Procedure::new(Goal::Boot, VecDeque::new(), starts), effects);
        }
    }

    /// Stops all children in reverse order, then exits. What was under way is given up.
    fn shut_down(&mut self, effects: &mut Vec<Effect>) {
        let mut awaited = None;
        if let Some(procedure) = self.procedure.take() {
            match procedure.goal {
                Goal::Shutdown | Goal::FailedBoot { .. } => {
                    self.procedure = Some(procedure);
                    return;
                }
                Goal::Admin { call, .. } => effects.push(Effect::Answer { call, result: Err(AdminError::Stopping) }),
                Goal::Boot | Goal::Restart { .. } => {}
            }
            awaited = procedure.awaited.map(|awaited| self.stop_awaited(awaited, effects));
        }
        let stops = self.children.ids().rev().collect();
        let procedure = Procedure { awaited, ..Procedure::new(Goal::Shutdown, stops, VecDeque::new()) };
        self.begin(procedure, effects);
    }

    /// Whoever was awaited is awaited to end. A start under way may never answer, and nobody needs it any more: a worker is
    /// killed; a supervisor is asked, because it hears that while it starts, and what it has started stops in order.
    fn stop_awaited(&mut self, awaited: Awaited, effects: &mut Vec<Effect>) -> Awaited {
        let Awaited::Start(attempt) = awaited else { return awaited };
        let starting = self.children.iter().position(|child| child.attempt() == Some(attempt));
        if let Some(at) = starting {
            let child = &mut self.children[at];
            match child.spec.kind {
                ChildKind::Worker => child.kill(attempt, effects),
                ChildKind::Supervisor => child.stop(attempt, effects),
            }
        }
        Awaited::Stop(attempt)
    }

    fn kill_requested(&mut self, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(at) = self.children.position(id) else { return };
        if let Phase::Running { attempt } = self.children[at].phase {
            self.children[at].strike(attempt, effects);
        }
    }

    fn timer_fired(&mut self, now: Uptime, timer: Timer, effects: &mut Vec<Effect>) {
        let Some(at) = self.children.iter().position(|child| child.timer == Some(timer)) else { return };
        let busy = self.procedure.is_some();
        match timer {
            Timer::StopDeadline(attempt) => {
                self.children[at].timer = None;
                self.children[at].kill(attempt, effects);
            }
            Timer::KillGrace(attempt) => {
                self.children[at].timer = None;
                self.give_up_on(at, attempt, effects);
            }
            // The child stays `Restarting`; its turn comes when the procedure under way is done.
            Timer::Backoff(_) | Timer::RetryStart(_) if busy => self.deferred.push_back(Deferred::Timer(timer)),
            Timer::Backoff(_) | Timer::RetryStart(_) => {
                self.children[at].timer = None;
                self.waited(now, at, matches!(timer, Timer::RetryStart(_)), effects);
            }
        }
    }

    /// A killed child did not end in time: it is fenced, reported, and nobody waits for it any longer.
    fn give_up_on(&mut self, at: usize, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        child.phase = Phase::Unkillable { attempt };
        effects.push(report(ReportContext::Unkillable, &ExitReason::Killed, &child.spec.id));
        let awaited = self.procedure.as_ref().and_then(|procedure| procedure.awaited.as_ref());
        if awaited == Some(&Awaited::Stop(attempt)) {
            self.give_up_waiting(effects);
            self.go_on(effects);
        }
    }

    fn defer_admin(&mut self, call: u64, request: AdminRequest, effects: &mut Vec<Effect>) {
        let waiting = self.deferred.iter().filter(|deferred| matches!(deferred, Deferred::Admin { .. })).count();
        if waiting < ADMIN_WAITING_MAX {
            self.deferred.push_back(Deferred::Admin { call, request });
        } else {
            effects.push(Effect::Answer { call, result: Err(AdminError::Busy) });
        }
    }

    /// The reason of a child whose exit waits to be looked at; it waits no longer.
    fn take_deferred_exit(&mut self, wanted: &ChildId) -> Option<ExitReason> {
        let is_it = |deferred: &Deferred| matches!(deferred, Deferred::Exit { id, .. } if id == wanted);
        let found = self.deferred.iter().position(is_it)?;
        match self.deferred.remove(found) {
            Some(Deferred::Exit { reason, .. }) => Some(reason),
            Some(Deferred::Timer(_) | Deferred::Admin { .. }) | None => None,
        }
    }

    /// Nothing happens any more. Operators who wait are told.
    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.ended = true;
        for deferred in self.deferred.drain(..) {
            if let Deferred::Admin { call, .. } = deferred {
                effects.push(Effect::Answer { call, result: Err(AdminError::Stopping) });
            }
        }
    }
}

fn report(context: ReportContext, reason: &ExitReason, offender: &ChildId) -> Effect {
    Effect::Report(Report { context, reason: reason.clone(), offender: offender.clone() })
}

#[cfg(test)]
mod tests;
