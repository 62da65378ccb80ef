//! What runs at a path, and how to end it.

use std::sync::{Arc, Weak};

use covenant_types::StartAttempt;
use ractor::ActorCell;

use crate::host::Worker;
use crate::mailbox::AnyMailbox;
use crate::notice::Notice;
use crate::supervisor::{Desk, Order};

/// An attempt that was begun and has not ended.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) attempt: StartAttempt,
    pub(crate) handle: Handle,
    /// Held by all that runs of it.
    pub(crate) notice: Weak<Notice>,
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
            Handle::Worker(worker) => self.at_mailbox(|mailbox| worker.stop(mailbox)),
            // Its driver stops the children first and then its actor.
            Handle::Supervisor(_, desk) => desk.post(Order::Shutdown),
        }
    }

    /// Has a worker take nothing new, handle what waits and end. Whoever calls this signals its record.
    pub(crate) fn drain(&self) {
        match &self.handle {
            Handle::Worker(worker) => self.at_mailbox(|mailbox| worker.drain(mailbox)),
            Handle::Supervisor(..) => {} // nobody asks for this
        }
    }

    /// Ends it at its next `.await`.
    pub(crate) fn kill(&self) {
        match &self.handle {
            Handle::Worker(worker) => self.at_mailbox(|mailbox| worker.kill(mailbox)),
            Handle::Supervisor(cell, _) => cell.kill(),
        }
    }
    /// Where nothing runs any more there is nobody to end, and nothing is done.
    fn at_mailbox(&self, act: impl FnOnce(&dyn AnyMailbox)) {
        if let Some(notice) = self.notice.upgrade()
            && let Some(mailbox) = &notice.slot().mailbox
        {
            act(&**mailbox);
        }
    }
}
