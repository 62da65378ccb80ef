//! Keeps the engine running as long as that can work.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, Raft, SnapshotPolicy};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::{DISK_RESERVE_BYTES, Engine, Shared, StartError, elector};
use crate::log_store::LogStore;
use crate::message::ENTRIES_MAX;
use crate::network::Ways;
use crate::replicated::Replicated;
use crate::state_store::StateStore;

/// How long after a failure the files are opened again; twice as long each time, up to the longest.
const REOPEN_AFTER: Duration = Duration::from_millis(250);
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(10);

/// Opens the files and starts the engine over them.
pub(super) async fn open<R: Replicated>(shared: &Arc<Shared<R>>) -> Result<(), StartError> {
    let made = shared.clone();
    let state = shared.env.blocking(move || (made.make_state)()).await.flatten()?;
    let state = Arc::new(RwLock::new(state));
    let log_store = LogStore::open(shared.disk.clone(), &shared.env, shared.me.into()).await?;
    let (led, durable) = (log_store.led(), log_store.durable());
    let state_store = StateStore::open(shared.disk.clone(), &shared.env, state.clone()).await?;
    if log_store.is_new() && !state_store.is_new() {
        return Err(StartError::LogLost);
    }
    let state_store = state_store.behind(durable.clone());
    let time = state_store.time();
    let (config, env) = (engine_config(shared)?, shared.env.clone());
    let instance = shared.instance;
    let pause = shared.config.election_timeout / 4;
    let ways = Ways { network: shared.network.clone(), env, instance, pause, durable };
    let raft = Raft::new(shared.me.into(), config, ways, log_store, state_store).await;
    let raft = raft.map_err(|error| StartError::Engine(error.to_string()))?;
    *shared.heard.lock() = shared.env.now();
    *shared.state.write() = state;
    *shared.engine.write() = Some(Engine { raft, receiving: Arc::default(), time, led });
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a timeout fit")]
fn engine_config<R>(shared: &Shared<R>) -> Result<Arc<Config>, StartError> {
    let timeout = shared.config.election_timeout.as_millis() as u64;
    let config = Config {
        cluster_name: shared.config.group.clone(),
        heartbeat_interval: (timeout / 5).max(1),
        election_timeout_min: timeout.saturating_sub(1),
        // Also how long a voter that hears a leader votes for nobody else.
        election_timeout_max: timeout,
        install_snapshot_timeout: timeout * 4,
        max_payload_entries: ENTRIES_MAX as u64,
        replication_lag_threshold: shared.config.entries_kept,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(shared.config.snapshot_every),
        max_in_snapshot_log_to_keep: shared.config.entries_kept,
        // The engine draws one timeout for its whole life, and two voters with the same one would vote apart for ever.
        enable_elect: false,
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| StartError::Engine(error.to_string()))
}

/// Calls elections until the engine stops, and opens the files again when it did, until `stopped` says so.
pub(super) async fn keep<R: Replicated>(shared: Arc<Shared<R>>, mut stopped: watch::Receiver<bool>) {
    let mut random = shared.env.random.derive(&format!("consensus {}", shared.config.group));
    let mut reopen_after = REOPEN_AFTER;
    loop {
        if let Some(engine) = shared.engine() {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = elector::elect(&shared, &engine, &mut random) => {}
            }
            *shared.engine.write() = None;
            // Its task has ended or ends now; how is in its metrics.
            let _ended = engine.raft.shutdown().await;
            if *stopped.borrow() {
                return;
            }
            let why = engine.raft.metrics().borrow().running_state.clone();
            tracing::error!(group = shared.config.group, why = ?why.err(), "the engine stopped; its files are opened again");
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(reopen_after) => {}
        }
        reopen_after = (reopen_after * 2).min(REOPEN_AFTER_MAX);
        if !has_room(&shared).await {
            continue;
        }
        match open(&shared).await {
            Ok(()) => reopen_after = REOPEN_AFTER,
            Err(error) => tracing::error!(group = shared.config.group, %error, "this node takes no part in the group"),
        }
    }
}

/// Whether the disk has the room that writes leave free.
pub(super) async fn has_room<R: Replicated>(shared: &Arc<Shared<R>>) -> bool {
    let disk = shared.disk.clone();
    let free = shared.env.blocking(move || disk.free_bytes()).await.flatten();
    free.is_ok_and(|free| free >= DISK_RESERVE_BYTES)
}
