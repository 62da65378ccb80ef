//! A bare QUIC client that says whatever it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use covenant_identity::NodeKey;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint};
use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use super::LOOPBACK;

/// Believes every server: what is tested is whether the server believes us. Counts how often it was asked.
#[derive(Debug)]
struct Credulous(Arc<AtomicUsize>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519]
    }
}

/// Speaks this protocol and, perhaps, has a key and its chain. Keeps sessions and would resume them. `checked` counts the
/// certificates of servers that it was shown.
pub(crate) fn client(
    alpn: &[u8],
    identity: Option<(&NodeKey, Vec<Vec<u8>>)>,
    checked: Arc<AtomicUsize>,
) -> quinn::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(checked)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((key, chain)) => {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_pkcs8_der().to_vec()));
            builder.with_client_auth_cert(chain.into_iter().map(CertificateDer::from).collect(), key).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.enable_early_data = true;
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

/// Dials with this protocol and, perhaps, a key and its chain. Keep the endpoint as long as the connection.
pub(crate) async fn dial(
    address: SocketAddr,
    alpn: &[u8],
    identity: Option<(&NodeKey, Vec<Vec<u8>>)>,
) -> Result<(Endpoint, Connection), ConnectionError> {
    dial_from(LOOPBACK, address, alpn, identity).await
}

/// The same from an address of this machine.
pub(crate) async fn dial_from(
    from: SocketAddr,
    address: SocketAddr,
    alpn: &[u8],
    identity: Option<(&NodeKey, Vec<Vec<u8>>)>,
) -> Result<(Endpoint, Connection), ConnectionError> {
    let config = client(alpn, identity, Arc::default());
    let endpoint = Endpoint::client(from).unwrap();
    let connection = endpoint.connect_with(config, address, "covenant").unwrap().await?;
    Ok((endpoint, connection))
}

/// Waits until the server closes the connection, and returns its code.
pub(crate) async fn close_code(connection: &Connection) -> u64 {
    let closed = tokio::time::timeout(std::time::Duration::from_secs(20), connection.closed());
    match closed.await.unwrap() {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("expected a close with a code, got {other}"),
    }
}
