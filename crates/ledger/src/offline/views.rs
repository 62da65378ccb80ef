//! What is shown of allowances, the inbox, and a tower's outbox.

use covenant_types::{TransferId, WallTime};
use serde::{Deserialize, Serialize};

use crate::AsOf;

/// Allowances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceList {
    /// By device.
    pub allowances: Vec<AllowanceView>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How fresh it is.
    #[serde(default)]
    pub as_of: AsOf,
}

/// One allowance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceView {
    /// Its device.
    pub device: String,
    /// The device's public key, in hexadecimal.
    pub key: String,
    /// The account that holds what is left.
    pub account: String,
    /// The account that filled it, and that gets back what is left at its end.
    pub home: String,
    /// What is left.
    pub left: String,
    /// `open`, `quarantined`, `closed` or `written-off`.
    pub state: String,
    /// Why it is not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// The number of the intent that is applied next.
    pub next: u64,
    /// How many intents wait for that one.
    pub waiting: u32,
    /// How many of its intents wait for a person.
    pub in_inbox: u32,
}

/// What opening an allowance did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceOpened {
    /// The device.
    pub device: String,
    /// The number of the transfer that filled it.
    pub number: u64,
    /// False where it was opened before.
    pub booked: bool,
}

/// What a write-off did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenOff {
    /// What was left and went back.
    pub returned: String,
    /// False where it was written off before.
    pub booked: bool,
}

/// What waits for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    /// In the order in which they came.
    pub entries: Vec<InboxView>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// How fresh it is.
    #[serde(default)]
    pub as_of: AsOf,
}

/// An intent that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxView {
    /// The number of the entry.
    pub entry: u64,
    /// The device that signed it.
    pub device: String,
    /// Its number.
    pub sequence: u64,
    /// Its id; `None` where it would close the allowance. So for the next two.
    pub id: Option<TransferId>,
    /// Whom it pays.
    pub to: Option<String>,
    /// How much.
    pub amount: Option<String>,
    /// The period it was signed for.
    pub period: u16,
    /// Why it is here.
    pub why: String,
    /// Since when.
    pub since: WallTime,
}

/// What a decision came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The number of the transfer that it became; `None` where it was rejected.
    pub number: Option<u64>,
    /// Whether it was decided alike before.
    pub again: bool,
}

/// A payment that a tower is to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentWanted {
    /// The client's id; signing it twice signs it once.
    pub id: TransferId,
    /// The account that receives.
    pub to: String,
    /// Dollars and cents.
    pub amount: String,
    /// The nation that a payment into a project concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nation: Option<String>,
}

/// What a tower signed and has not heard the end of, and the last of what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxView {
    /// The device of this tower.
    pub device: String,
    /// Its public key in hexadecimal, which an operator opens an allowance for.
    pub key: String,
    /// The state of its allowance when the tower last heard of it; `None` where it never did.
    pub allowance: Option<String>,
    /// What was left then, less what was signed and not heard of since.
    pub available: Option<String>,
    /// When that was.
    pub heard: Option<WallTime>,
    /// By number.
    pub intents: Vec<IntentView>,
    /// Why the last try to deliver something failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// An intent on a tower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentView {
    /// Its number.
    pub sequence: u64,
    /// Its id; `None` where it closes the allowance. So for the next two.
    pub id: Option<TransferId>,
    /// Whom it pays.
    pub to: Option<String>,
    /// How much.
    pub amount: Option<String>,
    /// `accepted` (for delivery; not booked), `waiting`, `applied`, `rejected` or `inbox`.
    pub state: String,
    /// The number of the transfer or of the entry in the inbox, or why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// When it was signed.
    pub at: WallTime,
}
