//! What the book is asked, and its answers. Pure: any node that has the book answers alike.
//!
//! Both are JSON between nodes. A page fits into what a group answers with at most.

use std::collections::BTreeMap;

use covenant_book::{
    Account as Kept, AccountId, Asset, Balances as Held, Book, BookError, Dimension, Kind, PAGE_MAX, Period, Purpose,
    Store, Transfer,
};
use covenant_types::WallTime;
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::offline::{self, OfflineQuestion, OfflineSaid};
use crate::{Account, AccountBalance, CheckDone, ExportForm, StatementLine, journal, report, statement};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Question {
    /// What accounts hold, from an id on.
    Balances { from: AccountText },
    /// Add everything up again.
    Check,
    /// A part of the journal, from the number of a transfer on.
    Export {
        from: u64,
        #[serde(default)]
        form: ExportForm,
    },
    /// A part of a report.
    Year { year: u16, start: Option<report::Start> },
    /// Lines of the statement of an account, from the number of a transfer on.
    Statement { account: AccountText, from: u64 },
    /// How far the book is.
    Status,
    /// What a distribution gave to whom, by its transfers.
    Parts { first: u64, transfers: u32 },
    /// What devices do.
    Offline(OfflineQuestion),
}

/// An account id as text: JSON has no such numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct AccountText(pub(crate) AccountId);

impl From<AccountText> for String {
    fn from(id: AccountText) -> Self {
        id.0.to_string()
    }
}

impl TryFrom<String> for AccountText {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(|id| Self(AccountId(id)))
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Balances {
        accounts: Vec<AccountBalance>,
        next: Option<AccountText>,
    },
    Checked(CheckDone),
    Exported {
        text: String,
        next: Option<u64>,
    },
    Status(Progress),
    Parts(Parts),
    Year(report::Page),
    /// `None` where there is no such account.
    Statement {
        lines: Option<Vec<StatementLine>>,
        next: Option<u64>,
    },
    Offline(OfflineSaid),
    No(LedgerError),
}

/// How far the book is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// How many commands were applied.
    pub(crate) position: u64,
    /// How many transfers there are.
    pub(crate) transfers: u64,
    /// The latest time that a command carried.
    pub(crate) at: WallTime,
    /// The hash of the state, in hexadecimal. Nodes of before did not say it.
    #[serde(default)]
    pub(crate) state: String,
}

/// What a distribution came to, in cents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    pub(crate) communities: i128,
    pub(crate) nations: i128,
    pub(crate) reserve: i128,
}

/// Answers a question in the bytes that travel.
pub(crate) fn answer_bytes<S: Store>(book: &Book<S>, question: &[u8]) -> Result<Vec<u8>, String> {
    let question: Question =
        serde_json::from_slice(question).map_err(|error| format!("the ledger has no such question: {error}"))?;
    let said = answer(book, &question).unwrap_or_else(|error| Said::No(LedgerError::failed(error)));
    serde_json::to_vec(&said).map_err(|error| error.to_string())
}

fn answer<S: Store>(book: &Book<S>, question: &Question) -> Result<Said, BookError<S::Error>> {
    match question {
        Question::Balances { from } => balances(book, from.0),
        Question::Check => check(book),
        Question::Export { from, form } => {
            journal::page(book, *from, *form).map(|(text, next)| Said::Exported { text, next })
        }
        Question::Year { year, start } => report::page(book, Period(*year), start.as_ref()).map(Said::Year),
        Question::Statement { account, from } => statement::page(book, account.0, *from),
        Question::Status => {
            let (head, state) = (book.head(), hash_text(book));
            Ok(Said::Status(Progress { position: head.position, transfers: head.transfers, at: head.at, state }))
        }
        Question::Parts { first, transfers } => parts(book, *first, *transfers),
        Question::Offline(question) => Ok(offline::answer(book, question)?.map_or_else(Said::No, Said::Offline)),
    }
}

/// What an account holds, where it was ever booked on.
fn shown(account: &Kept) -> Option<AccountBalance> {
    let held = account.balances;
    (held != Held::default()).then(|| AccountBalance {
        account: Account::of(account.spec.id, account.spec.purpose).to_string(),
        balance: amount_text(held.posted(), account.spec.asset),
        pending: (held.debits_pending != 0 || held.credits_pending != 0)
            .then(|| amount_text(held.credits_pending.saturating_sub(held.debits_pending), account.spec.asset)),
        asset: (account.spec.asset != Asset::USD).then(|| account.spec.asset.code.to_string()),
    })
}

/// Minor units as people write them.
pub(crate) fn amount_text(minor: i128, asset: Asset) -> String {
    let scale = usize::from(asset.scale);
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let sign = if minor < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

fn balances<S: Store>(book: &Book<S>, from: AccountId) -> Result<Said, BookError<S::Error>> {
    let page = book.accounts(from, PAGE_MAX)?;
    let last = page.last().filter(|_| page.len() == PAGE_MAX).and_then(|account| account.spec.id.0.checked_add(1));
    Ok(Said::Balances {
        accounts: page.iter().filter_map(shown).collect(),
        next: last.map(|id| AccountText(AccountId(id))),
    })
}

/// Of each asset, in minor units.
type Sums = BTreeMap<Asset, i128>;

/// What all accounts of each asset sum to, which is nothing where the book balances, and how many accounts there are.
pub(crate) fn sums<S: Store>(book: &Book<S>) -> Result<(Sums, u64), BookError<S::Error>> {
    let (mut sums, mut count) = (Sums::new(), 0);
    let mut next = Some(AccountId(0));
    while let Some(from) = next {
        let page = book.accounts(from, PAGE_MAX)?;
        count += page.len() as u64;
        for account in &page {
            let sum = sums.entry(account.spec.asset).or_default();
            // Where it wraps it wraps back: the sum of all is what counts.
            *sum = sum.wrapping_add(account.balances.posted());
        }
        let last = page.last().filter(|_| page.len() == PAGE_MAX);
        next = last.and_then(|account| account.spec.id.0.checked_add(1)).map(AccountId);
    }
    Ok((sums, count))
}

fn check<S: Store>(book: &Book<S>) -> Result<Said, BookError<S::Error>> {
    let checked = book.check()?;
    let (sums, _) = sums(book)?;
    let mut problems = checked.problems;
    problems.extend(
        sums.iter()
            .filter(|(_, sum)| **sum != 0)
            .map(|(asset, sum)| format!("all accounts of {} sum to {}", asset.code, amount_text(*sum, *asset))),
    );
    let sum = sums.get(&Asset::USD).copied().unwrap_or(0);
    Ok(Said::Checked(CheckDone {
        ok: problems.is_empty(),
        entries: checked.transfers,
        sum: amount_text(sum, Asset::USD),
        state: hash_text(book),
        problems,
    }))
}

fn hash_text<S: Store>(book: &Book<S>) -> String {
    blake3::Hash::from_bytes(book.state_hash()).to_hex().to_string()
}

/// Distributions have this many transfers at most: two parts and the nations.
const PARTS_MAX: u32 = 1024;

fn parts<S: Store>(book: &Book<S>, first: u64, transfers: u32) -> Result<Said, BookError<S::Error>> {
    let mut parts = Parts::default();
    let end = first.saturating_add(transfers.min(PARTS_MAX).into());
    let mut from = first;
    while from < end {
        let most = usize::try_from(end - from).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let page = book.transfers(Dimension::All, from, most)?;
        if page.is_empty() {
            break;
        }
        for transfer in &page {
            let purpose = book.account(transfer.movement.credit)?.map(|account| account.spec.purpose);
            let part = match purpose {
                Some(Purpose::Communities) => &mut parts.communities,
                Some(Purpose::Reserve) => &mut parts.reserve,
                Some(Purpose::Nation(_)) => &mut parts.nations,
                Some(
                    Purpose::Other | Purpose::Treasury | Purpose::Pool | Purpose::Project(_) | Purpose::Allowance(_),
                )
                | None => continue,
            };
            *part = part.saturating_add(transfer.movement.amount);
        }
        from += page.len() as u64;
    }
    Ok(Said::Parts(parts))
}

/// Whether a transfer is one that moved money when it was booked.
pub(crate) fn moved(transfer: &Transfer) -> bool {
    !matches!(transfer.kind, Kind::Pending { .. }) && transfer.kind.moves()
}
