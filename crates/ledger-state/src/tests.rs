//! What a state on a disk promises.

mod cuts;
mod damage;
mod full_disk;
mod journal;
mod readers;
mod restores;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;

use covenant_book::{Book, MemoryStore, Store, Table};
use covenant_consensus::{Command, Replicated};

use crate::{Ledger, LedgerConfig, LedgerState};

/// So little memory that runs are made and merged all the time.
const TINY: LedgerConfig = LedgerConfig { pending_bytes: 20_000, cache_bytes: 20_000, check_on_open: true };

fn open(folder: &Path) -> (Ledger, LedgerState) {
    let ledger = Ledger::open(folder, TINY).unwrap();
    let state = ledger.state().unwrap();
    (ledger, state)
}

/// As the group hands them over.
fn handed(commands: &[Vec<u8>]) -> Vec<Command> {
    commands.iter().map(|bytes| Command { id: 0, bytes: bytes.clone(), at: support::time_of(bytes) }).collect()
}

fn mark(applied: usize) -> Vec<u8> {
    (applied as u64).to_be_bytes().to_vec()
}

fn marked(state: &LedgerState) -> usize {
    let mark = state.mark().unwrap();
    mark.map_or(0, |mark| usize::try_from(u64::from_be_bytes(mark.try_into().unwrap())).unwrap())
}

/// Applies commands from the mark on, a few at a time.
fn catch_up(state: &mut LedgerState, commands: &[Vec<u8>], at_once: usize) {
    let mut applied = marked(state);
    while applied < commands.len() {
        let next = (applied + at_once).min(commands.len());
        state.apply(&handed(&commands[applied..next]), &mark(next)).unwrap();
        applied = next;
    }
}

/// What a book in memory says to the same commands, and that book.
fn in_memory(commands: &[Vec<u8>]) -> (Vec<Vec<u8>>, Book<MemoryStore>) {
    let mut book = Book::open(MemoryStore::default()).unwrap();
    let answers = commands.iter().map(|bytes| book.apply_bytes(bytes).unwrap().to_bytes()).collect();
    (answers, book)
}

/// Every row of every table.
fn rows<S: Store>(store: &S) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let of = |table| store.rows(table, &[], &[u8::MAX; 60], usize::MAX).unwrap_or_default();
    Table::ALL
        .into_iter()
        .flat_map(|table| of(table).into_iter().map(move |(key, value)| (table, key, value)))
        .collect()
}

/// Whether state and book are the same, row for row, and balance.
fn assert_same(state: &LedgerState, book: &Book<MemoryStore>) {
    let read = state.book().unwrap();
    assert_eq!(read.head(), book.head());
    assert_eq!(state.state_hash(), book.state_hash());
    assert!(rows(read.store()) == rows(book.store()), "some row differs");
    assert_eq!(read.check().unwrap().problems, Vec::<String>::new());
    let last = book.head().position.checked_sub(1).map(|last| state.reader().commands(last, 9).unwrap());
    assert!(last.is_none_or(|kept| kept.len() == 1 && kept[0].state_hash() == book.state_hash()));
}
