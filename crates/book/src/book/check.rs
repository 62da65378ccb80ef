//! Reads the whole book and does all of it again.

use std::collections::BTreeMap;

use super::Book;
use super::movement::{Entry, adds_to, change, found_by};
use super::queries::decoded;
use crate::records::{BookError, Key, Receipt, Total, TotalKey};
use crate::store::{Store, Table};
use crate::sum::BookSum;
use crate::transfer::{Kind, Transfer};
use crate::{Account, AccountId, Balances, PAGE_MAX, PROBLEMS_MAX};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many accounts there are.
    pub accounts: u64,
    /// How many transfers there are.
    pub transfers: u64,
    /// What is wrong, the first [`PROBLEMS_MAX`] of it. Empty where the books balance.
    pub problems: Vec<String>,
}

impl Checked {
    pub(super) fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        }
    }
}

/// What the transfers so far come to.
struct Replay {
    accounts: BTreeMap<AccountId, Account>,
    totals: BTreeMap<TotalKey, Total>,
    indexed: u64,
    checked: Checked,
}

impl<S: Store> Book<S> {
    /// Books every transfer again, in memory, and compares: balances and limits of all accounts, numbers, answers, what is
    /// found by what, totals, and the sum of all hashes. It takes memory for all accounts, and none for transfers.
    ///
    /// # Errors
    /// The store failed, or a record cannot be read.
    pub fn check(&self) -> Result<Checked, BookError<S::Error>> {
        let mut replay =
            Replay { accounts: BTreeMap::new(), totals: BTreeMap::new(), indexed: 0, checked: Checked::default() };
        let mut sum = BookSum::default();
        for table in Table::ALL.into_iter().filter(|table| table.is_hashed()) {
            self.each_row(table, |key, value| {
                let counted = sum.add(table, key, value);
                counted.map_err(|error| BookError::Damaged { table, what: error.to_string() })
            })?;
        }
        if !sum.is_of(&self.head) {
            replay.checked.problem("the records do not sum to the hash of the head".to_owned());
        }
        self.each_row(Table::Accounts, |_, value| {
            let account: Account = decoded(Table::Accounts, value)?;
            replay.accounts.insert(account.spec.id, Account { balances: Balances::default(), ..account });
            replay.checked.accounts += 1;
            Ok(())
        })?;
        self.each_row(Table::Transfers, |key, value| {
            let transfer: Transfer = decoded(Table::Transfers, value)?;
            if key != Key::number(replay.checked.transfers).as_bytes() || transfer.number != replay.checked.transfers {
                replay.checked.problem(format!("the transfer {} is not where it should be", transfer.number));
            }
            replay.checked.transfers += 1;
            self.repeat(&mut replay, &transfer)
        })?;
        self.compare(&mut replay)?;
        self.check_offline(&mut replay.checked)?;
        Ok(replay.checked)
    }

    /// Books one transfer again.
    fn repeat(&self, replay: &mut Replay, transfer: &Transfer) -> Result<(), BookError<S::Error>> {
        let movement = transfer.movement;
        let number = transfer.number;
        let released = match transfer.kind {
            Kind::PendingPosted { pending } | Kind::PendingVoided { pending } | Kind::PendingExpired { pending } => {
                self.transfer(pending)?.map_or(0, |pending| pending.movement.amount)
            }
            Kind::Posted | Kind::Pending { .. } | Kind::Correction { .. } => 0,
        };
        let entry = Entry {
            id: transfer.id,
            kind: transfer.kind,
            movement,
            period: transfer.period,
            asked: transfer.asked,
            released,
        };
        let sides = [(movement.debit, transfer.debit_after, true), (movement.credit, transfer.credit_after, false)];
        for (id, after, is_debit) in sides {
            let Some(account) = replay.accounts.get_mut(&id) else {
                replay.checked.problem(format!("the transfer {number} names {id}, which is no account"));
                return Ok(());
            };
            let changed = change(account, &entry, is_debit);
            if let Err(refusal) = changed {
                replay.checked.problem(format!("the transfer {number} may not be: {refusal}"));
            } else if account.balances != after {
                replay.checked.problem(format!("the transfer {number} leaves other balances in {id} than it says"));
            }
        }
        let specs = [replay.accounts[&movement.debit].spec, replay.accounts[&movement.credit].spec];
        for (key, amount) in adds_to(transfer.kind, &movement, transfer.period, specs) {
            let total = replay.totals.entry(key).or_default();
            total.count = total.count.saturating_add(1);
            total.amount = total.amount.wrapping_add(amount);
        }
        for dimension in found_by(&movement) {
            replay.indexed += 1;
            let key = Key::index(dimension, number);
            if self.store.value(Table::Index, key.as_bytes()).map_err(BookError::Store)?.is_none() {
                replay.checked.problem(format!("the transfer {number} is not found by {dimension:?}"));
            }
        }
        let receipt = self.read(Table::Receipts, Key::receipt(transfer.id))?;
        if !matches!(transfer.kind, Kind::PendingExpired { .. }) && receipt != Some(Receipt::Booked(number)) {
            replay.checked.problem(format!("the id {} does not lead to the transfer {number}", transfer.id));
        }
        Ok(())
    }

    /// Compares what the transfers come to with what is kept.
    fn compare(&self, replay: &mut Replay) -> Result<(), BookError<S::Error>> {
        let Replay { accounts, totals, indexed, checked } = replay;
        self.each_row(Table::Accounts, |_, value| {
            let account: Account = decoded(Table::Accounts, value)?;
            if accounts.get(&account.spec.id) != Some(&account) {
                checked.problem(format!("{} does not hold what its transfers come to", account.spec.id));
            }
            Ok(())
        })?;
        let mut kept = 0;
        let keys: BTreeMap<Vec<u8>, &Total> =
            totals.iter().map(|(key, total)| (Key::total(key).as_bytes().to_vec(), total)).collect();
        self.each_row(Table::Totals, |key, value| {
            kept += 1;
            if keys.get(key).copied() != Some(&decoded::<Total, _>(Table::Totals, value)?) {
                checked.problem("a total is not what its transfers come to".to_owned());
            }
            Ok(())
        })?;
        if kept != keys.len() {
            checked.problem(format!("there are {kept} totals and should be {}", keys.len()));
        }
        let mut found = 0;
        self.each_row(Table::Index, |_, _| {
            found += 1;
            Ok(())
        })?;
        if found != *indexed {
            checked.problem(format!("transfers are found by {found} names and should be by {indexed}"));
        }
        if checked.transfers != self.head.transfers {
            checked.problem(format!("there are {} transfers and should be {}", checked.transfers, self.head.transfers));
        }
        Ok(())
    }

    /// Shows every row of a table, in order.
    pub(super) fn each_row(
        &self,
        table: Table,
        mut see: impl FnMut(&[u8], &[u8]) -> Result<(), BookError<S::Error>>,
    ) -> Result<(), BookError<S::Error>> {
        let last = Key::EMPTY.last_below();
        let mut from = Vec::new();
        loop {
            let rows = self.store.rows(table, &from, &last, PAGE_MAX).map_err(BookError::Store)?;
            let Some((end, _)) = rows.last() else { return Ok(()) };
            // The next key in order is this one and a zero.
            from = [end.as_slice(), &[0]].concat();
            for (key, value) in &rows {
                see(key, value)?;
            }
        }
    }
}
