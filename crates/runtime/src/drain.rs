//! Actors that finish what waits for them before they end.
//!
//! # Intuition
//! A stop leaves what waits in the mailbox to the next incarnation; a drain handles it first. From its beginning the mailbox
//! refuses senders with [`CallError::Draining`](covenant_types::CallError::Draining), those included who wait for room. When
//! the last message was handled the actor ends in order, its `stop` included, with the reason `shutdown: drained`, and its
//! supervisor does what it does after every orderly end: a permanent child starts again, and with it its mailbox takes
//! messages again; any other stays away, and senders hear `Gone` from then on.
//!
//! A drain is about one incarnation and has a deadline. When that has passed, those who still wait are told `Gone`, and the
//! actor is stopped as its `shutdown` says. A crash or a kill ends the drain with the incarnation: what waited then waits for
//! the next, as it does after every crash.

use std::pin::pin;
use std::time::Duration;

use covenant_supervision::{ChildId, ChildKind};
use covenant_types::{ActorPath, ExitReason, Incarnation};
use serde::{Deserialize, Serialize};

use crate::mailbox::DRAINED;
use crate::supervisor::Order;
use crate::{Behaviour, Context, DownReason, RuntimeEvent, System};

/// How a drain ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// The incarnation that was drained.
    pub incarnation: Incarnation,
    /// Why it ended. A handler that never waits may go on running: then this is `killed`, as its supervisor sees it.
    pub reason: ExitReason,
    /// How long it took.
    pub took: Duration,
}

impl Drained {
    /// Whether everything that waited was handled.
    pub fn is_complete(&self) -> bool {
        self.reason == ExitReason::ShutdownWith(DRAINED.to_owned())
    }
}

/// Why nothing was drained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// The tree has no such path.
    #[error("the tree has no {0}")]
    NoSuchPath(ActorPath),
    /// It is between two incarnations, or was stopped.
    #[error("{0} is not running")]
    NotRunning(ActorPath),
    /// It has no messages. Drain its children, or stop the node.
    #[error("{0} is a supervisor: it has no messages")]
    Supervisor(ActorPath),
}

impl System {
    /// Has the actor at `path` take nothing new, handle what waits in its mailbox and end in order, and returns when it has
    /// ended. After `deadline` those who still wait are told `Gone`, and it is stopped as its `shutdown` says. Draining again
    /// moves the deadline, and ends with the same end.
    ///
    /// What a state machine has postponed does not wait in the mailbox: those callers are told when it ends. A suspended
    /// actor handles nothing, so that its drain takes until the deadline.
    ///
    /// # Errors
    /// No actor runs there. Nothing was done.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing back: the drain and its deadline are its supervisor's.
    pub async fn drain(&self, path: &ActorPath, deadline: Duration) -> Result<Drained, DrainError> {
        let began = self.env().now();
        let slot = self.slot(path).ok_or_else(|| DrainError::NoSuchPath(path.clone()))?;
        if slot.kind == ChildKind::Supervisor {
            return Err(DrainError::Supervisor(path.clone()));
        }
        let not_running = || DrainError::NotRunning(path.clone());
        let mut events = self.events();
        // Which attempt that is and the watch over it are one step: no other comes between.
        let (monitor, attempt) = self.monitor_now(path);
        let (attempt, incarnation) = (attempt.ok_or_else(not_running)?, slot.incarnation());
        let supervisor = path.parent().and_then(|parent| self.desk(&parent)).ok_or_else(not_running)?;
        let child = ChildId::new(path.id()).map_err(|_| DrainError::NoSuchPath(path.clone()))?;
        supervisor.post(Order::Drain(child, attempt, deadline));
        let (mut monitor, mut ended) = (pin!(monitor), pin!(self.ended()));
        let reason = loop {
            tokio::select! {
                biased;
                down = &mut monitor => break match down.reason {
                    DownReason::Exited(reason) => reason,
                    DownReason::NoProc | DownReason::NoConnection => return Err(not_running()),
                },
                event = events.recv() => match event {
                    Ok(RuntimeEvent::Unkillable { path: stuck, .. }) if stuck == *path => break ExitReason::Killed,
                    Ok(_) | Err(_) => {}
                },
                _ = &mut ended => break ExitReason::Killed,
            }
        };
        Ok(Drained { incarnation, reason, took: self.env().now().since(began) })
    }
}

impl<B: Behaviour> Context<B> {
    /// As [`System::drain`] for this actor itself, without waiting for the end. Messages to itself are refused from then on
    /// as well. In `start` this does nothing.
    pub fn drain(&self, deadline: Duration) {
        self.notice().drain(deadline);
    }
}
