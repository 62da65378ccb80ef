//! What the author of a node says is exposed, and in which words clients speak to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use covenant_runtime::{Ref, Reply, System};
use covenant_types::{ActorPath, CallError};
use ractor::RpcReplyPort;
use ractor::message::SerializedMessage;
use ractor_cluster::BytesConvertable;

use crate::members::{Handed, Inlet};

/// What one node shows to clients. A type without values: the tree names it by the [`Bridge`](crate::Bridge) of it.
pub trait Edge: Send + Sync + 'static {
    /// Says what is exposed. Called whenever the bridge starts.
    ///
    /// # Errors
    /// There is no such actor, or there are too many members. The bridge does not start then.
    fn expose(members: &mut Members<'_>) -> Result<(), ExposeError>;
}

/// The members of process groups that clients will find.
#[derive(Debug)]
pub struct Members<'a> {
    system: &'a System,
    exposed: Vec<Exposed>,
}

/// One behaviour as one member of one group.
pub(crate) struct Exposed {
    pub(crate) group: String,
    pub(crate) path: ActorPath,
    pub(crate) inlet: Arc<dyn Inlet>,
}

/// The most members.
pub const MEMBERS_MAX: usize = 32;

impl<'a> Members<'a> {
    pub(crate) fn new(system: &'a System) -> Self {
        Self { system, exposed: Vec::new() }
    }

    /// Exposes the behaviour at `path`, whose messages are `M`, as a member of the process group `group`.
    ///
    /// Clients send it `P`, which they and this node know alike: derive `RactorClusterMessage` for it. `translate` makes of it
    /// what the behaviour understands; [`answer`] makes a [`Reply`] of a port for a reply. It is called once for each message,
    /// and must not wait.
    ///
    /// # Errors
    /// See [`ExposeError`].
    pub fn add<P, M>(
        &mut self,
        group: &str,
        path: &str,
        translate: impl Fn(P) -> M + Send + Sync + 'static,
    ) -> Result<&mut Self, ExposeError>
    where
        P: ractor::Message,
        M: Send + 'static,
    {
        if self.exposed.len() >= MEMBERS_MAX {
            return Err(ExposeError::TooMany);
        }
        if group.is_empty() || group.len() > GROUP_BYTES_MAX {
            return Err(ExposeError::Group(group.len()));
        }
        let parsed: ActorPath = path.parse().map_err(|_| ExposeError::NotAPath(path.to_owned()))?;
        let actor =
            self.system.lookup::<M>(&parsed).map_err(|source| ExposeError::NoActor { path: parsed.clone(), source })?;
        let inlet = Arc::new(Translated { actor, translate, of: std::marker::PhantomData::<fn(P)> });
        self.exposed.push(Exposed { group: group.to_owned(), path: parsed, inlet });
        Ok(self)
    }

    pub(crate) fn into_exposed(self) -> Vec<Exposed> {
        self.exposed
    }
}

/// The longest name of a group, in bytes.
const GROUP_BYTES_MAX: usize = 256;

/// Why a behaviour cannot be exposed. The bridge does not start; correct what is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExposeError {
    /// There are [`MEMBERS_MAX`] members already.
    #[error("more than {MEMBERS_MAX} members")]
    TooMany,
    /// The name of the group is empty or too long.
    #[error("the name of a group has 1 to {GROUP_BYTES_MAX} bytes, and not {0}")]
    Group(usize),
    /// This is no path.
    #[error("{0:?} is not the path of an actor")]
    NotAPath(String),
    /// The tree has no such actor, or its messages are of another type.
    #[error("{path} cannot be exposed")]
    NoActor {
        /// Where it was looked for.
        path: ActorPath,
        /// What was found.
        source: CallError,
    },
}

/// A [`Reply`] that answers the client's call in `words`.
///
/// A `ractor_cluster` client has no word for a call that failed: without an answer it waits until its time is over, for ever
/// where it named none. So every end of the call is put into `words`, also that the mailbox is full or the actor gone.
pub fn answer<T, W>(port: RpcReplyPort<W>, words: impl FnOnce(Result<T, CallError>) -> W + Send + 'static) -> Reply<T>
where
    T: Send + 'static,
    W: BytesConvertable + Send + 'static,
{
    // Where the session has ended meanwhile nobody waits for it.
    Reply::new(move |result| drop(port.send(words(result))))
}

/// A behaviour behind the words of its clients.
struct Translated<P, M: Send + 'static, F> {
    actor: Ref<M>,
    translate: F,
    of: std::marker::PhantomData<fn(P)>,
}

impl<P, M, F> Inlet for Translated<P, M, F>
where
    P: ractor::Message,
    M: Send + 'static,
    F: Fn(P) -> M + Send + Sync,
{
    fn hand(&self, message: SerializedMessage) -> Option<Handed> {
        let is_call = matches!(message, SerializedMessage::Call { .. });
        // ractor's own decoders of numbers and texts panic on bytes that are none.
        let read = AssertUnwindSafe(|| P::deserialize(message).ok().map(&self.translate));
        let message = catch_unwind(read).ok().flatten()?;
        if is_call {
            // What finds no room is dropped, and its reply then says so.
            return Some(Handed::Now(self.actor.try_cast(message)));
        }
        let actor = self.actor.clone();
        Some(Handed::Waits(Box::pin(async move { actor.cast(message).await })))
    }
}

impl std::fmt::Debug for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {:?}", self.path, self.group)
    }
}
