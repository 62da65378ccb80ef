//! What callers hold.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use covenant_types::{ActorPath, CallError, NodeName};

use crate::mailbox::Mailbox;
use crate::{Reply, deadline};

/// A path, and the node if it is another one: not a process. It survives restarts, and may be put into a message.
pub struct Ref<M: Send + 'static>(Place<M>);

enum Place<M: Send + 'static> {
    Here(Arc<Mailbox<M>>),
    Elsewhere { node: NodeName, path: ActorPath, outlet: Arc<dyn Outlet<M>> },
}

/// The way to an actor on another node. Implemented by remoting.
pub trait Outlet<M>: Send + Sync {
    /// Takes a message on its way. A [`Reply`] in it is answered within `deadline`, also when the connection breaks.
    fn send(
        &self,
        message: M,
        deadline: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>;
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
            Place::Elsewhere { outlet, .. } => outlet.send(message, None).await,
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
                let exchange = async {
                    outlet.send(message, Some(deadline)).await?;
                    answer.await
                };
                deadline::within(deadline, exchange).await
            }
        };
        ended.unwrap_or(Err(CallError::Timeout))
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
