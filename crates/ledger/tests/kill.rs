//! SIGKILL of the process that books, in the middle of it: what it acknowledged is in the book.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use covenant_ledger::{Account, Amount, BookStore, Entry, Nations, Posting};
use covenant_types::{TransferId, WallTime};

const BOOK: &str = "COVENANT_TEST_BOOK";
const FROM: &str = "COVENANT_TEST_FROM";
const ROUNDS: usize = 6;
/// Transfers of one batch.
const BATCH: u128 = 8;

fn batch(first: u128) -> Vec<Vec<Entry>> {
    let (from, to, amount) = (Account::Treasury, Account::Communities, Amount::cents(1));
    let entry = |id| Entry::transfer(TransferId(id), from, to, amount, WallTime(1));
    (first..first + BATCH).map(|id| vec![entry(id)]).collect()
}

/// The child: books until it is killed, and says so after each answer.
fn book_for_ever(path: &Path, mut next: u128) {
    let book = BookStore::open(path).unwrap();
    loop {
        for result in book.post(&batch(next), Nations::embedded()).unwrap() {
            result.unwrap();
        }
        // One write a line: a line is said whole or not at all.
        std::io::stdout().write_all(format!("\nacknowledged {next}\n").as_bytes()).unwrap();
        next += BATCH;
    }
}

#[test]
fn a_killed_process_loses_no_acknowledged_transfer() {
    if let Some(path) = std::env::var_os(BOOK) {
        return book_for_ever(Path::new(&path), std::env::var(FROM).unwrap().parse().unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("book.redb");
    let mut acknowledged: Vec<u128> = Vec::new();
    for round in 0..ROUNDS {
        // What was under way at the last kill may be booked or not. Far away from it every id is new.
        let from = 1_000_000 * round as u128;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_process_loses_no_acknowledged_transfer", "--nocapture"])
            .env(BOOK, &path)
            .env(FROM, from.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut firsts =
            lines.filter_map(|line| line.strip_prefix("acknowledged ").and_then(|id| id.parse::<u128>().ok()));
        // Each round is killed at another place.
        acknowledged.extend(firsts.by_ref().take(1 + 3 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before the kill counts, also where it was read after.
        acknowledged.extend(firsts);

        let book = BookStore::open(&path).unwrap();
        let check = book.check(Nations::embedded()).unwrap();
        assert!(check.ok, "{:?}", check.problems);
        for first in &acknowledged {
            for result in book.post(&batch(*first), Nations::embedded()).unwrap() {
                let postings = result.unwrap();
                assert!(matches!(postings[0], Posting::Known(_)), "round {round}: {first} was acknowledged");
            }
        }
    }
    assert!(acknowledged.len() > ROUNDS, "something was acknowledged in every round");
}
