//! What one command changes, before any of it reaches the store. It can be taken back up to a mark.

use std::collections::BTreeMap;

use crate::codec::Record;
use crate::records::{BookError, Covenant, Head, Key, Offline, Receipt};
use crate::store::{Store, Table};
use crate::sum::{Sign, count_into, record_hash};
use crate::transfer::{Standing, Transfer};
use crate::{Account, AccountId, Allowance, DeviceId};
use covenant_types::TransferId;

/// One record that the command touched.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// What the store holds.
    before: Option<Vec<u8>>,
    /// What it is to hold.
    now: Option<Vec<u8>>,
}

/// One change for the store.
pub(super) struct Change {
    pub(super) table: Table,
    pub(super) key: Key,
    pub(super) value: Option<Vec<u8>>,
}

/// Where a draft was, to go back to.
pub(super) struct Mark {
    undone: usize,
    indexed: usize,
    head: Head,
}

pub(super) struct Draft<'s, S> {
    pub(super) store: &'s S,
    pub(super) head: Head,
    cells: BTreeMap<(Table, Key), Cell>,
    /// What cells held before each change, to take it back.
    undo: Vec<(Table, Key, Option<Vec<u8>>)>,
    /// New keys of the index, which nobody reads before they are written.
    indexed: Vec<Key>,
}

impl<'s, S: Store> Draft<'s, S> {
    pub(super) fn new(store: &'s S, head: Head) -> Self {
        Self { store, head, cells: BTreeMap::new(), undo: Vec::new(), indexed: Vec::new() }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { undone: self.undo.len(), indexed: self.indexed.len(), head: self.head }
    }

    pub(super) fn go_back(&mut self, mark: &Mark) {
        for (table, key, value) in self.undo.drain(mark.undone..).rev() {
            if let Some(cell) = self.cells.get_mut(&(table, key)) {
                cell.now = value;
            }
        }
        self.indexed.truncate(mark.indexed);
        self.head = mark.head;
    }

    /// The sum of all records after the changes, and the changes.
    pub(super) fn finish(self) -> Result<(Head, Vec<Change>), BookError<S::Error>> {
        let mut head = self.head;
        let mut changes = Vec::with_capacity(self.cells.len() + self.indexed.len());
        for ((table, key), cell) in self.cells {
            if cell.before == cell.now {
                continue;
            }
            if table.is_hashed() {
                for (value, sign) in [(&cell.before, Sign::Less), (&cell.now, Sign::More)] {
                    if let Some(value) = value {
                        count_into(&mut head.sum, &record_hash(table, key.as_bytes(), value), sign);
                    }
                }
            }
            changes.push(Change { table, key, value: cell.now });
        }
        changes.extend(self.indexed.into_iter().map(|key| Change {
            table: Table::Index,
            key,
            value: Some(Vec::new()),
        }));
        Ok((head, changes))
    }

    /// Lets a transfer be found by something.
    pub(super) fn index(&mut self, key: Key) {
        self.indexed.push(key);
    }

    pub(super) fn value(&mut self, table: Table, key: Key) -> Result<Option<&[u8]>, BookError<S::Error>> {
        let cell = match self.cells.entry((table, key)) {
            std::collections::btree_map::Entry::Occupied(cell) => cell.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let before = self.store.value(table, key.as_bytes()).map_err(BookError::Store)?;
                place.insert(Cell { now: before.clone(), before })
            }
        };
        Ok(cell.now.as_deref())
    }

    pub(super) fn record<T: Record>(&mut self, table: Table, key: Key) -> Result<Option<T>, BookError<S::Error>> {
        let Some(bytes) = self.value(table, key)? else { return Ok(None) };
        let record = T::from_record(bytes);
        record.map(Some).map_err(|error| BookError::Damaged { table, what: error.to_string() })
    }

    /// Sets a record that was looked at before.
    pub(super) fn set(&mut self, table: Table, key: Key, value: Option<Vec<u8>>) -> Result<(), BookError<S::Error>> {
        self.value(table, key)?;
        self.set_new(table, key, value);
        Ok(())
    }

    /// Sets a record that was looked at before, or of which the store has none because its key has a new number.
    pub(super) fn set_new(&mut self, table: Table, key: Key, value: Option<Vec<u8>>) {
        let cell = self.cells.entry((table, key)).or_default();
        self.undo.push((table, key, std::mem::replace(&mut cell.now, value)));
    }

    pub(super) fn account(&mut self, id: AccountId) -> Result<Option<Account>, BookError<S::Error>> {
        self.record(Table::Accounts, Key::account(id))
    }

    pub(super) fn set_account(&mut self, account: &Account) -> Result<(), BookError<S::Error>> {
        self.set(Table::Accounts, Key::account(account.spec.id), Some(account.to_record()))
    }

    pub(super) fn receipt(&mut self, id: TransferId) -> Result<Option<Receipt>, BookError<S::Error>> {
        self.record(Table::Receipts, Key::receipt(id))
    }

    pub(super) fn set_receipt(&mut self, id: TransferId, receipt: &Receipt) -> Result<(), BookError<S::Error>> {
        self.set(Table::Receipts, Key::receipt(id), Some(receipt.to_record()))
    }

    pub(super) fn standing(&mut self, number: u64) -> Result<Option<Standing>, BookError<S::Error>> {
        self.record(Table::Standings, Key::number(number))
    }

    /// The transfer of a number that the book itself wrote down.
    pub(super) fn transfer(&mut self, number: u64) -> Result<Transfer, BookError<S::Error>> {
        let transfer = self.record(Table::Transfers, Key::number(number))?;
        transfer.ok_or_else(|| BookError::Damaged {
            table: Table::Transfers,
            what: format!("the transfer {number} is missing"),
        })
    }

    pub(super) fn offline<T: Record>(&mut self, record: Offline) -> Result<Option<T>, BookError<S::Error>> {
        self.record(Table::Offline, Key::offline(record))
    }

    pub(super) fn set_offline<T: Record>(&mut self, record: Offline, value: &T) -> Result<(), BookError<S::Error>> {
        self.set(Table::Offline, Key::offline(record), Some(value.to_record()))
    }

    pub(super) fn allowance(&mut self, device: DeviceId) -> Result<Option<Allowance>, BookError<S::Error>> {
        self.offline(Offline::Allowance(device))
    }

    pub(super) fn covenant(&mut self, record: Covenant) -> Result<Option<Vec<u8>>, BookError<S::Error>> {
        Ok(self.value(Table::Covenant, Key::covenant(record))?.map(<[u8]>::to_vec))
    }

    pub(super) fn set_covenant(&mut self, record: Covenant, value: Vec<u8>) -> Result<(), BookError<S::Error>> {
        self.set(Table::Covenant, Key::covenant(record), Some(value))
    }
}
