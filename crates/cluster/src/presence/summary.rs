//! What a region tells the others, and who does so. Pure.

use std::collections::{BTreeMap, BTreeSet};

use covenant_types::{ActorPath, Name, NodeId, NodeName, Role, Scope};

use super::core::Presence;
use super::entry::{Entry, Place};
use super::hybrid_clock::Moment;
use super::shard::Shard;
use crate::member::MemberState;

/// So many members of a group are named to other regions.
pub(super) const DELEGATES_MAX: usize = 8;

impl Presence {
    /// Writes the summary of this region where this node speaks for it, and empties it where it no longer does.
    pub(super) fn write_summary(&mut self) {
        let entries = if self.speaks() { self.summarise() } else { BTreeSet::new() };
        if self.summary.become_these(entries) {
            self.note_news();
        }
    }

    /// Whether this node speaks for its region: of the hubs that can be reached the one with the least id, or of all members
    /// where there is no such hub.
    fn speaks(&self) -> bool {
        let there = self.members.values().filter(|seen| {
            seen.region == self.me.region && (seen.state == MemberState::Reachable || seen.id == self.me.id)
        });
        let least = there.map(|seen| (seen.role != Role::Hub, seen.id)).min();
        least.is_none_or(|(_, id)| id == self.me.id)
    }

    fn summarise(&self) -> BTreeSet<Entry> {
        let own = (self.me.id, self.me.name.clone(), false, &self.own);
        let mut groups: BTreeMap<&Name, Vec<AtNode<'_>>> = BTreeMap::new();
        let mut holders: BTreeMap<&Name, (Moment, Place)> = BTreeMap::new();
        for (node, node_name, stale, shard) in self.neighbours().chain([own]) {
            for (group, paths) in global_members(shard) {
                groups.entry(group).or_default().push((node, node_name.clone(), stale, paths));
            }
            for entry in shard.entries() {
                let Entry::Claim { name, claimed, path } = entry else { continue };
                let later = holders.get(name).is_none_or(|(held, at)| (*held, at.node) < (*claimed, node));
                if later {
                    holders.insert(name, (*claimed, Place { node, node_name: node_name.clone(), path: path.clone() }));
                }
            }
        }
        let mut entries: BTreeSet<Entry> = holders
            .into_iter()
            .map(|(name, (claimed, at))| Entry::Holder { name: name.clone(), claimed, at })
            .collect();
        for (group, nodes) in groups {
            let count = nodes.iter().map(|(.., paths)| paths.len() as u64).sum();
            entries.insert(Entry::Count { group: group.clone(), count });
            // Those that can be reached first, and of each node one before a second of any.
            let mut all: Vec<(bool, usize, NodeId, Place)> = Vec::new();
            for (node, node_name, stale, paths) in nodes {
                let place = |path: &ActorPath| Place { node, node_name: node_name.clone(), path: path.clone() };
                let few = paths.into_iter().take(DELEGATES_MAX).enumerate();
                all.extend(few.map(|(nth, path)| (stale, nth, node, place(path))));
            }
            all.sort();
            let few = all.into_iter().take(DELEGATES_MAX);
            entries.extend(few.map(|(.., at)| Entry::Delegate { group: group.clone(), at }));
        }
        entries
    }
}

/// A node, whether it is stale, and its members of one group.
type AtNode<'a> = (NodeId, NodeName, bool, Vec<&'a ActorPath>);

/// The global groups in the shard of a node.
fn global_members(shard: &Shard) -> BTreeMap<&Name, Vec<&ActorPath>> {
    let mut groups: BTreeMap<&Name, Vec<&ActorPath>> = BTreeMap::new();
    for entry in shard.entries() {
        if let Entry::Member { group, scope: Scope::Global, path } = entry {
            groups.entry(group).or_default().push(path);
        }
    }
    groups
}
