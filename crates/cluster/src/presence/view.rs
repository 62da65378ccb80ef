//! What can be seen of all shards together: who has a name, who is in a group. Pure.

use std::collections::BTreeMap;

use covenant_types::{ActorPath, BootEpoch, Name, NodeId, NodeName, Region, Scope};

use super::core::Presence;
use super::entry::{About, Entry, Place, ShardId};
use super::hybrid_clock::Moment;
use super::shard::Shard;
use crate::member::MemberState;

/// Who has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) place: Place,
    /// Its node sleeps or cannot be reached.
    pub(crate) stale: bool,
    pub(super) claimed: Moment,
}

/// Who is in a group, this node's own left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathering {
    /// With whether their nodes are stale.
    pub(crate) members: Vec<(Place, bool)>,
    /// How many more other regions have.
    pub(crate) unseen: u64,
}

impl Presence {
    /// Who has this name on another node.
    pub(crate) fn held_elsewhere(&self, name: &Name) -> Option<Held> {
        let first = Entry::Claim { name: name.clone(), claimed: Moment::NEVER, path: ActorPath::root() };
        let claims = self.neighbours().flat_map(|(node, node_name, stale, shard)| {
            let claims = shard.entries().range(&first..).map_while(|entry| {
                let Entry::Claim { name: of, claimed, path } = entry else { return None };
                (of == name).then(|| (*claimed, path.clone()))
            });
            claims.map(move |(claimed, path)| {
                let place = Place { node, node_name: node_name.clone(), path };
                Held { place, stale, claimed }
            })
        });
        let nowhere = || Place { node: NodeId([0; 16]), node_name: no_name(), path: ActorPath::root() };
        let first = Entry::Holder { name: name.clone(), claimed: Moment::NEVER, at: nowhere() };
        let far = self.far_regions().flat_map(|(_, stale, shard)| {
            let held = shard.entries().range(&first..).map_while(|entry| {
                let Entry::Holder { name: of, claimed, at } = entry else { return None };
                (of == name).then(|| (*claimed, at.clone()))
            });
            held.filter_map(move |(claimed, place)| {
                self.passed(&place, stale).map(|stale| Held { place, stale, claimed })
            })
        });
        claims.chain(far).max_by(|a, b| (a.claimed, a.place.node).cmp(&(b.claimed, b.place.node)))
    }

    /// Who is in this group on other nodes.
    pub(crate) fn gathering(&self, group: &Name) -> Gathering {
        let mut found = Gathering::default();
        for (node, node_name, stale, shard) in self.neighbours() {
            for path in members_of(shard, group) {
                found.members.push((Place { node, node_name: node_name.clone(), path: path.clone() }, stale));
            }
        }
        for (_, stale, shard) in self.far_regions() {
            let (delegates, count) = summary_of(shard, group);
            found.unseen += count.saturating_sub(delegates.len() as u64);
            let seen = delegates.into_iter().filter_map(|place| Some((place.clone(), self.passed(place, stale)?)));
            found.members.extend(seen);
        }
        found
    }

    /// The nodes of this region that are there, with whether they are stale, and their shards.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = (NodeId, NodeName, bool, &Shard)> {
        self.shards.iter().filter(|(id, _)| id.about == About::Actors).filter_map(|(id, shard)| {
            let stale = self.sight(id.writer, shard.stamp().epoch)?;
            Some((id.writer, self.members.get(&id.writer)?.name.clone(), stale, shard))
        })
    }

    /// One summary of each other region: that of a speaker that can be reached, or else of one that is there.
    fn far_regions(&self) -> impl Iterator<Item = (ShardId, bool, &Shard)> {
        let mut best: BTreeMap<Region, (bool, ShardId, &Shard)> = BTreeMap::new();
        for (id, shard) in &self.shards {
            let About::Region(region) = id.about else { continue };
            // One that no longer speaks has emptied its summary.
            let sight = match self.members.contains_key(&id.writer) {
                true => self.sight(id.writer, shard.stamp().epoch),
                false => Some(false), // somebody of our region told us of it
            };
            let Some(stale) = sight.filter(|_| !shard.entries().is_empty()) else { continue };
            let better = best.get(&region).is_none_or(|(other, ..)| *other && !stale);
            if better {
                best.insert(region, (stale, *id, shard));
            }
        }
        best.into_values().map(|(stale, id, shard)| (id, stale, shard))
    }

    /// Whether what a node said in that boot is stale; `None` where it is not to be seen at all.
    fn sight(&self, node: NodeId, epoch: BootEpoch) -> Option<bool> {
        let seen = self.members.get(&node).filter(|seen| seen.epoch == epoch)?;
        match seen.state {
            MemberState::Reachable => Some(false),
            MemberState::Asleep | MemberState::Unreachable => Some(true),
            MemberState::Down | MemberState::Left | MemberState::Removed => None,
        }
    }

    /// The same of a node that a summary names, of which this node may know nothing.
    fn passed(&self, place: &Place, stale: bool) -> Option<bool> {
        match self.members.get(&place.node) {
            Some(seen) => self.sight(place.node, seen.epoch).map(|also| also || stale),
            None => Some(stale),
        }
    }
}

/// The members of `group` in the shard of a node.
fn members_of<'a>(shard: &'a Shard, group: &'a Name) -> impl Iterator<Item = &'a ActorPath> + use<'a> {
    let first = Entry::Member { group: group.clone(), scope: Scope::Local, path: ActorPath::root() };
    shard.entries().range(first..).map_while(move |entry| {
        let Entry::Member { group: of, path, .. } = entry else { return None };
        (of == group).then_some(path)
    })
}

/// The members of `group` that the summary of a region names, and how many there are.
fn summary_of<'a>(shard: &'a Shard, group: &Name) -> (Vec<&'a Place>, u64) {
    let first = Entry::Count { group: group.clone(), count: 0 };
    let count = shard.entries().range(first..).next().and_then(|entry| {
        let Entry::Count { group: of, count } = entry else { return None };
        (of == group).then_some(*count)
    });
    let at = Place { node: NodeId([0; 16]), node_name: no_name(), path: ActorPath::root() };
    let first = Entry::Delegate { group: group.clone(), at };
    let delegates = shard.entries().range(first..).map_while(|entry| {
        let Entry::Delegate { group: of, at } = entry else { return None };
        (of == group).then_some(at)
    });
    (delegates.collect(), count.unwrap_or(0))
}

/// The first of all names.
fn no_name() -> NodeName {
    NodeName::new("-").expect("it is one")
}
