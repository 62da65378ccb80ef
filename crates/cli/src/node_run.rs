//! `covenant node run`: builds the two runtimes, boots the node, and waits for the word to stop.

use std::os::fd::AsFd;
use std::time::Duration;

use covenant_env::Env;
use covenant_node::api::{ApiError, ErrorKind};
use covenant_node::{NodeConfig, Trees};
use covenant_runtime::BehaviourRegistry;
use covenant_telemetry::{NodeMetrics, Notifier, log};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Global, NodeRun};

/// Threads of the runtime that answers probes. Two, so that one long TLS handshake does not delay them.
const SYSTEM_THREADS: usize = 2;
/// How long runtimes may take to end after the node has stopped.
const RUNTIME_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Runs one node until it is told to stop.
pub(crate) fn run(global: &Global, args: &NodeRun, behaviours: BehaviourRegistry) -> Result<(), ApiError> {
    let config = NodeConfig::load(&args.config).map_err(ApiError::usage)?;
    log::init(config.log.filter.as_deref(), log::Form::of_stderr(global.no_color)).map_err(ApiError::usage)?;
    let trees = match &args.trees {
        Some(folder) => Trees::folder(folder),
        None => Trees::built_in(),
    };
    let work_threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let system = runtime("system", SYSTEM_THREADS)?;
    let work = runtime("work", work_threads)?;
    let result = system.block_on(live(config, trees, behaviours, args.stop_on_eof, &system, &work));
    work.shutdown_timeout(RUNTIME_ENDS_WITHIN);
    system.shutdown_timeout(RUNTIME_ENDS_WITHIN);
    if let Err(error) = &result {
        tracing::error!(error = %error.message, "the node ends");
    }
    result
}

fn runtime(name: &'static str, threads: usize) -> Result<Runtime, ApiError> {
    let built = Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build();
    built.map_err(|error| ApiError::failure(format!("the {name} runtime cannot be started: {error}")))
}

async fn live(
    config: NodeConfig,
    trees: Trees,
    behaviours: BehaviourRegistry,
    stop_on_eof: bool,
    system: &Runtime,
    work: &Runtime,
) -> Result<(), ApiError> {
    let metrics = NodeMetrics::new();
    let seed = covenant_node::entropy();
    let env = Env::real(system.handle().clone(), work.handle().clone(), seed, metrics.metrics());
    let notifier = Notifier::from_env().map_err(ApiError::usage)?;
    let lifeline = lifeline(stop_on_eof)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ApiError::failure)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ApiError::failure)?;
    let node = covenant_node::boot(config, trees, behaviours, env, metrics, notifier).await;
    let node = node.map_err(|error| error.into_api())?;
    let why = tokio::select! {
        biased;
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = end_of(lifeline) => "whoever started this node is gone",
        () = node.ended() => "the tree gave up",
        () = node.asked_to_leave() => "an operator asked this node to leave",
    };
    let gave_up = why == "the tree gave up";
    tracing::info!(why, "stopping in order");
    node.stop().await;
    if gave_up {
        let message =
            "the root supervisor gave up: its children failed faster than its intensity forgives; see the log above";
        return Err(ApiError::new(ErrorKind::Failure, message));
    }
    Ok(())
}

/// The pipe whose other end only whoever started this node has.
fn lifeline(wanted: bool) -> Result<Option<Receiver>, ApiError> {
    if !wanted {
        return Ok(None);
    }
    let pipe = std::io::stdin().as_fd().try_clone_to_owned().and_then(Receiver::from_owned_fd);
    pipe.map(Some).map_err(|error| ApiError::usage(format!("--stop-on-eof needs a pipe as stdin: {error}")))
}

/// Resolves when the other end is closed; never where there is no pipe.
async fn end_of(lifeline: Option<Receiver>) {
    let Some(mut pipe) = lifeline else { return std::future::pending().await };
    let mut nothing = [0u8; 64];
    // What is written there means nothing; an error means as much as its end.
    while pipe.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}
