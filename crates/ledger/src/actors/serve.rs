//! A batch of requests, served on a blocking thread.

use covenant_types::{TransferId, WallTime};

use super::LedgerConfig;
use super::book::{BookRequest, BookResponse};
use crate::entry::Entry;
use crate::error::LedgerError;
use crate::store::{BookStore, Posting};
use crate::{Account, Amount, AssessmentDone, DistributionDone, LedgerStatus, Nations, TransferDone, journal};

/// Serves a batch: all that books in one transaction first, so that questions of the same batch see it.
///
/// # Errors
/// The disk refused the transaction. Nothing of the batch is acknowledged.
pub(super) fn serve(
    store: &BookStore,
    batch: Vec<BookRequest>,
    config: &LedgerConfig,
    at: WallTime,
) -> Result<Vec<BookResponse>, LedgerError> {
    let nations = config.nations();
    let planned: Vec<Plan> = batch.into_iter().map(|request| plan(request, nations, at)).collect();
    let groups: Vec<&[Entry]> = planned.iter().filter_map(Plan::entries).collect();
    let mut posted = if groups.is_empty() { Vec::new() } else { store.post(&groups, nations)? }.into_iter();
    let answer = |plan: Plan| match plan {
        Plan::No(error) => BookResponse::No(error),
        Plan::Ask(question) => answer(store, question, config).unwrap_or_else(BookResponse::No),
        Plan::Book(booking) => match posted.next() {
            Some(Ok(postings)) => booking.booked(&postings, nations),
            Some(Err(error)) => BookResponse::No(error),
            None => BookResponse::No(LedgerError::failed("a result is missing")),
        },
    };
    Ok(planned.into_iter().map(answer).collect())
}

/// What a request comes to.
enum Plan {
    No(LedgerError),
    Ask(Question),
    Book(Booking),
}

enum Question {
    Balances,
    Check,
    Export(u64),
    Status,
}

struct Booking {
    what: What,
    entries: Vec<Entry>,
}

enum What {
    Assess { year: u16, unknown: Vec<String> },
    Distribute,
    Transfer,
}

impl Plan {
    fn entries(&self) -> Option<&[Entry]> {
        match self {
            Self::Book(booking) => Some(&booking.entries),
            Self::No(_) | Self::Ask(_) => None,
        }
    }
}

fn plan(request: BookRequest, nations: &Nations, at: WallTime) -> Plan {
    let booking = match request {
        BookRequest::Assess { year } => assess(year, nations, at),
        BookRequest::Distribute { amount, id } => distribute(&amount, id, nations, at),
        BookRequest::Transfer { id, from, to, amount } => {
            movement(&from, &to, &amount, nations).map(|(from, to, amount)| Booking {
                what: What::Transfer,
                entries: vec![Entry::transfer(id, from, to, amount, at)],
            })
        }
        BookRequest::Balances => return Plan::Ask(Question::Balances),
        BookRequest::Check => return Plan::Ask(Question::Check),
        BookRequest::Export { from } => return Plan::Ask(Question::Export(from)),
        BookRequest::Status => return Plan::Ask(Question::Status),
    };
    booking.map_or_else(Plan::No, Plan::Book)
}

/// The years a nation can owe for.
const YEARS: std::ops::RangeInclusive<u16> = 2000..=2200;

fn assess(year: u16, nations: &Nations, at: WallTime) -> Result<Booking, LedgerError> {
    if !YEARS.contains(&year) {
        return Err(LedgerError::bad(format_args!(
            "the year {year} is not one of {} to {}",
            YEARS.start(),
            YEARS.end()
        )));
    }
    let (entries, unknown) = Entry::assessments(year, nations, at);
    Ok(Booking { what: What::Assess { year, unknown }, entries })
}

fn distribute(amount: &str, id: TransferId, nations: &Nations, at: WallTime) -> Result<Booking, LedgerError> {
    let entry = Entry::distribution(id, positive(amount)?, nations, at);
    Ok(Booking { what: What::Distribute, entries: vec![entry] })
}

fn movement(from: &str, to: &str, amount: &str, nations: &Nations) -> Result<(Account, Account, Amount), LedgerError> {
    let (from, to) = (account(from, nations)?, account(to, nations)?);
    if from == to {
        return Err(LedgerError::bad(format_args!("{from} cannot give to itself")));
    }
    Ok((from, to, positive(amount)?))
}

fn account(name: &str, nations: &Nations) -> Result<Account, LedgerError> {
    let account = name.parse().map_err(LedgerError::bad)?;
    match account {
        Account::Nation(code) if nations.by_iso3(code).is_none() => {
            Err(LedgerError::bad(format_args!("no nation of the table has the code {code}")))
        }
        Account::Nation(_) | Account::Treasury | Account::Pool | Account::Communities | Account::Reserve => Ok(account),
    }
}

fn positive(amount: &str) -> Result<Amount, LedgerError> {
    let amount = amount.parse().map_err(LedgerError::bad)?;
    if amount == Amount::ZERO { Err(LedgerError::bad("an amount is more than 0.00")) } else { Ok(amount) }
}

impl Booking {
    fn booked(self, postings: &[Posting], nations: &Nations) -> BookResponse {
        // What stood in the book before is what counts, also where today's table would share otherwise.
        let in_book = |(entry, posting)| match posting {
            &Posting::Booked(_) => entry,
            Posting::Known(known) => known.as_ref(),
        };
        let booked = postings.iter().filter(|posting| matches!(posting, Posting::Booked(_))).count();
        let mut entries = self.entries.iter().zip(postings).map(in_book);
        match self.what {
            What::Assess { year, unknown } => BookResponse::Assessed(AssessmentDone {
                year,
                payers: postings.len(),
                unknown,
                pool: Amount::cents(entries.map(|entry| entry.volume().as_cents()).sum()).to_string(),
                booked,
                table: nations.hash().to_owned(),
            }),
            What::Distribute => {
                let shared = entries.next().map(Entry::shared).unwrap_or_default();
                BookResponse::Distributed(DistributionDone {
                    sum: shared.sum().to_string(),
                    communities: shared.communities.to_string(),
                    nations: shared.nations_sum().to_string(),
                    reserve: shared.reserve.to_string(),
                    booked: booked > 0,
                })
            }
            What::Transfer => BookResponse::Transferred(TransferDone { booked: booked > 0 }),
        }
    }
}

fn answer(store: &BookStore, question: Question, config: &LedgerConfig) -> Result<BookResponse, LedgerError> {
    match question {
        Question::Balances => store.balances().map(BookResponse::Balances),
        Question::Check => store.check(config.nations()).map(BookResponse::Checked),
        Question::Export(from) => journal::page(store, from).map(BookResponse::Exported),
        Question::Status => {
            let (entries, sum) = store.totals()?;
            Ok(BookResponse::Status(LedgerStatus { home: config.home.clone(), entries, sum: sum.to_string() }))
        }
    }
}
