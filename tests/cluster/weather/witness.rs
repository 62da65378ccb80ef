//! A member of the cluster in the test's own process, over the same UDP: it calls and monitors actors on every node all the
//! time, and remembers how each call and each monitor ended.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use covenant_cluster::{Cluster, MemberEvent, MemberState};
use covenant_content::{StoreMessage, StoreRequest};
use covenant_env::Env;
use covenant_node::{LinkProfile, Node, NodeConfig, NodePlace, Trees};
use covenant_telemetry::{NodeMetrics, Notifier};
use covenant_types::{ActorPath, CallError, NodeName};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::harness::Up;

/// The actor that is monitored on every node.
pub(super) const WATCHED: &str = "/watch/watcher";
/// The actor that is called on every node.
const CALLED: &str = "/content/store";
/// The deadline of each call.
const CALL_WITHIN: Duration = Duration::from_secs(5);
/// How long after its deadline a call may end on a busy machine before it is called hung.
const HUNG_AFTER: Duration = Duration::from_secs(10);
/// The pause between two calls to one node, and before a monitor is set again.
const PAUSE: Duration = Duration::from_millis(100);

/// How calls ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calls {
    pub(super) answered: u64,
    pub(super) named_errors: u64,
    pub(super) hung: u64,
}

#[derive(Default)]
struct Seen {
    calls: Calls,
    /// How often each monitor fired, by node and reason.
    ends: BTreeMap<(String, String), u64>,
    /// Whether a monitor stands, by node.
    watching: BTreeMap<String, bool>,
    /// Who was called down here.
    downs: Vec<String>,
}

/// The member. Dropping it ends it as a crash would.
pub(super) struct Witness {
    cluster: Arc<Cluster>,
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<()>>,
    // Before its runtime: its tasks end with it.
    _node: Node,
    runtime: Runtime,
}

impl Witness {
    /// Joins the cluster of `up` with a token, and boots.
    pub(super) fn join(up: &Up, dir: &Path) -> Self {
        let token = up.ask(&[
            "token",
            "create",
            "--role",
            "tower",
            "--region",
            "asia",
            "--name",
            "witness",
            "--node",
            "hub-africa",
        ]);
        let token = token["token"].as_str().expect("a token").to_owned();
        let listen = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let place = NodePlace {
            dir: dir.to_owned(),
            listen,
            control: None,
            metrics: None,
            ledger: None,
            subscribe: Vec::new(),
            profile: LinkProfile::Loopback,
        };
        let handle = runtime.handle().clone();
        let node = runtime.block_on(async move {
            let metrics = NodeMetrics::new();
            let env = Env::real(handle.clone(), handle, 11, metrics.metrics());
            let made = covenant_node::join(&place, &token, &env).await.expect("the witness joins");
            let config = NodeConfig::load(&made.config).expect("its configuration is sound");
            let (trees, registry) = (Trees::built_in(), covenant_node::registry());
            let notifier = Notifier::to(None).unwrap();
            covenant_node::boot(config, trees, registry, env, metrics, notifier).await.expect("the witness boots")
        });
        let cluster = Arc::clone(node.cluster());
        Self { cluster, seen: Arc::default(), tasks: Vec::new(), _node: node, runtime }
    }

    /// Begins to call and monitor on each of `nodes`, and to listen for members that go down.
    pub(super) fn begin(&mut self, nodes: &[&str]) {
        for node in nodes {
            let name = NodeName::new(node).unwrap();
            let calling = call_for_ever(Arc::clone(&self.cluster), name.clone(), Arc::clone(&self.seen));
            let watching = watch_for_ever(Arc::clone(&self.cluster), name, Arc::clone(&self.seen));
            self.tasks.extend([self.runtime.spawn(calling), self.runtime.spawn(watching)]);
        }
        let listening = listen(Arc::clone(&self.cluster), Arc::clone(&self.seen));
        self.tasks.push(self.runtime.spawn(listening));
    }

    /// Forgets what was counted, not what stands.
    pub(super) fn reset(&self) {
        let mut seen = lock(&self.seen);
        (seen.calls, seen.ends, seen.downs) = (Calls::default(), BTreeMap::new(), Vec::new());
    }

    pub(super) fn calls(&self) -> Calls {
        lock(&self.seen).calls
    }

    /// How often the monitor on `node` fired with `reason`.
    pub(super) fn ends(&self, node: &str, reason: &str) -> u64 {
        let seen = lock(&self.seen);
        seen.ends.iter().filter(|((n, why), _)| n == node && why.contains(reason)).map(|(_, count)| count).sum()
    }

    /// All monitors that fired: node and reason.
    pub(super) fn all_ends(&self) -> Vec<(String, String)> {
        lock(&self.seen).ends.keys().cloned().collect()
    }

    pub(super) fn is_watching(&self, nodes: &[&str]) -> bool {
        let seen = lock(&self.seen);
        nodes.iter().all(|node| seen.watching.get(*node).copied().unwrap_or(false))
    }

    pub(super) fn downs(&self) -> Vec<String> {
        lock(&self.seen).downs.clone()
    }

    /// What this member sees of all.
    pub(super) fn view(&self) -> BTreeMap<String, (String, u64)> {
        let members = self.cluster.members();
        members.iter().map(|m| (m.name.to_string(), (m.state.to_string(), m.epoch.0))).collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        // Sockets and actors end inside the runtime.
        let _inside = self.runtime.enter();
        self.cluster.abandon();
    }
}

async fn call_for_ever(cluster: Arc<Cluster>, node: NodeName, seen: Arc<Mutex<Seen>>) {
    let path: ActorPath = CALLED.parse().expect("a path");
    let store = cluster.remote::<StoreMessage>(&node, &path);
    loop {
        let began = Instant::now();
        let request = |reply| StoreMessage { request: StoreRequest::Catalog, reply };
        let call = store.call(request, CALL_WITHIN);
        let ended = tokio::time::timeout(CALL_WITHIN + HUNG_AFTER, call).await;
        {
            let calls = &mut lock(&seen).calls;
            match ended {
                Ok(Ok(_)) => calls.answered += 1,
                // Before its time this would be a lie.
                Ok(Err(CallError::Timeout)) if began.elapsed() < CALL_WITHIN => calls.hung += 1,
                Ok(Err(_)) => calls.named_errors += 1,
                Err(_) => calls.hung += 1,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn watch_for_ever(cluster: Arc<Cluster>, node: NodeName, seen: Arc<Mutex<Seen>>) {
    let path: ActorPath = WATCHED.parse().expect("a path");
    loop {
        if let Ok(monitor) = cluster.monitor(&node, &path) {
            lock(&seen).watching.insert(node.to_string(), cluster.peer(&node).is_some());
            let down = monitor.await;
            note_end(&mut lock(&seen), &node, down.reason.to_string());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn note_end(seen: &mut Seen, node: &NodeName, reason: String) {
    seen.watching.insert(node.to_string(), false);
    *seen.ends.entry((node.to_string(), reason)).or_default() += 1;
}

async fn listen(cluster: Arc<Cluster>, seen: Arc<Mutex<Seen>>) {
    let mut events = cluster.events();
    loop {
        match events.recv().await {
            Ok(MemberEvent::Changed(view)) if view.state == MemberState::Down => {
                lock(&seen).downs.push(view.name.to_string());
            }
            Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
