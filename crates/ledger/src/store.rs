//! The book on disk: entries in order, ids, balances, in one `redb` file. A batch is one fsynced transaction.

use std::collections::BTreeMap;
use std::path::Path;

use covenant_store::redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction,
};

use crate::entry::Entry;
use crate::error::{LedgerError, LedgerErrorKind};
use crate::{Account, AccountBalance, Amount, Balances, CheckDone, EntryKind, Nations, PROBLEMS_MAX};

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const IDS: TableDefinition<'_, u128, u64> = TableDefinition::new("ids");
const BALANCES: TableDefinition<'_, &str, i128> = TableDefinition::new("balances");
/// By which table of nations a year was assessed.
const YEARS: TableDefinition<'_, u16, &str> = TableDefinition::new("years");

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
    /// Opens the book, or begins one.
    ///
    /// # Errors
    /// The file is damaged, open already, or the disk refused.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(LedgerError::failed)?;
        }
        let database = covenant_store::open_database(path).map_err(LedgerError::failed)?;
        let begin = database.begin_write().map_err(LedgerError::failed)?;
        begin.open_table(ENTRIES).map_err(LedgerError::failed)?;
        begin.open_table(IDS).map_err(LedgerError::failed)?;
        begin.open_table(BALANCES).map_err(LedgerError::failed)?;
        begin.open_table(YEARS).map_err(LedgerError::failed)?;
        begin.commit().map_err(LedgerError::failed)?;
        Ok(Self { database })
    }

    /// Books each group of entries whole or not at all, all groups in one transaction, and waits until it is on disk. One
    /// result a group, in order; a group that is refused leaves the others as they are.
    ///
    /// # Errors
    /// The disk refused: nothing of the whole batch is booked.
    pub fn post(&self, groups: &[impl AsRef<[Entry]>]) -> Result<Vec<Result<Vec<Posting>, LedgerError>>, LedgerError> {
        let transaction = self.database.begin_write().map_err(LedgerError::failed)?;
        let results = {
            let mut tables = Tables::open(&transaction)?;
            groups
                .iter()
                .map(|group| tables.post_group(group.as_ref()))
                .collect::<Result<_, Broken>>()
                .map_err(|Broken(error)| error)?
        };
        transaction.commit().map_err(LedgerError::failed)?;
        Ok(results)
    }

    /// How many entries there are, and the sum of all accounts.
    ///
    /// # Errors
    /// The disk refused.
    pub fn totals(&self) -> Result<(u64, Amount), LedgerError> {
        let read = self.database.begin_read().map_err(LedgerError::failed)?;
        let entries = read.open_table(ENTRIES).map_err(LedgerError::failed)?.len().map_err(LedgerError::failed)?;
        let sum = Amount::checked_sum(self.balances_raw()?.into_iter().map(|(_, amount)| amount));
        Ok((entries, sum.ok_or_else(|| LedgerError::failed("its balances are too large to add up"))?))
    }

    /// Every account that was ever used.
    ///
    /// # Errors
    /// The disk refused.
    pub fn balances(&self) -> Result<Balances, LedgerError> {
        let view = |(account, amount): (String, Amount)| AccountBalance { account, balance: amount.to_string() };
        Ok(Balances { accounts: self.balances_raw()?.into_iter().map(view).collect() })
    }

    fn balances_raw(&self) -> Result<Vec<(String, Amount)>, LedgerError> {
        let read = self.database.begin_read().map_err(LedgerError::failed)?;
        let table = read.open_table(BALANCES).map_err(LedgerError::failed)?;
        let mut balances = Vec::new();
        for row in table.iter().map_err(LedgerError::failed)? {
            let (account, cents) = row.map_err(LedgerError::failed)?;
            balances.push((account.value().to_owned(), Amount::cents(cents.value())));
        }
        Ok(balances)
    }

    /// Entries from number `from` on, shown one by one until `see` says false.
    ///
    /// # Errors
    /// The disk refused, or an entry cannot be read.
    pub fn entries(&self, from: u64, mut see: impl FnMut(u64, &Entry) -> bool) -> Result<(), LedgerError> {
        let read = self.database.begin_read().map_err(LedgerError::failed)?;
        let table = read.open_table(ENTRIES).map_err(LedgerError::failed)?;
        for row in table.range(from..).map_err(LedgerError::failed)? {
            let (number, bytes) = row.map_err(LedgerError::failed)?;
            let entry = Entry::from_bytes(bytes.value())
                .map_err(|error| LedgerError::failed(format!("entry {}: {error}", number.value())))?;
            if !see(number.value(), &entry) {
                break;
            }
        }
        Ok(())
    }

    /// Adds the whole book up again: every entry balanced, every id found, every balance the sum of its legs, all zero.
    ///
    /// # Errors
    /// The disk refused. What is wrong with the book is in the answer.
    pub fn check(&self, nations: &Nations) -> Result<CheckDone, LedgerError> {
        let mut problems = Vec::new();
        let mut sums: BTreeMap<String, Amount> = BTreeMap::new();
        let mut next = 0;
        let read = self.database.begin_read().map_err(LedgerError::failed)?;
        let ids = read.open_table(IDS).map_err(LedgerError::failed)?;
        let walked = self.entries(0, |number, entry| {
            if number != next {
                problems.push(format!("entry {next} is missing"));
            }
            next = number + 1;
            if !entry.is_balanced() {
                problems.push(format!("entry {number} does not sum to zero"));
            }
            if ids.get(entry.id.0).ok().flatten().map(|known| known.value()) != Some(number) {
                problems.push(format!("entry {number} is not found by its id {}", entry.id));
            }
            if let EntryKind::Assessment { table, .. } | EntryKind::Distribution { table } = &entry.kind
                && table != nations.hash()
            {
                problems.push(format!("entry {number} was made by the table {table}, which this node does not have"));
            }
            for (account, amount) in &entry.legs {
                let sum = sums.entry(account.to_string()).or_default();
                match sum.checked_add(*amount) {
                    Some(more) => *sum = more,
                    None => problems.push(format!("entry {number} makes {account} too large to add up")),
                }
            }
            problems.len() < PROBLEMS_MAX
        });
        if let Err(error) = walked {
            problems.push(error.message);
        }
        for (account, balance) in self.balances_raw()? {
            let summed = sums.remove(&account).unwrap_or_default();
            if summed != balance {
                problems.push(format!("{account} holds {balance}, its entries sum to {summed}"));
            }
        }
        problems.extend(sums.keys().map(|account| format!("{account} has entries and no balance")));
        let (entries, sum) = self.totals()?;
        if sum != Amount::ZERO {
            problems.push(format!("all accounts sum to {sum}"));
        }
        problems.truncate(PROBLEMS_MAX);
        Ok(CheckDone { ok: problems.is_empty(), entries, sum: sum.to_string(), problems })
    }
}

/// The disk failed in the middle of a batch; nothing of it may be booked.
struct Broken(LedgerError);

fn broken(error: impl std::fmt::Display) -> Broken {
    Broken(LedgerError::failed(error))
}

struct Tables<'t> {
    entries: Table<'t, u64, &'static [u8]>,
    ids: Table<'t, u128, u64>,
    balances: Table<'t, &'static str, i128>,
    years: Table<'t, u16, &'static str>,
    next: u64,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, LedgerError> {
        let entries = transaction.open_table(ENTRIES).map_err(LedgerError::failed)?;
        let next = match entries.last().map_err(LedgerError::failed)? {
            Some((number, _)) => number.value() + 1,
            None => 0,
        };
        let ids = transaction.open_table(IDS).map_err(LedgerError::failed)?;
        let balances = transaction.open_table(BALANCES).map_err(LedgerError::failed)?;
        let years = transaction.open_table(YEARS).map_err(LedgerError::failed)?;
        Ok(Self { entries, ids, balances, years, next })
    }

    /// Checks a whole group before it writes any of it.
    fn post_group(&mut self, group: &[Entry]) -> Result<Result<Vec<Posting>, LedgerError>, Broken> {
        let mut postings = Vec::with_capacity(group.len());
        let mut after: BTreeMap<&Account, Amount> = BTreeMap::new();
        let mut years = BTreeMap::new();
        let mut fresh = 0;
        for entry in group {
            match self.known(entry)? {
                Some(Ok(known)) => postings.push(Posting::Known(known)),
                Some(Err(error)) => return Ok(Err(error)),
                None => {
                    if let EntryKind::Assessment { year, table, .. } = &entry.kind {
                        if let Some(error) = self.assessed_otherwise(*year, table)? {
                            return Ok(Err(error));
                        }
                        years.insert(*year, table);
                    }
                    if !entry.is_balanced() {
                        return Ok(Err(LedgerError::bad(format!("the entry {} does not sum to zero", entry.id))));
                    }
                    for (account, amount) in &entry.legs {
                        let before = match after.get(account) {
                            Some(amount) => *amount,
                            None => self.balance(account)?,
                        };
                        let Some(now) = before.checked_add(*amount).filter(|now| now.as_cents().abs() <= BALANCE_MAX)
                        else {
                            return Ok(Err(LedgerError::bad(format!("{account} would hold more than can be counted"))));
                        };
                        after.insert(account, now);
                    }
                    postings.push(Posting::Booked(self.next + fresh));
                    fresh += 1;
                }
            }
        }
        if let Some((account, now)) = after.iter().find(|(account, now)| now.as_cents() < 0 && !account.may_owe()) {
            let short = now.negated();
            return Ok(Err(LedgerError::refused(format_args!(
                "{account} holds {short} too little: move less, or fill it first"
            ))));
        }
        for (entry, posting) in group.iter().zip(&postings) {
            if let Posting::Booked(number) = posting {
                self.entries.insert(*number, entry.to_bytes().as_slice()).map_err(broken)?;
                self.ids.insert(entry.id.0, *number).map_err(broken)?;
            }
        }
        for (account, now) in after {
            self.balances.insert(account.to_string().as_str(), now.as_cents()).map_err(broken)?;
        }
        for (year, table) in years {
            self.years.insert(year, table.as_str()).map_err(broken)?;
        }
        self.next += fresh;
        Ok(Ok(postings))
    }

    /// The entry that answered this request before, or a conflict where the id was used for another one.
    fn known(&self, entry: &Entry) -> Result<Option<Result<Box<Entry>, LedgerError>>, Broken> {
        let Some(number) = self.ids.get(entry.id.0).map_err(broken)?.map(|number| number.value()) else {
            return Ok(None);
        };
        let stored = self.entries.get(number).map_err(broken)?;
        let stored = stored.and_then(|bytes| Entry::from_bytes(bytes.value()).ok());
        let stored = stored.ok_or_else(|| broken(format_args!("entry {number} cannot be read")))?;
        if stored.same_request(entry) {
            return Ok(Some(Ok(Box::new(stored))));
        }
        let message = format!(
            "the id {} stands in the book already as entry {number}, of ${} and another content; nothing was booked; use a new id",
            entry.id,
            stored.volume()
        );
        Ok(Some(Err(LedgerError::new(LedgerErrorKind::Conflict, message))))
    }

    /// A year is owed for once. Another table would make other ids, and so a second debt.
    fn assessed_otherwise(&self, year: u16, table: &str) -> Result<Option<LedgerError>, Broken> {
        let before = self.years.get(year).map_err(broken)?;
        let other = before.filter(|before| before.value() != table);
        Ok(other.map(|before| {
            LedgerError::refused(format_args!(
                "{year} was assessed by the table {} and is owed once: book what changed as transfers",
                before.value()
            ))
        }))
    }

    fn balance(&self, account: &Account) -> Result<Amount, Broken> {
        let found = self.balances.get(account.to_string().as_str()).map_err(broken)?;
        Ok(Amount::cents(found.map_or(0, |cents| cents.value())))
    }
}

/// What one account may hold, either way, in cents: sums over all accounts stay inside an `i128`.
const BALANCE_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000;

#[cfg(test)]
mod tests;
