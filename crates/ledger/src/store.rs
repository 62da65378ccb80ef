//! The book on disk: entries in order, ids, balances, the tables of nations they follow from, in one `redb` file. A batch is
//! one fsynced transaction.

mod check;
mod posting;

use std::path::Path;

use covenant_store::redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::entry::Entry;
use crate::error::LedgerError;
use crate::{AccountBalance, Amount, Balances, Nations};
use posting::{Broken, Tables};

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const IDS: TableDefinition<'_, u128, u64> = TableDefinition::new("ids");
const BALANCES: TableDefinition<'_, &str, i128> = TableDefinition::new("balances");
/// By which table of nations a year was assessed.
const YEARS: TableDefinition<'_, u16, &str> = TableDefinition::new("years");
/// The tables of nations that entries follow from, by their hash: also those that no program has built in any more.
const NATIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("nations");

/// The book on disk.
#[derive(Debug)]
pub struct BookStore {
    database: Database,
}

/// What became of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posting {
    /// It is booked, with this number.
    Booked(u64),
    /// It stood in the book already, like this.
    Known(Box<Entry>),
}

impl BookStore {
    /// Opens the book, or begins one, and sees that its tables fit each other. [`check`](Self::check) reads every entry.
    ///
    /// # Errors
    /// The file is damaged, open already, or the disk refused.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(LedgerError::failed)?;
        }
        Self::over(covenant_store::open_database(path).map_err(LedgerError::failed)?)
    }

    fn over(database: Database) -> Result<Self, LedgerError> {
        let begin = database.begin_write().map_err(LedgerError::failed)?;
        begin.open_table(ENTRIES).map_err(LedgerError::failed)?;
        begin.open_table(IDS).map_err(LedgerError::failed)?;
        begin.open_table(BALANCES).map_err(LedgerError::failed)?;
        begin.open_table(YEARS).map_err(LedgerError::failed)?;
        begin.open_table(NATIONS).map_err(LedgerError::failed)?;
        begin.commit().map_err(LedgerError::failed)?;
        let book = Self { database };
        book.snapshot()?.verify()?;
        Ok(book)
    }

    /// Books each group of entries whole or not at all, all groups in one transaction, and waits until it is on disk. One
    /// result a group, in order; a group that is refused leaves the others as they are.
    ///
    /// `nations` is the table that new entries follow from. The first entry that does takes it into the book.
    ///
    /// # Errors
    /// The disk refused. The message says whether anything may have been booked.
    pub fn post(
        &self,
        groups: &[impl AsRef<[Entry]>],
        nations: &Nations,
    ) -> Result<Vec<Result<Vec<Posting>, LedgerError>>, LedgerError> {
        let transaction = self.database.begin_write().map_err(LedgerError::not_booked)?;
        let mut tables = Tables::open(&transaction, nations)?;
        let results = groups.iter().map(|group| tables.post_group(group.as_ref())).collect::<Result<Vec<_>, Broken>>();
        let fresh = results.and_then(|results| Ok((results, tables.finish()?)));
        let (results, changed) = fresh.map_err(|Broken(error)| error)?;
        if changed {
            transaction.commit().map_err(LedgerError::unsure)?;
        } else {
            // What is answered was on disk before: there is nothing to wait for.
            transaction.abort().map_err(LedgerError::not_booked)?;
        }
        Ok(results)
    }

    /// How many entries there are, and the sum of all accounts.
    ///
    /// # Errors
    /// The disk refused.
    pub fn totals(&self) -> Result<(u64, Amount), LedgerError> {
        self.snapshot()?.totals()
    }

    /// Every account that was ever used.
    ///
    /// # Errors
    /// The disk refused.
    pub fn balances(&self) -> Result<Balances, LedgerError> {
        let view = |(account, amount): (String, Amount)| AccountBalance { account, balance: amount.to_string() };
        Ok(Balances { accounts: self.snapshot()?.balances()?.into_iter().map(view).collect() })
    }

    /// Entries from number `from` on, shown one by one until `see` says false.
    ///
    /// # Errors
    /// The disk refused, or an entry cannot be read.
    pub fn entries(&self, from: u64, see: impl FnMut(u64, &Entry) -> bool) -> Result<(), LedgerError> {
        self.snapshot()?.entries(from, see)
    }

    fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        self.database.begin_read().map(Snapshot).map_err(LedgerError::failed)
    }
}

/// The book at one moment, whatever is booked meanwhile.
struct Snapshot(ReadTransaction);

impl Snapshot {
    fn table<K: covenant_store::redb::Key, V: covenant_store::redb::Value>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, LedgerError> {
        self.0.open_table(table).map_err(LedgerError::failed)
    }

    fn balances(&self) -> Result<Vec<(String, Amount)>, LedgerError> {
        let mut balances = Vec::new();
        for row in self.table(BALANCES)?.iter().map_err(LedgerError::failed)? {
            let (account, cents) = row.map_err(LedgerError::failed)?;
            balances.push((account.value().to_owned(), Amount::cents(cents.value())));
        }
        Ok(balances)
    }

    fn totals(&self) -> Result<(u64, Amount), LedgerError> {
        let entries = self.table(ENTRIES)?.len().map_err(LedgerError::failed)?;
        let sum = Amount::checked_sum(self.balances()?.into_iter().map(|(_, amount)| amount));
        Ok((entries, sum.ok_or_else(|| LedgerError::failed("its balances are too large to add up"))?))
    }

    fn entries(&self, from: u64, mut see: impl FnMut(u64, &Entry) -> bool) -> Result<(), LedgerError> {
        for row in self.table(ENTRIES)?.range(from..).map_err(LedgerError::failed)? {
            let (number, bytes) = row.map_err(LedgerError::failed)?;
            let entry = Entry::from_bytes(bytes.value())
                .map_err(|error| LedgerError::failed(format!("entry {}: {error}", number.value())))?;
            if !see(number.value(), &entry) {
                break;
            }
        }
        Ok(())
    }

    /// What can be told without reading every entry. Nothing is booked on top of a book in which this does not hold.
    fn verify(&self) -> Result<(), LedgerError> {
        let (entries, sum) = self.totals()?;
        let ids = self.table(IDS)?.len().map_err(LedgerError::failed)?;
        let last = self.table(ENTRIES)?.last().map_err(LedgerError::failed)?.map(|(number, _)| number.value());
        let numbered = last.map_or(0, |last| last.saturating_add(1));
        if numbered != entries || ids != entries || sum != Amount::ZERO {
            return Err(LedgerError::failed(format_args!(
                "it is damaged: {entries} entries numbered to {numbered}, {ids} ids, accounts that sum to {sum}; restore it from another copy"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod power_cut;
#[cfg(test)]
mod tests;
