//! Transfers that clients ask for: one by one, in chains, and in two steps.

use covenant_types::canonical::Writer;
use covenant_types::{TransferId, WallTime};

use super::draft::Draft;
use super::movement::{By, Entry, above_zero};
use super::{Judged, judged};
use crate::account::{is_reserved, made_id};
use crate::codec::Record;
use crate::records::{BookError, Key, Receipt};
use crate::store::{Store, Table};
use crate::transfer::{Action, Kind, Movement, NewTransfer, Standing, Transfer};
use crate::{Account, Answer, BATCH_MAX, Outcome, Purpose, Refusal};

impl<S: Store> Draft<'_, S> {
    /// Books transfers in order. Each chain is booked whole or not at all; with `whole` all of them are one chain.
    pub(super) fn transfers(
        &mut self,
        transfers: &[NewTransfer],
        whole: bool,
    ) -> Result<Vec<Answer>, BookError<S::Error>> {
        let mut answers = Vec::with_capacity(transfers.len());
        let chains: Vec<&[NewTransfer]> =
            if whole { vec![transfers] } else { transfers.chunk_by(|before, _| before.linked).collect() };
        for chain in chains {
            // Whoever asks for all or nothing has said where the chain ends.
            let open = !whole && chain.last().is_some_and(|last| last.linked);
            self.chain(chain, open, &mut answers)?;
        }
        Ok(answers)
    }

    fn chain(
        &mut self,
        chain: &[NewTransfer],
        open: bool,
        answers: &mut Vec<Answer>,
    ) -> Result<(), BookError<S::Error>> {
        let (mark, answered) = (self.mark(), answers.len());
        let mut broken = None;
        for (at, transfer) in chain.iter().enumerate() {
            let answer = match self.known(transfer)? {
                Some(answer) => answer,
                None if open && at + 1 == chain.len() => Answer { result: Err(Refusal::ChainOpen), again: false },
                None => Answer { result: self.attempt(transfer)?, again: false },
            };
            if let Err(refusal) = &answer.result {
                broken = Some((at, refusal.clone()));
                break;
            }
            answers.push(answer);
        }
        let Some((culprit, refusal)) = broken else { return Ok(()) };
        self.go_back(&mark);
        answers.truncate(answered);
        for (at, transfer) in chain.iter().enumerate() {
            let broken = Refusal::ChainBroken { culprit: chain[culprit].id };
            let refusal = if at == culprit { refusal.clone() } else { broken };
            let answer = self.refuse(transfer, refusal)?;
            answers.push(answer);
        }
        Ok(())
    }

    /// Answers with a refusal and keeps it, so that whoever asks again gets the same answer whatever happened since. What
    /// was answered to this id before stays.
    pub(super) fn refuse(&mut self, request: &NewTransfer, refusal: Refusal) -> Result<Answer, BookError<S::Error>> {
        if let Some(answer) = self.known(request)? {
            return Ok(answer);
        }
        if request.id.0 != 0 && !is_reserved(request.id.0) {
            let request = NewTransfer { linked: false, ..*request };
            self.set_receipt(request.id, &Receipt::Refused { request, refusal: refusal.clone() })?;
        }
        Ok(Answer { result: Err(refusal), again: false })
    }

    /// Books one transfer whose id is new.
    pub(super) fn attempt(&mut self, new: &NewTransfer) -> Judged<u64, S::Error> {
        if new.id.0 == 0 {
            return Ok(Err(Refusal::IdZero));
        }
        if is_reserved(new.id.0) {
            return Ok(Err(Refusal::IdReserved));
        }
        match new.action {
            Action::Post(movement) => self.first_step(new, movement, Kind::Posted),
            Action::Pend { movement, expires_after } => {
                let expires = expires_after.map(|seconds| WallTime(self.head.at.0 + u64::from(seconds)));
                let number = judged!(self.first_step(new, movement, Kind::Pending { expires })?);
                if let Some(expires) = expires {
                    self.set_new(Table::Expiries, Key::expiry(expires, number), Some(Vec::new()));
                }
                Ok(Ok(number))
            }
            Action::PostPending { pending, amount } => self.post_pending(new, pending, amount),
            Action::VoidPending { pending } => {
                let pending = judged!(self.waiting(pending)?);
                self.resolve(
                    new.id,
                    &pending,
                    Entry {
                        kind: Kind::PendingVoided { pending: pending.number },
                        period: new.period,
                        asked: None,
                        ..of(&pending)
                    },
                )
            }
            Action::Correct { of, amount } => self.correct(new, of, amount),
        }
    }

    fn first_step(&mut self, new: &NewTransfer, movement: Movement, kind: Kind) -> Judged<u64, S::Error> {
        let by = if kind == Kind::Posted { By::Client } else { By::Pending };
        judged!(self.judge_movement(&movement, new.period, by)?);
        self.book(&Entry { id: new.id, kind, movement, period: new.period, asked: None, released: 0 })
    }

    fn post_pending(&mut self, new: &NewTransfer, id: TransferId, amount: Option<i128>) -> Judged<u64, S::Error> {
        judged!(amount.map_or(Ok(()), above_zero));
        judged!(self.judge_period(new.period));
        let pending = judged!(self.waiting(id)?);
        if let Kind::Pending { expires: Some(at) } = pending.kind
            && at <= self.head.at
        {
            return Ok(Err(Refusal::Expired { pending: id, at }));
        }
        let left = pending.movement.amount;
        let posted = amount.unwrap_or(left);
        if posted > left {
            return Ok(Err(Refusal::MoreThanLeft { of: id, left, asked: posted }));
        }
        self.resolve(
            new.id,
            &pending,
            Entry {
                kind: Kind::PendingPosted { pending: pending.number },
                movement: Movement { amount: posted, ..pending.movement },
                period: new.period,
                asked: amount,
                ..of(&pending)
            },
        )
    }

    /// The transfer of this id that set money aside and still does.
    fn waiting(&mut self, id: TransferId) -> Judged<Transfer, S::Error> {
        let pending = judged!(self.booked(id)?);
        if !matches!(pending.kind, Kind::Pending { .. }) {
            return Ok(Err(Refusal::NotPending(id)));
        }
        match self.standing(pending.number)? {
            Some(Standing::Resolved(by)) => {
                Ok(Err(Refusal::AlreadyResolved { pending: id, by: self.transfer(by)?.id }))
            }
            Some(Standing::Corrected(_)) | None => Ok(Ok(pending)),
        }
    }

    fn booked(&mut self, id: TransferId) -> Judged<Transfer, S::Error> {
        match self.receipt(id)? {
            Some(Receipt::Booked(number)) => self.transfer(number).map(Ok),
            Some(Receipt::Refused { .. } | Receipt::Distributed { .. }) | None => Ok(Err(Refusal::UnknownTransfer(id))),
        }
    }

    /// Ends a pending transfer with another one.
    fn resolve(&mut self, id: TransferId, pending: &Transfer, entry: Entry) -> Judged<u64, S::Error> {
        let number = judged!(self.book(&Entry { id, ..entry })?);
        self.set(Table::Standings, Key::number(pending.number), Some(Standing::Resolved(number).to_record()))?;
        if let Kind::Pending { expires: Some(at) } = pending.kind {
            self.set(Table::Expiries, Key::expiry(at, pending.number), None)?;
        }
        Ok(Ok(number))
    }

    fn correct(&mut self, new: &NewTransfer, id: TransferId, amount: Option<i128>) -> Judged<u64, S::Error> {
        judged!(amount.map_or(Ok(()), above_zero));
        judged!(self.judge_period(new.period));
        let wrong = judged!(self.booked(id)?);
        if !matches!(wrong.kind, Kind::Posted | Kind::PendingPosted { .. }) {
            return Ok(Err(Refusal::NotCorrectable(id)));
        }
        let before = match self.standing(wrong.number)? {
            Some(Standing::Corrected(amount)) => amount,
            Some(Standing::Resolved(_)) | None => 0,
        };
        let left = wrong.movement.amount - before;
        let asked = amount.unwrap_or(left);
        if asked > left || left == 0 {
            return Ok(Err(Refusal::MoreThanLeft { of: id, left, asked }));
        }
        let Movement { debit, credit, tags, .. } = wrong.movement;
        let back = Movement { debit: credit, credit: debit, amount: asked, tags };
        let purpose = |account: Option<Account>| account.map_or(Purpose::Other, |account| account.spec.purpose);
        let purposes = [purpose(self.account(back.debit)?), purpose(self.account(back.credit)?)];
        judged!(self.judge_allowances(&back, purposes, By::Client)?);
        let number = judged!(self.book(&Entry {
            id: new.id,
            kind: Kind::Correction { of: wrong.number },
            movement: back,
            period: new.period,
            asked: amount,
            released: 0,
        })?);
        let corrected = Standing::Corrected(before + asked);
        self.set(Table::Standings, Key::number(wrong.number), Some(corrected.to_record()))?;
        Ok(Ok(number))
    }

    /// Ends pending transfers whose time is over, in the order of their times.
    pub(super) fn expire(&mut self, most: u32) -> Result<Outcome, BookError<S::Error>> {
        let most = usize::try_from(most).unwrap_or(BATCH_MAX).min(BATCH_MAX);
        let last = Key::expiry(self.head.at, u64::MAX);
        let over = self.store.rows(Table::Expiries, Key::EMPTY.as_bytes(), last.as_bytes(), most + 1);
        let over = over.map_err(BookError::Store)?;
        let more = over.len() > most;
        let mut ended = 0;
        for (key, _) in over.into_iter().take(most) {
            let number = key.get(8..).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
            let damaged = |what: &str| BookError::Damaged { table: Table::Expiries, what: what.to_owned() };
            let number = number.ok_or_else(|| damaged("a key has the wrong length"))?;
            let pending = self.transfer(number)?;
            let mut id = Writer::new("covenant/expiry-id/1");
            id.u128(pending.id.0);
            let entry = Entry { kind: Kind::PendingExpired { pending: number }, ..of(&pending) };
            let resolved = self.resolve(TransferId(made_id(&id.finish())), &pending, entry)?;
            resolved.map_err(|refusal| damaged(&refusal.to_string()))?;
            ended += 1;
        }
        Ok(Outcome::Expired { ended, more })
    }
}

/// An entry that sets all of a pending transfer free.
fn of(pending: &Transfer) -> Entry {
    Entry {
        id: pending.id,
        kind: pending.kind,
        movement: pending.movement,
        period: pending.period,
        asked: None,
        released: pending.movement.amount,
    }
}
