//! What one node knows, in a few numbers, so that two that know the same find out cheaply.
//!
//! Every node falls into a bucket by its id, and a bucket's number is the exclusive or of the hashes of what is known of the
//! nodes in it, kept up to date as that changes. The two that compare are left out: each says of itself what is true, and
//! of the other what it thinks.

use covenant_types::NodeId;

use crate::view::Seen;

/// The most buckets: 2 KiB.
pub(crate) const BUCKETS_MAX: usize = 256;
/// How many nodes fall into one bucket, about.
const NODES_PER_BUCKET: usize = 4;

/// How many buckets are worth sending where so many nodes are known.
pub(crate) fn buckets_for(nodes: usize) -> usize {
    (nodes / NODES_PER_BUCKET).max(1).next_power_of_two().min(BUCKETS_MAX)
}

/// Which of `buckets` buckets a node falls into. `buckets` is a power of two.
pub(crate) fn bucket_of(node: &NodeId, buckets: usize) -> usize {
    // Ids are hashes: any of their bytes will do. The bound is 256.
    usize::from(node.0[15]) & (buckets - 1)
}

/// The digest of everything known.
#[derive(Clone, Debug)]
pub(crate) struct Digest(Box<[u64; BUCKETS_MAX]>);

impl Default for Digest {
    fn default() -> Self {
        Self(Box::new([0; BUCKETS_MAX]))
    }
}

impl Digest {
    /// Adds what is known of one node, or takes it away again.
    pub(crate) fn toggle(&mut self, seen: &Seen) {
        self.0[bucket_of(&seen.identity.node, BUCKETS_MAX)] ^= hash(seen);
    }

    /// The digest in fewer buckets, without these nodes.
    pub(crate) fn without<'a>(&self, except: impl IntoIterator<Item = &'a Seen>, buckets: usize) -> Vec<u64> {
        let mut all = self.clone();
        except.into_iter().for_each(|seen| all.toggle(seen));
        let mut folded = vec![0; buckets];
        for (bucket, number) in all.0.iter().enumerate() {
            folded[bucket & (buckets - 1)] ^= number;
        }
        folded
    }
}

/// FNV-1a over what is known, then one round of splitmix64, so that an exclusive or of two does not cancel what they share.
fn hash(seen: &Seen) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let identity = &seen.identity;
    let parts: [&[u8]; 5] = [
        &identity.node.0,
        &identity.epoch.0.to_be_bytes(),
        &identity.bump.to_be_bytes(),
        &seen.incarnation.to_be_bytes(),
        &[seen.health as u8],
    ];
    for byte in parts.into_iter().flatten() {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use covenant_types::{BootEpoch, Uptime};

    use super::*;
    use crate::{Health, Identity};

    fn seen(node: u8, incarnation: u16) -> Seen {
        let identity = Identity::new(NodeId([node; 16]), BootEpoch(1));
        Seen { identity, incarnation, health: Health::Alive, since: Uptime::ZERO, warned: None, asked: 0 }
    }

    fn digest<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Digest {
        let mut digest = Digest::default();
        seen.into_iter().for_each(|seen| digest.toggle(seen));
        digest
    }

    #[test]
    fn equal_knowledge_has_equal_digests_and_a_difference_shows_in_its_bucket_alone() {
        let known: Vec<_> = (0..100).map(|node| seen(node, 0)).collect();
        let buckets = buckets_for(known.len());
        let one = digest(&known).without([], buckets);
        assert_eq!(one, digest(known.iter().rev()).without([], buckets));
        let mut other = digest(&known);
        other.toggle(&known[7]);
        other.toggle(&seen(7, 1));
        let other = other.without([], buckets);
        let differ: Vec<_> = (0..buckets).filter(|bucket| one[*bucket] != other[*bucket]).collect();
        assert_eq!(differ, [bucket_of(&NodeId([7; 16]), buckets)]);
    }

    #[test]
    fn the_two_that_compare_do_not_count() {
        let known = [seen(1, 0), seen(2, 0), seen(3, 0)];
        assert_eq!(digest(&known).without(&known[..2], 4), digest(&known[2..]).without([], 4));
        assert_ne!(digest(&known).without(&known[..1], 4), digest(&known[2..]).without([], 4));
    }

    #[test]
    fn buckets_grow_with_the_cluster_up_to_a_bound() {
        assert_eq!([0, 1, 20, 200, 1000, 5000].map(buckets_for), [1, 1, 8, 64, 256, 256]);
    }
}
