//! References as parts of messages between nodes.
//!
//! A reference crosses as a node and a path. One to an actor of the sender's own node names no node, because who sent it is
//! known; one to an actor of the receiver's node is a local one there.
//!
//! Invariants:
//! - A reference that came from another node opens nothing that this node could not send to itself: on the receiver's own
//!   node it leads to actors that are exposed to the sender, and to no other.
//! - Nothing is asked and nothing sent when one is read. Each message finds out.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use covenant_types::{ActorPath, CallError, NodeName};
use covenant_wire::{Describe, Schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

use crate::{Deadlines, Declared, Outlet, Ref, Remotable, RemoteSender, Reply, Sending, System, scope};

/// What this node knows that reads a message of another. Implemented by remoting.
pub trait Resolver: Send + Sync {
    /// This node.
    fn me(&self) -> &NodeName;

    /// The node that sent the message.
    fn sender(&self) -> &RemoteSender;

    /// The actors of this node, while it takes part.
    fn system(&self) -> Option<System>;

    /// The way to an actor of another node.
    fn way(&self, node: &NodeName, path: &ActorPath, message: Declared) -> Option<Arc<dyn Way>>;
}

/// The way to one actor of another node for messages that were taken apart already.
pub trait Way: Send + Sync {
    /// As [`Outlet::send`].
    fn send(&self, request: Box<dyn Encode>, reply: Option<Answered>, deadline: Option<Duration>) -> Sending;

    /// As [`Outlet::deadlines`].
    fn deadlines(&self) -> Option<&Deadlines>;
}

/// Takes the bytes of a response, or why there is none.
pub type Answered = Box<dyn FnOnce(Result<&[u8], CallError>) + Send>;

/// What has bytes for another node.
pub trait Encode: Send {
    /// Appends them.
    fn encode_into(&self, out: &mut Vec<u8>);
}

impl<T: Serialize + Send> Encode for T {
    fn encode_into(&self, out: &mut Vec<u8>) {
        covenant_wire::encode_into(self, out);
    }
}

thread_local! {
    static READING: RefCell<Option<Arc<dyn Resolver>>> = const { RefCell::new(None) };
}

/// While this lives, what is read on this thread came from the node of a [`Resolver`].
#[must_use]
pub struct Reading {
    before: Option<Arc<dyn Resolver>>,
    /// It belongs to this thread.
    here: PhantomData<*const ()>,
}

impl Reading {
    /// Begins to read what came from the resolver's node.
    pub fn from(resolver: &Arc<dyn Resolver>) -> Self {
        Self { before: READING.with(|reading| reading.replace(Some(Arc::clone(resolver)))), here: PhantomData }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let before = self.before.take();
        // A thread that is ending reads nothing any more.
        let _ending = READING.try_with(|reading| reading.replace(before));
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reading")
    }
}

impl<M: Send + 'static> Serialize for Ref<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.node(), self.path()).serialize(serializer)
    }
}

/// Fails outside of a message from another node.
impl<'de, M: Remotable> Deserialize<'de> for Ref<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (node, path) = <(Option<NodeName>, ActorPath)>::deserialize(deserializer)?;
        let resolver = READING.with(|reading| reading.borrow().clone());
        let resolver =
            resolver.ok_or_else(|| D::Error::custom("a reference outside of a message from another node"))?;
        Ok(resolve(resolver, node, path))
    }
}

impl<M: Remotable> Schema for Ref<M> {
    /// The name of what may be sent to it. Whether that is the same here and there is found out when it is sent.
    fn describe(to: &mut Describe<'_>) {
        to.word("covenant reference");
        to.word(M::NAME);
    }
}

fn resolve<M: Remotable>(resolver: Arc<dyn Resolver>, node: Option<NodeName>, path: ActorPath) -> Ref<M> {
    let node = node.unwrap_or_else(|| resolver.sender().name.clone());
    if node == *resolver.me() {
        let home = Home { resolver, path: path.clone() };
        return home.actor().unwrap_or_else(|_| Ref::remote(node, path, Arc::new(home)));
    }
    let message = Declared { name: M::NAME, schema: M::schema() };
    let way = resolver.way(&node, &path, message);
    Ref::remote(node, path, Arc::new(Abroad { way }))
}

/// An actor of this node that another node named and that cannot be reached yet, or not by that node.
struct Home {
    resolver: Arc<dyn Resolver>,
    path: ActorPath,
}

impl Home {
    /// The actor, where its path is exposed to who named it.
    fn actor<M: Remotable>(&self) -> Result<Ref<M>, CallError> {
        let system = self.resolver.system().ok_or(CallError::NoProc)?;
        let inlet = system.inlet(&self.path).ok_or(CallError::NoProc)?;
        let from = self.resolver.sender();
        if !inlet.callers().may_send(from) {
            let why = format!("not allowed: {} named {}, to which it may send nothing", from.name, self.path);
            return Err(CallError::Rejected(why));
        }
        system.lookup(&self.path)
    }
}

impl<M: Remotable> Outlet<M> for Home {
    fn send(&self, message: M, _: Option<Duration>) -> Sending {
        match self.actor::<M>() {
            Ok(actor) => Sending::Waits(Box::pin(async move { actor.cast(message).await })),
            Err(error) => {
                scope::answering(error.clone(), || drop(message));
                Sending::Done(Err(error))
            }
        }
    }
}

/// An actor of another node. `None` where this node's part in the cluster has ended.
struct Abroad {
    way: Option<Arc<dyn Way>>,
}

impl<M: Remotable> Outlet<M> for Abroad {
    fn send(&self, message: M, deadline: Option<Duration>) -> Sending {
        let Some(way) = &self.way else {
            scope::answering(CallError::NoConnection, || drop(message));
            return Sending::Done(Err(CallError::NoConnection));
        };
        let (request, reply) = message.into_remote();
        way.send(Box::new(request), reply.map(answered::<M>), deadline)
    }

    fn deadlines(&self) -> Option<&Deadlines> {
        self.way.as_ref()?.deadlines()
    }
}

/// What reads the response to a message for its caller.
pub fn answered<M: Remotable>(reply: Reply<M::Response>) -> Answered {
    Box::new(move |result| match result {
        Ok(response) => match covenant_wire::decode(response, covenant_wire::VALUE_BYTES_MAX) {
            Ok(response) => reply.send(response),
            Err(error) => reply.refuse(CallError::Rejected(format!("the response to {} is {error}", M::NAME))),
        },
        Err(error) => reply.refuse(error),
    })
}
