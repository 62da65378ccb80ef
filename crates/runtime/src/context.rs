//! What a behaviour can reach while it runs.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use covenant_env::{Env, Task, Tasks};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation};

use crate::following::{current_trace, traced};
use crate::mailbox::Mailbox;
use crate::notice::Notice;
use crate::observe::Left;
use crate::remote::MailboxInlet;
use crate::slot::Slot;
use crate::{AdminFailure, Behaviour, Callers, Ref, Remotable, StartError, System};

/// One incarnation's view of its surroundings. Everything it starts ends with it.
pub struct Context<B: Behaviour> {
    mailbox: Arc<Mailbox<B::Message>>,
    incarnation: Incarnation,
    /// Why the running batch is to end early. Read once per message; written by the actor's own code only, which is never
    /// in two places at once, so that no read-modify-write is needed.
    flags: AtomicU8,
    /// Why it is stopping, if it decided that itself.
    end: OnceLock<Box<ExitReason>>,
    /// Made on first use: most actors start no task.
    owned: OnceLock<Box<Owned>>,
    /// Held by every owned task as well: the supervisor hears of the end when all of them have gone.
    notice: Arc<Notice>,
}

/// The tasks, the timers and the alarm of one incarnation.
struct Owned {
    tasks: Mutex<Tasks>,
    timers: Mutex<Tasks>,
    alarm: Mutex<Option<Alarm>>,
}

/// The one alarm of an incarnation, until it was told of it.
struct Alarm {
    due: Arc<AtomicBool>,
    _task: Task,
}

/// The most tasks an incarnation runs at a time.
pub const TASKS_MAX: usize = 64;
/// The most timers an incarnation has at a time.
pub const TIMERS_MAX: usize = 1024;
/// The shortest period of a repeating timer.
const PERIOD_MIN: Duration = Duration::from_millis(1);

const STOPPING: u8 = 1;
const SUSPENDED: u8 = 2;
const DRAINING: u8 = 4;

impl<B: Behaviour> Context<B> {
    pub(crate) fn new(mailbox: Arc<Mailbox<B::Message>>, notice: Arc<Notice>) -> Self {
        let incarnation = notice.slot().incarnation().next();
        let flags = AtomicU8::new(0);
        let (end, owned) = (OnceLock::new(), OnceLock::new());
        Self { mailbox, incarnation, flags, end, owned, notice }
    }

    /// Where this actor hangs in the tree.
    pub fn path(&self) -> &ActorPath {
        self.mailbox.path()
    }

    /// Which successful start of this path this is, counting from 1.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Tells whoever had this actor started by hand something about it, once it has started. Only the first word counts.
    pub fn tell_starter(&self, info: impl Into<String>) {
        self.notice.inform(info.into());
    }

    /// This actor, for others.
    pub fn me(&self) -> Ref<B::Message> {
        Ref::local(Arc::clone(&self.mailbox))
    }

    /// Clock, randomness, sockets and metrics.
    pub fn env(&self) -> &Env {
        self.system().env()
    }

    /// The system this actor is part of.
    pub fn system(&self) -> &System {
        self.notice.system()
    }

    /// What the node lends under the type `T`.
    ///
    /// # Errors
    /// The node lends no such thing: a fault in how it was put together.
    pub fn resource<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, StartError> {
        self.system()
            .resources()
            .find()
            .ok_or_else(|| StartError::failed(format_args!("this node lends no {}", std::any::type_name::<T>())))
    }

    /// Starts one more instance of the template of the dynamic supervisor at `supervisor`, with `config` over the template's
    /// own, and returns where it runs. It is that supervisor's child, and outlives this actor.
    ///
    /// # Errors
    /// As [`System::start_instance`]; also where its start said that there is nothing to run.
    ///
    /// # Cancel safety
    /// A future that is dropped takes nothing back.
    pub async fn spawn_child(&self, supervisor: &ActorPath, config: toml::Table) -> Result<ActorPath, AdminFailure> {
        let started = self.system().start_instance(supervisor, None, config).await?;
        started.path.ok_or(AdminFailure::Ignored)
    }

    /// The actor at `path` on this node.
    ///
    /// # Errors
    /// [`CallError::NoProc`] where the tree has no such actor, `Rejected` where its messages are of another type.
    pub fn lookup<M: Send + 'static>(&self, path: &ActorPath) -> Result<Ref<M>, CallError> {
        self.system().lookup(path)
    }

    /// Sends `message` to this actor after `delay`, unless the incarnation ends before. It is part of the trace that this
    /// handler is in.
    ///
    /// # Panics
    /// The incarnation already has [`TIMERS_MAX`] timers: it starts them faster than they fire.
    pub fn send_after(&self, delay: Duration, message: B::Message) {
        let me = self.me();
        let timer = async move {
            tokio::time::sleep(delay).await;
            // Full or closed: the actor is overwhelmed or has gone, and either way this timer cannot help it.
            let _ = me.cast(message).await;
        };
        self.start_timer(traced(current_trace(), timer));
    }

    /// Sends a message to this actor every `period`, the first after one period. A tick that finds the mailbox full is
    /// left out.
    ///
    /// # Panics
    /// As [`Context::send_after`].
    pub fn send_every(&self, period: Duration, message: impl Fn() -> B::Message + Send + 'static) {
        let me = self.me();
        let period = period.max(PERIOD_MIN);
        self.start_timer(async move {
            loop {
                tokio::time::sleep(period).await;
                let _ = me.try_cast(message());
            }
        });
    }

    /// Calls [`Behaviour::alarm`] after `delay`, unless this incarnation ends before. It has one alarm: a later one takes
    /// its place. Unlike a message of [`Context::send_after`] it needs no room in the mailbox and cannot come too late to be
    /// cancelled.
    pub fn set_alarm(&self, delay: Duration) {
        let due = Arc::new(AtomicBool::new(false));
        let (slot, notice, rings) = (Arc::clone(self.slot()), Arc::clone(&self.notice), Arc::clone(&due));
        let task = self.env().work.spawn(async move {
            let _held = notice;
            tokio::time::sleep(delay).await;
            rings.store(true, Ordering::Release);
            slot.signal();
        });
        let alarm = Alarm { due, _task: task };
        let before = self.owned().alarm.lock().unwrap_or_else(PoisonError::into_inner).replace(alarm);
        drop(before); // after the lock
    }

    /// Takes the alarm away, also where it is due and was not told yet.
    pub fn cancel_alarm(&self) {
        drop(self.take_alarm(|_| true));
    }

    /// Whether the alarm is due; this is told once.
    pub(crate) fn alarm_is_due(&self) -> bool {
        self.take_alarm(|alarm| alarm.due.load(Ordering::Acquire)).is_some()
    }

    fn take_alarm(&self, which: impl FnOnce(&mut Alarm) -> bool) -> Option<Alarm> {
        self.owned.get()?.alarm.lock().unwrap_or_else(PoisonError::into_inner).take_if(which)
    }

    /// Runs `future` beside this actor, as its task: it ends with the incarnation, and the next one starts only after
    /// that. It is part of the trace that this handler is in.
    ///
    /// # Errors
    /// [`TASKS_MAX`] tasks are running. Nothing was started.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Result<(), SpawnRefused> {
        let notice = Arc::clone(&self.notice);
        let future = traced(current_trace(), future);
        let mut tasks = self.owned().tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let spawned = tasks.spawn(async move {
            let _held = notice;
            future.await;
        });
        if spawned { Ok(()) } else { Err(SpawnRefused) }
    }

    /// Ends this incarnation with the reason that `reason` comes to, should it: what it acts by is gone, such as a lease. It is
    /// told as stop and kill are, and waits behind no message. A [`ExitReason::NameConflict`] counts against no budget.
    ///
    /// # Errors
    /// As [`Context::spawn`].
    pub fn end_when(&self, reason: impl Future<Output = ExitReason> + Send + 'static) -> Result<(), SpawnRefused> {
        let notice = Arc::clone(&self.notice);
        self.spawn(async move { notice.end_with(reason.await) })
    }

    /// Ends this actor normally after the message in hand.
    pub fn stop(&self) {
        self.flag(STOPPING);
    }

    /// Lets every other node send to this actor, and none end it.
    pub fn expose(&self)
    where
        B::Message: Remotable,
    {
        self.expose_to(Callers::any());
    }

    /// Lets these of the other nodes send to this actor, or end it. Others are refused before their message is read.
    pub fn expose_to(&self, callers: Callers)
    where
        B::Message: Remotable,
    {
        self.system().declare::<B::Message>();
        self.slot().expose(Arc::new(MailboxInlet { mailbox: Arc::clone(&self.mailbox), callers }));
    }

    fn start_timer(&self, timer: impl Future<Output = ()> + Send + 'static) {
        let notice = Arc::clone(&self.notice);
        let mut timers = self.owned().timers.lock().unwrap_or_else(PoisonError::into_inner);
        let started = timers.spawn(async move {
            let _held = notice;
            timer.await;
        });
        drop(timers);
        assert!(started, "more than {TIMERS_MAX} timers at a time");
    }

    fn owned(&self) -> &Owned {
        self.owned.get_or_init(|| {
            let work = &self.env().work;
            Box::new(Owned {
                tasks: Mutex::new(Tasks::new(work.clone(), TASKS_MAX)),
                timers: Mutex::new(Tasks::new(work.clone(), TIMERS_MAX)),
                alarm: Mutex::new(None),
            })
        })
    }

    pub(crate) fn mailbox(&self) -> &Mailbox<B::Message> {
        &self.mailbox
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        self.notice.slot()
    }

    pub(crate) fn notice(&self) -> &Arc<Notice> {
        &self.notice
    }

    /// Adds to what this attempt leaves behind for its supervisor.
    pub(crate) fn leave(&self, add: impl FnOnce(&mut Left)) {
        self.slot().observed().leave(self.notice.attempt(), add);
    }

    pub(crate) fn begin_batch(&self) {
        self.flags.store(self.flags.load(Ordering::Relaxed) & !SUSPENDED, Ordering::Relaxed);
    }

    /// A handler waited: senders should not wait for the rest of the batch.
    pub(crate) fn handler_suspended(&self) {
        self.flag(SUSPENDED);
    }

    fn flag(&self, flag: u8) {
        self.flags.store(self.flags.load(Ordering::Relaxed) | flag, Ordering::Relaxed);
    }

    pub(crate) fn ends_batch(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & (STOPPING | SUSPENDED) != 0
    }

    /// This incarnation ends when nothing waits any more.
    pub(crate) fn begin_drain(&self) {
        self.flag(DRAINING);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & DRAINING != 0
    }

    /// Notes the reason of an orderly end from inside.
    pub(crate) fn end_with(&self, reason: ExitReason) {
        let _ = self.end.set(Box::new(reason));
    }

    /// What [`Behaviour::stop`] is told: why the actor stopped itself, or that it was asked to.
    pub(crate) fn stop_reason(&self) -> ExitReason {
        match self.end.get() {
            Some(reason) => ExitReason::clone(reason),
            None if self.is_stopping() => ExitReason::Normal,
            None => ExitReason::Shutdown,
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & STOPPING != 0
    }
}

impl<B: Behaviour> fmt::Debug for Context<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} #{})", self.path(), self.incarnation)
    }
}

/// An incarnation that runs [`TASKS_MAX`] tasks may not start another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this actor already runs {TASKS_MAX} tasks: wait for one to end")]
pub struct SpawnRefused;
