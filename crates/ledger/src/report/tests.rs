use covenant_book::{Command, DeviceId, Intent, IntentState, MemoryStore, Order, Outcome, SignedIntent};
use covenant_types::{TransferId, WallTime};

use super::*;
use crate::order::{self, Step, Wanted};
use crate::{IntentWanted, offline};

const AT: WallTime = WallTime(1_790_000_000);
const YEAR: u16 = 2026;

fn apply(book: &mut Book<MemoryStore>, order: Order) -> Outcome {
    let outcome = book.apply(&Command { at: AT, order }).unwrap();
    let refused = matches!(&outcome, Outcome::Refused(_))
        || matches!(&outcome, Outcome::Answers(answers) if answers.iter().any(|answer| answer.result.is_err()));
    assert!(!refused, "{outcome:?}");
    outcome
}

fn transfer(book: &mut Book<MemoryStore>, (id, year): (u128, u16), from: &str, to: &str, amount: &str) {
    let nation = to.starts_with("project:").then(|| "KEN".to_owned());
    let (from, to, amount) = (from.to_owned(), to.to_owned(), amount.to_owned());
    let wanted = Wanted { id: TransferId(id), from, to, amount, nation };
    let order = order::transfer(&wanted, Period(year), Nations::embedded(), Projects::embedded()).unwrap();
    apply(book, order);
}

fn step(book: &mut Book<MemoryStore>, id: u128, step: &Step) {
    let (nations, projects) = (Nations::embedded(), Projects::embedded());
    apply(book, order::step(TransferId(id), step, Period(YEAR), nations, projects).unwrap());
}

fn sample() -> Book<MemoryStore> {
    let mut book = Book::open(MemoryStore::default()).unwrap();
    for order in order::tables(Nations::embedded()) {
        apply(&mut book, order);
    }
    apply(&mut book, order::assess(YEAR, Nations::embedded()).unwrap());
    let profit = order::distribute("1000000.01", TransferId(7), Period(YEAR), Nations::embedded()).unwrap();
    apply(&mut book, profit);
    transfer(&mut book, (8, YEAR), "treasury", "nation:KEN", "100.00");
    transfer(&mut book, (9, YEAR), "treasury", "nation:KEN", "11.00");
    // Of another year, and so in another report.
    transfer(&mut book, (10, YEAR - 1), "treasury", "nation:KEN", "5.00");
    transfer(&mut book, (11, YEAR), "communities", "project:seed-banks", "40.00");
    transfer(&mut book, (12, YEAR), "communities", "project:seed-banks", "2.00");
    step(&mut book, 13, &Step::Correct { of: TransferId(9), amount: Some("1.00".to_owned()) });
    book
}

/// All pages, read with so many transfers to a page, with `between` done to the book after each.
fn gather(book: &mut Book<MemoryStore>, mut between: impl FnMut(&mut Book<MemoryStore>)) -> (YearReport, usize) {
    let (mut gathered, mut start, mut pages) = (Gathered::default(), None, 0);
    loop {
        let mut page = page(book, Period(YEAR), start.as_ref()).unwrap();
        start = page.next.take();
        gathered.add(page);
        pages += 1;
        if start.is_none() {
            let as_of = AsOf::default();
            return (gathered.done(YEAR, as_of, Nations::embedded(), Projects::embedded()), pages);
        }
        between(book);
    }
}

#[test]
fn a_year_is_told_as_it_was_booked_and_sums_add_up() {
    let (report, _) = gather(&mut sample(), |_| {});
    let kenya = report.nations.iter().find(|row| row.nation == "KEN").unwrap();
    assert_eq!((kenya.name.as_str(), kenya.region.as_str()), ("Kenya", "africa"));
    assert_eq!((kenya.sums.paid.as_str(), kenya.sums.other.as_str()), ("110.00", "0.00"));
    assert_eq!(kenya.sums.into_projects, "42.00");
    assert_eq!(report.sums.assessed, "10953934201.60");
    assert_eq!((report.communities.as_str(), report.reserve.as_str()), ("500000.01", "200000.00"));
    assert_eq!(report.sums.received, "300000.00");
    assert_eq!((report.nations.len(), report.unknown.as_slice()), (194, &["Holy See".to_owned()][..]));
    let of = |amount: &String| amount.replace('.', "").parse::<i128>().unwrap();
    let regions: i128 = report.regions.iter().map(|row| of(&row.sums.assessed)).sum();
    assert_eq!(regions, 1_095_393_420_160);
    let [agriculture, ..] = report.sectors.as_slice() else { panic!("no sectors") };
    assert_eq!(
        (agriculture.sector.as_str(), agriculture.amount.as_str(), agriculture.payments),
        ("agriculture", "42.00", 2)
    );
    assert_eq!(agriculture.projects.len(), 1);
    assert_eq!(report.sectors.len(), 6);
    assert_eq!(report.table.as_deref(), Some(Nations::embedded().hash()));
}

#[test]
fn pages_show_one_moment_though_the_book_goes_on() {
    let mut book = sample();
    for id in 0..u128::try_from(READ_MAX).unwrap() {
        transfer(&mut book, (1000 + id, YEAR), "treasury", "nation:KEN", "0.01");
    }
    let (before, pages) = gather(&mut book, |_| {});
    assert!(pages > 1, "one page has it all");
    let mut id = 100_000;
    let (beside, _) = gather(&mut book, |book| {
        for nation in ["nation:KEN", "nation:ZWE"] {
            id += 1;
            transfer(book, (id, YEAR), "treasury", nation, "7.00");
        }
    });
    assert_eq!(beside, before);
    let (after, _) = gather(&mut book, |_| {});
    assert_ne!(after, before);
}

#[test]
fn a_year_without_bookings_is_an_empty_report_and_no_error() {
    let book = Book::open(MemoryStore::default()).unwrap();
    let page = page(&book, Period(1999), None).unwrap();
    assert!(page.next.is_none());
    let mut gathered = Gathered::default();
    gathered.add(page);
    let report = gathered.done(1999, AsOf::default(), Nations::embedded(), Projects::embedded());
    assert_eq!((report.table, report.nations.len(), report.sums.assessed.as_str()), (None, 0, "0.00"));
}

#[test]
fn the_picture_shows_every_region_and_sector_and_is_well_formed() {
    let (report, _) = gather(&mut sample(), |_| {});
    let svg = plot(&report);
    for row in &report.regions {
        assert!(svg.contains(&format!(">{}<", row.region)), "{}", row.region);
        assert!(svg.contains(&format!("${}<", row.sums.assessed)), "{}", row.region);
    }
    for row in &report.sectors {
        assert!(svg.contains(&format!(">{}<", row.sector)), "{}", row.sector);
    }
    for tag in ["svg", "title", "text", "style"] {
        assert_eq!(svg.matches(&format!("<{tag}")).count(), svg.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    // What a name could hold does not end its text.
    let mut hostile = report;
    hostile.regions.truncate(1);
    hostile.regions[0].region = "<script>\"&".to_owned();
    let svg = plot(&hostile);
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;&quot;&amp;"));
}

#[test]
fn what_a_tower_paid_into_a_project_counts_like_what_communities_paid() {
    let (mut book, key) = (sample(), covenant_identity::NodeKey::generate());
    let tables = (Nations::embedded(), Projects::embedded());
    let (period, public) = (Period(YEAR), offline::hex(&key.public_key()));
    apply(&mut book, offline::open((&public, TransferId(20)), ("communities", "50.00"), period, tables).unwrap());
    let (to, amount) = ("project:seed-banks".to_owned(), "3.00".to_owned());
    let wanted = IntentWanted { id: TransferId(21), to, amount, nation: Some("KEN".to_owned()) };
    let device = DeviceId::of(&key.public_key());
    let wish = offline::wish(&wanted, device, period, tables).unwrap();
    let intent = Intent { device, sequence: 1, wish };
    let signed = SignedIntent { intent, signature: key.sign(&intent.to_bytes()) };
    let outcome = apply(&mut book, Order::Intents(vec![signed]));
    assert!(matches!(outcome, Outcome::Intents(answers) if matches!(answers[0], Ok(IntentState::Applied { .. }))));
    let (report, _) = gather(&mut book, |_| {});
    assert_eq!((report.sectors[0].amount.as_str(), report.sectors[0].payments), ("45.00", 3));
    let kenya = report.nations.iter().find(|row| row.nation == "KEN").unwrap();
    assert_eq!(kenya.sums.into_projects, "45.00");
}
