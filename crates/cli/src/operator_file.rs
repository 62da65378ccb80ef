//! The file of a person who may tell nodes what to do: their key, their certificate and the cluster's root, in PEM.

use std::io;
use std::path::Path;
use std::sync::Arc;

use covenant_env::RealClock;
use covenant_identity::{NodeKey, PeerIdentity, certificates_from_pem};
use covenant_node::api::{ApiError, OperatorCreated};
use covenant_transport::tls::{self, ControlIdentity};
use covenant_types::NodeName;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a person proves themselves with.
#[derive(Clone)]
pub(crate) struct OperatorFile {
    config: Arc<rustls::ClientConfig>,
}

impl std::fmt::Debug for OperatorFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperatorFile")
    }
}

impl OperatorFile {
    /// Writes a file that only its owner can read.
    pub(crate) fn write(path: &Path, key: &NodeKey, created: &OperatorCreated) -> Result<(), ApiError> {
        if path.exists() {
            return Err(ApiError::usage(format!("{} exists; choose another file", path.display())));
        }
        let key = key.to_pem();
        // Reserved in one piece: growing would leave copies of the key behind.
        let length = key.len() + created.chain_pem.len() + ROOT_MARK.len() + created.root_pem.len();
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(&key);
        text.push_str(&created.chain_pem);
        text.push_str(ROOT_MARK);
        text.push_str(&created.root_pem);
        covenant_store::write_atomic(path, text.as_bytes(), 0o600).map_err(ApiError::failure)
    }

    /// Reads such a file, to call the node `node` as this person. One that others can read is refused.
    pub(crate) fn load(path: &Path, node: &NodeName) -> Result<Self, ApiError> {
        let bad = |what: String| ApiError::usage(format!("{}: {what}", path.display()));
        let text =
            covenant_node::read_secret(path, FILE_BYTES_MAX).map_err(|error| ApiError::usage(error.to_string()))?;
        let (own, root) = text.split_once(ROOT_MARK).ok_or_else(|| bad("this is not an operator's file".to_owned()))?;
        let end = own.find(KEY_END).map(|at| at + KEY_END.len()).ok_or_else(|| bad("it holds no key".to_owned()))?;
        let key = NodeKey::from_pem(&own[..end]).map_err(|error| bad(error.to_string()))?;
        let chain = certificates_from_pem(&own[end..]).map_err(|error| bad(error.to_string()))?;
        let roots = certificates_from_pem(root).map_err(|error| bad(error.to_string()))?;
        let leaf = chain.first().ok_or_else(|| bad("it holds no certificate".to_owned()))?;
        let person = PeerIdentity::from_certificate(leaf).map_err(|error| bad(error.to_string()))?;
        let identity = ControlIdentity { key: &key, chain: &chain, roots: &roots, cluster: &person.trust_domain };
        let clock = Arc::new(RealClock::new());
        let config =
            tls::control_client_config(&identity, node.clone(), clock).map_err(|error| bad(error.to_string()))?;
        Ok(Self { config: Arc::new(config) })
    }

    /// Begins TLS as this person.
    pub(crate) async fn secure(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        // The verifier checks the node's SPIFFE identity and not this name, which TLS wants all the same.
        let name = ServerName::try_from(tls::SERVER_NAME).map_err(io::Error::other)?;
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }
}

const ROOT_MARK: &str = "# the root of the cluster follows\n";
const KEY_END: &str = "-----END PRIVATE KEY-----";
