//! The caller's end of a call, held by the message.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use covenant_types::CallError;
use tokio::sync::oneshot;

use crate::scope;

/// Answers one call. Dropping it answers [`CallError::Gone`], so that no caller waits for ever.
///
/// It may be kept in the behaviour's state or given to a task and used later.
pub struct Reply<T: Send + 'static>(Option<To<T>>);

enum To<T> {
    Near(oneshot::Sender<Result<T, CallError>>),
    Far(Box<dyn FnOnce(Result<T, CallError>) + Send>),
}

impl<T> To<T> {
    fn answer(self, result: Result<T, CallError>) {
        match self {
            // The caller may have given up: its deadline passed, or it ended. Then nobody wants the answer.
            Self::Near(sender) => drop(sender.send(result)),
            Self::Far(answer) => answer(result),
        }
    }
}

impl<T: Send + 'static> Reply<T> {
    /// A reply that is given to `answer`, exactly once. For remoting.
    pub fn new(answer: impl FnOnce(Result<T, CallError>) + Send + 'static) -> Self {
        Self(Some(To::Far(Box::new(answer))))
    }

    pub(crate) fn channel() -> (Self, Answer<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(To::Near(sender))), Answer(receiver))
    }

    /// Answers the call.
    pub fn send(self, value: T) {
        self.answer(Ok(value));
    }

    /// Answers the call with an error.
    pub fn refuse(self, error: CallError) {
        self.answer(Err(error));
    }

    fn answer(mut self, result: Result<T, CallError>) {
        if let Some(to) = self.0.take() {
            to.answer(result);
        }
    }
}

/// What a caller waits for.
pub(crate) struct Answer<T>(oneshot::Receiver<Result<T, CallError>>);

impl<T> Future for Answer<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A reply answers even when it is dropped; only a leaked one never does, and then the deadline ends the call.
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(CallError::Timeout)))
    }
}

impl<T: Send + 'static> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(to) = self.0.take() {
            scope::orphaned(move |error| to.answer(Err(error)));
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}
