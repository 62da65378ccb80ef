//! `covenant up`: a small cluster of real processes on this machine, supervised, with nothing else installed.

mod check;
mod check_logs;
pub(crate) mod layout;
pub(crate) mod processes;
mod report;
pub(crate) mod scenario;
mod server;
mod snapshot;
mod story;
mod view;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use covenant_env::{Env, Metrics, Task};
use covenant_identity::Scope;
use covenant_ledger::VotersDone;
use covenant_node::api::{ApiError, CreateToken, ErrorKind, Status, TokenCreated, Voters};
use covenant_node::audit::AuditLog;
use covenant_node::http::Server;
use covenant_node::{InitSpec, LinkProfile, NodePlace};
use covenant_store::DataDir;
use covenant_types::{ExitReason, Role};

use crate::args::{Global, Up};
use crate::client::Client;
use crate::output::Output;
use layout::{Layout, NodePlan, node_dir};
use processes::{Processes, ProcessesRef, Program};

pub(crate) use server::{KillNode, StartNode};

/// How long all nodes together may take until each answers that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two questions whether something is so.
const ASK_EVERY: Duration = Duration::from_millis(25);
/// How many hubs keep the book and vote: three bear the loss of one.
const VOTERS: usize = 3;
/// How long the token of a node that joins now may hold.
const TOKEN_TTL_S: u64 = 120;

/// Runs `covenant up`.
pub(crate) async fn run(global: &Global, args: &Up, output: &Output) -> Result<(), ApiError> {
    if args.check {
        return Box::pin(check::run(output)).await;
    }
    let live = !args.plain && !output.json() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let began = tokio::time::Instant::now();
    let cluster = UpCluster::start(&global.folder, args.trees.as_deref(), |line| output.talk(line)).await?;
    cluster.wait_until_ready().await?;
    Box::pin(cluster.share_the_book()).await?;
    let count = cluster.layout.node.len();
    output.talk(&format!("{count} nodes are ready after {:.1} s", began.elapsed().as_secs_f64()));
    let signals = async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            biased;
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    };
    let mut cluster = cluster;
    let ended = if live {
        tokio::select! {
            biased;
            reason = &mut cluster.task => Some(reason),
            _asked = signals => None,
            shown = view::show(&cluster.processes, &cluster.layout, &cluster.folder, output.colours()) => {
                shown.map_err(ApiError::failure)?;
                None
            }
        }
    } else {
        for line in story::what_to_try(&global.folder, &cluster.layout) {
            output.talk(&line);
        }
        tokio::select! {
            biased;
            reason = &mut cluster.task => Some(reason),
            _asked = signals => None,
            never = story::tell(&cluster.processes, &cluster.layout, &cluster.folder, output) => match never {},
        }
    };
    if let Some(reason) = ended {
        let why = reason.map_or_else(|_| "its supervisor panicked".to_owned(), |reason| reason.to_string());
        let message = format!(
            "the nodes ended by themselves ({why}): one failed more than five times in a minute; \
                               its log is in {}/NODE/node.log",
            global.folder.display()
        );
        return Err(ApiError::failure(message));
    }
    output.talk("stopping all nodes in reverse order");
    cluster.stop().await?;
    output.talk("all nodes have stopped; `covenant up` brings the same cluster back");
    Ok(())
}

/// A running small cluster. Dropping it kills its processes; [`UpCluster::stop`] stops them in order.
pub(crate) struct UpCluster {
    pub(crate) folder: PathBuf,
    pub(crate) layout: Layout,
    trees: Option<PathBuf>,
    pub(crate) processes: ProcessesRef,
    task: Task<ExitReason>,
    _server: Server,
    _lock: DataDir,
}

impl UpCluster {
    /// Starts the cluster that lives in `folder`, or makes one there.
    pub(crate) async fn start(folder: &Path, trees: Option<&Path>, say: impl Fn(&str)) -> Result<Self, ApiError> {
        let failed = |error: anyhow::Error| ApiError::failure(format!("{error:#}"));
        let absent = |trees: &Path, error| ApiError::usage(format!("--trees {}: {error}", trees.display()));
        let trees =
            trees.map(|trees| std::fs::canonicalize(trees).map_err(|error| absent(trees, error))).transpose()?;
        let lock = DataDir::open(folder).map_err(|error| ApiError::new(ErrorKind::Conflict, error.to_string()))?;
        let folder = std::fs::canonicalize(folder).map_err(ApiError::failure)?;
        let layout = Layout::load_or_plan(&folder).map_err(failed)?;
        let handle = tokio::runtime::Handle::current();
        let env = Env::real(handle.clone(), handle, u64::from(std::process::id()), Metrics::none());
        let first = layout.first();
        if !covenant_node::is_initialised(&first.dir(&folder)) {
            say(&format!("making the cluster {} in {}", layout.cluster, folder.display()));
            let spec = InitSpec {
                cluster: layout.cluster.clone(),
                name: first.name.clone(),
                region: first.region,
                scope: Scope::Everywhere,
                place: place(first, &folder),
            };
            covenant_node::init(&spec, &env).map_err(ApiError::failure)?;
        }
        let audit = AuditLog::open(&folder.join("audit.jsonl")).map_err(ApiError::failure)?;
        let (processes, handle) = Processes::new(env.clone()).map_err(failed)?;
        let task = env.system.spawn(processes.run());
        let server = server::serve(&env, &folder, handle.clone(), audit).map_err(ApiError::failure)?;
        let cluster = Self { folder, layout, trees, processes: handle, task, _server: server, _lock: lock };
        cluster.start_nodes(&env, &say).await?;
        Ok(cluster)
    }

    async fn start_nodes(&self, env: &Env, say: &impl Fn(&str)) -> Result<(), ApiError> {
        let first = self.layout.first();
        say(&format!("starting {}", first.name));
        self.processes.add(self.program(first)).await?;
        for node in self.layout.node.iter().skip(1) {
            let dir = node.dir(&self.folder);
            if !covenant_node::is_initialised(&dir) {
                self.wait_for(first, |status| status.ready).await?;
                let request =
                    CreateToken { role: node.role, region: node.region, name: node.name.clone(), ttl_s: TOKEN_TTL_S };
                let made: TokenCreated = self.client(first).post("/v1/token", &request).await?;
                covenant_node::join(&place(node, &self.folder), &made.token, env).await.map_err(ApiError::failure)?;
            }
            say(&format!("starting {}", node.name));
            self.processes.add(self.program(node)).await?;
        }
        Ok(())
    }

    /// Waits until every node says that it is ready.
    pub(crate) async fn wait_until_ready(&self) -> Result<(), ApiError> {
        for node in &self.layout.node {
            self.wait_for(node, |status| status.ready).await?;
        }
        Ok(())
    }

    /// Gives further hubs a vote on the ledger, so that it bears the loss of one. They keep it over restarts.
    pub(crate) async fn share_the_book(&self) -> Result<(), ApiError> {
        let hubs = self.layout.node.iter().filter(|node| node.role == Role::Hub).take(VOTERS);
        let hubs: Vec<&NodePlan> = hubs.collect();
        if hubs.len() < VOTERS {
            return Ok(());
        }
        let client = self.client(self.layout.first());
        for hub in hubs.into_iter().skip(1) {
            let order = Voters { node: hub.name.clone(), add: true };
            let giving = async {
                loop {
                    // The first moments of a cluster: a leader is chosen, and hubs come to know each other.
                    match client.post::<VotersDone>("/v1/ledger/voters", &order).await {
                        Ok(_) => return,
                        Err(_) => tokio::time::sleep(ASK_EVERY).await,
                    }
                }
            };
            tokio::time::timeout(READY_WITHIN, giving).await.map_err(|_| {
                let within = READY_WITHIN.as_secs();
                let message = format!("{} did not get a vote on the ledger within {within} s", hub.name);
                ApiError::new(ErrorKind::Timeout, message)
            })?;
        }
        Ok(())
    }

    /// Waits until what `node` says of itself is as wanted.
    pub(crate) async fn wait_for(&self, node: &NodePlan, wanted: impl Fn(&Status) -> bool) -> Result<Status, ApiError> {
        let client = self.client(node);
        let asking = async {
            loop {
                match client.get::<Status>("/v1/status").await {
                    Ok(status) if wanted(&status) => return status,
                    Ok(_) | Err(_) => tokio::time::sleep(ASK_EVERY).await,
                }
            }
        };
        tokio::time::timeout(READY_WITHIN, asking).await.map_err(|_| {
            let log = node.dir(&self.folder).join("node.log");
            let why = last_error(&log).map(|line| format!(" Its last error: {line}")).unwrap_or_default();
            let message = format!(
                "{} was not ready within {} s; its log is {}.{why}",
                node.name,
                READY_WITHIN.as_secs(),
                log.display()
            );
            ApiError::new(ErrorKind::Timeout, message)
        })
    }

    /// A client for one node.
    pub(crate) fn client(&self, node: &NodePlan) -> Client {
        Client::socket(&node_dir(&self.folder, &node.name).join("control.sock"))
    }

    /// Stops all nodes in reverse order and waits until they are gone.
    pub(crate) async fn stop(self) -> Result<(), ApiError> {
        self.processes.stop().await;
        self.task
            .await
            .map(drop)
            .map_err(|_| ApiError::failure("the supervisor of the processes panicked; they were killed"))
    }

    fn program(&self, node: &NodePlan) -> Program {
        let dir = node.dir(&self.folder);
        Program {
            node: node.name.clone(),
            config: dir.join("node.toml"),
            log: dir.join("node.log"),
            trees: self.trees.clone(),
        }
    }
}

fn place(node: &NodePlan, folder: &Path) -> NodePlace {
    NodePlace {
        dir: node.dir(folder),
        listen: node.listen,
        control: Some(node.control),
        metrics: Some(node.metrics),
        ledger: node.ledger,
        subscribe: node.subscribe.clone(),
        profile: LinkProfile::Loopback,
    }
}

/// The newest line of a log that tells of an error, to save people the way to the file.
fn last_error(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).context("no log").ok()?;
    text.lines().rev().take(200).find(|line| line.contains("ERROR")).map(|line| line.chars().take(400).collect())
}
