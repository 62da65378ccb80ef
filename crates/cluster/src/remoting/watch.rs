//! Monitors of actors on other nodes.
//!
//! A watch is a call to the path, by a type name that no actor takes ([`WATCH`]): it is answered when what runs there has
//! ended, and has no deadline. So it ends as calls do, exactly once: in the answer, or when membership gives the node up
//! or the connection goes. A cast to the same name, with the call's number, takes the watch away.
//!
//! Invariants:
//! - One connection carries at most [`MONITORS_MAX`] watches each way, and no more words that take one away.
//! - A watch is no longer held on the other side once its monitor was dropped, or the connection is gone.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use covenant_runtime::{Down, DownReason, Monitor};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation, NodeName, Uptime};
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::remoting::credit::Target;
use crate::remoting::frame::{FRAME_BYTES_MAX, put_call, put_cast, put_name};
use crate::remoting::lane::{LANE_BYTES_MAX, Refused, Urgency};
use crate::remoting::pending::Answer;
use crate::remoting::receive::Answering;
use crate::session::{Session, Standing};
use crate::shared::Shared;

/// The most monitors that one node keeps of actors of another.
pub const MONITORS_MAX: usize = 4096;
/// Stands where a call has the name of its message type. No behaviour's message may have this name.
pub(crate) const WATCH: &str = "covenant.watch/1";
/// When a watch expires: never.
pub(crate) const NEVER: Uptime = Uptime(Duration::MAX);
/// How many watches and withdrawals may wait for the desk. Beyond that watches are refused and withdrawals forgotten: what
/// they name is held until it ends, or the connection does.
pub(crate) const DESK_QUEUE_MAX: usize = 2 * MONITORS_MAX;
/// The most bytes an end takes with its incarnation. Of a longer one the reason alone crosses, cut.
const END_BYTES_MAX: usize = 4096;

/// Resolves when the actor it watches on another node has ended, when nothing is or will be there, or when that node cannot
/// be reached. Dropping it ends the watch.
#[must_use = "a monitor that is dropped watches nothing"]
pub struct RemoteMonitor {
    node: NodeName,
    path: ActorPath,
    /// Dropped without a word where the node cannot be reached.
    fired: oneshot::Receiver<(Option<Incarnation>, DownReason)>,
    /// `None` where there was no connection.
    _watch: Option<Watch>,
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

/// What the other side was asked, and is to be told when nobody wants to know any more.
struct Watch {
    session: Weak<Session>,
    target: Arc<Target>,
    call: u64,
    /// Set when the other side answered: it holds nothing any more.
    told: Arc<AtomicBool>,
}

/// Asks `node` to tell when what runs at `path` has ended.
pub(crate) fn monitor(shared: &Shared, node: &NodeName, path: &ActorPath) -> Result<RemoteMonitor, MonitorRefused> {
    let (sender, fired) = oneshot::channel();
    let monitor = |watch| RemoteMonitor { node: node.clone(), path: path.clone(), fired, _watch: watch };
    let Some(session) = shared.session_named(node).filter(|session| session.standing() == Standing::Open) else {
        return Ok(monitor(None));
    };
    let target = session.target(path, WATCH).ok_or(MonitorRefused::TooMany)?;
    if session.watching.fetch_add(1, Ordering::Relaxed) >= MONITORS_MAX {
        session.watching.fetch_sub(1, Ordering::Relaxed);
        return Err(MonitorRefused::TooMany);
    }
    let told = Arc::new(AtomicBool::new(false));
    let Ok(call) = session.pending.insert(NEVER, answer_to(sender, Arc::clone(&told))) else {
        session.watching.fetch_sub(1, Ordering::Relaxed);
        return Err(MonitorRefused::TooMany);
    };
    let watch = Watch { session: Arc::downgrade(&session), target: Arc::clone(&target), call, told };
    let asked = session.lane(&target).append(Urgency::AtOnce, LANE_BYTES_MAX, |out| {
        if target.must_be_named() {
            put_name(out, target.id, &target.path, target.type_name);
        }
        put_call(out, target.id, call, u32::MAX, None, &());
    });
    // The node may have been given up between the first look and the insertion, and then nobody else ends this.
    if asked.is_err() || session.standing() != Standing::Open {
        drop(session.pending.take(call));
    }
    match asked {
        Ok(()) | Err(Refused::Closed) => Ok(monitor(Some(watch))),
        Err(Refused::Full) => Err(MonitorRefused::Busy),
    }
}

fn answer_to(sender: oneshot::Sender<(Option<Incarnation>, DownReason)>, told: Arc<AtomicBool>) -> Answer {
    Box::new(move |result| {
        // That the node is given up is found out here, and the connection may outlive it.
        told.store(!matches!(result, Err(CallError::NoConnection)), Ordering::Relaxed);
        let end = match result
            .map(|bytes| covenant_wire::decode::<(Option<Incarnation>, ExitReason)>(bytes, FRAME_BYTES_MAX))
        {
            Ok(Ok((incarnation, reason))) => (incarnation, DownReason::Exited(reason)),
            Err(CallError::Gone(reason)) => (None, DownReason::Exited(reason)),
            Err(CallError::NoProc) => (None, DownReason::NoProc),
            // The other side did not take the watch, or cannot say: the actor may still run, and nothing will be heard of it.
            Ok(Err(_)) | Err(_) => (None, DownReason::NoConnection),
        };
        let _dropped = sender.send(end);
    })
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(session) = self.session.upgrade() else { return };
        session.watching.fetch_sub(1, Ordering::Relaxed);
        drop(session.pending.take(self.call));
        if !self.told.load(Ordering::Relaxed) {
            // Always taken: there are no more of these than of watches, and those found room.
            let _gone = session.lane(&self.target).append(Urgency::Batched, usize::MAX, |out| {
                put_cast(out, self.target.id, None, &self.call);
            });
        }
    }
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

impl fmt::Debug for RemoteMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteMonitor({}:{})", self.node, self.path)
    }
}

/// What the desk is asked.
pub(crate) enum Asked {
    /// To answer when the monitor fires.
    Watch(Monitor, Answering),
    /// To let go of a watch.
    Withdraw(u64),
}

/// Holds the monitors that the other node asked for, and answers when they fire.
pub(crate) async fn run_desk(mut asked: mpsc::Receiver<Asked>) {
    let mut held: BTreeMap<u64, AbortHandle> = BTreeMap::new();
    let mut ends = FuturesUnordered::new();
    loop {
        tokio::select! {
            // Ends first: there are at most as many as are held, and each makes room.
            biased;
            Some(call) = ends.next() => drop(held.remove(&call)),
            asked = asked.recv() => match asked {
                None => return,
                Some(Asked::Watch(_, answering)) if held.len() >= MONITORS_MAX => {
                    let why = format!("{MONITORS_MAX} monitors of actors of this node are held for yours already");
                    answering.answer(Err(CallError::Rejected(why)));
                }
                Some(Asked::Watch(monitor, answering)) => {
                    let call = answering.call();
                    let (handle, registration) = AbortHandle::new_pair();
                    held.insert(call, handle);
                    ends.push(async move {
                        match Abortable::new(monitor, registration).await {
                            Ok(down) => answering.answer(end(down)),
                            Err(_) => answering.withdraw(),
                        }
                        call
                    });
                }
                Some(Asked::Withdraw(call)) => {
                    if let Some(handle) = held.remove(&call) {
                        handle.abort();
                    }
                }
            },
        }
    }
}

/// What crosses of an end.
fn end(down: Down) -> Result<Vec<u8>, CallError> {
    match down.reason {
        DownReason::Exited(reason) => {
            let end = covenant_wire::encode(&(down.incarnation, &reason));
            if end.len() <= END_BYTES_MAX { Ok(end) } else { Err(CallError::Gone(reason)) }
        }
        DownReason::NoProc => Err(CallError::NoProc),
        DownReason::NoConnection => Err(CallError::NoConnection),
    }
}
