//! Where money stands: accounts, what holds for each, and what they hold.

use std::fmt;

use covenant_types::canonical::Writer;

use crate::{Alpha3, Asset, DeviceId, ProjectCode};

/// What names an account: 128 bits that its owner made, or the book for accounts of the covenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u128);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What an account may never come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Nothing is forbidden: a nation owes, and the treasury stands for the world outside.
    None,
    /// Debits, pending ones too, never exceed posted credits: the account never spends what it has not got.
    DebitsWithinCredits,
    /// Credits, pending ones too, never exceed posted debits: the account never takes back more than it gave.
    CreditsWithinDebits,
}

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Whatever its owner says. Only such accounts are opened by request.
    Other,
    /// The world outside, which profits and payments come from.
    Treasury,
    /// What all nations were assessed.
    Pool,
    /// What communities have to spend.
    Communities,
    /// For maintenance.
    Reserve,
    /// What a nation was paid, less what it owes.
    Nation(Alpha3),
    /// What a project received, less what it spent.
    Project(ProjectCode),
    /// What a device may spend while nobody hears it.
    Allowance(DeviceId),
}

impl Purpose {
    /// The id of the covenant's one account for this purpose; the same in every book. `None` for [`Purpose::Other`].
    pub fn account(self) -> Option<AccountId> {
        if self == Self::Other {
            return None;
        }
        let mut writer = Writer::new("covenant/account-id/1");
        writer.text(&self.to_string());
        Some(AccountId(made_id(&writer.finish())))
    }

    /// What the covenant's account for this purpose may never come to: communities, the pool, projects and allowances spend
    /// what they have; nations owe, and the reserve may advance money that later distributions bring back.
    pub fn limit(self) -> Limit {
        match self {
            Self::Pool | Self::Communities | Self::Project(_) | Self::Allowance(_) => Limit::DebitsWithinCredits,
            Self::Other | Self::Treasury | Self::Reserve | Self::Nation(_) => Limit::None,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.write_str("other"),
            Self::Treasury => f.write_str("treasury"),
            Self::Pool => f.write_str("pool"),
            Self::Communities => f.write_str("communities"),
            Self::Reserve => f.write_str("reserve"),
            Self::Nation(code) => write!(f, "nation:{code}"),
            Self::Project(code) => write!(f, "project:{code}"),
            Self::Allowance(device) => write!(f, "allowance:{device}"),
        }
    }
}

/// Ids that begin with these bits are made by the book, from what they name. No client may make one, so that nobody can
/// stand in the way of what the book will name one day.
const MADE_BY_THE_BOOK: u128 = 0xffff_ffff << 96;

/// The id that follows from what it names, in the part of all ids that only the book makes.
pub(crate) fn made_id(named: &[u8]) -> u128 {
    let hash = blake3::hash(named);
    let half: [u8; 16] = hash.as_bytes()[..16].try_into().expect("16 of 32 bytes");
    u128::from_be_bytes(half) | MADE_BY_THE_BOOK
}

/// Whether only the book may make this id.
pub(crate) fn is_reserved(id: u128) -> bool {
    id >= MADE_BY_THE_BOOK
}

/// An account that is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// Its id, not zero.
    pub id: AccountId,
    /// What it is counted in.
    pub asset: Asset,
    /// What it may never come to.
    pub limit: Limit,
    /// What it is for.
    pub purpose: Purpose,
}

/// What an account took and gave, in minor units. None is ever negative, and no sum of two leaves `i128`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// Set aside to leave.
    pub debits_pending: i128,
    /// Gone.
    pub debits_posted: i128,
    /// Announced to come.
    pub credits_pending: i128,
    /// Come.
    pub credits_posted: i128,
}

impl Balances {
    /// What is there: posted credits less posted debits.
    pub fn posted(&self) -> i128 {
        self.credits_posted - self.debits_posted
    }

    /// What is there and not set aside: [`posted`](Self::posted) less pending debits.
    pub fn available(&self) -> i128 {
        self.posted().saturating_sub(self.debits_pending)
    }
}

/// An account and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// As it was opened.
    pub spec: NewAccount,
    /// The position of the command that opened it.
    pub opened: u64,
    /// What it holds.
    pub balances: Balances,
}
