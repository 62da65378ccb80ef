//! Nodes with a real endpoint on loopback, all in this process, each with placement.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use covenant_cluster::{Cluster, ClusterConfig, MemberState};
use covenant_consensus::{Groups, Sender};
use covenant_env::{Clock, Env};
use covenant_identity::{IssuingAuthority, NodeGrant, NodeKey, RootAuthority, make_csr};
use covenant_placement::{NameRefused, Placement, PlacementConfig, StrongName, Surroundings, Voters, register};
use covenant_runtime::{
    Behaviour, BehaviourRegistry, Context, Exit, NoConfig, Remotable, Reply, Resources, StartError, System,
    SystemConfig,
};
use covenant_supervision::{TreeSource, TreeSourceError, load_tree};
use covenant_transport::{NodeCredentials, Profile, TransportConfig};
use covenant_types::{BootEpoch, NodeId, NodeName, Region, Role, Uptime, WallTime};

/// No test waits longer for a condition. Far beyond any bound the cluster promises, so only a hang meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const CLUSTER: &str = "test-cluster";
/// The node that begins the group.
pub(crate) const HOME: &str = "hub-africa";

struct Files;

impl TreeSource for Files {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        let porter = "intensity = 100\n[[child]]\nid = \"porter\"\nbehaviour = \"porter\"\n\
            backoff = { min = \"50ms\", max = \"50ms\", jitter = 0.0 }\n";
        match name {
            "root" => Ok("[[child]]\nid = \"placement\"\ntree = \"placement\"\n\
                [[child]]\nid = \"lodge\"\ntree = \"lodge\"\n"
                .to_owned()),
            "placement" => Ok("[[child]]\nid = \"table\"\nbehaviour = \"placement.table\"\n".to_owned()),
            "lodge" => Ok(porter.to_owned()),
            _ => Err(TreeSourceError::NotFound),
        }
    }
}

/// Has the strong name `porter`, or waits for it.
pub(crate) struct Porter {
    name: Option<StrongName>,
}

/// Asks under which token it has the name.
#[derive(Debug, Remotable)]
#[remotable(name = "test.porter/1")]
pub(crate) struct Token(pub(crate) Reply<Option<u64>>);

impl Behaviour for Porter {
    type Config = NoConfig;
    type Message = Token;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        ctx.set_alarm(Duration::ZERO);
        Ok(Self { name: None })
    }

    async fn alarm(&mut self, ctx: &Context<Self>) -> Result<(), Exit> {
        let placement = ctx.resource::<Placement>().map_err(Exit::error)?;
        match placement.register(ctx, "porter").await {
            Ok(name) => self.name = Some(name),
            Err(NameRefused::Taken { .. } | NameRefused::Lease(_)) => ctx.set_alarm(Duration::from_millis(50)),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn handle(&mut self, Token(reply): Token, _: &Context<Self>) -> Result<(), Exit> {
        reply.send(self.name.as_ref().map(|name| name.fence().token));
        Ok(())
    }
}

/// Who votes in a ledger that is not there: what a test says, at the node that begins.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Voters>);

impl Ledger {
    pub(crate) fn say(&self, nodes: BTreeSet<NodeId>) {
        let mut said = self.0.lock().unwrap();
        said.index += 1;
        said.nodes = nodes;
    }
}

struct Around {
    cluster: Arc<Cluster>,
    ledger: Option<Arc<Ledger>>,
}

impl Surroundings for Around {
    fn candidates(&self) -> BTreeMap<NodeId, bool> {
        let members = self.cluster.members().into_iter().filter(|member| member.role == Role::Hub);
        members.map(|member| (member.id, member.state == MemberState::Reachable)).collect()
    }

    fn ledger_voters(&self) -> Option<Voters> {
        let said = self.ledger.as_ref()?.0.lock().unwrap().clone();
        (!said.nodes.is_empty()).then_some(said)
    }
}

/// The clock of a machine that a test can suspend.
#[derive(Debug)]
struct Suspendable {
    clock: Arc<dyn Clock>,
    suspended: Arc<AtomicU64>,
}

impl Clock for Suspendable {
    fn now(&self) -> Uptime {
        self.clock.now()
    }
    fn wall(&self) -> WallTime {
        self.clock.wall()
    }
    fn suspended(&self) -> Duration {
        Duration::from_millis(self.suspended.load(Ordering::Acquire))
    }
}

/// Starts a node, with its data in `dir`.
pub(crate) async fn boot(name: &str, dir: &Path, seeds: &[SocketAddr], ledger: &Arc<Ledger>) -> Node {
    static SEEDS: AtomicU64 = AtomicU64::new(1);
    let (key, role) = (Arc::new(NodeKey::generate()), if name.starts_with("tower") { Role::Tower } else { Role::Hub });
    let name = NodeName::new(name).unwrap();
    let suspended = Arc::new(AtomicU64::new(0));
    let env = Env::for_test(SEEDS.fetch_add(1, Ordering::Relaxed));
    let clock = Arc::new(Suspendable { clock: env.clock.clone(), suspended: suspended.clone() });
    let env = Env { clock, ..env };
    let transport = TransportConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        identity: Arc::new(credentials(&key, &name, role, env.wall())),
        cluster: CLUSTER.to_owned(),
        name: name.clone(),
        epoch: BootEpoch(1),
        profile: Profile::Loopback,
    };
    let cluster = Cluster::start(ClusterConfig::new(transport, seeds.to_vec()), env.clone(), None).unwrap();
    let folder = dir.join(name.as_str());
    let begins = name.as_str() == HOME;
    if begins {
        PlacementConfig::let_begin(&folder).unwrap();
    }
    let peers = Arc::downgrade(&cluster);
    let peer = move |node| peers.upgrade().and_then(|cluster: Arc<Cluster>| cluster.peer_or_demand(node));
    let groups = Groups::new(env.clone(), Arc::new(peer));
    let taking = groups.clone();
    cluster.set_consensus_handler(Arc::new(move |peer, plane, send, recv| taking.take(peer, plane, send, recv)));
    let me = Sender { node: key.node_id(), role };
    let around = Arc::new(Around { cluster: cluster.clone(), ledger: begins.then(|| ledger.clone()) });
    let config = Arc::new(PlacementConfig::new(me, BootEpoch(1), folder, groups, around));
    let placement = Arc::new(Placement::new(config.clone(), cluster.clone(), env.clone()));
    let mut resources = Resources::new();
    resources.insert(cluster.clone()).insert(config.clone()).insert(placement.clone());
    let mut registry = BehaviourRegistry::new();
    register(&mut registry);
    registry.register::<Porter>("porter");
    let tree = load_tree("root", &Files).unwrap();
    let system = System::start(SystemConfig { env, tree, registry, resources }).await.unwrap();
    cluster.attach(system.clone());
    Node { cluster, system, placement, config, suspended }
}

fn credentials(key: &Arc<NodeKey>, name: &NodeName, role: Role, now: WallTime) -> NodeCredentials {
    static AUTHORITY: OnceLock<IssuingAuthority> = OnceLock::new();
    let authority = AUTHORITY.get_or_init(|| RootAuthority::create(CLUSTER, now).unwrap().issue_issuing(now).unwrap());
    let grant = NodeGrant { name: name.clone(), role, region: Region::Africa };
    let chain = authority.chain_for(authority.sign_node(&make_csr(key), &grant, now).unwrap());
    NodeCredentials::new(Arc::clone(key), chain, vec![authority.root().to_vec()]).unwrap()
}

/// A running node.
pub(crate) struct Node {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) system: System,
    pub(crate) placement: Arc<Placement>,
    pub(crate) config: Arc<PlacementConfig>,
    suspended: Arc<AtomicU64>,
}

impl Node {
    pub(crate) fn address(&self) -> SocketAddr {
        self.cluster.me().address
    }

    pub(crate) fn id(&self) -> NodeId {
        self.cluster.me().id
    }

    pub(crate) fn name(&self) -> NodeName {
        self.cluster.me().name
    }

    /// Waits until this node knows these as the voters.
    pub(crate) async fn until_voters(&self, nodes: &BTreeSet<NodeId>) {
        until("the voters are those of the ledger", || {
            self.config.status().is_some_and(|status| status.voters == *nodes).then_some(())
        })
        .await;
    }

    /// Has its machine stand still for so long.
    pub(crate) fn suspend(&self, span: Duration) {
        self.suspended.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::AcqRel);
    }

    /// Ends it without a word to the others.
    pub(crate) async fn kill(self) {
        self.cluster.abandon();
        self.system.stop(PATIENCE).await;
    }
}

/// Waits for a condition.
pub(crate) async fn until<T>(what: &str, mut so: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = so() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(found) => found,
        Err(_) => panic!("not in time: {what}"),
    }
}
