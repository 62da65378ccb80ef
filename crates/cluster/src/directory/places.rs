//! Who has a place in the directory, and who gives way where all are taken.

use std::collections::BTreeMap;

use covenant_membership::Health;
use covenant_types::{BootEpoch, NodeId};

use super::{Directory, Known};

/// The most nodes we keep records of.
pub const RECORDS_MAX: usize = 1024;
/// The most records that one peer told us of nodes that nobody has met. A record proves that somebody has a key, and not that
/// the cluster let it in: anybody can make a thousand. Half of all, so that no one peer decides whom we know.
pub const UNMET_MAX: usize = RECORDS_MAX / 2;

impl Directory {
    /// Makes room for the record of `id`, which is connected, where it has none yet: at the cost of one that nobody met, or one
    /// that died, or else one that we did not meet.
    pub(crate) fn make_room(&mut self, id: NodeId) {
        if self.records.len() >= RECORDS_MAX && !self.records.contains_key(&id) {
            let spare = self.most_told(Self::unmet).or_else(|| self.most_told(Self::gone)).map(|(_, oldest)| oldest);
            let rumour = || self.records.iter().find(|(_, known)| !known.proven).map(|(id, _)| *id);
            if let Some(id) = spare.or_else(rumour) {
                self.forget(id);
            }
        }
    }

    /// Whether there is a place for the record of a node that is new, told by `from`: the oldest of the same teller that
    /// nobody met gives way where it told of as many as it may, and where all places are taken the oldest of whoever
    /// told of most; then, for one that was met, one that died.
    pub(super) fn find_place(&mut self, id: NodeId, from: NodeId) -> bool {
        let met = self.health.contains_key(&id) || id == from;
        let (own, oldest) = self.those(Self::unmet).filter(|(_, known)| known.told.0 == from).fold(
            (0, None::<(u64, NodeId)>),
            |(count, oldest), (id, known)| {
                let this = (known.told.1, id);
                (count + 1, Some(oldest.map_or(this, |oldest| oldest.min(this))))
            },
        );
        if !met && own >= UNMET_MAX {
            oldest.into_iter().for_each(|(_, id)| self.forget(id));
        }
        if self.records.len() < RECORDS_MAX {
            return true;
        }
        let unmet = self.most_told(Self::unmet).filter(|(count, _)| met || *count > own);
        let gone = || self.most_told(Self::gone).filter(|_| met);
        let gives_way = unmet.or_else(gone).map(|(_, oldest)| oldest);
        gives_way.into_iter().for_each(|id| self.forget(id));
        gives_way.is_some()
    }

    /// Whether nobody said more of it than what stands in its record.
    pub(super) fn unmet(&self, id: NodeId, known: &Known) -> bool {
        !known.proven && !self.health.contains_key(&id)
    }

    /// Whether it is held for dead, and was never here: a node that was invented ends so once somebody spreads rumours of it. A
    /// real one is told of anew when it is back.
    fn gone(&self, id: NodeId, known: &Known) -> bool {
        let dead = |(epoch, health): &(BootEpoch, Health)| {
            *epoch >= known.signed.record.epoch && matches!(health, Health::Down | Health::Left)
        };
        let awaited = known.signed.record.phase.excuses_silence(self.wall) || self.vouched.contains(&id);
        !known.proven && !awaited && self.health.get(&id).is_some_and(dead)
    }

    pub(super) fn those(&self, are: fn(&Self, NodeId, &Known) -> bool) -> impl Iterator<Item = (NodeId, &Known)> {
        self.records.iter().map(|(id, known)| (*id, known)).filter(move |(id, known)| are(self, *id, known))
    }

    /// How many of those come from whoever told of most of them, and the oldest of these.
    fn most_told(&self, are: fn(&Self, NodeId, &Known) -> bool) -> Option<(usize, NodeId)> {
        let mut by_teller: BTreeMap<NodeId, (usize, u64, NodeId)> = BTreeMap::new();
        for (id, known) in self.those(are) {
            let (teller, number) = known.told;
            let (count, first, oldest) = by_teller.entry(teller).or_insert((0, number, id));
            *count += 1;
            if number < *first {
                (*first, *oldest) = (number, id);
            }
        }
        by_teller.into_values().max_by_key(|(count, _, _)| *count).map(|(count, _, oldest)| (count, oldest))
    }
}
