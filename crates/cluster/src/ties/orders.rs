//! Orders of other nodes to end an actor of this one, and where they are written down.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use covenant_runtime::{FarOrder, KillError, RemoteSender, System};
use covenant_types::{ActorPath, CallError};

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
    let log = shared.order_log();
    // Where as many are under way as may be it is dropped, and that is its answer.
    session.spawn(async move {
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
    });
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
