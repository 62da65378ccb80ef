//! Messages that may cross to another node, and the way in for those that did.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use covenant_types::{CallError, NodeId, NodeName, Region, Role, TraceId};
use covenant_wire::SchemaHash;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::mailbox::{Envelope, Mailbox};
use crate::{Callers, Reply, scope};

/// A message type, or part of one, that other nodes may send.
///
/// A message is taken apart into a request that has bytes and the reply that stays behind, and put together again on the
/// other side. [`Context::expose`](crate::Context::expose) opens an actor to it. `#[derive(Remotable)]` writes this for an enum
/// whose calls have a [`Reply`] field.
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

    /// What the type looks like. Nodes for which it differs do not read each other's messages of this type. Unless said
    /// otherwise it follows from the name alone: say [`SchemaHash::exchange`] where request and response are
    /// [`Schema`](crate::Schema).
    fn schema() -> SchemaHash {
        SchemaHash::message(Self::NAME, |_| {})
    }
}

/// A message type as two nodes compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it looks like.
    pub schema: SchemaHash,
}

/// The most message types that a node tells others of. Those beyond are compared when a message of theirs is sent.
pub const DECLARED_MAX: usize = 512;

/// The node a message came from, as its certificate proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSender {
    /// Its identity.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// What it is there for.
    pub role: Role,
    /// Where it stands.
    pub region: Region,
}

/// Takes the bytes of a response, or the error, back to the node that called.
pub type RemoteReply = Box<dyn FnOnce(Result<Vec<u8>, CallError>) + Send>;

/// The way into one exposed actor for messages from other nodes.
pub trait Inlet: Send + Sync {
    /// The name of the message type.
    fn name(&self) -> &'static str;

    /// What the message type looks like here.
    fn schema(&self) -> SchemaHash;

    /// Who may use this way. To be asked before anything is delivered.
    fn callers(&self) -> &Callers;

    /// Decodes a request and puts it into the mailbox. Never waits.
    ///
    /// A `reply` given to this is answered exactly once, whatever happens, also when this returns an error: then with
    /// that error.
    ///
    /// # Errors
    /// The payload is not a request of this type, or the mailbox did not take it. Nothing was done.
    fn deliver(&self, from: &RemoteSender, payload: &[u8], reply: Option<RemoteReply>) -> Result<(), CallError>;

    /// A new and empty lobby before this actor's mailbox.
    fn lobby(&self) -> Box<dyn Lobby>;
}

/// Where the casts of one sender gather before a mailbox, decoded and in order. They enter it many at a time, and what finds
/// no room waits here.
///
/// It has no bound: whoever adds to it has one.
pub trait Lobby: Send {
    /// Decodes a request that wants no reply, and puts it behind the others. `cost` is what it comes to while it waits.
    ///
    /// # Errors
    /// The payload is not a request of this type, or wants a reply. Nothing was added.
    fn add(&mut self, from: &RemoteSender, payload: &[u8], trace: Option<TraceId>, cost: u32) -> Result<(), CallError>;

    /// Lets in as many as there is room for, in order and in one step. Where some are left, `room` is woken once when there
    /// may be room.
    fn enter(&mut self, room: &Waker) -> Entered;

    /// How many wait.
    fn len(&self) -> usize;

    /// Whether none waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of messages in a [`Lobby`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// The cost of all that wait no more.
    pub cost: u64,
    /// How many of them did not get in, and why. The mailbox is closed then, and none waits.
    pub refused: Option<(usize, CallError)>,
}

/// The most bytes a request from another node may have.
pub const REMOTE_PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct MailboxInlet<M> {
    pub(crate) mailbox: Arc<Mailbox<M>>,
    pub(crate) callers: Callers,
}

impl<M: Remotable> Inlet for MailboxInlet<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn schema(&self) -> SchemaHash {
        M::schema()
    }

    fn callers(&self) -> &Callers {
        &self.callers
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
        let error = match message {
            Ok(Ok(message)) => {
                drop(orphans);
                return self.mailbox.push_now(message);
            }
            Ok(Err(why)) => CallError::Rejected(why),
            Err(_) => panicked::<M>(from),
        };
        orphans.settle(&error);
        Err(error)
    }

    fn lobby(&self) -> Box<dyn Lobby> {
        let mailbox = Arc::clone(&self.mailbox);
        Box::new(MailboxLobby { mailbox, waiting: VecDeque::new(), costs: VecDeque::new() })
    }
}

/// The lobby before a mailbox.
struct MailboxLobby<M> {
    mailbox: Arc<Mailbox<M>>,
    waiting: VecDeque<Envelope<M>>,
    /// Of each that waits.
    costs: VecDeque<u32>,
}

impl<M: Remotable> Lobby for MailboxLobby<M> {
    fn add(&mut self, from: &RemoteSender, payload: &[u8], trace: Option<TraceId>, cost: u32) -> Result<(), CallError> {
        let request = match covenant_wire::decode::<M::Request>(payload, REMOTE_PAYLOAD_BYTES_MAX) {
            Ok(request) => request,
            Err(error) => return Err(CallError::Rejected(format!("{}: {error}", M::NAME))),
        };
        // As in `deliver`, but for replies: it brings none that could be dropped.
        match catch_unwind(AssertUnwindSafe(|| M::from_remote(request, None))) {
            Ok(Ok(message)) => {
                self.waiting.push_back(Envelope { message, trace });
                self.costs.push_back(cost);
                Ok(())
            }
            Ok(Err(why)) => Err(CallError::Rejected(why)),
            Err(_) => Err(panicked::<M>(from)),
        }
    }

    fn enter(&mut self, room: &Waker) -> Entered {
        let mut entered = self.try_enter();
        if !self.waiting.is_empty() {
            self.mailbox.lane.wake_when_half_free(room);
            let again = self.try_enter(); // there may have been room before the waker was there
            entered.cost += again.cost;
            entered.refused = entered.refused.or(again.refused);
        }
        entered
    }

    fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl<M: Remotable> MailboxLobby<M> {
    fn try_enter(&mut self) -> Entered {
        let all = self.waiting.len();
        let (gone, refused) = match self.mailbox.push_many(&mut self.waiting) {
            Ok(entered) => (entered, None),
            Err(error) => (all, (all > 0).then_some((all, error))),
        };
        Entered { cost: self.costs.drain(..gone).map(u64::from).sum(), refused }
    }
}

fn panicked<M: Remotable>(from: &RemoteSender) -> CallError {
    tracing::error!(message = M::NAME, %from.name, "putting a remote message together panicked");
    CallError::Rejected("the request could not be read".to_owned())
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
