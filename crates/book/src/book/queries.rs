//! What the book is asked. Answers are read from the records, a page at a time.

use covenant_types::{TransferId, WallTime};

use super::Book;
use crate::codec::Record;
use crate::records::{BookError, Covenant, Dimension, Key, Receipt, Side, Total, TotalKey};
use crate::store::{Store, Table};
use crate::transfer::{Period, Standing, Transfer};
use crate::{Account, AccountId, Alpha3, Asset, Balances, Entitlements, PAGE_MAX, ProjectCode, Sector};

/// A moment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// After the command at this position.
    Position(u64),
    /// After the transfer of this number.
    Transfer(u64),
}

/// A line of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What happened.
    pub transfer: Transfer,
    /// What the account held after it.
    pub after: Balances,
}

/// A record of the covenant: a code and a value.
type Named = (String, Vec<u8>);

impl<S: Store> Book<S> {
    /// An account as it is now.
    ///
    /// # Errors
    /// The store failed or is damaged. So for every question below.
    pub fn account(&self, id: AccountId) -> Result<Option<Account>, BookError<S::Error>> {
        self.read(Table::Accounts, Key::account(id))
    }

    /// At most `most` accounts, and [`PAGE_MAX`], from the id `from` on.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn accounts(&self, from: AccountId, most: usize) -> Result<Vec<Account>, BookError<S::Error>> {
        let last = Key::account(AccountId(u128::MAX));
        let rows = self.rows(Table::Accounts, Key::account(from), last.as_bytes(), most)?;
        rows.into_iter().map(|(_, value)| decoded(Table::Accounts, &value)).collect()
    }

    /// The transfer of a number.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn transfer(&self, number: u64) -> Result<Option<Transfer>, BookError<S::Error>> {
        self.read(Table::Transfers, Key::number(number))
    }

    /// The transfer that an id got; `None` where it got none, or was refused.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn transfer_of(&self, id: TransferId) -> Result<Option<Transfer>, BookError<S::Error>> {
        match self.read(Table::Receipts, Key::receipt(id))? {
            Some(Receipt::Booked(number)) => self.transfer(number),
            Some(Receipt::Refused { .. } | Receipt::Distributed { .. }) | None => Ok(None),
        }
    }

    /// What became of a transfer since it was booked.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn standing(&self, number: u64) -> Result<Option<Standing>, BookError<S::Error>> {
        self.read(Table::Standings, Key::number(number))
    }

    /// What an account held at a point of the log; `None` where there is no such account now.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn balances_at(&self, id: AccountId, point: Point) -> Result<Option<Balances>, BookError<S::Error>> {
        if self.account(id)?.is_none() {
            return Ok(None);
        }
        let Some(last) = self.last_transfer_at(point)? else { return Ok(Some(Balances::default())) };
        let dimension = Dimension::Account(id);
        let (from, to) = (Key::index(dimension, 0), Key::index(dimension, last));
        let row = self.store.last_row(Table::Index, from.as_bytes(), to.as_bytes()).map_err(BookError::Store)?;
        let Some((key, _)) = row else { return Ok(Some(Balances::default())) };
        let transfer = self.indexed(&key)?;
        Ok(Some(after(&transfer, id)))
    }

    /// The number of the last transfer at a point of the log.
    fn last_transfer_at(&self, point: Point) -> Result<Option<u64>, BookError<S::Error>> {
        let position = match point {
            Point::Transfer(number) => return Ok(Some(number)),
            Point::Position(position) => Key::number(position),
        };
        let row = self.store.last_row(Table::Positions, Key::number(0).as_bytes(), position.as_bytes());
        let Some((_, next)) = row.map_err(BookError::Store)? else { return Ok(None) };
        let next = next.as_slice().try_into().map(u64::from_be_bytes);
        let what = || "a position has no number".to_owned();
        let next = next.map_err(|_| BookError::Damaged { table: Table::Positions, what: what() })?;
        Ok(next.checked_sub(1))
    }

    /// The statement of an account: at most `most` lines, and [`PAGE_MAX`], from the transfer number `from` on.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn statement(&self, id: AccountId, from: u64, most: usize) -> Result<Vec<Line>, BookError<S::Error>> {
        let transfers = self.transfers(Dimension::Account(id), from, most)?;
        Ok(transfers.into_iter().map(|transfer| Line { transfer, after: after(&transfer, id) }).collect())
    }

    /// Transfers of an account, nation, sector or project, or all: at most `most`, and [`PAGE_MAX`], from the number `from`
    /// on.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn transfers(
        &self,
        dimension: Dimension,
        from: u64,
        most: usize,
    ) -> Result<Vec<Transfer>, BookError<S::Error>> {
        if dimension == Dimension::All {
            let rows = self.rows(Table::Transfers, Key::number(from), Key::number(u64::MAX).as_bytes(), most)?;
            return rows.into_iter().map(|(_, value)| decoded(Table::Transfers, &value)).collect();
        }
        let last = Key::index(dimension, u64::MAX);
        let rows = self.rows(Table::Index, Key::index(dimension, from), last.as_bytes(), most)?;
        rows.into_iter().map(|(key, _)| self.indexed(&key)).collect()
    }

    /// What moved in a period, of all or of a nation, sector or project, by asset and by what the accounts of both sides are
    /// for. Corrections count against what they correct, in the period in which they were made.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn totals(&self, period: Period, dimension: Dimension) -> Result<Vec<(TotalKey, Total)>, BookError<S::Error>> {
        let from = Key::totals_of(period, dimension);
        let rows = self.store.rows(Table::Totals, from.as_bytes(), &from.last_below(), PAGE_MAX);
        let start = from.as_bytes().len();
        let mut totals = Vec::new();
        for (key, value) in rows.map_err(BookError::Store)? {
            let damaged = || BookError::Damaged { table: Table::Totals, what: "a key cannot be read".to_owned() };
            let (from, to, asset) = total_key(key.get(start..).unwrap_or_default()).ok_or_else(damaged)?;
            totals.push((TotalKey { period, dimension, from, to, asset }, decoded(Table::Totals, &value)?));
        }
        Ok(totals)
    }

    /// What everybody was promised and paid so far.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn entitlements(&self) -> Result<Entitlements, BookError<S::Error>> {
        let key = Key::covenant(Covenant::Entitlements);
        let Some(bytes) = self.store.value(Table::Covenant, key.as_bytes()).map_err(BookError::Store)? else {
            return Ok(Entitlements::default());
        };
        let damaged = |error: covenant_types::canonical::CanonicalError| BookError::Damaged {
            table: Table::Covenant,
            what: error.to_string(),
        };
        Entitlements::from_bytes(&bytes).map_err(damaged)
    }

    /// The hash of the table of nations that a year was assessed by; `None` where it was not.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn assessed_by(&self, year: Period) -> Result<Option<[u8; 32]>, BookError<S::Error>> {
        let key = Key::covenant(Covenant::Year(year));
        let Some(hash) = self.store.value(Table::Covenant, key.as_bytes()).map_err(BookError::Store)? else {
            return Ok(None);
        };
        let what = || format!("the table of {} has no hash", year.0);
        let hash = hash.as_slice().try_into().map(Some);
        hash.map_err(|_| BookError::Damaged { table: Table::Covenant, what: what() })
    }

    /// The text of the adopted table of nations with this hash.
    ///
    /// # Errors
    /// The store failed.
    pub fn nations_text(&self, hash: [u8; 32]) -> Result<Option<Vec<u8>>, BookError<S::Error>> {
        let key = Key::covenant(Covenant::Nations(hash));
        self.store.value(Table::Covenant, key.as_bytes()).map_err(BookError::Store)
    }

    /// When the next pending transfer's time is over; `None` where none has an end.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn next_expiry(&self) -> Result<Option<WallTime>, BookError<S::Error>> {
        let last = [u8::MAX; 16];
        let rows = self.store.rows(Table::Expiries, Key::EMPTY.as_bytes(), &last, 1).map_err(BookError::Store)?;
        let Some((key, _)) = rows.first() else { return Ok(None) };
        let at = key.first_chunk().copied().map(u64::from_be_bytes);
        let what = || "a key has the wrong length".to_owned();
        at.map(|at| Some(WallTime(at))).ok_or_else(|| BookError::Damaged { table: Table::Expiries, what: what() })
    }

    /// The nations of all adopted tables, by code.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn nations(&self) -> Result<Vec<Alpha3>, BookError<S::Error>> {
        let rows = self.covenant_rows(Key::nations())?;
        rows.iter().map(|(code, _)| code.parse().map_err(|_| unreadable("a nation", code))).collect()
    }

    /// The projects of all adopted lists, by code, and the sectors they are in.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn projects(&self) -> Result<Vec<(ProjectCode, Sector)>, BookError<S::Error>> {
        let rows = self.covenant_rows(Key::projects())?;
        let read = |(code, sector): &Named| {
            let sector = std::str::from_utf8(sector).ok().and_then(|sector| sector.parse().ok());
            Some((code.parse().ok()?, sector?))
        };
        rows.iter().map(|row| read(row).ok_or_else(|| unreadable("a project", &row.0))).collect()
    }

    /// The records of the covenant whose keys begin with `prefix`, by what follows it.
    fn covenant_rows(&self, prefix: Key) -> Result<Vec<Named>, BookError<S::Error>> {
        let start = prefix.as_bytes().len();
        let (mut found, mut from) = (Vec::new(), prefix.as_bytes().to_vec());
        loop {
            let rows = self.store.rows(Table::Covenant, &from, &prefix.last_below(), PAGE_MAX);
            let rows = rows.map_err(BookError::Store)?;
            let whole = rows.len() < PAGE_MAX;
            for (key, value) in rows {
                let code = String::from_utf8_lossy(key.get(start..).unwrap_or_default()).into_owned();
                found.push((code, value));
                from = [key.as_slice(), &[0]].concat();
            }
            if whole {
                return Ok(found);
            }
        }
    }

    pub(super) fn rows(
        &self,
        table: Table,
        from: Key,
        to: &[u8],
        most: usize,
    ) -> Result<Vec<crate::store::Row>, BookError<S::Error>> {
        self.store.rows(table, from.as_bytes(), to, most.min(PAGE_MAX)).map_err(BookError::Store)
    }

    pub(super) fn read<T: Record>(&self, table: Table, key: Key) -> Result<Option<T>, BookError<S::Error>> {
        let value = self.store.value(table, key.as_bytes()).map_err(BookError::Store)?;
        value.map(|value| decoded(table, &value)).transpose()
    }

    /// The transfer whose number ends a key of the index.
    fn indexed(&self, key: &[u8]) -> Result<Transfer, BookError<S::Error>> {
        let number = key.last_chunk().copied().map(u64::from_be_bytes);
        let transfer = number.map(|number| self.transfer(number)).transpose()?.flatten();
        let what = "it names a transfer that is not there".to_owned();
        transfer.ok_or(BookError::Damaged { table: Table::Index, what })
    }
}

pub(super) fn decoded<T: Record, E: std::error::Error>(table: Table, value: &[u8]) -> Result<T, BookError<E>> {
    T::from_record(value).map_err(|error| BookError::Damaged { table, what: error.to_string() })
}

fn unreadable<E: std::error::Error>(what: &str, code: &str) -> BookError<E> {
    BookError::Damaged { table: Table::Covenant, what: format!("{what} cannot be read: {code:?}") }
}

fn after(transfer: &Transfer, id: AccountId) -> Balances {
    if transfer.movement.debit == id { transfer.debit_after } else { transfer.credit_after }
}

fn total_key(rest: &[u8]) -> Option<(Side, Side, Asset)> {
    let [from, to, scale, code @ ..] = rest else { return None };
    let side = |side: u8| Side::ALL.get(usize::from(side)).copied();
    let code = std::str::from_utf8(code).ok()?.parse().ok()?;
    Some((side(*from)?, side(*to)?, Asset { code, scale: *scale }))
}
