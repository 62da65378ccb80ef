//! What a person decides: allowances that are given up, and intents that nothing else could settle.

use super::draft::Draft;
use super::intents::account_of;
use super::{Judged, judged};
use crate::offline::{
    Allowance, AllowanceState, Decision, DeviceId, InboxEntry, InboxReason, IntentState, KeptIntent, Resolution,
    SignedIntent, Wish,
};
use crate::records::{BookError, Entries, Key, Offline};
use crate::store::{Store, Table};
use crate::transfer::Period;
use crate::{INBOX_MAX, Outcome, REASON_BYTES_MAX, Refusal};

impl<S: Store> Draft<'_, S> {
    /// Ends an allowance whose device does not come back.
    pub(super) fn write_off(&mut self, device: DeviceId, reason: &str, period: Period) -> Judged<Outcome, S::Error> {
        judged!(is_reason(reason));
        let Some(mut allowance) = self.allowance(device)? else { return Ok(Err(Refusal::UnknownDevice(device))) };
        match allowance.state {
            AllowanceState::WrittenOff { returned, .. } => {
                return Ok(Ok(Outcome::WrittenOff { returned, again: true }));
            }
            AllowanceState::Closed { .. } => return Ok(Err(Refusal::AllowanceEnded(device))),
            AllowanceState::Open | AllowanceState::Quarantined { .. } => {}
        }
        judged!(self.judge_period(period));
        let (returned, _) = judged!(self.send_home(&allowance, period)?);
        allowance.state = AllowanceState::WrittenOff { returned, reason: reason.to_owned() };
        let from = allowance.next;
        self.waiting_into_inbox(&mut allowance, from, &InboxReason::Ended)?;
        Ok(Ok(Outcome::WrittenOff { returned, again: false }))
    }

    /// Brings an intent before a person, if the device has not too many there.
    pub(super) fn bring_into_inbox(
        &mut self,
        allowance: &mut Allowance,
        place: Offline,
        signed: &SignedIntent,
        why: InboxReason,
    ) -> Judged<IntentState, S::Error> {
        if allowance.in_inbox >= INBOX_MAX {
            return Ok(Err(Refusal::InboxFull(allowance.device())));
        }
        let state = self.enter(allowance, place, signed, why)?;
        self.set_allowance(allowance)?;
        Ok(Ok(state))
    }

    /// Writes an entry of the inbox. The allowance is written by the caller.
    pub(super) fn enter(
        &mut self,
        allowance: &mut Allowance,
        place: Offline,
        signed: &SignedIntent,
        why: InboxReason,
    ) -> Result<IntentState, BookError<S::Error>> {
        let number = self.offline::<Entries>(Offline::Entries)?.unwrap_or_default().last + 1;
        self.set_offline(Offline::Entries, &Entries { last: number })?;
        let entry = InboxEntry { number, signed: *signed, why, at: self.head.at, resolution: None };
        self.set_offline(Offline::Entry(number), &entry)?;
        self.set(Table::Offline, Key::offline(Offline::Unresolved(number)), Some(Vec::new()))?;
        allowance.in_inbox += 1;
        let state = IntentState::Inbox(number);
        self.set_offline(place, &KeptIntent { signed: *signed, state: state.clone() })?;
        Ok(state)
    }

    /// Books or rejects an intent of the inbox, once.
    pub(super) fn decide(
        &mut self,
        number: u64,
        decision: Decision,
        reason: &str,
        period: Period,
    ) -> Judged<Outcome, S::Error> {
        judged!(is_reason(reason));
        let Some(entry) = self.offline::<InboxEntry>(Offline::Entry(number))? else {
            return Ok(Err(Refusal::UnknownEntry(number)));
        };
        let missing = |what: &str| BookError::Damaged { table: Table::Offline, what: format!("{what} of {number}") };
        let intent = entry.signed.intent;
        let (place, kept) = self.kept(&intent)?.ok_or_else(|| missing("the intent"))?;
        if let Some(before) = &entry.resolution {
            return Ok(match before.decision == decision {
                true => Ok(Outcome::Resolved { state: kept.state, again: true }),
                false => Err(Refusal::ResolvedAlready(number)),
            });
        }
        let mut allowance = self.allowance(intent.device)?.ok_or_else(|| missing("the allowance"))?;
        let (state, transfer) = match decision {
            Decision::Reject => (IntentState::Rejected(Refusal::RejectedByPerson(reason.to_owned())), None),
            Decision::Book => {
                if let Wish::Close { .. } = intent.wish {
                    return Ok(Err(Refusal::NothingToBook(number)));
                }
                let ended = allowance.state.has_ended();
                let debit = if ended { allowance.home } else { account_of(intent.device) };
                let transfer = judged!(self.spend(&intent, debit, Some(period))?);
                (IntentState::Applied { transfer: Some(transfer) }, Some(transfer))
            }
        };
        self.set_offline(place, &KeptIntent { state: state.clone(), ..kept })?;
        let resolution = Resolution { decision, reason: reason.to_owned(), at: self.head.at, transfer };
        self.set_offline(Offline::Entry(number), &InboxEntry { resolution: Some(resolution), ..entry })?;
        self.set(Table::Offline, Key::offline(Offline::Unresolved(number)), None)?;
        allowance.in_inbox = allowance.in_inbox.saturating_sub(1);
        self.set_allowance(&allowance)?;
        // One that is next may have had no place in the inbox.
        self.go_on(&mut allowance)?;
        Ok(Ok(Outcome::Resolved { state, again: false }))
    }
}

fn is_reason(reason: &str) -> Result<(), Refusal> {
    let bytes = reason.len();
    if reason.trim().is_empty() || bytes > REASON_BYTES_MAX { Err(Refusal::BadReason) } else { Ok(()) }
}
