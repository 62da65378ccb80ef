//! How one movement changes two accounts, and what follows from it.

use covenant_types::TransferId;

use super::draft::Draft;
use super::{Judged, judged};
use crate::codec::Record;
use crate::records::{BookError, Covenant, Dimension, Key, Receipt, Side, Total, TotalKey};
use crate::store::{Store, Table};
use crate::transfer::{Kind, Movement, Period, Transfer};
use crate::{Account, Allowance, AllowanceState, Asset, Balances, Limit, Purpose, Refusal};

/// A transfer that is right in itself and is to be booked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: TransferId,
    pub(super) kind: Kind,
    pub(super) movement: Movement,
    pub(super) period: Period,
    pub(super) asked: Option<i128>,
    /// What was set aside for it before and is set free by it.
    pub(super) released: i128,
}

/// Who wants a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A client, at once.
    Client,
    /// A client, in two steps.
    Pending,
    /// A device that signed it, or a person who decided on what it signed.
    Device,
}

impl<S: Store> Draft<'_, S> {
    /// Whether a movement may be booked for the first time: amounts, accounts, period and tags, in this order.
    pub(super) fn judge_movement(&mut self, movement: &Movement, period: Period, by: By) -> Judged<(), S::Error> {
        judged!(above_zero(movement.amount));
        if movement.debit == movement.credit {
            return Ok(Err(Refusal::SameAccount(movement.debit)));
        }
        judged!(self.judge_period(period));
        let Some(debit) = self.account(movement.debit)? else {
            return Ok(Err(Refusal::UnknownAccount(movement.debit)));
        };
        let Some(credit) = self.account(movement.credit)? else {
            return Ok(Err(Refusal::UnknownAccount(movement.credit)));
        };
        let assets = [debit.spec.asset, credit.spec.asset];
        if assets[0] != assets[1] {
            return Ok(Err(Refusal::AssetsDiffer { debit: assets[0], credit: assets[1] }));
        }
        let purposes = [debit.spec.purpose, credit.spec.purpose];
        judged!(self.judge_allowances(movement, purposes, by)?);
        self.judge_tags(movement, purposes)
    }

    /// Only its device spends from an allowance, and only an open one is filled.
    pub(super) fn judge_allowances(
        &mut self,
        movement: &Movement,
        [debit, credit]: [Purpose; 2],
        by: By,
    ) -> Judged<(), S::Error> {
        if matches!(debit, Purpose::Allowance(_)) && by != By::Device {
            return Ok(Err(Refusal::AllowanceOnly(movement.debit)));
        }
        let Purpose::Allowance(device) = credit else { return Ok(Ok(())) };
        if by == By::Pending {
            return Ok(Err(Refusal::AllowanceOnly(movement.credit)));
        }
        match self.allowance(device)? {
            Some(Allowance { state: AllowanceState::Open, .. }) => Ok(Ok(())),
            Some(_) | None => Ok(Err(Refusal::AllowanceEnded(device))),
        }
    }

    pub(super) fn judge_period(&self, period: Period) -> Result<(), Refusal> {
        if !(1900..=2200).contains(&period.0) {
            return Err(Refusal::BadPeriod(period.0));
        }
        match self.head.closed {
            Some(through) if period <= through => Err(Refusal::PeriodClosed { through, asked: period }),
            Some(_) | None => Ok(()),
        }
    }

    /// Tags name what the book knows, and a payment that touches a project names all three.
    fn judge_tags(&mut self, movement: &Movement, purposes: [Purpose; 2]) -> Judged<(), S::Error> {
        let tags = movement.tags;
        for purpose in purposes {
            let Purpose::Project(is) = purpose else { continue };
            if tags.nation.is_none() || tags.sector.is_none() || tags.project.is_none() {
                return Ok(Err(Refusal::TagsMissing(is)));
            }
            if let Some(asked) = tags.project.filter(|asked| *asked != is) {
                return Ok(Err(Refusal::WrongProject { is, asked }));
            }
        }
        if let Some(nation) = tags.nation
            && self.covenant(Covenant::Nation(nation))?.is_none()
        {
            return Ok(Err(Refusal::UnknownNation(nation)));
        }
        if let Some(project) = tags.project {
            let Some(is) = self.sector_of(project)? else { return Ok(Err(Refusal::UnknownProject(project))) };
            if let Some(asked) = tags.sector.filter(|asked| *asked != is) {
                return Ok(Err(Refusal::WrongSector { project, is, asked }));
            }
        }
        Ok(Ok(()))
    }

    /// Books one transfer: both accounts, its record, its answer, and what it is found and added up by. A refusal changes
    /// nothing.
    pub(super) fn book(&mut self, entry: &Entry) -> Judged<u64, S::Error> {
        let movement = entry.movement;
        let Some(mut debit) = self.account(movement.debit)? else {
            return Ok(Err(Refusal::UnknownAccount(movement.debit)));
        };
        let Some(mut credit) = self.account(movement.credit)? else {
            return Ok(Err(Refusal::UnknownAccount(movement.credit)));
        };
        judged!(change(&mut debit, entry, true).and_then(|()| change(&mut credit, entry, false)));
        let totals = judged!(self.totals_after(entry, [&debit, &credit])?);

        let number = self.head.transfers;
        let transfer = Transfer {
            number,
            position: self.head.position,
            at: self.head.at,
            id: entry.id,
            kind: entry.kind,
            movement,
            period: entry.period,
            asked: entry.asked,
            debit_after: debit.balances,
            credit_after: credit.balances,
        };
        self.head.transfers += 1;
        self.set_account(&debit)?;
        self.set_account(&credit)?;
        self.set_new(Table::Transfers, Key::number(number), Some(transfer.to_record()));
        // Nobody asked for an expiry, so nobody asks again.
        if !matches!(entry.kind, Kind::PendingExpired { .. }) {
            self.set_receipt(entry.id, &Receipt::Booked(number))?;
        }
        for dimension in found_by(&movement) {
            self.index(Key::index(dimension, number));
        }
        for (key, total) in totals {
            self.set(Table::Totals, Key::total(&key), Some(total.to_record()))?;
        }
        let next = Some(Key::number(self.head.transfers).as_bytes().to_vec());
        self.set_new(Table::Positions, Key::number(self.head.position), next);
        Ok(Ok(number))
    }

    /// What is added up anew after a movement.
    fn totals_after(&mut self, entry: &Entry, accounts: [&Account; 2]) -> Judged<Vec<(TotalKey, Total)>, S::Error> {
        let mut totals = Vec::new();
        for (key, amount) in adds_to(entry.kind, &entry.movement, entry.period, accounts.map(|account| account.spec)) {
            let total: Total = self.record(Table::Totals, Key::total(&key))?.unwrap_or_default();
            let Some(sum) = total.amount.checked_add(amount) else {
                return Ok(Err(Refusal::TotalOverflow(format!("{} in {}", entry.period.0, key.asset))));
            };
            totals.push((key, Total { count: total.count.saturating_add(1), amount: sum }));
        }
        Ok(Ok(totals))
    }

    /// The sector of a project that the book knows.
    pub(super) fn sector_of(
        &mut self,
        project: crate::ProjectCode,
    ) -> Result<Option<crate::Sector>, BookError<S::Error>> {
        let Some(value) = self.covenant(Covenant::Project(project))? else { return Ok(None) };
        let sector = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        let what = || format!("the sector of the project {project} cannot be read");
        sector.map(Some).ok_or_else(|| BookError::Damaged { table: Table::Covenant, what: what() })
    }
}

pub(super) fn above_zero(amount: i128) -> Result<(), Refusal> {
    match amount {
        0 => Err(Refusal::AmountZero),
        ..0 => Err(Refusal::AmountNegative(amount)),
        1.. => Ok(()),
    }
}

/// What a transfer is found by.
pub(super) fn found_by(movement: &Movement) -> impl Iterator<Item = Dimension> {
    let accounts = [movement.debit, movement.credit].map(Dimension::Account);
    accounts.into_iter().chain(tagged(movement))
}

fn tagged(movement: &Movement) -> impl Iterator<Item = Dimension> + use<> {
    let tags = movement.tags;
    let nation = tags.nation.map(Dimension::Nation);
    nation.into_iter().chain(tags.sector.map(Dimension::Sector)).chain(tags.project.map(Dimension::Project))
}

/// What a transfer adds to which totals; nothing where it only sets aside or releases. A correction takes from the totals of
/// what it corrects, so its sides are turned round.
pub(super) fn adds_to(
    kind: Kind,
    movement: &Movement,
    period: Period,
    [debit, credit]: [crate::NewAccount; 2],
) -> impl Iterator<Item = (TotalKey, i128)> + use<> {
    let (from, to) = (Side::from(debit.purpose), Side::from(credit.purpose));
    let back = matches!(kind, Kind::Correction { .. });
    let (from, to, amount) = if back { (to, from, -movement.amount) } else { (from, to, movement.amount) };
    let asset: Asset = debit.asset;
    let dimensions = std::iter::once(Dimension::All).chain(tagged(movement)).filter(move |_| kind.moves());
    dimensions.map(move |dimension| (TotalKey { period, dimension, from, to, asset }, amount))
}

/// Changes one account as one side of an entry, unless it may not hold what it would.
pub(super) fn change(account: &mut Account, entry: &Entry, is_debit: bool) -> Result<(), Refusal> {
    let overflow = || Refusal::Overflow { account: account.spec.id };
    let balances = &mut account.balances;
    let (pending, posted) = if is_debit {
        (&mut balances.debits_pending, &mut balances.debits_posted)
    } else {
        (&mut balances.credits_pending, &mut balances.credits_posted)
    };
    *pending = pending.checked_sub(entry.released).filter(|left| *left >= 0).ok_or_else(overflow)?;
    match entry.kind {
        Kind::Posted | Kind::PendingPosted { .. } | Kind::Correction { .. } => {
            *posted = posted.checked_add(entry.movement.amount).ok_or_else(overflow)?;
        }
        Kind::Pending { .. } => *pending = pending.checked_add(entry.movement.amount).ok_or_else(overflow)?,
        Kind::PendingVoided { .. } | Kind::PendingExpired { .. } => {}
    }
    // The sum of both fits too, so that limits are judged without a doubt.
    pending.checked_add(*posted).ok_or_else(overflow)?;
    within(account.spec.limit, account)
}

/// Whether the account is within its limit. Releasing and posting what was set aside never takes it further out.
fn within(limit: Limit, account: &Account) -> Result<(), Refusal> {
    let Balances { debits_pending, debits_posted, credits_pending, credits_posted } = account.balances;
    let id = account.spec.id;
    match limit {
        Limit::None => Ok(()),
        Limit::DebitsWithinCredits => match debits_pending + debits_posted - credits_posted {
            by @ 1.. => Err(Refusal::Short { account: id, by }),
            ..1 => Ok(()),
        },
        Limit::CreditsWithinDebits => match credits_pending + credits_posted - debits_posted {
            by @ 1.. => Err(Refusal::Over { account: id, by }),
            ..1 => Ok(()),
        },
    }
}
