//! The covenant in the book: its accounts, tables, assessments and distributions, and the books that are closed.

use covenant_types::TransferId;
use covenant_types::canonical::Writer;

use super::draft::Draft;
use super::movement::Entry;
use super::request::differs;
use super::{Judged, judged};
use crate::account::{is_reserved, made_id};
use crate::command::AccountOrder;
use crate::records::{BookError, Covenant, Receipt};
use crate::store::{Store, Table};
use crate::transfer::{Kind, Movement, Period, Tags};
use crate::{
    Account, Alpha3, Amount, Answer, Asset, Balances, Entitlements, Nations, NewAccount, Outcome, Projects, Purpose,
    Refusal, rules,
};

/// Why a leg of a covenant booking always has two accounts.
const NAMED: &str = "every purpose of the covenant names an account";

impl<S: Store> Draft<'_, S> {
    /// Opens an account that a client asked for.
    pub(super) fn open_requested(&mut self, asked: &AccountOrder) -> Result<Answer, BookError<S::Error>> {
        let refused = |refusal| Ok(Answer { result: Err(refusal), again: false });
        let AccountOrder { id, asset, limit } = *asked;
        if id.0 == 0 {
            return refused(Refusal::IdZero);
        }
        if is_reserved(id.0) {
            return refused(Refusal::IdReserved);
        }
        if asset.scale > Asset::SCALE_MAX {
            return refused(Refusal::BadScale(asset.scale));
        }
        let Some(account) = self.account(id)? else {
            let position = self.open_account(NewAccount { id, asset, limit, purpose: Purpose::Other })?;
            return Ok(Answer { result: Ok(position), again: false });
        };
        if account.spec.asset != asset {
            return refused(Refusal::IdUsed(differs("the asset", &account.spec.asset, &asset)));
        }
        if account.spec.limit != limit {
            let said = |limit| format!("{limit:?}");
            return refused(Refusal::IdUsed(differs("the limit", &said(account.spec.limit), &said(limit))));
        }
        Ok(Answer { result: Ok(account.opened), again: true })
    }

    pub(super) fn open_account(&mut self, spec: NewAccount) -> Result<u64, BookError<S::Error>> {
        let account = Account { spec, opened: self.head.position, balances: Balances::default() };
        self.set_account(&account)?;
        Ok(account.opened)
    }

    /// Opens the covenant's account for a purpose, if it is not there; says how many were opened.
    fn open_covenant(&mut self, purpose: Purpose) -> Result<u32, BookError<S::Error>> {
        let Some(id) = purpose.account() else { return Ok(0) };
        if self.account(id)?.is_some() {
            return Ok(0);
        }
        self.open_account(NewAccount { id, asset: Asset::USD, limit: purpose.limit(), purpose })?;
        Ok(1)
    }

    pub(super) fn adopt_nations(&mut self, text: &str) -> Judged<Outcome, S::Error> {
        let nations = judged!(Nations::parse(text).map_err(|error| Refusal::BadTable(error.to_string())));
        let hash = nations.hash_bytes();
        self.set_covenant(Covenant::Nations(hash), text.as_bytes().to_vec())?;
        let mut opened = 0;
        for purpose in [Purpose::Treasury, Purpose::Pool, Purpose::Communities, Purpose::Reserve] {
            opened += self.open_covenant(purpose)?;
        }
        for nation in nations.iter() {
            self.set_covenant(Covenant::Nation(nation.iso3), vec![1])?;
            opened += self.open_covenant(Purpose::Nation(nation.iso3))?;
        }
        Ok(Ok(Outcome::Adopted { hash, opened }))
    }

    pub(super) fn adopt_projects(&mut self, text: &str) -> Judged<Outcome, S::Error> {
        let projects = judged!(Projects::parse(text).map_err(|error| Refusal::BadTable(error.to_string())));
        let mark = self.mark();
        let mut opened = 0;
        for project in projects.iter() {
            match self.sector_of(project.code)? {
                Some(is) if is != project.sector => {
                    self.go_back(&mark);
                    return Ok(Err(Refusal::ProjectMoved { project: project.code, is, asked: project.sector }));
                }
                Some(_) | None => {}
            }
            self.set_covenant(Covenant::Project(project.code), project.sector.as_str().as_bytes().to_vec())?;
            opened += self.open_covenant(Purpose::Project(project.code))?;
        }
        Ok(Ok(Outcome::Adopted { hash: *blake3::hash(text.as_bytes()).as_bytes(), opened }))
    }

    /// Closes the books up to the end of a period, for ever.
    pub(super) fn close(&mut self, through: Period) -> Judged<Outcome, S::Error> {
        if !(1900..=2200).contains(&through.0) {
            return Ok(Err(Refusal::BadPeriod(through.0)));
        }
        match self.head.closed {
            Some(closed) if closed > through => return Ok(Err(Refusal::ClosedAlready(closed))),
            Some(_) | None => self.head.closed = Some(through),
        }
        Ok(Ok(Outcome::Closed))
    }

    /// An adopted table of nations.
    fn table(&mut self, hash: [u8; 32]) -> Judged<Nations, S::Error> {
        let Some(text) = self.covenant(Covenant::Nations(hash))? else { return Ok(Err(Refusal::UnknownTable(hash))) };
        let table = std::str::from_utf8(&text).map_err(|error| error.to_string());
        let table = table.and_then(|text| Nations::parse(text).map_err(|error| error.to_string()));
        table.map(Ok).map_err(|what| BookError::Damaged { table: Table::Covenant, what })
    }

    pub(super) fn assess(&mut self, year: Period, hash: [u8; 32]) -> Judged<Outcome, S::Error> {
        let table = judged!(self.table(hash)?);
        let owed = |nation: &crate::Nation| nation.gdp.map(|gdp| (nation.iso3, rules::owed(gdp.dollars)));
        let debts: Vec<(Alpha3, Amount)> = table.iter().filter_map(owed).collect();
        let unknown = table.iter().filter(|nation| nation.gdp.is_none()).map(|nation| nation.iso3).collect();
        let pool = Amount::cents(debts.iter().map(|(_, owed)| owed.as_cents()).sum());
        if let Some(by) = self.covenant(Covenant::Year(year))? {
            let by: Result<[u8; 32], _> = by.as_slice().try_into();
            let what = || format!("the table of {} has no hash", year.0);
            let by = by.map_err(|_| BookError::Damaged { table: Table::Covenant, what: what() })?;
            if by != hash {
                return Ok(Err(Refusal::Assessed { year, by }));
            }
            return Ok(Ok(Outcome::Assessed { booked: 0, pool, unknown, again: true }));
        }
        judged!(self.judge_period(year));
        let mark = self.mark();
        self.set_covenant(Covenant::Year(year), hash.to_vec())?;
        let mut booked = 0;
        for (nation, owed) in debts.into_iter().filter(|(_, owed)| *owed > Amount::ZERO) {
            let mut id = Writer::new("covenant/assessment-id/1");
            id.u16(year.0).text(table.hash()).text(nation.as_str());
            let leg = Leg { from: Purpose::Nation(nation), to: Purpose::Pool, amount: owed, nation: Some(nation) };
            if let Err(refusal) = self.book_leg(TransferId(made_id(&id.finish())), year, leg)? {
                self.go_back(&mark);
                return Ok(Err(refusal));
            }
            booked += 1;
        }
        Ok(Ok(Outcome::Assessed { booked, pool, unknown, again: false }))
    }

    /// Shares a profit, once for each id. What the client asks for is an amount in a period; the table is chosen where the
    /// command is made, and a request that comes again after the table changed gets the first answer.
    pub(super) fn distribute(
        &mut self,
        id: TransferId,
        amount: Amount,
        period: Period,
        table: [u8; 32],
    ) -> Judged<Outcome, S::Error> {
        if id.0 == 0 {
            return Ok(Err(Refusal::IdZero));
        }
        if is_reserved(id.0) {
            return Ok(Err(Refusal::IdReserved));
        }
        match self.receipt(id)? {
            Some(Receipt::Distributed { amount: before, period: of, outcome }) => {
                if before != amount {
                    return Ok(Err(Refusal::IdUsed(differs("the amount", &before, &amount))));
                }
                if of != period {
                    return Ok(Err(Refusal::IdUsed(differs("the period", &of.0, &period.0))));
                }
                return Ok(Ok(said_again(*outcome)));
            }
            Some(Receipt::Booked(_) | Receipt::Refused { .. }) => {
                return Ok(Err(Refusal::IdUsed(differs("the order", &"a transfer", &"a distribution"))));
            }
            None => {}
        }
        let mark = self.mark();
        let outcome = match self.share(id, amount, period, table)? {
            Ok(outcome) => outcome,
            Err(refusal) => {
                self.go_back(&mark);
                Outcome::Refused(refusal)
            }
        };
        self.set_receipt(id, &Receipt::Distributed { amount, period, outcome: Box::new(outcome.clone()) })?;
        Ok(Ok(outcome))
    }

    fn share(&mut self, id: TransferId, amount: Amount, period: Period, hash: [u8; 32]) -> Judged<Outcome, S::Error> {
        judged!(super::movement::above_zero(amount.as_cents()));
        judged!(self.judge_period(period));
        let table = judged!(self.table(hash)?);
        let mut entitlements = match self.covenant(Covenant::Entitlements)? {
            Some(bytes) => Entitlements::from_bytes(&bytes)
                .map_err(|error| BookError::Damaged { table: Table::Covenant, what: error.to_string() })?,
            None => Entitlements::default(),
        };
        let Some(shared) = entitlements.distribute(amount, &table) else { return Ok(Err(Refusal::BadDistribution)) };
        self.set_covenant(Covenant::Entitlements, entitlements.to_bytes())?;
        let first = self.head.transfers;
        let parts = [(Purpose::Communities, shared.communities), (Purpose::Reserve, shared.reserve)];
        let nations = shared.nations.iter().map(|(code, share)| (Purpose::Nation(*code), *share));
        let mut transfers = 0;
        for (to, amount) in parts.into_iter().chain(nations).filter(|(_, amount)| *amount > Amount::ZERO) {
            let mut leg_id = Writer::new("covenant/distribution-id/1");
            leg_id.u128(id.0).text(&to.to_string());
            let nation = match to {
                Purpose::Nation(code) => Some(code),
                Purpose::Other
                | Purpose::Treasury
                | Purpose::Pool
                | Purpose::Communities
                | Purpose::Reserve
                | Purpose::Project(_)
                | Purpose::Allowance(_) => None,
            };
            let leg = Leg { from: Purpose::Treasury, to, amount, nation };
            judged!(self.book_leg(TransferId(made_id(&leg_id.finish())), period, leg)?);
            transfers += 1;
        }
        let carried = entitlements.carried();
        let unknown = table.iter().filter(|nation| nation.gdp.is_none()).map(|nation| nation.iso3).collect();
        Ok(Ok(Outcome::Distributed { first, transfers, carried, unknown, again: false }))
    }

    fn book_leg(&mut self, id: TransferId, period: Period, leg: Leg) -> Judged<u64, S::Error> {
        if self.receipt(id)?.is_some() {
            return Ok(Err(Refusal::IdUsed(differs("what it names", &"another booking", &leg.to))));
        }
        let movement = Movement {
            debit: leg.from.account().expect(NAMED),
            credit: leg.to.account().expect(NAMED),
            amount: leg.amount.as_cents(),
            tags: Tags { nation: leg.nation, sector: None, project: None },
        };
        self.book(&Entry { id, kind: Kind::Posted, movement, period, asked: None, released: 0 })
    }
}

/// One booking of an assessment or a distribution.
struct Leg {
    from: Purpose,
    to: Purpose,
    amount: Amount,
    nation: Option<Alpha3>,
}

/// The outcome as it was, marked as one of before.
fn said_again(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Distributed { first, transfers, carried, unknown, .. } => {
            Outcome::Distributed { first, transfers, carried, unknown, again: true }
        }
        Outcome::Answers(_)
        | Outcome::Expired { .. }
        | Outcome::Closed
        | Outcome::Adopted { .. }
        | Outcome::Assessed { .. }
        | Outcome::Refused(_)
        | Outcome::AllowanceOpened { .. }
        | Outcome::Intents(_)
        | Outcome::WrittenOff { .. }
        | Outcome::Resolved { .. } => outcome,
    }
}
