//! Who is at the other end: the chain up to our root, then the SPIFFE id. Names of hosts play no part.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use covenant_identity::{PeerIdentity, Subject, check_scope, counts_from, fingerprint};
use covenant_types::{NodeId, NodeName, WallTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::provider;
use crate::credentials::root_store;
use crate::{Denials, NodeCredentials};

/// Whom a client expects at the server's end.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// Any node of the cluster.
    AnyNode,
    /// The node with this name.
    Named(NodeName),
    /// The node with this id.
    WithId(NodeId),
}

/// Whom somebody believes who has no part in the cluster at the moment: it joins, or its certificate or clock is not to be
/// relied on.
#[derive(Clone, Debug)]
pub(crate) struct Believe {
    pub(crate) root: BelievedRoot,
    /// It is at least this late. A certificate that begins later counts: who is behind cannot know better. One that ended
    /// before does not.
    pub(crate) floor: WallTime,
}

/// Which roots somebody believes who has no part in the cluster.
#[derive(Clone, Debug)]
pub(crate) enum BelievedRoot {
    /// The one with this fingerprint, which the server sends.
    Pinned([u8; 32]),
    /// These.
    Known(Arc<RootCertStore>),
}

/// Checks a server: its chain, its cluster, and whether it is whom we expect.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    roots: Trust,
    cluster: String,
    expected: Expected,
    /// Who joins has heard of nobody who is denied.
    denials: Option<Arc<Denials>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Which roots count.
#[derive(Debug)]
enum Trust {
    /// Those that a node trusts at the moment of the handshake.
    Node(Arc<NodeCredentials>),
    /// These, now.
    Roots(Arc<RootCertStore>),
    /// Those of somebody who has no part in the cluster.
    Joining(Believe),
}

impl ServerVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        cluster: &str,
        expected: Expected,
        denials: Option<Arc<Denials>>,
    ) -> Self {
        Self { denials, ..Self::with_trust(Trust::Roots(roots), cluster, expected) }
    }

    pub(crate) fn of_node(credentials: &Arc<NodeCredentials>, expected: Expected) -> Self {
        let denials = Some(Arc::clone(credentials.denials()));
        Self { denials, ..Self::with_trust(Trust::Node(Arc::clone(credentials)), credentials.cluster(), expected) }
    }

    pub(crate) fn joining(believe: Believe, cluster: &str, expected: Expected) -> Self {
        Self::with_trust(Trust::Joining(believe), cluster, expected)
    }

    fn with_trust(roots: Trust, cluster: &str, expected: Expected) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { roots, cluster: cluster.to_owned(), expected, denials: None, algorithms }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (roots, at) = match &self.roots {
            Trust::Node(credentials) => (credentials.root_store(), now),
            Trust::Roots(roots) => (Arc::clone(roots), now),
            Trust::Joining(Believe { root, floor }) => {
                let roots = match root {
                    BelievedRoot::Known(roots) => Arc::clone(roots),
                    BelievedRoot::Pinned(print) => pinned_root(intermediates, print)?,
                };
                let chain: Vec<&[u8]> = std::iter::once(end_entity).chain(intermediates).map(AsRef::as_ref).collect();
                let from = counts_from(&chain).max(*floor);
                (roots, UnixTime::since_unix_epoch(Duration::from_secs(from.0)))
            }
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, intermediates, at, self.algorithms.all)?;
        check_scope(end_entity, intermediates).map_err(|error| refuse(error.to_string()))?;
        let identity = identity_in(end_entity, &self.cluster)?;
        if let Some(denials) = &self.denials {
            refuse_denied(denials, &identity, intermediates)?;
        }
        let Subject::Node { id, grant } = &identity.subject else {
            return Err(refuse("a server must be a node"));
        };
        match &self.expected {
            Expected::AnyNode => {}
            Expected::Named(name) if grant.name == *name => {}
            Expected::Named(name) => return Err(refuse(format!("expected the node {name}, found {}", grant.name))),
            Expected::WithId(expected) if id == expected => {}
            Expected::WithId(expected) => return Err(refuse(format!("expected the node {expected}, found {id}"))),
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Whether a client must have a certificate, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// Nodes, and joiners without a certificate; which of the two is checked after the handshake.
    NodesAndJoiners,
    /// Nodes and operators.
    NodesAndOperators,
    /// Nodes, and nobody without a certificate.
    Nodes,
}

/// Checks a client: its chain, its cluster, and whether it may come here.
pub(crate) struct ClientVerifier {
    credentials: Arc<NodeCredentials>,
    clients: Clients,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(crate) fn new(credentials: Arc<NodeCredentials>, clients: Clients) -> Self {
        Self { credentials, clients, algorithms: provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        match self.clients {
            Clients::NodesAndJoiners => false,
            Clients::NodesAndOperators | Clients::Nodes => true,
        }
    }

    /// None: the roots may change, and a node has one certificate to choose from.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.credentials.clients().verify_client_cert(end_entity, intermediates, now)?;
        check_scope(end_entity, intermediates).map_err(|error| refuse(error.to_string()))?;
        let identity = identity_in(end_entity, self.credentials.cluster())?;
        refuse_denied(self.credentials.denials(), &identity, intermediates)?;
        match (&identity.subject, self.clients) {
            (Subject::Node { .. }, _) | (Subject::Operator { .. }, Clients::NodesAndOperators) => Ok(verified),
            (Subject::Operator { .. }, Clients::NodesAndJoiners | Clients::Nodes) => {
                Err(refuse("an operator is not a node"))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").field("clients", &self.clients).finish_non_exhaustive()
    }
}

fn pinned_root(chain: &[CertificateDer<'_>], print: &[u8; 32]) -> Result<Arc<RootCertStore>, Error> {
    let root = chain
        .iter()
        .find(|certificate| fingerprint(certificate) == *print)
        .ok_or_else(|| refuse("the cluster's root is another one than the token names"))?;
    root_store(&[root.to_vec()]).map(Arc::new).map_err(|error| refuse(error.to_string()))
}

fn identity_in(certificate: &CertificateDer<'_>, cluster: &str) -> Result<PeerIdentity, Error> {
    let identity = PeerIdentity::from_certificate(certificate).map_err(|error| refuse(error.to_string()))?;
    if identity.trust_domain == cluster {
        Ok(identity)
    } else {
        Err(refuse(format!("the certificate is of the cluster {:?}, not of {cluster:?}", identity.trust_domain)))
    }
}

fn refuse_denied(denials: &Denials, identity: &PeerIdentity, above: &[CertificateDer<'_>]) -> Result<(), Error> {
    if denials.denies(identity, above) { Err(Error::InvalidCertificate(CertificateError::Revoked)) } else { Ok(()) }
}

fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic)
}

fn refuse(why: impl Into<String>) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(why.into())))))
}

/// rustls prints this one with `Debug`.
struct Refused(String);

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}
