//! Monitors of actors on other nodes, for those who are no actors.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use covenant_runtime::{Down, DownReason, FarEnd, FarTie};
use covenant_types::{ActorPath, Incarnation, NodeName};
use tokio::sync::oneshot;

use super::book::MONITORS_MAX;
use super::desk::{Near, OurEnd};
use crate::shared::Shared;

/// Resolves when the actor it watches on another node has ended, when nothing is or will be there, or when that node is given
/// up. Dropping it ends the watch.
#[must_use = "a monitor that is dropped watches nothing"]
pub struct RemoteMonitor {
    node: NodeName,
    path: ActorPath,
    fired: oneshot::Receiver<(Option<Incarnation>, DownReason)>,
    end: OurEnd,
}

/// An actor of another node is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorRefused {
    /// There are too many.
    #[error("at most {MONITORS_MAX} actors of one node are watched from here at a time: drop some monitors first")]
    TooMany,
    /// What waits for the connection already is as much as may.
    #[error("the connection to the node is busy, nothing is watched: try again")]
    Busy,
}

/// Asks `node` to tell when what runs at `path` has ended.
pub(crate) fn monitor(
    shared: &Arc<Shared>,
    node: &NodeName,
    path: &ActorPath,
) -> Result<RemoteMonitor, MonitorRefused> {
    let (sender, fired) = oneshot::channel();
    let end = shared.ties.ask(shared, node, path, FarTie::Monitor, Near::Outside(sender))?;
    Ok(RemoteMonitor { node: node.clone(), path: path.clone(), fired, end })
}

impl RemoteMonitor {
    /// The node of the actor it watches.
    pub fn node(&self) -> &NodeName {
        &self.node
    }
}

impl Future for RemoteMonitor {
    type Output = Down;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Down> {
        Pin::new(&mut self.fired).poll(cx).map(|fired| {
            let (incarnation, reason) = fired.unwrap_or((None, DownReason::NoConnection));
            Down { monitor: None, node: Some(self.node.clone()), path: self.path.clone(), incarnation, reason }
        })
    }
}

impl Drop for RemoteMonitor {
    fn drop(&mut self) {
        self.end.untied(); // nothing, where it has fired
    }
}

impl fmt::Debug for RemoteMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteMonitor({}:{})", self.node, self.path)
    }
}
