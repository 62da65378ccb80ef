//! A cluster's authority, nodes on loopback, and an `Inbound` that remembers.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

pub(crate) mod raw;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use covenant_env::Env;
use covenant_identity::{IssuingAuthority, NodeGrant, NodeKey, RootAuthority, make_csr};
use covenant_transport::join::Issuer;
use covenant_transport::{
    Bytes, Inbound, NodeCredentials, Peer, Plane, Profile, RecvStream, SendStream, Transport, TransportConfig,
};
use covenant_types::{BootEpoch, NodeName, Region, Role, WallTime};
use tokio::sync::watch;

pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A cluster on paper.
pub(crate) struct Paper {
    pub(crate) cluster: String,
    pub(crate) root: RootAuthority,
    pub(crate) issuing: IssuingAuthority,
}

impl Paper {
    pub(crate) fn new(cluster: &str) -> Self {
        Self::at(cluster, now())
    }

    pub(crate) fn at(cluster: &str, at: WallTime) -> Self {
        let root = RootAuthority::create(cluster, at).unwrap();
        let issuing = root.issue_issuing(at).unwrap();
        Self { cluster: cluster.to_owned(), root, issuing }
    }

    pub(crate) fn node(&self, name: &str) -> Arc<NodeCredentials> {
        self.node_at(name, now())
    }

    pub(crate) fn node_at(&self, name: &str, at: WallTime) -> Arc<NodeCredentials> {
        self.node_with(NodeKey::generate(), name, at)
    }

    pub(crate) fn node_with(&self, key: NodeKey, name: &str, at: WallTime) -> Arc<NodeCredentials> {
        let chain = self.chain(&key, name, at);
        Arc::new(NodeCredentials::new(Arc::new(key), chain, vec![self.root.certificate().to_vec()]).unwrap())
    }

    pub(crate) fn chain(&self, key: &NodeKey, name: &str, at: WallTime) -> Vec<Vec<u8>> {
        self.issuing.chain_for(self.issuing.sign_node(&make_csr(key), &grant(name), at).unwrap())
    }
}

pub(crate) fn grant(name: &str) -> NodeGrant {
    NodeGrant { name: NodeName::new(name).unwrap(), role: Role::Hub, region: Region::Africa }
}

pub(crate) fn now() -> WallTime {
    Env::for_test(0).wall()
}

/// A node that listens on loopback.
pub(crate) struct Node {
    pub(crate) transport: Transport,
    pub(crate) heard: Arc<Heard>,
    pub(crate) credentials: Arc<NodeCredentials>,
}

impl Node {
    pub(crate) fn start(paper: &Paper, credentials: Arc<NodeCredentials>, epoch: u64) -> Self {
        Self::issuing(paper, credentials, epoch, None)
    }

    pub(crate) fn issuing(
        paper: &Paper,
        credentials: Arc<NodeCredentials>,
        epoch: u64,
        issuer: Option<Arc<dyn Issuer>>,
    ) -> Self {
        Self::in_env(paper, credentials, epoch, Env::for_test(epoch), issuer)
    }

    /// A node in its first boot in a world of one's own.
    pub(crate) fn within(
        paper: &Paper,
        credentials: Arc<NodeCredentials>,
        env: Env,
        issuer: Option<Arc<dyn Issuer>>,
    ) -> Self {
        Self::in_env(paper, credentials, 1, env, issuer)
    }

    fn in_env(
        paper: &Paper,
        credentials: Arc<NodeCredentials>,
        epoch: u64,
        env: Env,
        issuer: Option<Arc<dyn Issuer>>,
    ) -> Self {
        let heard = Arc::new(Heard::default());
        let config = config(paper, &credentials, epoch);
        let transport = Transport::bind(config, env, Arc::clone(&heard) as _, issuer).unwrap();
        Self { transport, heard, credentials }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.transport.local_addr()
    }
}

pub(crate) fn config(paper: &Paper, credentials: &Arc<NodeCredentials>, epoch: u64) -> TransportConfig {
    TransportConfig {
        listen: LOOPBACK,
        advertise: None,
        identity: Arc::clone(credentials),
        cluster: paper.cluster.clone(),
        name: credentials.grant().name,
        epoch: BootEpoch(epoch),
        profile: Profile::Loopback,
    }
}

/// What one node was told, in order. Echoes streams of the actor plane.
#[derive(Default)]
pub(crate) struct Heard {
    events: Mutex<Vec<String>>,
    changed: watch::Sender<u64>,
}

impl Heard {
    fn add(&self, event: String) {
        self.events.lock().unwrap().push(event);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    /// Waits until what was heard so far fits.
    pub(crate) async fn until(&self, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                let events = self.events();
                if fits(&events) {
                    return events;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), waiting).await {
            Ok(events) => events,
            Err(_) => panic!("never heard what was waited for, only {:?}", self.events()),
        }
    }

    pub(crate) async fn until_heard(&self, event: &str) {
        self.until(|events| events.iter().any(|heard| heard.starts_with(event))).await;
    }
}

impl Inbound for Heard {
    fn peer_up(&self, peer: &Peer) {
        self.add(format!("up {} epoch {}", peer.info().name, peer.info().epoch));
    }

    fn peer_down(&self, peer: &Peer, reason: &str) {
        self.add(format!("down {} epoch {}: {reason}", peer.info().name, peer.info().epoch));
    }

    fn datagram(&self, peer: &Peer, bytes: Bytes) {
        self.add(format!("datagram {} {}", peer.info().name, String::from_utf8_lossy(&bytes)));
    }

    fn stream(&self, peer: &Peer, plane: Plane, mut send: SendStream, mut recv: RecvStream) {
        self.add(format!("stream {} {plane}", peer.info().name));
        // Tests own the runtime; an echo ends with its connection.
        tokio::runtime::Handle::current().spawn(async move {
            if let Ok(Some(frame)) = recv.read_frame(1 << 20).await
                && send.write_frame(&frame).await.is_ok()
            {
                send.finish();
                let _ = send.stopped().await;
            }
        });
    }

    fn uni(&self, peer: &Peer, plane: Plane, _recv: RecvStream) {
        self.add(format!("uni {} {plane}", peer.info().name));
    }
}

/// Sends a frame and returns what comes back.
pub(crate) async fn echo(peer: &Peer, text: &str) -> Option<String> {
    let (mut send, mut recv) = peer.open_bi(Plane::Actor).await.ok()?;
    send.write_frame(text.as_bytes()).await.ok()?;
    let frame = recv.read_frame(1 << 20).await.ok()??;
    Some(String::from_utf8(frame).unwrap())
}
