//! Nodes with a real endpoint on loopback, all in this process, and an actor that can be asked to misbehave.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

mod actor;
mod counts;
pub mod deaf;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covenant_cluster::{Cluster, ClusterConfig, EpochKeeper, MemberState, MemberView, Topology};
use covenant_env::{Env, Metrics};
use covenant_identity::{Denial, Denied, IssuingAuthority, NodeGrant, NodeKey, RootAuthority, SignedDenial, make_csr};
use covenant_runtime::{BehaviourRegistry, Ref, Resources, System, SystemConfig};
use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, load_tree};
use covenant_transport::{NodeCredentials, Profile, TransportConfig};
use covenant_types::{ActorPath, BootEpoch, LinkTier, NodeId, NodeName, Region, Role, WallTime};

#[allow(unused_imports, reason = "each test takes what it needs")]
pub use actor::{Message, Note, Notes, OtherMessage, SameNameMessage};
pub use counts::Counts;

/// No test waits longer for a condition. Far beyond any bound the cluster promises, so only a hang meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A deadline that no healthy call comes near.
pub const AMPLE: Duration = Duration::from_secs(20);

const TREE: &str = r#"
strategy = "one_for_one"
intensity = 100
period = "10s"

[[child]]
id = "actor"
behaviour = "test.actor"

[[child]]
id = "other"
behaviour = "test.actor"

[[child]]
id = "tiny"
behaviour = "test.actor"
mailbox = { capacity = 4, overflow = "wait" }
"#;

static PROCESSES: AtomicU32 = AtomicU32::new(0);

struct Files(String);

impl TreeSource for Files {
    fn read(&self, _: &str) -> Result<String, TreeSourceError> {
        Ok(self.0.clone())
    }
}

/// The behaviours of the tree.
pub fn registry() -> BehaviourRegistry {
    let mut registry = BehaviourRegistry::new();
    registry.register::<actor::TestActor>("test.actor");
    registry
}

/// A node that can be started again with its key and its next epoch.
pub struct Identity {
    pub name: NodeName,
    pub key: Arc<NodeKey>,
    pub topology: Topology,
    pub tier: Option<LinkTier>,
    pub role: Role,
    pub region: Region,
    /// Whether it keeps a raised epoch, as a node with a disk does.
    pub keeps: bool,
    epoch: Arc<Epoch>,
}

/// The epoch of its last boot, as its disk has it.
#[derive(Debug, Default)]
struct Epoch(AtomicU64);

impl EpochKeeper for Epoch {
    fn raise(&self, to: BootEpoch) -> Result<(), String> {
        self.0.fetch_max(to.0, Ordering::SeqCst);
        Ok(())
    }
}

impl Identity {
    pub fn new(name: &str) -> Self {
        Self::of_role(name, Role::Hub)
    }

    pub fn of_role(name: &str, role: Role) -> Self {
        Self {
            name: NodeName::new(name).expect("a node name"),
            key: Arc::new(NodeKey::generate()),
            topology: Topology::Flat,
            tier: None,
            role,
            region: Region::Africa,
            keeps: true,
            epoch: Arc::default(),
        }
    }

    /// Of a cluster laid out in pools.
    pub fn placed(name: &str, role: Role, region: Region, tier: LinkTier) -> Self {
        Self { topology: Topology::Pools, tier: Some(tier), role, region, ..Self::new(name) }
    }

    /// The same key on a disk of its own, on which the last boot was this one: as from a backup, or a copy.
    pub fn copy(&self, epoch: u64) -> Self {
        Self { name: self.name.clone(), key: Arc::clone(&self.key), epoch: Arc::new(Epoch(epoch.into())), ..*self }
    }

    /// The epoch of its last boot, as its disk has it.
    pub fn epoch(&self) -> u64 {
        self.epoch.0.load(Ordering::SeqCst)
    }

    /// What its endpoint is told.
    pub fn transport_config(&self, now: WallTime) -> TransportConfig {
        TransportConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            identity: Arc::new(credentials(self, now)),
            cluster: CLUSTER.to_owned(),
            name: self.name.clone(),
            epoch: BootEpoch(self.epoch()),
            profile: Profile::Loopback,
        }
    }

    /// Starts its next boot.
    pub async fn boot(&mut self, seeds: &[SocketAddr]) -> Node {
        self.boot_with(seeds, load_tree("test", &Files(TREE.to_owned())).expect("the tree is sound"), registry()).await
    }

    /// The same with a tree of the test's own behaviours.
    pub async fn boot_tree(&mut self, seeds: &[SocketAddr], tree: &str) -> Node {
        self.boot_with(seeds, load_tree("test", &Files(tree.to_owned())).expect("the tree is sound"), registry()).await
    }

    /// The same with `more` children at the end of the tree, of behaviours in this registry.
    pub async fn boot_and(&mut self, seeds: &[SocketAddr], more: &str, registry: BehaviourRegistry) -> Node {
        let files = Files(format!("{TREE}\n{more}"));
        self.boot_with(seeds, load_tree("test", &files).expect("the tree is sound"), registry).await
    }

    /// The same with another tree, of these behaviours.
    pub async fn boot_with(&mut self, seeds: &[SocketAddr], tree: TreeSpec, registry: BehaviourRegistry) -> Node {
        self.epoch.0.fetch_add(1, Ordering::SeqCst);
        Node::start(self, seeds, tree, registry).await
    }
}

/// A running node.
pub struct Node {
    pub cluster: Arc<Cluster>,
    pub system: System,
    pub notes: Arc<Notes>,
    pub counts: Counts,
    pub credentials: Arc<NodeCredentials>,
}

impl Node {
    async fn start(identity: &Identity, seeds: &[SocketAddr], tree: TreeSpec, registry: BehaviourRegistry) -> Self {
        let counts = Counts::default();
        let handle = tokio::runtime::Handle::current();
        // Another one for each process, as on a machine.
        let seed = u64::from(identity.key.public_key()[0]) << 32 | u64::from(PROCESSES.fetch_add(1, Ordering::SeqCst));
        let env = Env::real(handle.clone(), handle, seed, Metrics::new(counts.clone()));
        let transport = identity.transport_config(env.wall());
        let credentials = Arc::clone(&transport.identity);
        let config = ClusterConfig {
            topology: identity.topology,
            tier: identity.tier,
            epochs: identity.keeps.then(|| Arc::clone(&identity.epoch) as Arc<dyn EpochKeeper>),
            ..ClusterConfig::new(transport, seeds.to_vec())
        };
        let cluster = Cluster::start(config, env.clone(), None).expect("the node starts");

        let notes = Arc::new(Notes::default());
        let mut resources = Resources::new();
        resources.insert(Arc::clone(&notes));
        resources.insert(Arc::clone(&cluster));
        let system = System::start(SystemConfig { env, tree, registry, resources }).await.expect("the tree starts");
        cluster.attach(system.clone());
        Self { cluster, system, notes, counts, credentials }
    }

    pub fn name(&self) -> NodeName {
        self.cluster.me().name
    }

    pub fn address(&self) -> SocketAddr {
        self.cluster.me().address
    }

    /// Ends it without a word.
    pub fn kill(self) {
        self.cluster.abandon();
    }

    /// The actor `id` on the node `on`, as this node reaches it.
    pub fn actor(&self, on: &NodeName, id: &str) -> Ref<Message> {
        self.cluster.remote(on, &path(id))
    }

    /// Waits until the members are as `condition` wants them.
    pub async fn until(&self, what: &str, condition: impl Fn(&[MemberView]) -> bool) {
        let mut events = self.cluster.events();
        let waiting = async {
            while !condition(&self.cluster.members()) {
                // Lagging behind is no reason to stop: the list is looked at anew.
                let _ = events.recv().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(in_time.is_ok(), "{}: not in time: {what}\n{:#?}", self.name(), self.cluster.members());
    }

    /// Waits until this node sees exactly these as reachable.
    pub async fn until_reachable(&self, names: &[&str]) {
        self.until(&format!("{names:?} reachable"), |members| {
            let mut seen: Vec<&str> = reachable(members).collect();
            seen.sort_unstable();
            let mut names = names.to_vec();
            names.sort_unstable();
            seen == names
        })
        .await;
    }

    pub async fn until_state(&self, name: &NodeName, state: MemberState) {
        self.until(&format!("{name} {state}"), |members| {
            members.iter().any(|member| member.name == *name && member.state == state)
        })
        .await;
    }
}

fn reachable(members: &[MemberView]) -> impl Iterator<Item = &str> {
    members.iter().filter(|member| member.state == MemberState::Reachable).map(|member| member.name.as_str())
}

/// Two nodes that see each other.
pub async fn pair() -> (Node, Node) {
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot(&[one.address()]).await;
    for node in [&one, &two] {
        node.until_reachable(&["one", "two"]).await;
    }
    (one, two)
}

/// Waits until `condition` holds, looking again whenever something else has run.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not in time: {what}");
}

pub fn path(id: &str) -> ActorPath {
    ActorPath::root().child(id).expect("an id")
}

/// The cluster's authority denies a node.
pub fn denial(id: NodeId) -> SignedDenial {
    let at = Env::for_test(0).wall();
    let (who, reason, by) = (Denied::Key { id, grant: None }, "stolen".to_owned(), "the test".to_owned());
    authority(at).deny(Denial { who, at, reason, by }).expect("a denial")
}

const CLUSTER: &str = "test-cluster";

fn authority(now: WallTime) -> &'static IssuingAuthority {
    static AUTHORITY: OnceLock<IssuingAuthority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let root = RootAuthority::create(CLUSTER, now).expect("a root");
        root.issue_issuing(now).expect("an issuing authority")
    })
}

fn credentials(identity: &Identity, now: WallTime) -> NodeCredentials {
    let authority = authority(now);
    let grant = NodeGrant { name: identity.name.clone(), role: identity.role, region: identity.region };
    let certificate = authority.sign_node(&make_csr(&identity.key), &grant, now).expect("a certificate");
    let chain = authority.chain_for(certificate);
    NodeCredentials::new(Arc::clone(&identity.key), chain, vec![authority.root().to_vec()]).expect("credentials")
}
