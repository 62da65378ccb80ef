//! What devices signed: opened allowances, and intents in the order of their numbers.
//!
//! An intent that is known gets the answer it has. One that comes next is settled, and so are those that waited for it. One
//! that comes early waits. Two that differ under one number quarantine the device, and nothing of it is applied any more.

use covenant_types::TransferId;
use covenant_types::canonical::Writer;

use super::draft::Draft;
use super::movement::{By, Entry};
use super::request::differs;
use super::{Judged, judged};
use crate::account::{is_reserved, made_id};
use crate::offline::{
    Allowance, AllowanceOrder, AllowanceState, DeviceId, InboxReason, Intent, IntentState, KeptIntent, SignedIntent,
    Wish, is_device_key,
};
use crate::records::{BookError, Offline};
use crate::store::{Store, Table};
use crate::transfer::{Action, Kind, Movement, NewTransfer, Period, Tags};
use crate::{AccountId, INTENTS_MAX, NewAccount, Outcome, Purpose, Refusal, WAITING_MAX};

impl<S: Store> Draft<'_, S> {
    /// Opens an allowance and fills it, once for each device.
    pub(super) fn open_allowance(&mut self, order: &AllowanceOrder) -> Judged<Outcome, S::Error> {
        let AllowanceOrder { key, id, from, amount, period } = *order;
        if !is_device_key(&key) {
            return Ok(Err(Refusal::BadDevice));
        }
        let device = DeviceId::of(&key);
        let account = account_of(device);
        let movement = Movement { debit: from, credit: account, amount, tags: Tags::default() };
        let new = NewTransfer { id, action: Action::Post(movement), period, linked: false };
        let known = self.known(&new)?;
        if let Some(Err(refusal)) = known.as_ref().map(|answer| &answer.result) {
            return Ok(Err(refusal.clone()));
        }
        if let Some(before) = self.allowance(device)? {
            let recorded = self.transfer(before.funded)?.id;
            if recorded != id {
                return Ok(Err(Refusal::IdUsed(differs("the transfer that opened the allowance", &recorded, &id))));
            }
            return Ok(Ok(Outcome::AllowanceOpened { account, transfer: before.funded, again: true }));
        }
        let mark = self.mark();
        match self.fill(&key, &new, from)? {
            Ok(transfer) => Ok(Ok(Outcome::AllowanceOpened { account, transfer, again: false })),
            Err(refusal) => {
                self.go_back(&mark);
                self.refuse(&new, refusal.clone())?;
                Ok(Err(refusal))
            }
        }
    }

    /// Opens the account of an allowance and books the first transfer into it.
    fn fill(&mut self, key: &[u8; 32], new: &NewTransfer, home: AccountId) -> Judged<u64, S::Error> {
        let device = DeviceId::of(key);
        let Some(giver) = self.account(home)? else { return Ok(Err(Refusal::UnknownAccount(home))) };
        let (id, purpose) = (account_of(device), Purpose::Allowance(device));
        self.open_account(NewAccount { id, asset: giver.spec.asset, limit: purpose.limit(), purpose })?;
        let (funded, state) = (self.head.transfers, AllowanceState::Open);
        let allowance = Allowance { key: *key, home, funded, state, next: 1, waiting: 0, in_inbox: 0 };
        self.set_allowance(&allowance)?;
        self.attempt(new)
    }

    pub(super) fn set_allowance(&mut self, allowance: &Allowance) -> Result<(), BookError<S::Error>> {
        self.set_offline(Offline::Allowance(allowance.device()), allowance)
    }

    pub(super) fn intents(&mut self, intents: &[SignedIntent]) -> Judged<Outcome, S::Error> {
        if intents.len() > INTENTS_MAX {
            return Ok(Err(Refusal::IntentsTooMany(intents.len() as u64)));
        }
        let answers = intents.iter().map(|signed| self.intent(signed)).collect::<Result<_, _>>()?;
        Ok(Ok(Outcome::Intents(answers)))
    }

    /// One intent. Where it is an error nothing of it is kept, and it may come again.
    fn intent(&mut self, signed: &SignedIntent) -> Judged<IntentState, S::Error> {
        let Intent { device, sequence, .. } = signed.intent;
        let Some(mut allowance) = self.allowance(device)? else { return Ok(Err(Refusal::UnknownDevice(device))) };
        if !signed.is_signed_by(&allowance.key) {
            return Ok(Err(Refusal::BadSignature(device)));
        }
        if sequence == 0 {
            return Ok(Err(Refusal::BadSequence));
        }
        if let Some((_, kept)) = self.kept(&signed.intent)? {
            return Ok(Ok(kept.state));
        }
        if self.offline::<KeptIntent>(Offline::Intent(device, sequence))?.is_some() {
            self.quarantine(&mut allowance, sequence)?;
            let place = Offline::Other(device, sequence, signed.intent.digest());
            return self.bring_into_inbox(&mut allowance, place, signed, InboxReason::Equivocation);
        }
        let place = Offline::Intent(device, sequence);
        match allowance.state {
            AllowanceState::Quarantined { .. } => {
                self.bring_into_inbox(&mut allowance, place, signed, InboxReason::Quarantined)
            }
            AllowanceState::Closed { .. } | AllowanceState::WrittenOff { .. } => {
                self.bring_into_inbox(&mut allowance, place, signed, InboxReason::Ended)
            }
            AllowanceState::Open if sequence == allowance.next => {
                let state = judged!(self.settle(&mut allowance, signed)?);
                self.go_on(&mut allowance)?;
                Ok(Ok(state))
            }
            AllowanceState::Open if sequence - allowance.next >= WAITING_MAX => {
                Ok(Err(Refusal::TooFarAhead { next: allowance.next, asked: sequence }))
            }
            AllowanceState::Open => {
                self.set_offline(place, &KeptIntent { signed: *signed, state: IntentState::Waiting })?;
                allowance.waiting += 1;
                self.set_allowance(&allowance)?;
                Ok(Ok(IntentState::Waiting))
            }
        }
    }

    /// The place and the record of exactly this intent, if it came before.
    pub(super) fn kept(&mut self, intent: &Intent) -> Result<Option<(Offline, KeptIntent)>, BookError<S::Error>> {
        let Intent { device, sequence, .. } = *intent;
        for place in [Offline::Intent(device, sequence), Offline::Other(device, sequence, intent.digest())] {
            let kept: Option<KeptIntent> = self.offline(place)?;
            if let Some(kept) = kept.filter(|kept| kept.signed.intent == *intent) {
                return Ok(Some((place, kept)));
            }
        }
        Ok(None)
    }

    /// Settles those that waited and are next, up to the first that cannot be.
    pub(super) fn go_on(&mut self, allowance: &mut Allowance) -> Result<(), BookError<S::Error>> {
        while allowance.state == AllowanceState::Open && allowance.waiting > 0 {
            let place = Offline::Intent(allowance.device(), allowance.next);
            let Some(kept) = self.offline::<KeptIntent>(place)? else { return Ok(()) };
            allowance.waiting -= 1;
            if self.settle(allowance, &kept.signed)?.is_err() {
                allowance.waiting += 1;
                return self.set_allowance(allowance);
            }
        }
        Ok(())
    }

    /// Settles the intent that is next: it is applied or rejected, or a person decides. An error changes nothing.
    fn settle(&mut self, allowance: &mut Allowance, signed: &SignedIntent) -> Judged<IntentState, S::Error> {
        let Intent { device, sequence, wish } = signed.intent;
        let place = Offline::Intent(device, sequence);
        let done = match wish {
            Wish::Pay { .. } => self.spend(&signed.intent, account_of(device), None)?.map(Some),
            Wish::Close { period } => self.close_allowance(allowance, period)?,
        };
        let state = match done {
            Ok(transfer) => IntentState::Applied { transfer },
            Err(refusal) if is_for_a_person(&refusal) => {
                let before = allowance.next;
                allowance.next += 1;
                let reason = InboxReason::Refused(refusal);
                let entered = self.bring_into_inbox(allowance, place, signed, reason)?;
                if entered.is_err() {
                    allowance.next = before;
                }
                return Ok(entered);
            }
            Err(refusal) => {
                if let Some(request) = as_transfer(&signed.intent, account_of(device), None) {
                    self.refuse(&request, refusal.clone())?;
                }
                IntentState::Rejected(refusal)
            }
        };
        allowance.next += 1;
        self.set_offline(place, &KeptIntent { signed: *signed, state: state.clone() })?;
        self.set_allowance(allowance)?;
        Ok(Ok(state))
    }

    /// Books the payment that an intent asks for. A refusal changes nothing.
    pub(super) fn spend(&mut self, intent: &Intent, debit: AccountId, period: Option<Period>) -> Judged<u64, S::Error> {
        let (Some(new), Wish::Pay { to, amount, tags, .. }) = (as_transfer(intent, debit, period), intent.wish) else {
            return Ok(Err(Refusal::NothingToBook(0)));
        };
        if new.id.0 == 0 {
            return Ok(Err(Refusal::IdZero));
        }
        if is_reserved(new.id.0) {
            return Ok(Err(Refusal::IdReserved));
        }
        if self.receipt(new.id)?.is_some() {
            return Ok(Err(Refusal::IdUsed(differs("what it names", &"another request", &"an intent of a device"))));
        }
        let movement = Movement { debit, credit: to, amount, tags };
        judged!(self.judge_movement(&movement, new.period, By::Device)?);
        self.book(&Entry { id: new.id, kind: Kind::Posted, movement, period: new.period, asked: None, released: 0 })
    }

    /// Ends an allowance by the word of its device.
    fn close_allowance(&mut self, allowance: &mut Allowance, period: Period) -> Judged<Option<u64>, S::Error> {
        // A device cannot know which periods are closed, and its word counts in any.
        let first = self.head.closed.map_or(0, |closed| closed.0.saturating_add(1));
        let period = Period(period.0.clamp(1900, 2200).max(first));
        let (returned, transfer) = judged!(self.send_home(allowance, period)?);
        allowance.state = AllowanceState::Closed { returned };
        // The statement itself is settled by the caller, and is not among those that wait.
        let from = allowance.next + 1;
        self.waiting_into_inbox(allowance, from, &InboxReason::Ended)?;
        Ok(Ok(transfer))
    }

    /// Books back what is left in an allowance: how much, and by which transfer.
    pub(super) fn send_home(&mut self, allowance: &Allowance, period: Period) -> Judged<(i128, Option<u64>), S::Error> {
        let device = allowance.device();
        let debit = account_of(device);
        let left = self.account(debit)?.map_or(0, |account| account.balances.posted());
        if left == 0 {
            return Ok(Ok((0, None)));
        }
        let mut id = Writer::new("covenant/allowance-end-id/1");
        id.u128(device.0);
        let movement = Movement { debit, credit: allowance.home, amount: left, tags: Tags::default() };
        let id = TransferId(made_id(&id.finish()));
        let entry = Entry { id, kind: Kind::Posted, movement, period, asked: None, released: 0 };
        let transfer = judged!(self.book(&entry)?);
        Ok(Ok((left, Some(transfer))))
    }

    /// Brings all that waits, from the number `from` on, before a person. None of it can be applied any more.
    pub(super) fn waiting_into_inbox(
        &mut self,
        allowance: &mut Allowance,
        from: u64,
        why: &InboxReason,
    ) -> Result<(), BookError<S::Error>> {
        let device = allowance.device();
        for sequence in (from..).take(usize::try_from(WAITING_MAX).unwrap_or(usize::MAX)) {
            if allowance.waiting == 0 {
                break;
            }
            let place = Offline::Intent(device, sequence);
            let Some(kept) = self.offline::<KeptIntent>(place)? else { continue };
            if kept.state != IntentState::Waiting {
                continue;
            }
            let why = match allowance.state {
                AllowanceState::Quarantined { sequence: twice } if twice == sequence => InboxReason::Equivocation,
                AllowanceState::Open
                | AllowanceState::Quarantined { .. }
                | AllowanceState::Closed { .. }
                | AllowanceState::WrittenOff { .. } => why.clone(),
            };
            allowance.waiting -= 1;
            self.enter(allowance, place, &kept.signed, why)?;
        }
        if allowance.waiting > 0 {
            let what = format!("{} intents of {device} that wait are missing", allowance.waiting);
            return Err(BookError::Damaged { table: Table::Offline, what });
        }
        self.set_allowance(allowance)
    }

    /// Stops everything of a device that signed two different intents with one number.
    fn quarantine(&mut self, allowance: &mut Allowance, sequence: u64) -> Result<(), BookError<S::Error>> {
        if allowance.state != AllowanceState::Open {
            return Ok(());
        }
        allowance.state = AllowanceState::Quarantined { sequence };
        let from = allowance.next;
        self.waiting_into_inbox(allowance, from, &InboxReason::Quarantined)
    }
}

/// The account of a device's allowance.
pub(super) fn account_of(device: DeviceId) -> AccountId {
    Purpose::Allowance(device).account().expect("every purpose but the other names an account")
}

/// The transfer that a payment is, in another period where one is given.
pub(super) fn as_transfer(intent: &Intent, debit: AccountId, other: Option<Period>) -> Option<NewTransfer> {
    let Wish::Pay { id, to, amount, tags, period } = intent.wish else { return None };
    let movement = Movement { debit, credit: to, amount, tags };
    Some(NewTransfer { id, action: Action::Post(movement), period: other.unwrap_or(period), linked: false })
}

/// Whether what stood in the way may go, or a person may book it otherwise: in a later period, or once there is such an account.
fn is_for_a_person(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::PeriodClosed { .. }
            | Refusal::UnknownAccount(_)
            | Refusal::UnknownNation(_)
            | Refusal::UnknownProject(_)
            | Refusal::Over { .. }
            | Refusal::Overflow { .. }
            | Refusal::TotalOverflow(_)
    )
}
