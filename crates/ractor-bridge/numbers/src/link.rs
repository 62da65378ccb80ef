//! A stock `NodeServer` at each end, and a connection between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use ractor::{Actor, ActorRef};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream, NodeEventSubscription, NodeServer, NodeServerMessage};
use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::Failure;

const COOKIE: &str = "numbers";
/// The name in the certificate of a callee.
const HOST: &str = "localhost";
/// How long a connection may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Quic,
}

impl Carrier {
    pub(crate) const BOTH: [Self; 2] = [Self::Tcp, Self::Quic];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }

    pub(crate) fn read(word: &str) -> Result<Self, Failure> {
        Self::BOTH.into_iter().find(|carrier| carrier.word() == word).ok_or_else(|| format!("no carrier {word}").into())
    }
}

/// A `NodeServer` that listens at `port`, or at any.
pub(crate) async fn node(name: &str, port: u16) -> Result<ActorRef<NodeServerMessage>, Failure> {
    let isolated = Some(NodeConnectionMode::Isolated);
    let server = NodeServer::new(port, COOKIE.to_owned(), name.to_owned(), name.to_owned(), None, isolated)
        .with_listen_addr(Ipv4Addr::LOCALHOST.into());
    let (server, _task) = Actor::spawn(None, server, ()).await?;
    Ok(server)
}

/// Answers over QUIC for `server`. Where, and the certificate.
pub(crate) fn answer(server: ActorRef<NodeServerMessage>) -> Result<(SocketAddr, Vec<u8>), Failure> {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())?;
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config)?));
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
    let address = endpoint.local_addr()?;
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Some(incoming) = endpoint.accept().await {
            let Ok(connection) = incoming.await else { continue };
            let Ok((send, recv)) = connection.accept_bi().await else { continue };
            connections.push(connection);
            let stream = Box::new(Stream(send, recv));
            let opened = NodeServerMessage::ConnectionOpenedExternal { stream, is_server: true };
            if server.cast(opened).is_err() {
                break;
            }
        }
    });
    Ok((address, certificate.to_vec()))
}

/// A connection that `NodeServer` calls ready.
pub(crate) struct Connected {
    _quic: Option<(Endpoint, Connection)>,
}

/// Connects a node called `name` with a callee.
///
/// # Errors
/// The callee refused it, or it took too long.
pub(crate) async fn connect(
    name: &str,
    carrier: Carrier,
    address: SocketAddr,
    certificate: Vec<u8>,
) -> Result<Connected, Failure> {
    let server = node(name, 0).await?;
    let (told, mut events) = mpsc::channel(1);
    let subscription = Box::new(Events(told));
    server.cast(NodeServerMessage::SubscribeToEvents { id: "numbers".to_owned(), subscription })?;
    let quic = match carrier {
        Carrier::Tcp => {
            ractor_cluster::client_connect(&server, address).await?;
            None
        }
        Carrier::Quic => {
            let (endpoint, connection) = dial(address, certificate).await?;
            let (send, recv) = connection.open_bi().await?;
            ractor_cluster::client_connect_external(&server, Box::new(Stream(send, recv))).await?;
            Some((endpoint, connection))
        }
    };
    match timeout(READY_WITHIN, events.recv()).await? {
        Some(true) => Ok(Connected { _quic: quic }),
        Some(false) | None => Err("refused".into()),
    }
}

async fn dial(address: SocketAddr, certificate: Vec<u8>) -> Result<(Endpoint, Connection), Failure> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(certificate))?;
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?)));
    let connection = endpoint.connect(address, HOST)?.await?;
    Ok((endpoint, connection))
}

struct Stream(SendStream, RecvStream);

impl ClusterBidiStream for Stream {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (Box::new(self.1), Box::new(self.0))
    }
}

/// Tells whether the session is ready, or has ended: the first of the two that happens. Nobody listens for what follows.
struct Events(mpsc::Sender<bool>);

impl NodeEventSubscription for Events {
    fn node_session_opened(&self, _: NodeServerSessionInformation) {}

    fn node_session_disconnected(&self, _: NodeServerSessionInformation) {
        let _told = self.0.try_send(false);
    }

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}

    fn node_session_ready(&self, _: NodeServerSessionInformation) {
        let _told = self.0.try_send(true);
    }
}
