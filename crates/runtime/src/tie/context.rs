//! How an actor ties itself to others.

use std::sync::Arc;

use covenant_types::ActorPath;

use super::book::{self, Bound, End, Tied};
use super::{Down, DownReason, MonitorRef, TooManyTies};
use crate::{Behaviour, Context};

impl<B: Behaviour> Context<B> {
    /// Watches the actor at `path` of this node: its end is told to [`Behaviour::down`], exactly once.
    ///
    /// It watches the incarnation that runs now; between two it watches the next. Where nothing is at `path`, or nothing
    /// will run there any more, this is told at once. The message is not bound by the mailbox, so it may overtake
    /// messages that wait. An actor that watches itself hears nothing.
    ///
    /// # Errors
    /// This incarnation has too many ties.
    pub fn monitor(&self, path: &ActorPath) -> Result<MonitorRef, TooManyTies> {
        let id = self.system().next_tie();
        let monitor = MonitorRef(id);
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
        let target = self.slot().with_ties(|ties| {
            ties.forget_downs(|down| down.monitor == Some(monitor));
            ties.remove_monitor(monitor)
        });
        if let Some(target) = target {
            drop(target.with_ties(|ties| ties.remove(monitor.0)));
        }
    }

    /// Links this incarnation with the actor at `path` of this node: an end of one that is not `normal` ends the other with
    /// the same reason, without its `stop`. So does `shutdown`, and then nothing is reported as a crash. Linking twice, or
    /// with oneself, changes nothing.
    ///
    /// Between two incarnations the link is with the next. Where no actor is at `path`, or one that ended for good and not
    /// with `normal`, this incarnation ends at once. See [`Context::trap_exits`] for hearing of exits instead.
    ///
    /// # Errors
    /// One of the two has too many ties.
    pub fn link(&self, path: &ActorPath) -> Result<(), TooManyTies> {
        let tied = match self.system().slot(path) {
            Some(target) if Arc::ptr_eq(&target, self.slot()) => Tied::Holds,
            Some(target) => book::link(self.slot(), self.bound(), &target, self.system().next_tie())?,
            None if self.slot().with_ties(|ties| ties.has_room()) => Tied::AtOnce(DownReason::NoProc),
            None => return Err(TooManyTies),
        };
        if let Tied::AtOnce(reason) = tied {
            let down = Down { monitor: None, node: None, path: path.clone(), incarnation: None, reason };
            book::exit_signal(self.slot(), &self.bound(), down);
        }
        Ok(())
    }

    /// Takes the link with the actor at `path` away, for both. An exit that came before is not told any more, unless it
    /// is already ending this actor.
    pub fn unlink(&self, path: &ActorPath) {
        let end = self.slot().with_ties(|ties| {
            ties.forget_downs(|down| down.monitor.is_none() && down.path == *path);
            let id = ties.link_with(self.bound().attempt, path)?;
            Some((id, ties.remove(id)?))
        });
        if let Some((id, End::Linked(other))) = end {
            drop(other.with_ties(|ties| ties.remove(id)));
        }
    }

    /// Whether an exit of a linked actor is told to [`Behaviour::down`] instead of ending this one. Then `normal`
    /// exits are told as well. It holds for this incarnation.
    pub fn trap_exits(&self, trap: bool) {
        self.slot().with_ties(|ties| ties.trap(self.bound().attempt, trap));
    }

    /// This incarnation, as one end of a tie.
    fn bound(&self) -> Bound {
        self.notice().bound(self.incarnation())
    }
}
