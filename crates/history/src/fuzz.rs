//! A history file, for the fuzzer.

use std::collections::BTreeMap;

use covenant_types::TransferId;

use crate::record::{Attempt, Booked, History, Outcome, Read, Replica, Span};
use crate::{Account, check};

/// What is read is written as it was read, and can be judged.
///
/// # Panics
/// It is not.
pub fn fuzz_history(bytes: &[u8]) {
    let Ok(history) = History::read_from(&mut &*bytes) else { return };
    let mut again = Vec::new();
    // A Vec takes everything.
    let written = history.write_to(&mut again).is_ok();
    let read = History::read_from(&mut again.as_slice()).ok();
    assert!(written && read.as_ref() == Some(&history), "a history is read as it was written");
    let _judged = check(&history);
}

/// A short history with a line of each sort.
pub fn history_seeds() -> Vec<Vec<u8>> {
    let name = |text: &str| Account::from(text);
    let span = |invoked| Span { invoked, returned: invoked + 5 };
    let attempt = |id, invoked, outcome| Attempt {
        client: 1,
        span: span(invoked),
        id: TransferId(id),
        from: name("treasury"),
        to: name("nation:KEN"),
        amount: 7,
        outcome,
    };
    let balances: BTreeMap<_, _> = [(name("treasury"), -7), (name("nation:KEN"), 7)].into();
    let history = History {
        opening: [(name("treasury"), 0)].into(),
        attempts: vec![
            attempt(1, 0, Outcome::Unknown),
            attempt(1, 10, Outcome::Booked { number: 0, fresh: false }),
            attempt(2, 20, Outcome::Refused),
            attempt(3, 30, Outcome::NotDone),
        ],
        reads: vec![Read { client: 2, span: span(40), balances: balances.clone() }],
        book: vec![Booked { number: 0, id: TransferId(1), from: name("treasury"), to: name("nation:KEN"), amount: 7 }],
        replicas: vec![Replica {
            node: name("hub-asia"),
            position: 1,
            state: "00".to_owned(),
            balances,
            problems: vec!["none, but for a seed".to_owned()],
        }],
    };
    let mut bytes = Vec::new();
    // A Vec takes everything.
    let written = history.write_to(&mut bytes);
    written.is_ok().then_some(bytes).into_iter().collect()
}
