//! The views of a node: its state, its tree, its incidents.

use std::time::Duration;

use covenant_runtime::{KillError, TreeView};
use covenant_types::{ActorPath, Incarnation};
use covenant_watch::{Incident, Message as WatcherMessage};

use super::Control;
use crate::api::{ApiError, ErrorKind, Status};

/// How long an actor of this node may take to answer.
const ACTOR_WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn status(control: &Control) -> Status {
    let not_ready = control.not_ready();
    Status {
        name: control.config.node.name.clone(),
        id: control.id,
        role: control.config.node.role,
        region: control.config.node.region,
        cluster: control.config.cluster.name.clone(),
        epoch: control.cluster.me().epoch,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: control.env.now().as_millis(),
        ready: not_ready.is_none(),
        not_ready_because: not_ready.unwrap_or_default(),
        rss_bytes: covenant_telemetry::rss_bytes().unwrap_or(0),
        certificate_ends: control.credentials.identity().not_after,
        listen: control.config.node.listen,
        book_home: control.config.cluster.book_home.clone(),
    }
}

pub(crate) async fn incidents(control: &Control) -> Result<Vec<Incident>, ApiError> {
    let watcher = control.lookup::<WatcherMessage>("/watch/watcher")?;
    Ok(watcher.call(WatcherMessage::List, ACTOR_WITHIN).await?)
}

/// The incarnation that runs at `path`.
pub(crate) fn incarnation(tree: &TreeView, path: &ActorPath) -> Result<Incarnation, ApiError> {
    tree.find(path)
        .map(|view| view.incarnation)
        .ok_or_else(|| ApiError::new(ErrorKind::NotFound, format!("no actor {path} here; nothing was done")))
}

pub(crate) fn kill_error(error: KillError) -> ApiError {
    ApiError::new(ErrorKind::Conflict, format!("{error}; nothing was done"))
}

/// Whether a question makes it through the system runtime, a lane, a behaviour on the work runtime and back.
pub(crate) async fn round_trip(control: &Control) -> bool {
    incidents(control).await.is_ok()
}
