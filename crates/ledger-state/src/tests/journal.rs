//! The commands that were applied are all there, in order, and only those that were.

use std::os::unix::fs::FileExt;

use super::*;
use crate::Applied;

/// All commands, a few at a time.
fn kept(ledger: &Ledger, most: usize) -> Vec<Applied> {
    let (reader, mut all) = (ledger.reader(), Vec::new());
    loop {
        let page = reader.commands(all.len() as u64, most).unwrap();
        assert!(page.len() <= most);
        if page.is_empty() {
            assert_eq!(all.len() as u64, reader.applied());
            return all;
        }
        all.extend(page);
    }
}

/// What should be kept of these commands.
fn expected(commands: &[Vec<u8>]) -> Vec<Applied> {
    let mut book = Book::open(MemoryStore::default()).unwrap();
    let applied = |bytes: &Vec<u8>| {
        book.apply_bytes(bytes).unwrap();
        Applied::new(&book.state_hash(), bytes)
    };
    commands.iter().map(applied).collect()
}

#[test]
fn every_command_is_kept_whether_it_is_written_yet_or_not() {
    let commands = support::commands(51, 1500);
    let expected = expected(&commands);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    for step in [1, 3, 300, 900, 1500] {
        catch_up(&mut state, &commands[..step], 7);
        assert_eq!(kept(&ledger, 11), expected[..step]);
        assert_eq!(kept(&ledger, 5000), expected[..step]);
    }
    drop(state.view().unwrap());
    assert_eq!(kept(&ledger, 400), expected);
    drop((ledger, state));
    let (ledger, mut state) = open(dir.path());
    assert_eq!(kept(&ledger, 256), expected);
    let more = [commands, support::commands(52, 40)].concat();
    catch_up(&mut state, &more, 9);
    assert_eq!(kept(&ledger, 1)[..1500], expected);
    assert_eq!(kept(&ledger, 50).len(), 1540);
}

#[test]
fn bytes_that_are_no_command_are_not_kept_and_the_leaders_time_is() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    let mut commands = handed(&[b"?".to_vec(), support::commands(1, 1).remove(0)]);
    commands[1].at = covenant_types::WallTime(77_777);
    state.apply(&commands, &mark(2)).unwrap();
    let kept = kept(&ledger, 9);
    assert_eq!(kept.len(), 1);
    assert_eq!(support::time_of(kept[0].command()), commands[1].at);
    assert_eq!(kept[0].state_hash(), state.state_hash());
}

#[test]
fn what_a_crash_left_behind_the_manifest_is_written_over() {
    let (commands, others) = (support::commands(53, 90), support::commands(54, 200));
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    catch_up(&mut state, &commands, 9);
    drop(state.view().unwrap());
    let name = ledger.inner().files.journal();
    drop((ledger, state));
    let file = crate::journal::path_of(dir.path(), name.number);
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&[7; 9000], name.bytes).unwrap();
    let (ledger, mut state) = open(dir.path());
    assert_eq!(kept(&ledger, 50), expected(&commands));
    let all = [commands, others].concat();
    catch_up(&mut state, &all, 9);
    drop(state.view().unwrap());
    drop((ledger, state));
    let (ledger, _state) = open(dir.path());
    assert_eq!(kept(&ledger, 50), expected(&all));
}

#[test]
fn a_restored_state_has_the_commands_of_the_one_it_was_copied_from() {
    let (old, new) = (support::commands(55, 300), support::commands(56, 700));
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_ledger, mut state) = open(dir.path());
    catch_up(&mut state, &new, 20);
    let mut bytes = Vec::new();
    state.view().unwrap()(&mut bytes).unwrap();
    let (ledger, mut restored) = open(other.path());
    catch_up(&mut restored, &old, 20);
    restored.restore(&mut bytes.as_slice(), &mark(new.len())).unwrap();
    assert_eq!(kept(&ledger, 100), expected(&new));
    let all = [new, old].concat();
    catch_up(&mut restored, &all, 13);
    drop((ledger, restored));
    let (ledger, mut restored) = open(other.path());
    catch_up(&mut restored, &all, 13);
    assert_eq!(kept(&ledger, 100), expected(&all));
}

#[test]
fn a_bit_that_flips_under_a_running_ledger_is_never_given_out() {
    let commands = support::commands(57, 400);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    catch_up(&mut state, &commands, 20);
    drop(state.view().unwrap());
    let path = crate::journal::path_of(dir.path(), ledger.inner().files.journal().number);
    let good = std::fs::read(&path).unwrap();
    let expected = expected(&commands);
    for bit in (0..good.len() * 8).step_by(good.len() / 20) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bad).unwrap();
        let (mut found, mut from) = (0, 0);
        while from < commands.len() {
            match ledger.reader().commands(from as u64, 64) {
                Ok(page) => {
                    assert_eq!(page, expected[from..from + page.len()], "bit {bit}");
                    from += page.len();
                }
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "bit {bit}");
                    found += 1;
                    from += 1;
                }
            }
        }
        // Nobody reads the magic again but as the check before the first block.
        assert!(found > 0, "bit {bit}");
    }
}
