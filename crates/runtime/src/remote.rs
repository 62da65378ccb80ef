//! Messages that may cross to another node, and the way in for those that did.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use covenant_types::{CallError, NodeId, NodeName, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::mailbox::Mailbox;
use crate::{Reply, scope};

/// A message type, or part of one, that other nodes may send.
///
/// A message is taken apart into a request that has bytes and the reply that stays behind, and put together again on the
/// other side. [`Context::expose`](crate::Context::expose) opens an actor to it.
pub trait Remotable: Sized + Send + 'static {
    /// The type's name on the wire, unique in the cluster.
    const NAME: &'static str;
    /// What crosses.
    type Request: Serialize + DeserializeOwned + Send + 'static;
    /// What comes back.
    type Response: Serialize + DeserializeOwned + Send + 'static;

    /// Takes the message apart.
    fn into_remote(self) -> (Self::Request, Option<Reply<Self::Response>>);

    /// Puts it together. The request comes from another node: check it.
    ///
    /// # Errors
    /// The request makes no sense, such as a call without a reply. The text is told to the caller.
    fn from_remote(request: Self::Request, reply: Option<Reply<Self::Response>>) -> Result<Self, String>;
}

/// The node a message came from, as its certificate proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSender {
    /// Its identity.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// What it is there for.
    pub role: Role,
}

/// Takes the bytes of a response, or the error, back to the node that called.
pub type RemoteReply = Box<dyn FnOnce(Result<Vec<u8>, CallError>) + Send>;

/// The way into one exposed actor for messages from other nodes.
pub trait Inlet: Send + Sync {
    /// The name of the message type.
    fn name(&self) -> &'static str;

    /// Decodes a request and puts it into the mailbox. Never waits.
    ///
    /// A `reply` given to this is answered exactly once, whatever happens, also when this returns an error: then with
    /// that error.
    ///
    /// # Errors
    /// The payload is not a request of this type, or the mailbox did not take it. Nothing was done.
    fn deliver(&self, from: &RemoteSender, payload: &[u8], reply: Option<RemoteReply>) -> Result<(), CallError>;
}

/// The most bytes a request from another node may have.
pub const REMOTE_PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct MailboxInlet<M>(pub(crate) Arc<Mailbox<M>>);

impl<M: Remotable> Inlet for MailboxInlet<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn deliver(&self, from: &RemoteSender, payload: &[u8], reply: Option<RemoteReply>) -> Result<(), CallError> {
        let request = match covenant_wire::decode::<M::Request>(payload, REMOTE_PAYLOAD_BYTES_MAX) {
            Ok(request) => request,
            Err(error) => return reject(format!("{}: {error}", M::NAME), reply),
        };
        let reply = reply.map(|reply| {
            Reply::new(move |result: Result<M::Response, CallError>| {
                reply(result.map(|response| covenant_wire::encode(&response)));
            })
        });
        // The conversion is the behaviour's code on a stranger's data: a panic in it must not end the connection.
        let (message, orphans) = scope::collect(|| catch_unwind(AssertUnwindSafe(|| M::from_remote(request, reply))));
        let why = match message {
            Ok(Ok(message)) => {
                drop(orphans);
                return self.0.push_now(message);
            }
            Ok(Err(why)) => why,
            Err(_) => {
                tracing::error!(message = M::NAME, %from.name, "putting a remote message together panicked");
                "the request could not be read".to_owned()
            }
        };
        let error = CallError::Rejected(why);
        orphans.settle(&error);
        Err(error)
    }
}

fn reject(why: String, reply: Option<RemoteReply>) -> Result<(), CallError> {
    let error = CallError::Rejected(why);
    if let Some(reply) = reply {
        reply(Err(error.clone()));
    }
    Err(error)
}

impl fmt::Debug for dyn Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inlet({})", self.name())
    }
}
