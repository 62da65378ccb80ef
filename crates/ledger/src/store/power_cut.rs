//! Power cuts, at every write to the disk: what was answered is there afterwards, and the book is whole.

use std::io;
use std::sync::{Arc, Mutex};

use covenant_store::redb::{Builder, StorageBackend};
use covenant_types::{TransferId, WallTime};
use proptest::prelude::*;

use super::*;
use crate::Account;

/// A disk with a cache: what was written is certain only after a sync, and the power goes after some operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    /// What reads see.
    cached: Vec<u8>,
    /// What a sync has put on the disk.
    durable: Vec<u8>,
    /// Writes since the last sync. A power cut lets some of them through, in parts, in any order.
    unsynced: Vec<(usize, Vec<u8>)>,
    operations: u32,
    cut_after: Option<u32>,
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        if self.cut_after.is_some_and(|cut| self.operations >= cut) {
            return Err(io::Error::other("the power is gone"));
        }
        self.operations += 1;
        Ok(())
    }
}

fn put(on: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    on.resize(on.len().max(at + bytes.len()), 0);
    on[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Disk {
    fn with(content: Vec<u8>, cut_after: Option<u32>) -> Self {
        let state = State { cached: content.clone(), durable: content, cut_after, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Takes `operations` more, then the power is gone.
    pub(crate) fn cut_after(&self, operations: u32) {
        let mut state = self.0.lock().unwrap();
        state.cut_after = Some(state.operations + operations);
    }

    pub(crate) fn book(&self) -> Result<BookStore, LedgerError> {
        BookStore::over(Builder::new().create_with_backend(self.clone()).map_err(LedgerError::failed)?)
    }

    fn operations(&self) -> u32 {
        self.0.lock().unwrap().operations
    }

    /// What the disk holds after the cut. `luck` decides which unsynced writes got through, and how much of them.
    fn after_cut(&self, luck: &[u8]) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let mut content = state.durable.clone();
        for (number, (at, bytes)) in state.unsynced.iter().enumerate() {
            let through = match luck[number % luck.len()] {
                0..=84 => 0,
                85..=169 => bytes.len(),
                torn => bytes.len() * usize::from(torn - 169) / 100,
            };
            put(&mut content, *at, &bytes[..through.min(bytes.len())]);
        }
        content
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let found = state.cached.get(place(offset)..place(offset) + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Lengths are in the file system's journal: in order, and not lost.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operate()?;
        state.cached.resize(place(len), 0);
        state.durable.resize(place(len), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operate()?;
        state.durable = state.cached.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operate()?;
        put(&mut state.cached, place(offset), data);
        state.unsynced.push((place(offset), data.to_vec()));
        Ok(())
    }
}

const BATCHES: u128 = 6;
const BATCH: u128 = 4;

fn batch(number: u128) -> Vec<Vec<Entry>> {
    let entry =
        |id| Entry::transfer(TransferId(id), Account::Treasury, Account::Reserve, Amount::cents(1), WallTime(1));
    // Two entries a group, so that half a group would be seen.
    (0..BATCH).map(|group| vec![entry((number * BATCH + group) * 2), entry((number * BATCH + group) * 2 + 1)]).collect()
}

/// A disk with an empty database. Making one is not under test here: until it is whole it has another name.
fn empty() -> Vec<u8> {
    let disk = Disk::default();
    drop(Builder::new().create_with_backend(disk.clone()).unwrap());
    let state = disk.0.lock().unwrap();
    assert!(state.unsynced.is_empty(), "a database that was closed is on disk");
    state.durable.clone()
}

/// Books batches until the power goes, and returns how many were answered.
fn book_until_cut(disk: &Disk) -> u128 {
    let Ok(book) = disk.book() else { return 0 };
    for number in 0..BATCHES {
        match book.post(&batch(number), Nations::embedded()) {
            Ok(results) => assert!(results.iter().all(Result::is_ok)),
            Err(_) => return number,
        }
    }
    BATCHES
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_at_any_write_loses_nothing_that_was_answered(luck in proptest::collection::vec(any::<u8>(), 7..50)) {
        let empty = empty();
        let whole = Disk::with(empty.clone(), None);
        assert_eq!(book_until_cut(&whole), BATCHES);
        for cut in 0..whole.operations() {
            let disk = Disk::with(empty.clone(), Some(cut));
            let answered = book_until_cut(&disk);
            let book = Disk::with(disk.after_cut(&luck), None).book().unwrap();
            let check = book.check(Nations::embedded()).unwrap();
            prop_assert!(check.ok, "cut after {}: {:?}", cut, check.problems);
            // The batch that was under way is there whole or not at all.
            let per_batch = u64::try_from(BATCH * 2).unwrap();
            let batches = u128::from(check.entries / per_batch);
            prop_assert!(check.entries.is_multiple_of(per_batch) && (answered..=answered + 1).contains(&batches));
            for number in 0..answered {
                let results = book.post(&batch(number), Nations::embedded()).unwrap();
                let known = |posting: &Posting| matches!(posting, Posting::Known(_));
                prop_assert!(results.iter().all(|result| result.as_ref().is_ok_and(|all| all.iter().all(known))));
            }
        }
    }
}
