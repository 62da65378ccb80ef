//! The covenant's rules in the book.

use covenant_types::TransferId;
use proptest::prelude::*;

use super::*;
use crate::nations::tests::table;

/// A book that has the embedded tables, and the hash of its nations.
fn covenant() -> (Desk, [u8; 32]) {
    let mut desk = desk();
    let adopted = desk.apply(Order::AdoptNations { text: Nations::embedded().text().to_owned() });
    let hash = Nations::embedded().hash_bytes();
    assert_eq!(adopted, Outcome::Adopted { hash, opened: 4 + 195 });
    let text = Projects::embedded_text().to_owned();
    assert!(matches!(desk.apply(Order::AdoptProjects { text }), Outcome::Adopted { opened: 30, .. }));
    (desk, hash)
}

fn id_of(purpose: Purpose) -> AccountId {
    purpose.account().unwrap()
}

fn nation(code: &str) -> Purpose {
    Purpose::Nation(code.parse().unwrap())
}

impl Desk {
    fn holds(&self, purpose: Purpose) -> i128 {
        self.posted(id_of(purpose).0)
    }

    fn distribute(&mut self, id: u128, cents: i128, table: [u8; 32]) -> Outcome {
        let amount = Amount::cents(cents);
        self.apply(Order::Distribute { id: TransferId(id), amount, period: YEAR, table })
    }
}

#[test]
fn the_pool_of_a_year_is_exact_and_owed_once() {
    let (mut desk, table) = covenant();
    let year = Period(2025);
    let assess = Order::Assess { year, table };
    let unknown: Vec<Alpha3> = vec!["VAT".parse().unwrap()];
    let pool = "10953934201.60".parse().unwrap();
    let outcome = |booked, again| Outcome::Assessed { booked, pool, unknown: unknown.clone(), again };
    assert_eq!(desk.apply(assess.clone()), outcome(194, false));
    assert_eq!(desk.apply(assess), outcome(0, true));
    assert_eq!(Amount::cents(desk.holds(Purpose::Pool)), pool);
    assert_eq!(desk.holds(nation("TUV")), -622_800);
    assert_eq!(desk.holds(nation("VAT")), 0);

    let other = Nations::embedded().text().replace("109", "110");
    let Outcome::Adopted { hash, opened: 0 } = desk.apply(Order::AdoptNations { text: other }) else { panic!() };
    let refused = Outcome::Refused(Refusal::Assessed { year, by: table });
    assert_eq!(desk.apply(Order::Assess { year, table: hash }), refused);
    let absent = desk.apply(Order::Assess { year: Period(2026), table: [7; 32] });
    assert_eq!(absent, Outcome::Refused(Refusal::UnknownTable([7; 32])));
    let totals = desk.book.totals(year, Dimension::Nation("TUV".parse().unwrap())).unwrap();
    assert_eq!(totals.len(), 1);
    assert_eq!((totals[0].0.from, totals[0].0.to, totals[0].1.amount), (Side::Nation, Side::Pool, 622_800));
    desk.check();
}

#[test]
fn a_closed_year_is_not_assessed_and_nothing_is_distributed_in_it() {
    let (mut desk, table) = covenant();
    desk.apply(Order::Close { through: YEAR });
    let closed = || Outcome::Refused(Refusal::PeriodClosed { through: YEAR, asked: YEAR });
    assert_eq!(desk.apply(Order::Assess { year: YEAR, table }), closed());
    assert_eq!(desk.distribute(7, 1000, table), closed());
    assert_eq!(desk.distribute(7, 1000, table), closed(), "it is the answer for ever");
    assert_eq!(desk.book.head().transfers, 0);
    desk.check();
}

#[test]
fn a_distribution_is_shared_once_and_another_content_is_named() {
    let (mut desk, table) = covenant();
    let first = desk.distribute(7, 10_000_000_001, table);
    let Outcome::Distributed { transfers, carried, unknown, again: false, first: 0 } = first else {
        panic!("{first:?}")
    };
    assert_eq!((transfers, carried, unknown.len()), (2 + 194, vec![], 1));
    assert_eq!(desk.holds(Purpose::Treasury), -10_000_000_001);
    assert_eq!(desk.holds(Purpose::Communities), 5_000_000_001);
    assert_eq!(desk.holds(Purpose::Reserve), 2_000_000_000);

    let again = desk.distribute(7, 10_000_000_001, [0; 32]);
    assert!(matches!(again, Outcome::Distributed { first: 0, transfers: 196, again: true, .. }), "{again:?}");
    let Outcome::Refused(refusal) = desk.distribute(7, 5, table) else { panic!() };
    assert!(
        refusal.to_string().contains("the amount is 100000000.01 in the book and 0.05 in this request"),
        "{refusal}"
    );
    let other =
        Order::Distribute { id: TransferId(7), amount: Amount::cents(10_000_000_001), period: Period(2027), table };
    let Outcome::Refused(refusal) = desk.apply(other) else { panic!() };
    assert!(refusal.to_string().contains("the period is 2026"), "{refusal}");
    let client = NewTransfer { id: TransferId(7), ..desk.transfer(Action::Post(movement(1, 2, 5))) };
    assert!(matches!(desk.batch(vec![client], false)[..], [Err(Refusal::IdUsed(_))]));
    let used = desk.booked(Action::Post(movement(1, 2, 5)));
    let Outcome::Refused(refusal) = desk.distribute(used.0, 5, table) else { panic!() };
    assert!(refusal.to_string().contains("a transfer in the book and a distribution"), "{refusal}");
    desk.check();
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let (mut desk, table) = covenant();
    let refusals = [
        (0, Refusal::AmountZero),
        (-1, Refusal::AmountNegative(-1)),
        (Amount::MAX.as_cents() + 1, Refusal::BadDistribution),
        (i128::MAX, Refusal::BadDistribution),
    ];
    for (id, (cents, refusal)) in (1..).zip(refusals) {
        assert_eq!(desk.distribute(id, cents, table), Outcome::Refused(refusal));
    }
    assert_eq!(desk.distribute(9, 5, [1; 32]), Outcome::Refused(Refusal::UnknownTable([1; 32])));
    assert_eq!(desk.distribute(0, 5, table), Outcome::Refused(Refusal::IdZero));
    assert_eq!(desk.distribute(u128::MAX, 5, table), Outcome::Refused(Refusal::IdReserved));
    assert_eq!(desk.book.entitlements().unwrap(), Entitlements::default());
    let text = "project".to_owned();
    assert!(matches!(desk.apply(Order::AdoptNations { text: text.clone() }), Outcome::Refused(Refusal::BadTable(_))));
    assert!(matches!(desk.apply(Order::AdoptProjects { text }), Outcome::Refused(Refusal::BadTable(_))));
    desk.check();
}

#[test]
fn a_payment_into_a_project_names_sector_project_and_nation() {
    let (mut desk, table) = covenant();
    desk.distribute(7, 1_000_000, table);
    let project: ProjectCode = "clean-water".parse().unwrap();
    let full = Tags { nation: Some("KEN".parse().unwrap()), sector: Some(Sector::Health), project: Some(project) };
    let pay = |tags| {
        let (debit, credit) = (id_of(Purpose::Communities), id_of(Purpose::Project(project)));
        Action::Post(Movement { debit, credit, amount: 100, tags })
    };
    for missing in
        [Tags::default(), Tags { nation: None, ..full }, Tags { sector: None, ..full }, Tags { project: None, ..full }]
    {
        assert_eq!(desk.refusal(pay(missing)), Refusal::TagsMissing(project));
    }
    let asked: ProjectCode = "bed-nets".parse().unwrap();
    let wrong = Tags { project: Some(asked), ..full };
    assert_eq!(desk.refusal(pay(wrong)), Refusal::WrongProject { is: project, asked });
    let sector = Refusal::WrongSector { project, is: Sector::Health, asked: Sector::Energy };
    assert_eq!(desk.refusal(pay(Tags { sector: Some(Sector::Energy), ..full })), sector);
    let nobody: Alpha3 = "XXX".parse().unwrap();
    assert_eq!(desk.refusal(pay(Tags { nation: Some(nobody), ..full })), Refusal::UnknownNation(nobody));
    let unlisted = Tags { project: Some("none".parse().unwrap()), ..Tags::default() };
    let unknown = desk.refusal(Action::Post(Movement { tags: unlisted, ..movement(1, 2, 1) }));
    assert_eq!(unknown, Refusal::UnknownProject("none".parse().unwrap()));

    desk.booked(pay(full));
    desk.booked(pay(full));
    let dimensions = [
        Dimension::Nation("KEN".parse().unwrap()),
        Dimension::Sector(Sector::Health),
        Dimension::Project(project),
        Dimension::All,
    ];
    for dimension in dimensions {
        let totals = desk.book.totals(YEAR, dimension).unwrap();
        let paid = totals.iter().find(|(key, _)| key.from == Side::Communities && key.to == Side::Project).unwrap();
        assert_eq!(paid.1, Total { count: 2, amount: 200 }, "{dimension:?}");
    }
    assert_eq!(desk.book.transfers(Dimension::Sector(Sector::Health), 0, 10).unwrap().len(), 2);
    assert_eq!(desk.book.transfers(Dimension::Project(project), 0, 1).unwrap().len(), 1);
    assert_eq!(desk.book.transfers(Dimension::Sector(Sector::Energy), 0, 10).unwrap(), []);
    let too_much = Action::Post(Movement {
        debit: id_of(Purpose::Communities),
        credit: id_of(Purpose::Project(project)),
        amount: 1_000_000,
        tags: full,
    });
    assert!(matches!(desk.refusal(too_much), Refusal::Short { .. }), "communities spend what they have");
    desk.check();
}

#[test]
fn a_project_stays_in_its_sector() {
    let (mut desk, _) = covenant();
    let text = "project,sector,name\na-new-one,health,N\nclean-water,energy,Wells\n".to_owned();
    let before = desk.balances().len();
    let moved =
        Refusal::ProjectMoved { project: "clean-water".parse().unwrap(), is: Sector::Health, asked: Sector::Energy };
    assert_eq!(desk.apply(Order::AdoptProjects { text }), Outcome::Refused(moved));
    assert_eq!(desk.balances().len(), before, "nothing of the list is taken");
    desk.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_book_pays_what_everybody_is_entitled_to_over_changing_tables(
        years in proptest::collection::vec(
            (1..5_000_000i128, proptest::collection::vec(proptest::option::weighted(0.8, 1..1_000_000i128), 8)), 1..12)
    ) {
        let mut desk = desk();
        let mut entitlements = Entitlements::default();
        for (at, (cents, gdps)) in (1..).zip(&years) {
            let code = |at: usize| format!("AA{}", char::from(b'A' + u8::try_from(at).unwrap()));
            let mut rows: Vec<_> = gdps.iter().enumerate().map(|(at, gdp)| (code(at), *gdp)).collect();
            rows.push(("ZZZ".to_owned(), Some(5)));
            let nations = table(&rows);
            desk.apply(Order::AdoptNations { text: nations.text().to_owned() });
            let outcome = desk.distribute(at, *cents, nations.hash_bytes());
            let Outcome::Distributed { carried, .. } = outcome else { panic!("{outcome:?}") };
            entitlements.distribute(Amount::cents(*cents), &nations).unwrap();
            prop_assert_eq!(carried, entitlements.carried());
        }
        for (code, due) in entitlements.nations() {
            prop_assert_eq!(desk.holds(Purpose::Nation(code)), due.paid);
        }
        prop_assert_eq!(desk.book.entitlements().unwrap(), entitlements);
        let shared: i128 = years.iter().map(|(cents, _)| cents).sum();
        prop_assert_eq!(desk.holds(Purpose::Treasury), -shared);
        prop_assert_eq!(desk.book.check().unwrap().problems, Vec::<String>::new());
    }
}
