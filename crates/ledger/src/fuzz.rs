//! What arrives from others, for the fuzzer: a question to the book and its answer, and the entries of a public log.

use covenant_book::{Book, Command, MemoryStore};
use covenant_types::{TransferId, WallTime};

use crate::offline::{self, OfflineQuestion, Outbox};
use crate::order::{self, Wanted};
use crate::public_log::{Joiner, entries_of};
use crate::question::{Question, Said, answer_bytes};
use crate::{ExportForm, Nations};

/// A book with something in it: small, so that a question costs little.
fn book() -> Option<Book<MemoryStore>> {
    let (nations, year) = (Nations::embedded(), covenant_book::Period(2026));
    let projects = covenant_book::Projects::embedded();
    let text = |text: &str| text.to_owned();
    let (from, to, amount) = (text("treasury"), text("nation:KEN"), text("12.34"));
    let wanted = Wanted { id: TransferId(7), from, to, amount, nation: None };
    let mut orders = order::tables(nations).to_vec();
    orders.push(order::transfer(&wanted, year, nations, projects).ok()?);
    let mut book = Book::open(MemoryStore::default()).ok()?;
    for order in orders {
        book.apply(&Command { at: WallTime(1_790_000_000), order }).ok()?;
    }
    Some(book)
}

/// A question that any node may send, and what a member of the group answers to it. Whatever was asked gets an answer that can be
/// read, or a reason.
///
/// # Panics
/// The answer cannot be read.
pub fn fuzz_ledger_question(bytes: &[u8]) {
    static BOOK: std::sync::OnceLock<Option<Book<MemoryStore>>> = std::sync::OnceLock::new();
    let Some(book) = BOOK.get_or_init(book) else { return };
    if let Ok(answer) = answer_bytes(book, bytes) {
        assert!(serde_json::from_slice::<Said>(&answer).is_ok(), "an answer that nobody can read");
    }
    let _read = serde_json::from_slice::<Said>(bytes);
    // What the group answered to a command.
    let _read = order::outcome(bytes);
    let _read = order::before(bytes);
}

/// What a question looks like.
pub fn ledger_question_seeds() -> Vec<Vec<u8>> {
    let id = String::from("0").try_into();
    let questions = [
        id.ok().map(|from| Question::Balances { from }),
        Some(Question::Check),
        Some(Question::Export { from: 0, form: ExportForm::Csv }),
        Some(Question::Year { year: 2026, start: None }),
        String::from("0").try_into().ok().map(|account| Question::Statement { account, from: 0 }),
        Some(Question::Status),
        Some(Question::Parts { first: 0, transfers: 2 }),
        Some(Question::Offline(OfflineQuestion::Allowances { from: "0".repeat(32), alone: false })),
        Some(Question::Offline(OfflineQuestion::Inbox { from: 0 })),
        Some(Question::Offline(OfflineQuestion::Fates { intents: vec![] })),
    ];
    let mut seeds: Vec<Vec<u8>> =
        questions.into_iter().flatten().filter_map(|question| serde_json::to_vec(&question).ok()).collect();
    let answers: Vec<Vec<u8>> =
        book().iter().flat_map(|book| seeds.iter().filter_map(|seed| answer_bytes(book, seed).ok())).collect();
    seeds.extend(answers.into_iter().filter(|answer| answer.len() < 4096));
    seeds
}

/// The entries of a public log, each behind its length, that somebody wants to be believed. What is put together is taken apart
/// again to the same entries.
///
/// # Panics
/// It is not.
pub fn fuzz_ledger_entries(mut bytes: &[u8]) {
    let (mut joiner, mut since, mut position) = (Joiner::default(), Vec::new(), 1);
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let Some((entry, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else { return };
        bytes = rest;
        since.push(entry.to_vec());
        match joiner.push(entry) {
            Ok(Some(record)) => {
                let again: Vec<Vec<u8>> = entries_of(position, &record).collect();
                assert_eq!(again, since, "a command has one form");
                since.clear();
                position += 1;
            }
            Ok(None) => {}
            Err(_) => return,
        }
    }
}

/// Three commands, one of which takes two entries.
pub fn ledger_entries_seeds() -> Vec<Vec<u8>> {
    let records = [vec![7; 40], vec![8; 66_000], vec![9; 32]];
    let entries = (1..).zip(&records).flat_map(|(position, record)| entries_of(position, record));
    let behind_length = entries.filter_map(|entry| {
        let length = u16::try_from(entry.len()).ok()?;
        Some([&length.to_be_bytes()[..], &entry].concat())
    });
    let all: Vec<Vec<u8>> = behind_length.collect();
    vec![all.first().cloned().unwrap_or_default(), all.concat()]
}

/// A device that only exists here.
pub(crate) const DEVICE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n";

/// The record of an outbox, without the hash at its end.
///
/// # Panics
/// What was read cannot be read again.
pub fn fuzz_ledger_outbox(bytes: &[u8]) {
    if let Ok(outbox) = Outbox::from_record(bytes) {
        assert_eq!(Outbox::from_bytes(&outbox.to_bytes()), Ok(outbox));
    }
}

/// What such a record looks like.
pub fn ledger_outbox_seeds() -> Vec<Vec<u8>> {
    covenant_identity::NodeKey::from_pem(DEVICE).map(|key| offline::outbox_seeds(&key)).unwrap_or_default()
}
