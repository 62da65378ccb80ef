//! What the ledger answers: the forms that the control API and the command line show.
//!
//! Amounts are texts such as `10953934201.60`, because JSON numbers end at 53 bits.

use covenant_runtime::Schema;
use covenant_types::NodeName;
use serde::{Deserialize, Serialize};

/// What an assessment did.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
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
}

/// What a transfer did.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct TransferDone {
    /// False where this id had been booked before.
    pub booked: bool,
}

/// What every account has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct Balances {
    /// The accounts that were ever booked on.
    pub accounts: Vec<AccountBalance>,
}

/// What one account has.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct AccountBalance {
    /// Its name.
    pub account: String,
    /// What it has; below zero what it owes.
    pub balance: String,
}

/// What adding up the whole book again found.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct CheckDone {
    /// Whether the book holds.
    pub ok: bool,
    /// How many entries it has.
    pub entries: u64,
    /// The sum over all accounts: `0.00`.
    pub sum: String,
    /// What does not hold, at most [`PROBLEMS_MAX`](crate::PROBLEMS_MAX).
    pub problems: Vec<String>,
}

/// A piece of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct ExportPage {
    /// Whole entries, at most [`EXPORT_PAGE_BYTES_MAX`](crate::EXPORT_PAGE_BYTES_MAX).
    pub text: String,
    /// Where the next piece begins, if there is one.
    pub next: Option<u64>,
}

/// The book at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// The node that has it.
    pub home: NodeName,
    /// How many entries it has.
    pub entries: u64,
    /// The sum over all accounts: `0.00`.
    pub sum: String,
}
