//! What to fetch next. Pure: told what a hub offers and what is here, it names what is missing, most urgent first.

use std::collections::BTreeMap;

use covenant_runtime::Schema;
use serde::{Deserialize, Serialize};

use crate::{Class, DatasetId};

/// A dataset as a hub offers it: enough to decide whether it is wanted. Believed only once its manifest is verified.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct Summary {
    /// Which version.
    pub id: DatasetId,
    /// Its name.
    pub name: String,
    /// Counts up.
    pub version: u64,
    /// What it is for.
    pub class: Class,
}

/// What a node wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Every dataset of these classes.
    pub classes: Vec<Class>,
    /// Datasets of these names.
    pub names: Vec<String>,
}

impl Wanted {
    fn wants(&self, summary: &Summary) -> bool {
        self.classes.contains(&summary.class) || self.names.contains(&summary.name)
    }
}

/// The offers worth fetching, most urgent first: wanted, the newest version of their name, and newer than what is held.
///
/// `held` is the newest version of each name that is complete here. Two versions with one number are told apart by their id,
/// so that all nodes prefer the same one.
pub(crate) fn choose(offers: Vec<Summary>, held: &BTreeMap<String, (u64, DatasetId)>, wanted: &Wanted) -> Vec<Summary> {
    let mut newest: BTreeMap<String, Summary> = BTreeMap::new();
    for offer in offers.into_iter().filter(|offer| wanted.wants(offer)) {
        let rank = |summary: &Summary| (summary.version, summary.id);
        if held.get(&offer.name).is_some_and(|held| *held >= rank(&offer)) {
            continue;
        }
        match newest.get(&offer.name) {
            Some(known) if rank(known) >= rank(&offer) => {}
            Some(_) | None => drop(newest.insert(offer.name.clone(), offer)),
        }
    }
    let mut chosen: Vec<Summary> = newest.into_values().collect();
    chosen.sort_by(|a, b| (a.class, &a.name).cmp(&(b.class, &b.name)));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(name: &str, version: u64, class: Class) -> Summary {
        Summary { id: DatasetId([u8::try_from(version).unwrap(); 32]), name: name.into(), version, class }
    }

    fn check(offers: &[Summary], held: &[(&str, u64)], expected: &str) {
        let wanted = Wanted { classes: vec![Class::General, Class::Health], names: vec!["pinned".into()] };
        let held = held
            .iter()
            .map(|(name, version)| ((*name).to_owned(), (*version, offer(name, *version, Class::Health).id)))
            .collect();
        let chosen = choose(offers.to_vec(), &held, &wanted);
        let names: Vec<String> = chosen.iter().map(|summary| format!("{} {}", summary.name, summary.version)).collect();
        assert_eq!(names.join(", "), expected);
    }

    #[test]
    fn only_what_is_wanted_is_fetched_and_health_comes_first() {
        let offers = [
            offer("b", 1, Class::General),
            offer("c", 1, Class::Health),
            offer("d", 1, Class::Fintech),
            offer("pinned", 1, Class::Fintech),
        ];
        check(&offers, &[], "c 1, pinned 1, b 1");
    }

    #[test]
    fn the_newest_version_wins_and_old_ones_are_left() {
        let offers = [offer("a", 1, Class::Health), offer("a", 3, Class::Health), offer("a", 2, Class::Health)];
        check(&offers, &[], "a 3");
        check(&offers, &[("a", 2)], "a 3");
        check(&offers, &[("a", 3)], "");
        check(&offers, &[("a", 4)], "");
    }
}
