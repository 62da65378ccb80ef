//! Monitors of those who are no actors: an API, a test, a connection that watches for another node.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use covenant_types::{ActorPath, ExitReason, StartAttempt};
use tokio::sync::oneshot;

use super::book::{self, TieId};
use super::{Down, DownReason, MonitorRef, TiesView};
use crate::System;
use crate::slot::Slot;

/// Resolves when the actor it watches has ended. Dropping it ends the watch.
#[must_use = "a monitor that is dropped watches nothing"]
pub struct Monitor {
    id: TieId,
    path: ActorPath,
    /// `None` where nothing is at the path.
    target: Option<Arc<Slot>>,
    fired: oneshot::Receiver<Down>,
}

impl System {
    /// Watches the actor or supervisor at `path`: the incarnation that runs now, or the next one where none does.
    ///
    /// Where nothing is at `path`, or nothing will run there any more, the monitor resolves at once.
    pub fn monitor(&self, path: &ActorPath) -> Monitor {
        self.monitor_now(path).0
    }

    /// As [`System::monitor`], and says which attempt it watches if one runs.
    pub(crate) fn monitor_now(&self, path: &ActorPath) -> (Monitor, Option<StartAttempt>) {
        let id = self.next_tie();
        let (sender, fired) = oneshot::channel();
        let target = self.slot(path);
        let tied = match &target {
            Some(target) => book::monitor_from_outside(sender, target, id),
            None => Err((sender, DownReason::NoProc)),
        };
        let attempt = match tied {
            Ok(attempt) => attempt,
            Err((sender, reason)) => {
                let monitor = Some(MonitorRef(id));
                let _ = sender.send(Down { monitor, node: None, path: path.clone(), incarnation: None, reason });
                None
            }
        };
        (Monitor { id, path: path.clone(), target, fired }, attempt)
    }
}

impl System {
    /// The links and monitors of the actor or supervisor at `path`; none where the tree has no such path.
    pub fn ties(&self, path: &ActorPath) -> Option<TiesView> {
        self.slot(path).map(|slot| slot.with_ties(|ties| ties.view()))
    }
}

impl Monitor {
    /// What its [`Down`] will name it by.
    pub fn reference(&self) -> MonitorRef {
        MonitorRef(self.id)
    }
}

impl Future for Monitor {
    type Output = Down;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Down> {
        Pin::new(&mut self.fired).poll(cx).map(|fired| {
            // A tie is told before it is dropped, and the record that holds it is held here.
            fired.unwrap_or_else(|_| Down {
                monitor: Some(self.reference()),
                node: None,
                path: self.path.clone(),
                incarnation: None,
                reason: DownReason::Exited(ExitReason::Killed),
            })
        })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            drop(target.with_ties(|ties| ties.remove(self.id)));
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Monitor({})", self.path)
    }
}
