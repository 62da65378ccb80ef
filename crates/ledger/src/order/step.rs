//! Transfers that are more than one movement: money set aside and what becomes of it, and what was wrong put right.

use covenant_book::{Action, NewTransfer, Order, Period, Projects};
use covenant_types::TransferId;
use serde::{Deserialize, Serialize};

use super::{Wanted, movement, positive};
use crate::{LedgerError, Nations};

/// The longest that money stays set aside before it is free by itself: a year, in seconds.
pub const EXPIRES_AFTER_MAX: u32 = 366 * 24 * 60 * 60;

/// What is to happen beside plain movements. Amounts are dollars and cents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Step {
    /// Money is set aside until it is posted, voided or expires.
    Pend {
        /// The account that gives.
        from: String,
        /// The account that receives.
        to: String,
        /// How much.
        amount: String,
        /// The nation that a payment into a project concerns.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nation: Option<String>,
        /// After so many seconds it is free again, at most [`EXPIRES_AFTER_MAX`]; left out, never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_after: Option<u32>,
    },
    /// What was set aside moves; what is not posted of it is free again.
    Post {
        /// The id of the transfer that set it aside.
        pending: TransferId,
        /// How much; left out, all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<String>,
    },
    /// What was set aside is free again.
    Void {
        /// The id of the transfer that set it aside.
        pending: TransferId,
    },
    /// Money that moved goes back.
    Correct {
        /// The id of the transfer that was wrong.
        of: TransferId,
        /// How much; left out, all that is left to correct.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<String>,
    },
}

/// A step as a command of the book.
pub(crate) fn step(
    id: TransferId,
    step: &Step,
    period: Period,
    nations: &Nations,
    projects: &Projects,
) -> Result<Order, LedgerError> {
    let part = |amount: &Option<String>| amount.as_deref().map(|amount| Ok(positive(amount)?.as_cents())).transpose();
    let action = match step {
        Step::Pend { from, to, amount, nation, expires_after } => {
            let (from, to, amount, nation) = (from.clone(), to.clone(), amount.clone(), nation.clone());
            let wanted = Wanted { id, from, to, amount, nation };
            let expires_after = *expires_after;
            if expires_after.is_some_and(|secs| !(1..=EXPIRES_AFTER_MAX).contains(&secs)) {
                let what = format_args!("money is set aside for 1 to {EXPIRES_AFTER_MAX} seconds, or without an end");
                return Err(LedgerError::bad(what));
            }
            Action::Pend { movement: movement(&wanted, nations, projects)?, expires_after }
        }
        Step::Post { pending, amount } => Action::PostPending { pending: *pending, amount: part(amount)? },
        Step::Void { pending } => Action::VoidPending { pending: *pending },
        Step::Correct { of, amount } => Action::Correct { of: *of, amount: part(amount)? },
    };
    let transfer = NewTransfer { id, action, period, linked: false };
    Ok(Order::Transfer { transfers: vec![transfer], whole: true })
}
