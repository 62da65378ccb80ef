//! Nodes with a real endpoint on loopback, all in this process, each with a desk and one of them with the book.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covenant_cluster::{Cluster, ClusterConfig, MemberState};
use covenant_consensus::{Groups, Sender};
use covenant_env::Env;
use covenant_identity::{IssuingAuthority, NodeGrant, NodeKey, RootAuthority, make_csr};
use covenant_ledger::{DeskMessage, LedgerConfig, LedgerError, register};
use covenant_runtime::{BehaviourRegistry, Ref, Reply, Resources, System, SystemConfig};
use covenant_supervision::{TreeSource, TreeSourceError, load_tree};
use covenant_transport::{NodeCredentials, Profile, TransportConfig};
use covenant_types::{BootEpoch, NodeName, Region, Role, WallTime};

/// No test waits longer for a condition. Far beyond any bound the cluster promises, so only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(60);
const CLUSTER: &str = "test-cluster";
/// The node that begins the ledger.
pub(crate) const HOME: &str = "hub-africa";

struct Files;

impl TreeSource for Files {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        let child = |id: &str| format!("[[child]]\nid = \"{id}\"\nbehaviour = \"ledger.{id}\"\n");
        match name {
            "root" => Ok("[[child]]\nid = \"ledger\"\ntree = \"ledger\"\n".to_owned()),
            "ledger" => Ok(child("book") + &child("log") + &child("desk")),
            _ => Err(TreeSourceError::NotFound),
        }
    }
}

/// A node that can be started again with its key and its next epoch.
pub(crate) struct Identity {
    name: NodeName,
    key: Arc<NodeKey>,
    role: Role,
    epoch: u64,
}

impl Identity {
    pub(crate) fn new(name: &str) -> Self {
        let role = if name.starts_with("tower") { Role::Tower } else { Role::Hub };
        Self { name: NodeName::new(name).unwrap(), key: Arc::new(NodeKey::generate()), role, epoch: 0 }
    }

    /// Starts its next boot, with its data in `dir`.
    pub(crate) async fn boot(&mut self, dir: &Path, seeds: &[SocketAddr]) -> Node {
        self.epoch += 1;
        let env = Env::for_test(self.epoch);
        let transport = TransportConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            identity: Arc::new(self.credentials(env.wall())),
            cluster: CLUSTER.to_owned(),
            name: self.name.clone(),
            epoch: BootEpoch(self.epoch),
            profile: Profile::Loopback,
        };
        let cluster = Cluster::start(ClusterConfig::new(transport, seeds.to_vec()), env.clone(), None).unwrap();
        let folder = dir.join(self.name.as_str()).join("ledger");
        if self.epoch == 1 && self.name.as_str() == HOME {
            LedgerConfig::let_begin(&folder).unwrap();
        }
        let peers = Arc::downgrade(&cluster);
        let peer = move |node| peers.upgrade().and_then(|cluster: Arc<Cluster>| cluster.peer_or_demand(node));
        let groups = Groups::new(env.clone(), Arc::new(peer));
        let taking = groups.clone();
        cluster.set_consensus_handler(Arc::new(move |peer, plane, send, recv| taking.take(peer, plane, send, recv)));
        let me = Sender { node: self.key.node_id(), role: self.role };
        let mut resources = Resources::new();
        resources.insert(Arc::clone(&cluster));
        resources.insert(Arc::new(LedgerConfig::new(me, self.name.clone(), folder, groups, cluster.clone())));
        let mut registry = BehaviourRegistry::new();
        register(&mut registry);
        let tree = load_tree("root", &Files).unwrap();
        let system = System::start(SystemConfig { env, tree, registry, resources }).await.unwrap();
        cluster.attach(system.clone());
        Node { cluster, system }
    }

    fn credentials(&self, now: WallTime) -> NodeCredentials {
        static AUTHORITY: OnceLock<IssuingAuthority> = OnceLock::new();
        let authority =
            AUTHORITY.get_or_init(|| RootAuthority::create(CLUSTER, now).unwrap().issue_issuing(now).unwrap());
        let grant = NodeGrant { name: self.name.clone(), role: self.role, region: Region::Africa };
        let chain = authority.chain_for(authority.sign_node(&make_csr(&self.key), &grant, now).unwrap());
        NodeCredentials::new(Arc::clone(&self.key), chain, vec![authority.root().to_vec()]).unwrap()
    }
}

/// A running node.
pub(crate) struct Node {
    cluster: Arc<Cluster>,
    system: System,
}

impl Node {
    pub(crate) fn address(&self) -> SocketAddr {
        self.cluster.me().address
    }

    /// Asks this node's desk.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        make: impl FnOnce(Reply<Result<T, LedgerError>>) -> DeskMessage,
    ) -> Result<T, LedgerError> {
        let desk: Ref<DeskMessage> = self.system.lookup(&"/ledger/desk".parse().unwrap()).unwrap();
        desk.call(make, PATIENCE).await.unwrap()
    }

    /// Waits until this node sees another as `state`, with a connection where it is reachable.
    pub(crate) async fn until(&self, name: &str, state: MemberState) {
        let home = NodeName::new(name).unwrap();
        let so = || {
            let seen = self.cluster.members().into_iter().any(|member| member.name == home && member.state == state);
            seen && (state != MemberState::Reachable || self.cluster.peer(&home).is_some())
        };
        let waiting = async {
            while !so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(in_time.is_ok(), "{home} is not {state}: {:#?}", self.cluster.members());
    }

    /// Ends it without a word to the others. Its book is closed, so that the next boot can open it.
    pub(crate) async fn kill(self) {
        self.cluster.abandon();
        self.system.stop(PATIENCE).await;
    }
}
