//! A year of the covenant for people: who gave, who received, by nation, region, sector and project.
//!
//! A voter adds up a page at a time ([`page`]), so that no question takes long however large the book is; whoever asks puts the
//! pages together ([`Gathered`]). All pages show the same transfers: those there were when the first was read.

mod plot;
mod views;

use std::collections::BTreeMap;

use covenant_book::{
    AccountId, Alpha3, Asset, Book, BookError, Dimension, Kind, PAGE_MAX, Period, Projects, Purpose, Sector, Side,
    Store, Transfer,
};
use serde::{Deserialize, Serialize};

use crate::question::amount_text;
use crate::{AsOf, Nations};

pub use plot::plot;
pub use views::{NationYear, ProjectYear, RegionYear, SectorYear, Sums, YearReport};

/// The most transfers that one page reads.
const READ_MAX: usize = 5000;
/// The most pages that a report is put together from: past this it is refused and never cut short.
pub(crate) const PAGES_MAX: usize = 20_000;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// The transfers of the report are those below this number.
    upto: u64,
    /// The code of the nation.
    nation: String,
    /// The first of its transfers.
    number: u64,
}

/// A part of a year, in cents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    /// What the transfers of this page came to, by nation.
    nations: Vec<(String, Cents)>,
    /// Only on the first page.
    head: Option<Head>,
    pub(crate) next: Option<Start>,
}

/// What is added up for the whole book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// The hash of the table that the year was assessed by.
    table: Option<String>,
    communities: i128,
    reserve: i128,
    projects: Vec<Paid>,
}

/// Payments of communities into a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Paid {
    project: String,
    sector: String,
    amount: i128,
    count: u64,
}

/// What a nation gave and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cents {
    assessed: i128,
    paid: i128,
    received: i128,
    into_projects: i128,
    other: i128,
}

impl Cents {
    fn add(&mut self, other: Self) {
        let Self { assessed, paid, received, into_projects, other: rest } = other;
        // The book has refused what would not fit long before.
        self.assessed = self.assessed.saturating_add(assessed);
        self.paid = self.paid.saturating_add(paid);
        self.received = self.received.saturating_add(received);
        self.into_projects = self.into_projects.saturating_add(into_projects);
        self.other = self.other.saturating_add(rest);
    }

    fn sums(self) -> Sums {
        let text = |cents| amount_text(cents, Asset::USD);
        Sums {
            assessed: text(self.assessed),
            paid: text(self.paid),
            received: text(self.received),
            into_projects: text(self.into_projects),
            other: text(self.other),
        }
    }
}

/// Adds up a part of a year.
pub(crate) fn page<S: Store>(book: &Book<S>, year: Period, start: Option<&Start>) -> Result<Page, BookError<S::Error>> {
    let mut page = Page { head: None, ..Page::default() };
    let (upto, first, mut number) = match start {
        Some(Start { upto, nation, number }) => (*upto, nation.as_str(), *number),
        None => {
            page.head = Some(head(book, year)?);
            (book.head().transfers, "", 0)
        }
    };
    let mut left = READ_MAX;
    for nation in book.nations()?.into_iter().filter(|code| code.as_str() >= first) {
        if left == 0 {
            page.next = Some(Start { upto, nation: nation.to_string(), number: 0 });
            return Ok(page);
        }
        let mut cents = Cents::default();
        if number == 0 {
            cents.into_projects = into(book, year, Dimension::Nation(nation), Side::Project)?.0;
        }
        let done = walk(book, year, (nation, &mut number, upto), &mut left, &mut cents)?;
        page.nations.push((nation.to_string(), cents));
        if !done {
            page.next = Some(Start { upto, nation: nation.to_string(), number });
            return Ok(page);
        }
        number = 0;
    }
    Ok(page)
}

/// Adds up the transfers of a nation's account from a number on, as long as there is some of `left`. Whether it came to the end.
fn walk<S: Store>(
    book: &Book<S>,
    year: Period,
    (nation, number, upto): (Alpha3, &mut u64, u64),
    left: &mut usize,
    cents: &mut Cents,
) -> Result<bool, BookError<S::Error>> {
    let Some(account) = Purpose::Nation(nation).account() else { return Ok(true) };
    loop {
        if *left == 0 {
            return Ok(false);
        }
        let most = PAGE_MAX.min(*left);
        let transfers = book.transfers(Dimension::Account(account), *number, most)?;
        *left -= transfers.len();
        for transfer in &transfers {
            if transfer.number >= upto {
                return Ok(true);
            }
            *number = transfer.number + 1;
            if transfer.period == year {
                cents.add(of(book, transfer, account)?);
            }
        }
        if transfers.len() < most {
            return Ok(true);
        }
    }
}

/// What one transfer is to the nation of an account. A correction takes from what it corrects.
fn of<S: Store>(book: &Book<S>, transfer: &Transfer, account: AccountId) -> Result<Cents, BookError<S::Error>> {
    let mut cents = Cents::default();
    let amount = transfer.movement.amount;
    let (corrected, sign) = match transfer.kind {
        Kind::Correction { of } => (book.transfer(of)?, -1),
        Kind::Posted | Kind::PendingPosted { .. } => (Some(*transfer), 1),
        Kind::Pending { .. } | Kind::PendingVoided { .. } | Kind::PendingExpired { .. } => return Ok(cents),
    };
    let what = corrected.unwrap_or(*transfer);
    let of_others = if what.movement.debit == account { what.movement.credit } else { what.movement.debit };
    let gives = what.movement.debit == account;
    let other = book.account(of_others)?.map(|account| account.spec.purpose);
    match other {
        Some(Purpose::Pool) if gives => cents.assessed = sign * amount,
        Some(Purpose::Treasury) if !gives && what.is_made_by_book() => cents.received = sign * amount,
        Some(Purpose::Treasury) if !gives => cents.paid = sign * amount,
        Some(_) | None => cents.other = if gives { -sign * amount } else { sign * amount },
    }
    Ok(cents)
}

fn head<S: Store>(book: &Book<S>, year: Period) -> Result<Head, BookError<S::Error>> {
    let table = book.assessed_by(year)?.map(|hash| blake3::Hash::from_bytes(hash).to_hex().to_string());
    let mut paid = Vec::new();
    for (project, sector) in book.projects()? {
        let (amount, count) = into(book, year, Dimension::Project(project), Side::Project)?;
        if count > 0 {
            paid.push(Paid { project: project.to_string(), sector: sector.to_string(), amount, count });
        }
    }
    let shared = |to| into(book, year, Dimension::All, to);
    let (communities, reserve) = (shared(Side::Communities)?.0, shared(Side::Reserve)?.0);
    Ok(Head { table, communities, reserve, projects: paid })
}

/// What went into accounts for `to` in a year: of communities and the reserve what was shared, of projects what communities paid,
/// and towers from their allowances.
fn into<S: Store>(
    book: &Book<S>,
    year: Period,
    dimension: Dimension,
    to: Side,
) -> Result<(i128, u64), BookError<S::Error>> {
    let from = if to == Side::Project { [Side::Communities, Side::Allowance] } else { [Side::Treasury; 2] };
    let totals = book.totals(year, dimension)?;
    let wanted = totals.iter().filter(|(key, _)| from.contains(&key.from) && key.to == to && key.asset == Asset::USD);
    let add = |(amount, count): (i128, u64), total: &covenant_book::Total| {
        (amount.saturating_add(total.amount), count.saturating_add(total.count))
    };
    Ok(wanted.fold((0, 0), |sum, (_, total)| add(sum, total)))
}

/// The pages of a report, added up.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    nations: BTreeMap<String, Cents>,
    head: Head,
}

impl Gathered {
    pub(crate) fn add(&mut self, page: Page) {
        for (nation, cents) in page.nations {
            self.nations.entry(nation).or_default().add(cents);
        }
        if let Some(head) = page.head {
            self.head = head;
        }
    }

    /// As people read it. Nations and projects are named by the tables of the node that was asked.
    pub(crate) fn done(self, year: u16, as_of: AsOf, nations: &Nations, projects: &Projects) -> YearReport {
        let Self { nations: by_nation, head } = self;
        let text = |cents| amount_text(cents, Asset::USD);
        let mut all = Cents::default();
        let mut regions: BTreeMap<&str, Cents> = BTreeMap::new();
        let mut rows = Vec::new();
        for (code, cents) in by_nation {
            all.add(cents);
            let nation = code.parse().ok().and_then(|code| nations.by_iso3(code));
            let region = nation.map_or("unknown", |nation| nation.region.as_str());
            regions.entry(region).or_default().add(cents);
            if cents != Cents::default() {
                let name = nation.map_or_else(|| code.clone(), |nation| nation.name.clone());
                rows.push(NationYear { nation: code, name, region: region.to_owned(), sums: cents.sums() });
            }
        }
        let unknown = nations.iter().filter(|nation| nation.gdp.is_none()).map(|nation| nation.name.clone()).collect();
        YearReport {
            year,
            as_of,
            table: head.table,
            sums: all.sums(),
            communities: text(head.communities),
            reserve: text(head.reserve),
            nations: rows,
            regions: regions
                .into_iter()
                .map(|(region, cents)| RegionYear { region: region.to_owned(), sums: cents.sums() })
                .collect(),
            sectors: Sector::ALL.iter().map(|sector| of_sector(*sector, &head.projects, projects)).collect(),
            unknown,
        }
    }
}

fn of_sector(sector: Sector, paid: &[Paid], projects: &Projects) -> SectorYear {
    let mut rows = Vec::new();
    let (mut amount, mut payments) = (0_i128, 0_u64);
    for paid in paid.iter().filter(|paid| paid.sector == sector.as_str()) {
        amount = amount.saturating_add(paid.amount);
        payments = payments.saturating_add(paid.count);
        let named = projects.iter().find(|project| project.code.as_str() == paid.project);
        rows.push(ProjectYear {
            project: paid.project.clone(),
            name: named.map_or_else(|| paid.project.clone(), |project| project.name.clone()),
            amount: amount_text(paid.amount, Asset::USD),
            payments: paid.count,
        });
    }
    SectorYear { sector: sector.to_string(), amount: amount_text(amount, Asset::USD), payments, projects: rows }
}

#[cfg(test)]
mod tests;
