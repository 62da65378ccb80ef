//! What the ledger answers: the forms that the control API and the command line show.
//!
//! Amounts are texts such as `10953934201.60`, because JSON numbers end at 53 bits.

use covenant_types::NodeName;
use serde::{Deserialize, Serialize};

/// How fresh what was read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// True where everything that was answered to anybody before the question is in it. False where the node that answered showed
    /// what it had.
    pub linearizable: bool,
    /// The entry of the group's log up to which it is.
    pub position: u64,
    /// Where it is not linearizable: how many milliseconds ago the node that answered last knew that it was up to date.
    pub age_ms: u64,
}

/// What an assessment did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssessmentDone {
    /// The year owed for.
    pub year: u16,
    /// How many nations owe.
    pub payers: usize,
    /// The names of the nations whose GDP nobody knows. They owe nothing.
    pub unknown: Vec<String>,
    /// What all owe together.
    pub pool: String,
    /// How many of the debts were booked now, and not before.
    pub booked: usize,
    /// The BLAKE3 of the table of nations, in hexadecimal.
    pub table: String,
}

/// What a distribution did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistributionDone {
    /// What was distributed.
    pub sum: String,
    /// The part of the communities.
    pub communities: String,
    /// The part of all nations.
    pub nations: String,
    /// The part of the reserve.
    pub reserve: String,
    /// False where this id had been booked before; the parts are those of that time.
    pub booked: bool,
    /// Nations to which a whole cent or more stays due, because the distribution was too small to pay everybody exactly.
    #[serde(default)]
    pub carried: Vec<String>,
}

/// What a transfer did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferDone {
    /// False where this id had been booked before.
    pub booked: bool,
    /// The number of the transfer in the book.
    #[serde(default)]
    pub number: u64,
}

/// Which periods are closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedDone {
    /// The last closed year. Nothing is posted in it or before it any more.
    pub through: u16,
}

/// What every account has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balances {
    /// The accounts that were ever booked on.
    pub accounts: Vec<AccountBalance>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How fresh it is.
    #[serde(default)]
    pub as_of: AsOf,
}

/// What one account has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountBalance {
    /// Its name.
    pub account: String,
    /// What it has; below zero what it owes.
    pub balance: String,
    /// What is set aside and neither posted nor voided, credits less debits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// What it is counted in, where it is not USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
}

/// What adding up the whole book again found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDone {
    /// Whether the book holds.
    pub ok: bool,
    /// How many transfers it has.
    pub entries: u64,
    /// The sum over all accounts in USD: `0.00`.
    pub sum: String,
    /// The hash of the state, in hexadecimal: equal on two nodes at one position where their books are.
    #[serde(default)]
    pub state: String,
    /// What does not hold, at most [`PROBLEMS_MAX`](crate::PROBLEMS_MAX).
    pub problems: Vec<String>,
}

/// What an export is written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportForm {
    /// A journal that `hledger check` accepts: what moved.
    #[default]
    Hledger,
    /// A table with a line for each transfer, also those that set aside and release: RFC 4180, with a header.
    Csv,
}

/// What happened on an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The account.
    pub account: String,
    /// Lines in the order of the book.
    pub lines: Vec<StatementLine>,
    /// Where the next page begins, if there is one: the number of a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// How fresh it is.
    #[serde(default)]
    pub as_of: AsOf,
}

/// A line of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// The number of the transfer.
    pub number: u64,
    /// When, in seconds since 1970 in UTC.
    pub at: u64,
    /// The transfer's id, in hexadecimal.
    pub id: String,
    /// What it is: posted, pending, pending posted, voided, expired, or a correction.
    pub kind: String,
    /// The account on the other side.
    pub other: String,
    /// What the account gained; below zero what it gave. Of what was only set aside or released, what that was.
    pub amount: String,
    /// What it held afterwards, without what is set aside.
    pub balance: String,
    /// The period it is booked in.
    pub period: u16,
    /// The nation, sector and project it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nation: Option<String>,
    /// The sector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector: Option<String>,
    /// The project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// A piece of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPage {
    /// Whole entries, at most [`EXPORT_PAGE_BYTES_MAX`](crate::EXPORT_PAGE_BYTES_MAX).
    pub text: String,
    /// Where the next piece begins, if there is one.
    pub next: Option<u64>,
}

/// The book at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// The node that leads the group, as far as this one knows.
    pub leader: Option<NodeName>,
    /// The nodes that keep the book and vote, as far as this one knows.
    pub voters: Vec<NodeName>,
    /// How many commands were applied to it.
    pub position: u64,
    /// How many transfers it has.
    pub entries: u64,
    /// The hash of the state, in hexadecimal: equal on two nodes at one position where their books are.
    #[serde(default)]
    pub state: String,
    /// How fresh it is.
    pub as_of: AsOf,
}

/// The keys that public logs of the ledger are verified with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerKeys {
    /// How many witnesses a checkpoint has at least.
    pub quorum: usize,
    /// Of each voter, as far as this node knows who votes.
    pub voters: Vec<VoterKeys>,
}

/// The keys of a voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterKeys {
    /// The voter.
    pub node: NodeName,
    /// Of its log; `None` where it cannot be asked, or has no log yet.
    pub log: Option<String>,
    /// Of it as a witness; `None` like the other.
    pub witness: Option<String>,
}

/// Who keeps the book and votes, after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotersDone {
    /// Their names.
    pub voters: Vec<String>,
    /// What is to be said of so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}
