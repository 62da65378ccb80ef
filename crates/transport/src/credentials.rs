//! What a node proves itself with. Renewal swaps it; connections that stand are not touched.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use covenant_identity::{
    Adoption, CertificateError, DenialError, NodeGrant, NodeKey, PeerIdentity, RootsError, Scope, SignedDenial,
    Subject, Taken, TrustMark, TrustedRoots, key_id_of, renew_at, root_print,
};
use covenant_types::{NodeId, WallTime};
use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;

use crate::Denials;
use crate::tls::provider;

/// A node's key, its certificate chain, the roots it trusts, and whom it trusts no more. Chain and roots can be swapped while
/// the node runs.
pub struct NodeCredentials {
    key: Arc<NodeKey>,
    cluster: String,
    signer: Arc<dyn SigningKey>,
    current: ArcSwap<Loaded>,
    denials: Arc<Denials>,
    /// Held while `current` is replaced: what replaces it is made of it.
    replacing: Mutex<()>,
    issuing: Mutex<Option<Scope>>,
    changed: watch::Sender<()>,
}

/// One chain and one set of roots, ready for TLS.
struct Loaded {
    chain: Vec<Vec<u8>>,
    identity: PeerIdentity,
    grant: NodeGrant,
    issuer: NodeId,
    trusted: Arc<TrustedRoots>,
    mark: TrustMark,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    /// The chain without the root, which peers have.
    serving: Arc<CertifiedKey>,
    /// The chain and what bridges rotations, for joiners, who have a root's fingerprint only, and for those who were away.
    admitting: Arc<CertifiedKey>,
}

impl NodeCredentials {
    /// Credentials of the node with `key`. `chain` is DER, the node's own certificate first; `roots` is one root, DER. A node
    /// that has heard of others uses [`with_trust`](Self::with_trust).
    ///
    /// # Errors
    /// The certificates are malformed, or not a node's with this key, or not one root.
    pub fn new(key: Arc<NodeKey>, chain: Vec<Vec<u8>>, roots: Vec<Vec<u8>>) -> Result<Self, CredentialsError> {
        let cluster = PeerIdentity::from_certificate(chain.first().ok_or(CredentialsError::EmptyChain)?)?.trust_domain;
        let [root] = <[Vec<u8>; 1]>::try_from(roots).map_err(|_| CredentialsError::NotOneRoot)?;
        let trusted = TrustedRoots::of(&cluster, root).map_err(|error| CredentialsError::Roots(error.to_string()))?;
        Self::with_trust(key, chain, trusted)
    }

    /// Credentials of a node that trusts these roots.
    ///
    /// # Errors
    /// The certificates are malformed, or not a node's of this cluster with this key.
    pub fn with_trust(key: Arc<NodeKey>, chain: Vec<Vec<u8>>, trusted: TrustedRoots) -> Result<Self, CredentialsError> {
        let signer = signer(&key)?;
        let cluster = trusted.cluster().to_owned();
        let loaded = load(&key, chain, Arc::new(trusted), &signer)?;
        Ok(Self {
            key,
            cluster,
            signer,
            current: ArcSwap::from_pointee(loaded),
            replacing: Mutex::default(),
            issuing: Mutex::default(),
            changed: watch::Sender::new(()),
            denials: Arc::new(Denials::new()),
        })
    }

    /// Puts a renewed chain in place. Handshakes from now on use it; connections that stand are not touched.
    ///
    /// # Errors
    /// The chain is malformed, or not of this key and cluster. The old one stays.
    pub fn replace_chain(&self, chain: Vec<Vec<u8>>) -> Result<(), CredentialsError> {
        let _one_at_a_time = lock(&self.replacing);
        let trusted = self.trusted();
        self.put(load(&self.key, chain, trusted, &self.signer)?);
        Ok(())
    }

    /// Takes in statements about the cluster's roots. Handshakes from now on go by them; connections that stand are not
    /// touched.
    ///
    /// # Errors
    /// The bytes are malformed. Nothing changed.
    pub fn adopt_roots(&self, statements: &[u8]) -> Result<Adoption, RootsError> {
        let _one_at_a_time = lock(&self.replacing);
        let before = self.current.load_full();
        let mut trusted = TrustedRoots::clone(&before.trusted);
        let adopted = trusted.adopt(statements)?;
        if adopted == Adoption::New {
            let loaded = load(&self.key, before.chain.clone(), Arc::new(trusted), &self.signer);
            match loaded {
                Ok(loaded) => self.put(loaded),
                Err(_) => return Ok(Adoption::Refused("TLS cannot use its roots")),
            }
        }
        Ok(adopted)
    }

    fn put(&self, loaded: Loaded) {
        self.current.store(Arc::new(loaded));
        self.changed.send_replace(());
    }

    /// Says what this node may sign for, where it has an issuing authority.
    pub fn set_issuing(&self, scope: Option<Scope>) {
        *lock(&self.issuing) = scope;
        self.changed.send_replace(());
    }

    /// Told of every change of chain, roots and issuing authority.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What this node shows the others of its trust.
    pub fn mark(&self) -> TrustMark {
        TrustMark { issues: *lock(&self.issuing), ..self.current.load().mark }
    }

    /// The roots it trusts.
    pub fn trusted(&self) -> Arc<TrustedRoots> {
        Arc::clone(&self.current.load().trusted)
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

    pub(crate) fn root_store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.current.load().roots)
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
        // A denial outlives the root whose authority signed it.
        let trusted = self.trusted();
        let retired = trusted.retired().iter().map(|retired| &retired.certificate);
        let roots: Vec<&Vec<u8>> = trusted.roots().iter().chain(retired).collect();
        signed.verify(&self.cluster, &roots)?;
        Ok(self.denials.take(signed))
    }

    /// Checks the chains of clients.
    pub(crate) fn clients(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.current.load().clients)
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
    if store.is_empty() { Err(CredentialsError::NotOneRoot) } else { Ok(store) }
}

pub(crate) fn to_der(chain: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    chain.iter().map(|der| CertificateDer::from(der.clone())).collect()
}

fn load(
    key: &NodeKey,
    chain: Vec<Vec<u8>>,
    trusted: Arc<TrustedRoots>,
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
    if identity.trust_domain != trusted.cluster() {
        return Err(CredentialsError::OtherCluster(identity.trust_domain));
    }
    let known_roots: Vec<&Vec<u8>> = trusted.bridge().collect();
    let below_root: Vec<Vec<u8>> = chain.iter().filter(|der| !known_roots.contains(der)).cloned().collect();
    let with_root: Vec<Vec<u8>> = below_root.iter().chain(known_roots).cloned().collect();
    let certified = |chain: &[Vec<u8>]| Arc::new(CertifiedKey::new(to_der(chain), Arc::clone(signer)));
    let roots = Arc::new(root_store(trusted.roots())?);
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
        .build()
        .map_err(|error| CredentialsError::Tls(error.to_string()))?;
    let above = chain.get(1).or(trusted.roots().first()).ok_or(CredentialsError::NotOneRoot)?;
    let issuer = key_id_of(above)?;
    Ok(Loaded {
        issuer,
        identity,
        grant,
        mark: TrustMark {
            version: trusted.version(),
            roots: trusted.digest(),
            under: trusted.root_of(&chain).map(root_print).unwrap_or_default(),
            issues: None,
        },
        roots,
        clients,
        serving: certified(&below_root),
        admitting: certified(&with_root),
        trusted,
        chain,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// There is no root to trust, or several.
    #[error("exactly one root certificate must be given")]
    NotOneRoot,
    /// The root cannot be trusted.
    #[error("the root cannot be used: {0}")]
    Roots(String),
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
