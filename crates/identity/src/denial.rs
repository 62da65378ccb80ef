//! A denial: the word of an issuing authority that a node, or an operator, is let in nowhere any more.
//!
//! # Intuition
//! A certificate counts until its end, and nobody asks at each use whether it still should. A denial is what is passed around
//! instead: signed, so that anyone may carry it, with the authority's certificate inside, so that whoever trusts the root can
//! check it. A set of them ([`crate::DenyList`]) only grows.
//!
//! # Invariants
//! - A node is denied by its key, so for good: a new certificate of the same key changes nothing.
//! - Who is denied is denied everywhere, so only an authority for everywhere denies: a denial names a key, and nothing in it
//!   proves in which region the key is a node's.
//! - An operator is denied by name, for the certificates that began before the denial: the person can get another one.
//! - What is read was written by [`IssuingAuthority::deny`] or is refused: no control characters, nothing overlong.

use std::sync::Arc;

use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{NodeId, WallTime};

use crate::authority::IssuingAuthority;
use crate::key::verify;
use crate::scope::{Scope, parse_authority_uri};
use crate::x509::{CertificateError, parse_certificate};
use crate::{AuthorityError, NodeGrant, OperatorName, PeerIdentity, Subject};

/// The longest encoded denial, signature included.
pub const DENIAL_BYTES_MAX: usize = 2048;
/// The longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 200;
/// The longest text of who denied, in characters.
const BY_CHARS_MAX: usize = 80;
const DOMAIN: &str = "covenant/denial/1";
const SIGNATURE_BYTES: usize = 64;

/// Who is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// A key, by its hash, whatever certificate it has: a node's, an operator's, or an authority's with all below it.
    Key {
        /// The hash, which is a node's id.
        id: NodeId,
        /// What the node was, where that is known: so that a successor can be made.
        grant: Option<NodeGrant>,
    },
    /// The certificates of this operator that began before the denial, or at the same second.
    Operator(OperatorName),
}

/// What an authority says when it denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who.
    pub who: Denied,
    /// When.
    pub at: WallTime,
    /// Why, at most [`REASON_CHARS_MAX`] characters.
    pub reason: String,
    /// Who had it done.
    pub by: String,
}

/// A denial and the bytes that prove it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDenial {
    denial: Arc<Denial>,
    /// The canonical body, the authority's certificate in it, and the signature over that.
    bytes: Arc<[u8]>,
}

impl IssuingAuthority {
    /// Denies somebody.
    ///
    /// # Errors
    /// The reason is too long or has control characters, or this authority has ended, or is one of a region. Nothing was signed.
    pub fn deny(&self, denial: Denial) -> Result<SignedDenial, DenialError> {
        if denial.at >= self.not_after() {
            return Err(DenialError::Authority(AuthorityError::Ended));
        }
        if self.scope() != Scope::Everywhere {
            return Err(DenialError::OutOfScope(self.scope()));
        }
        let mut bytes = denial.body(self.certificate());
        let signature = self.signature_of(&bytes);
        bytes.extend_from_slice(&signature);
        // What nobody would read must not be signed.
        SignedDenial::parse(&bytes)
    }
}

impl Denial {
    fn body(&self, authority: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        match &self.who {
            Denied::Key { id, grant: None } => {
                writer.text("key").bytes(&id.0).text("").text("").text("");
            }
            Denied::Key { id, grant: Some(grant) } => {
                writer.text("key").bytes(&id.0);
                writer.text(grant.name.as_str()).text(grant.role.as_str()).text(grant.region.as_str());
            }
            Denied::Operator(name) => {
                writer.text("operator").bytes(&[]).text(name.as_str()).text("").text("");
            }
        }
        writer.u64(self.at.0).text(&self.reason).text(&self.by).bytes(authority);
        writer.finish()
    }

    /// Whether it is about the owner of this certificate.
    pub fn denies(&self, identity: &PeerIdentity) -> bool {
        match (&self.who, &identity.subject) {
            (Denied::Key { id, .. }, _) => *id == crate::node_id_of(&identity.public_key),
            (Denied::Operator(denied), Subject::Operator { name, .. }) => {
                denied == name && identity.not_before <= self.at
            }
            (Denied::Operator(_), Subject::Node { .. }) => false,
        }
    }
}

impl SignedDenial {
    /// Reads a denial without checking its signature.
    ///
    /// # Errors
    /// It is too long, malformed, or says what no denial says.
    pub fn parse(bytes: &[u8]) -> Result<Self, DenialError> {
        if bytes.len() > DENIAL_BYTES_MAX {
            return Err(DenialError::TooLong(bytes.len()));
        }
        let split = bytes.len().checked_sub(SIGNATURE_BYTES).ok_or(CanonicalError::CutShort)?;
        let mut reader = Reader::new(&bytes[..split], DOMAIN)?;
        let who = match (reader.text()?, reader.bytes()?, reader.text()?, reader.text()?, reader.text()?) {
            ("key", id, name, role, region) => {
                let id = NodeId(id.try_into().map_err(|_| CanonicalError::BadValue("id"))?);
                Denied::Key { id, grant: grant(name, role, region)? }
            }
            ("operator", [], name, "", "") => {
                Denied::Operator(name.parse().map_err(|_| CanonicalError::BadValue("name"))?)
            }
            _ => return Err(CanonicalError::BadValue("who").into()),
        };
        let at = WallTime(reader.u64()?);
        let reason = plain(reader.text()?, REASON_CHARS_MAX, "reason")?;
        let by = plain(reader.text()?, BY_CHARS_MAX, "by")?;
        let _authority = reader.bytes()?;
        reader.finish()?;
        Ok(Self { denial: Arc::new(Denial { who, at, reason, by }), bytes: bytes.into() })
    }

    /// Checks that an authority signed it which one of `roots` (DER) signed, and which counted when it denied.
    ///
    /// # Errors
    /// Any of that does not hold.
    pub fn verify<R: AsRef<[u8]>>(&self, cluster: &str, roots: &[R]) -> Result<(), DenialError> {
        let Some((body, signature)) = self.bytes.split_last_chunk::<SIGNATURE_BYTES>() else {
            return Err(CanonicalError::CutShort.into());
        };
        let authority = parse_certificate(self.authority()?)?;
        if !authority.is_authority || !verify(&authority.public_key, body, signature) {
            return Err(DenialError::Forged);
        }
        let signs = |root: &R| {
            let root = parse_certificate(root.as_ref());
            root.is_ok_and(|root| root.is_authority && authority.is_signed_by(&root.public_key))
        };
        let scope = parse_authority_uri(&authority.uri).filter(|(of, _)| *of == cluster).map(|(_, scope)| scope);
        let scope = scope.filter(|_| roots.iter().any(signs)).ok_or(DenialError::UnknownRoot)?;
        if scope != Scope::Everywhere {
            return Err(DenialError::OutOfScope(scope));
        }
        if authority.not_before <= self.denial.at && self.denial.at <= authority.not_after {
            Ok(())
        } else {
            Err(DenialError::NotAtThatTime)
        }
    }

    /// What it says.
    pub fn denial(&self) -> &Denial {
        &self.denial
    }

    /// The bytes that prove it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The certificate of the authority that signed it.
    fn authority(&self) -> Result<&[u8], CanonicalError> {
        let body = &self.bytes[..self.bytes.len().saturating_sub(SIGNATURE_BYTES)];
        let mut reader = Reader::new(body, DOMAIN)?;
        // Kind, id, name, role, region; the time; the reason and by whom.
        for _ in 0..5 {
            reader.bytes()?;
        }
        reader.u64()?;
        reader.bytes()?;
        reader.bytes()?;
        reader.bytes()
    }
}

fn grant(name: &str, role: &str, region: &str) -> Result<Option<NodeGrant>, CanonicalError> {
    if (name, role, region) == ("", "", "") {
        return Ok(None);
    }
    Ok(Some(NodeGrant {
        name: name.parse().map_err(|_| CanonicalError::BadValue("name"))?,
        role: role.parse().map_err(|_| CanonicalError::BadValue("role"))?,
        region: region.parse().map_err(|_| CanonicalError::BadValue("region"))?,
    }))
}

/// A text that people will see: no control characters, which could fool a terminal.
fn plain(text: &str, chars_max: usize, field: &'static str) -> Result<String, CanonicalError> {
    if text.chars().count() > chars_max || text.chars().any(char::is_control) {
        return Err(CanonicalError::BadValue(field));
    }
    Ok(text.to_owned())
}

/// Bytes that are no denial, or one that is not believed. Nothing was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DenialError {
    /// It is longer than allowed.
    #[error("a denial of {0} bytes, at most {DENIAL_BYTES_MAX} are read")]
    TooLong(usize),
    /// It is not one.
    #[error("malformed denial: {0}")]
    Malformed(#[from] CanonicalError),
    /// The authority's certificate cannot be read.
    #[error("the authority's certificate cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    /// The authority in it did not sign it.
    #[error("the authority it names did not sign it")]
    Forged,
    /// No root we trust signed the authority.
    #[error("its authority leads to no root of this cluster")]
    UnknownRoot,
    /// The authority did not count then.
    #[error("its authority did not count at that time")]
    NotAtThatTime,
    /// The authority is one of a region only.
    #[error("an issuing authority of {0} denies nobody: ask a hub that signs for everywhere")]
    OutOfScope(Scope),
    /// The authority cannot deny.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

#[cfg(test)]
mod tests;
