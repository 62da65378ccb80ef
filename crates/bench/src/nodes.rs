//! Nodes to measure, put together as in production: two runtimes of two threads each.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{Cluster, ClusterConfig, MemberState};
use covenant_env::{Env, Metrics};
use covenant_identity::{IssuingAuthority, NodeGrant, NodeKey, RootAuthority, make_csr};
use covenant_runtime::{BehaviourRegistry, Observe, Ref, Resources, System, SystemConfig};
use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, load_tree};
use covenant_transport::{NodeCredentials, Profile, TransportConfig};
use covenant_types::{BootEpoch, NodeName, Region, Role};
use tokio::runtime::Runtime;

use crate::Failure;
use crate::actor::{Message, Subject};

/// Threads of each runtime of a node.
const THREADS: usize = 2;
/// What no step of preparation takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// A deadline that no healthy call comes near.
pub(crate) const AMPLE: Duration = Duration::from_secs(30);
const CLUSTER: &str = "bench";

/// The two runtimes of a node, and its world.
pub(crate) struct Host {
    system: Runtime,
    work: Runtime,
    pub(crate) env: Env,
}

impl Host {
    pub(crate) fn new(seed: u64) -> Result<Self, Failure> {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        let (system, work) = (runtime()?, runtime()?);
        let env = Env::real(system.handle().clone(), work.handle().clone(), seed, Metrics::none());
        Ok(Self { system, work, env })
    }

    /// Runs `future` as a task among the node's behaviours, and waits for it.
    pub(crate) fn on_work<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let task = self.env.work.spawn(future);
        self.work.block_on(task).map_err(|error| format!("the task of a benchmark ended early: {error:?}"))?
    }

    /// Runs `future` here, with what it borrows, on the behaviours' runtime.
    pub(crate) fn work_on<T>(&self, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.work.block_on(future)
    }

    /// Lets go without waiting for what runs.
    pub(crate) fn close(self) {
        self.system.shutdown_background();
        self.work.shutdown_background();
    }
}

/// Tree files by name; the first is the root.
pub(crate) type Files = &'static [(&'static str, &'static str)];

struct Text(Files);

impl TreeSource for Text {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        let file = self.0.iter().find(|(known, _)| *known == name);
        file.map(|(_, text)| (*text).to_owned()).ok_or(TreeSourceError::NotFound)
    }
}

/// One child that may crash as often as it likes.
const SUBJECT_TREE: Files = &[(
    "root",
    r#"
strategy = "one_for_one"
intensity = 1000000
period = "1s"

[[child]]
id = "subject"
behaviour = "bench.subject"
"#,
)];

/// Starts a tree on `host`.
pub(crate) fn start_tree(
    host: &Host,
    files: Files,
    registry: BehaviourRegistry,
    resources: Resources,
) -> Result<System, Failure> {
    start_observed(host, files, registry, resources, Observe::default())
}

pub(crate) fn start_observed(
    host: &Host,
    files: Files,
    registry: BehaviourRegistry,
    resources: Resources,
    observe: Observe,
) -> Result<System, Failure> {
    start_spec(host, load_tree("root", &Text(files))?, registry, resources, observe)
}

/// Starts `tree` on `host`.
pub(crate) fn start_spec(
    host: &Host,
    tree: TreeSpec,
    registry: BehaviourRegistry,
    resources: Resources,
    observe: Observe,
) -> Result<System, Failure> {
    let config = SystemConfig { env: host.env.clone(), tree, registry, resources };
    host.on_work(async move { Ok(System::start_observed(config, observe).await?) })
}

/// A tree of [`SUBJECT_TREE`], and the way to its child.
pub(crate) fn start_subject(host: &Host, resources: Resources) -> Result<(System, Ref<Message>), Failure> {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Subject>("bench.subject");
    let system = start_tree(host, SUBJECT_TREE, registry, resources)?;
    let subject = system.lookup(&"/subject".parse()?)?;
    Ok((system, subject))
}

/// As [`start_subject`], without a flight recorder.
pub(crate) fn start_unrecorded_subject(host: &Host) -> Result<(System, Ref<Message>), Failure> {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Subject>("bench.subject");
    let observe = Observe { record: false, ..Observe::default() };
    let system = start_observed(host, SUBJECT_TREE, registry, Resources::new(), observe)?;
    let subject = system.lookup(&"/subject".parse()?)?;
    Ok((system, subject))
}

/// Who signs the certificates of one benchmark.
pub(crate) struct Authority(IssuingAuthority);

impl Authority {
    pub(crate) fn new(env: &Env) -> Result<Self, Failure> {
        Ok(Self(RootAuthority::create(CLUSTER, env.wall())?.issue_issuing(env.wall())?))
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.0.root().to_vec()
    }

    /// The key of the node `name`, and its certificates.
    pub(crate) fn node(&self, name: &str, env: &Env) -> Result<(NodeKey, Vec<Vec<u8>>), Failure> {
        let key = NodeKey::generate();
        let grant = NodeGrant { name: NodeName::new(name)?, role: Role::Hub, region: Region::Africa };
        let chain = self.0.chain_for(self.0.sign_node(&make_csr(&key), &grant, env.wall())?);
        Ok((key, chain))
    }

    /// What the endpoint of the node `name` is told.
    pub(crate) fn transport(&self, name: &str, env: &Env) -> Result<TransportConfig, Failure> {
        let (key, chain) = self.node(name, env)?;
        Ok(TransportConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            identity: Arc::new(NodeCredentials::new(Arc::new(key), chain, vec![self.root()])?),
            cluster: CLUSTER.to_owned(),
            name: NodeName::new(name)?,
            epoch: BootEpoch(1),
            profile: Profile::Loopback,
        })
    }
}

/// Starts a node's part in the cluster.
pub(crate) fn start_node(
    config: &TransportConfig,
    host: &Host,
    seeds: Vec<SocketAddr>,
) -> Result<Arc<Cluster>, Failure> {
    let config = ClusterConfig::new(config.clone(), seeds);
    Ok(Cluster::start(config, host.env.clone(), None)?)
}

/// Waits until `cluster` has so many members that it can reach, itself included.
pub(crate) fn until_reachable(host: &Host, cluster: &Arc<Cluster>, count: usize) -> Result<(), Failure> {
    let cluster = Arc::clone(cluster);
    host.on_work(async move {
        let mut events = cluster.events();
        let reachable = |cluster: &Cluster| {
            cluster.members().iter().filter(|member| member.state == MemberState::Reachable).count()
        };
        let met = async {
            while reachable(&cluster) < count {
                // Lagging behind is no reason to stop: the list is looked at anew.
                let _any = events.recv().await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, met).await.map_err(|_| format!("{count} nodes did not find each other"))?)
    })
}

/// Two nodes that see each other: `one` and `two`.
pub(crate) struct Pair {
    pub(crate) hosts: [Host; 2],
    pub(crate) clusters: [Arc<Cluster>; 2],
    pub(crate) configs: [TransportConfig; 2],
}

impl Pair {
    pub(crate) fn start(authority: &Authority) -> Result<Self, Failure> {
        let hosts = [Host::new(1)?, Host::new(2)?];
        let configs = [authority.transport("one", &hosts[0].env)?, authority.transport("two", &hosts[1].env)?];
        let one = start_node(&configs[0], &hosts[0], Vec::new())?;
        let two = start_node(&configs[1], &hosts[1], vec![one.me().address])?;
        let pair = Self { hosts, clusters: [one, two], configs };
        for index in 0..2 {
            until_reachable(&pair.hosts[index], &pair.clusters[index], 2)?;
        }
        Ok(pair)
    }

    /// Ends both without a word.
    pub(crate) fn close(self) {
        self.clusters.iter().for_each(|cluster| cluster.abandon());
        self.hosts.into_iter().for_each(Host::close);
    }
}
