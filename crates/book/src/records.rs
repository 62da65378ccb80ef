//! What the book keeps beside accounts and transfers, and under which keys.

use covenant_types::canonical::CanonicalError;
use covenant_types::{TransferId, WallTime};

use crate::store::{KEY_BYTES_MAX, Table};
use crate::transfer::NewTransfer;
use crate::{AccountId, Alpha3, Amount, Asset, DeviceId, Outcome, Period, ProjectCode, Purpose, Refusal, Sector};

/// How far the book is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How many commands were applied.
    pub position: u64,
    /// How many transfers there are, which is the number of the next.
    pub transfers: u64,
    /// The latest time that a command carried.
    pub at: WallTime,
    /// The last closed period.
    pub closed: Option<Period>,
    /// The hash of all commands and what became of them.
    pub chain: [u8; 32],
    /// The sum of the hashes of all records.
    pub sum: [u8; 32],
}

/// What was answered to an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// The transfer of this number.
    Booked(u64),
    /// A transfer was refused.
    Refused { request: NewTransfer, refusal: Refusal },
    /// A distribution, shared or refused.
    Distributed { amount: Amount, period: Period, outcome: Box<Outcome> },
}

/// How many entries the inbox ever had, which is the number of the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    pub(crate) last: u64,
}

/// What moved, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many transfers.
    pub count: u64,
    /// How much in minor units; corrections count against it.
    pub amount: i128,
}

/// What transfers are found and added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// All of them. They are added up, and found by number.
    All,
    /// Those that touch an account. They are found, and added up in the account.
    Account(AccountId),
    /// Those that concern a nation.
    Nation(Alpha3),
    /// Those that go into a sector.
    Sector(Sector),
    /// Those that go into a project.
    Project(ProjectCode),
}

/// What accounts on one side of a movement are for, without saying whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Accounts opened by request.
    Other,
    /// The world outside.
    Treasury,
    /// What nations were assessed.
    Pool,
    /// What communities have to spend.
    Communities,
    /// For maintenance.
    Reserve,
    /// Nations.
    Nation,
    /// Projects.
    Project,
    /// Allowances of devices.
    Allowance,
}

impl Side {
    /// Every side, in a fixed order.
    pub const ALL: [Self; 8] = [
        Self::Other,
        Self::Treasury,
        Self::Pool,
        Self::Communities,
        Self::Reserve,
        Self::Nation,
        Self::Project,
        Self::Allowance,
    ];
}

impl From<Purpose> for Side {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Other => Self::Other,
            Purpose::Treasury => Self::Treasury,
            Purpose::Pool => Self::Pool,
            Purpose::Communities => Self::Communities,
            Purpose::Reserve => Self::Reserve,
            Purpose::Nation(_) => Self::Nation,
            Purpose::Project(_) => Self::Project,
            Purpose::Allowance(_) => Self::Allowance,
        }
    }
}

/// What a total adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotalKey {
    /// The period.
    pub period: Period,
    /// What is common to the transfers.
    pub dimension: Dimension,
    /// What the accounts that gave are for; of a correction, those that gave in what it corrects.
    pub from: Side,
    /// What the accounts that received are for.
    pub to: Side,
    /// What is counted.
    pub asset: Asset,
}

/// The key of one record: few bytes, copied and not owned. Integers are big-endian, so that keys have the order of numbers.
/// What is behind its end is zero, so that keys have the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    length: u8,
}

impl Key {
    pub(crate) const EMPTY: Self = Self { bytes: [0; KEY_BYTES_MAX], length: 0 };

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The key of these bytes, at most [`KEY_BYTES_MAX`].
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::EMPTY.with(bytes)
    }

    fn with(mut self, more: &[u8]) -> Self {
        let start = usize::from(self.length);
        self.bytes[start..start + more.len()].copy_from_slice(more);
        self.length += u8::try_from(more.len()).expect("keys are short");
        self
    }

    /// The longest key that begins like this one.
    pub(crate) fn last_below(self) -> Vec<u8> {
        let mut bytes = self.as_bytes().to_vec();
        bytes.resize(KEY_BYTES_MAX, u8::MAX);
        bytes
    }

    pub(crate) fn number(number: u64) -> Self {
        Self::EMPTY.with(&number.to_be_bytes())
    }

    pub(crate) fn account(id: AccountId) -> Self {
        Self::EMPTY.with(&id.0.to_be_bytes())
    }

    pub(crate) fn receipt(id: TransferId) -> Self {
        Self::EMPTY.with(&id.0.to_be_bytes())
    }

    pub(crate) fn expiry(at: WallTime, number: u64) -> Self {
        Self::EMPTY.with(&at.0.to_be_bytes()).with(&number.to_be_bytes())
    }

    fn dimension(self, dimension: Dimension) -> Self {
        match dimension {
            Dimension::All => self.with(&[0]),
            Dimension::Account(id) => self.with(&[1]).with(&id.0.to_be_bytes()),
            Dimension::Nation(code) => self.with(&[2]).with(code.as_str().as_bytes()),
            Dimension::Sector(sector) => self.with(&[3, sector as u8]),
            // The zero ends the code, so that no code begins another.
            Dimension::Project(code) => self.with(&[4]).with(code.as_str().as_bytes()).with(&[0]),
        }
    }

    pub(crate) fn index(dimension: Dimension, number: u64) -> Self {
        Self::EMPTY.dimension(dimension).with(&number.to_be_bytes())
    }

    pub(crate) fn totals_of(period: Period, dimension: Dimension) -> Self {
        Self::EMPTY.with(&period.0.to_be_bytes()).dimension(dimension)
    }

    pub(crate) fn total(key: &TotalKey) -> Self {
        let sides = [key.from as u8, key.to as u8, key.asset.scale];
        Self::totals_of(key.period, key.dimension).with(&sides).with(key.asset.code.as_str().as_bytes())
    }

    /// What the keys of all nations begin with.
    pub(crate) fn nations() -> Self {
        Self::EMPTY.with(&[3])
    }

    /// What the keys of all projects begin with.
    pub(crate) fn projects() -> Self {
        Self::EMPTY.with(&[4])
    }

    pub(crate) fn offline(record: Offline) -> Self {
        match record {
            Offline::Allowance(device) => Self::EMPTY.with(&[1]).with(&device.0.to_be_bytes()),
            Offline::Intent(device, sequence) => {
                Self::EMPTY.with(&[2]).with(&device.0.to_be_bytes()).with_u64(sequence)
            }
            Offline::Other(device, sequence, digest) => {
                Self::EMPTY.with(&[3]).with(&device.0.to_be_bytes()).with_u64(sequence).with(&digest)
            }
            Offline::Entry(number) => Self::EMPTY.with(&[4]).with_u64(number),
            Offline::Unresolved(number) => Self::EMPTY.with(&[5]).with_u64(number),
            Offline::Entries => Self::EMPTY.with(&[6]),
        }
    }

    fn with_u64(self, number: u64) -> Self {
        self.with(&number.to_be_bytes())
    }

    pub(crate) fn covenant(record: Covenant) -> Self {
        match record {
            Covenant::Nations(hash) => Self::EMPTY.with(&[1]).with(&hash),
            Covenant::Year(year) => Self::EMPTY.with(&[2]).with(&year.0.to_be_bytes()),
            Covenant::Nation(code) => Self::nations().with(code.as_str().as_bytes()),
            Covenant::Project(code) => Self::projects().with(code.as_str().as_bytes()),
            Covenant::Entitlements => Self::EMPTY.with(&[5]),
        }
    }
}

/// Records of the table [`Table::Offline`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Offline {
    /// An allowance.
    Allowance(DeviceId),
    /// The first intent that came with a number.
    Intent(DeviceId, u64),
    /// Another intent that came with it.
    Other(DeviceId, u64, [u8; 16]),
    /// An entry of the inbox.
    Entry(u64),
    /// An entry that nobody has resolved.
    Unresolved(u64),
    /// How many entries the inbox ever had.
    Entries,
}

/// Records of the table [`Table::Covenant`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Covenant {
    /// The text of an adopted table.
    Nations([u8; 32]),
    /// The hash of the table that a year was assessed by.
    Year(Period),
    /// A nation of any adopted table.
    Nation(Alpha3),
    /// The sector of a project.
    Project(ProjectCode),
    /// What everybody was promised and paid.
    Entitlements,
}

/// Why the book could not go on.
#[derive(Debug, thiserror::Error)]
pub enum BookError<E: std::error::Error> {
    /// The store failed. Nothing of the command may be kept; open the book again over what was committed.
    #[error("the store of the book failed: {0}")]
    Store(#[source] E),
    /// Bytes of a log that are no command. Nothing was changed.
    #[error("an entry of the log is no command of the book: {0}")]
    NoCommand(#[source] CanonicalError),
    /// A record cannot be what the book wrote. Nothing was changed; restore the store from another copy.
    #[error("the store of the book is damaged: {table:?}: {what}")]
    Damaged {
        /// Where.
        table: Table,
        /// What is wrong.
        what: String,
    },
}
