//! What nodes hold of what others say: copies of shards, each of which has one writer.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_cluster::HeldShard;
use covenant_types::{BootEpoch, NodeId, Region};

use super::Broken;

/// How long a copy may be behind its original in the quiet.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// A shard.
type Id = (NodeId, Option<Region>);
/// How new a copy of it is.
type Stamp = (BootEpoch, u64);

/// What is known of shards.
#[derive(Debug, Default)]
pub(super) struct Shards {
    /// What every version comes to.
    digests: BTreeMap<(Id, Stamp), u64>,
    /// The version that each writer is at, since when, and at which node it is.
    originals: BTreeMap<Id, (Stamp, Duration, usize)>,
    /// The copies that nodes hold.
    held: BTreeMap<usize, BTreeMap<Id, Stamp>>,
}

impl Shards {
    /// What a node holds, its own first. `me` is its id.
    pub(super) fn holds(&mut self, now: Duration, node: usize, me: NodeId, shards: &[HeldShard], broken: &mut Broken) {
        let before = self.held.remove(&node).unwrap_or_default();
        let mut held = BTreeMap::new();
        for shard in shards {
            let (id, stamp) = ((shard.writer, shard.region), (shard.epoch, shard.version));
            let known = *self.digests.entry((id, stamp)).or_insert(shard.digest);
            if known != shard.digest {
                broken.note(now, &format!("node {node} holds {id:?} {stamp:?} with other entries than others do"));
            }
            if before.get(&id).is_some_and(|before| *before > stamp) {
                broken.note(now, &format!("node {node} went back to {stamp:?} of {id:?}"));
            }
            if shard.writer == me {
                let since = self.originals.get(&id).filter(|(known, ..)| *known == stamp);
                let since = since.map_or(now, |(_, since, _)| *since);
                self.originals.insert(id, (stamp, since, node));
            }
            held.insert(id, stamp);
        }
        self.held.insert(node, held);
    }

    /// The process of a node has ended.
    pub(super) fn gone(&mut self, node: usize) {
        self.held.remove(&node);
        self.originals.retain(|_, (.., at)| *at != node);
    }

    /// What must hold at any moment; `region` says where a node is.
    pub(super) fn check(
        &self,
        now: Duration,
        quiet: Option<Duration>,
        region: impl Fn(usize) -> Region,
        broken: &mut Broken,
    ) {
        for (holder, id, stamp) in
            self.held.iter().flat_map(|(holder, held)| held.iter().map(move |(id, stamp)| (holder, id, stamp)))
        {
            if let Some((original, _, node)) = self.originals.get(id)
                && stamp > original
            {
                broken.note(now, &format!("node {holder} holds {id:?} {stamp:?}, node {node} is at {original:?}"));
            }
        }
        let Some(quiet) = quiet else { return };
        for (id, (original, since, node)) in &self.originals {
            if now < BEHIND_MAX + *since.max(&quiet) {
                continue;
            }
            for (holder, held) in self.held.iter().filter(|(holder, _)| *holder != node) {
                // All of a region hold what their neighbours say; of other regions somebody's word, perhaps of one who has
                // nothing to say any more.
                let is_due = id.1.is_none() && region(*holder) == region(*node) && original.1 > 0;
                match held.get(id) {
                    Some(stamp) if stamp != original => {
                        let text =
                            format!("node {holder} is behind: {stamp:?} of {id:?}, {original:?} for {BEHIND_MAX:?}");
                        broken.note(now, &text);
                    }
                    None if is_due => {
                        let text = format!("node {holder} holds nothing of {id:?}, node {node} is at {original:?}");
                        broken.note(now, &text);
                    }
                    Some(_) | None => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn id(node: u8) -> NodeId {
        NodeId([node; 16])
    }

    fn shard(writer: u8, version: u64, digest: u64) -> HeldShard {
        HeldShard { writer: id(writer), region: None, epoch: BootEpoch(1), version, digest }
    }

    /// Node 0 has its shard at `version`, and node 1 this copy of it; both at these seconds.
    fn check(seconds: &[u64], version: u64, copy: Option<HeldShard>, expected: &str) {
        let (mut shards, mut broken) = (Shards::default(), Broken::default());
        for second in seconds {
            shards.holds(at(*second), 0, id(0), &[shard(0, version, 7)], &mut broken);
            shards.holds(at(*second), 1, id(1), copy.as_slice(), &mut broken);
            shards.check(at(*second), Some(at(0)), |_| Region::Africa, &mut broken);
        }
        let found = broken.all().join("\n");
        assert!(if expected.is_empty() { found.is_empty() } else { found.contains(expected) }, "found: {found}");
    }

    #[test]
    fn a_copy_that_stays_behind_is_found_and_so_is_one_that_is_missing() {
        check(&[1, 20], 3, Some(shard(0, 3, 7)), "");
        check(&[1, 9], 3, Some(shard(0, 2, 6)), "");
        check(&[1, 20], 3, Some(shard(0, 2, 6)), "is behind");
        check(&[1, 20], 3, None, "holds nothing");
        check(&[1, 20], 0, None, "");
    }

    #[test]
    fn a_copy_with_a_gap_is_found() {
        check(&[1], 3, Some(shard(0, 3, 8)), "with other entries");
    }

    #[test]
    fn a_version_that_its_writer_never_wrote_is_found() {
        check(&[1], 3, Some(shard(0, 4, 8)), "node 0 is at");
    }

    #[test]
    fn a_copy_that_goes_back_is_found_unless_its_holder_began_anew() {
        let back = |is_new: bool| {
            let (mut shards, mut broken) = (Shards::default(), Broken::default());
            shards.holds(at(1), 1, id(1), &[shard(0, 4, 8)], &mut broken);
            if is_new {
                shards.gone(1);
            }
            shards.holds(at(2), 1, id(1), &[shard(0, 3, 7)], &mut broken);
            broken.all().join("\n")
        };
        assert!(back(false).contains("went back"));
        assert_eq!(back(true), "");
    }
}
