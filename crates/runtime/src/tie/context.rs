//! How an actor ties itself to others.

use std::sync::Arc;

use covenant_types::{ActorPath, NodeName};

use super::book::{self, Bound, End, Far, TieId, Tied};
use super::far::{FarTie, NearEnd};
use super::{Down, DownReason, MonitorRef, Place, TooManyTies};
use crate::{Behaviour, Context};

impl<B: Behaviour> Context<B> {
    /// Watches an actor: its end is told to [`Behaviour::down`], exactly once. It is named by its path on this node, by a
    /// [`Ref`](crate::Ref), or by a node and a path.
    ///
    /// It watches the incarnation that runs now; between two it watches the next. Where nothing is at the path, or nothing
    /// will run there any more, this is told at once. The message is not bound by the mailbox, so it may overtake
    /// messages that wait. An actor that watches itself hears nothing.
    ///
    /// Of another node's actor it hears that there is [`NoConnection`](DownReason::NoConnection) when that node is given up,
    /// has started again, or is not connected now; not while it sleeps as it said it would, and not because the connection
    /// broke and came back.
    ///
    /// # Errors
    /// This incarnation has too many ties, or there are too many with that node.
    pub fn monitor(&self, whom: &impl Place) -> Result<MonitorRef, TooManyTies> {
        let (node, path) = whom.place();
        let id = self.system().next_tie();
        let monitor = MonitorRef(id);
        if let Some(node) = self.system().elsewhere(node) {
            let far = Far { node: node.clone(), path: path.clone(), end: None };
            self.tie_far(id, End::WatchesFar(far), FarTie::Monitor, node, path)?;
            return Ok(monitor);
        }
        let tied = match self.system().slot(path) {
            Some(target) if Arc::ptr_eq(&target, self.slot()) => Tied::Holds,
            Some(target) => book::monitor(self.slot(), self.bound(), &target, id)?,
            None if self.slot().with_ties(|ties| ties.has_room()) => Tied::AtOnce(DownReason::NoProc),
            None => return Err(TooManyTies),
        };
        if let Tied::AtOnce(reason) = tied {
            let down = Down { monitor: Some(monitor), node: None, path: path.clone(), incarnation: None, reason };
            book::tell_at_once(self.slot(), self.bound().attempt, down);
        }
        Ok(monitor)
    }

    /// Takes a monitor away: nothing is heard of it from here on, also where it had fired already.
    pub fn demonitor(&self, monitor: MonitorRef) {
        let end = self.slot().with_ties(|ties| {
            ties.forget_downs(|down| down.monitor == Some(monitor));
            ties.remove_monitor(monitor)
        });
        match end {
            Some(End::Watches(target)) => drop(target.with_ties(|ties| ties.remove(monitor.0))),
            Some(End::WatchesFar(far)) => far.end.into_iter().for_each(|end| end.untied()),
            Some(End::WatchedBy(_) | End::Linked(_) | End::LinkedFar(_)) | None => {}
        }
    }

    /// Links this incarnation with an actor, named as in [`Context::monitor`]: an end of one that is not `normal` ends the
    /// other with the same reason, without its `stop`. So does `shutdown`, and then nothing is reported as a crash. Linking
    /// twice, or with oneself, changes nothing.
    ///
    /// Between two incarnations the link is with the next. Where no actor is at the path, or one that ended for good and not
    /// with `normal`, this incarnation ends at once. See [`Context::trap_exits`] for hearing of exits instead.
    ///
    /// An actor of another node has to allow it, see [`Callers::ended_by`](crate::Callers::ended_by). Where that node is given
    /// up, both ends hear `NoConnection`.
    ///
    /// # Errors
    /// One of the two has too many ties, or there are too many with that node.
    pub fn link(&self, whom: &impl Place) -> Result<(), TooManyTies> {
        let (node, path) = whom.place();
        let id = self.system().next_tie();
        if let Some(node) = self.system().elsewhere(node) {
            let attempt = self.bound().attempt;
            if self.slot().with_ties(|ties| ties.far_link_with(attempt, node, path)).is_some() {
                return Ok(());
            }
            let far = Far { node: node.clone(), path: path.clone(), end: None };
            let tie = FarTie::Link { from: self.path().clone(), incarnation: self.incarnation() };
            return self.tie_far(id, End::LinkedFar(far), tie, node, path);
        }
        let tied = match self.system().slot(path) {
            Some(target) if Arc::ptr_eq(&target, self.slot()) => Tied::Holds,
            Some(target) => book::link(self.slot(), self.bound(), &target, id)?,
            None if self.slot().with_ties(|ties| ties.has_room()) => Tied::AtOnce(DownReason::NoProc),
            None => return Err(TooManyTies),
        };
        if let Tied::AtOnce(reason) = tied {
            let down = Down { monitor: None, node: None, path: path.clone(), incarnation: None, reason };
            book::exit_signal(self.slot(), &self.bound(), down);
        }
        Ok(())
    }

    /// Takes the link with an actor away, for both. An exit that came before is not told any more, unless it is already
    /// ending this actor.
    pub fn unlink(&self, whom: &impl Place) {
        let (node, path) = whom.place();
        let node = self.system().elsewhere(node);
        let end = self.slot().with_ties(|ties| {
            ties.forget_downs(|down| down.monitor.is_none() && down.path == *path && down.node.as_ref() == node);
            let attempt = self.bound().attempt;
            let id = match node {
                Some(node) => ties.far_link_with(attempt, node, path)?,
                None => ties.link_with(attempt, path)?,
            };
            Some((id, ties.remove(id)?))
        });
        match end {
            Some((id, End::Linked(other))) => drop(other.with_ties(|ties| ties.remove(id))),
            Some((_, End::LinkedFar(far))) => far.end.into_iter().for_each(|end| end.untied()),
            Some((_, End::Watches(_) | End::WatchedBy(_) | End::WatchesFar(_))) | None => {}
        }
    }

    /// Whether an exit of a linked actor is told to [`Behaviour::down`] instead of ending this one. Then `normal`
    /// exits are told as well. It holds for this incarnation.
    pub fn trap_exits(&self, trap: bool) {
        self.slot().with_ties(|ties| ties.trap(self.bound().attempt, trap));
    }

    fn tie_far(&self, id: TieId, end: End, tie: FarTie, node: &NodeName, path: &ActorPath) -> Result<(), TooManyTies> {
        self.slot().with_ties(|ties| ties.insert_far(id, self.bound(), end))?;
        let near = NearEnd::new(self.slot(), id);
        let Some(abroad) = self.system().abroad() else {
            near.fire(None, DownReason::NoConnection);
            return Ok(());
        };
        let far = abroad.tie(node, path, tie, near).inspect_err(|_| {
            drop(self.slot().with_ties(|ties| ties.remove(id)));
        })?;
        if !self.slot().with_ties(|ties| ties.set_far(id, Arc::clone(&far))) {
            // It fired meanwhile, and then this is nothing to anybody; or this incarnation ended under our hands.
            far.ended(Some(self.incarnation()), &DownReason::Exited(self.notice().reason()));
        }
        Ok(())
    }

    /// This incarnation, as one end of a tie.
    fn bound(&self) -> Bound {
        self.notice().bound(self.incarnation())
    }
}
