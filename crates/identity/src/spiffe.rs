//! Who a certificate says its owner is.
//!
//! Nodes are `spiffe://<cluster>/<region>/<role>/<name>/<node-id>`, operators `spiffe://<cluster>/operator/<name>/<role>`.
//! Reading a name is strict: one way to write each, no escapes, no query. Whether a certificate is to be believed is the
//! TLS verifier's business; this reads what it says and checks that the id is the key's.

use std::fmt;

use covenant_types::{NodeId, NodeName, Region, Role, WallTime};
use serde::{Deserialize, Serialize};

use crate::key::node_id_of;
use crate::x509::{CertificateError, parse_certificate};
use crate::{OperatorName, OperatorRole};

/// What a certificate says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster.
    pub trust_domain: String,
    /// Who it is there.
    pub subject: Subject,
    /// Its public key.
    pub public_key: [u8; 32],
    /// When the certificate begins to count.
    pub not_before: WallTime,
    /// When it no longer counts.
    pub not_after: WallTime,
}

/// Somebody with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A node. Its id is the one of its key.
    Node {
        /// Its id.
        id: NodeId,
        /// Its name, role and region.
        grant: NodeGrant,
    },
    /// A person.
    Operator {
        /// Their name.
        name: OperatorName,
        /// What they may do.
        role: OperatorRole,
    },
}

/// What a cluster grants a node: its name, its role, its region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeGrant {
    /// Its name, unique in the cluster.
    pub name: NodeName,
    /// What it is there for.
    pub role: Role,
    /// Where it stands.
    pub region: Region,
}

impl PeerIdentity {
    /// Reads a certificate, DER.
    ///
    /// # Errors
    /// It is malformed, is an authority's, or names no node or operator; or the id in it is not that of its key.
    pub fn from_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        let parsed = parse_certificate(der)?;
        let bad = |why| CertificateError::BadName { uri: parsed.uri.chars().take(200).collect(), why };
        if parsed.is_authority {
            return Err(bad("the certificate is an authority's"));
        }
        let (trust_domain, subject) = parse_uri(&parsed.uri).map_err(bad)?;
        if let Subject::Node { id, .. } = &subject
            && *id != node_id_of(&parsed.public_key)
        {
            return Err(bad("the id is not the key's"));
        }
        Ok(Self {
            trust_domain,
            subject,
            public_key: parsed.public_key,
            not_before: parsed.not_before,
            not_after: parsed.not_after,
        })
    }

    /// Whether the certificate counts at `now`.
    pub fn is_valid_at(&self, now: WallTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The SPIFFE id.
    pub fn uri(&self) -> String {
        self.subject.uri(&self.trust_domain)
    }
}

impl Subject {
    /// The SPIFFE id in the cluster `trust_domain`.
    pub fn uri(&self, trust_domain: &str) -> String {
        match self {
            Self::Node { id, grant } => {
                format!("spiffe://{trust_domain}/{}/{}/{}/{id}", grant.region, grant.role, grant.name)
            }
            Self::Operator { name, role } => format!("spiffe://{trust_domain}/operator/{name}/{role}"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { grant, .. } => write!(f, "node {}", grant.name),
            Self::Operator { name, role } => write!(f, "operator {name} ({role})"),
        }
    }
}

/// Whether `name` can name a cluster: 1 to 63 of `a-z`, `0-9` and `-`, neither first nor last a `-`.
pub fn is_cluster_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

pub(crate) fn parse_uri(uri: &str) -> Result<(String, Subject), &'static str> {
    if uri.len() > URI_BYTES_MAX {
        return Err("it is too long");
    }
    let body = uri.strip_prefix("spiffe://").ok_or("it does not begin with spiffe://")?;
    let parts: Vec<&str> = body.split('/').collect();
    let (trust_domain, subject) = match parts.as_slice() {
        [domain, "operator", name, role] => {
            let name = name.parse().map_err(|_| "the operator's name is not one")?;
            let role = role.parse().map_err(|_| "the operator's role is unknown")?;
            (*domain, Subject::Operator { name, role })
        }
        [domain, region, role, name, id] => {
            let grant = NodeGrant {
                name: name.parse().map_err(|_| "the node's name is not one")?,
                role: role.parse().map_err(|_| "the node's role is unknown")?,
                region: region.parse().map_err(|_| "the region is unknown")?,
            };
            let id: NodeId = id.parse().map_err(|_| "the node's id is not one")?;
            (*domain, Subject::Node { id, grant })
        }
        _ => return Err("it has neither the parts of a node nor those of an operator"),
    };
    if !is_cluster_name(trust_domain) {
        return Err("the trust domain is not a cluster's name");
    }
    // One way to write each name: `ABCD` and `abcd` are the same id, and only one of them is written by us.
    if subject.uri(trust_domain) != uri {
        return Err("it is not written as we write it");
    }
    Ok((trust_domain.to_owned(), subject))
}

const URI_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn a_node_and_an_operator_are_read_as_they_are_written() {
        let node = format!("spiffe://demo/africa/hub/hub-africa/{ID}");
        for uri in [node.as_str(), "spiffe://demo/operator/ada/chaos"] {
            let (domain, subject) = parse_uri(uri).unwrap();
            assert_eq!((domain.as_str(), subject.uri("demo").as_str()), ("demo", uri));
        }
    }

    #[test]
    fn other_names_are_refused() {
        let upper = ID.to_uppercase();
        for uri in [
            "".to_owned(),
            "https://demo/operator/ada/admin".to_owned(),
            "spiffe://demo".to_owned(),
            "spiffe:///operator/ada/admin".to_owned(),
            "spiffe://Demo/operator/ada/admin".to_owned(),
            "spiffe://demo/operator/ada/root".to_owned(),
            "spiffe://demo/operator/ada/admin/".to_owned(),
            "spiffe://demo/operator//admin".to_owned(),
            "spiffe://demo/operator/a%64a/admin".to_owned(),
            "spiffe://demo/operator/ada/admin?x=1".to_owned(),
            format!("spiffe://demo/africa/hub/Hub/{ID}"),
            format!("spiffe://demo/africa/hub/hub/{upper}"),
            format!("spiffe://demo/atlantis/hub/hub/{ID}"),
            format!("spiffe://demo/africa/king/hub/{ID}"),
            format!("spiffe://demo/africa/hub/hub/{ID}/x"),
            format!("spiffe://demo/africa/hub/{}/{ID}", "x".repeat(300)),
        ] {
            assert!(parse_uri(&uri).is_err(), "{uri}");
        }
    }
}
