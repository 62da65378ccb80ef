//! The book on disk: entries in order, ids, balances, in one `redb` file. A batch is one fsynced transaction.

use std::path::Path;

use covenant_store::redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction,
};

use crate::entry::Entry;
use crate::error::{LedgerError, LedgerErrorKind};
use crate::{Account, AccountBalance, Amount, Balances, CheckDone, EntryKind, Nations};

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const IDS: TableDefinition<'_, u128, u64> = TableDefinition::new("ids");
const BALANCES: TableDefinition<'_, &str, i128> = TableDefinition::new("balances");

/// The book on disk.
#[derive(Debug)]
pub struct BookStore {
    database: Database,
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posting {
    /// It is booked, with this number.
    Booked(u64),
    /// It stood in the book already, with this number.
    Known(u64),
}

/// Findings that a check lists.
const PROBLEMS_MAX: usize = 20;

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
        begin.commit().map_err(LedgerError::failed)?;
        Ok(Self { database })
    }

    /// Books each group of entries whole or not at all, all groups in one transaction, and waits until it is on disk. One
    /// result a group, in order; a group that is refused leaves the others as they are.
    ///
    /// # Errors
    /// The disk refused: nothing of the whole batch is booked.
    pub fn post(&self, groups: &[Vec<Entry>]) -> Result<Vec<Result<Vec<Posting>, LedgerError>>, LedgerError> {
        let transaction = self.database.begin_write().map_err(LedgerError::failed)?;
        let results = {
            let mut tables = Tables::open(&transaction)?;
            groups.iter().map(|group| tables.post_group(group)).collect::<Result<_, Broken>>().map_err(|Broken(error)| error)?
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
        let sum = self.balances_raw()?.iter().map(|(_, amount)| amount.as_cents()).sum();
        Ok((entries, Amount::cents(sum)))
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
        let mut sums: std::collections::BTreeMap<String, i128> = std::collections::BTreeMap::new();
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
                *sums.entry(account.to_string()).or_default() += amount.as_cents();
            }
            problems.len() < PROBLEMS_MAX
        });
        if let Err(error) = walked {
            problems.push(error.message);
        }
        for (account, balance) in self.balances_raw()? {
            let summed = sums.remove(&account).unwrap_or_default();
            if summed != balance.as_cents() {
                problems.push(format!("{account} holds {balance}, its entries sum to {}", Amount::cents(summed)));
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
        Ok(Self { entries, ids, balances, next })
    }

    /// Checks a whole group before it writes any of it.
    fn post_group(&mut self, group: &[Entry]) -> Result<Result<Vec<Posting>, LedgerError>, Broken> {
        let mut postings = Vec::with_capacity(group.len());
        let mut after: std::collections::BTreeMap<&Account, Amount> = std::collections::BTreeMap::new();
        let mut fresh = 0;
        for entry in group {
            match self.known(entry)? {
                Some(Ok(number)) => postings.push(Posting::Known(number)),
                Some(Err(error)) => return Ok(Err(error)),
                None => {
                    if !entry.is_balanced() {
                        return Ok(Err(LedgerError::bad(format!("the entry {} does not sum to zero", entry.id))));
                    }
                    for (account, amount) in &entry.legs {
                        let before = match after.get(account) {
                            Some(amount) => *amount,
                            None => self.balance(account)?,
                        };
                        let Some(now) = before.checked_add(*amount).filter(|now| now.as_cents().abs() <= BALANCE_MAX) else {
                            return Ok(Err(LedgerError::bad(format!("{account} would hold more than can be counted"))));
                        };
                        after.insert(account, now);
                    }
                    postings.push(Posting::Booked(self.next + fresh));
                    fresh += 1;
                }
            }
        }
        if let Some((account, now)) = after.iter().find(|(account, now)| now.as_cents() < 0 && !account.is_source()) {
            let short = now.negated();
            let message = format!("{account} holds {short} too little; nothing was booked; move less, or fill it first");
            return Ok(Err(LedgerError::new(LedgerErrorKind::Refused, message)));
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
        self.next += fresh;
        Ok(Ok(postings))
    }

    /// The number of an entry that stands in the book, or a conflict where another one has its id.
    fn known(&self, entry: &Entry) -> Result<Option<Result<u64, LedgerError>>, Broken> {
        let Some(number) = self.ids.get(entry.id.0).map_err(broken)?.map(|number| number.value()) else { return Ok(None) };
        let stored = self.entries.get(number).map_err(broken)?;
        let stored = stored.and_then(|bytes| Entry::from_bytes(bytes.value()).ok());
        let stored = stored.ok_or_else(|| broken(format_args!("entry {number} cannot be read")))?;
        if stored.same_content(entry) {
            return Ok(Some(Ok(number)));
        }
        let message = format!(
            "the id {} stands in the book already as entry {number}, of ${} and another content; nothing was booked; use a new id",
            entry.id,
            stored.volume()
        );
        Ok(Some(Err(LedgerError::new(LedgerErrorKind::Conflict, message))))
    }

    fn balance(&self, account: &Account) -> Result<Amount, Broken> {
        let found = self.balances.get(account.to_string().as_str()).map_err(broken)?;
        Ok(Amount::cents(found.map_or(0, |cents| cents.value())))
    }
}

/// What one account may hold, either way, in cents: sums over all accounts stay inside an `i128`.
const BALANCE_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000;


#[cfg(test)]
mod tests {
    use super::*;
    use covenant_types::{TransferId, WallTime};

    fn book() -> (tempfile::TempDir, BookStore) {
        let dir = tempfile::tempdir().unwrap();
        let book = BookStore::open(&dir.path().join("ledger/book.redb")).unwrap();
        (dir, book)
    }

    fn transfer(number: u128, from: Account, cents: i128) -> Vec<Entry> {
        vec![Entry::transfer(TransferId(number), from, Account::Communities, Amount::cents(cents), WallTime(1))]
    }

    fn post(book: &BookStore, group: Vec<Entry>) -> Result<Vec<Posting>, LedgerError> {
        book.post(&[group]).unwrap().remove(0)
    }

    #[test]
    fn an_id_books_once_and_never_another_content() {
        let (_dir, book) = book();
        assert_eq!(post(&book, transfer(1, Account::Treasury, 100)), Ok(vec![Posting::Booked(0)]));
        let mut later = transfer(1, Account::Treasury, 100);
        later[0].at = WallTime(99);
        assert_eq!(post(&book, later), Ok(vec![Posting::Known(0)]), "the time of sending does not matter");
        let error = post(&book, transfer(1, Account::Treasury, 200)).unwrap_err();
        assert_eq!(error.kind, LedgerErrorKind::Conflict);
        assert_eq!(book.totals().unwrap(), (1, Amount::ZERO));
    }

    #[test]
    fn an_account_does_not_go_below_zero_unless_it_is_a_source() {
        let (_dir, book) = book();
        let error = post(&book, transfer(1, Account::Reserve, 100)).unwrap_err();
        assert_eq!(error.kind, LedgerErrorKind::Refused);
        assert!(error.message.contains("reserve holds 1.00 too little"), "{error}");
        assert_eq!(book.totals().unwrap().0, 0);
        assert!(post(&book, transfer(2, Account::Treasury, 100)).is_ok());
    }

    #[test]
    fn a_group_is_booked_whole_or_not_at_all_and_others_are_not_touched() {
        let (_dir, book) = book();
        let bad = [transfer(1, Account::Treasury, 100), transfer(2, Account::Reserve, 100)].concat();
        let good = transfer(3, Account::Treasury, 7);
        let results = book.post(&[bad, good]).unwrap();
        assert!(results[0].is_err() && results[1] == Ok(vec![Posting::Booked(0)]));
        assert_eq!(book.balances().unwrap().accounts.len(), 2);
        assert!(book.check(Nations::embedded()).unwrap().ok);
    }

    #[test]
    fn two_entries_of_a_batch_see_each_other() {
        let (_dir, book) = book();
        let fill = vec![Entry::transfer(TransferId(1), Account::Treasury, Account::Reserve, Amount::cents(100), WallTime(1))];
        let results = book.post(&[fill, transfer(2, Account::Reserve, 60), transfer(3, Account::Reserve, 60)]).unwrap();
        assert!(results[0].is_ok() && results[1].is_ok() && results[2].is_err());
    }

    #[test]
    fn what_was_booked_is_there_after_the_book_was_dropped() {
        let (dir, book) = book();
        post(&book, transfer(1, Account::Treasury, 100)).unwrap();
        let before = book.balances().unwrap();
        drop(book);
        let book = BookStore::open(&dir.path().join("ledger/book.redb")).unwrap();
        assert_eq!(book.balances().unwrap(), before);
        assert_eq!(post(&book, transfer(1, Account::Treasury, 100)), Ok(vec![Posting::Known(0)]));
    }

    #[test]
    fn a_check_finds_what_was_changed_behind_the_book() {
        let (_dir, book) = book();
        let (entries, _) = Entry::assessments(2024, Nations::embedded(), WallTime(1));
        post(&book, entries).unwrap();
        assert_eq!(book.check(Nations::embedded()).unwrap().entries, 194);
        let write = book.database.begin_write().unwrap();
        write.open_table(BALANCES).unwrap().insert("owed:KEN", 1).unwrap();
        write.open_table(ENTRIES).unwrap().remove(5).unwrap();
        write.commit().unwrap();
        let check = book.check(Nations::embedded()).unwrap();
        assert!(!check.ok);
        let found = check.problems.join("; ");
        assert!(found.contains("entry 5 is missing") && found.contains("owed:KEN holds 0.01"), "{found}");
    }

    #[test]
    fn an_unbalanced_entry_is_refused() {
        let (_dir, book) = book();
        let mut entry = transfer(1, Account::Treasury, 100);
        entry[0].legs[0].1 = Amount::cents(-99);
        assert_eq!(post(&book, entry).unwrap_err().kind, LedgerErrorKind::BadRequest);
    }
}
