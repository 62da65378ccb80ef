//! Linearizable reads: each is of one state of the book, not older than what was acknowledged or read before it began, and
//! not younger than what was asked for before it ended.
//!
//! Reads are placed in the order in which they began, each at the earliest state that it can be of. That leaves the most room for
//! those that follow, so where one finds no place, there is none.

use std::collections::BTreeMap;

use super::{Asked, ById, States, apply, get};
use crate::record::{Account, History, Read};
use crate::verdict::{Fault, Verdict};

/// Reads without a place whose fault is looked into. Each costs a walk through the whole book.
const LOOKED_INTO_MAX: usize = 100;

/// Why a read cannot be of an older state.
#[derive(Clone, Copy, Debug)]
enum Floor {
    Nothing,
    /// The entry of the book at this place was acknowledged before.
    Acknowledged(usize),
    /// This read had ended.
    Read(usize),
}

pub(super) fn check(history: &History, asked: &ById, states: &States, verdict: &mut Verdict) {
    let placed: Vec<&Asked> = asked.values().filter(|known| known.place.is_some()).collect();
    let mut acknowledged: Vec<(u64, usize)> =
        placed.iter().filter_map(|known| Some((known.acknowledged?.0, known.place?))).collect();
    acknowledged.sort_unstable();
    let ceilings = Ceilings::of(&placed, states.steps.len());
    let mut order: Vec<usize> = (0..history.reads.len()).collect();
    order.sort_by_key(|read| history.reads.get(*read).map(|read| (read.span.invoked, read.span.returned)));

    let mut acknowledged = acknowledged.into_iter().peekable();
    // What ended, by when it did, with its place.
    let mut ended: BTreeMap<(u64, usize), usize> = BTreeMap::new();
    let (mut floor, mut why) = (0, Floor::Nothing);
    let mut walk = Walk { states, at: 0, held: states.opening.clone() };
    let mut looked_into = 0;
    for number in order {
        let Some(read) = history.reads.get(number) else { continue };
        balanced(history, states, number, read, verdict);
        while let Some((_, place)) = acknowledged.next_if(|(returned, _)| *returned < read.span.invoked) {
            if place + 1 > floor {
                (floor, why) = (place + 1, Floor::Acknowledged(place));
            }
        }
        while let Some(first) = ended.first_entry().filter(|first| first.key().0 < read.span.invoked) {
            let ((_, earlier), place) = first.remove_entry();
            if place > floor {
                (floor, why) = (place, Floor::Read(earlier));
            }
        }
        walk.go_to(floor);
        let ceiling = ceilings.of_read(read.span.returned);
        let wanted = Wanted::of(read, states);
        match wanted.first_match(walk.clone(), ceiling) {
            Some(place) => {
                ended.insert((read.span.returned, number), place);
            }
            None if looked_into < LOOKED_INTO_MAX => {
                looked_into += 1;
                let anywhere = Walk { states, at: 0, held: states.opening.clone() };
                verdict.add(fault(history, (number, read), &wanted, (floor, why), ceiling, anywhere));
            }
            None => verdict.add(Fault::ImpossibleRead { read: number, span: read.span }),
        }
    }
}

fn fault(
    history: &History,
    (number, read): (usize, &Read),
    wanted: &Wanted,
    (floor, why): (usize, Floor),
    ceiling: usize,
    walk: Walk<'_>,
) -> Fault {
    let span = read.span;
    let end = walk.states.steps.len();
    let impossible = Fault::ImpossibleRead { read: number, span };
    let Some(place) = wanted.first_match(walk, end) else { return impossible };
    if place < floor {
        return match why {
            Floor::Read(behind) => Fault::BackwardsRead { read: number, span, behind },
            Floor::Acknowledged(entry) => match history.book.get(entry) {
                Some(entry) => Fault::StaleRead { read: number, span, missing: entry.id },
                None => impossible,
            },
            Floor::Nothing => impossible,
        };
    }
    match history.book.get(ceiling) {
        Some(entry) => Fault::FutureRead { read: number, span, holds: entry.id },
        None => impossible,
    }
}

/// Money is moved and not made: whoever saw all accounts saw the sum that there always was.
fn balanced(history: &History, states: &States, number: usize, read: &Read, verdict: &mut Verdict) {
    if !states.numbers.keys().all(|account| read.balances.contains_key(account)) {
        return;
    }
    let (sum, wanted) = (read.balances.values().sum(), history.opening.values().sum());
    if sum != wanted {
        verdict.add(Fault::ReadUnbalanced { read: number, sum, wanted });
    }
}

/// Up to where in the book a read can have seen, by when it ended.
struct Ceilings {
    /// When each began, with the first place in the book among all that began then or later.
    begun: Vec<(u64, usize)>,
    end: usize,
}

impl Ceilings {
    fn of(placed: &[&Asked], end: usize) -> Self {
        let mut begun: Vec<(u64, usize)> =
            placed.iter().filter_map(|known| Some((known.invoked, known.place?))).collect();
        begun.sort_unstable();
        let mut first = end;
        for (_, place) in begun.iter_mut().rev() {
            first = first.min(*place);
            *place = first;
        }
        Self { begun, end }
    }

    fn of_read(&self, returned: u64) -> usize {
        let after = self.begun.partition_point(|(invoked, _)| *invoked <= returned);
        self.begun.get(after).map_or(self.end, |(_, place)| *place)
    }
}

/// A walk through the states of the book.
#[derive(Clone)]
struct Walk<'a> {
    states: &'a States,
    /// How many entries are in it.
    at: usize,
    held: Vec<i128>,
}

impl Walk<'_> {
    fn go_to(&mut self, place: usize) {
        while self.at < place && self.step().is_some() {}
    }

    /// The accounts that the next entry touches, after it.
    fn step(&mut self) -> Option<(usize, usize)> {
        let step = self.states.steps.get(self.at)?;
        apply(&mut self.held, step);
        self.at += 1;
        Some((step.0, step.1))
    }
}

/// What a read saw.
struct Wanted {
    /// By the number of the account; `None` was not looked at.
    by_number: Vec<Option<i128>>,
    /// It saw something on an account that was never booked on.
    nowhere: bool,
}

impl Wanted {
    fn of(read: &Read, states: &States) -> Self {
        let mut by_number = vec![None; states.opening.len()];
        let mut nowhere = false;
        for (account, held) in &read.balances {
            let account: &Account = account;
            match states.number(account).and_then(|number| by_number.get_mut(number)) {
                Some(place) => *place = Some(*held),
                None => nowhere |= *held != 0,
            }
        }
        Self { by_number, nowhere }
    }

    fn differs(&self, held: &[i128], account: usize) -> bool {
        let wanted = self.by_number.get(account).copied().flatten();
        wanted.is_some_and(|wanted| wanted != get(held, account))
    }

    /// The first state from where `walk` is, up to `ceiling`, that looks so.
    fn first_match(&self, mut walk: Walk<'_>, ceiling: usize) -> Option<usize> {
        if self.nowhere || walk.at > ceiling {
            return None;
        }
        let mut differing = (0..self.by_number.len()).filter(|account| self.differs(&walk.held, *account)).count();
        loop {
            if differing == 0 {
                return Some(walk.at);
            }
            let (from, to, _) = walk.states.steps.get(walk.at).filter(|_| walk.at < ceiling)?;
            // An account that gives to itself is touched once.
            let touched = [Some(*from), (from != to).then_some(*to)];
            let count =
                |held: &[i128]| touched.iter().flatten().filter(|account| self.differs(held, **account)).count();
            let before = count(&walk.held);
            walk.step()?;
            differing = differing + count(&walk.held) - before;
        }
    }
}
