//! Plain ractor actors as children: supervised, killed and restarted as behaviours are.
//!
//! The actor is wrapped, so that its end has a typed reason and its supervisor hears of it; nothing of it is changed. Its
//! messages are in ractor's own queue: there is no lane, so that they have no bound and end with the incarnation.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covenant_supervision::{Host, Mailbox as MailboxSettings};
use covenant_types::{ActorPath, CallError, ExitReason};
use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, Message, SupervisionEvent};
use serde::de::DeserializeOwned;

use super::Worker;
use crate::deadline::Deadlines;
use crate::mailbox::{AnyMailbox, DRAINED};
use crate::notice::{Ending, Notice};
use crate::registry::{Factory, Starter, mailbox_of};
use crate::slot::Handle;

/// How an actor is made from the `config` of its child.
type Make<A, C> = dyn Fn(C) -> Result<(A, <A as Actor>::Arguments), String> + Send + Sync;

/// A plain actor without its type.
pub(crate) struct PlainFactory<A: Actor, C>(pub(crate) Arc<Make<A, C>>);

impl<A: Actor, C: DeserializeOwned + 'static> Factory for PlainFactory<A, C> {
    fn mailbox(&self, _: ActorPath, _: &MailboxSettings, _: &Arc<Deadlines>) -> Arc<dyn AnyMailbox> {
        Arc::new(PlainMailbox::<A::Msg>::default())
    }

    fn fits(&self, mailbox: &Arc<dyn AnyMailbox>) -> bool {
        mailbox_of::<PlainMailbox<A::Msg>>(mailbox).is_some()
    }

    fn starter(&self, config: &toml::Table, _: Host) -> Result<Arc<dyn Starter>, String> {
        let of_type = |error: toml::de::Error| error.message().to_owned();
        config.clone().try_into::<C>().map_err(of_type)?;
        let (make, config) = (Arc::clone(&self.0), config.clone());
        let make = move || make(config.clone().try_into().map_err(of_type)?);
        Ok(Arc::new(PlainStarter { make, of: PhantomData::<fn() -> A> }))
    }
}

struct PlainStarter<A, F> {
    make: F,
    of: PhantomData<fn() -> A>,
}

impl<A, F> Starter for PlainStarter<A, F>
where
    A: Actor,
    F: Fn() -> Result<(A, A::Arguments), String> + Send + Sync,
{
    fn start(&self, notice: Arc<Notice>) -> Option<Handle> {
        let mailbox = mailbox_of::<PlainMailbox<A::Msg>>(notice.slot().mailbox.as_ref()?)?;
        let made = std::panic::catch_unwind(AssertUnwindSafe(|| (self.make)()));
        let (actor, arguments) = match made {
            Ok(Ok(made)) => made,
            Ok(Err(why)) => return refuse(&notice, ExitReason::Error(why)),
            Err(payload) => {
                let reason = notice.panicked(&*payload);
                return refuse(&notice, reason);
            }
        };
        let work = notice.system().env().work.clone();
        let _inside = work.handle().enter();
        let birth = PlainBirth { arguments, notice, mailbox };
        // It only fails for a name that is taken, and we give none. Then the dropped notice says that the start failed.
        let (actor, _task) = ActorRuntime::spawn_instant(None, Plain(actor), birth).ok()?;
        Some(Handle::Worker(Worker::Hosted(actor.get_cell())))
    }
}

fn refuse(notice: &Notice, reason: ExitReason) -> Option<Handle> {
    notice.ends(Ending::Exit(reason));
    None
}

/// The actor as it was written, with a word to its supervisor before and after.
struct Plain<A>(A);

struct PlainBirth<A: Actor> {
    arguments: A::Arguments,
    notice: Arc<Notice>,
    mailbox: Arc<PlainMailbox<A::Msg>>,
}

struct PlainState<A: Actor> {
    /// Dropped before the rest: nothing of it is left when the supervisor hears.
    state: A::State,
    attached: Attached<A::Msg>,
    notice: Arc<Notice>,
}

impl<A: Actor> Actor for Plain<A> {
    type Msg = A::Msg;
    type State = PlainState<A>;
    type Arguments = PlainBirth<A>;

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        birth: PlainBirth<A>,
    ) -> Result<PlainState<A>, ActorProcessingErr> {
        let PlainBirth { arguments, notice, mailbox } = birth;
        let state = told(&notice, self.0.pre_start(myself.clone(), arguments)).await?;
        let slot = notice.slot();
        slot.count_start(slot.incarnation().next());
        let attached = Attached::new(mailbox, myself);
        notice.started();
        Ok(PlainState { state, attached, notice })
    }

    async fn post_start(&self, myself: ActorRef<A::Msg>, of: &mut PlainState<A>) -> Result<(), ActorProcessingErr> {
        told(&of.notice, self.0.post_start(myself, &mut of.state)).await
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        of: &mut PlainState<A>,
    ) -> Result<(), ActorProcessingErr> {
        told(&of.notice, self.0.handle(myself, message, &mut of.state)).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        of: &mut PlainState<A>,
    ) -> Result<(), ActorProcessingErr> {
        told(&of.notice, self.0.handle_supervisor_evt(myself, event, &mut of.state)).await
    }

    async fn post_stop(&self, myself: ActorRef<A::Msg>, of: &mut PlainState<A>) -> Result<(), ActorProcessingErr> {
        told(&of.notice, self.0.post_stop(myself, &mut of.state)).await?;
        let mailbox = &of.attached.mailbox;
        let asked = mailbox.asked_to_stop.load(Ordering::Acquire);
        of.notice.ends(Ending::Exit(match (asked, mailbox.is_draining()) {
            (true, _) => ExitReason::Shutdown,
            (false, true) => ExitReason::ShutdownWith(DRAINED.to_owned()),
            (false, false) => ExitReason::Normal,
        }));
        Ok(())
    }
}

/// The output of `act`; a panic or an error in it is noted as the reason of the end.
async fn told<T>(
    notice: &Notice,
    act: impl Future<Output = Result<T, ActorProcessingErr>>,
) -> Result<T, ActorProcessingErr> {
    let reason = match AssertUnwindSafe(act).catch_unwind().await {
        Ok(Ok(output)) => return Ok(output),
        Ok(Err(error)) => ExitReason::Error(error.to_string()),
        Err(payload) => notice.panicked(&*payload),
    };
    let error = ActorProcessingErr::from(reason.to_string());
    notice.ends(Ending::Exit(reason));
    Err(error)
}

/// Where the incarnation that runs is reached.
pub(crate) struct PlainMailbox<M> {
    actor: Mutex<Option<ActorRef<M>>>,
    closed_with: Mutex<Option<CallError>>,
    /// Its supervisor wants it to stop, or to die.
    asked_to_stop: AtomicBool,
    /// It is to handle what waits in ractor's queue, and to end then.
    draining: AtomicBool,
}

impl<M> Default for PlainMailbox<M> {
    fn default() -> Self {
        let (asked_to_stop, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { actor: Mutex::new(None), closed_with: Mutex::new(None), asked_to_stop, draining }
    }
}

impl<M: Message> PlainMailbox<M> {
    /// The actor that runs.
    ///
    /// # Errors
    /// None runs: `NoProc` between two incarnations, and what it ended with when it does not come back.
    pub(crate) fn actor(&self) -> Result<ActorRef<M>, CallError> {
        if let Some(actor) = &*self.actor.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(actor.clone());
        }
        let closed_with = self.closed_with.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(closed_with.unwrap_or(CallError::NoProc))
    }
}

/// One incarnation at its mailbox.
struct Attached<M: Message> {
    mailbox: Arc<PlainMailbox<M>>,
    actor: ActorRef<M>,
}

impl<M: Message> Attached<M> {
    fn new(mailbox: Arc<PlainMailbox<M>>, actor: ActorRef<M>) -> Self {
        let before = mailbox.actor.lock().unwrap_or_else(PoisonError::into_inner).replace(actor.clone());
        drop(before); // after the lock
        Self { mailbox, actor }
    }
}

impl<M: Message> Drop for Attached<M> {
    fn drop(&mut self) {
        let mut actor = self.mailbox.actor.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = actor.take_if(|actor| actor.get_id() == self.actor.get_id());
        drop(actor);
        drop(gone);
    }
}

impl<M: Message> AnyMailbox for PlainMailbox<M> {
    fn close(&self, error: CallError) {
        *self.closed_with.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn reopen(&self) {
        *self.closed_with.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.asked_to_stop.store(false, Ordering::Release);
        self.draining.store(false, Ordering::Release);
    }

    fn drain(&self) -> bool {
        self.draining.store(true, Ordering::Release);
        false
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn discard(&self) {} // with the actor goes its queue

    fn interrupt(&self) {
        self.asked_to_stop.store(true, Ordering::Release);
    }

    fn ring(&self) {}

    fn depth(&self) -> usize {
        0
    }

    fn capacity(&self) -> usize {
        0
    }

    fn handled(&self) -> u64 {
        0
    }

    fn handler_time(&self) -> Duration {
        Duration::ZERO
    }

    fn dropped(&self) -> u64 {
        0
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
