//! Orders of other nodes to end an actor of this one, and where they are written down.
//!
//! Invariant: what was begun is carried through and written down, though whoever ordered it is gone by then. A connection that is
//! closed behind an order would else hide who gave it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use covenant_env::{Spawner, Tasks};
use covenant_runtime::{FarOrder, KillError, RemoteSender, System};
use covenant_types::{ActorPath, CallError, NodeId};

use crate::remoting::receive::{Answering, not_allowed};
use crate::session::Session;
use crate::shared::Shared;

/// An order of another node, and what became of it.
#[derive(Clone, Debug)]
pub struct RemoteOrder {
    /// The node, as its certificate names it.
    pub from: RemoteSender,
    /// What it wanted.
    pub order: FarOrder,
    /// Of which actor of this node.
    pub path: ActorPath,
    /// Whether the node may order that of that actor. Nothing was done where it may not.
    pub allowed: bool,
    /// `Ok` where it was done, and otherwise what the node is told.
    pub outcome: Result<(), CallError>,
}

/// Whether an order was written down, when that is known.
pub type OrderNoted = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Writes down what other nodes order of this node's actors.
pub trait OrderLog: Send + Sync {
    /// An order was carried out or refused. The node is answered when this is done, and told of an error instead of its answer.
    fn note(&self, order: RemoteOrder) -> OrderNoted;
}

/// How many orders of one node may be carried out at a time, over all its connections.
pub(crate) const ORDERS_MAX: usize = 16;

/// The orders that are carried out, by the node that gave them.
#[derive(Debug)]
pub(crate) struct Underway {
    spawner: Spawner,
    /// Of nodes that are connected, or were: no more than have a certificate.
    tasks: Mutex<BTreeMap<NodeId, Tasks>>,
}

impl Underway {
    pub(crate) fn new(spawner: Spawner) -> Self {
        Self { spawner, tasks: Mutex::default() }
    }

    /// Runs `order` to its end. False where as many of `node` are under way as may be.
    fn spawn(&self, node: NodeId, order: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.entry(node).or_insert_with(|| Tasks::new(self.spawner.clone(), ORDERS_MAX)).spawn(order)
    }

    /// Ends them all: this node takes part no more.
    pub(crate) fn end(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        drop(tasks);
    }
}

/// Ends an actor of this node for another, if that may.
pub(super) fn carry_out(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    call: u64,
    order: FarOrder,
    millis_left: u32,
    path: ActorPath,
) {
    let Some(answering) = Answering::begin(shared, session, call, millis_left) else { return };
    let from = session.sender.clone();
    let (Some(inlet), Some(system)) = (shared.inlet(&path), shared.system()) else {
        return answering.answer(Err(CallError::NoProc));
    };
    let word = match order {
        FarOrder::Stop => "stop",
        FarOrder::Kill => "kill",
    };
    let allowed = inlet.callers().may_end(&from);
    if allowed {
        shared.counters.ordered(word);
        tracing::warn!(peer = %from.name, role = %from.role, %path, order = word, "an actor is ended by order of another node");
    } else {
        shared.counters.message_refused("role");
        tracing::warn!(peer = %from.name, role = %from.role, %path, order = word, "not allowed: an order was refused");
    }
    let (log, node) = (shared.order_log(), from.node);
    let order = async move {
        let outcome = match allowed {
            true => end_actor(&system, order, &path).await,
            false => Err(not_allowed(&from, &format!("{word} {path}"))),
        };
        let noted = match log {
            Some(log) => log.note(RemoteOrder { from, order, path, allowed, outcome: outcome.clone() }).await,
            None => Ok(()),
        };
        let answer = match noted {
            Ok(()) => outcome,
            Err(why) => Err(CallError::Rejected(format!("{why}; what was ordered may have been done"))),
        };
        answering.answer(answer.map(|()| Vec::new()));
    };
    // Where as many are under way as may be it is dropped, and that is its answer.
    shared.orders.spawn(node, order);
}

async fn end_actor(system: &System, order: FarOrder, path: &ActorPath) -> Result<(), CallError> {
    let done = match order {
        FarOrder::Stop => system.stop_actor(path).await,
        FarOrder::Kill => system.kill(path).await,
    };
    done.map_err(|error| match error {
        KillError::NoSuchPath(_) => CallError::NoProc,
        KillError::NotRunning(_) | KillError::Root | KillError::Abroad { .. } => CallError::Rejected(error.to_string()),
    })
}
