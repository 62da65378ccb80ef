//! Names and groups of this node's actors.
//!
//! # Intuition
//! An actor says what it is called, or which groups it is in; others ask for the name and not for the path. What an actor
//! said holds for its path until the actor ends for good: the next incarnation after a crash says it again in its `start`
//! and nobody notices, and what it does not say again is forgotten. A node that is part of a cluster tells the others
//! (`covenant-cluster`), and asks them before it gives a name away.
//!
//! # Invariants
//! - A name belongs to one path of this node at a time.
//! - What is entered under a path is taken away when the path's actor ends for good, and when an incarnation has started
//!   that did not enter it again.
//! - A node has at most [`ENTRIES_MAX`] entries.

mod book;
mod context;
mod group;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use covenant_types::{ActorPath, CallError, ExitReason, Name, NameError, Scope, StartAttempt};

pub(crate) use book::Book;
use book::Refusal;
pub use group::{Broadcast, Group, GroupMember};

use crate::{Exit, Ref, StartError, System};

/// The most names and memberships the actors of one node have in all.
pub const ENTRIES_MAX: usize = 16 * 1024;
/// The most names and memberships one actor has.
pub const ENTRIES_PER_ACTOR_MAX: usize = 256;

/// What the actors of a node have said of themselves, as the cluster tells it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Names that other nodes are told, with the paths they belong to.
    pub names: Vec<(Name, ActorPath)>,
    /// Memberships that other nodes are told: never [`Scope::Local`] ones.
    pub members: Vec<(Name, Scope, ActorPath)>,
}

/// What the names of a node need of the other nodes. Implemented by the cluster. Both return at once.
pub trait OtherNodes: Send + Sync {
    /// Who has the name on another node, as people read it: `hub-africa:/printer`.
    fn holder(&self, name: &Name) -> Option<String>;
    /// The entries of this node are others now.
    fn changed(&self);
}

/// Names and groups of one system.
#[derive(Default)]
pub(crate) struct Names {
    book: Mutex<Book>,
    others: RwLock<Option<Arc<dyn OtherNodes>>>,
}

impl Names {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the other nodes, outside the lock of the book.
    fn tell(&self, changed: bool) {
        let others = self.others();
        if let Some(others) = others.filter(|_| changed) {
            others.changed();
        }
    }

    fn others(&self) -> Option<Arc<dyn OtherNodes>> {
        self.others.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn register(&self, name: &Name, path: &ActorPath, attempt: StartAttempt, told: bool) -> Result<(), NotEntered> {
        if told
            && !self.book().has_name(name, path)
            && let Some(holder) = self.others().and_then(|others| others.holder(name))
        {
            return Err(NotEntered::Taken { name: name.clone(), holder });
        }
        let changed = self.book().register(name, path, attempt, told).map_err(|refusal| refused(name, refusal))?;
        self.tell(changed);
        Ok(())
    }

    fn join(&self, group: &Name, scope: Scope, path: &ActorPath, attempt: StartAttempt) -> Result<(), NotEntered> {
        let changed = self.book().join(group, scope, path, attempt).map_err(|refusal| refused(group, refusal))?;
        self.tell(changed);
        Ok(())
    }

    fn unregister(&self, name: &Name, path: &ActorPath) {
        let changed = self.book().unregister(name, path);
        self.tell(changed);
    }

    fn leave(&self, group: &Name, path: &ActorPath) {
        let changed = self.book().leave(group, path);
        self.tell(changed);
    }

    /// `attempt` has started: what earlier ones said and it did not is forgotten.
    pub(crate) fn started(&self, path: &ActorPath, attempt: StartAttempt) {
        let changed = self.book().started(path, attempt);
        self.tell(changed);
    }

    /// The actor at `path` has ended for good.
    pub(crate) fn closed(&self, path: &ActorPath) {
        let changed = self.book().closed(path);
        self.tell(changed);
    }
}

impl System {
    /// Whose name this is on this node.
    pub fn named(&self, name: &Name) -> Option<ActorPath> {
        self.names().book().named(name).cloned()
    }

    /// The actor of this node that has this name. In a cluster ask the cluster, which knows the names of all nodes.
    ///
    /// # Errors
    /// [`CallError::NoProc`] where nobody has the name, `Rejected` where the text is no name, or the actor's messages are of
    /// another type.
    pub fn whereis<M: Send + 'static>(&self, name: &str) -> Result<Ref<M>, CallError> {
        let name = Name::new(name).map_err(|error| CallError::Rejected(error.to_string()))?;
        self.lookup(&self.named(&name).ok_or(CallError::NoProc)?)
    }

    /// The actors of this node that are in `group`, by path, with the scope each joined with.
    pub fn group_paths(&self, group: &Name) -> Vec<(ActorPath, Scope)> {
        self.names().book().members(group)
    }

    /// The actors of this node that are in `group` and take messages of type `M`. In a cluster ask the cluster.
    ///
    /// # Errors
    /// The text is no name.
    pub fn group<M: Send + 'static>(&self, group: &str) -> Result<Group<M>, NameError> {
        let name = Name::new(group)?;
        let members = self.group_paths(&name).into_iter().filter_map(|(path, _)| {
            let reference = self.lookup(&path).ok()?;
            Some(GroupMember { node: None, path, stale: false, reference })
        });
        Ok(Group::new(name, members.collect(), 0))
    }

    /// What other nodes are to know of names and groups.
    pub fn entries(&self) -> Entries {
        self.names().book().entries()
    }

    /// Sets whom the names of this node are told to; `None` for nobody.
    pub fn set_other_nodes(&self, others: Option<Arc<dyn OtherNodes>>) {
        let before =
            std::mem::replace(&mut *self.names().others.write().unwrap_or_else(PoisonError::into_inner), others);
        drop(before);
        self.names().tell(true);
    }

    /// Another node's actor has this name, and the one at `path` of this node loses it: its incarnation ends with
    /// `NameConflict`, which no budget counts. Nothing happens where it does not have the name any more.
    pub fn lose_name(&self, name: &Name, path: &ActorPath, winner: &str) {
        let Some(attempt) = self.names().book().lose(name, path) else { return };
        tracing::warn!(%name, %path, winner, "another actor has the name; this one ends");
        self.end_attempt(path, attempt, ExitReason::NameConflict(winner.to_owned()));
        self.names().tell(true);
    }

    /// Ends what runs at `path` with `reason`, if it is still `attempt`.
    fn end_attempt(&self, path: &ActorPath, attempt: StartAttempt, reason: ExitReason) {
        let running = self.slot(path).and_then(|slot| slot.running()).filter(|running| running.attempt == attempt);
        if let Some(notice) = running.and_then(|running| running.notice.upgrade()) {
            notice.end_with(reason);
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

fn refused(name: &Name, refusal: Refusal) -> NotEntered {
    match refusal {
        Refusal::Taken(path) => NotEntered::Taken { name: name.clone(), holder: path.to_string() },
        Refusal::ActorFull => NotEntered::ActorFull,
        Refusal::NodeFull => NotEntered::NodeFull,
    }
}

/// Why an actor has a name not, or is not in a group. Nothing was entered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotEntered {
    /// The text is no name.
    #[error(transparent)]
    NoName(#[from] NameError),
    /// Another actor has the name. In `start` pass it on: the supervisor tries again later, and does not count it.
    #[error("{holder} has the name {name}")]
    Taken {
        /// The name.
        name: Name,
        /// Who has it: a path of this node, or `node:/path`.
        holder: String,
    },
    /// This actor has as many as it may.
    #[error("an actor has at most {ENTRIES_PER_ACTOR_MAX} names and groups")]
    ActorFull,
    /// This node's actors have as many as they may.
    #[error("the actors of a node have at most {ENTRIES_MAX} names and groups")]
    NodeFull,
}

impl From<NotEntered> for StartError {
    fn from(error: NotEntered) -> Self {
        match error {
            NotEntered::Taken { holder, .. } => Self::NameTaken(holder),
            other @ (NotEntered::NoName(_) | NotEntered::ActorFull | NotEntered::NodeFull) => Self::failed(other),
        }
    }
}

impl From<NotEntered> for Exit {
    fn from(error: NotEntered) -> Self {
        match error {
            NotEntered::Taken { holder, .. } => Self(ExitReason::NameConflict(holder)),
            other @ (NotEntered::NoName(_) | NotEntered::ActorFull | NotEntered::NodeFull) => Self::error(other),
        }
    }
}
