//! What a node says of itself, signed by its key, so that anyone may pass it on and nobody may change it.

use std::net::SocketAddr;

use covenant_identity::{NodeKey, Scope, TrustMark, node_id_of, verify};
use covenant_membership::Place;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{BootEpoch, LinkTier, NodeId, NodeName, Region, Role, WallTime};

use crate::member::Phase;

const DOMAIN: &str = "covenant/node-record/4";
/// The longest encoded record, signature included.
pub(crate) const RECORD_BYTES_MAX: usize = 512;
const SIGNATURE_BYTES: usize = 64;
/// The longest name of a version.
const VERSION_BYTES_MAX: usize = 32;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node: the hash of its public key.
    pub id: NodeId,
    /// Its public key.
    pub public_key: [u8; 32],
    /// Its name.
    pub name: NodeName,
    /// What it is there for.
    pub role: Role,
    /// Where it stands.
    pub region: Region,
    /// Its boot.
    pub epoch: BootEpoch,
    /// Where it can be dialled.
    pub address: SocketAddr,
    /// What kind of line it hangs on.
    pub tier: LinkTier,
    /// What it is about to do.
    pub phase: Phase,
    /// The version of its program, at most 32 bytes.
    pub version: String,
    /// The authority that signed its certificate, by the hash of its key.
    pub certificate_issuer: NodeId,
    /// When its certificate begins.
    pub certificate_begins: WallTime,
    /// When its certificate ends.
    pub certificate_ends: WallTime,
    /// The roots it trusts and is certified under, and what it may sign for.
    pub trust: TrustMark,
    /// Later records of one boot have a higher number.
    pub sequence: u64,
}

impl NodeRecord {
    /// Which of two records of one node is newer.
    pub(crate) fn version(&self) -> (BootEpoch, u64) {
        (self.epoch, self.sequence)
    }

    /// Where it belongs.
    pub(crate) fn place(&self) -> Place {
        Place { role: self.role, region: self.region, tier: self.tier }
    }

    /// A number for all that others have to know of a boot: not that its certificate was renewed.
    pub(crate) fn essence(&self) -> u64 {
        let essence = Self { certificate_ends: WallTime(0), sequence: 0, ..self.clone() };
        mix(essence.body())
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.bytes(&self.public_key).text(self.name.as_str()).text(self.role.as_str()).text(self.region.as_str());
        writer.u64(self.epoch.0).text(&self.address.to_string()).text(self.tier.as_str());
        let (word, since, until) = match self.phase {
            Phase::Active => ("active", 0, 0),
            Phase::Draining => ("draining", 0, 0),
            Phase::Asleep { since, until } => ("asleep", since.0, until.0),
        };
        writer.text(word).u64(since).u64(until).text(&self.version).bytes(&self.certificate_issuer.0);
        writer.u64(self.certificate_begins.0).u64(self.certificate_ends.0);
        let TrustMark { version, roots, under, issues } = self.trust;
        writer.u64(version).u64(roots).u64(under).text(issues.map_or("", Scope::as_str)).u64(self.sequence);
        writer.finish()
    }
}

/// A record and the bytes that prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedRecord {
    pub(crate) record: NodeRecord,
    /// The canonical body and the signature over it.
    bytes: Vec<u8>,
}

impl SignedRecord {
    /// Signs `record` with the key it names.
    pub(crate) fn sign(record: NodeRecord, key: &NodeKey) -> Self {
        let mut bytes = record.body();
        let signature = key.sign(&bytes);
        bytes.extend_from_slice(&signature);
        Self { record, bytes }
    }

    /// Reads a record without checking its signature.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let split = bytes.len().checked_sub(SIGNATURE_BYTES).ok_or(CanonicalError::CutShort)?;
        let mut reader = Reader::new(&bytes[..split], DOMAIN)?;
        let public_key: [u8; 32] = reader.bytes()?.try_into().map_err(|_| CanonicalError::BadValue("public key"))?;
        let record = NodeRecord {
            id: node_id_of(&public_key),
            public_key,
            name: reader.text()?.parse().map_err(|_| CanonicalError::BadValue("name"))?,
            role: reader.text()?.parse().map_err(|_| CanonicalError::BadValue("role"))?,
            region: reader.text()?.parse().map_err(|_| CanonicalError::BadValue("region"))?,
            epoch: BootEpoch(reader.u64()?),
            address: reader.text()?.parse().map_err(|_| CanonicalError::BadValue("address"))?,
            tier: reader.text()?.parse().map_err(|_| CanonicalError::BadValue("tier"))?,
            phase: match (reader.text()?, reader.u64()?, reader.u64()?) {
                ("active", 0, 0) => Phase::Active,
                ("draining", 0, 0) => Phase::Draining,
                ("asleep", since, until) if since <= until => {
                    Phase::Asleep { since: WallTime(since), until: WallTime(until) }
                }
                _ => return Err(CanonicalError::BadValue("phase").into()),
            },
            version: reader.text()?.to_owned(),
            certificate_issuer: NodeId(reader.bytes()?.try_into().map_err(|_| CanonicalError::BadValue("issuer"))?),
            certificate_begins: WallTime(reader.u64()?),
            certificate_ends: WallTime(reader.u64()?),
            trust: TrustMark {
                version: reader.u64()?,
                roots: reader.u64()?,
                under: reader.u64()?,
                issues: match reader.text()? {
                    "" => None,
                    scope => Some(scope.parse().map_err(|_| CanonicalError::BadValue("scope"))?),
                },
            },
            sequence: reader.u64()?,
        };
        if record.version.len() > VERSION_BYTES_MAX {
            return Err(CanonicalError::BadValue("version").into());
        }
        reader.finish()?;
        Ok(Self { record, bytes: bytes.to_vec() })
    }

    /// Checks that the node named by the record signed it.
    pub(crate) fn verify(&self) -> Result<(), RecordError> {
        let forged = RecordError::Forged(self.record.id);
        let Some((body, signature)) = self.bytes.split_last_chunk::<SIGNATURE_BYTES>() else { return Err(forged) };
        if verify(&self.record.public_key, body, signature) { Ok(()) } else { Err(forged) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// FNV-1a, then one round of splitmix64, so that an exclusive or of two does not cancel what they share.
pub(crate) fn mix(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mut state = bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Bytes that are no record, or not one of the node it names. Nothing was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("a record of {0} bytes")]
    TooLong(usize),
    #[error("malformed record")]
    Malformed(#[from] CanonicalError),
    #[error("the record of {0} was not signed by it")]
    Forged(NodeId),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(key: &NodeKey) -> SignedRecord {
        let record = NodeRecord {
            id: key.node_id(),
            public_key: key.public_key(),
            name: NodeName::new("hub-africa").unwrap(),
            role: Role::Hub,
            region: Region::Africa,
            epoch: BootEpoch(7),
            address: "127.0.0.1:7400".parse().unwrap(),
            tier: LinkTier::Lan,
            phase: Phase::Asleep { since: WallTime(5), until: WallTime(9) },
            version: "1.2.3".to_owned(),
            certificate_issuer: NodeId([9; 16]),
            certificate_begins: WallTime(1_799_000_000),
            certificate_ends: WallTime(1_800_000_000),
            trust: TrustMark { version: 3, roots: 1, under: 2, issues: Some(Scope::Region(Region::Africa)) },
            sequence: 1,
        };
        SignedRecord::sign(record, key)
    }

    #[test]
    fn a_record_is_read_as_it_was_signed() {
        let signed = signed(&NodeKey::generate());
        let read = SignedRecord::parse(signed.bytes()).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.verify(), Ok(()));
        assert!(signed.bytes().len() < RECORD_BYTES_MAX);
    }

    #[test]
    fn a_record_with_one_flipped_bit_is_no_record_of_that_node() {
        let signed = signed(&NodeKey::generate());
        for at in 0..signed.bytes().len() {
            let mut bytes = signed.bytes().to_vec();
            bytes[at] ^= 1;
            let accepted = SignedRecord::parse(&bytes)
                .is_ok_and(|read| read.verify().is_ok() && read.record.id == signed.record.id);
            assert!(!accepted, "byte {at}");
        }
    }

    #[test]
    fn cut_and_overlong_records_are_refused() {
        let signed = signed(&NodeKey::generate());
        for length in 0..signed.bytes().len() {
            assert!(SignedRecord::parse(&signed.bytes()[..length]).is_err(), "{length}");
        }
        assert_eq!(SignedRecord::parse(&[0; 600]), Err(RecordError::TooLong(600)));
    }
}
