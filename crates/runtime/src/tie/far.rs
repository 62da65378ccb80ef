//! Ties with actors of other nodes.
//!
//! Each end of such a tie is in the book of its own actor, as a [`FarEnd`] that remoting carries to the other node. What
//! comes from there is told through a [`NearEnd`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use covenant_types::{ActorPath, CallError, Incarnation, NodeName};

use super::book::{self, TieId};
use super::{Down, DownReason, TooManyTies};
use crate::System;
use crate::slot::Slot;

/// The other end of a tie, on another node: told what happens at this one. No lock is held then. Implemented by remoting.
pub trait FarEnd: Send + Sync {
    /// The tie waited for the next incarnation here, and this is it.
    fn bound(&self, incarnation: Incarnation);

    /// What is tied here has ended; the tie is over. `None` where none ran.
    fn ended(&self, incarnation: Option<Incarnation>, reason: &DownReason);

    /// The tie was taken away here; it is over.
    fn untied(&self);
}

/// What a tie with another node's actor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FarTie {
    /// It hears of the end there.
    Monitor,
    /// Each ends with the other; this is the one here.
    Link {
        /// Its path.
        from: ActorPath,
        /// Its incarnation.
        incarnation: Incarnation,
    },
}

/// What is asked of an actor of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FarOrder {
    /// To end in order.
    Stop,
    /// To end at its next `.await`.
    Kill,
}

/// How an order to another node ended.
pub type Ordered = Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>;

/// The way to actors of other nodes for ties and orders, lent to a system by [`System::set_abroad`]. Implemented by remoting.
pub trait Abroad: Send + Sync {
    /// This node.
    fn me(&self) -> NodeName;

    /// Ties `near` to the actor at `path` of `node`. `near` is told what happens there, perhaps before this returns.
    ///
    /// # Errors
    /// There are too many ties with that node. `near` is not told.
    fn tie(
        &self,
        node: &NodeName,
        path: &ActorPath,
        tie: FarTie,
        near: NearEnd,
    ) -> Result<Arc<dyn FarEnd>, TooManyTies>;

    /// Asks for the end of the actor at `path` of `node`. It resolves when that has ended.
    fn order(&self, node: &NodeName, path: &ActorPath, order: FarOrder, within: Duration) -> Ordered;
}

/// This node's end of a tie with another node's actor.
pub struct NearEnd {
    slot: Arc<Slot>,
    id: TieId,
}

impl NearEnd {
    pub(super) fn new(slot: &Arc<Slot>, id: TieId) -> Self {
        Self { slot: Arc::clone(slot), id }
    }

    /// The other end has ended, or is given up. Changes nothing where the tie is over.
    pub fn fire(self, incarnation: Option<Incarnation>, reason: DownReason) {
        book::fire_far(&self.slot, self.id, incarnation, reason);
    }

    /// The tie is taken away, without a word.
    pub fn untie(self) {
        drop(self.slot.with_ties(|ties| ties.remove(self.id)));
    }
}

impl fmt::Debug for NearEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NearEnd({} #{})", self.slot.path, self.id)
    }
}

impl System {
    /// Ties the actor at `path` to one of another node: `far` hears what happens to it. Returns which incarnation it is tied
    /// to, where one runs.
    ///
    /// # Errors
    /// Nothing is or will be there, and this is why.
    pub fn tie_far(
        &self,
        path: &ActorPath,
        node: &NodeName,
        tie: FarTie,
        far: Arc<dyn FarEnd>,
    ) -> Result<(NearEnd, Option<Incarnation>), DownReason> {
        let slot = self.slot(path).ok_or(DownReason::NoProc)?;
        let id = self.next_tie();
        let incarnation = book::tie_far(&slot, id, node, tie, far)?;
        Ok((NearEnd { slot, id }, incarnation))
    }

    /// Lends the way to other nodes, or takes it back.
    pub fn set_abroad(&self, abroad: Option<Arc<dyn Abroad>>) {
        self.abroad_cell().store(abroad.map(Arc::new));
    }

    pub(crate) fn abroad(&self) -> Option<Arc<dyn Abroad>> {
        self.abroad_cell().load_full().map(|abroad| (*abroad).clone())
    }

    /// The node that is named, where that is not this one.
    pub(crate) fn elsewhere<'a>(&self, node: Option<&'a NodeName>) -> Option<&'a NodeName> {
        node.filter(|node| self.abroad().is_none_or(|abroad| abroad.me() != **node))
    }
}

/// What is told to who is tied to an actor of another node.
pub(super) fn down(
    monitor: Option<super::MonitorRef>,
    node: &NodeName,
    path: &ActorPath,
    incarnation: Option<Incarnation>,
    reason: DownReason,
) -> Down {
    Down { monitor, node: Some(node.clone()), path: path.clone(), incarnation, reason }
}
