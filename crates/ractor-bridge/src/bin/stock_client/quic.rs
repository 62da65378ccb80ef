//! QUIC to a bridge, with rustls and a certificate of the cluster: a key, a chain and the root in PEM files, as a node's folder
//! has them.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// Who a client is.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// The cluster's root.
    pub(crate) root: CertificateDer<'static>,
}

impl Identity {
    /// The identity in the folder of a node: `node.key` and `chain.pem`, which ends with the root.
    pub(crate) fn load(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let chain = CertificateDer::pem_file_iter(folder.join("chain.pem"))?.collect::<Result<Vec<_>, _>>()?;
        let root = chain.last().ok_or("chain.pem is empty")?.clone();
        Ok(Self { chain, key: PrivateKeyDer::from_pem_file(folder.join("node.key"))?, root })
    }
}

/// Connects to the bridge at `address`. Keep the endpoint for as long as the connection.
pub(crate) async fn connect(
    address: SocketAddr,
    identity: Option<Identity>,
    root: CertificateDer<'static>,
) -> Result<(Endpoint, Connection), Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let provider = Arc::new(ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OfTheCluster { roots, provider }));
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"covenant-ractor/1".to_vec()];
    let local: SocketAddr = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let mut endpoint = Endpoint::client(local)?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?)));
    let connection = endpoint.connect(address, "covenant")?.await?;
    Ok((endpoint, connection))
}

/// The one stream of a connection, as `NodeServer` takes it.
#[derive(Debug)]
pub(crate) struct Stream(pub(crate) SendStream, pub(crate) RecvStream);

impl ClusterBidiStream for Stream {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (Box::new(self.1), Box::new(self.0))
    }
}

/// Accepts every node that the root vouches for. Names of hosts play no part: the cluster's certificates have none.
#[derive(Debug)]
struct OfTheCluster {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OfTheCluster {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
