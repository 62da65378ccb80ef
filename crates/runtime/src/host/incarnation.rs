//! One incarnation of a behaviour: its start, its turns at the lane, its stop. Both hosts run this.
//!
//! Panics are caught here, so that every end has a typed reason.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use covenant_types::{CallError, ExitReason, Uptime};
use futures_util::FutureExt;

use super::{Birth, Doorbell};
use crate::following::{replace_trace, traced};
use crate::lane::Reader;
use crate::mailbox::{AnyMailbox, DRAINED, Envelope};
use crate::notice::Ending;
use crate::observe::{self, Recorder};
use crate::{Behaviour, Context, Exit, StartError, scope};

/// The most messages a batch has, so that other actors of the same thread get their turn.
const BATCH_MESSAGES_MAX: u32 = 256;
/// How long a batch may take before it ends early: senders who wait for room wait for its end.
const BATCH_TIME_MAX: Duration = Duration::from_micros(100);

/// A running incarnation.
pub(super) struct Incarnation<B: Behaviour> {
    worker: Worker<B>,
    context: Context<B>,
}

/// What a batch is handled by. One reference for all of it: every light actor has room for what its batch holds.
struct Worker<B> {
    /// `None` once its `stop` has taken it.
    behaviour: Option<B>,
    /// Its attachment to the lane.
    reader: Reader,
    /// Made with its first batch.
    recorder: Option<Box<Recorder>>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing waits: the bell is rung when something does.
    Idle,
    /// More waits. Nobody will ring for it.
    More,
    /// It wants to stop in order.
    Stop,
    /// It is over.
    Crashed,
}

impl<B: Behaviour> Incarnation<B> {
    /// Starts the behaviour, which is rung at `bell` from then on. Where this is `None` the notice says why.
    pub(super) async fn begin(birth: Birth<B>, bell: Doorbell) -> Option<Self> {
        let Birth { config, mailbox, notice } = birth;
        let context = Context::<B>::new(mailbox, notice);
        let start = traced(None, async { B::start(read_config::<B>(&config)?, &context).await });
        let ending = match AssertUnwindSafe(start).catch_unwind().await {
            Ok(Ok(behaviour)) => {
                context.slot().count_start(context.incarnation());
                let reader = context.mailbox().lane.attach(bell);
                if context.slot().is_signalled() {
                    context.mailbox().ring(); // what it was told while it had no bell
                }
                context.notice().started();
                if context.is_stopping() {
                    context.mailbox().interrupt();
                }
                let worker = Worker { behaviour: Some(behaviour), reader, recorder: None };
                return Some(Self { worker, context });
            }
            Ok(Err(StartError::Ignore)) => Ending::Ignored,
            Ok(Err(StartError::NameTaken(holder))) => Ending::Exit(ExitReason::NameConflict(holder)),
            Ok(Err(StartError::Failed(why))) => Ending::Exit(ExitReason::Error(why)),
            Err(payload) => Ending::Exit(context.notice().panicked(&*payload)),
        };
        context.notice().ends(ending);
        None
    }

    /// Whether it asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.context.is_stopping()
    }

    /// Handles what waits, up to the bounds of a batch.
    pub(super) async fn turn(&mut self) -> Turn {
        let Self { worker, context } = self;
        let mut trace = None;
        let (caught, orphans) = {
            // A kill drops the batch with the message in hand. Locals are dropped last to first: these put what a kill
            // answers around the drop of the batch.
            let abandoned = scope::Abandoned::new(context.notice());
            let _after = abandoned.after();
            let mut batch = pin!(AssertUnwindSafe(run_batch(worker, context)).catch_unwind());
            let _before = abandoned.before();
            poll_fn(|cx| {
                let outside = replace_trace(trace);
                let (polled, orphans) = scope::collect(|| batch.as_mut().poll(cx));
                trace = replace_trace(outside);
                match polled {
                    Poll::Ready(caught) => {
                        abandoned.done();
                        Poll::Ready((caught, orphans))
                    }
                    Poll::Pending => {
                        drop(orphans); // the handler goes on without them
                        context.handler_suspended();
                        Poll::Pending
                    }
                }
            })
            .await
        };
        let reason = match caught {
            Ok(Ok(more)) => {
                drop(orphans);
                return match (context.is_stopping(), more) {
                    (true, _) => Turn::Stop,
                    (false, true) => Turn::More,
                    (false, false) => Turn::Idle,
                };
            }
            Ok(Err(Exit(reason))) => reason,
            Err(payload) => context.notice().panicked(&*payload),
        };
        orphans.settle(&CallError::Gone(reason.clone()));
        if reason.is_orderly() {
            context.mailbox().interrupt();
            context.end_with(reason);
            return Turn::Stop;
        }
        if let Some(trace) = trace {
            context.leave(|left| left.trace = Some(trace));
        }
        context.notice().ends(Ending::Exit(reason));
        Turn::Crashed
    }

    /// Runs the behaviour's `stop`.
    pub(super) async fn stop(&mut self) {
        let Some(behaviour) = self.worker.behaviour.take() else { return };
        let reason = self.context.stop_reason();
        self.context.mailbox().discard_late(); // what the last batch gave back
        let stop = traced(None, behaviour.stop(&reason, &self.context));
        let stopped = AssertUnwindSafe(stop).catch_unwind().await;
        let reason = match stopped {
            Ok(()) => reason,
            Err(payload) => self.context.notice().panicked(&*payload),
        };
        self.context.notice().ends(Ending::Exit(reason));
    }
}

/// True when messages are left.
///
/// The batch is a local of this future: a panic, an `Err` and a kill all drop it, and with it give the rest back to the
/// lane before the supervisor hears of the end.
#[expect(
    clippy::manual_async_fn,
    reason = "it would keep its arguments twice, and every light actor has room for this"
)]
fn run_batch<B: Behaviour>(
    worker: &mut Worker<B>,
    context: &Context<B>,
) -> impl Future<Output = Result<bool, Exit>> + Send {
    async move {
        context.begin_batch();
        let more_signals = match context.slot().is_signalled() {
            true => Box::pin(hear_signals(worker, context)).await?, // seldom, and large
            false => false,
        };
        if context.slot().is_suspended() || worker.behaviour.is_none() {
            return Ok(false); // who resumes it rings; what has stopped takes nothing from the lane
        }
        if worker.recorder.is_none() && context.system().is_recording() {
            worker.recorder = Some(Box::default());
        }
        let mut handled = Handled { context, recorder: worker.recorder.as_deref_mut(), began: None, messages: 0 };
        let mut batch = context.mailbox().lane.take();
        // 0 is never: one message alone has nobody behind it who waits.
        let mut look_at_clock_after = u32::from(batch.is_long());
        if look_at_clock_after > 0 || handled.recorder.is_some() {
            handled.began = Some(context.env().now());
        }
        while let Some(Envelope { message, trace }) = batch.next() {
            replace_trace(trace); // until the next one: who polls this keeps it while the handler waits
            let Some(behaviour) = &mut worker.behaviour else { break };
            handled.messages += 1;
            if let Some(recorder) = &mut handled.recorder {
                recorder.begin::<B>(&message, trace, || context.env().now());
            }
            behaviour.handle(message, context).await?;
            if let Some(recorder) = &mut handled.recorder {
                recorder.end(|| context.env().now());
            }
            if context.ends_batch() || handled.messages == BATCH_MESSAGES_MAX {
                break;
            }
            // At 1, 2, 4, 8 … messages: a clock per message would cost as much as the message.
            if let Some(began) = handled.began
                && handled.messages == look_at_clock_after
            {
                look_at_clock_after *= 2;
                if context.env().now().since(began) >= BATCH_TIME_MAX {
                    break;
                }
            }
        }
        let more_messages = batch.finish();
        // The ring of a signal that came while a handler waited may have done no more than poll that handler.
        let heard_late = context.slot().is_signalled() && context.mailbox().lane.may_read(worker.reader);
        let more = more_messages || more_signals || heard_late;
        if !more && context.is_draining() {
            context.end_with(ExitReason::ShutdownWith(DRAINED.to_owned()));
            context.stop();
        }
        Ok(more)
    }
}

/// Tells the behaviour what waits beside its messages, up to the bound of a batch. True when there may be more.
async fn hear_signals<B: Behaviour>(worker: &mut Worker<B>, context: &Context<B>) -> Result<bool, Exit> {
    let Worker { behaviour: Some(behaviour), reader, recorder } = worker else { return Ok(false) };
    observe::answer(behaviour, context, recorder);
    if context.slot().is_suspended() {
        return Ok(false); // the signal stays for when it is resumed
    }
    let may_go_on = || context.mailbox().lane.may_read(*reader) && !context.is_stopping();
    if !(may_go_on() && context.slot().take_signal()) {
        return Ok(false);
    }
    if context.mailbox().lane.is_draining() {
        context.begin_drain();
    }
    if context.alarm_is_due() {
        behaviour.alarm(context).await?;
    }
    for _ in 0..BATCH_MESSAGES_MAX {
        if !may_go_on() {
            return Ok(false);
        }
        let Some(down) = context.slot().next_down(context.notice().attempt()) else { return Ok(false) };
        behaviour.down(down, context).await?;
    }
    context.slot().signal();
    Ok(true)
}

/// Adds to the mailbox's counts once per batch, and closes the batch in the recorder.
struct Handled<'a, B: Behaviour> {
    context: &'a Context<B>,
    recorder: Option<&'a mut Recorder>,
    began: Option<Uptime>,
    messages: u32,
}

impl<B: Behaviour> Drop for Handled<'_, B> {
    fn drop(&mut self) {
        if self.messages == 0 {
            return;
        }
        self.context.mailbox().add_handled(u64::from(self.messages));
        if let (Some(recorder), Some(began)) = (&mut self.recorder, self.began) {
            let took = self.context.env().now().since(began);
            self.context.mailbox().add_handler_time(took);
            recorder.end_batch(began, took, self.messages);
        }
    }
}

/// Calls that the state or a task still held are answered with the reason of the end.
impl<B: Behaviour> Drop for Incarnation<B> {
    fn drop(&mut self) {
        self.context.mailbox().lane.detach(self.worker.reader);
        self.context.mailbox().discard_late(); // where it was killed
        let reason = self.context.notice().reason();
        if let Some(recorder) = self.worker.recorder.take().filter(|_| !reason.is_orderly()) {
            self.context.leave(|left| {
                left.record = Some(recorder.view());
                left.trace = left.trace.or(recorder.trace_in_hand());
            });
        }
        scope::answering(CallError::Gone(reason), || drop(self.worker.behaviour.take()));
    }
}

fn read_config<B: Behaviour>(config: &toml::Table) -> Result<B::Config, StartError> {
    config.clone().try_into().map_err(|error: toml::de::Error| StartError::failed(error.message()))
}
