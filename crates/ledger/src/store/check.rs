//! Adding the whole book up again.

use std::collections::{BTreeMap, BTreeSet};

use covenant_store::redb::{ReadOnlyTable, ReadableTable};

use super::{BookStore, IDS, NATIONS, Snapshot};
use crate::error::LedgerError;
use crate::{Amount, CheckDone, Entry, EntryKind, Nations, PROBLEMS_MAX};

impl BookStore {
    /// Adds the whole book up again, as it is at one moment: every entry balanced, every id found, every balance the sum of
    /// its legs, all zero, and every table of nations there that an entry follows from. `nations` counts as there.
    ///
    /// # Errors
    /// The disk refused. What is wrong with the book is in the answer.
    pub fn check(&self, nations: &Nations) -> Result<CheckDone, LedgerError> {
        let book = self.snapshot()?;
        let mut found = Findings { problems: Vec::new(), sums: BTreeMap::new(), next: 0, tables: BTreeSet::new() };
        found.tables.insert(nations.hash().to_owned());
        found.see_tables(&book)?;
        let ids = book.table(IDS)?;
        let walked = book.entries(0, |number, entry| {
            found.see(number, entry, &ids);
            found.problems.len() < PROBLEMS_MAX
        });
        if let Err(error) = walked {
            found.problems.push(error.message);
        }
        // Where the walk ended early the sums are those of a part, and say nothing.
        if found.problems.len() < PROBLEMS_MAX {
            found.compare(book.balances()?);
        }
        let (entries, sum) = book.totals()?;
        let mut problems = found.problems;
        if sum != Amount::ZERO {
            problems.push(format!("all accounts sum to {sum}"));
        }
        problems.truncate(PROBLEMS_MAX);
        Ok(CheckDone { ok: problems.is_empty(), entries, sum: sum.to_string(), problems })
    }
}

struct Findings {
    problems: Vec<String>,
    /// What the entries seen so far leave in each account.
    sums: BTreeMap<String, Amount>,
    /// The number that comes next.
    next: u64,
    /// The tables of nations that are there and whole.
    tables: BTreeSet<String>,
}

impl Findings {
    fn see_tables(&mut self, book: &Snapshot) -> Result<(), LedgerError> {
        for row in book.table(NATIONS)?.iter().map_err(LedgerError::failed)? {
            let (hash, text) = row.map_err(LedgerError::failed)?;
            let whole = std::str::from_utf8(text.value()).ok().and_then(|text| Nations::parse(text).ok());
            if whole.is_some_and(|nations| nations.hash() == hash.value()) {
                self.tables.insert(hash.value().to_owned());
            } else {
                self.problems.push(format!("the table of nations {} is damaged", hash.value()));
            }
        }
        Ok(())
    }

    fn see(&mut self, number: u64, entry: &Entry, ids: &ReadOnlyTable<u128, u64>) {
        if number != self.next {
            self.problems.push(format!("entry {} is missing", self.next));
        }
        self.next = number.saturating_add(1);
        if !entry.is_balanced() {
            self.problems.push(format!("entry {number} does not sum to zero"));
        }
        if ids.get(entry.id.0).ok().flatten().map(|known| known.value()) != Some(number) {
            self.problems.push(format!("entry {number} is not found by its id {}", entry.id));
        }
        if let EntryKind::Assessment { table, .. } | EntryKind::Distribution { table } = &entry.kind
            && !self.tables.contains(table)
        {
            self.problems.push(format!("entry {number} follows from the table {table}, which is not there"));
        }
        for (account, amount) in &entry.legs {
            let sum = self.sums.entry(account.to_string()).or_default();
            match sum.checked_add(*amount) {
                Some(more) => *sum = more,
                None => self.problems.push(format!("entry {number} makes {account} too large to add up")),
            }
        }
    }

    fn compare(&mut self, balances: Vec<(String, Amount)>) {
        for (account, balance) in balances {
            let summed = self.sums.remove(&account).unwrap_or_default();
            if summed != balance {
                self.problems.push(format!("{account} holds {balance}, its entries sum to {summed}"));
            }
        }
        self.problems.extend(self.sums.keys().map(|account| format!("{account} has entries and no balance")));
    }
}
