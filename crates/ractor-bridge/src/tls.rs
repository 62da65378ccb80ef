//! TLS of the bridge: mutual over QUIC for clients, and none to be had over TCP.

use std::sync::Arc;

use covenant_env::Clock;
use covenant_transport::{NodeCredentials, tls};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// What a client asks for by ALPN.
pub const ALPN: &[u8] = b"covenant-ractor/1";

/// Answers nodes of the cluster; nobody else gets through the handshake.
pub(crate) fn for_clients(
    credentials: &Arc<NodeCredentials>,
    clock: Arc<dyn Clock>,
) -> Result<QuicServerConfig, String> {
    let config = tls::nodes_server_config(credentials, clock, ALPN).map_err(|error| error.to_string())?;
    QuicServerConfig::try_from(config).map_err(|error| error.to_string())
}

/// Fails every handshake. `NodeServer` binds a TCP port whatever it is told; this is what answers there.
pub(crate) fn for_nobody() -> Result<TlsAcceptor, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Nobody));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Has no certificate for anybody.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
