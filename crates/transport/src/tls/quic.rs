//! TLS of the endpoint.

use std::sync::Arc;

use covenant_env::Clock;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use super::verify::{Believe, ClientVerifier, Clients, Expected, ServerVerifier};
use super::{ALPN, NodeTime, TlsError, provider};
use crate::NodeCredentials;
use crate::join::JOIN_ALPN;

/// Answers nodes and joiners.
pub(crate) fn server(credentials: &Arc<NodeCredentials>, clock: Arc<dyn Clock>) -> Result<QuicServerConfig, TlsError> {
    let mut config = server_config(credentials, clock, Clients::NodesAndJoiners)?;
    config.alpn_protocols = vec![ALPN.to_vec(), JOIN_ALPN.to_vec()];
    QuicServerConfig::try_from(config).map_err(|error| TlsError(error.to_string()))
}

/// Dials nodes. Whether it is the one we want is checked after the handshake, where it can be said with a code.
pub(crate) fn client(credentials: &Arc<NodeCredentials>, clock: Arc<dyn Clock>) -> Result<QuicClientConfig, TlsError> {
    let verifier = ServerVerifier::of_node(credentials, Expected::AnyNode);
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(NodeTime(clock)))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(Current(Arc::clone(credentials))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    quic_client(config)
}

/// Dials an issuing hub without a certificate.
pub(crate) fn joiner(
    believe: Believe,
    cluster: &str,
    expected: Expected,
    clock: Arc<dyn Clock>,
) -> Result<QuicClientConfig, TlsError> {
    let verifier = ServerVerifier::joining(believe, cluster, expected);
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(NodeTime(clock)))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![JOIN_ALPN.to_vec()];
    quic_client(config)
}

/// Answers nodes that speak another protocol than ours, named `alpn`; nobody else gets through the handshake.
///
/// Read who it is from the peer's first certificate with [`covenant_identity::PeerIdentity::from_certificate`].
///
/// # Errors
/// The credentials cannot be used for TLS.
pub fn nodes_server_config(
    credentials: &Arc<NodeCredentials>,
    clock: Arc<dyn Clock>,
    alpn: &[u8],
) -> Result<ServerConfig, TlsError> {
    let mut config = server_config(credentials, clock, Clients::Nodes)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

pub(super) fn server_config(
    credentials: &Arc<NodeCredentials>,
    clock: Arc<dyn Clock>,
    clients: Clients,
) -> Result<ServerConfig, TlsError> {
    let verifier = ClientVerifier::new(Arc::clone(credentials), clients);
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(NodeTime(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Current(Arc::clone(credentials))));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

pub(super) fn without_resumption(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config
}

fn quic_client(config: ClientConfig) -> Result<QuicClientConfig, TlsError> {
    QuicClientConfig::try_from(without_resumption(config)).map_err(|error| TlsError(error.to_string()))
}

/// Presents the chain in force at the moment of the handshake.
#[derive(Debug)]
struct Current(Arc<NodeCredentials>);

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Nodes keep up with the roots. Joiners and operators may know an older one only.
        let is_node = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN));
        Some(if is_node { self.0.serving() } else { self.0.admitting() })
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.serving())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
