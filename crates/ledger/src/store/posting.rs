//! Booking inside one write transaction.

use std::collections::{BTreeMap, BTreeSet};

use covenant_store::redb::{ReadableTable, Table, WriteTransaction};

use super::{BALANCES, ENTRIES, IDS, NATIONS, Posting, YEARS};
use crate::entry::{Entry, EntryKind, LEGS_MAX};
use crate::error::{LedgerError, LedgerErrorKind};
use crate::{Account, Amount, Nations};

/// What one account may hold, either way, in cents: sums over all accounts stay inside an `i128`.
const BALANCE_MAX: u128 = 1_000_000_000_000_000_000_000_000_000_000;

/// The disk failed in the middle of a batch; nothing of it may be booked.
pub(super) struct Broken(pub(super) LedgerError);

fn broken(error: impl std::fmt::Display) -> Broken {
    Broken(LedgerError::not_booked(error))
}

/// The tables of the book while a batch is booked.
pub(super) struct Tables<'t> {
    entries: Table<'t, u64, &'static [u8]>,
    ids: Table<'t, u128, u64>,
    balances: Table<'t, &'static str, i128>,
    years: Table<'t, u16, &'static str>,
    kept: Table<'t, &'static str, &'static [u8]>,
    nations: &'t Nations,
    /// What accounts hold after the groups so far. Most entries of a batch meet on few accounts, so each is written once.
    changed: BTreeMap<Account, Amount>,
    next: u64,
}

/// What a group would do, once all of it is known to be right.
#[derive(Default)]
struct Draft<'g> {
    postings: Vec<Posting>,
    ids: BTreeSet<u128>,
    after: BTreeMap<Account, Amount>,
    years: BTreeMap<u16, &'g str>,
    fresh: u64,
    keep_table: bool,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction, nations: &'t Nations) -> Result<Self, LedgerError> {
        let entries = transaction.open_table(ENTRIES).map_err(LedgerError::not_booked)?;
        let next = match entries.last().map_err(LedgerError::not_booked)? {
            Some((number, _)) => number.value() + 1,
            None => 0,
        };
        let ids = transaction.open_table(IDS).map_err(LedgerError::not_booked)?;
        let balances = transaction.open_table(BALANCES).map_err(LedgerError::not_booked)?;
        let years = transaction.open_table(YEARS).map_err(LedgerError::not_booked)?;
        let kept = transaction.open_table(NATIONS).map_err(LedgerError::not_booked)?;
        Ok(Self { entries, ids, balances, years, kept, nations, changed: BTreeMap::new(), next })
    }

    /// Checks a whole group before it writes any of it.
    pub(super) fn post_group(&mut self, group: &[Entry]) -> Result<Result<Vec<Posting>, LedgerError>, Broken> {
        let mut draft = Draft::default();
        for entry in group {
            match self.known(entry)? {
                Some(Ok(known)) => draft.postings.push(Posting::Known(known)),
                Some(Err(error)) => return Ok(Err(error)),
                None => {
                    if let Err(error) = self.add(&mut draft, entry)? {
                        return Ok(Err(error));
                    }
                }
            }
        }
        let negative = draft.after.iter().find(|(account, now)| **now < Amount::ZERO && !account.may_owe());
        if let Some((account, now)) = negative {
            let short = now.negated();
            return Ok(Err(LedgerError::refused(format_args!(
                "{account} holds {short} too little: move less, or fill it first"
            ))));
        }
        self.write(group, draft).map(Ok)
    }

    /// Writes what is left to write, and says whether the batch changed anything.
    pub(super) fn finish(mut self) -> Result<bool, Broken> {
        for (account, now) in &self.changed {
            self.balances.insert(account.to_string().as_str(), now.as_cents()).map_err(broken)?;
        }
        Ok(!self.changed.is_empty())
    }

    /// Takes a new entry into the draft of its group, or says why not.
    fn add<'g>(&self, draft: &mut Draft<'g>, entry: &'g Entry) -> Result<Result<(), LedgerError>, Broken> {
        if !draft.ids.insert(entry.id.0) {
            return Ok(Err(LedgerError::bad(format_args!("the id {} stands twice in one request", entry.id))));
        }
        if entry.legs.len() > LEGS_MAX || !entry.is_balanced() {
            return Ok(Err(LedgerError::bad(format_args!(
                "the entry {} has more than {LEGS_MAX} legs or does not sum to zero",
                entry.id
            ))));
        }
        if let EntryKind::Assessment { table, .. } | EntryKind::Distribution { table } = &entry.kind {
            if table != self.nations.hash() {
                return Ok(Err(LedgerError::bad(format_args!(
                    "the entry {} follows from the table {table}, which this node does not use",
                    entry.id
                ))));
            }
            draft.keep_table = true;
        }
        if let EntryKind::Assessment { year, table, .. } = &entry.kind {
            if let Some(error) = self.assessed_otherwise(*year, table)? {
                return Ok(Err(error));
            }
            draft.years.insert(*year, table);
        }
        for (account, amount) in &entry.legs {
            let before = match draft.after.get(account) {
                Some(amount) => *amount,
                None => self.balance(*account)?,
            };
            let now = before.checked_add(*amount).filter(|now| now.as_cents().unsigned_abs() <= BALANCE_MAX);
            let Some(now) = now else {
                return Ok(Err(LedgerError::bad(format_args!("{account} would hold more than can be counted"))));
            };
            draft.after.insert(*account, now);
        }
        draft.postings.push(Posting::Booked(self.next + draft.fresh));
        draft.fresh += 1;
        Ok(Ok(()))
    }

    fn write(&mut self, group: &[Entry], draft: Draft<'_>) -> Result<Vec<Posting>, Broken> {
        for (entry, posting) in group.iter().zip(&draft.postings) {
            if let Posting::Booked(number) = posting {
                self.entries.insert(*number, entry.to_bytes().as_slice()).map_err(broken)?;
                self.ids.insert(entry.id.0, *number).map_err(broken)?;
            }
        }
        for (year, table) in draft.years {
            self.years.insert(year, table).map_err(broken)?;
        }
        if draft.keep_table && self.kept.get(self.nations.hash()).map_err(broken)?.is_none() {
            self.kept.insert(self.nations.hash(), self.nations.text().as_bytes()).map_err(broken)?;
        }
        self.changed.extend(draft.after);
        self.next += draft.fresh;
        Ok(draft.postings)
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
            "the id {} stands in the book already as entry {number}, {}; this request is {}; nothing was booked; use a new id",
            entry.id,
            stored.said(),
            entry.said()
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

    /// What an account holds after the groups so far.
    fn balance(&self, account: Account) -> Result<Amount, Broken> {
        if let Some(amount) = self.changed.get(&account) {
            return Ok(*amount);
        }
        let found = self.balances.get(account.to_string().as_str()).map_err(broken)?;
        Ok(Amount::cents(found.map_or(0, |cents| cents.value())))
    }
}
