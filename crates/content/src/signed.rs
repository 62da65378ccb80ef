//! A manifest, the signature over it, and the certificates that say whose signature that is.

use std::fmt;
use std::sync::Arc;

use covenant_identity::{ChainError, NodeKey, Subject, TrustedRoots};
use covenant_runtime::Schema;
use covenant_types::{NodeName, Role};
use serde::{Deserialize, Serialize};

use crate::manifest::MANIFEST_BYTES_MAX;
use crate::signature::{SIGNATURE_BYTES_MAX, is_signed, sign};
use crate::{DatasetId, Manifest, ManifestError};

/// A manifest as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct SignedManifest {
    /// The canonical bytes.
    pub manifest: Vec<u8>,
    /// The publisher's signature over them, in minisign's format.
    pub signature: String,
    /// The publisher's certificate and those above it, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
}

/// Whom to believe: the roots a node trusts at the moment of the question.
#[derive(Clone)]
pub struct Trust(Arc<dyn Fn() -> Arc<TrustedRoots> + Send + Sync>);

impl Trust {
    /// `roots` is asked for every manifest: roots are replaced while a node runs.
    pub fn live(roots: impl Fn() -> Arc<TrustedRoots> + Send + Sync + 'static) -> Self {
        Self(Arc::new(roots))
    }

    /// These roots, always.
    pub fn fixed(roots: TrustedRoots) -> Self {
        let roots = Arc::new(roots);
        Self::live(move || Arc::clone(&roots))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.0().cluster()).finish()
    }
}

/// The most certificates that travel with a manifest.
const CHAIN_MAX: usize = 3;

impl SignedManifest {
    /// Signs a manifest as its publisher.
    pub fn sign(manifest: &Manifest, key: &NodeKey, chain: Vec<Vec<u8>>) -> Self {
        let bytes = manifest.to_bytes();
        let signature = sign(key, &bytes, &format!("dataset {} version {}", manifest.name, manifest.version));
        Self { manifest: bytes, signature, chain }
    }

    /// Which version of which dataset it claims to be.
    pub fn id(&self) -> DatasetId {
        DatasetId(*blake3::hash(&self.manifest).as_bytes())
    }

    /// Checks everything: the chain at the time of publishing (also up to a root that has been retired since), that the publisher is a hub, the signature, the content.
    ///
    /// # Errors
    /// Any of it does not hold. Nothing was stored.
    pub fn verify(&self, trust: &Trust) -> Result<(Manifest, NodeName), Untrusted> {
        if self.manifest.len() > MANIFEST_BYTES_MAX
            || self.signature.len() > SIGNATURE_BYTES_MAX
            || self.chain.len() > CHAIN_MAX
        {
            return Err(Untrusted::TooLarge);
        }
        let manifest = Manifest::from_bytes(&self.manifest)?;
        let publisher = trust.0().verify_chain(&self.chain, manifest.created)?;
        let Subject::Node { grant, .. } = &publisher.subject else { return Err(Untrusted::NotAHub) };
        if grant.role != Role::Hub {
            return Err(Untrusted::NotAHub);
        }
        if !is_signed(&publisher.public_key, &self.manifest, &self.signature) {
            return Err(Untrusted::BadSignature);
        }
        Ok((manifest, grant.name.clone()))
    }
}

impl fmt::Display for SignedManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id(), f)
    }
}

/// Why a manifest is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// It is larger than any publisher makes it.
    #[error("it is larger than a signed manifest may be")]
    TooLarge,
    /// It is no manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its certificates lead nowhere.
    #[error("its publisher is not known: {0}")]
    Chain(#[from] ChainError),
    /// Its publisher may not publish.
    #[error("its publisher is not a hub")]
    NotAHub,
    /// Its signature is not the publisher's.
    #[error("its signature is not its publisher's")]
    BadSignature,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::manifest::tests::sample;
    use covenant_identity::{NodeGrant, RootAuthority, make_csr};
    use covenant_types::{Region, WallTime};

    const NOW: WallTime = WallTime(1_790_000_000);

    /// A publisher of the role `role`, its chain, and whoever believes it.
    pub(crate) fn publisher(role: Role) -> (NodeKey, Vec<Vec<u8>>, Trust) {
        let root = RootAuthority::create("demo", NOW).unwrap();
        let issuing = root.issue_issuing(NOW).unwrap();
        let key = NodeKey::generate();
        let grant = NodeGrant { name: NodeName::new("somebody").unwrap(), role, region: Region::Asia };
        let chain = issuing.chain_for(issuing.sign_node(&make_csr(&key), &grant, NOW).unwrap());
        let trusted = TrustedRoots::of("demo", root.certificate().to_vec()).unwrap();
        (key, chain, Trust::fixed(trusted))
    }

    #[test]
    fn what_a_hub_signed_is_believed() {
        let (key, chain, trust) = publisher(Role::Hub);
        let signed = SignedManifest::sign(&sample(), &key, chain);
        assert_eq!(signed.verify(&trust).unwrap().0, sample());
        assert_eq!(signed.id(), sample().id());
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let (key, chain, trust) = publisher(Role::Hub);
        let good = SignedManifest::sign(&sample(), &key, chain.clone());
        let mut tampered = good.clone();
        tampered.manifest[60] ^= 1;
        assert!(tampered.verify(&trust).is_err());
        let forged = SignedManifest::sign(&sample(), &NodeKey::generate(), chain.clone());
        assert_eq!(forged.verify(&trust), Err(Untrusted::BadSignature));
        let mut unsigned = good.clone();
        unsigned.signature.clear();
        assert_eq!(unsigned.verify(&trust), Err(Untrusted::BadSignature));
        let (_, _, strangers) = publisher(Role::Hub);
        assert!(matches!(good.verify(&strangers), Err(Untrusted::Chain(_))));
        let (key, chain, trust) = publisher(Role::Tower);
        assert_eq!(SignedManifest::sign(&sample(), &key, chain).verify(&trust), Err(Untrusted::NotAHub));
    }

    #[test]
    fn content_stays_readable_when_its_root_is_replaced_unless_the_root_is_forgotten() {
        for (forget, readable) in [(false, true), (true, false)] {
            let [old, new] = [0; 2].map(|_| RootAuthority::create("demo", NOW).unwrap());
            let issuing = old.issue_issuing(NOW).unwrap();
            let key = NodeKey::generate();
            let grant = NodeGrant { name: NodeName::new("hub").unwrap(), role: Role::Hub, region: Region::Asia };
            let chain = issuing.chain_for(issuing.sign_node(&make_csr(&key), &grant, NOW).unwrap());
            let signed = SignedManifest::sign(&sample(), &key, chain);
            let mut trusted = TrustedRoots::of("demo", old.certificate().to_vec()).unwrap();
            let later = WallTime(NOW.0 + 86_400);
            trusted.adopt(&trusted.prepare(&old, &new, NOW).unwrap()).unwrap();
            trusted.adopt(&trusted.switch(&new).unwrap()).unwrap();
            trusted.adopt(&trusted.finish(&new, forget, later).unwrap()).unwrap();
            assert_eq!(signed.verify(&Trust::fixed(trusted)).is_ok(), readable, "forget: {forget}");
        }
    }

    #[test]
    fn a_manifest_from_outside_its_publishers_time_is_refused() {
        let (key, chain, trust) = publisher(Role::Hub);
        let mut manifest = sample();
        manifest.created = WallTime(NOW.0 + 3 * 86_400);
        let signed = SignedManifest::sign(&manifest, &key, chain);
        assert_eq!(signed.verify(&trust), Err(Untrusted::Chain(ChainError::NotAtThatTime)));
    }
}
