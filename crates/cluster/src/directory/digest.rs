//! How two directories find out what one of them lacks.

use std::sync::Arc;

use covenant_types::NodeId;

use super::Directory;
use crate::record::{SignedRecord, mix};

/// What two nodes that compare their records look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Each record's number.
    Everything,
    /// What others have to know. A leaf is spared news such as that a certificate was renewed.
    Essence,
}

impl Directory {
    /// What the records come to in so many buckets, a power of two. Two directories share these numbers when they hold the
    /// same, as far as `detail` looks.
    pub(crate) fn digest(&self, detail: Detail, buckets: usize) -> Vec<u64> {
        let mut digest = vec![0; buckets];
        for signed in self.records() {
            let record = &signed.record;
            let version = match detail {
                Detail::Everything => record.sequence,
                Detail::Essence => record.essence(),
            };
            let parts = [&record.id.0[..], &record.epoch.0.to_be_bytes(), &version.to_be_bytes()];
            digest[bucket_of(record.id, buckets)] ^= mix(parts.into_iter().flatten().copied());
        }
        digest
    }

    /// The records in the buckets in which this directory differs from one that comes to `theirs`.
    pub(crate) fn differing(&self, detail: Detail, theirs: &[u64]) -> Vec<Arc<SignedRecord>> {
        let ours = self.digest(detail, theirs.len());
        let differs = |id: NodeId| {
            let bucket = bucket_of(id, theirs.len());
            ours[bucket] != theirs[bucket]
        };
        self.records().filter(|signed| differs(signed.record.id)).cloned().collect()
    }
}

fn bucket_of(id: NodeId, buckets: usize) -> usize {
    // Ids are hashes: any of their bytes will do.
    usize::from(id.0[15]) & (buckets - 1)
}
