//! What an issuing authority may sign for: every region, or one.
//!
//! The scope stands in the authority's own certificate, so that whoever checks a chain can check it too.

use std::fmt;

use covenant_types::Region;
use serde::{Deserialize, Serialize};

use crate::spiffe::is_cluster_name;
use crate::x509::parse_certificate;
use crate::{PeerIdentity, Subject};

/// What an issuing authority may sign for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Nodes of every region, and operators.
    Everywhere,
    /// Nodes of one region. No operators: they act everywhere.
    Region(Region),
}

impl Scope {
    /// Whether an authority with this scope may sign `subject`.
    pub fn permits(self, subject: &Subject) -> bool {
        match (self, subject) {
            (Self::Everywhere, _) => true,
            (Self::Region(own), Subject::Node { grant, .. }) => grant.region == own,
            (Self::Region(_), Subject::Operator { .. }) => false,
        }
    }

    /// The word used in output and on the command line: `everywhere`, or a region.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::Region(region) => region.as_str(),
        }
    }

    /// The name in the certificate of an authority of `cluster`.
    pub(crate) fn uri(self, cluster: &str) -> String {
        match self {
            Self::Everywhere => format!("spiffe://{cluster}"),
            Self::Region(region) => format!("spiffe://{cluster}/{region}"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        if text == Self::Everywhere.as_str() {
            return Ok(Self::Everywhere);
        }
        text.parse().map(Self::Region).map_err(|_| UnknownScope(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Scope {
    type Error = UnknownScope;
    fn try_from(text: String) -> Result<Self, UnknownScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.as_str().to_owned()
    }
}

/// A word that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope {0:?}: use everywhere or a region")]
pub struct UnknownScope(String);

/// The cluster and the scope in an authority's name; `None` where it is not an authority's.
pub(crate) fn parse_authority_uri(uri: &str) -> Option<(&str, Scope)> {
    let body = uri.strip_prefix("spiffe://")?;
    let (cluster, scope) = match body.split_once('/') {
        None => (body, Scope::Everywhere),
        Some((cluster, region)) => (cluster, Scope::Region(region.parse().ok()?)),
    };
    is_cluster_name(cluster).then_some((cluster, scope))
}

/// Checks that no authority in `above` (DER) signed `leaf` beyond its scope. Whether the chain is to be believed is checked
/// elsewhere.
///
/// All that signed it must permit it: who presents the certificates may add some, and cannot take away the one that the
/// chain needs.
///
/// # Errors
/// One of them signed it and may not, or there are too many certificates to look at.
pub fn check_scope<C: AsRef<[u8]>>(leaf: &[u8], above: &[C]) -> Result<(), OutOfScope> {
    if above.len() > ABOVE_MAX {
        return Err(OutOfScope("there are too many certificates in the chain".to_owned()));
    }
    let unreadable = |error: crate::CertificateError| OutOfScope(error.to_string());
    let subject = PeerIdentity::from_certificate(leaf).map_err(unreadable)?.subject;
    let leaf = parse_certificate(leaf).map_err(unreadable)?;
    for certificate in above {
        let Ok(authority) = parse_certificate(certificate.as_ref()) else { continue };
        if !leaf.is_signed_by(&authority.public_key) {
            continue;
        }
        match parse_authority_uri(&authority.uri) {
            Some((_, scope)) if scope.permits(&subject) => {}
            Some((_, scope)) => {
                return Err(OutOfScope(format!("an authority for {scope} may not sign the {subject}")));
            }
            None => return Err(OutOfScope("the name of its authority is not one".to_owned())),
        }
    }
    Ok(())
}

/// The most certificates that are looked at. Each costs a signature to check.
const ABOVE_MAX: usize = 16;

/// A certificate that its authority may not have signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutOfScope(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written_and_nothing_else_is() {
        for scope in [Scope::Everywhere, Scope::Region(Region::Asia)] {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(parse_authority_uri(&scope.uri("demo")), Some(("demo", scope)));
        }
        for uri in ["spiffe://Demo", "spiffe://demo/", "spiffe://demo/atlantis", "spiffe://demo/asia/hub", "demo"] {
            assert_eq!(parse_authority_uri(uri), None, "{uri}");
        }
    }
}
