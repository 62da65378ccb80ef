//! What people want of the ledger, as commands of the book, and what these came to, as people read it. Pure.

use covenant_book::{
    Action, Answer, Command, Movement, NewTransfer, Order, Outcome, Period, ProjectCode, Projects, Purpose, Refusal,
    Tags,
};
use covenant_types::{TransferId, WallTime};

use crate::error::{LedgerError, LedgerErrorKind};
use crate::question::Parts;
use crate::{Account, Alpha3, Amount, AssessmentDone, ClosedDone, DistributionDone, Nations};

mod step;

pub(crate) use step::step;
pub use step::{EXPIRES_AFTER_MAX, Step};

/// The years a nation can owe for.
const YEARS: std::ops::RangeInclusive<u16> = 2000..=2200;

/// The bytes of a command. The group writes the time into it: whoever leads knows it.
pub(crate) fn command(order: Order) -> Vec<u8> {
    Command { at: WallTime::default(), order }.to_bytes()
}

/// The period of a moment: its calendar year in UTC.
pub(crate) fn period_of(at: WallTime) -> Period {
    let seconds = i64::try_from(at.0).unwrap_or(0);
    let date = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    Period(u16::try_from(date.year()).unwrap_or(0))
}

/// What each nation owes for a year.
pub(crate) fn assess(year: u16, nations: &Nations) -> Result<Order, LedgerError> {
    if !YEARS.contains(&year) {
        let (first, last) = (YEARS.start(), YEARS.end());
        return Err(LedgerError::bad(format_args!("the year {year} is not one of {first} to {last}")));
    }
    Ok(Order::Assess { year: Period(year), table: nations.hash_bytes() })
}

/// A profit, shared.
pub(crate) fn distribute(
    amount: &str,
    id: TransferId,
    period: Period,
    nations: &Nations,
) -> Result<Order, LedgerError> {
    let amount = positive(amount)?;
    Ok(Order::Distribute { id, amount, period, table: nations.hash_bytes() })
}

/// One movement as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) id: TransferId,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: String,
    /// The nation that a payment into a project concerns.
    pub(crate) nation: Option<String>,
}

/// One movement.
pub(crate) fn transfer(
    wanted: &Wanted,
    period: Period,
    nations: &Nations,
    projects: &Projects,
) -> Result<Order, LedgerError> {
    let action = Action::Post(movement(wanted, nations, projects)?);
    let transfer = NewTransfer { id: wanted.id, action, period, linked: false };
    Ok(Order::Transfer { transfers: vec![transfer], whole: true })
}

/// From where to where, how much, and what for.
pub(crate) fn movement(wanted: &Wanted, nations: &Nations, projects: &Projects) -> Result<Movement, LedgerError> {
    let (from, to) = (account(&wanted.from, nations, projects)?, account(&wanted.to, nations, projects)?);
    if from == to {
        return Err(LedgerError::bad(format_args!("{from} cannot give to itself")));
    }
    let nation: Option<Alpha3> = match &wanted.nation {
        Some(code) => {
            let code = code.parse().map_err(LedgerError::bad)?;
            if nations.by_iso3(code).is_none() {
                return Err(unknown_nation(code));
            }
            Some(code)
        }
        None => None,
    };
    let tags = tags(from, to, nation, projects)?;
    Ok(Movement { debit: from.id(), credit: to.id(), amount: positive(&wanted.amount)?.as_cents(), tags })
}

/// What a movement is found and added up by.
fn tags(from: Account, to: Account, nation: Option<Alpha3>, projects: &Projects) -> Result<Tags, LedgerError> {
    let named = |account| match account {
        Account::Covenant(Purpose::Project(code)) => Some(code),
        Account::Covenant(_) | Account::Opened(_) => None,
    };
    let Some(code) = named(to).or_else(|| named(from)) else { return Ok(Tags { nation, ..Tags::default() }) };
    if nation.is_none() {
        return Err(LedgerError::bad(format_args!(
            "a payment that touches project:{code} names the nation that it concerns"
        )));
    }
    let sector = projects.iter().find(|project| project.code == code).map(|project| project.sector);
    Ok(Tags { nation, sector, project: Some(code) })
}

pub(crate) fn account(name: &str, nations: &Nations, projects: &Projects) -> Result<Account, LedgerError> {
    let account = name.parse().map_err(LedgerError::bad)?;
    match account {
        Account::Covenant(Purpose::Nation(code)) if nations.by_iso3(code).is_none() => Err(unknown_nation(code)),
        Account::Covenant(Purpose::Project(code)) if !has(projects, code) => {
            Err(LedgerError::bad(format_args!("no project of the list has the code {code}")))
        }
        Account::Covenant(_) | Account::Opened(_) => Ok(account),
    }
}

fn has(projects: &Projects, code: ProjectCode) -> bool {
    projects.iter().any(|project| project.code == code)
}

fn unknown_nation(code: Alpha3) -> LedgerError {
    LedgerError::bad(format_args!("no nation of the table has the code {code}"))
}

pub(crate) fn positive(amount: &str) -> Result<Amount, LedgerError> {
    let amount = amount.parse().map_err(LedgerError::bad)?;
    if amount == Amount::ZERO { Err(LedgerError::bad("an amount is more than 0.00")) } else { Ok(amount) }
}

/// What a command came to, from the bytes that the group answered.
pub(crate) fn outcome(answer: &[u8]) -> Result<Outcome, LedgerError> {
    if answer.is_empty() {
        return Err(LedgerError::bad("the book does not know such a command: the nodes run different versions"));
    }
    match Outcome::from_bytes(answer) {
        Ok(Outcome::Refused(refusal)) => Err(no(&refusal)),
        Ok(outcome) => Ok(outcome),
        Err(error) => Err(LedgerError::unsure(format_args!("its answer cannot be read: {error}"))),
    }
}

/// An assessment, as people read it.
pub(crate) fn assessed(year: u16, nations: &Nations, outcome: Outcome) -> Result<AssessmentDone, LedgerError> {
    let Outcome::Assessed { booked, pool, unknown, again } = outcome else { return Err(strange(&outcome)) };
    let name = |code: &Alpha3| nations.by_iso3(*code).map_or_else(|| code.to_string(), |nation| nation.name.clone());
    Ok(AssessmentDone {
        year,
        payers: nations.iter().count() - unknown.len(),
        unknown: unknown.iter().map(name).collect(),
        pool: pool.to_string(),
        booked: if again { 0 } else { usize::try_from(booked).unwrap_or(usize::MAX) },
        table: nations.hash().to_owned(),
    })
}

/// The last period that can be closed is the one before that of the moment: money still moves in this one.
pub(crate) fn close(through: u16, now: Period) -> Result<Order, LedgerError> {
    if through >= now.0 {
        let what = format_args!("only years that are over can be closed, and {through} is not; nothing was closed");
        return Err(LedgerError::refused(what));
    }
    Ok(Order::Close { through: Period(through) })
}

/// That a period is closed.
pub(crate) fn closed(through: u16, outcome: Outcome) -> Result<ClosedDone, LedgerError> {
    if matches!(outcome, Outcome::Closed) { Ok(ClosedDone { through }) } else { Err(strange(&outcome)) }
}

/// The one answer to one transfer: its number, and whether it stood in the book before.
pub(crate) fn transferred(outcome: Outcome) -> Result<(u64, bool), LedgerError> {
    let Outcome::Answers(mut answers) = outcome else { return Err(strange(&outcome)) };
    match answers.pop() {
        Some(Answer { result: Ok(number), again }) => Ok((number, again)),
        Some(Answer { result: Err(refusal), .. }) => Err(no(&refusal)),
        None => Err(LedgerError::unsure("an answer is missing")),
    }
}

/// Where the id was used before, for the same but in another period: that period. A request that is sent again after the
/// turn of a year is still the same.
fn period_of_before(outcome: &Outcome) -> Option<Period> {
    let refusal = match outcome {
        Outcome::Refused(refusal) => refusal,
        Outcome::Answers(answers) => answers.first()?.result.as_ref().err()?,
        Outcome::Expired { .. }
        | Outcome::Closed
        | Outcome::Adopted { .. }
        | Outcome::Assessed { .. }
        | Outcome::Distributed { .. }
        | Outcome::AllowanceOpened { .. }
        | Outcome::Intents(_)
        | Outcome::WrittenOff { .. }
        | Outcome::Resolved { .. } => return None,
    };
    let Refusal::IdUsed(difference) = refusal else { return None };
    let recorded = difference.recorded.parse().ok()?;
    difference.field.contains("period").then_some(Period(recorded))
}

/// The same, from the bytes of an answer.
pub(crate) fn before(answer: &[u8]) -> Option<Period> {
    period_of_before(&Outcome::from_bytes(answer).ok()?)
}

/// What has to be in the book before anything else: the tables that this node goes by.
pub(crate) fn tables(nations: &Nations) -> [Order; 2] {
    let projects = Projects::embedded_text().to_owned();
    [Order::AdoptNations { text: nations.text().to_owned() }, Order::AdoptProjects { text: projects }]
}

/// A distribution, without the sums of its parts.
pub(crate) struct Shared {
    pub(crate) first: u64,
    pub(crate) transfers: u32,
    sum: Amount,
    again: bool,
    carried: Vec<String>,
}

/// A distribution, as far as its outcome tells.
pub(crate) fn distributed(amount: &str, nations: &Nations, outcome: Outcome) -> Result<Shared, LedgerError> {
    let Outcome::Distributed { first, transfers, carried, again, .. } = outcome else { return Err(strange(&outcome)) };
    let name = |code: &Alpha3| nations.by_iso3(*code).map_or_else(|| code.to_string(), |nation| nation.name.clone());
    let carried = carried.iter().map(|(code, _)| name(code)).collect();
    Ok(Shared { first, transfers, sum: positive(amount)?, again, carried })
}

impl Shared {
    /// With the sums of its parts.
    pub(crate) fn done(self, parts: &Parts) -> DistributionDone {
        let text = |cents| Amount::cents(cents).to_string();
        DistributionDone {
            sum: self.sum.to_string(),
            communities: text(parts.communities),
            nations: text(parts.nations),
            reserve: text(parts.reserve),
            booked: !self.again,
            carried: self.carried,
        }
    }
}

pub(crate) fn strange(outcome: &Outcome) -> LedgerError {
    LedgerError::unsure(format_args!("the book answered something else than was asked: {outcome:?}"))
}

/// A refusal, and what sort of failure it is.
fn no(refusal: &Refusal) -> LedgerError {
    let kind = match refusal {
        Refusal::IdUsed(_) | Refusal::ResolvedAlready(_) => LedgerErrorKind::Conflict,
        Refusal::IdZero
        | Refusal::IdReserved
        | Refusal::AmountZero
        | Refusal::AmountNegative(_)
        | Refusal::SameAccount(_)
        | Refusal::UnknownAccount(_)
        | Refusal::AssetsDiffer { .. }
        | Refusal::BadPeriod(_)
        | Refusal::BadScale(_)
        | Refusal::BadTable(_)
        | Refusal::BadDistribution
        | Refusal::BatchTooLong(_)
        | Refusal::ChainOpen
        | Refusal::TagsMissing(_)
        | Refusal::WrongProject { .. }
        | Refusal::WrongSector { .. }
        | Refusal::UnknownNation(_)
        | Refusal::UnknownProject(_)
        | Refusal::UnknownTransfer(_)
        | Refusal::UnknownTable(_)
        | Refusal::BadDevice
        | Refusal::UnknownDevice(_)
        | Refusal::BadSignature(_)
        | Refusal::BadSequence
        | Refusal::BadReason
        | Refusal::UnknownEntry(_)
        | Refusal::IntentsTooMany(_) => LedgerErrorKind::BadRequest,
        Refusal::Overflow { .. }
        | Refusal::TotalOverflow(_)
        | Refusal::PeriodClosed { .. }
        | Refusal::Short { .. }
        | Refusal::Over { .. }
        | Refusal::NotPending(_)
        | Refusal::AlreadyResolved { .. }
        | Refusal::Expired { .. }
        | Refusal::MoreThanLeft { .. }
        | Refusal::NotCorrectable(_)
        | Refusal::ChainBroken { .. }
        | Refusal::Assessed { .. }
        | Refusal::ClosedAlready(_)
        | Refusal::ProjectMoved { .. }
        | Refusal::TooFarAhead { .. }
        | Refusal::InboxFull(_)
        | Refusal::AllowanceOnly(_)
        | Refusal::AllowanceEnded(_)
        | Refusal::NothingToBook(_)
        | Refusal::RejectedByPerson(_) => LedgerErrorKind::Refused,
    };
    LedgerError::new(kind, format!("{}; nothing was booked", words(refusal)))
}

/// The book names accounts by their ids, and people by their names.
pub(crate) fn words(refusal: &Refusal) -> String {
    if let Refusal::Short { account, by } = refusal {
        return format!("{} holds {} too little", account_name(*account), Amount::cents(*by));
    }
    refusal.to_string()
}

pub(crate) fn account_name(id: covenant_book::AccountId) -> String {
    let fixed = [Purpose::Treasury, Purpose::Pool, Purpose::Communities, Purpose::Reserve];
    let nations = Nations::embedded().iter().map(|nation| Purpose::Nation(nation.iso3));
    let projects = Projects::embedded().iter().map(|project| Purpose::Project(project.code));
    let known = fixed.into_iter().chain(nations).chain(projects).find(|purpose| purpose.account() == Some(id));
    known.map_or_else(|| id.to_string(), |purpose| purpose.to_string())
}
