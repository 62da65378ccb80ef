//! The hosted host: runs a [`Behaviour`] as a ractor actor.
//!
//! ractor brings start, stop and kill; messages do not pass through it. Its queue carries doorbells, and at each one the
//! actor takes a batch from its lane. Panics are caught here, so that every end has a typed reason.
//!
//! ractor facts this rests on (0.16.5): stop and kill are looked at before messages; a kill drops the running future at
//! its next `.await`, in `pre_start` too; the state is dropped in every case. Actors are not linked in ractor, because a
//! ractor supervisor that dies kills without order; [`Notice`] tells ours of an end.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use covenant_types::{CallError, ExitReason};
use futures_util::FutureExt;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime};

use crate::lane::Bell;
use crate::mailbox::{AnyMailbox, Mailbox};
use crate::notice::{Ending, Notice};
use crate::slot::Slot;
use crate::{Behaviour, Context, Exit, StartError, System, panic_text, scope};

/// The most messages a batch has, so that other actors of the same thread get their turn.
const BATCH_MESSAGES_MAX: u32 = 256;
/// How long a batch may take before it ends early: senders who wait for room wait for its end.
const BATCH_TIME_MAX: Duration = Duration::from_micros(100);

/// All that ractor's queue carries. Without a payload, boxing it allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ctl {
    /// Messages wait in the lane.
    Doorbell,
}

/// Wakes a hosted actor.
#[derive(Clone)]
pub(crate) struct Doorbell(ActorRef<Ctl>);

impl Bell for Doorbell {
    fn ring(self) {
        // An actor that has gone is replaced by one that looks when it attaches.
        let _ = self.0.cast(Ctl::Doorbell);
    }
}

/// What one start attempt is given.
pub(crate) struct Birth<B: Behaviour> {
    pub(crate) config: Arc<toml::Table>,
    pub(crate) mailbox: Arc<Mailbox<B::Message>>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) system: System,
    pub(crate) notice: Arc<Notice>,
}

/// Begins a start attempt on the work runtime. How it went is told by its notice.
pub(crate) fn spawn<B: Behaviour>(birth: Birth<B>) -> Option<ActorCell> {
    let work = birth.system.env().work.clone();
    let _inside = work.handle().enter();
    // It only fails for a name that is taken, and we give none. Then the dropped notice says that the start failed.
    let (actor, _task) = ActorRuntime::spawn_instant(None, Host::<B>(PhantomData), birth).ok()?;
    Some(actor.get_cell())
}

struct Host<B>(PhantomData<fn() -> B>);

/// A running incarnation.
struct Hosted<B: Behaviour> {
    /// `None` once its `stop` has taken it.
    behaviour: Option<B>,
    context: Context<B>,
}

impl<B: Behaviour> Actor for Host<B> {
    type Msg = Ctl;
    type State = Hosted<B>;
    type Arguments = Birth<B>;

    async fn pre_start(&self, myself: ActorRef<Ctl>, birth: Birth<B>) -> Result<Hosted<B>, ActorProcessingErr> {
        let Birth { config, mailbox, slot, system, notice } = birth;
        let context = Context::<B>::new(mailbox, slot, system, notice);
        let start = async { B::start(read_config::<B>(&config)?, &context).await };
        let behaviour = match AssertUnwindSafe(start).catch_unwind().await {
            Ok(Ok(behaviour)) => behaviour,
            Ok(Err(StartError::Ignore)) => return Err(refuse(&context, Ending::Ignored)),
            Ok(Err(StartError::Failed(why))) => return Err(refuse(&context, Ending::Exit(ExitReason::Error(why)))),
            Err(payload) => {
                return Err(refuse(&context, Ending::Exit(ExitReason::Panicked(panic_text(&*payload)))));
            }
        };
        context.slot().count_start(context.incarnation());
        context.mailbox().lane.attach(Doorbell(myself.clone()));
        context.notice().started();
        if context.is_stopping() {
            context.mailbox().interrupt();
            myself.stop(None);
        }
        Ok(Hosted { behaviour: Some(behaviour), context })
    }

    async fn handle(
        &self,
        myself: ActorRef<Ctl>,
        Ctl::Doorbell: Ctl,
        hosted: &mut Hosted<B>,
    ) -> Result<(), ActorProcessingErr> {
        let Hosted { behaviour: Some(behaviour), context } = hosted else { return Ok(()) };
        let (caught, orphans) = {
            // A kill drops the batch with the message in hand. Locals are dropped last to first: these put what a kill
            // answers around the drop of the batch.
            let abandoned = scope::Abandoned::default();
            let _after = abandoned.after();
            let mut batch = pin!(AssertUnwindSafe(run_batch(behaviour, context)).catch_unwind());
            let _before = abandoned.before();
            poll_fn(|cx| match scope::collect(|| batch.as_mut().poll(cx)) {
                (Poll::Ready(caught), orphans) => {
                    abandoned.done();
                    Poll::Ready((caught, orphans))
                }
                (Poll::Pending, orphans) => {
                    drop(orphans); // the handler goes on without them
                    context.handler_suspended();
                    Poll::Pending
                }
            })
            .await
        };
        let reason = match caught {
            Ok(Ok(more)) => {
                drop(orphans);
                if context.is_stopping() {
                    myself.stop(None);
                } else if more {
                    let _ = myself.cast(Ctl::Doorbell);
                    tokio::task::yield_now().await;
                }
                return Ok(());
            }
            Ok(Err(Exit(reason))) => reason,
            Err(payload) => ExitReason::Panicked(panic_text(&*payload)),
        };
        orphans.settle(&CallError::Gone(reason.clone()));
        if reason.is_orderly() {
            context.mailbox().interrupt();
            context.end_with(reason);
            myself.stop(None);
            return Ok(());
        }
        context.notice().ends(Ending::Exit(reason));
        Err(ended())
    }

    async fn post_stop(&self, _: ActorRef<Ctl>, hosted: &mut Hosted<B>) -> Result<(), ActorProcessingErr> {
        let Some(behaviour) = hosted.behaviour.take() else { return Ok(()) };
        let reason = hosted.context.stop_reason();
        let stopped = AssertUnwindSafe(behaviour.stop(&reason, &hosted.context)).catch_unwind().await;
        let reason = match stopped {
            Ok(()) => reason,
            Err(payload) => ExitReason::Panicked(panic_text(&*payload)),
        };
        hosted.context.notice().ends(Ending::Exit(reason));
        Ok(())
    }
}

/// Handles what waits, up to the bounds of a batch. True when messages are left.
///
/// The batch is a local of this future: a panic, an `Err` and a kill all drop it, and with it give the rest back to the
/// lane before the supervisor hears of the end.
async fn run_batch<B: Behaviour>(behaviour: &mut B, context: &Context<B>) -> Result<bool, Exit> {
    context.begin_batch();
    let mailbox = context.mailbox();
    let mut handled = Handled { mailbox, messages: 0 };
    let mut batch = mailbox.lane.take();
    let began = if batch.is_long() { Some(context.env().now()) } else { None };
    let mut look_at_clock_after = 1;
    while let Some(message) = batch.next() {
        handled.messages += 1;
        behaviour.handle(message, context).await?;
        if context.ends_batch() || handled.messages == BATCH_MESSAGES_MAX {
            break;
        }
        // At 1, 2, 4, 8 … messages: a clock per message would cost as much as the message.
        if let Some(began) = began
            && handled.messages == look_at_clock_after
        {
            look_at_clock_after *= 2;
            if context.env().now().since(began) >= BATCH_TIME_MAX {
                break;
            }
        }
    }
    Ok(batch.finish())
}

/// Adds to the mailbox's count once per batch.
struct Handled<'a, M: Send + 'static> {
    mailbox: &'a Mailbox<M>,
    messages: u32,
}

impl<M: Send + 'static> Drop for Handled<'_, M> {
    fn drop(&mut self) {
        self.mailbox.add_handled(u64::from(self.messages));
    }
}

/// Calls that the state or a task still held are answered with the reason of the end.
impl<B: Behaviour> Drop for Hosted<B> {
    fn drop(&mut self) {
        self.context.mailbox().lane.detach();
        let reason = self.context.notice().reason();
        scope::answering(CallError::Gone(reason), || drop(self.behaviour.take()));
    }
}

fn read_config<B: Behaviour>(config: &toml::Table) -> Result<B::Config, StartError> {
    config.clone().try_into().map_err(|error: toml::de::Error| StartError::failed(error.message()))
}

fn refuse<B: Behaviour>(context: &Context<B>, ending: Ending) -> ActorProcessingErr {
    context.notice().ends(ending);
    ended()
}

/// What ractor is told of an end; nobody reads it.
fn ended() -> ActorProcessingErr {
    ActorProcessingErr::from("ended")
}
