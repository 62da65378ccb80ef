//! The driver of a supervisor: a ractor actor that asks the pure core and performs its effects in order.
//!
//! It decides nothing. It keeps what the effects need: the cells of the running children, timers, and the port through
//! which they are heard. When it dies, however it does, its children are killed, and the supervisor above hears of it
//! when the last of them has gone: each child's notice holds the port, and the port holds this supervisor's own notice.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use covenant_env::Task;
use covenant_supervision::{ChildId, ChildKind, Effect, Event, Report, ReportContext, Supervisor, Timer};
use covenant_types::{CallError, ExitReason, StartAttempt};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime};
use rand::Rng;

use crate::notice::{Above, Ending, News, Notice, What};
use crate::plan::TreePlan;
use crate::slot::Slot;
use crate::view::ActorState;
use crate::{RuntimeEvent, System, panic_text};

/// What reaches a supervisor. Bounded by its children: each attempt is heard of twice at most, each timer once.
#[derive(Debug)]
pub(crate) enum Order {
    /// Something became of a child.
    News(News),
    /// A timer is due.
    Timer(Timer),
    /// Somebody wants a child killed.
    Kill(ChildId),
    /// The parent wants this supervisor to stop.
    Shutdown,
}

/// Begins a start attempt of a supervisor on the system runtime. How it went is told by its notice.
pub(crate) fn spawn(plan: Arc<TreePlan>, system: System, notice: Arc<Notice>) -> Option<ActorCell> {
    let runtime = system.env().system.clone();
    let _inside = runtime.handle().enter();
    // It only fails for a name that is taken, and we give none.
    let (actor, _task) = ActorRuntime::spawn_instant(None, SupervisorActor, (plan, system, notice)).ok()?;
    Some(actor.get_cell())
}

struct SupervisorActor;

impl Actor for SupervisorActor {
    type Msg = Order;
    type State = Driver;
    type Arguments = (Arc<TreePlan>, System, Arc<Notice>);

    async fn pre_start(
        &self,
        myself: ActorRef<Order>,
        (plan, system, notice): Self::Arguments,
    ) -> Result<Driver, ActorProcessingErr> {
        let label = format!("supervisor {} #{}", plan.slot.path, plan.slot.incarnation().next());
        let seed = system.env().random.derive(&label).random();
        let core = Supervisor::new(plan.spec.clone(), system.attempts(), seed).map_err(|error| {
            notice.ends(Ending::Exit(ExitReason::Error(error.to_string())));
            ActorProcessingErr::from("ended")
        })?;
        let port = Arc::new(Port { actor: myself.clone(), notice });
        let mut driver = Driver {
            plan,
            system,
            core,
            port,
            myself,
            children: BTreeMap::new(),
            timers: BTreeMap::new(),
            last_exit: None,
        };
        driver.feed(Event::StartRequested);
        Ok(driver)
    }

    async fn handle(&self, _: ActorRef<Order>, order: Order, driver: &mut Driver) -> Result<(), ActorProcessingErr> {
        let fed = catch_unwind(AssertUnwindSafe(|| driver.obey(order)));
        fed.map_err(|payload| {
            driver.port.notice.ends(Ending::Exit(ExitReason::Panicked(panic_text(&*payload))));
            ActorProcessingErr::from("ended")
        })
    }
}

/// The way news of children come to their supervisor. Holding it holds the supervisor's own notice.
struct Port {
    actor: ActorRef<Order>,
    notice: Arc<Notice>,
}

impl Above for Port {
    fn hear(&self, news: News) {
        // A supervisor that has died is past hearing.
        let _ = self.actor.cast(Order::News(news));
    }
}

struct Driver {
    plan: Arc<TreePlan>,
    system: System,
    core: Supervisor,
    port: Arc<Port>,
    myself: ActorRef<Order>,
    children: BTreeMap<ChildId, Running>,
    timers: BTreeMap<Timer, Task>,
    /// Why the child that is being dealt with ended: what its callers hear if it does not come back.
    last_exit: Option<(ChildId, CallError)>,
}

/// An attempt that was begun and has not been heard to have ended.
struct Running {
    attempt: StartAttempt,
    cell: ActorCell,
    notice: Weak<Notice>,
}

impl Driver {
    fn obey(&mut self, order: Order) {
        match order {
            Order::News(news) => self.hear(news),
            Order::Timer(timer) => {
                drop(self.timers.remove(&timer));
                self.feed(Event::TimerFired(timer));
            }
            Order::Kill(child) => self.feed(Event::KillRequested(child)),
            Order::Shutdown => self.feed(Event::ShutdownRequested),
        }
    }

    fn hear(&mut self, News { child, attempt, what }: News) {
        let event = match what {
            What::Started => {
                self.note_started(&child);
                Event::ChildStarted { child, attempt }
            }
            What::Ignored => {
                self.note_ended(&child, attempt);
                self.last_exit = Some((child.clone(), CallError::NoProc));
                Event::ChildIgnored { child, attempt }
            }
            What::StartFailed(reason) => {
                if let Some(slot) = self.note_ended(&child, attempt) {
                    if slot.kind == ChildKind::Worker {
                        self.system.note_start_failure(&slot.path, &reason);
                    }
                    let (path, incarnation) = (slot.path.clone(), slot.incarnation());
                    self.system.publish(RuntimeEvent::StartFailed { path, incarnation, reason: reason.clone() });
                }
                self.last_exit = Some((child.clone(), CallError::Gone(reason.clone())));
                Event::ChildStartFailed { child, attempt, reason }
            }
            What::Exited(reason) => {
                if let Some(slot) = self.note_ended(&child, attempt) {
                    if self.system.is_stopping() {
                        slot.close_gone(reason.clone());
                    }
                    let (path, incarnation) = (slot.path.clone(), slot.incarnation());
                    self.system.publish(RuntimeEvent::Exited { path, incarnation, reason: reason.clone() });
                }
                self.last_exit = Some((child.clone(), CallError::Gone(reason.clone())));
                Event::ChildExited { child, attempt, reason }
            }
        };
        self.feed(event);
    }

    fn note_started(&self, child: &ChildId) {
        let Some(slot) = self.slot(child) else { return };
        let (path, incarnation) = (slot.path.clone(), slot.incarnation());
        if incarnation.0 > 1 {
            slot.count_restart(self.system.env());
        }
        self.system.publish(RuntimeEvent::Started { path, incarnation });
    }

    fn note_ended(&mut self, child: &ChildId, attempt: StartAttempt) -> Option<Arc<Slot>> {
        let slot = self.slot(child)?;
        if self.children.get(child).is_some_and(|running| running.attempt == attempt) {
            self.children.remove(child);
        }
        Some(slot)
    }

    fn feed(&mut self, event: Event) {
        let now = self.system.env().now();
        let mut touched = Vec::from_iter(child_of_event(&event).cloned());
        for effect in self.core.handle(now, event) {
            touched.extend(child_of_effect(&effect).cloned());
            self.perform(effect);
        }
        self.show(&touched);
    }

    /// Makes what the core says of its children visible: of all in a small tree, of those an event touched in a large.
    fn show(&self, touched: &[ChildId]) {
        let all = self.plan.children.len() <= SHOW_ALL_MAX;
        for view in self.core.children().filter(|view| all || touched.contains(view.id)) {
            if let Some(planned) = self.plan.children.get(view.id) {
                planned.slot.set_state(view.state.into());
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start { child, attempt } => self.start(child, attempt),
            Effect::Stop { child, attempt } => {
                if let Some((slot, cell)) = self.running(&child, attempt) {
                    stop(&slot, &cell);
                }
            }
            Effect::Kill { child, attempt } => {
                if let Some((slot, cell)) = self.running(&child, attempt) {
                    kill(&slot, &cell);
                }
            }
            Effect::SetTimer { timer, after } => self.set_timer(timer, after),
            Effect::CancelTimer(timer) => drop(self.timers.remove(&timer)),
            Effect::Forget(child) | Effect::ChildEnded { child } => {
                if let Some(slot) = self.slot(&child) {
                    slot.set_state(ActorState::Undefined); // the core may have forgotten it
                    slot.close(&self.farewell(&child));
                }
            }
            Effect::Report(report) => self.report(&report),
            Effect::Started => {
                let slot = &self.plan.slot;
                slot.count_start(slot.incarnation().next());
                self.port.notice.started();
            }
            Effect::StartFailed { reason } | Effect::Exit { reason } => {
                self.port.notice.ends(Ending::Exit(reason));
                self.myself.stop(None);
            }
            Effect::Answer { .. } => {}
        }
    }

    fn start(&mut self, child: ChildId, attempt: StartAttempt) {
        let plan = Arc::clone(&self.plan);
        // The core starts only what the plan has: both come from one tree.
        let Some(planned) = plan.children.get(&child) else { return };
        let above: Arc<dyn Above> = Arc::clone(&self.port) as Arc<dyn Above>;
        let slot = Arc::clone(&planned.slot);
        let notice = Notice::new(above, slot, child.clone(), attempt, self.system.clone());
        planned.slot.reopen();
        let held = Arc::downgrade(&notice);
        if let Some(cell) = planned.starter.start(&self.system, &planned.slot, notice) {
            planned.slot.set_running(attempt, cell.clone());
            if held.strong_count() == 0 {
                planned.slot.clear_running(attempt); // it has come and gone already
            }
            self.children.insert(child, Running { attempt, cell, notice: held });
        }
    }

    fn set_timer(&mut self, timer: Timer, after: Duration) {
        let myself = self.myself.clone();
        if after.is_zero() {
            let _ = myself.cast(Order::Timer(timer));
            return;
        }
        let task = self.system.env().system.spawn(async move {
            tokio::time::sleep(after).await;
            let _ = myself.cast(Order::Timer(timer));
        });
        self.timers.insert(timer, task);
    }

    fn report(&mut self, report: &Report) {
        let supervisor = &self.plan.slot.path;
        tracing::error!(%supervisor, context = ?report.context, offender = %report.offender, reason = %report.reason, "supervisor report");
        match report.context {
            ReportContext::ReachedMaxIntensity => self.system.publish(RuntimeEvent::Escalated {
                path: supervisor.clone(),
                incarnation: self.plan.slot.incarnation(),
                reason: report.reason.clone(),
            }),
            ReportContext::Unkillable => {
                let Some(slot) = self.slot(&report.offender) else { return };
                if let Some(notice) = self.children.get(&report.offender).and_then(|child| child.notice.upgrade()) {
                    notice.mark_unkillable();
                }
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
        self.plan.children.get(child).map(|planned| Arc::clone(&planned.slot))
    }

    fn running(&self, child: &ChildId, attempt: StartAttempt) -> Option<(Arc<Slot>, ActorCell)> {
        let running = self.children.get(child).filter(|running| running.attempt == attempt)?;
        Some((self.slot(child)?, running.cell.clone()))
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
        | Event::KillRequested(child) => Some(child),
        Event::StartRequested | Event::TimerFired(_) | Event::ShutdownRequested | Event::Admin { .. } => None,
    }
}

fn child_of_effect(effect: &Effect) -> Option<&ChildId> {
    match effect {
        Effect::Start { child, .. }
        | Effect::Stop { child, .. }
        | Effect::Kill { child, .. }
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
        for (child, running) in &self.children {
            if let Some(slot) = self.slot(child) {
                kill(&slot, &running.cell);
                slot.set_state(ActorState::Stopping);
            }
        }
    }
}

fn stop(slot: &Slot, cell: &ActorCell) {
    match &slot.mailbox {
        Some(mailbox) => {
            mailbox.interrupt();
            cell.stop(None);
        }
        // Its driver stops the children first and then itself.
        None => drop(cell.send_message(Order::Shutdown)),
    }
}

fn kill(slot: &Slot, cell: &ActorCell) {
    if let Some(mailbox) = &slot.mailbox {
        mailbox.interrupt();
    }
    cell.kill();
}
