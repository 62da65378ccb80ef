//! What a node holds of names and groups, in numbers that two nodes can compare. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use covenant_types::{ActorPath, BootEpoch, Name, NodeId, Region};

use super::core::Presence;
use super::entry::{About, ShardId};
use super::hybrid_clock::Moment;
use super::shard::Shard;

/// Who claims a name, and since when. Of two claims to a name the one with the later `since` holds, and of two of one moment that
/// of the node with the higher id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The node of the actor.
    pub node: NodeId,
    /// Where it hangs there.
    pub path: ActorPath,
    /// Seconds since 1970, and which claim of that second: a moment after every one that its node knew of then. Zero, before
    /// all others, for a claim of a node that has not settled yet.
    pub since: (u64, u32),
}

/// A copy of what one node says of its own actors, or of those of its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldShard {
    /// The node that says it.
    pub writer: NodeId,
    /// The region that it is about; `None` where it is about the writer's own actors.
    pub region: Option<Region>,
    /// The boot of the writer in which it said so.
    pub epoch: BootEpoch,
    /// How often it had changed in that boot. Zero: nothing was said yet.
    pub version: u64,
    /// What its entries come to: copies of one version are equal, wherever they are held.
    pub digest: u64,
}

impl Presence {
    /// The latest claim to a name that is known, this node's own among them.
    pub(crate) fn claim(&self, name: &Name) -> Option<Claim> {
        let own = self.own_claim(name).map(|(moment, path)| (*moment, self.me.id, path.clone()));
        let held = self.held_elsewhere(name).map(|held| (held.claimed, held.place.node, held.place.path));
        let (moment, node, path) = own.into_iter().chain(held).max_by_key(|(moment, node, _)| (*moment, *node))?;
        Some(Claim { node, path, since: moment.parts() })
    }

    /// All shards that are held here, the own ones first.
    pub(crate) fn account(&self) -> Vec<HeldShard> {
        let (writer, region) = (self.me.id, self.me.region);
        let own = (ShardId { writer, about: About::Actors }, &self.own);
        let summary = (ShardId { writer, about: About::Region(region) }, &self.summary);
        let others = self.shards.iter().map(|(id, shard)| (*id, shard));
        [own, summary].into_iter().chain(others).map(|(id, shard)| held(id, shard)).collect()
    }
}

fn held(id: ShardId, shard: &Shard) -> HeldShard {
    let region = match id.about {
        About::Actors => None,
        About::Region(region) => Some(region),
    };
    let mut digest = DefaultHasher::new();
    shard.entries().hash(&mut digest);
    let stamp = shard.stamp();
    HeldShard { writer: id.writer, region, epoch: stamp.epoch, version: stamp.version, digest: digest.finish() }
}

impl Moment {
    fn parts(self) -> (u64, u32) {
        (self.seconds, self.count)
    }
}
