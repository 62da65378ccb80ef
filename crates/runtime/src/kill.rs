//! Kills and stops by hand.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use covenant_supervision::ChildId;
use covenant_types::{ActorPath, CallError, NodeName};

use crate::supervisor::Order;
use crate::{ActorState, FarOrder, Place, RuntimeEvent, System};

/// How long another node may take to end an actor of its own.
pub const ORDER_WITHIN: Duration = Duration::from_secs(30);

impl System {
    /// Kills an actor and returns when it has ended; its supervisor does what its policy says. It is named as in
    /// [`Context::monitor`](crate::Context::monitor).
    ///
    /// A handler that never waits goes on running. Then this returns when that is certain, after the child's
    /// `kill_grace`; see [`System::unkillable`].
    ///
    /// # Errors
    /// Nothing runs there, or it is the root. Nothing was done. An actor of another node may not be ended from here, see
    /// [`Callers::ended_by`](crate::Callers::ended_by), or there was no answer within [`ORDER_WITHIN`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take the kill back.
    pub async fn kill(&self, whom: &impl Place) -> Result<(), KillError> {
        let (node, path) = whom.place();
        match self.order_far(node, path, FarOrder::Kill) {
            Some(done) => done.await,
            None => self.kill_here(path).await,
        }
    }

    /// Asks an actor to end in order after the message in hand, `stop` included, and returns when it has ended; its
    /// supervisor does what its policy says. It is named as in [`Context::monitor`](crate::Context::monitor).
    ///
    /// # Errors
    /// As [`System::kill`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take the stop back.
    pub async fn stop_actor(&self, whom: &impl Place) -> Result<(), KillError> {
        let (node, path) = whom.place();
        match self.order_far(node, path, FarOrder::Stop) {
            Some(done) => done.await,
            None => self.stop_here(path).await,
        }
    }

    /// The same for an actor of another node; `None` where it is of this one.
    fn order_far(
        &self,
        node: Option<&NodeName>,
        path: &ActorPath,
        order: FarOrder,
    ) -> Option<impl Future<Output = Result<(), KillError>> + Send + use<>> {
        let node = self.elsewhere(node)?;
        let done = self.abroad().map(|abroad| abroad.order(node, path, order, ORDER_WITHIN));
        let place = format!("{node}:{path}");
        Some(async move {
            let answer = match done {
                Some(done) => done.await,
                None => Err(CallError::NoConnection),
            };
            answer.map_err(|why| KillError::Abroad { place, why })
        })
    }

    async fn stop_here(&self, path: &ActorPath) -> Result<(), KillError> {
        if path.parent().is_none() {
            return Err(KillError::Root);
        }
        let slot = self.slot(path).ok_or_else(|| KillError::NoSuchPath(path.clone()))?;
        let (monitor, attempt) = self.monitor_now(path);
        let running = slot.running().filter(|running| attempt == Some(running.attempt));
        let running = running.ok_or_else(|| KillError::NotRunning(path.clone()))?;
        running.stop();
        drop(running); // it may be the last to hold what runs
        drop(monitor.await);
        Ok(())
    }

    async fn kill_here(&self, path: &ActorPath) -> Result<(), KillError> {
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
    /// It is of another node, which did not do it or did not say so.
    #[error("{place} was not ended: {why}")]
    Abroad {
        /// The node and the path.
        place: String,
        /// What the node said.
        why: CallError,
    },
    /// Nobody would restart it. Stop the node instead.
    #[error("the root supervisor cannot be killed: stop the node instead")]
    Root,
}
