//! What the book is told to do, as it stands in the log, and what it answers. Both have canonical bytes.

use covenant_types::{TransferId, WallTime};

use crate::offline::{AllowanceOrder, Decision, DeviceId, IntentState, SignedIntent};
use crate::{AccountId, Alpha3, Amount, Asset, Limit, NewTransfer, Period, Refusal};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The time as whoever wrote the entry saw it. The book never goes back: an earlier time counts as the latest so far.
    pub at: WallTime,
    /// What is to happen.
    pub order: Order,
}

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Opens accounts, each for itself.
    Open(Vec<AccountOrder>),
    /// Books transfers in order.
    Transfer {
        /// The transfers, at most [`BATCH_MAX`](crate::BATCH_MAX).
        transfers: Vec<NewTransfer>,
        /// Whether all are booked or none; otherwise each chain of linked ones for itself.
        whole: bool,
    },
    /// Ends pending transfers whose time is over, the longest first, at most this many and [`BATCH_MAX`](crate::BATCH_MAX).
    Expire {
        /// How many.
        most: u32,
    },
    /// Closes the books up to the end of a period, for ever.
    Close {
        /// The last period to close.
        through: Period,
    },
    /// Takes a table of nations into the book and opens the covenant's accounts for it.
    AdoptNations {
        /// The table, as [`Nations`](crate::Nations) reads it.
        text: String,
    },
    /// Takes a list of projects into the book and opens an account for each.
    AdoptProjects {
        /// The list, as [`Projects`](crate::Projects) reads it.
        text: String,
    },
    /// Books what each nation owes for a year.
    Assess {
        /// The year owed for, which is the period of the bookings.
        year: Period,
        /// BLAKE3 of the table of nations that it follows from.
        table: [u8; 32],
    },
    /// Shares a profit.
    Distribute {
        /// Made by the client.
        id: TransferId,
        /// How much.
        amount: Amount,
        /// The period it is booked in.
        period: Period,
        /// BLAKE3 of the table of nations that it follows from.
        table: [u8; 32],
    },
    /// Opens an allowance for a device, and fills it.
    OpenAllowance(AllowanceOrder),
    /// What devices signed, in order, at most [`INTENTS_MAX`](crate::INTENTS_MAX).
    Intents(Vec<SignedIntent>),
    /// Ends an allowance whose device does not come back: what is left goes back, and what still comes needs a person.
    WriteOff {
        /// The device.
        device: DeviceId,
        /// Why, in at most [`REASON_BYTES_MAX`](crate::REASON_BYTES_MAX) bytes.
        reason: String,
        /// The period in which what is left is booked back.
        period: Period,
    },
    /// A person decides on an intent in the inbox.
    Resolve {
        /// The number of the entry.
        entry: u64,
        /// What was decided.
        decision: Decision,
        /// Why, in at most [`REASON_BYTES_MAX`](crate::REASON_BYTES_MAX) bytes.
        reason: String,
        /// The period in which it is booked, whatever the intent says: that one may be closed.
        period: Period,
    },
}

/// An account that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountOrder {
    /// Made by the client, not zero.
    pub id: AccountId,
    /// What it is counted in.
    pub asset: Asset,
    /// What it may never come to.
    pub limit: Limit,
}

/// What became of one transfer or account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the transfer or the position at which the account was opened, or why there is none.
    pub result: Result<u64, Refusal>,
    /// Whether this is what was answered before, when the same was asked for the first time.
    pub again: bool,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Order::Open`] and [`Order::Transfer`]: one answer each, in order.
    Answers(Vec<Answer>),
    /// So many pending transfers were ended.
    Expired {
        /// How many.
        ended: u32,
        /// Whether there are more whose time is over.
        more: bool,
    },
    /// The books are closed.
    Closed,
    /// A table or list is in the book.
    Adopted {
        /// Its BLAKE3, which later commands name it by.
        hash: [u8; 32],
        /// How many accounts were opened for it.
        opened: u32,
    },
    /// A year is assessed.
    Assessed {
        /// How many nations owe by this command.
        booked: u32,
        /// What all nations of the table owe for the year.
        pool: Amount,
        /// Nations without a known GDP: they owe nothing, and nothing is guessed.
        unknown: Vec<Alpha3>,
        /// Whether it was assessed before, by the same table.
        again: bool,
    },
    /// A profit is shared.
    Distributed {
        /// The number of the first of its transfers.
        first: u64,
        /// How many there are.
        transfers: u32,
        /// Nations to which a whole cent or more stays due, with how much in parts of [`GRID`](crate::GRID): the
        /// distribution was too small to pay everybody exactly.
        carried: Vec<(Alpha3, i128)>,
        /// Nations without a known GDP: they have no share.
        unknown: Vec<Alpha3>,
        /// Whether it was shared before.
        again: bool,
    },
    /// Nothing of the command happened.
    Refused(Refusal),
    /// An allowance is open and filled.
    AllowanceOpened {
        /// Its account.
        account: AccountId,
        /// The number of the transfer that filled it.
        transfer: u64,
        /// Whether it was opened before, by the same order.
        again: bool,
    },
    /// Of [`Order::Intents`]: one answer each, in order. An error was not kept: the intent may come again.
    Intents(Vec<Result<IntentState, Refusal>>),
    /// An allowance is given up.
    WrittenOff {
        /// What was left and went back, in minor units.
        returned: i128,
        /// Whether it was given up before.
        again: bool,
    },
    /// An entry of the inbox is resolved.
    Resolved {
        /// What became of the intent.
        state: IntentState,
        /// Whether it was decided alike before.
        again: bool,
    },
}
