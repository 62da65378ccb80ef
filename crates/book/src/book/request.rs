//! Whether an id that comes again asks for the same.

use covenant_types::TransferId;

use super::draft::Draft;
use crate::Answer;
use crate::records::{BookError, Receipt};
use crate::refusal::{Difference, Refusal};
use crate::store::Store;
use crate::transfer::{Action, Kind, Movement, NewTransfer, Tags, Transfer};

impl<S: Store> Draft<'_, S> {
    /// The answer that this transfer has already, if its id was used.
    pub(super) fn known(&mut self, asked: &NewTransfer) -> Result<Option<Answer>, BookError<S::Error>> {
        let Some(receipt) = self.receipt(asked.id)? else { return Ok(None) };
        let (recorded, result) = match receipt {
            Receipt::Booked(number) => {
                let transfer = self.transfer(number)?;
                (self.asked_for(&transfer)?, Ok(number))
            }
            Receipt::Refused { request, refusal } => (Some(request), Err(refusal)),
            Receipt::Distributed { .. } => (None, Ok(0)),
        };
        let difference = match recorded {
            Some(recorded) => difference(&recorded, asked),
            None => Some(differs("what it names", &"made by the book itself", &"a transfer of a client")),
        };
        Ok(Some(match difference {
            None => Answer { result, again: true },
            Some(difference) => Answer { result: Err(Refusal::IdUsed(difference)), again: false },
        }))
    }

    /// What a client asked for when it got this transfer; `None` where no client did.
    fn asked_for(&mut self, transfer: &Transfer) -> Result<Option<NewTransfer>, BookError<S::Error>> {
        let movement = transfer.movement;
        let action = match transfer.kind {
            Kind::Posted => Action::Post(movement),
            Kind::Pending { expires } => {
                let after = expires.map(|expires| expires.0.saturating_sub(transfer.at.0));
                let expires_after = after.map(|after| u32::try_from(after).unwrap_or(u32::MAX));
                Action::Pend { movement, expires_after }
            }
            Kind::PendingPosted { pending } => {
                Action::PostPending { pending: self.transfer(pending)?.id, amount: transfer.asked }
            }
            Kind::PendingVoided { pending } => Action::VoidPending { pending: self.transfer(pending)?.id },
            Kind::Correction { of } => Action::Correct { of: self.transfer(of)?.id, amount: transfer.asked },
            Kind::PendingExpired { .. } => return Ok(None),
        };
        Ok(Some(NewTransfer { id: transfer.id, action, period: transfer.period, linked: false }))
    }
}

/// Says what differs, in words.
pub(super) fn differs(field: &str, recorded: &dyn std::fmt::Display, asked: &dyn std::fmt::Display) -> Difference {
    Difference { field: field.to_owned(), recorded: recorded.to_string(), asked: asked.to_string() }
}

/// The first thing in which two requests differ. How they hang together with others is not looked at: an answer is the same
/// whether its request comes alone or in a chain.
fn difference(recorded: &NewTransfer, asked: &NewTransfer) -> Option<Difference> {
    let (before, now) = (details(&recorded.action), details(&asked.action));
    let action = first_difference([("the action", before.action.to_owned(), now.action.to_owned())]);
    action
        .or_else(|| first_difference([("the period", recorded.period.0.to_string(), asked.period.0.to_string())]))
        .or_else(|| first_difference([("the earlier transfer", said(before.earlier), said(now.earlier))]))
        .or_else(|| match (before.movement, now.movement) {
            (Some(before), Some(now)) => movement_difference(&before, &now),
            (None | Some(_), None | Some(_)) => None,
        })
        .or_else(|| first_difference([("the amount", said(before.amount), said(now.amount))]))
        .or_else(|| first_difference([("the time to expire", said(before.expires_after), said(now.expires_after))]))
}

fn movement_difference(before: &Movement, now: &Movement) -> Option<Difference> {
    let tags = |tags: &Tags| [said(tags.nation), said(tags.sector), said(tags.project)];
    let ([nation, sector, project], [nation_now, sector_now, project_now]) = (tags(&before.tags), tags(&now.tags));
    first_difference([
        ("the debit account", before.debit.to_string(), now.debit.to_string()),
        ("the credit account", before.credit.to_string(), now.credit.to_string()),
        ("the amount", before.amount.to_string(), now.amount.to_string()),
        ("the nation", nation, nation_now),
        ("the sector", sector, sector_now),
        ("the project", project, project_now),
    ])
}

fn first_difference<const N: usize>(fields: [(&str, String, String); N]) -> Option<Difference> {
    let differing = fields.into_iter().find(|(_, before, now)| before != now);
    differing.map(|(field, before, now)| differs(field, &before, &now))
}

fn said(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "not said".to_owned(), |value| value.to_string())
}

/// An action, taken apart.
struct Details {
    action: &'static str,
    movement: Option<Movement>,
    earlier: Option<TransferId>,
    amount: Option<i128>,
    expires_after: Option<u32>,
}

fn details(action: &Action) -> Details {
    let none = Details { action: "", movement: None, earlier: None, amount: None, expires_after: None };
    match *action {
        Action::Post(movement) => Details { action: "post", movement: Some(movement), ..none },
        Action::Pend { movement, expires_after } => {
            Details { action: "pend", movement: Some(movement), expires_after, ..none }
        }
        Action::PostPending { pending, amount } => {
            Details { action: "post what is pending", earlier: Some(pending), amount, ..none }
        }
        Action::VoidPending { pending } => Details { action: "void", earlier: Some(pending), ..none },
        Action::Correct { of, amount } => Details { action: "correct", earlier: Some(of), amount, ..none },
    }
}
