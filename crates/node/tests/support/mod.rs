//! Nodes in temporary folders, and the smallest HTTP client that can ask them.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_env::{Clock, Env, RealClock};
use covenant_identity::{NodeKey, PeerIdentity, Scope, make_csr};
use covenant_node::api::{ApiError, CreateOperator, CreateToken, OperatorCreated, TokenCreated};
use covenant_node::{BootError, InitSpec, LinkProfile, Node, NodeConfig, NodePlace, Trees, tls};
use covenant_runtime::{ActorState, BehaviourRegistry};
use covenant_telemetry::{NodeMetrics, Notifier};
use covenant_types::{NodeName, Region, Role, Uptime, WallTime};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

/// How long anything may take that a test waits for.
const WITHIN: Duration = Duration::from_secs(60);

/// A clock that can be put forward.
#[derive(Debug)]
pub(crate) struct Ahead {
    real: RealClock,
    by_s: AtomicU64,
}

impl Ahead {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { real: RealClock::new(), by_s: AtomicU64::new(0) })
    }

    /// From now on the date is `seconds` ahead of the machine's.
    pub(crate) fn put_forward(&self, seconds: u64) {
        self.by_s.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Uptime {
        self.real.now()
    }

    fn wall(&self) -> WallTime {
        WallTime(self.real.wall().0 + self.by_s.load(Ordering::Relaxed))
    }
}

/// Folders of nodes.
pub(crate) struct World(tempfile::TempDir);

/// A booted node.
#[derive(Debug)]
pub(crate) struct Running {
    node: Node,
    config: NodeConfig,
}

impl World {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn place(&self, name: &str, listen: SocketAddr, control: Option<SocketAddr>) -> NodePlace {
        let (dir, profile) = (self.dir(name), LinkProfile::Loopback);
        NodePlace { dir, listen, control, metrics: None, ledger: None, subscribe: vec![], profile }
    }

    /// Makes the first node of a cluster.
    pub(crate) fn make(&self, name: &str, listen: SocketAddr) {
        let spec = InitSpec {
            cluster: "demo".into(),
            name: NodeName::new(name).unwrap(),
            region: Region::Africa,
            scope: Scope::Everywhere,
            place: self.place(name, listen, Some(free_tcp())),
        };
        covenant_node::init(&spec, &Env::for_test(1)).unwrap();
    }

    /// Makes and boots the first node.
    pub(crate) async fn first(&self) -> Running {
        self.make("hub-one", free_udp());
        self.boot("hub-one").await.unwrap()
    }

    pub(crate) async fn join(&self, name: &str, token: &str) -> Result<(), String> {
        let place = self.place(name, free_udp(), None);
        covenant_node::join(&place, token, &Env::for_test(2)).await.map(drop).map_err(|error| error.to_string())
    }

    /// A tower that joined by a token of `hub`, booted.
    pub(crate) async fn joined(&self, hub: &Running, name: &str) -> Running {
        let name_of = NodeName::new(name).unwrap();
        let request = CreateToken { role: Role::Tower, region: Region::Asia, name: name_of, ttl_s: 60 };
        let made = post(&hub.socket(), "/v1/token", &json!(request)).await.unwrap();
        let made: TokenCreated = serde_json::from_value(made).unwrap();
        self.join(name, &made.token).await.unwrap();
        self.boot(name).await.unwrap()
    }

    pub(crate) async fn boot(&self, name: &str) -> Result<Running, BootError> {
        self.boot_with(name, Trees::built_in()).await
    }

    pub(crate) async fn boot_with(&self, name: &str, trees: Trees) -> Result<Running, BootError> {
        self.boot_at(name, trees, Arc::new(RealClock::new())).await
    }

    /// Boots a node that tells the time by `clock`.
    pub(crate) async fn boot_at(&self, name: &str, trees: Trees, clock: Arc<dyn Clock>) -> Result<Running, BootError> {
        let handle = tokio::runtime::Handle::current();
        self.boot_on(name, trees, covenant_node::registry(), clock, [handle.clone(), handle]).await
    }

    /// Boots a node on two runtimes, `system` and `work`, that can run the behaviours of `registry`.
    pub(crate) async fn boot_on(
        &self,
        name: &str,
        trees: Trees,
        registry: BehaviourRegistry,
        clock: Arc<dyn Clock>,
        [system, work]: [Handle; 2],
    ) -> Result<Running, BootError> {
        let config = NodeConfig::load(&self.dir(name).join("node.toml")).unwrap();
        let metrics = NodeMetrics::new();
        let env = Env { clock, ..Env::real(system, work, 7, metrics.metrics()) };
        let notifier = Notifier::to(None).unwrap();
        let node = covenant_node::boot(config.clone(), trees, registry, env, metrics, notifier).await?;
        Ok(Running { node, config })
    }

    /// The node's own key and certificate, as a caller of a control API.
    pub(crate) fn node_identity(&self, name: &str) -> Person {
        let read = |file: &str| std::fs::read_to_string(self.dir(name).join("identity").join(file)).unwrap();
        let chain = covenant_identity::certificates_from_pem(&read("chain.pem")).unwrap();
        let roots = vec![chain.last().unwrap().clone()];
        Person { key: NodeKey::from_pem(&read("node.key")).unwrap(), chain, roots, cluster: "demo".into() }
    }
}

impl Running {
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.config.socket()
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.config.node.listen
    }

    pub(crate) fn control(&self) -> SocketAddr {
        self.config.control.listen.unwrap()
    }

    /// Whether an incarnation of the actor runs.
    pub(crate) fn runs(&self, path: &str) -> bool {
        let tree = self.node.system().tree();
        tree.find(&path.parse().unwrap()).is_some_and(|actor| actor.state == ActorState::Running)
    }

    pub(crate) async fn stop(self) {
        self.node.stop().await;
    }
}

/// Somebody with a key and a certificate.
pub(crate) struct Person {
    pub(crate) key: NodeKey,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) cluster: String,
}

/// A person whom `node` certified.
pub(crate) async fn certified(node: &Running, who: &str, role: &str) -> Person {
    let key = NodeKey::generate();
    let request = CreateOperator { name: who.to_owned(), role: role.to_owned(), csr: make_csr(&key) };
    let made = post(&node.socket(), "/v1/operator", &json!(request)).await.unwrap();
    let made: OperatorCreated = serde_json::from_value(made).unwrap();
    let chain = covenant_identity::certificates_from_pem(&made.chain_pem).unwrap();
    let identity = PeerIdentity::from_certificate(&chain[0]).unwrap();
    assert_eq!(identity.not_after, made.expires);
    let roots = covenant_identity::certificates_from_pem(&made.root_pem).unwrap();
    Person { key, chain, roots, cluster: identity.trust_domain }
}

pub(crate) async fn get(socket: &Path, path: &str) -> Result<Value, ApiError> {
    exchange(UnixStream::connect(socket).await.unwrap(), ("GET", path), None, "").await
}

/// As [`post`], as part of a trace of the caller's.
pub(crate) async fn post_traced(socket: &Path, path: &str, body: &Value, traceparent: &str) -> Result<Value, ApiError> {
    let stream = UnixStream::connect(socket).await.unwrap();
    exchange(stream, ("POST", path), Some(body), &format!("traceparent: {traceparent}\r\n")).await
}

pub(crate) async fn post(socket: &Path, path: &str, body: &Value) -> Result<Value, ApiError> {
    exchange(UnixStream::connect(socket).await.unwrap(), ("POST", path), Some(body), "").await
}

/// Asks over mutual TLS, expecting the node `expected` at the other end.
pub(crate) async fn operator(
    person: &Person,
    address: SocketAddr,
    expected: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ApiError> {
    let Person { key, chain, roots, cluster } = person;
    let identity = tls::ControlIdentity { key, chain, roots, cluster };
    let expected = NodeName::new(expected).unwrap();
    let config = tls::control_client_config(&identity, expected, Arc::new(RealClock::new())).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(tls::SERVER_NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(ApiError::failure)?;
    exchange(stream, (method, path), body, "").await
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    (method, path): (&str, &str),
    body: Option<&Value>,
    more: &str,
) -> Result<Value, ApiError> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.map_err(ApiError::failure)?;
    stream.write_all(body.as_bytes()).await.map_err(ApiError::failure)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(ApiError::failure)?;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| ApiError::failure("no HTTP answer"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(serde_json::from_str(body).unwrap()),
        _ => Err(serde_json::from_str(body).unwrap_or_else(|_| ApiError::failure(head))),
    }
}

/// The pause between two questions whether something is so.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Asks again until it is so, at most [`WITHIN`].
pub(crate) async fn wait_for(mut so: impl FnMut() -> bool) {
    let asking = async {
        let mut pause = tokio::time::interval(ASK_EVERY);
        while !so() {
            pause.tick().await;
        }
    };
    tokio::time::timeout(WITHIN, asking).await.expect("what the test waits for comes about");
}

pub(crate) fn free_udp() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

pub(crate) fn free_tcp() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
