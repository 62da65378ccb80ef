//! One actor's lane with its policy and its counts: what a [`Ref`](crate::Ref) points to.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covenant_supervision::{Mailbox as Settings, Overflow};
use covenant_types::{ActorPath, CallError, ExitReason, TraceId};

use crate::deadline::Deadlines;
use crate::following::current_trace;
use crate::host::Doorbell;
use crate::lane::{Lane, Refused};
use crate::scope;

/// A message in a lane.
pub(crate) struct Envelope<M> {
    pub(crate) message: M,
    /// That of whoever sent it.
    pub(crate) trace: Option<TraceId>,
}

/// The mailbox of one path. It lives as long as the system does and is closed while its child is ended for good.
pub(crate) struct Mailbox<M> {
    path: ActorPath,
    pub(crate) lane: Lane<Envelope<M>, Doorbell>,
    handled: AtomicU64,
    /// How long handlers took, in nanoseconds.
    handler_ns: AtomicU64,
    dropped: AtomicU64,
    /// What senders hear while the lane is closed.
    closed_with: Mutex<Option<Box<CallError>>>,
    pub(crate) deadlines: Arc<Deadlines>,
}

impl<M: Send + 'static> Mailbox<M> {
    pub(crate) fn new(path: ActorPath, settings: &Settings, deadlines: Arc<Deadlines>) -> Self {
        Self {
            path,
            lane: Lane::new(settings.capacity, settings.overflow),
            handled: AtomicU64::new(0),
            handler_ns: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            closed_with: Mutex::new(None),
            deadlines,
        }
    }

    pub(crate) fn path(&self) -> &ActorPath {
        &self.path
    }

    /// One batch more. Only the one incarnation that runs calls this, so that a load and a store do.
    pub(crate) fn add_handled(&self, messages: u64) {
        self.handled.store(self.handled.load(Ordering::Relaxed) + messages, Ordering::Relaxed);
    }

    /// One batch took so long. As [`Mailbox::add_handled`].
    pub(crate) fn add_handler_time(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.handler_ns.store(self.handler_ns.load(Ordering::Relaxed).saturating_add(took), Ordering::Relaxed);
    }

    /// Sends if there is room. `Err` returns the message where there is none or the lane is closed: ask [`Mailbox::push`].
    pub(crate) fn try_push(&self, message: M) -> Result<(), Refused<Envelope<M>>> {
        self.lane.try_send(Envelope { message, trace: current_trace() })
    }

    /// What happens to a message that [`Mailbox::try_push`] returned: the policy decides, and `wait` waits.
    pub(crate) async fn push(&self, refused: Refused<Envelope<M>>) -> Result<(), CallError> {
        match (refused, self.lane.overflow) {
            (Refused::Full(message), Overflow::Wait) => {
                self.lane.send_slow(message).await.map_err(|message| self.refuse(message))
            }
            (refused, _) => self.overflow(refused),
        }
    }

    /// Sends without waiting, whatever the policy.
    pub(crate) fn push_now(&self, message: M) -> Result<(), CallError> {
        self.try_push(message).or_else(|refused| self.overflow(refused))
    }

    /// Sends the first of `messages`, as many as there is room for; where the policy drops messages, all. Returns how many.
    ///
    /// # Errors
    /// The mailbox takes none. All were dropped.
    pub(crate) fn push_many(&self, messages: &mut VecDeque<Envelope<M>>) -> Result<usize, CallError> {
        let Some(mut sent) = self.lane.try_send_many(messages) else {
            let error = self.closed_with();
            messages.drain(..).for_each(|message| discard(message, &error));
            return Err(error);
        };
        if matches!(self.lane.overflow, Overflow::DropNewest | Overflow::DropOldest) {
            sent += messages.len();
            for message in messages.drain(..) {
                // Where it is closed by now the message was dropped, and that is all there is to know of a cast.
                let _closed = self.lane.try_send(message).or_else(|refused| self.overflow(refused));
            }
        }
        Ok(sent)
    }

    fn overflow(&self, refused: Refused<Envelope<M>>) -> Result<(), CallError> {
        let message = match refused {
            Refused::Closed(message) => return Err(self.refuse(message)),
            Refused::Full(message) => message,
        };
        match self.lane.overflow {
            Overflow::Wait | Overflow::Fail => {
                discard(message, &CallError::MailboxFull);
                Err(CallError::MailboxFull)
            }
            Overflow::DropNewest => {
                self.drop_counted(message);
                Ok(())
            }
            Overflow::DropOldest => match self.lane.send_evicting(message) {
                Ok(None) => Ok(()),
                Ok(Some(oldest)) => {
                    self.drop_counted(oldest);
                    Ok(())
                }
                Err(Refused::Full(newest)) => {
                    self.drop_counted(newest);
                    Ok(())
                }
                Err(Refused::Closed(newest)) => Err(self.refuse(newest)),
            },
        }
    }

    /// The sender is not told; a call in the message is answered.
    pub(crate) fn drop_counted(&self, message: Envelope<M>) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        discard(message, &CallError::MailboxFull);
    }

    /// Tells those whose messages wait in a draining lane that they wait in vain, if that is so: see [`Lane::discard`].
    pub(crate) fn discard_rest(&self) {
        let waiting = self.lane.discard();
        let error = CallError::Gone(ExitReason::ShutdownWith(DRAINED_LATE.to_owned()));
        scope::answering(error, || drop(waiting));
    }

    /// As [`Mailbox::discard_rest`], for what came back since.
    pub(crate) fn discard_late(&self) {
        if self.lane.is_discarding() {
            self.discard_rest();
        }
    }

    fn refuse(&self, message: Envelope<M>) -> CallError {
        let error = self.closed_with();
        discard(message, &error);
        error
    }

    fn closed_with(&self) -> CallError {
        let closed_with = self.closed_with.lock().unwrap_or_else(PoisonError::into_inner).clone();
        closed_with.map_or(CallError::NoProc, |error| *error)
    }
}

/// Why an actor ended that handled all that waited for it.
pub(crate) const DRAINED: &str = "drained";
/// What those hear whose messages it had not got to in time.
const DRAINED_LATE: &str = "its drain took too long";

/// Drops `message`; a reply in it answers `error`.
fn discard<M>(message: M, error: &CallError) {
    scope::answering(error.clone(), || drop(message));
}

/// A mailbox without its message type, as the tree handles it.
pub(crate) trait AnyMailbox: Send + Sync {
    /// Refuses senders with `error` and answers it to every call that waits.
    fn close(&self, error: CallError);
    /// Takes messages again.
    fn reopen(&self);
    /// Refuses senders and keeps what waits. False where ractor keeps the messages.
    fn drain(&self) -> bool;
    /// Whether it refuses senders and keeps what waits.
    fn is_draining(&self) -> bool;
    /// The drain took too long: tells those who wait.
    fn discard(&self);
    /// Lets the running batch end after the message in hand.
    fn interrupt(&self);
    /// Wakes the incarnation that runs, if one does, to look at more than its messages.
    fn ring(&self);
    /// How many messages there are.
    fn depth(&self) -> usize;
    /// How many there may be; 0 where ractor keeps them.
    fn capacity(&self) -> usize;
    /// How many were handled since the system started.
    fn handled(&self) -> u64;
    /// How long handlers took since the system started.
    fn handler_time(&self) -> Duration;
    /// How many a drop policy discarded since the system started.
    fn dropped(&self) -> u64;
    /// For the way back to the message type.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<M: Send + 'static> AnyMailbox for Mailbox<M> {
    fn close(&self, error: CallError) {
        *self.closed_with.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(error.clone()));
        let waiting = self.lane.close();
        scope::answering(error, || drop(waiting));
    }

    fn reopen(&self) {
        self.lane.reopen();
    }

    fn drain(&self) -> bool {
        *self.closed_with.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(CallError::Draining));
        self.lane.drain();
        true
    }

    fn is_draining(&self) -> bool {
        self.lane.is_draining()
    }

    fn discard(&self) {
        self.discard_rest();
    }

    fn interrupt(&self) {
        self.lane.interrupt();
    }

    fn ring(&self) {
        self.lane.ring();
    }

    fn depth(&self) -> usize {
        self.lane.depth()
    }

    fn capacity(&self) -> usize {
        self.lane.capacity()
    }

    fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    fn handler_time(&self) -> Duration {
        Duration::from_nanos(self.handler_ns.load(Ordering::Relaxed))
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
