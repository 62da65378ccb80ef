//! Nodes of a group over real QUIC on loopback, in one process.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sum;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covenant_consensus::{Consensus, ConsensusConfig, Folder, GroupClient, Groups, Sender};
use covenant_env::{Env, Task};
use covenant_identity::{IssuingAuthority, NodeGrant, NodeKey, RootAuthority, make_csr};
use covenant_transport::{
    Bytes, Inbound, NodeCredentials, Peer, Plane, Profile, RecvStream, SendStream, Transport, TransportConfig,
};
use covenant_types::{BootEpoch, NodeId, NodeName, Region, Role, WallTime};
pub(crate) use sum::{Sum, amount};

pub(crate) const GROUP: &str = "ledger";
pub(crate) const ELECTION: Duration = Duration::from_millis(600);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A cluster's authority, and the nodes that have its certificates.
pub(crate) struct World {
    root: RootAuthority,
    issuing: IssuingAuthority,
    pub(crate) nodes: Vec<Node>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: ConsensusConfig,
}

/// A node on the network.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) id: NodeId,
    pub(crate) role: Role,
    pub(crate) env: Env,
    pub(crate) transport: Transport,
    pub(crate) groups: Groups,
    /// `None` on a node that is no member, and on one whose member was killed.
    pub(crate) member: Option<Arc<Consensus<Sum>>>,
    _dialler: Option<Task>,
}

/// Hands streams of consensus to the groups.
struct Ears(OnceLock<Groups>);

impl Inbound for Ears {
    fn peer_up(&self, _peer: &Peer) {}
    fn peer_down(&self, _peer: &Peer, _reason: &str) {}
    fn datagram(&self, _peer: &Peer, _bytes: Bytes) {}
    fn stream(&self, peer: &Peer, plane: Plane, send: SendStream, recv: RecvStream) {
        if let Some(groups) = self.0.get() {
            groups.take(peer, plane, send, recv);
        }
    }
    fn uni(&self, _peer: &Peer, _plane: Plane, _recv: RecvStream) {}
}

fn now() -> WallTime {
    Env::for_test(0).wall()
}

impl World {
    /// So many voters, connected to each other, and a group of them.
    pub(crate) async fn with_voters(count: usize) -> Self {
        let mut world = Self::empty();
        for number in 0..count {
            world.join(&format!("voter-{number}"), Role::Voter).await;
        }
        world.config.first_voters = world.nodes.iter().map(|node| node.id).collect();
        for number in 0..count {
            world.start_member(number).await;
        }
        let voters = world.config.first_voters.clone();
        world.member(0).form(&voters).await.unwrap();
        world
    }

    pub(crate) fn empty() -> Self {
        let root = RootAuthority::create("demo", now()).unwrap();
        let issuing = root.issue_issuing(now()).unwrap();
        let config = ConsensusConfig { election_timeout: ELECTION, ..ConsensusConfig::new(GROUP) };
        Self { root, issuing, nodes: Vec::new(), dir: tempfile::tempdir().unwrap(), config }
    }

    /// A node that is no member, connected to all others.
    pub(crate) async fn join(&mut self, name: &str, role: Role) -> usize {
        let key = NodeKey::generate();
        let grant = NodeGrant { name: NodeName::new(name).unwrap(), role, region: Region::Africa };
        let chain = self.issuing.chain_for(self.issuing.sign_node(&make_csr(&key), &grant, now()).unwrap());
        let roots = vec![self.root.certificate().to_vec()];
        let identity = Arc::new(NodeCredentials::new(Arc::new(key), chain, roots).unwrap());
        let number = self.nodes.len();
        let env = Env::for_test(number as u64 + 1);
        let config = TransportConfig {
            listen: LOOPBACK,
            advertise: None,
            identity: identity.clone(),
            cluster: "demo".to_owned(),
            name: grant.name,
            epoch: BootEpoch(1),
            profile: Profile::Loopback,
        };
        let ears = Arc::new(Ears(OnceLock::new()));
        let transport = Transport::bind(config, env.clone(), ears.clone(), None).unwrap();
        let groups = Groups::new(env.clone(), Arc::new(transport.clone()));
        ears.0.set(groups.clone()).unwrap();
        for other in &self.nodes {
            transport.connect(other.transport.local_addr(), Some(other.id)).await.unwrap();
        }
        // Whoever is cut off is dialled again.
        let others: Vec<_> = self.nodes.iter().map(|other| (other.transport.local_addr(), other.id)).collect();
        let dialling = transport.clone();
        let dialler = env.system.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                for (address, id) in others.iter().filter(|(_, id)| dialling.peer(*id).is_none()) {
                    let _later = dialling.connect(*address, Some(*id)).await;
                }
            }
        });
        let id = identity.id();
        let (member, name) = (None, name.to_owned());
        self.nodes.push(Node { name, id, role, env, transport, groups, member, _dialler: Some(dialler) });
        number
    }

    pub(crate) async fn start_member(&mut self, number: usize) {
        let started = self.try_start_member(number, &self.folder(number)).await;
        self.nodes[number].member = Some(started.unwrap());
    }

    pub(crate) fn folder(&self, number: usize) -> std::path::PathBuf {
        self.dir.path().join(&self.nodes[number].name)
    }

    pub(crate) async fn try_start_member(
        &self,
        number: usize,
        folder: &Path,
    ) -> Result<Arc<Consensus<Sum>>, covenant_consensus::StartError> {
        let node = &self.nodes[number];
        let disk = Arc::new(Folder::open(folder)?);
        let (config, env) = (self.config.clone(), node.env.clone());
        let network = node.groups.network(GROUP);
        let member = Consensus::start(config, node.id, env, disk, network, || Ok(Sum::default())).await?;
        let member = Arc::new(member);
        node.groups.serve(GROUP, &member);
        Ok(member)
    }

    /// Ends a member as a crash does. Its node stays connected.
    pub(crate) async fn kill_member(&mut self, number: usize) {
        let member = self.nodes[number].member.take().unwrap();
        self.nodes[number].groups.end(GROUP);
        // Requests under way hold it for a moment.
        until("the member is gone", || Arc::strong_count(&member) == 1).await;
        Arc::into_inner(member).unwrap().shutdown().await;
    }

    pub(crate) fn member(&self, number: usize) -> Arc<Consensus<Sum>> {
        self.nodes[number].member.clone().unwrap()
    }

    pub(crate) fn members(&self) -> BTreeMap<usize, Arc<Consensus<Sum>>> {
        let members = self.nodes.iter().enumerate();
        members.filter_map(|(number, node)| Some((number, node.member.clone()?))).collect()
    }

    /// Waits until somebody leads whom others follow, and says who.
    pub(crate) async fn leader(&self) -> usize {
        let mut found = None;
        let newest = || {
            let members = self.members();
            let (number, status) = members
                .iter()
                .map(|(number, member)| (*number, member.status()))
                .max_by_key(|(_, s)| (s.term, s.leads))?;
            (status.leads && status.quorum_age.is_some_and(|age| age < ELECTION)).then_some(number)
        };
        until("a leader", || {
            found = newest();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(crate) fn client(&self, number: usize) -> GroupClient {
        let node = &self.nodes[number];
        node.groups.client(GROUP, Sender { node: node.id, role: node.role }, &self.config.first_voters)
    }

    pub(crate) fn ids(&self, numbers: &[usize]) -> BTreeSet<NodeId> {
        numbers.iter().map(|number| self.nodes[*number].id).collect()
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "never: {what}");
}
