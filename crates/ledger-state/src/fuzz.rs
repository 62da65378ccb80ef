//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use covenant_book::Table;

use crate::block::{BlockReader, BlockWriter, Place, checked};
use crate::journal::{self, JournalName, Written};
use crate::layer::Layer;
use crate::manifest::Manifest;
use crate::row::RowKey;
use crate::run::{self, RunName};
use crate::stack::Stack;
use crate::stream;

const PLACE: Place = Place { run: 1, at: 16 };

/// Which runs are a state.
pub fn fuzz_ledger_manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes, "a manifest has one form");
    }
}

/// A manifest of two runs.
pub fn ledger_manifest_seeds() -> Vec<Vec<u8>> {
    let run = |number| RunName { number, level: 1, bytes: 4096, hash: [7; 32] };
    let journal = JournalName { number: 1, bytes: 900, commands: 4, check: [9; 32] };
    vec![Manifest { next: 5, runs: vec![run(4), run(2)], journal, mark: Some(vec![1; 20]) }.encode()]
}

/// What stands in a run: a block, its rows, and the tail.
pub fn fuzz_ledger_run(bytes: &[u8]) {
    run::fuzz_tail(bytes);
    for rows in [Some(bytes), checked(PLACE, bytes).ok()].into_iter().flatten() {
        let mut reader = BlockReader::new(rows);
        let mut left = reader.left();
        while let Some(Ok((key, _))) = reader.next() {
            assert!(reader.left() < left, "a row takes room");
            left = reader.left();
            assert_eq!(RowKey::from_bytes(key.as_bytes()), Some(key), "a key has one form");
        }
    }
}

/// A block, its rows without the check, and a tail.
pub fn ledger_run_seeds() -> Vec<Vec<u8>> {
    let mut writer = BlockWriter::default();
    for (key, value) in rows() {
        // Whatever fits in a seed fits in a block.
        let _fits = writer.push(&key, value);
    }
    let block = writer.finish(PLACE);
    let rows = checked(PLACE, &block).unwrap_or_default().to_vec();
    vec![rows, block, run::tail_seed()]
}

/// What stands in a journal: a block.
pub fn fuzz_ledger_journal(bytes: &[u8]) {
    journal::fuzz_block(bytes);
}

/// A block of one command.
pub fn ledger_journal_seeds() -> Vec<Vec<u8>> {
    vec![journal::block_seed()]
}

/// A whole state, as a leader sends it.
pub fn fuzz_ledger_state(mut bytes: &[u8]) {
    if let Ok((_, bytes)) = stream::begin(&mut bytes) {
        let mut last = None;
        let see = |key: &RowKey, _: &[u8]| {
            assert!(last.is_none_or(|last| last < *key), "rows are in order");
            last = Some(*key);
            Ok(())
        };
        let read = stream::read(bytes, see, |_| Ok(()));
        // Whether they come to the hash in their head is the book's business.
        let _either = read;
    }
}

/// A state of a few rows.
pub fn ledger_state_seeds() -> Vec<Vec<u8>> {
    let mut layer = Layer::default();
    for (key, value) in rows().into_iter().filter(|(key, _)| key.table() == Table::Expiries) {
        layer.set(key, value.map(Into::into));
    }
    let state = |layers| {
        let mut bytes = Vec::new();
        // A buffer takes everything.
        let _written = stream::write(&Stack { layers, ..Stack::default() }, &Written::default(), &mut bytes);
        bytes
    };
    vec![state(Vec::new()), state(vec![layer.into()])]
}

fn rows() -> Vec<(RowKey, Option<&'static [u8]>)> {
    let row = |table, key: &[u8], value| RowKey::new(table, key).map(|key| (key, value));
    let rows = [
        row(Table::Accounts, &[0; 16], Some(&b"account"[..])),
        row(Table::Receipts, &[1; 16], Some(&[0; 8][..])),
        row(Table::Expiries, &[2; 16], Some(&[][..])),
        row(Table::Expiries, &[3; 16], None),
    ];
    rows.into_iter().flatten().collect()
}
