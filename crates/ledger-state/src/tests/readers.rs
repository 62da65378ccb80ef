//! Whoever reads sees one moment, whole, and disturbs nobody.

use std::io;

use covenant_book::{AccountId, Dimension, Point};

use super::*;

#[test]
fn what_a_reader_holds_is_the_state_at_its_position_whatever_is_applied_meanwhile() {
    let commands = support::commands(11, 300);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    let mut held = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        state.apply(&handed(std::slice::from_ref(command)), &mark(at + 1)).unwrap();
        if at % 25 == 0 {
            held.push(ledger.reader().book().unwrap());
        }
    }
    ledger.wait_until_merged();
    for book in held {
        let position = usize::try_from(book.head().position).unwrap();
        let (_, expected) = in_memory(&commands[..position]);
        assert!(rows(book.store()) == rows(expected.store()), "the book at {position}");
        assert_eq!(book.state_hash(), expected.state_hash());
        let now = state.book().unwrap();
        for account in book.accounts(AccountId(0), 10).unwrap() {
            let then = now.balances_at(account.spec.id, Point::Position(position as u64)).unwrap();
            assert_eq!(then, Some(account.balances), "the balance at a position is what a reader saw there");
        }
    }
}

#[test]
fn readers_beside_the_writer_see_books_that_balance_and_never_an_older_one_after_a_newer() {
    let commands = support::commands(12, 400);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    let done = std::sync::atomic::AtomicBool::new(false);
    let last = std::thread::scope(|threads| {
        let reader = ledger.reader();
        let done = &done;
        let reading = threads.spawn(move || {
            let mut position = 0;
            loop {
                let ended = done.load(std::sync::atomic::Ordering::Acquire);
                let book = reader.book().unwrap();
                assert!(book.head().position >= position);
                position = book.head().position;
                assert_eq!(book.check().unwrap().problems, Vec::<String>::new());
                assert_eq!(book.transfers(Dimension::All, 0, 9).unwrap().len() as u64, book.head().transfers.min(9));
                if ended {
                    return position;
                }
            }
        });
        catch_up(&mut state, &commands, 3);
        done.store(true, std::sync::atomic::Ordering::Release);
        reading.join().unwrap()
    });
    assert_eq!(last, commands.len() as u64, "with nobody writing a reader sees all of it");
}

#[test]
fn a_view_is_the_state_at_its_mark_while_more_is_applied() {
    let commands = support::commands(13, 240);
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, mut state) = open(dir.path());
    catch_up(&mut state, &commands[..100], 10);
    let view = state.view().unwrap();
    catch_up(&mut state, &commands, 10);
    let mut bytes = Vec::new();
    view(&mut bytes).unwrap();
    let other = tempfile::tempdir().unwrap();
    let (_other, mut restored) = open(other.path());
    restored.restore(&mut bytes.as_slice(), &mark(100)).unwrap();
    assert_same(&restored, &in_memory(&commands[..100]).1);
    catch_up(&mut restored, &commands, 7);
    assert_same(&restored, &in_memory(&commands).1);
}

#[test]
fn a_reader_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _state) = open(dir.path());
    let mut book = ledger.reader().book().unwrap();
    let error = book.apply_bytes(&support::commands(1, 1)[0]).unwrap_err();
    assert_eq!(crate::ledger::refused(error).kind(), io::ErrorKind::ReadOnlyFilesystem);
}
