//! Who says who is who: the root, kept offline, and the issuing authorities below it.

use std::fmt;
use std::time::Duration;

use covenant_types::WallTime;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::certificate::{self, Draft, Kind, MintError};
use crate::key::node_id_of;
use crate::pem::{certificates_from_pem, certificates_to_pem};
use crate::scope::{Scope, parse_authority_uri};
use crate::spiffe::{Subject, is_cluster_name};
use crate::x509::{CertificateError, Parsed, check_csr, parse_certificate};
use crate::{KeyError, NodeGrant, NodeKey, OperatorName, OperatorRole};

/// How long a node's certificate lasts.
pub const NODE_LIFETIME: Duration = Duration::from_hours(24);
/// How long an operator's certificate lasts.
pub const OPERATOR_LIFETIME: Duration = Duration::from_hours(30 * 24);
/// How long an issuing authority lasts.
pub const ISSUING_LIFETIME: Duration = Duration::from_hours(30 * 24);
/// How long a root lasts.
pub const ROOT_LIFETIME: Duration = Duration::from_hours(20 * 365 * 24);
/// Certificates begin this long before they are made, for clocks that are behind.
pub(crate) const CLOCK_SLACK: Duration = Duration::from_mins(5);

/// The root of a cluster. Its key belongs offline: whoever has it can be anybody.
#[derive(Debug)]
pub struct RootAuthority(Authority);

/// An authority that signs nodes and operators, for 30 days. A hub has its key.
#[derive(Debug)]
pub struct IssuingAuthority {
    own: Authority,
    root: Vec<u8>,
    scope: Scope,
}

struct Authority {
    cluster: String,
    key: NodeKey,
    certificate: Vec<u8>,
    not_after: WallTime,
}

impl RootAuthority {
    /// A new root, and with it a new cluster.
    ///
    /// # Errors
    /// `cluster` cannot name a cluster.
    pub fn create(cluster: &str, now: WallTime) -> Result<Self, AuthorityError> {
        if !is_cluster_name(cluster) {
            return Err(AuthorityError::ClusterName(cluster.chars().take(64).collect()));
        }
        let key = NodeKey::generate();
        let not_after = later(now, ROOT_LIFETIME);
        let certificate = certificate::self_signed(
            &Draft {
                // Two roots of a cluster have two names: an issuing authority names the one that signed it.
                common_name: format!("covenant root {cluster} {}", key.node_id()),
                uri: Scope::Everywhere.uri(cluster),
                // Two: an issuing authority, and between them the root that replaces this one.
                kind: Kind::Authority { below: 2 },
                public_key: &key.public_key(),
                not_before: earlier(now, CLOCK_SLACK),
                not_after,
            },
            &key,
        )?;
        Ok(Self(Authority { cluster: cluster.to_owned(), key, certificate, not_after }))
    }

    /// Key and certificate as PEM. Write it to a file only its owner can read, and take that offline.
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.0.to_pem(&[&self.0.certificate])
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote.
    ///
    /// # Errors
    /// The text is not a root's key and certificate.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        let (authority, rest) = Authority::from_pem(pem)?;
        let parsed = parse_certificate(&authority.certificate)?;
        if rest.is_empty() && parsed.is_signed_by(&parsed.public_key) {
            Ok(Self(authority))
        } else {
            Err(AuthorityError::NotAnAuthority("it is not a root"))
        }
    }

    /// A new issuing authority for everywhere, with a key made here.
    ///
    /// # Errors
    /// `now` lies beyond what a certificate can say.
    pub fn issue_issuing(&self, now: WallTime) -> Result<IssuingAuthority, AuthorityError> {
        let key = NodeKey::generate();
        let certificate = self.sign_issuing(&crate::make_csr(&key), Scope::Everywhere, now)?;
        IssuingAuthority::assemble(key, certificate, self.0.certificate.clone())
    }

    /// Signs an issuing authority whose key is elsewhere. Returns its certificate, DER; it ends after 30 days.
    ///
    /// # Errors
    /// The signing request does not prove its key, or `now` lies beyond what a certificate can say or this root's end.
    pub fn sign_issuing(&self, csr: &[u8], scope: Scope, now: WallTime) -> Result<Vec<u8>, AuthorityError> {
        let public_key = check_csr(csr)?;
        if now >= self.0.not_after {
            return Err(AuthorityError::Ended);
        }
        let draft = Draft {
            common_name: format!("covenant issuing {} {}", self.0.cluster, node_id_of(&public_key)),
            uri: scope.uri(&self.0.cluster),
            kind: Kind::Authority { below: 0 },
            public_key: &public_key,
            not_before: earlier(now, CLOCK_SLACK),
            not_after: later(now, ISSUING_LIFETIME).min(self.0.not_after),
        };
        Ok(certificate::signed_by(&draft, &self.0.certificate, &self.0.key)?)
    }

    /// Certifies the root that is to replace this one, so that who trusts only this one believes what the new one signed.
    ///
    /// # Errors
    /// It is of another cluster, or `now` lies beyond what a certificate can say.
    pub(crate) fn cross_sign(&self, successor: &Self, now: WallTime) -> Result<Vec<u8>, AuthorityError> {
        let parsed = parse_certificate(&successor.0.certificate)?;
        if successor.0.cluster != self.0.cluster {
            return Err(AuthorityError::NotAnAuthority("it is of another cluster"));
        }
        let draft = Draft {
            common_name: successor.common_name(),
            uri: Scope::Everywhere.uri(&self.0.cluster),
            kind: Kind::Authority { below: 1 },
            public_key: &parsed.public_key,
            not_before: earlier(now, CLOCK_SLACK),
            not_after: self.0.not_after.min(successor.0.not_after),
        };
        Ok(certificate::signed_by(&draft, &self.0.certificate, &self.0.key)?)
    }

    fn common_name(&self) -> String {
        format!("covenant root {} {}", self.0.cluster, self.0.key.node_id())
    }

    /// Signs `message` as this root.
    pub(crate) fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.0.key.sign(message)
    }

    /// When this root ends.
    pub fn not_after(&self) -> WallTime {
        self.0.not_after
    }

    /// The root's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }

    /// The cluster.
    pub fn cluster(&self) -> &str {
        &self.0.cluster
    }
}

impl IssuingAuthority {
    /// The authority with `key`, which `root` certified. Certificates are DER.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn assemble(key: NodeKey, certificate: Vec<u8>, root: Vec<u8>) -> Result<Self, AuthorityError> {
        let own = Authority::assemble(key, certificate)?;
        let (parsed, above) = (parse_certificate(&own.certificate)?, parse_certificate(&root)?);
        if !above.is_authority || !parsed.is_signed_by(&above.public_key) {
            return Err(AuthorityError::NotAnAuthority("the root did not sign it"));
        }
        let (_, scope) =
            parse_authority_uri(&parsed.uri).ok_or(AuthorityError::NotAnAuthority("it names no cluster"))?;
        Ok(Self { own, root, scope })
    }

    /// Signs a node. Returns its certificate, DER; see [`chain_for`](Self::chain_for).
    ///
    /// # Errors
    /// The signing request does not prove its key, or this authority has ended.
    pub fn sign_node(&self, csr: &[u8], grant: &NodeGrant, now: WallTime) -> Result<Vec<u8>, AuthorityError> {
        let public_key = check_csr(csr)?;
        let subject = Subject::Node { id: node_id_of(&public_key), grant: grant.clone() };
        self.sign(&public_key, &subject, grant.name.to_string(), NODE_LIFETIME, earlier(now, CLOCK_SLACK), now)
    }

    /// Signs an operator. Returns the certificate, DER.
    ///
    /// # Errors
    /// The signing request does not prove its key, or this authority has ended.
    pub fn sign_operator(
        &self,
        csr: &[u8],
        name: &OperatorName,
        role: OperatorRole,
        now: WallTime,
    ) -> Result<Vec<u8>, AuthorityError> {
        self.sign_operator_from(csr, name, role, WallTime(0), now)
    }

    /// The same, with a certificate that does not begin before `from`: one whose earlier certificates were denied.
    ///
    /// # Errors
    /// As [`sign_operator`](Self::sign_operator).
    pub fn sign_operator_from(
        &self,
        csr: &[u8],
        name: &OperatorName,
        role: OperatorRole,
        from: WallTime,
        now: WallTime,
    ) -> Result<Vec<u8>, AuthorityError> {
        let public_key = check_csr(csr)?;
        let subject = Subject::Operator { name: name.clone(), role };
        let not_before = earlier(now, CLOCK_SLACK).max(from);
        self.sign(&public_key, &subject, name.to_string(), OPERATOR_LIFETIME, not_before, now)
    }

    fn sign(
        &self,
        public_key: &[u8; 32],
        subject: &Subject,
        common_name: String,
        lifetime: Duration,
        not_before: WallTime,
        now: WallTime,
    ) -> Result<Vec<u8>, AuthorityError> {
        if now >= self.own.not_after {
            return Err(AuthorityError::Ended);
        }
        if !self.scope.permits(subject) {
            return Err(AuthorityError::OutOfScope(self.scope));
        }
        let kind = match subject {
            Subject::Node { .. } => Kind::Node,
            Subject::Operator { .. } => Kind::Operator,
        };
        let draft = Draft {
            common_name,
            uri: subject.uri(&self.own.cluster),
            kind,
            public_key,
            not_before,
            not_after: later(not_before, lifetime).min(self.own.not_after),
        };
        Ok(certificate::signed_by(&draft, &self.own.certificate, &self.own.key)?)
    }

    /// `certificate`, signed by this authority, and those that vouch for it up to the root: what TLS wants.
    pub fn chain_for(&self, certificate: Vec<u8>) -> Vec<Vec<u8>> {
        vec![certificate, self.own.certificate.clone(), self.root.clone()]
    }

    /// Key and certificates as PEM. Write it to a file only its owner can read.
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.own.to_pem(&[&self.own.certificate, &self.root])
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote.
    ///
    /// # Errors
    /// The text is not an issuing authority's key and its certificates up to the root.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        let (own, rest) = Authority::from_pem(pem)?;
        let [root] = <[Vec<u8>; 1]>::try_from(rest)
            .map_err(|_| AuthorityError::NotAnAuthority("it has not its own certificate and the root's"))?;
        Self::assemble(own.key, own.certificate, root)
    }

    /// Its signature over a denial.
    pub(crate) fn signature_of(&self, denial: &[u8]) -> [u8; 64] {
        self.own.key.sign(denial)
    }

    /// This authority's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.own.certificate
    }

    /// What it may sign for.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The root's certificate, DER.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The cluster.
    pub fn cluster(&self) -> &str {
        &self.own.cluster
    }

    /// When this authority ends.
    pub fn not_after(&self) -> WallTime {
        self.own.not_after
    }
}

#[cfg(test)]
impl IssuingAuthority {
    /// What somebody with this authority's key could make of it.
    pub(crate) fn as_if_a_root(&self) -> RootAuthority {
        let key = NodeKey::from_pem(&self.own.key.to_pem()).expect("a key survives its file");
        RootAuthority(Authority::assemble(key, self.own.certificate.clone()).expect("it is an authority"))
    }
}

impl Authority {
    fn to_pem(&self, certificates: &[&Vec<u8>]) -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}", *self.key.to_pem(), certificates_to_pem(certificates)))
    }

    /// The authority in a PEM text, and the certificates that follow its own.
    fn from_pem(pem: &str) -> Result<(Self, Vec<Vec<u8>>), AuthorityError> {
        let end = "-----END PRIVATE KEY-----";
        let split = pem.find(end).ok_or(AuthorityError::Key(KeyError))? + end.len();
        let key = NodeKey::from_pem(&pem[..split])?;
        let mut certificates = certificates_from_pem(&pem[split..])
            .map_err(|_| AuthorityError::NotAnAuthority("it has no certificate"))?;
        let certificate = certificates.remove(0);
        Ok((Self::assemble(key, certificate)?, certificates))
    }

    fn assemble(key: NodeKey, certificate: Vec<u8>) -> Result<Self, AuthorityError> {
        let parsed = parse_certificate(&certificate)?;
        if !parsed.is_authority || parsed.public_key != key.public_key() {
            return Err(AuthorityError::NotAnAuthority("key and certificate do not belong together"));
        }
        let cluster = cluster_of(&parsed)?;
        Ok(Self { cluster, key, certificate, not_after: parsed.not_after })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).field("key", &self.key).finish_non_exhaustive()
    }
}

fn cluster_of(parsed: &Parsed) -> Result<String, AuthorityError> {
    let named = parse_authority_uri(&parsed.uri);
    named.map(|(cluster, _)| cluster.to_owned()).ok_or(AuthorityError::NotAnAuthority("it names no cluster"))
}

/// A signing request for `key`: proof that its sender has the key.
pub fn make_csr(key: &NodeKey) -> Vec<u8> {
    certificate::request(key).expect("a request with an empty name can always be written")
}

/// The SHA-256 of a certificate, DER.
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

pub(crate) fn later(at: WallTime, span: Duration) -> WallTime {
    WallTime(at.0.saturating_add(span.as_secs()))
}

fn earlier(at: WallTime, span: Duration) -> WallTime {
    WallTime(at.0.saturating_sub(span.as_secs()))
}

/// Why an authority could not be made, read or used. Nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The text cannot name a cluster.
    #[error("{0:?} cannot name a cluster: use 1 to 63 of a-z, 0-9 and '-', not at an end")]
    ClusterName(String),
    /// The file has no key.
    #[error("the authority's key cannot be read: {0}")]
    Key(#[from] KeyError),
    /// The file is not what it should be.
    #[error("not an authority's file: {0}")]
    NotAnAuthority(&'static str),
    /// A certificate or signing request cannot be used.
    #[error("the certificate or signing request cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    /// The authority's own certificate has ended. Issue another from the root.
    #[error("the issuing authority has ended, issue another from the root")]
    Ended,
    /// It may not sign for that region, or not for operators.
    #[error("this issuing authority signs for {0} only: ask one of that region, or one for everywhere")]
    OutOfScope(Scope),
    /// The certificate could not be written.
    #[error("the certificate cannot be written: {0}")]
    Mint(#[from] MintError),
}
