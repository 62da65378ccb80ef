//! Looks for what a ledger that keeps its word cannot have answered.

mod reads;
mod replicas;
mod transfers;

use std::collections::BTreeMap;

use covenant_types::TransferId;

use crate::record::{Account, History};
use crate::verdict::Verdict;

/// Looks at a whole history. Takes time in proportion to its length and to how many transfers were under way while it was read.
///
/// A history that was still written when it was taken, without its book, shows everything acknowledged as lost.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let asked = transfers::by_id(history, &mut verdict);
    transfers::check(history, &asked, &mut verdict);
    let states = States::of(history);
    reads::check(history, &asked, &states, &mut verdict);
    replicas::check(history, &states, &mut verdict);
    verdict
}

/// What is known of one transfer by its tries.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The first try.
    first: usize,
    /// When that began.
    invoked: u64,
    /// The first acknowledgement: when, and of which try.
    acknowledged: Option<(u64, usize)>,
    /// Where it is in the book.
    place: Option<usize>,
    /// A try that said that it booked it.
    fresh: Option<usize>,
    /// Whether it can be in the book: a try was acknowledged, or nobody knows.
    possible: bool,
}

type ById = BTreeMap<TransferId, Asked>;

/// The balances after each entry of the book, one after the other. Accounts are numbers here.
struct States {
    numbers: BTreeMap<Account, usize>,
    opening: Vec<i128>,
    /// What each entry does: who gives, who gains, how much.
    steps: Vec<(usize, usize, i128)>,
}

impl States {
    fn of(history: &History) -> Self {
        let mut numbers: BTreeMap<Account, usize> = BTreeMap::new();
        let mut number = |account: &Account| {
            let next = numbers.len();
            *numbers.entry(account.clone()).or_insert(next)
        };
        let held: Vec<(usize, i128)> = history.opening.iter().map(|(account, held)| (number(account), *held)).collect();
        let steps = history.book.iter().map(|entry| (number(&entry.from), number(&entry.to), entry.amount)).collect();
        let mut opening = vec![0; numbers.len()];
        for (account, held) in held {
            set(&mut opening, account, held);
        }
        Self { numbers, opening, steps }
    }

    /// The balances at the end.
    fn closing(&self) -> Vec<i128> {
        let mut held = self.opening.clone();
        self.steps.iter().for_each(|step| apply(&mut held, step));
        held
    }

    /// An account by its number; what nobody ever booked on has none.
    fn number(&self, account: &Account) -> Option<usize> {
        self.numbers.get(account).copied()
    }
}

fn get(held: &[i128], account: usize) -> i128 {
    held.get(account).copied().unwrap_or(0)
}

fn set(held: &mut [i128], account: usize, to: i128) {
    if let Some(held) = held.get_mut(account) {
        *held = to;
    }
}

fn apply(held: &mut [i128], (from, to, amount): &(usize, usize, i128)) {
    set(held, *from, get(held, *from).saturating_sub(*amount));
    set(held, *to, get(held, *to).saturating_add(*amount));
}
