//! Transfers: acknowledged is in the book, once, as it was asked for, and in the order that clients saw.

use super::{Asked, ById};
use crate::record::{Attempt, History, Outcome};
use crate::verdict::{Fault, Verdict};

/// What was asked for, by id, with its place in the book.
pub(super) fn by_id(history: &History, verdict: &mut Verdict) -> ById {
    let mut asked = ById::new();
    for (number, attempt) in history.attempts.iter().enumerate() {
        let Attempt { id, span, outcome, .. } = attempt;
        let new = Asked {
            first: number,
            invoked: span.invoked,
            acknowledged: None,
            place: None,
            fresh: None,
            possible: false,
        };
        let known = asked.entry(*id).or_insert(new);
        if !same(&history.attempts, known.first, attempt) {
            verdict.add(Fault::Reused { id: *id, attempt: number });
        }
        known.invoked = known.invoked.min(span.invoked);
        match outcome {
            Outcome::Booked { fresh, .. } => {
                known.possible = true;
                if known.acknowledged.is_none_or(|(at, _)| span.returned < at) {
                    known.acknowledged = Some((span.returned, number));
                }
                match known.fresh {
                    Some(before) if *fresh => {
                        verdict.add(Fault::FreshTwice { id: *id, attempts: (before, number) });
                    }
                    None if *fresh => known.fresh = Some(number),
                    Some(_) | None => {}
                }
            }
            Outcome::Unknown => known.possible = true,
            Outcome::Refused | Outcome::NotDone => {}
        }
    }
    for (place, entry) in history.book.iter().enumerate() {
        if let Some(known) = asked.get_mut(&entry.id) {
            known.place.get_or_insert(place);
        }
    }
    asked
}

fn same(attempts: &[Attempt], first: usize, other: &Attempt) -> bool {
    attempts
        .get(first)
        .is_some_and(|first| first.from == other.from && first.to == other.to && first.amount == other.amount)
}

pub(super) fn check(history: &History, asked: &ById, verdict: &mut Verdict) {
    book(history, asked, verdict);
    for (id, known) in asked {
        if let (Some((_, attempt)), None) = (known.acknowledged, known.place) {
            verdict.add(Fault::Lost { id: *id, attempt });
        }
    }
    answers(history, asked, verdict);
    order(history, asked, verdict);
}

/// Each entry of the book was asked for so, and is there once.
fn book(history: &History, asked: &ById, verdict: &mut Verdict) {
    let mut last = None;
    let mut seen = std::collections::BTreeMap::new();
    for entry in &history.book {
        let (id, number) = (entry.id, entry.number);
        if last.is_some_and(|last| number <= last) {
            verdict.add(Fault::Disordered { number });
        }
        last = Some(number);
        if let Some(before) = seen.insert(id, number) {
            verdict.add(Fault::Twice { id, numbers: (before, number) });
        }
        let Some(known) = asked.get(&id) else {
            verdict.add(Fault::NeverAsked { id, number });
            continue;
        };
        if !known.possible {
            verdict.add(Fault::Phantom { id, number });
        }
        let wanted = history.attempts.get(known.first);
        if wanted
            .is_some_and(|wanted| wanted.from != entry.from || wanted.to != entry.to || wanted.amount != entry.amount)
        {
            verdict.add(Fault::Altered { id, number });
        }
    }
}

/// What was answered agrees with the book, and goes on agreeing.
fn answers(history: &History, asked: &ById, verdict: &mut Verdict) {
    for (at, attempt) in history.attempts.iter().enumerate() {
        let id = attempt.id;
        let Some(known) = asked.get(&id) else { continue };
        match attempt.outcome {
            Outcome::Booked { number: told, .. } => {
                let entry = known.place.and_then(|place| history.book.get(place));
                if let Some(number) = entry.map(|entry| entry.number).filter(|number| *number != told) {
                    verdict.add(Fault::Misnumbered { id, told, number });
                }
            }
            Outcome::Refused if known.acknowledged.is_some_and(|(when, _)| when < attempt.span.invoked) => {
                verdict.add(Fault::Forgotten { id, attempt: at });
            }
            Outcome::Refused | Outcome::NotDone | Outcome::Unknown => {}
        }
    }
}

/// Whoever asked after another was answered comes behind it.
fn order(history: &History, asked: &ById, verdict: &mut Verdict) {
    let placed = || asked.iter().filter_map(|(id, known)| Some((*id, known, known.place?)));
    let mut begun: Vec<_> = placed().map(|(id, known, place)| (known.invoked, place, id)).collect();
    let mut answered: Vec<_> = placed().filter_map(|(_, known, place)| Some((known.acknowledged?.0, place))).collect();
    begun.sort_unstable();
    answered.sort_unstable();
    let (mut answered, mut furthest) = (answered.into_iter().peekable(), None);
    for (invoked, place, id) in begun {
        while let Some((_, before)) = answered.next_if(|(returned, _)| *returned < invoked) {
            furthest = furthest.max(Some(before));
        }
        let behind = furthest.filter(|furthest| *furthest > place).and_then(|furthest| history.book.get(furthest));
        if let Some(behind) = behind {
            verdict.add(Fault::Reordered { id, behind: behind.id });
        }
    }
}
