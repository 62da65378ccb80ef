//! One copy of one writer's shard, and the changes that led to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use covenant_types::BootEpoch;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Stamp};

/// The most entries of a shard.
pub(crate) const SHARD_ENTRIES_MAX: usize = 32 * 1024;
/// The most bytes of a shard, as [`Entry::bytes`] counts them.
pub(crate) const SHARD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Changes of so many versions are kept. Whoever missed more gets the whole shard.
const GENERATIONS_MAX: usize = 100;
/// Of so many entries at most.
const KEPT_CHANGES_MAX: usize = 8 * 1024;

/// A copy of a shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    stamp: Stamp,
    entries: BTreeSet<Entry>,
    bytes: usize,
    /// What changed lately, the oldest first, without gaps up to `stamp`.
    kept: VecDeque<Generation>,
    kept_changes: usize,
}

/// An entry that is there from now on, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) entry: Entry,
    pub(crate) there: bool,
}

#[derive(Clone, Debug)]
struct Generation {
    from: u64,
    changes: Vec<Change>,
}

/// What became of something that was heard of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It was news.
    News,
    /// It was known.
    Known,
    /// Something between was missed: ask for the whole.
    Gap,
    /// It would be larger than a shard may be. Nothing was changed.
    TooLarge,
}

impl Shard {
    /// An empty shard.
    pub(crate) fn new(stamp: Stamp) -> Self {
        Self { stamp, ..Self::default() }
    }

    /// The writer goes on in a later boot. Nobody holds a version of that, so the changes up to now are of no use.
    pub(crate) fn rise_to(&mut self, epoch: BootEpoch) {
        self.stamp.epoch = epoch;
        (self.kept, self.kept_changes) = (VecDeque::new(), 0);
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(crate) fn entries(&self) -> &BTreeSet<Entry> {
        &self.entries
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The writer's own change: makes the entries `wanted`, as far as they fit, and returns whether that is a new version.
    pub(crate) fn become_these(&mut self, wanted: BTreeSet<Entry>) -> bool {
        let (mut bytes, mut count) = (0, 0);
        let fitting: BTreeSet<Entry> = wanted
            .into_iter()
            .take_while(|entry| {
                (bytes, count) = (bytes + entry.bytes(), count + 1);
                bytes <= SHARD_BYTES_MAX && count <= SHARD_ENTRIES_MAX
            })
            .collect();
        let gone = self.entries.difference(&fitting).map(|entry| Change { entry: entry.clone(), there: false });
        let new = fitting.difference(&self.entries).map(|entry| Change { entry: entry.clone(), there: true });
        let changes: Vec<Change> = gone.chain(new).collect();
        if changes.is_empty() {
            return false;
        }
        self.bytes = fitting.iter().map(Entry::bytes).sum();
        self.entries = fitting;
        let from = self.stamp.version;
        self.stamp.version += 1;
        self.keep(from, changes);
        true
    }

    /// What was changed between two versions, as heard from the writer. It says of each entry how it ended up, so it also
    /// fits a copy that has part of it.
    pub(crate) fn apply(&mut self, from: u64, to: Stamp, changes: Vec<Change>) -> Heard {
        if to <= self.stamp {
            return Heard::Known;
        }
        if to.epoch != self.stamp.epoch || from > self.stamp.version {
            return Heard::Gap;
        }
        let (mut entries, mut bytes) = (self.entries.len(), self.bytes);
        for change in &changes {
            if change.there && !self.entries.contains(&change.entry) {
                (entries, bytes) = (entries + 1, bytes + change.entry.bytes());
            }
        }
        if entries > SHARD_ENTRIES_MAX || bytes > SHARD_BYTES_MAX {
            return Heard::TooLarge;
        }
        for Change { entry, there } in &changes {
            if *there {
                if self.entries.insert(entry.clone()) {
                    self.bytes += entry.bytes();
                }
            } else if self.entries.remove(entry) {
                self.bytes -= entry.bytes();
            }
        }
        let from = self.stamp.version;
        self.stamp = to;
        self.keep(from, changes);
        Heard::News
    }

    /// The whole shard, as heard from the writer.
    pub(crate) fn replace(&mut self, stamp: Stamp, entries: BTreeSet<Entry>) -> Heard {
        if stamp <= self.stamp {
            return Heard::Known;
        }
        let bytes = entries.iter().map(Entry::bytes).sum();
        if entries.len() > SHARD_ENTRIES_MAX || bytes > SHARD_BYTES_MAX {
            return Heard::TooLarge;
        }
        *self = Self { stamp, entries, bytes, ..Self::default() };
        Heard::News
    }

    /// What changed since `version`, if that is kept: each entry once, as it ended up.
    pub(crate) fn since(&self, version: u64) -> Option<Vec<Change>> {
        let first = self.kept.iter().position(|generation| generation.from == version)?;
        let mut ended_up = BTreeMap::new();
        for change in self.kept.iter().skip(first).flat_map(|generation| &generation.changes) {
            ended_up.insert(&change.entry, change.there);
        }
        Some(ended_up.into_iter().map(|(entry, there)| Change { entry: entry.clone(), there }).collect())
    }

    fn keep(&mut self, from: u64, changes: Vec<Change>) {
        self.kept_changes += changes.len();
        self.kept.push_back(Generation { from, changes });
        while self.kept.len() > GENERATIONS_MAX || self.kept_changes > KEPT_CHANGES_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_changes -= oldest.changes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use covenant_types::{ActorPath, BootEpoch, Name, Scope};
    use proptest::prelude::*;

    use super::*;

    fn entry(number: u8) -> Entry {
        let path: ActorPath = format!("/a{number}").parse().unwrap();
        Entry::Member { group: Name::new("g").unwrap(), scope: Scope::Region, path }
    }

    /// The history of one writer: a copy after each change, over two boots.
    fn history(steps: &[BTreeSet<u8>]) -> Vec<Shard> {
        let mut copies = Vec::new();
        for epoch in [1, 2] {
            let mut own = Shard::new(Stamp { epoch: BootEpoch(epoch), version: 0 });
            for step in steps {
                own.become_these(step.iter().map(|number| entry(*number)).collect());
                copies.push(own.clone());
            }
        }
        copies
    }

    /// What one copy tells another of itself.
    fn merge(into: &mut Shard, from: &Shard) {
        if from.stamp.epoch == into.stamp.epoch
            && let Some(changes) = from.since(into.stamp.version)
        {
            into.apply(into.stamp.version, from.stamp, changes);
        }
        into.replace(from.stamp, from.entries.clone());
    }

    fn merged(a: &Shard, b: &Shard) -> Shard {
        let mut merged = a.clone();
        merge(&mut merged, b);
        merged
    }

    fn same(a: &Shard, b: &Shard) -> bool {
        (a.stamp, &a.entries, a.bytes) == (b.stamp, &b.entries, b.bytes)
    }

    proptest! {
        #[test]
        fn merging_copies_commutes_and_associates_and_twice_is_once(
            steps in proptest::collection::vec(proptest::collection::btree_set(0..20u8, 0..8), 1..40),
            picks in proptest::array::uniform3(any::<prop::sample::Index>()),
        ) {
            let copies = history(&steps);
            let [a, b, c] = picks.each_ref().map(|pick| pick.get(&copies));
            prop_assert!(same(&merged(a, b), &merged(b, a)));
            prop_assert!(same(&merged(&merged(a, b), c), &merged(a, &merged(b, c))));
            prop_assert!(same(&merged(a, a), a));
            prop_assert!(same(&merged(&merged(a, b), b), &merged(a, b)));
            let newest = if a.stamp >= b.stamp { a } else { b };
            prop_assert!(same(&merged(a, b), newest), "and it is the newer one");
        }

        #[test]
        fn changes_since_any_version_that_is_kept_lead_to_the_newest(
            steps in proptest::collection::vec(proptest::collection::btree_set(0..20u8, 0..8), 1..20),
        ) {
            let copies = history(&steps);
            let newest = copies.last().unwrap();
            let of_this_boot: Vec<&Shard> = copies.iter().filter(|copy| copy.stamp.epoch == newest.stamp.epoch).collect();
            for (at, copy) in of_this_boot.iter().enumerate().filter(|(_, copy)| copy.stamp < newest.stamp) {
                let changes = newest.since(copy.stamp.version).unwrap();
                // Also on a copy that already has part of it.
                for later in &of_this_boot[at..] {
                    let mut later = (*later).clone();
                    later.apply(copy.stamp.version, newest.stamp, changes.clone());
                    prop_assert!(same(&later, newest));
                }
            }
        }
    }

    #[test]
    fn a_shard_whose_writer_goes_on_in_a_later_boot_is_told_whole_and_replaces_all_copies() {
        let mut own = Shard::new(Stamp { epoch: BootEpoch(1), version: 0 });
        assert!(own.become_these([entry(1)].into()));
        let mut copy = own.clone();
        own.rise_to(BootEpoch(4));
        assert_eq!(own.since(copy.stamp().version), None);
        assert_eq!(copy.replace(own.stamp(), own.entries().clone()), Heard::News);
        assert_eq!((copy.stamp().epoch, copy.entries().len()), (BootEpoch(4), 1));
        assert!(own.become_these([entry(2)].into()));
        let changes = own.since(copy.stamp().version).unwrap();
        assert_eq!(copy.apply(copy.stamp().version, own.stamp(), changes), Heard::News);
    }

    #[test]
    fn who_missed_more_than_is_kept_gets_the_whole() {
        let steps: Vec<BTreeSet<u8>> =
            (0..=GENERATIONS_MAX).map(|step| BTreeSet::from([u8::try_from(step % 2).unwrap()])).collect();
        let copies = history(&steps);
        let newest = copies.last().unwrap();
        assert_eq!(newest.since(0), None);
        assert_eq!(newest.since(1).unwrap().len(), 2);
        let mut old = Shard::new(Stamp { epoch: BootEpoch(2), version: 0 });
        assert_eq!(old.apply(1, newest.stamp(), newest.since(1).unwrap()), Heard::Gap);
        assert_eq!(old.replace(newest.stamp(), newest.entries().clone()), Heard::News);
    }

    #[test]
    fn a_shard_beyond_its_bounds_is_not_taken_and_its_own_writer_cuts_it() {
        let many: BTreeSet<Entry> = (0..=SHARD_ENTRIES_MAX)
            .map(|number| Entry::Count { group: Name::new(&format!("g{number}")).unwrap(), count: 1 })
            .collect();
        let stamp = Stamp { epoch: BootEpoch(1), version: 1 };
        let mut shard = Shard::new(Stamp::default());
        assert_eq!(shard.replace(stamp, many.clone()), Heard::TooLarge);
        let changes = many.iter().map(|entry| Change { entry: entry.clone(), there: true }).collect();
        let mut shard = Shard::new(Stamp { epoch: BootEpoch(1), version: 0 });
        assert_eq!(shard.apply(0, stamp, changes), Heard::TooLarge);
        assert!(shard.entries().is_empty());
        assert!(shard.become_these(many));
        assert_eq!(shard.entries().len(), SHARD_ENTRIES_MAX);
        assert_eq!(shard.since(0), None, "nobody is sent what is too much to keep in pieces");
    }
}
