//! A node in a temporary folder that exposes a counter, and clients in processes of their own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use covenant_env::Env;
use covenant_identity::{IssuingAuthority, NodeGrant, NodeKey, RootAuthority, Scope, certificates_to_pem, make_csr};
use covenant_node::{InitSpec, LinkProfile, Node, NodeConfig, NodePlace, Trees};
use covenant_ractor_bridge::{Edge, ExposeError, Members, answer};
use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Reply, StartError};
use covenant_telemetry::{NodeMetrics, Notifier};
use covenant_types::{ActorPath, Incarnation, NodeName, Region, Role};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::quic::Identity;
use crate::words;

pub(crate) const COOKIE: &str = "of the edge";
const COUNTER: &str = "/counter";
const BRIDGE: &str = "/bridge";
/// How long anything may take that a test waits for.
const WITHIN: Duration = Duration::from_secs(60);

/// Counts what it is told.
#[derive(Debug)]
struct Counter(u64);

#[derive(Debug)]
enum Message {
    Add(u64),
    Total(Reply<u64>),
    Hold(Duration, Reply<&'static str>),
    LastWord(Reply<&'static str>),
    Forget(Reply<()>),
    Retire,
}

impl Behaviour for Counter {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self(0))
    }

    async fn handle(&mut self, message: Message, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            Message::Add(more) => self.0 += more,
            Message::Total(reply) => reply.send(self.0),
            Message::Hold(time, reply) => {
                tokio::time::sleep(time).await;
                reply.send("held");
            }
            Message::LastWord(reply) => {
                reply.send("last");
                return Err(Exit::error("asked to"));
            }
            Message::Forget(reply) => drop(reply),
            Message::Retire => ctx.stop(),
        }
        Ok(())
    }
}

/// The counter in the group `counters`.
#[derive(Debug)]
struct Counters;

impl Edge for Counters {
    fn expose(members: &mut Members<'_>) -> Result<(), ExposeError> {
        members.add("counters", COUNTER, |message| match message {
            words::Counter::Add(more) => Message::Add(more),
            words::Counter::Total(port) => Message::Total(answer(port, said)),
            words::Counter::Hold(millis, port) => Message::Hold(Duration::from_millis(millis), answer(port, said)),
            words::Counter::LastWord(port) => Message::LastWord(answer(port, said)),
            words::Counter::Forget(port) => Message::Forget(answer(port, |result| said(result.map(|()| "")))),
            words::Counter::Retire => Message::Retire,
        })?;
        Ok(())
    }
}

fn said<T: ToString>(result: Result<T, covenant_types::CallError>) -> String {
    result.map_or_else(|error| format!("failed: {error}"), |value| value.to_string())
}

/// A node that runs.
#[derive(Debug)]
pub(crate) struct World {
    dir: tempfile::TempDir,
    bridge: SocketAddr,
    node: Node,
}

impl World {
    pub(crate) async fn boot() -> Self {
        Self::try_boot().await.unwrap()
    }

    /// A node whose counter has a mailbox of this length.
    pub(crate) async fn with_room_for(messages: usize) -> Self {
        Self::try_with_room_for(messages).await.unwrap()
    }

    pub(crate) async fn try_boot() -> Result<Self, String> {
        Self::try_with_room_for(64).await
    }

    async fn try_with_room_for(messages: usize) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let [listen, bridge] = free_udp();
        let place = NodePlace {
            dir: dir.path().join("hub-one"),
            listen,
            control: None,
            metrics: None,
            ledger: None,
            subscribe: vec![],
            profile: LinkProfile::Loopback,
        };
        let name = name("hub-one");
        let (cluster, region, scope) = ("demo".to_owned(), Region::Africa, Scope::Everywhere);
        let made = covenant_node::init(&InitSpec { cluster, name, region, scope, place }, &Env::for_test(1)).unwrap();
        let trees = dir.path().join("trees");
        std::fs::create_dir_all(&trees).unwrap();
        let tree = format!(
            r#"
            strategy = "one_for_one"
            intensity = 1000

            [[child]]
            id = "counter"
            behaviour = "test.counter"
            restart = "transient"
            mailbox = {{ capacity = {messages} }}

            [[child]]
            id = "bridge"
            behaviour = "ractor.bridge"
            config = {{ listen = "{bridge}", roles = ["tower"], cookie = "{COOKIE}" }}
            "#
        );
        std::fs::write(trees.join("hub.toml"), tree).unwrap();
        let mut registry = covenant_node::registry();
        registry.register::<Counter>("test.counter");
        covenant_ractor_bridge::register::<Counters>(&mut registry);
        let config = NodeConfig::load(&made.config).unwrap();
        let metrics = NodeMetrics::new();
        let here = tokio::runtime::Handle::current();
        let env = Env::real(here.clone(), here, 7, metrics.metrics());
        let notifier = Notifier::to(None).unwrap();
        let booted = covenant_node::boot(config, Trees::folder(&trees), registry, env, metrics, notifier).await;
        let node = booted.map_err(|error| error.to_string())?;
        Ok(Self { dir, bridge, node })
    }

    /// Where clients connect.
    pub(crate) fn bridge(&self) -> SocketAddr {
        self.bridge
    }

    pub(crate) async fn stop(self) {
        self.node.stop().await;
    }

    /// A metric's value as `/metrics` has it, with its labels in `name`; 0 where nothing was counted.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.node.render_metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Which incarnation of the counter runs.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.node.system().tree().find(&path(COUNTER)).unwrap().incarnation
    }

    /// What `act` gives, and the most messages that waited for the counter meanwhile.
    pub(crate) async fn deepest<T>(&self, act: impl Future<Output = T>) -> (T, usize) {
        let (mut act, mut deepest) = (std::pin::pin!(act), 0);
        let mut look = tokio::time::interval(Duration::from_millis(2));
        loop {
            tokio::select! {
                biased;
                done = &mut act => return (done, deepest),
                _ = look.tick() => {
                    let mailbox = self.node.system().tree().find(&path(COUNTER)).unwrap().mailbox.unwrap();
                    deepest = deepest.max(mailbox.depth);
                }
            }
        }
    }

    /// Has the certificate of a client revoked, as an operator does. What the node answers.
    pub(crate) async fn revoke(&self, who: &str, role: Role) -> String {
        let key = std::fs::read_to_string(self.dir.path().join(format!("{who}-{role}/node.key"))).unwrap();
        let id = NodeKey::from_pem(&key).unwrap().node_id();
        let body = format!(r#"{{"who":{{"node":"{id}"}},"reason":"lost","dry_run":false}}"#);
        let head =
            format!("POST /v1/cert/revoke HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}", body.len());
        let mut stream = UnixStream::connect(self.dir.path().join("hub-one/control.sock")).await.unwrap();
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub(crate) async fn start_counter_again(&self) {
        self.node.system().restart_child(&path(COUNTER)).await.unwrap();
    }

    pub(crate) async fn kill_bridge(&self) {
        self.node.system().kill(&path(BRIDGE)).await.unwrap();
    }

    fn issuing(&self) -> IssuingAuthority {
        let pem = std::fs::read_to_string(self.dir.path().join("hub-one/identity/issuing.pem")).unwrap();
        IssuingAuthority::from_pem(&pem).unwrap()
    }

    /// The cluster's root.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.issuing().root().to_vec().into()
    }

    /// The folder of somebody with a key, certified by `issuing`.
    fn folder(&self, who: &str, role: Role, issuing: &IssuingAuthority) -> PathBuf {
        let folder = self.dir.path().join(format!("{who}-{role}"));
        std::fs::create_dir_all(&folder).unwrap();
        if folder.join("node.key").exists() {
            return folder;
        }
        let key = NodeKey::generate();
        let grant = NodeGrant { name: name(who), role, region: Region::Africa };
        let certificate = issuing.sign_node(&make_csr(&key), &grant, Env::for_test(2).wall()).unwrap();
        let mut chain = issuing.chain_for(certificate);
        // Whoever certified it, it looks for a node of this cluster.
        chain.retain(|certificate| certificate != issuing.root());
        chain.push(self.root().to_vec());
        std::fs::write(folder.join("node.key"), key.to_pem().as_bytes()).unwrap();
        std::fs::write(folder.join("chain.pem"), certificates_to_pem(&chain)).unwrap();
        folder
    }

    /// Somebody with a certificate of the cluster.
    pub(crate) fn identity(&self, who: &str, role: Role) -> Identity {
        Identity::load(&self.folder(who, role, &self.issuing())).unwrap()
    }

    /// A client with a certificate of the cluster that connects.
    pub(crate) fn client(&self, who: &str, role: Role, cookie: &str) -> Client {
        self.client_named(who, role, cookie, who)
    }

    /// A client that calls itself `said`.
    pub(crate) fn client_named(&self, who: &str, role: Role, cookie: &str, said: &str) -> Client {
        Client::start(self.bridge, &self.folder(who, role, &self.issuing()), said, cookie)
    }

    /// A client with a certificate of another cluster of the same name.
    pub(crate) fn stranger(&self, who: &str) -> Client {
        let now = Env::for_test(3).wall();
        let issuing = RootAuthority::create("demo", now).unwrap().issue_issuing(now).unwrap();
        Client::start(self.bridge, &self.folder(who, Role::Tower, &issuing), who, COOKIE)
    }
}

/// A `stock_client` that runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(bridge: SocketAddr, folder: &std::path::Path, name: &str, cookie: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_stock_client"))
            .arg(bridge.to_string())
            .arg(folder)
            .args([name, cookie])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output).lines() }
    }

    /// The next line it says.
    pub(crate) async fn hears(&mut self) -> String {
        let line = tokio::time::timeout(WITHIN, self.output.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{:?} says nothing", self.process.id()));
        line.unwrap().unwrap_or_else(|| "it ended".to_owned())
    }

    /// What it answers to `line`.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.hears().await
    }
}

/// Whether TLS with whoever listens at this port of loopback fails.
pub(crate) async fn tls_is_refused(port: u16) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let error = connector.connect(ServerName::try_from("covenant").unwrap(), tcp).await.unwrap_err();
    // Not this side's doubt about a certificate: there is none.
    error.to_string().contains("received fatal alert")
}

/// Waits until `holds`.
pub(crate) async fn wait_for(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WITHIN, waiting).await.expect("it comes to hold in time");
}

fn free_udp() -> [SocketAddr; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap())
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}
