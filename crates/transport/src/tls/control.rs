//! Mutual TLS over TCP for the control API.

use std::fmt;
use std::sync::Arc;

use covenant_env::Clock;
use covenant_identity::NodeKey;
use covenant_types::NodeName;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use super::quic::{server_config, without_resumption};
use super::verify::{Clients, Expected, ServerVerifier};
use super::{NodeTime, TlsError, provider};
use crate::NodeCredentials;
use crate::credentials::{root_store, signer, to_der};

/// Answers operators and nodes; nobody else gets through the handshake. HTTP/1.1 by ALPN.
///
/// Read who it is from the peer's first certificate with [`covenant_identity::PeerIdentity::from_certificate`].
///
/// # Errors
/// The credentials cannot be used for TLS.
pub fn control_server_config(
    credentials: &Arc<NodeCredentials>,
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, TlsError> {
    let mut config = server_config(credentials, clock, Clients::NodesAndOperators)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Who calls a control API: an operator or a node.
pub struct ControlIdentity<'a> {
    /// Its key.
    pub key: &'a NodeKey,
    /// Its chain, DER, its own certificate first.
    pub chain: &'a [Vec<u8>],
    /// The roots it trusts, DER.
    pub roots: &'a [Vec<u8>],
    /// The cluster.
    pub cluster: &'a str,
}

/// Calls the control API of the node named `expected`. Connect with [`super::SERVER_NAME`] as the server's name.
///
/// # Errors
/// The identity cannot be used for TLS.
pub fn control_client_config(
    identity: &ControlIdentity<'_>,
    expected: NodeName,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, TlsError> {
    let roots = Arc::new(root_store(identity.roots)?);
    let below_root: Vec<Vec<u8>> = identity.chain.iter().filter(|der| !identity.roots.contains(der)).cloned().collect();
    if below_root.is_empty() {
        return Err(TlsError("the chain is empty".to_owned()));
    }
    let certified = CertifiedKey::new(to_der(&below_root), signer(identity.key)?);
    let verifier = ServerVerifier::new(roots, identity.cluster, Expected::Named(expected), None);
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(NodeTime(clock)))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(Fixed(Arc::new(certified))));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(without_resumption(config))
}

impl fmt::Debug for ControlIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlIdentity").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesClientCert for Fixed {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
