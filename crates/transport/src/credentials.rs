//! What a node proves itself with. Renewal swaps it; connections that stand are not touched.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use covenant_identity::{
    CertificateError, DenialError, NodeGrant, NodeKey, PeerIdentity, SignedDenial, Subject, Taken, key_id_of, renew_at,
};
use covenant_types::{NodeId, WallTime};
use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::Denials;

/// A node's key, its certificate chain, the roots it trusts, and whom it trusts no more. The chain can be swapped while the
/// node runs.
pub struct NodeCredentials {
    key: Arc<NodeKey>,
    cluster: String,
    roots: Vec<Vec<u8>>,
    root_store: Arc<RootCertStore>,
    signer: Arc<dyn SigningKey>,
    current: ArcSwap<Loaded>,
    denials: Arc<Denials>,
}

/// One chain, ready for TLS.
struct Loaded {
    chain: Vec<Vec<u8>>,
    identity: PeerIdentity,
    grant: NodeGrant,
    issuer: NodeId,
    /// The chain without the root, which peers have.
    serving: Arc<CertifiedKey>,
    /// The chain with the root, for joiners, who have its fingerprint only.
    admitting: Arc<CertifiedKey>,
}

impl NodeCredentials {
    /// Credentials of the node with `key`. `chain` is DER, the node's own certificate first; `roots` are DER.
    ///
    /// # Errors
    /// The certificates are malformed, or not a node's with this key.
    pub fn new(key: Arc<NodeKey>, chain: Vec<Vec<u8>>, roots: Vec<Vec<u8>>) -> Result<Self, CredentialsError> {
        let signer = signer(&key)?;
        let root_store = Arc::new(root_store(&roots)?);
        let loaded = load(&key, chain, &roots, &signer)?;
        let cluster = loaded.identity.trust_domain.clone();
        let denials = Arc::new(Denials::new());
        Ok(Self { key, cluster, roots, root_store, signer, current: ArcSwap::from_pointee(loaded), denials })
    }

    /// Puts a renewed chain in place. Handshakes from now on use it; connections that stand are not touched.
    ///
    /// # Errors
    /// The chain is malformed, or not of this key and cluster. The old one stays.
    pub fn replace_chain(&self, chain: Vec<Vec<u8>>) -> Result<(), CredentialsError> {
        let loaded = load(&self.key, chain, &self.roots, &self.signer)?;
        if loaded.identity.trust_domain != self.cluster {
            return Err(CredentialsError::OtherCluster(loaded.identity.trust_domain.clone()));
        }
        self.current.store(Arc::new(loaded));
        Ok(())
    }

    /// The node.
    pub fn id(&self) -> NodeId {
        self.key.node_id()
    }

    /// Its key.
    pub fn key(&self) -> &Arc<NodeKey> {
        &self.key
    }

    /// The cluster its certificate names.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// What the certificate in force says.
    pub fn identity(&self) -> PeerIdentity {
        self.current.load().identity.clone()
    }

    /// What the certificate in force grants this node.
    pub fn grant(&self) -> NodeGrant {
        self.current.load().grant.clone()
    }

    /// The authority that signed the certificate in force, by the hash of its key.
    pub fn issuer(&self) -> NodeId {
        self.current.load().issuer
    }

    /// When to renew: at half the certificate's life.
    pub fn renew_at(&self) -> WallTime {
        let current = self.current.load();
        renew_at(current.identity.not_before, current.identity.not_after)
    }

    /// The chain in force, DER, the node's own certificate first.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        self.current.load().chain.clone()
    }

    /// The roots it trusts, DER.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// Who is denied.
    pub fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Takes in a denial if an authority of this cluster signed it. From then on whom it names is refused, and whoever is
    /// connected of them is not much longer.
    ///
    /// # Errors
    /// It is not believed. Nothing was kept.
    pub fn deny(&self, signed: SignedDenial) -> Result<Taken, DenialError> {
        // A signature costs more to check than everything else together.
        if !self.denials.list().is_news(&signed) {
            return Ok(Taken::Known);
        }
        signed.verify(&self.cluster, &self.roots)?;
        Ok(self.denials.take(signed))
    }

    pub(crate) fn root_store(&self) -> &Arc<RootCertStore> {
        &self.root_store
    }

    pub(crate) fn serving(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().serving)
    }

    pub(crate) fn admitting(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().admitting)
    }
}

impl fmt::Debug for NodeCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCredentials")
            .field("identity", &self.current.load().identity.uri())
            .field("not_after", &self.current.load().identity.not_after)
            .finish_non_exhaustive()
    }
}

pub(crate) fn signer(key: &NodeKey) -> Result<Arc<dyn SigningKey>, CredentialsError> {
    let der = key.to_pkcs8_der();
    any_eddsa_type(&PrivatePkcs8KeyDer::from(der.as_slice())).map_err(|error| CredentialsError::Tls(error.to_string()))
}

pub(crate) fn root_store(roots: &[Vec<u8>]) -> Result<RootCertStore, CredentialsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from(root.as_slice())).map_err(|error| CredentialsError::Tls(error.to_string()))?;
    }
    if store.is_empty() { Err(CredentialsError::NoRoot) } else { Ok(store) }
}

pub(crate) fn to_der(chain: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    chain.iter().map(|der| CertificateDer::from(der.clone())).collect()
}

fn load(
    key: &NodeKey,
    chain: Vec<Vec<u8>>,
    roots: &[Vec<u8>],
    signer: &Arc<dyn SigningKey>,
) -> Result<Loaded, CredentialsError> {
    let own = chain.first().ok_or(CredentialsError::EmptyChain)?;
    if chain.len() > CHAIN_MAX {
        return Err(CredentialsError::LongChain(chain.len()));
    }
    let identity = PeerIdentity::from_certificate(own)?;
    if identity.public_key != key.public_key() {
        return Err(CredentialsError::OtherKey);
    }
    let Subject::Node { grant, .. } = identity.subject.clone() else {
        return Err(CredentialsError::NotANode);
    };
    let above = chain.get(1).or(roots.first()).ok_or(CredentialsError::NoRoot)?;
    let issuer = key_id_of(above)?;
    let below_root: Vec<Vec<u8>> = chain.iter().filter(|der| !roots.contains(der)).cloned().collect();
    let mut with_root = below_root.clone();
    with_root.extend(roots.iter().cloned());
    let certified = |chain: &[Vec<u8>]| Arc::new(CertifiedKey::new(to_der(chain), Arc::clone(signer)));
    Ok(Loaded { identity, grant, issuer, serving: certified(&below_root), admitting: certified(&with_root), chain })
}

/// The most certificates in a chain.
const CHAIN_MAX: usize = 4;

/// Certificates that cannot be used with this key. What was in force stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// There is no certificate.
    #[error("the chain is empty")]
    EmptyChain,
    /// There are too many certificates.
    #[error("the chain has {0} certificates, at most 4 are used")]
    LongChain(usize),
    /// There is no root to trust.
    #[error("no root certificate is given")]
    NoRoot,
    /// The node's certificate cannot be read.
    #[error("the node's certificate cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    /// The certificate is of another key.
    #[error("the certificate is of another key than the node's")]
    OtherKey,
    /// The certificate is an operator's.
    #[error("the certificate is not a node's")]
    NotANode,
    /// The certificate is of another cluster.
    #[error("the certificate is of the cluster {0:?}, not of this node's")]
    OtherCluster(String),
    /// TLS cannot use key or root.
    #[error("TLS cannot use the key or a root: {0}")]
    Tls(String),
}
