//! Kills by hand.

use std::pin::pin;

use covenant_supervision::ChildId;
use covenant_types::ActorPath;

use crate::supervisor::Order;
use crate::{ActorState, RuntimeEvent, System};

impl System {
    /// Kills what runs at `path` and returns when it has ended; its supervisor does what its policy says.
    ///
    /// A handler that never waits goes on running. Then this returns when that is certain, after the child's
    /// `kill_grace`; see [`System::unkillable`].
    ///
    /// # Errors
    /// Nothing runs there, or it is the root. Nothing was done.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the kill back.
    pub async fn kill(&self, path: &ActorPath) -> Result<(), KillError> {
        let parent = path.parent().ok_or(KillError::Root)?;
        let slot = self.slot(path).ok_or_else(|| KillError::NoSuchPath(path.clone()))?;
        let not_running = || KillError::NotRunning(path.clone());
        let attempt = slot.running().ok_or_else(not_running)?.attempt;
        if slot.state() == ActorState::Unkillable {
            return Ok(()); // it was killed before, and a second time changes nothing
        }
        let supervisor = self.desk(&parent).ok_or_else(not_running)?;
        let child = ChildId::new(path.id()).map_err(|_| KillError::NoSuchPath(path.clone()))?;
        let mut events = self.events();
        let mut ended = pin!(self.ended());
        supervisor.post(Order::Kill(child, None));
        // Every exit publishes an event after it is noted, so looking again at each event misses none.
        while slot.running().is_some_and(|running| running.attempt == attempt) {
            tokio::select! {
                biased;
                _ = &mut ended => break,
                event = events.recv() => match event {
                    Ok(RuntimeEvent::Unkillable { path: stuck, .. }) if stuck == *path => break,
                    Ok(_) | Err(_) => {}
                },
            }
        }
        Ok(())
    }
}

/// Why nothing was killed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KillError {
    /// The tree has no such path.
    #[error("the tree has no {0}")]
    NoSuchPath(ActorPath),
    /// It is between two incarnations, or was stopped.
    #[error("{0} is not running")]
    NotRunning(ActorPath),
    /// Nobody would restart it. Stop the node instead.
    #[error("the root supervisor cannot be killed: stop the node instead")]
    Root,
}
