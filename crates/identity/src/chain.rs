//! Whether a chain of certificates ends in a root we trust, for signatures that are checked long after they were made.
//!
//! TLS verifies the chains of connections; this verifies those that travel with signed records.

use covenant_types::WallTime;

use crate::PeerIdentity;
use crate::scope::{OutOfScope, check_scope};
use crate::x509::{CertificateError, parse_certificate};

/// The longest chain: a leaf, its authority, the root.
const CHAIN_MAX: usize = 3;

/// Checks that `chain` (DER, leaf first) leads to one of `roots`, that every certificate counted at `at`, that each authority
/// signed within its scope, and that the leaf is of `cluster`. Returns what the leaf says.
///
/// # Errors
/// Any of that does not hold, or a certificate is malformed.
pub fn verify_chain<C: AsRef<[u8]>, R: AsRef<[u8]>>(
    chain: &[C],
    roots: &[R],
    cluster: &str,
    at: WallTime,
) -> Result<PeerIdentity, ChainError> {
    let [leaf, above @ ..] = chain else { return Err(ChainError::Length(0)) };
    if chain.len() > CHAIN_MAX {
        return Err(ChainError::Length(chain.len()));
    }
    let identity = PeerIdentity::from_certificate(leaf.as_ref())?;
    if identity.trust_domain != cluster {
        return Err(ChainError::OtherCluster(identity.trust_domain));
    }
    let mut below = parse_certificate(leaf.as_ref())?;
    if !(below.not_before <= at && at <= below.not_after) {
        return Err(ChainError::NotAtThatTime);
    }
    check_scope(leaf.as_ref(), above)?;
    for (passed, certificate) in above.iter().enumerate() {
        // The root is trusted for its bytes, not for what it says of itself.
        if roots.iter().any(|root| root.as_ref() == certificate.as_ref()) {
            break;
        }
        let authority = parse_certificate(certificate.as_ref())?;
        if !authority.is_authority || !below.is_signed_by(&authority.public_key) {
            return Err(ChainError::BadSignature);
        }
        if !(authority.not_before <= at && at <= authority.not_after) {
            return Err(ChainError::NotAtThatTime);
        }
        // An issuing authority makes no authorities.
        if u32::try_from(passed).is_ok_and(|passed| passed > authority.authorities_below) {
            return Err(ChainError::TooManyAuthorities);
        }
        below = authority;
    }
    let signs = |root: &R| {
        parse_certificate(root.as_ref()).is_ok_and(|root| root.is_authority && below.is_signed_by(&root.public_key))
    };
    if roots.iter().any(signs) { Ok(identity) } else { Err(ChainError::UnknownRoot) }
}

/// The first moment at which every certificate of a chain counts: the latest of their beginnings. Who knows that it is later
/// than some floor, and not how late, checks a chain as of the later of the two.
pub fn counts_from<C: AsRef<[u8]>>(chain: &[C]) -> WallTime {
    let begins = |certificate: &C| parse_certificate(certificate.as_ref()).map(|parsed| parsed.not_before).ok();
    chain.iter().take(CHAIN_MAX + 1).filter_map(begins).max().unwrap_or_default()
}

/// Why a chain is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No certificate, or more than a chain has.
    #[error("a chain has one to three certificates, not {0}")]
    Length(usize),
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// It belongs to another cluster.
    #[error("it is a certificate of the cluster {0:?}")]
    OtherCluster(String),
    /// A certificate did not count then.
    #[error("a certificate did not count at that time")]
    NotAtThatTime,
    /// A certificate was not signed by the next one.
    #[error("a certificate was not signed by the one above it")]
    BadSignature,
    /// An authority stands above one that it may not have made.
    #[error("an authority made another, and may not")]
    TooManyAuthorities,
    /// An authority signed for another region.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
    /// No root we trust signed it.
    #[error("it leads to no root of this cluster")]
    UnknownRoot,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeGrant, NodeKey, RootAuthority, make_csr};
    use covenant_types::{NodeName, Region, Role};

    const NOW: WallTime = WallTime(1_790_000_000);

    fn chain(root: &RootAuthority) -> Vec<Vec<u8>> {
        let issuing = root.issue_issuing(NOW).unwrap();
        let grant = NodeGrant { name: NodeName::new("hub").unwrap(), role: Role::Hub, region: Region::Africa };
        issuing.chain_for(issuing.sign_node(&make_csr(&NodeKey::generate()), &grant, NOW).unwrap())
    }

    #[test]
    fn an_issuing_authority_makes_no_authorities() {
        let root = RootAuthority::create("demo", NOW).unwrap();
        let issuing = root.issue_issuing(NOW).unwrap();
        // A hub that uses the key of its issuing authority as if it were a root's.
        let below = issuing.as_if_a_root().issue_issuing(NOW).unwrap();
        let grant = NodeGrant { name: NodeName::new("hub").unwrap(), role: Role::Hub, region: Region::Africa };
        let leaf = below.sign_node(&make_csr(&NodeKey::generate()), &grant, NOW).unwrap();
        let chain = [leaf, below.certificate().to_vec(), issuing.certificate().to_vec()];
        assert_eq!(verify_chain(&chain, &[root.certificate()], "demo", NOW), Err(ChainError::TooManyAuthorities));
    }

    #[test]
    fn a_chain_is_believed_up_to_its_own_root_and_in_its_time_only() {
        let (ours, theirs) = (RootAuthority::create("demo", NOW).unwrap(), RootAuthority::create("demo", NOW).unwrap());
        let good = chain(&ours);
        let roots = [ours.certificate().to_vec()];
        assert!(verify_chain(&good, &roots, "demo", NOW).is_ok());
        assert!(verify_chain(&good[..2], &roots, "demo", NOW).is_ok(), "the root itself need not travel");
        assert_eq!(verify_chain(&good, &roots, "other", NOW), Err(ChainError::OtherCluster("demo".into())));
        assert_eq!(verify_chain(&chain(&theirs), &roots, "demo", NOW), Err(ChainError::UnknownRoot));
        let later = WallTime(NOW.0 + 2 * 86_400);
        assert_eq!(verify_chain(&good, &roots, "demo", later), Err(ChainError::NotAtThatTime));
        let swapped = [chain(&theirs)[0].clone(), good[1].clone(), good[2].clone()];
        assert_eq!(verify_chain(&swapped, &roots, "demo", NOW), Err(ChainError::BadSignature));
        assert_eq!(verify_chain::<Vec<u8>, _>(&[], &roots, "demo", NOW), Err(ChainError::Length(0)));
    }
}
