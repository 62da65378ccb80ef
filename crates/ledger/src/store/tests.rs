use covenant_types::{TransferId, WallTime};

use super::*;
use crate::Account;
use crate::error::LedgerErrorKind;

fn book() -> (tempfile::TempDir, BookStore) {
    let dir = tempfile::tempdir().unwrap();
    let book = BookStore::open(&dir.path().join("ledger/book.redb")).unwrap();
    (dir, book)
}

fn transfer(number: u128, from: Account, cents: i128) -> Vec<Entry> {
    vec![Entry::transfer(TransferId(number), from, Account::Communities, Amount::cents(cents), WallTime(1))]
}

fn post(book: &BookStore, group: Vec<Entry>) -> Result<Vec<Posting>, LedgerError> {
    post_by(book, group, Nations::embedded())
}

fn post_by(book: &BookStore, group: Vec<Entry>, nations: &Nations) -> Result<Vec<Posting>, LedgerError> {
    book.post(&[group], nations).unwrap().remove(0)
}

#[test]
fn an_id_books_once_and_never_another_content() {
    let (_dir, book) = book();
    assert_eq!(post(&book, transfer(1, Account::Treasury, 100)), Ok(vec![Posting::Booked(0)]));
    let mut later = transfer(1, Account::Treasury, 100);
    later[0].at = WallTime(99);
    assert_eq!(
        post(&book, later),
        Ok(vec![Posting::Known(Box::new(transfer(1, Account::Treasury, 100).remove(0)))]),
        "the time of sending does not matter"
    );
    let error = post(&book, transfer(1, Account::Treasury, 200)).unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Conflict);
    let both = "entry 0, a transfer of $1.00 from treasury to communities; this request is a transfer of $2.00 from treasury to communities; nothing was booked";
    assert!(error.message.contains(both), "{error}");
    assert_eq!(book.totals().unwrap(), (1, Amount::ZERO));
}

#[test]
fn only_accounts_that_may_owe_go_below_zero() {
    let (_dir, book) = book();
    let error = post(&book, transfer(1, Account::Pool, 100)).unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Refused);
    assert!(error.message.contains("pool holds 1.00 too little"), "{error}");
    assert_eq!(book.totals().unwrap().0, 0);
    for (id, source) in [(2, Account::Treasury), (3, Account::Reserve), (4, Account::Nation("KEN".parse().unwrap()))] {
        assert!(post(&book, transfer(id, source, 100)).is_ok(), "{source}");
    }
}

#[test]
fn a_group_is_booked_whole_or_not_at_all_and_others_are_not_touched() {
    let (_dir, book) = book();
    let bad = [transfer(1, Account::Treasury, 100), transfer(2, Account::Pool, 100)].concat();
    let good = transfer(3, Account::Treasury, 7);
    let results = book.post(&[bad, good], Nations::embedded()).unwrap();
    assert!(results[0].is_err() && results[1] == Ok(vec![Posting::Booked(0)]));
    assert_eq!(book.balances().unwrap().accounts.len(), 2);
    assert!(book.check(Nations::embedded()).unwrap().ok);
}

#[test]
fn two_entries_of_a_batch_see_each_other() {
    let (_dir, book) = book();
    let fill = vec![Entry::transfer(TransferId(1), Account::Treasury, Account::Pool, Amount::cents(100), WallTime(1))];
    let results = book
        .post(&[fill, transfer(2, Account::Pool, 60), transfer(3, Account::Pool, 60)], Nations::embedded())
        .unwrap();
    assert!(results[0].is_ok() && results[1].is_ok() && results[2].is_err());
}

#[test]
fn what_was_booked_is_there_after_the_book_was_dropped() {
    let (dir, book) = book();
    post(&book, transfer(1, Account::Treasury, 100)).unwrap();
    let before = book.balances().unwrap();
    drop(book);
    let book = BookStore::open(&dir.path().join("ledger/book.redb")).unwrap();
    assert_eq!(book.balances().unwrap(), before);
    assert_eq!(
        post(&book, transfer(1, Account::Treasury, 100)),
        Ok(vec![Posting::Known(Box::new(transfer(1, Account::Treasury, 100).remove(0)))])
    );
}

#[test]
fn a_check_finds_what_was_changed_behind_the_book() {
    let (_dir, book) = book();
    let (entries, _) = Entry::assessments(2024, Nations::embedded(), WallTime(1));
    post(&book, entries).unwrap();
    assert_eq!(book.check(Nations::embedded()).unwrap().entries, 194);
    let write = book.database.begin_write().unwrap();
    write.open_table(BALANCES).unwrap().insert("nation:KEN", 1).unwrap();
    write.open_table(ENTRIES).unwrap().remove(5).unwrap();
    write.commit().unwrap();
    let check = book.check(Nations::embedded()).unwrap();
    assert!(!check.ok);
    let found = check.problems.join("; ");
    assert!(found.contains("entry 5 is missing") && found.contains("nation:KEN holds 0.01"), "{found}");
}

#[test]
fn a_check_sees_one_moment_also_while_others_book() {
    let (_dir, book) = book();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..100 {
                post(&book, transfer(number, Account::Treasury, 100)).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            assert_eq!(book.check(Nations::embedded()).unwrap().problems, Vec::<String>::new());
        }
    });
    assert_eq!(book.check(Nations::embedded()).unwrap().entries, 100);
}

#[test]
fn an_id_that_stands_twice_in_one_group_is_refused() {
    let (_dir, book) = book();
    let twice = [transfer(1, Account::Treasury, 100), transfer(1, Account::Treasury, 100)].concat();
    assert_eq!(post(&book, twice).unwrap_err().kind, LedgerErrorKind::BadRequest);
    assert_eq!(book.totals().unwrap().0, 0);
}

#[test]
fn an_unbalanced_entry_is_refused() {
    let (_dir, book) = book();
    let mut entry = transfer(1, Account::Treasury, 100);
    entry[0].legs[0].1 = Amount::cents(-99);
    assert_eq!(post(&book, entry).unwrap_err().kind, LedgerErrorKind::BadRequest);
}

#[test]
fn a_year_is_owed_once_whatever_the_table_says_later() {
    let (_dir, book) = book();
    let (entries, _) = Entry::assessments(2024, Nations::embedded(), WallTime(1));
    post(&book, entries).unwrap();
    let other =
        "iso2,iso3,name,region,income,population,gdp_usd,gdp_year\nKE,KEN,Kenya,africa,low,1,104001000000,2022\n";
    let other = Nations::parse(other).unwrap();
    let error = post_by(&book, Entry::assessments(2024, &other, WallTime(2)).0, &other).unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Refused);
    post_by(&book, Entry::assessments(2025, &other, WallTime(2)).0, &other).unwrap();
    assert_eq!(book.totals().unwrap(), (195, Amount::ZERO));
}

#[test]
fn the_tables_that_entries_follow_from_are_kept_for_later_programs() {
    let (_dir, book) = book();
    let (entries, _) = Entry::assessments(2024, Nations::embedded(), WallTime(1));
    post(&book, entries).unwrap();
    let later =
        "iso2,iso3,name,region,income,population,gdp_usd,gdp_year\nKE,KEN,Kenya,africa,low,1,104001000000,2022\n";
    let later = Nations::parse(later).unwrap();
    assert_eq!(book.check(&later).unwrap().problems, Vec::<String>::new(), "a program with another table knows it");

    let write = book.database.begin_write().unwrap();
    write.open_table(NATIONS).unwrap().insert(Nations::embedded().hash(), &b"iso2"[..]).unwrap();
    write.commit().unwrap();
    let problems = book.check(&later).unwrap().problems;
    assert!(problems[0].contains("is damaged") && problems[1].contains("which is not there"), "{problems:?}");
}

#[test]
fn an_entry_by_a_table_that_nobody_gave_is_refused() {
    let (_dir, book) = book();
    let other =
        "iso2,iso3,name,region,income,population,gdp_usd,gdp_year\nKE,KEN,Kenya,africa,low,1,104001000000,2022\n";
    let entries = Entry::assessments(2024, &Nations::parse(other).unwrap(), WallTime(1)).0;
    assert_eq!(post(&book, entries).unwrap_err().kind, LedgerErrorKind::BadRequest);
}

#[test]
fn nothing_is_booked_on_top_of_a_book_whose_tables_do_not_fit_each_other() {
    for damage in ["an entry", "an id", "a balance"] {
        let (dir, book) = book();
        for number in 0..3 {
            post(&book, transfer(number, Account::Treasury, 100)).unwrap();
        }
        let write = book.database.begin_write().unwrap();
        match damage {
            "an entry" => drop(write.open_table(ENTRIES).unwrap().remove(1).unwrap()),
            "an id" => drop(write.open_table(IDS).unwrap().remove(1).unwrap()),
            _ => drop(write.open_table(BALANCES).unwrap().insert("treasury", 5).unwrap()),
        }
        write.commit().unwrap();
        drop(book);
        let error = BookStore::open(&dir.path().join("ledger/book.redb")).unwrap_err();
        assert!(error.message.contains("restore it from another copy"), "{damage}: {error}");
    }
}

#[test]
fn amounts_at_the_edge_are_refused_and_never_wrap() {
    let (_dir, book) = book();
    let of = |id, from: i128, to: i128| {
        let legs = vec![(Account::Treasury, Amount::cents(from)), (Account::Communities, Amount::cents(to))];
        vec![Entry { legs, ..transfer(id, Account::Treasury, 1).remove(0) }]
    };
    assert!(post(&book, of(1, i128::MIN, i128::MAX)).is_err());
    assert!(post(&book, of(2, -i128::MAX, i128::MAX)).is_err());
    let many = vec![(Account::Treasury, Amount::ZERO); crate::entry::LEGS_MAX + 1];
    let many = vec![Entry { legs: many, ..transfer(3, Account::Treasury, 1).remove(0) }];
    assert_eq!(post(&book, many).unwrap_err().kind, LedgerErrorKind::BadRequest);
    assert_eq!(book.totals().unwrap(), (0, Amount::ZERO));
}
