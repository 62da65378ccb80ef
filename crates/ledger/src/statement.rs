//! What happened on an account, line by line.

use covenant_book::{AccountId, Book, BookError, Kind, Line, Store};

use crate::question::{Said, amount_text};
use crate::{Account, StatementLine};

/// The most lines of a page: an answer of a group holds them.
const LINES_MAX: usize = 250;

/// The lines from the transfer number `from` on, and where the next page begins; no lines where there is no such account.
pub(crate) fn page<S: Store>(book: &Book<S>, account: AccountId, from: u64) -> Result<Said, BookError<S::Error>> {
    let Some(kept) = book.account(account)? else { return Ok(Said::Statement { lines: None, next: None }) };
    let asset = kept.spec.asset;
    let lines = book.statement(account, from, LINES_MAX)?;
    let next = lines.last().filter(|_| lines.len() == LINES_MAX).and_then(|line| line.transfer.number.checked_add(1));
    let mut shown = Vec::with_capacity(lines.len());
    for Line { transfer, after } in lines {
        let movement = transfer.movement;
        let gives = movement.debit == account;
        let other = if gives { movement.credit } else { movement.debit };
        let purpose = book.account(other)?.map(|other| other.spec.purpose);
        let other = purpose.map_or(Account::Opened(other), |purpose| Account::of(other, purpose));
        let amount = if gives { movement.amount.saturating_neg() } else { movement.amount };
        shown.push(StatementLine {
            number: transfer.number,
            at: transfer.at.0,
            id: transfer.id.to_string(),
            kind: kind(transfer.kind).to_owned(),
            other: other.to_string(),
            amount: amount_text(amount, asset),
            balance: amount_text(after.posted(), asset),
            period: transfer.period.0,
            nation: movement.tags.nation.map(|nation| nation.to_string()),
            sector: movement.tags.sector.map(|sector| sector.to_string()),
            project: movement.tags.project.map(|project| project.to_string()),
        });
    }
    Ok(Said::Statement { lines: Some(shown), next })
}

/// What a transfer is, in a word.
pub(crate) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Posted => "posted",
        Kind::Pending { .. } => "pending",
        Kind::PendingPosted { .. } => "pending-posted",
        Kind::PendingVoided { .. } => "pending-voided",
        Kind::PendingExpired { .. } => "pending-expired",
        Kind::Correction { .. } => "correction",
    }
}
