//! Good histories pass. One fault of each sort, planted into a good one, is found and called by its name.

use std::collections::BTreeMap;

use covenant_types::TransferId;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::model::good;
use crate::record::{Account, Booked, History, Outcome};
use crate::{FAULTS_LISTED_MAX, Fault, Kind, Read, Verdict, check};

const STEPS: usize = 400;

/// Plants a fault, and says which transfer or read it is about. `None` where this history has no place for it.
type Plant = fn(&mut History, &mut StdRng) -> Option<Planted>;

/// What has to be found: of this kind, and by these words where they are given.
struct Planted {
    kind: Kind,
    named: String,
}

fn planted(kind: Kind, named: impl ToString) -> Option<Planted> {
    Some(Planted { kind, named: named.to_string() })
}

fn acknowledged(history: &History) -> Vec<TransferId> {
    let told = history.attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Booked { .. }));
    told.map(|attempt| attempt.id).collect()
}

fn find(history: &History, id: TransferId) -> usize {
    history.book.iter().position(|entry| entry.id == id).expect("it was acknowledged")
}

/// The balances after each number of entries.
fn states(history: &History) -> Vec<BTreeMap<Account, i128>> {
    let mut held: BTreeMap<Account, i128> = history.replicas[0].balances.keys().map(|name| (name.clone(), 0)).collect();
    held.extend(history.opening.clone());
    let mut states = vec![held.clone()];
    for entry in &history.book {
        *held.get_mut(&entry.from).unwrap() -= entry.amount;
        *held.get_mut(&entry.to).unwrap() += entry.amount;
        states.push(held.clone());
    }
    states
}

/// Has all replicas hold what the book now adds up to.
fn settle(history: &mut History) {
    let closing = states(history).pop().unwrap();
    history.replicas.iter_mut().for_each(|replica| replica.balances = closing.clone());
}

/// How many entries had been acknowledged before `at`: the first that must be in what is read then.
fn floor(history: &History, at: u64) -> usize {
    let told = history.attempts.iter().filter(|attempt| attempt.span.returned < at);
    let told = told.filter(|attempt| matches!(attempt.outcome, Outcome::Booked { .. }));
    told.map(|attempt| find(history, attempt.id) + 1).max().unwrap_or(0)
}

fn lost(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let id = *acknowledged(history).choose(luck)?;
    history.book.retain(|entry| entry.id != id);
    settle(history);
    planted(Kind::Lost, id)
}

fn lost_from_a_replica(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let entry = history.book.choose(luck)?.clone();
    let balances = &mut history.replicas[1].balances;
    *balances.get_mut(&entry.from)? += entry.amount;
    *balances.get_mut(&entry.to)? -= entry.amount;
    planted(Kind::Lost, entry.id)
}

fn forgotten(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let id = *acknowledged(history).choose(luck)?;
    let mut later = history.attempts.iter().find(|attempt| attempt.id == id)?.clone();
    let end = history.attempts.iter().map(|attempt| attempt.span.returned).max()?;
    later.span = crate::Span { invoked: end + 1, returned: end + 2 };
    later.outcome = Outcome::Refused;
    history.attempts.push(later);
    planted(Kind::Lost, id)
}

fn doubled(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let mut entry = history.book.choose(luck)?.clone();
    entry.number = history.book.last()?.number + 1;
    let id = entry.id;
    history.book.push(entry);
    settle(history);
    planted(Kind::Doubled, id)
}

fn doubled_in_a_replica(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let entry = history.book.choose(luck)?.clone();
    let balances = &mut history.replicas[2].balances;
    *balances.get_mut(&entry.from)? -= entry.amount;
    *balances.get_mut(&entry.to)? += entry.amount;
    planted(Kind::Doubled, entry.id)
}

fn booked_newly_twice(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let fresh = |outcome: Outcome| matches!(outcome, Outcome::Booked { fresh: true, .. });
    let first: Vec<_> = history.attempts.iter().filter(|attempt| fresh(attempt.outcome)).cloned().collect();
    let mut again = first.choose(luck)?.clone();
    let id = again.id;
    again.span.returned += 7;
    history.attempts.push(again);
    planted(Kind::Doubled, id)
}

/// A read of a state before what was acknowledged.
fn stale(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let states = states(history);
    let read = luck.random_range(0..history.reads.len().max(1));
    let floor = floor(history, history.reads.get(read)?.span.invoked);
    let older = luck.random_range(0..floor.max(1));
    let (old, rest) = (states.get(older)?, &states[floor..]);
    if older >= floor || rest.contains(old) {
        return None;
    }
    history.reads[read].balances = old.clone();
    planted(Kind::Stale, format!("read {read} "))
}

/// A read of a state before the one that an earlier read saw, though nothing acknowledged is missing.
fn backwards(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let states = states(history);
    let place = |read: &Read| states.iter().position(|state| *state == read.balances);
    let later = luck.random_range(0..history.reads.len().max(1));
    let read = history.reads.get(later)?.clone();
    let floor = floor(history, read.span.invoked);
    let before = history.reads.iter().filter(|other| other.span.returned < read.span.invoked);
    let seen = before.filter_map(place).max()?;
    if seen <= floor || states[seen..].contains(&states[floor]) {
        return None;
    }
    history.reads[later].balances = states[floor].clone();
    planted(Kind::Stale, format!("read {later} "))
}

/// Two transfers, one asked for after the other was acknowledged, stand the other way round in the book.
fn reordered(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let first = luck.random_range(0..history.attempts.len().max(1));
    let first = history.attempts.get(first)?;
    let Outcome::Booked { .. } = first.outcome else { return None };
    let later = history.attempts.iter().filter(|attempt| attempt.span.invoked > first.span.returned);
    let later: Vec<_> = later
        .filter(|attempt| {
            let tries = history.attempts.iter().filter(|other| other.id == attempt.id);
            let booked = history.book.iter().any(|entry| entry.id == attempt.id);
            booked && tries.map(|attempt| attempt.span.invoked).min() > Some(first.span.returned)
        })
        .collect();
    let (one, other) = (find(history, first.id), find(history, later.choose(luck)?.id));
    let (a, b) = (history.book[one].clone(), history.book[other].clone());
    let named = b.id;
    history.book[one] = Booked { number: a.number, ..b.clone() };
    history.book[other] = Booked { number: b.number, ..a };
    planted(Kind::Stale, named)
}

fn phantom(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let no = |outcome| matches!(outcome, Outcome::Refused | Outcome::NotDone);
    let refused: Vec<_> = history
        .attempts
        .iter()
        .filter(|attempt| history.attempts.iter().all(|other| other.id != attempt.id || no(other.outcome)))
        .cloned()
        .collect();
    let refused = refused.choose(luck)?.clone();
    let number = history.book.last().map_or(0, |last| last.number + 1);
    let crate::Attempt { id, from, to, amount, .. } = refused;
    history.book.push(Booked { number, id, from, to, amount });
    settle(history);
    planted(Kind::Phantom, id)
}

fn never_asked(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let mut entry = history.book.choose(luck)?.clone();
    entry.id = TransferId(u128::MAX);
    entry.number = history.book.last()?.number + 1;
    history.book.push(entry);
    settle(history);
    planted(Kind::Phantom, TransferId(u128::MAX))
}

fn unbalanced_read(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let read = luck.random_range(0..history.reads.len().max(1));
    let balances = &mut history.reads.get_mut(read)?.balances;
    *balances.values_mut().next()? += 1;
    planted(Kind::Unbalanced, format!("read {read} "))
}

fn unbalanced_replica(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let balances = &mut history.replicas[0].balances;
    let accounts: Vec<Account> = balances.keys().cloned().collect();
    let account = accounts.choose(luck)?;
    *balances.get_mut(account)? += 1;
    planted(Kind::Unbalanced, account)
}

fn altered(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let place = luck.random_range(0..history.book.len().max(1));
    let entry = history.book.get_mut(place)?;
    entry.amount += 1;
    let id = entry.id;
    settle(history);
    planted(Kind::Altered, id)
}

fn misnumbered(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let place = luck.random_range(0..history.attempts.len().max(1));
    let attempt = history.attempts.get_mut(place)?;
    let Outcome::Booked { number, .. } = &mut attempt.outcome else { return None };
    *number += 1;
    planted(Kind::Altered, attempt.id)
}

/// A read of half a transfer, in which the sum is right because another account pays.
fn impossible(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let read = luck.random_range(0..history.reads.len().max(1));
    let states = states(history);
    let balances = &mut history.reads.get_mut(read)?.balances;
    let mut held = balances.values_mut();
    *held.next()? += 1;
    *held.next()? -= 1;
    if states.contains(balances) {
        return None;
    }
    planted(Kind::Impossible, format!("read {read} "))
}

/// A read of a transfer that nobody had asked for yet.
fn future(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let states = states(history);
    let number = luck.random_range(0..history.reads.len().max(1));
    let ended = history.reads.get(number)?.span.returned;
    let begun = |id| history.attempts.iter().filter(|attempt| attempt.id == id).map(|a| a.span.invoked).min();
    let ceiling = history.book.iter().position(|entry| begun(entry.id) > Some(ended))?;
    let later = luck.random_range(ceiling + 1..=history.book.len());
    if states[..=ceiling].contains(&states[later]) {
        return None;
    }
    history.reads[number].balances = states[later].clone();
    planted(Kind::Impossible, format!("read {number} "))
}

fn diverged(history: &mut History, luck: &mut StdRng) -> Option<Planted> {
    let replica = history.replicas.get_mut(luck.random_range(1..3usize))?;
    replica.state = "other".to_owned();
    let node = replica.node.clone();
    planted(Kind::Diverged, node)
}

const PLANTS: [(&str, Plant); 18] = [
    ("lost", lost),
    ("lost from a replica", lost_from_a_replica),
    ("forgotten", forgotten),
    ("doubled", doubled),
    ("doubled in a replica", doubled_in_a_replica),
    ("booked newly twice", booked_newly_twice),
    ("stale", stale),
    ("backwards", backwards),
    ("reordered", reordered),
    ("phantom", phantom),
    ("never asked", never_asked),
    ("unbalanced read", unbalanced_read),
    ("unbalanced replica", unbalanced_replica),
    ("altered", altered),
    ("misnumbered", misnumbered),
    ("impossible", impossible),
    ("future", future),
    ("diverged", diverged),
];

fn found(verdict: &Verdict, planted: &Planted) -> bool {
    let names = |fault: &Fault| fault.kind() == planted.kind && fault.to_string().contains(&planted.named);
    // One wrong place in the book makes many others wrong; not all of them are listed.
    verdict.count(planted.kind) > FAULTS_LISTED_MAX as u64 || verdict.faults.iter().any(names)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_ledger_that_keeps_its_word_answers_passes(seed: u64) {
        let verdict = check(&good(seed, STEPS));
        prop_assert!(verdict.holds(), "{:#?}", verdict.faults);
    }

    #[test]
    fn each_fault_that_is_planted_is_found_and_named(seed: u64) {
        for (name, plant) in PLANTS {
            let mut history = good(seed, STEPS);
            let Some(planted) = plant(&mut history, &mut StdRng::seed_from_u64(seed)) else { continue };
            let verdict = check(&history);
            prop_assert!(found(&verdict, &planted), "{name} of {}: {:#?}", planted.named, verdict.faults);
        }
    }
}

#[test]
fn every_sort_of_fault_finds_a_place_in_many_histories() {
    for (name, plant) in PLANTS {
        let has_place = |seed| plant(&mut good(seed, STEPS), &mut StdRng::seed_from_u64(seed)).is_some();
        let count = (0..100).filter(|seed| has_place(*seed)).count();
        assert!(count >= 5, "{name} was planted in {count} of 100 histories");
    }
}

#[test]
fn what_is_not_known_is_held_against_nobody() {
    let history = good(7, STEPS);
    let count =
        |wanted: fn(&Outcome) -> bool| history.attempts.iter().filter(|attempt| wanted(&attempt.outcome)).count();
    let unknown = count(|outcome| *outcome == Outcome::Unknown);
    let again = count(|outcome| matches!(outcome, Outcome::Booked { fresh: false, .. }));
    assert!(unknown > 5 && again > 5, "{unknown} unknown, {again} tried again: else this shows nothing");
    assert!(count(|outcome| *outcome == Outcome::Refused) > 0 && history.reads.len() > 20);
    let unasked = acknowledged(&history).len() < history.book.len() + again;
    assert!(unasked && check(&history).holds());
}
