//! The supervisor itself.

mod admin;
mod answers;
mod child;
mod children;
mod drain;
mod group;
mod instances;
mod procedure;
mod respecify;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt, StartAttempts, Uptime};

use crate::backoff::Lots;
use crate::effect::{AdminError, Effect, Report, ReportContext};
use crate::event::{AdminRequest, Event, Timer};
use crate::restart_window::RestartWindow;
use crate::spec::{AutoShutdown, ChildId, ChildKind, ChildSpec, Restart, SpecError, Strategy, SupervisorSpec};
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
    auto_shutdown: AutoShutdown,
    window: RestartWindow,
    attempts: StartAttempts,
    lots: Lots,
    children: Children,
    /// What the instances of a dynamic supervisor are made after.
    template: Option<Arc<ChildSpec>>,
    /// Instances that were asked to stop and have not ended, while all of them are stopped.
    stopping_instances: usize,
    /// How those ended that did not end as asked.
    failures: instances::Failures,
    procedure: Option<Procedure>,
    deferred: VecDeque<Deferred>,
    booted: bool,
    ended: bool,
}

/// What waits for the end of a procedure.
#[derive(Debug)]
enum Deferred {
    /// A child's attempt ended.
    Exit { id: ChildId, ended: StartAttempt },
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

/// How many children there are: OTP's `count_children`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Specs; instances share one.
    pub specs: usize,
    /// Children of which something runs.
    pub active: usize,
    /// Children that supervise, running or not.
    pub supervisors: usize,
    /// Children that work, running or not.
    pub workers: usize,
}

/// Administrative calls that may wait behind one procedure.
const ADMIN_WAITING_MAX: usize = 64;

impl Supervisor {
    /// A supervisor at rest. `attempts` is the node's; `jitter_seed` decides the jitter of backoffs, and nothing
    /// else that can be seen.
    ///
    /// # Errors
    /// The spec is wrong.
    pub fn new(spec: SupervisorSpec, attempts: StartAttempts, jitter_seed: u64) -> Result<Self, SpecError> {
        spec.validate()?;
        let SupervisorSpec { strategy, intensity, period, auto_shutdown, mut children } = spec;
        let template = if strategy == Strategy::Dynamic { children.pop().map(Arc::new) } else { None };
        Ok(Self {
            strategy,
            auto_shutdown,
            window: RestartWindow::new(intensity, period),
            attempts,
            lots: Lots::new(jitter_seed),
            children: Children::new(children, jitter_seed),
            template,
            stopping_instances: 0,
            failures: instances::Failures::default(),
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

    /// The children in start order; instances in no order.
    pub fn children(&self) -> impl Iterator<Item = ChildView<'_>> {
        self.children.iter().map(Child::view)
    }

    /// One child, found without looking at the others.
    pub fn child(&self, id: &ChildId) -> Option<ChildView<'_>> {
        self.children.position(id).map(|at| self.children[at].view())
    }

    /// What the instances of a dynamic supervisor are made after.
    pub fn template(&self) -> Option<&ChildSpec> {
        self.template.as_deref()
    }

    /// The spec of one child; of an instance, its template's.
    pub fn child_spec(&self, id: &ChildId) -> Option<&ChildSpec> {
        self.children.position(id).map(|at| &*self.children[at].spec)
    }

    /// How many children there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for child in self.children.iter() {
            counts.active += usize::from(child.attempt().is_some());
            match child.spec.kind {
                ChildKind::Supervisor => counts.supervisors += 1,
                ChildKind::Worker => counts.workers += 1,
            }
        }
        counts.specs = if self.is_dynamic() { 1 } else { self.children.len() };
        counts
    }

    fn is_dynamic(&self) -> bool {
        self.template.is_some()
    }

    /// The longest an orderly stop can take: children stop one after the other, instances all at once. `None` where one is
    /// waited for without a limit; how long a subtree takes is known to
    /// [`TreeSpec::stop_bound`](crate::TreeSpec::stop_bound).
    pub fn stop_bound(&self) -> Option<Duration> {
        if let Some(template) = &self.template {
            return template.stop_bound();
        }
        let bound = |child: &Child| child.spec.stop_bound();
        self.children.iter().try_fold(Duration::ZERO, |sum, child| sum.checked_add(bound(child)?))
    }

    fn step(&mut self, now: Uptime, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::StartRequested => self.boot(effects),
            Event::ChildStarted { child, attempt, info } => self.child_started(now, &child, attempt, info, effects),
            Event::ChildIgnored { child, attempt } => self.child_ignored(now, child, attempt, effects),
            Event::ChildStartFailed { child, attempt, reason } => {
                self.child_start_failed(now, child, attempt, reason, effects);
            }
            Event::ChildExited { child, attempt, reason } => self.child_exited(now, child, attempt, reason, effects),
            Event::TimerFired(timer) => self.timer_fired(now, timer, effects),
            Event::KillRequested(child) => self.kill_requested(&child, effects),
            Event::DrainRequested { child, within } => self.drain_requested(&child, within, effects),
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
                Some(Deferred::Exit { id, ended }) => {
                    let Some(at) = self.children.position(&id) else { continue };
                    if let Phase::Exited { attempt, reason } = &self.children[at].phase
                        && *attempt == ended
                    {
                        let reason = reason.clone();
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
            if !self.is_dynamic() {
                awaited = procedure.awaited.map(|awaited| self.stop_awaited(awaited, effects));
            }
        }
        if let Some(template) = &self.template {
            let shutdown = template.shutdown;
            return self.stop_instances(shutdown, effects);
        }
        let stops = self.children.ids().rev().collect();
        let procedure = Procedure { awaited, ..Procedure::new(Goal::Shutdown, stops, VecDeque::new()) };
        self.begin(procedure, effects);
    }

    /// A child has ended by itself, for good: the supervisor may end with it.
    fn ended_for_good(&mut self, significant: bool, effects: &mut Vec<Effect>) {
        let matters = |child: &Child| child.spec.significant && child.phase != Phase::Undefined;
        let enough = match self.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self.children.iter().any(matters),
        };
        if significant && enough {
            self.shut_down(effects);
        }
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
        match timer {
            Timer::InstancesDeadline => return self.kill_instances(effects),
            Timer::InstancesGrace => return self.give_up_on_instances(effects),
            Timer::DrainDeadline(_)
            | Timer::StopDeadline(_)
            | Timer::KillGrace(_)
            | Timer::Backoff(_)
            | Timer::RetryStart(_) => {}
        }
        let Some(at) = self.children.iter().position(|child| child.timer == Some(timer)) else { return };
        let busy = self.procedure.is_some();
        match timer {
            Timer::DrainDeadline(attempt) => self.drained_too_long(at, attempt, effects),
            Timer::StopDeadline(attempt) => {
                let child = &mut self.children[at];
                child.timer = None;
                // One that was only to be drained runs on for policy: what follows its end is not decided yet.
                if child.is_running() { child.strike(attempt, effects) } else { child.kill(attempt, effects) }
            }
            Timer::KillGrace(attempt) => {
                self.children[at].timer = None;
                self.give_up_on(now, at, attempt, effects);
            }
            // The child stays `Restarting`; its turn comes when the procedure under way is done.
            Timer::Backoff(_) | Timer::RetryStart(_) if busy => self.deferred.push_back(Deferred::Timer(timer)),
            Timer::Backoff(_) | Timer::RetryStart(_) => {
                self.children[at].timer = None;
                self.waited(now, at, matches!(timer, Timer::RetryStart(_)), effects);
            }
            Timer::InstancesDeadline | Timer::InstancesGrace => unreachable!("no child has these"),
        }
    }

    /// A killed child did not end in time: it is fenced, reported, and nobody waits for it any longer.
    fn give_up_on(&mut self, now: Uptime, at: usize, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        effects.push(report(ReportContext::Unkillable, &ExitReason::Killed, &child.id));
        if child.spec.allow_overlap {
            // Its successor may run beside it, so for policy it has ended.
            let id = child.id.clone();
            return self.child_exited(now, id, attempt, ExitReason::Killed, effects);
        }
        child.phase = Phase::Unkillable { attempt };
        let awaited = self.procedure.as_ref().and_then(|procedure| procedure.awaited.as_ref());
        if awaited == Some(&Awaited::Stop(attempt)) {
            self.give_up_waiting(effects);
            self.go_on(effects);
        } else if awaited == Some(&Awaited::Instances) {
            self.look_for_the_last(effects);
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
    Effect::Report(Report { context, reason: reason.clone(), offender: offender.clone(), count: 1 })
}

#[cfg(test)]
mod tests;
