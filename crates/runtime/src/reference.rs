//! What callers hold.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use covenant_types::{ActorPath, CallError, NodeName};

use crate::mailbox::Mailbox;
use crate::reply::Answer;
use crate::{Deadlines, Reply, deadline};

/// A path, and the node if it is another one: not a process. It survives restarts, and may be put into a message.
pub struct Ref<M: Send + 'static>(Place<M>);

enum Place<M: Send + 'static> {
    Here(Arc<Mailbox<M>>),
    Elsewhere { node: NodeName, path: ActorPath, outlet: Arc<dyn Outlet<M>> },
}

/// The way to an actor on another node. Implemented by remoting.
pub trait Outlet<M>: Send + Sync {
    /// Takes a message on its way. A [`Reply`] in it is answered within `deadline`, also when the connection breaks.
    fn send(&self, message: M, deadline: Option<Duration>) -> Sending;

    /// What keeps the deadlines of calls; without any each call has a timer of its own, which costs a system call.
    fn deadlines(&self) -> Option<&Deadlines> {
        None
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(result) => f.debug_tuple("Done").field(result).finish(),
            Self::Waits(_) => f.write_str("Waits"),
        }
    }
}

/// How far a message to another node has got.
#[must_use]
pub enum Sending {
    /// It is on its way, or will never be.
    Done(Result<(), CallError>),
    /// It has to wait for its turn.
    Waits(Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>),
}

impl Sending {
    async fn done(self) -> Result<(), CallError> {
        match self {
            Self::Done(result) => result,
            Self::Waits(turn) => turn.await,
        }
    }
}

impl<M: Send + 'static> Ref<M> {
    /// An actor on another node.
    pub fn remote(node: NodeName, path: ActorPath, outlet: Arc<dyn Outlet<M>>) -> Self {
        Self(Place::Elsewhere { node, path, outlet })
    }

    pub(crate) fn local(mailbox: Arc<Mailbox<M>>) -> Self {
        Self(Place::Here(mailbox))
    }

    /// Where the actor hangs in its node's tree.
    pub fn path(&self) -> &ActorPath {
        match &self.0 {
            Place::Here(mailbox) => mailbox.path(),
            Place::Elsewhere { path, .. } => path,
        }
    }

    /// The node, where it is another one.
    pub fn node(&self) -> Option<&NodeName> {
        match &self.0 {
            Place::Here(_) => None,
            Place::Elsewhere { node, .. } => Some(node),
        }
    }

    /// Sends `message`. A full mailbox does what its policy says; waiting ends after [`CAST_WAIT_MAX`].
    ///
    /// # Errors
    /// The message was not taken: the mailbox stayed full, or the actor ended for good. `Ok` says that it waits in the
    /// mailbox (or is on its way to another node), not that it was handled.
    pub async fn cast(&self, message: M) -> Result<(), CallError> {
        match &self.0 {
            Place::Here(mailbox) => match mailbox.try_push(message) {
                Ok(()) => Ok(()),
                Err(full) => {
                    deadline::within(CAST_WAIT_MAX, mailbox.push(full)).await.unwrap_or(Err(CallError::MailboxFull))
                }
            },
            Place::Elsewhere { outlet, .. } => outlet.send(message, None).done().await,
        }
    }

    /// Sends `message` if the mailbox has room now.
    ///
    /// # Errors
    /// The message was not taken, as in [`Ref::cast`]. To another node nothing can be sent without waiting: this is
    /// refused, use `cast`.
    pub fn try_cast(&self, message: M) -> Result<(), CallError> {
        match &self.0 {
            Place::Here(mailbox) => mailbox.push_now(message),
            Place::Elsewhere { .. } => {
                Err(CallError::Rejected("sending to another node may have to wait: use cast".to_owned()))
            }
        }
    }

    /// Asks, and waits for the answer until `deadline` has passed.
    ///
    /// # Errors
    /// Every call ends: in the reply, or in the [`CallError`] that says why there is none.
    pub async fn call<T: Send + 'static>(
        &self,
        message: impl FnOnce(Reply<T>) -> M,
        deadline: Duration,
    ) -> Result<T, CallError> {
        let (reply, answer) = Reply::channel();
        let message = message(reply);
        let ended = match &self.0 {
            Place::Here(mailbox) => match mailbox.try_push(message) {
                Ok(()) => mailbox.deadlines.within(deadline, answer).await,
                Err(full) => {
                    // Seldom, and large: every caller would have room for it.
                    let exchange = Box::pin(async {
                        mailbox.push(full).await?;
                        answer.await
                    });
                    mailbox.deadlines.within(deadline, exchange).await
                }
            },
            Place::Elsewhere { outlet, .. } => {
                let exchange = match outlet.send(message, Some(deadline)) {
                    Sending::Done(Ok(())) => Exchange::Sent(answer),
                    Sending::Done(Err(error)) => return Err(error),
                    Sending::Waits(turn) => Exchange::Waits(Box::pin(async move {
                        turn.await?;
                        answer.await
                    })),
                };
                match outlet.deadlines() {
                    Some(deadlines) => deadlines.within(deadline, exchange).await,
                    None => deadline::within(deadline, exchange).await,
                }
            }
        };
        ended.unwrap_or(Err(CallError::Timeout))
    }
}

/// What is left of a call to another node.
enum Exchange<T: Send> {
    Sent(Answer<T>),
    Waits(Pin<Box<dyn Future<Output = Result<T, CallError>> + Send>>),
}

impl<T: Send> Future for Exchange<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Sent(answer) => Pin::new(answer).poll(cx),
            Self::Waits(exchange) => exchange.as_mut().poll(cx),
        }
    }
}

/// How long a cast waits for room in a full mailbox. Two bounded actors that cast to each other would else wait for ever.
pub const CAST_WAIT_MAX: Duration = Duration::from_secs(5);

impl<M: Send + 'static> Clone for Ref<M> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Place::Here(mailbox) => Place::Here(Arc::clone(mailbox)),
            Place::Elsewhere { node, path, outlet } => {
                Place::Elsewhere { node: node.clone(), path: path.clone(), outlet: Arc::clone(outlet) }
            }
        })
    }
}

impl<M: Send + 'static> fmt::Debug for Ref<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node() {
            Some(node) => write!(f, "Ref({node}:{})", self.path()),
            None => write!(f, "Ref({})", self.path()),
        }
    }
}
