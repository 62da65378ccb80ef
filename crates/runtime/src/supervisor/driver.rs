//! Performs the effects of one supervisor's core. It decides nothing.
//!
//! It keeps what the effects need: the running children, timers, and the port through which the children are heard. When
//! it is dropped, its children are killed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use covenant_supervision::{
    ChildId, ChildKind, ChildView, Effect, Event, Report, ReportContext, SpecError, Supervisor,
};
use covenant_types::{CallError, ExitReason, StartAttempt};
use ractor::ActorCell;
use rand::Rng;

use super::admin::Calls;
use super::desk::{Desk, Order};
use super::timers::Timers;
use crate::notice::{Above, Ending, News, Notice, What};
use crate::observe::Case;
use crate::plan::{PlannedChild, TreePlan};
use crate::slot::{Running, Slot};
use crate::view::ActorState;
use crate::{RuntimeEvent, System};

/// The way news of children come to their supervisor. Holding it holds the supervisor's own notice: the supervisor above
/// hears of an end when nothing below runs any more.
pub(super) struct Port {
    desk: Arc<Desk>,
    pub(super) notice: Arc<Notice>,
    system: System,
}

impl Port {
    pub(super) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }
}

impl Above for Port {
    fn system(&self) -> &System {
        &self.system
    }

    fn hear(&self, news: News) {
        self.desk.post(Order::News(news));
    }

    fn kill(&self, child: &ChildId, attempt: StartAttempt) {
        self.desk.post(Order::Kill(child.clone(), Some(attempt)));
    }

    fn drain(&self, child: &ChildId, attempt: StartAttempt, within: Duration) {
        self.desk.post(Order::Drain(child.clone(), attempt, within));
    }
}

pub(super) struct Driver {
    pub(super) plan: Arc<TreePlan>,
    pub(super) system: System,
    pub(super) core: Supervisor,
    pub(super) port: Arc<Port>,
    /// The actor that owns this driver.
    myself: ActorCell,
    /// Those there are specs for: the plan's, and what was added since.
    pub(super) planned: HashMap<ChildId, PlannedChild>,
    /// What some of them become at their next start.
    pub(super) reworked: BTreeMap<ChildId, PlannedChild>,
    pub(super) timers: Timers,
    pub(super) calls: Calls,
    /// The crash that is being dealt with.
    pub(super) case: Case,
    /// Why the child that is being dealt with ended: what its callers hear if it does not come back.
    last_exit: Option<(ChildId, CallError)>,
}

impl Driver {
    pub(super) fn new(
        plan: Arc<TreePlan>,
        system: System,
        notice: Arc<Notice>,
        desk: Arc<Desk>,
        myself: ActorCell,
    ) -> Result<Self, SpecError> {
        let label = format!("supervisor {} #{}", plan.slot.path, plan.slot.incarnation().next());
        let seed = system.env().random.derive(&label).random();
        let now = plan.planned();
        let core = Supervisor::new(now.spec.clone(), system.attempts(), seed)?;
        let port = Arc::new(Port { desk, notice, system: system.clone() });
        let planned = now.children.clone();
        let (timers, calls) = (Timers::default(), Calls::default());
        let reworked = BTreeMap::new();
        let (case, last_exit) = (Case::default(), None);
        Ok(Self { plan, system, core, port, myself, planned, reworked, timers, calls, case, last_exit })
    }

    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Begin => self.feed(Event::StartRequested, None),
            Order::News(news) => self.hear(news),
            Order::Alarm => self.ring_timers(),
            Order::Kill(child, attempt) => self.kill(child, attempt),
            Order::Drain(child, attempt, within) => {
                if self.running(&child, attempt).is_some() {
                    self.feed(Event::DrainRequested { child, within }, None);
                }
            }
            Order::Admin(call) => self.admin(call),
            Order::Shutdown => self.feed(Event::ShutdownRequested, None),
        }
    }

    fn hear(&mut self, News { child, attempt, what }: News) {
        let Some(slot) = self.slot(&child) else { return };
        // Read now: once the effects are performed the next incarnation may be running.
        let (path, incarnation) = (slot.path.clone(), slot.incarnation());
        let crash = self.crash_in(&slot, &child, attempt, &what);
        let (event, happened) = match what {
            What::Started(info) => {
                if incarnation.0 > 1 {
                    slot.count_restart(self.system.env());
                }
                (Event::ChildStarted { child, attempt, info }, Some(RuntimeEvent::Started { path, incarnation }))
            }
            What::Ignored => {
                self.last_exit = Some((child.clone(), CallError::NoProc));
                (Event::ChildIgnored { child, attempt }, None)
            }
            What::StartFailed(reason) => {
                if slot.kind == ChildKind::Worker {
                    self.system.note_start_failure(&slot.path, &reason);
                }
                self.last_exit = Some((child.clone(), CallError::Gone(reason.clone())));
                let happened = RuntimeEvent::StartFailed { path, incarnation, reason: reason.clone() };
                (Event::ChildStartFailed { child, attempt, reason }, Some(happened))
            }
            What::Exited(reason) => {
                if self.system.is_stopping() {
                    slot.close_gone(reason.clone());
                }
                self.last_exit = Some((child.clone(), CallError::Gone(reason.clone())));
                let happened = RuntimeEvent::Exited { path, incarnation, reason: reason.clone() };
                (Event::ChildExited { child, attempt, reason }, Some(happened))
            }
        };
        self.feed(event, happened);
        if let Some(crash) = crash {
            self.tell_decision(&slot, &crash);
        }
    }

    /// The core kills what runs and watches whether it ends. What is still starting is the driver's to kill: its start
    /// fails then, and the core deals with that.
    fn kill(&mut self, child: ChildId, only: Option<StartAttempt>) {
        if only.is_some_and(|attempt| self.running(&child, attempt).is_none()) {
            return;
        }
        let starting = self.slot(&child).filter(|slot| slot.state() == ActorState::Starting);
        match starting.and_then(|slot| slot.running()) {
            Some(running) => running.kill(),
            None => self.feed(Event::KillRequested(child), None),
        }
    }

    /// Asks the core, shows and tells what `happened`, and performs what follows.
    pub(super) fn feed(&mut self, event: Event, happened: Option<RuntimeEvent>) {
        let now = self.system.env().now();
        let child = child_of_event(&event).cloned();
        let effects = self.core.handle(now, event);
        self.note_giving_up(&effects);
        self.show(child.iter().chain(effects.iter().filter_map(child_of_effect)));
        if let Some(happened) = happened {
            self.system.publish(happened);
        }
        let mut reports = Vec::new();
        for effect in effects {
            if let Effect::Report(report) = effect {
                if report.context == ReportContext::Unkillable {
                    self.mark_unkillable(&report.offender); // before its successor takes its place here
                }
                reports.push(report); // people can wait for the log; callers wait for the start behind it
            } else {
                self.perform(effect);
            }
        }
        for report in &reports {
            self.report(report);
        }
    }

    /// Makes what the core says of its children visible: of all in a small tree, of those an event touched in a large.
    fn show<'a>(&self, touched: impl Iterator<Item = &'a ChildId>) {
        let show = |view: ChildView<'_>| {
            if let Some(planned) = self.planned.get(view.id) {
                planned.slot.set_state(view.state.into());
            }
        };
        if self.planned.len() <= SHOW_ALL_MAX {
            self.core.children().for_each(show);
        } else {
            touched.filter_map(|child| self.core.child(child)).for_each(show);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start { child, attempt } => self.start(child, attempt),
            Effect::Stop { child, attempt } => {
                if let Some(running) = self.running(&child, attempt) {
                    running.stop();
                }
            }
            Effect::Drain { child, attempt } => {
                if let (Some(running), Some(slot)) = (self.running(&child, attempt), self.slot(&child)) {
                    running.drain();
                    slot.signal();
                }
            }
            Effect::Discard { child, attempt } => {
                let running = self.running(&child, attempt).is_some();
                if let Some(mailbox) = self.slot(&child).filter(|_| running).and_then(|slot| slot.mailbox.clone()) {
                    mailbox.discard();
                }
            }
            Effect::Kill { child, attempt } => {
                if let Some(running) = self.running(&child, attempt) {
                    running.kill();
                }
            }
            Effect::SetTimer { timer, after } => self.set_timer(timer, self.system.env().now().after(after)),
            Effect::CancelTimer(timer) => {
                let _it_was_set = self.timers.cancel(timer);
            }
            Effect::ChildEnded { child } => self.dismiss(&child),
            Effect::Forget(child) => {
                self.dismiss(&child);
                self.forget(&child);
            }
            Effect::Started => {
                let slot = &self.plan.slot;
                slot.count_start(slot.incarnation().next());
                self.port.notice.started();
            }
            Effect::StartFailed { reason } | Effect::Exit { reason } => {
                self.leave_cause();
                self.port.notice.ends(Ending::Exit(reason));
                self.myself.stop(None);
            }
            Effect::Answer { call, result } => self.answer(call, result),
            Effect::Report(_) => {} // made by `feed`
        }
    }

    /// Nothing runs of this child and nothing will by itself.
    fn dismiss(&mut self, child: &ChildId) {
        if let Some(slot) = self.slot(child) {
            slot.set_state(ActorState::Undefined); // the core may have forgotten it
            if !self.is_refitted(child) {
                slot.close(&self.farewell(child));
            }
        }
    }

    fn mark_unkillable(&self, child: &ChildId) {
        let running = self.slot(child).and_then(|slot| slot.running());
        if let Some(notice) = running.and_then(|running| running.notice.upgrade()) {
            notice.mark_unkillable();
        }
    }

    fn report(&mut self, report: &Report) {
        let supervisor = &self.plan.slot.path;
        // Without one the line has no such field.
        let trace = self.case.traces.remove(&report.offender).map(tracing::field::display);
        tracing::error!(%supervisor, context = ?report.context, offender = %report.offender, reason = %report.reason, trace, "supervisor report");
        match report.context {
            ReportContext::ReachedMaxIntensity => self.system.publish(RuntimeEvent::Escalated {
                path: supervisor.clone(),
                incarnation: self.plan.slot.incarnation(),
                reason: report.reason.clone(),
            }),
            ReportContext::Unkillable => {
                let Some(slot) = self.slot(&report.offender) else { return };
                let (path, incarnation) = (slot.path.clone(), slot.incarnation());
                self.system.publish(RuntimeEvent::Unkillable { path, incarnation });
            }
            ReportContext::ChildTerminated | ReportContext::StartError | ReportContext::ShutdownError => {}
        }
    }

    /// What callers of a child hear that will not come back.
    fn farewell(&self, child: &ChildId) -> CallError {
        match &self.last_exit {
            Some((last, error)) if last == child => error.clone(),
            Some(_) | None => CallError::Gone(ExitReason::Shutdown),
        }
    }

    fn slot(&self, child: &ChildId) -> Option<Arc<Slot>> {
        self.planned.get(child).map(|planned| Arc::clone(&planned.slot))
    }

    /// What runs of `child`, if that is `attempt`.
    fn running(&self, child: &ChildId, attempt: StartAttempt) -> Option<Running> {
        self.planned.get(child)?.slot.running().filter(|running| running.attempt == attempt)
    }

    /// This supervisor ends with a reason that is not its core's.
    pub(super) fn fail(&self, reason: ExitReason) {
        self.port.notice.ends(Ending::Exit(reason));
        self.myself.kill();
    }
}

/// Up to this many children are all shown after each event.
const SHOW_ALL_MAX: usize = 64;

fn child_of_event(event: &Event) -> Option<&ChildId> {
    match event {
        Event::ChildStarted { child, .. }
        | Event::ChildIgnored { child, .. }
        | Event::ChildStartFailed { child, .. }
        | Event::ChildExited { child, .. }
        | Event::KillRequested(child)
        | Event::DrainRequested { child, .. } => Some(child),
        Event::StartRequested | Event::TimerFired(_) | Event::ShutdownRequested | Event::Admin { .. } => None,
    }
}

fn child_of_effect(effect: &Effect) -> Option<&ChildId> {
    match effect {
        Effect::Start { child, .. }
        | Effect::Stop { child, .. }
        | Effect::Kill { child, .. }
        | Effect::Drain { child, .. }
        | Effect::Discard { child, .. }
        | Effect::Forget(child)
        | Effect::ChildEnded { child } => Some(child),
        Effect::Report(report) => Some(&report.offender),
        Effect::SetTimer { .. }
        | Effect::CancelTimer(_)
        | Effect::Started
        | Effect::StartFailed { .. }
        | Effect::Exit { .. }
        | Effect::Answer { .. } => None,
    }
}

/// A supervisor that dies takes its children with it.
impl Drop for Driver {
    fn drop(&mut self) {
        let mut below = Vec::new();
        self.plan.slot.collect_running(&mut below);
        if !below.is_empty() {
            let notice = &self.port.notice;
            notice.slot().observed().leave(notice.attempt(), |left| left.took_along = below.len());
        }
        // In the order of their ids: that of the map differs from run to run, and whoever watches them would see it.
        let mut children: Vec<_> = self.planned.iter().collect();
        children.sort_unstable_by_key(|(id, _)| *id);
        for (_, child) in children {
            if let Some(running) = child.slot.running() {
                running.kill();
                child.slot.set_state(ActorState::Stopping);
            }
        }
        self.take_up_all();
        self.forget_added();
    }
}
