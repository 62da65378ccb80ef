//! Money that moves: what is asked for, and what stands in the book of it.

use covenant_types::{TransferId, WallTime};

use crate::account::is_reserved;
use crate::{AccountId, Alpha3, Balances, ProjectCode, Sector};

/// A calendar year that a transfer is booked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub u16);

/// What a transfer is for, so that it can be found by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags {
    /// The nation it concerns.
    pub nation: Option<Alpha3>,
    /// The sector it goes into.
    pub sector: Option<Sector>,
    /// The project it goes into.
    pub project: Option<ProjectCode>,
}

/// From where to where, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The account that gives.
    pub debit: AccountId,
    /// The account that receives.
    pub credit: AccountId,
    /// How much, in minor units of the asset of both.
    pub amount: i128,
    /// What for.
    pub tags: Tags,
}

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Money moves.
    Post(Movement),
    /// Money is set aside until it is posted, voided or expires.
    Pend {
        /// What is set aside.
        movement: Movement,
        /// How long it stays so, in seconds of the time that commands carry; `None` for ever.
        expires_after: Option<u32>,
    },
    /// What was set aside moves, all of it or a part; the rest is free again.
    PostPending {
        /// The transfer that set it aside.
        pending: TransferId,
        /// How much; `None` for all.
        amount: Option<i128>,
    },
    /// What was set aside is free again.
    VoidPending {
        /// The transfer that set it aside.
        pending: TransferId,
    },
    /// Money that was posted moves back, all of it or a part; all corrections of one transfer together never exceed it.
    Correct {
        /// The transfer that was wrong.
        of: TransferId,
        /// How much; `None` for all that is left to correct.
        amount: Option<i128>,
    },
}

/// A transfer that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTransfer {
    /// Made by the client, not zero; it gets one answer for ever.
    pub id: TransferId,
    /// What is to happen.
    pub action: Action,
    /// The period it is booked in.
    pub period: Period,
    /// Whether the next transfer of the batch hangs on this one: both happen or neither.
    pub linked: bool,
}

/// What a transfer of the book is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Money moved.
    Posted,
    /// Money was set aside.
    Pending {
        /// From when on it can no longer be posted.
        expires: Option<WallTime>,
    },
    /// What was set aside moved.
    PendingPosted {
        /// The number of the transfer that set it aside.
        pending: u64,
    },
    /// What was set aside became free by request.
    PendingVoided {
        /// The number of the transfer that set it aside.
        pending: u64,
    },
    /// What was set aside became free because its time was over.
    PendingExpired {
        /// The number of the transfer that set it aside.
        pending: u64,
    },
    /// Money moved back.
    Correction {
        /// The number of the transfer that was wrong.
        of: u64,
    },
}

impl Kind {
    /// Whether money moved, and was not only set aside or released.
    pub fn moves(self) -> bool {
        match self {
            Self::Posted | Self::PendingPosted { .. } | Self::Correction { .. } => true,
            Self::Pending { .. } | Self::PendingVoided { .. } | Self::PendingExpired { .. } => false,
        }
    }
}

/// A transfer that stands in the book. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its number: the first is 0.
    pub number: u64,
    /// The position of the command that booked it.
    pub position: u64,
    /// When, as the command says; never earlier than the transfer before.
    pub at: WallTime,
    /// Its id.
    pub id: TransferId,
    /// What it is.
    pub kind: Kind,
    /// From where to where, how much, and what for.
    pub movement: Movement,
    /// The period it is booked in.
    pub period: Period,
    /// What was asked for, where that says less than the movement: how much of a pending transfer or a correction.
    pub asked: Option<i128>,
    /// What the debit account held after it.
    pub debit_after: Balances,
    /// What the credit account held after it.
    pub credit_after: Balances,
}

impl Transfer {
    /// Whether the book made its id itself, for an assessment, a distribution or an expiry. No client can have such an id.
    pub fn is_made_by_book(&self) -> bool {
        is_reserved(self.id.0)
    }
}

/// What became of a transfer since it was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It set money aside, and another transfer, whose number this is, ended that.
    Resolved(u64),
    /// So much of it was corrected.
    Corrected(i128),
}
