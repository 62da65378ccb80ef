//! Why something was not booked. A refusal is an answer, and is kept like one.

use covenant_types::{TransferId, WallTime};

use crate::{AccountId, Alpha3, Asset, DeviceId, Period, ProjectCode, Sector};

/// Where two uses of one id differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub field: String,
    /// What stands in the book.
    pub recorded: String,
    /// What was asked for now.
    pub asked: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {} in the book and {} in this request", self.field, self.recorded, self.asked)
    }
}

/// Why something was not booked. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Ids are made by chance, and chance does not make zero.
    #[error("an id of zero names nothing: make one of 128 random bits")]
    IdZero,
    /// The id had another content before. What stands in the book stays.
    #[error("this id was used before for something else: {0}; use a new id")]
    IdUsed(Difference),
    /// Nothing would move.
    #[error("an amount is above zero")]
    AmountZero,
    /// Money does not move backwards: turn debit and credit round.
    #[error("an amount is above zero, and this is {0}: turn debit and credit round")]
    AmountNegative(i128),
    /// More than can be counted.
    #[error("{account} would hold more than can be counted")]
    Overflow {
        /// The account.
        account: AccountId,
    },
    /// More than can be added up in a report.
    #[error("what is added up over {0} would be more than can be counted")]
    TotalOverflow(String),
    /// An account cannot pay itself.
    #[error("debit and credit are both {0}")]
    SameAccount(AccountId),
    /// There is no such account.
    #[error("there is no account {0}: open it first")]
    UnknownAccount(AccountId),
    /// The accounts count different things.
    #[error("{debit} cannot move into an account of {credit}")]
    AssetsDiffer {
        /// What the debit account is counted in.
        debit: Asset,
        /// What the credit account is counted in.
        credit: Asset,
    },
    /// The books of the period are closed.
    #[error("the books are closed up to {through}, and this is for {asked}: book it in a later period", through = .through.0, asked = .asked.0)]
    PeriodClosed {
        /// The last closed period.
        through: Period,
        /// The one asked for.
        asked: Period,
    },
    /// A year that no book has.
    #[error("a period is a year from 1900 to 2200, and this is {0}")]
    BadPeriod(u16),
    /// The account has not got so much.
    #[error("{account} holds {by} too little: move less, or fill it first")]
    Short {
        /// The account.
        account: AccountId,
        /// What is missing, in minor units.
        by: i128,
    },
    /// The account would take back more than it gave.
    #[error("{account} would receive {by} more than it ever gave")]
    Over {
        /// The account.
        account: AccountId,
        /// What is too much, in minor units.
        by: i128,
    },
    /// No transfer has this id.
    #[error("there is no transfer {0}")]
    UnknownTransfer(TransferId),
    /// The transfer set nothing aside.
    #[error("the transfer {0} set nothing aside")]
    NotPending(TransferId),
    /// What was set aside was posted, voided or expired before.
    #[error("the transfer {pending} was ended by {by} already")]
    AlreadyResolved {
        /// The transfer that set money aside.
        pending: TransferId,
        /// The one that ended it.
        by: TransferId,
    },
    /// The time to post it is over.
    #[error("the transfer {pending} expired at {at}", at = .at.0)]
    Expired {
        /// The transfer that set money aside.
        pending: TransferId,
        /// Since when.
        at: WallTime,
    },
    /// More than there is to post or correct.
    #[error("{asked} is more than the {left} that are left of {of}")]
    MoreThanLeft {
        /// The earlier transfer.
        of: TransferId,
        /// What is left of it, in minor units.
        left: i128,
        /// What was asked for, in minor units.
        asked: i128,
    },
    /// Only money that moved can move back.
    #[error("the transfer {0} moved nothing, so there is nothing to correct")]
    NotCorrectable(TransferId),
    /// Another transfer of the same chain was refused.
    #[error("it hangs together with {culprit}, which was refused")]
    ChainBroken {
        /// The transfer that was refused.
        culprit: TransferId,
    },
    /// The chain has no end.
    #[error("it is linked to a next transfer, and it is the last")]
    ChainOpen,
    /// A payment that touches a project does not say which, for which sector and nation.
    #[error("a payment that touches the project {0} names sector, project and nation")]
    TagsMissing(ProjectCode),
    /// The payment names another project than the account is of.
    #[error("the account is of the project {is}, and the payment names {asked}")]
    WrongProject {
        /// The project of the account.
        is: ProjectCode,
        /// The one named.
        asked: ProjectCode,
    },
    /// The project is in another sector.
    #[error("the project {project} is in the sector {is}, and the payment names {asked}")]
    WrongSector {
        /// The project.
        project: ProjectCode,
        /// Its sector.
        is: Sector,
        /// The one named.
        asked: Sector,
    },
    /// No table in the book has this nation.
    #[error("no table of the book has the nation {0}")]
    UnknownNation(Alpha3),
    /// No list in the book has this project.
    #[error("no list of the book has the project {0}")]
    UnknownProject(ProjectCode),
    /// The book makes such ids itself.
    #[error("ids that begin with ffffffff are made by the book: make another one")]
    IdReserved,
    /// The asset's scale is too fine.
    #[error("an asset has at most 18 decimal places, and this one {0}")]
    BadScale(u8),
    /// The table of nations or list of projects is wrong.
    #[error("{0}")]
    BadTable(String),
    /// The book has no table with this hash.
    #[error("the book has no table with the hash {}: adopt it first", blake3::Hash::from_bytes(*.0).to_hex())]
    UnknownTable([u8; 32]),
    /// A year is owed for once, by one table.
    #[error("{} was assessed by the table {} already", .year.0, blake3::Hash::from_bytes(*.by).to_hex())]
    Assessed {
        /// The year.
        year: Period,
        /// The hash of its table.
        by: [u8; 32],
    },
    /// Not an amount that can be shared.
    #[error("a distribution shares 0.01 to {max} dollars, and what was shared so far must stay countable", max = crate::Amount::MAX)]
    BadDistribution,
    /// The books are closed that far already.
    #[error("the books are closed up to {} already", .0.0)]
    ClosedAlready(Period),
    /// The project is in the book with another sector.
    #[error("the project {project} stands in the book in the sector {is}, and the list says {asked}")]
    ProjectMoved {
        /// The project.
        project: ProjectCode,
        /// The sector it has in the book.
        is: Sector,
        /// The sector of the list.
        asked: Sector,
    },
    /// A batch is too long.
    #[error("a batch has at most {max} entries, and this one {0}", max = crate::BATCH_MAX)]
    BatchTooLong(u64),
    /// Not the public key of a device.
    #[error("a device is an Ed25519 public key of 32 bytes, and this is none that can sign")]
    BadDevice,
    /// There is no allowance for this device.
    #[error("no allowance was opened for the device {0}")]
    UnknownDevice(DeviceId),
    /// Somebody else signed it, or it was changed since.
    #[error("the device {0} did not sign this")]
    BadSignature(DeviceId),
    /// A number that no intent has.
    #[error("a device numbers its intents from 1 on")]
    BadSequence,
    /// Too many intents before it are missing.
    #[error("the intent {next} comes next, and {asked} is too far ahead: send those before it first")]
    TooFarAhead {
        /// The number of the intent that is applied next.
        next: u64,
        /// The one that came.
        asked: u64,
    },
    /// Too many of the device's intents wait for a person.
    #[error("{max} intents of the device {0} wait in the inbox: resolve some, then send it again", max = crate::INBOX_MAX)]
    InboxFull(DeviceId),
    /// What is in an allowance is spent by its device alone.
    #[error(
        "{0} is an allowance: transfers that are posted at once fill it, and only what its device signs spends from it"
    )]
    AllowanceOnly(AccountId),
    /// The allowance has ended, or its device is quarantined.
    #[error("the allowance of the device {0} is not open")]
    AllowanceEnded(DeviceId),
    /// Nothing that could be read as a reason later.
    #[error("a reason has 1 to {max} bytes of text", max = crate::REASON_BYTES_MAX)]
    BadReason,
    /// The inbox has no such entry.
    #[error("the inbox has no entry {0}")]
    UnknownEntry(u64),
    /// Somebody decided before, and otherwise.
    #[error("the entry {0} of the inbox was decided otherwise before")]
    ResolvedAlready(u64),
    /// Closing an allowance is no payment.
    #[error(
        "the entry {0} of the inbox would close an allowance, which books nothing: reject it, and write the allowance off"
    )]
    NothingToBook(u64),
    /// A person rejected it.
    #[error("it was rejected: {0}")]
    RejectedByPerson(String),
    /// Too many intents at once.
    #[error("at most {max} intents come at once, and these are {0}", max = crate::INTENTS_MAX)]
    IntentsTooMany(u64),
}
