//! What runs at a path, and how to end it.

use std::sync::Arc;

use covenant_types::StartAttempt;
use ractor::ActorCell;

use crate::host::Worker;
use crate::supervisor::{Desk, Order};

/// An attempt that was begun and has not ended.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) attempt: StartAttempt,
    pub(crate) handle: Handle,
}

/// How to end what runs.
#[derive(Clone)]
pub(crate) enum Handle {
    Worker(Worker),
    Supervisor(ActorCell, Arc<Desk>),
}

impl Running {
    /// Asks it to end in order.
    pub(crate) fn stop(&self) {
        match &self.handle {
            Handle::Worker(worker) => worker.stop(),
            // Its driver stops the children first and then its actor.
            Handle::Supervisor(_, desk) => desk.post(Order::Shutdown),
        }
    }

    /// Has a worker take nothing new, handle what waits and end. Whoever calls this signals its record.
    pub(crate) fn drain(&self) {
        match &self.handle {
            Handle::Worker(worker) => worker.drain(),
            Handle::Supervisor(..) => {} // nobody asks for this
        }
    }

    /// Ends it at its next `.await`.
    pub(crate) fn kill(&self) {
        match &self.handle {
            Handle::Worker(worker) => worker.kill(),
            Handle::Supervisor(cell, _) => cell.kill(),
        }
    }
}
