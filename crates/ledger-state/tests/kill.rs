//! SIGKILL of the process that applies, in the middle of it: with the log applied again from the mark nothing is missing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use covenant_book::{Book, MemoryStore};
use covenant_consensus::{Command as Handed, Replicated};
use covenant_ledger_state::{Ledger, LedgerConfig, LedgerState};

const FOLDER: &str = "COVENANT_TEST_LEDGER";
const SEED: u64 = 77;
const COMMANDS: usize = 1200;
const ROUNDS: usize = 6;
/// Little, so that runs are made and merged all the time.
const TINY: LedgerConfig = LedgerConfig { pending_bytes: 15_000, cache_bytes: 20_000, check_on_open: true };

fn marked(state: &LedgerState) -> usize {
    let mark = state.mark().unwrap();
    mark.map_or(0, |mark| usize::try_from(u64::from_be_bytes(mark.try_into().unwrap())).unwrap())
}

/// Applies from the mark on, and says how far it is after each call.
fn apply_all(folder: &Path, mut say: impl FnMut(usize)) -> (Ledger, LedgerState) {
    let commands = support::commands(SEED, COMMANDS);
    let ledger = Ledger::open(folder, TINY).unwrap();
    let mut state = ledger.state().unwrap();
    let mut applied = marked(&state);
    while applied < COMMANDS {
        let next = (applied + 3).min(COMMANDS);
        let handed = |bytes: &Vec<u8>| Handed { id: 0, bytes: bytes.clone(), at: support::time_of(bytes) };
        let handed: Vec<_> = commands[applied..next].iter().map(handed).collect();
        state.apply(&handed, &(next as u64).to_be_bytes()).unwrap();
        applied = next;
        say(applied);
    }
    (ledger, state)
}

#[test]
fn a_killed_process_finds_its_state_at_its_mark_and_catches_up_to_the_same_hash() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        // One write a line: a line is said whole or not at all.
        apply_all(Path::new(&folder), |applied| {
            std::io::stdout().write_all(format!("\napplied {applied}\n").as_bytes()).unwrap();
        });
        return;
    }
    let commands = support::commands(SEED, COMMANDS);
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_process_finds_its_state_at_its_mark_and_catches_up_to_the_same_hash",
                "--nocapture",
            ])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| line.strip_prefix("applied ").and_then(|at| at.parse::<usize>().ok()));
        // Each round is killed at another place.
        let seen = said.by_ref().take(25 + 7 * round).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = said.last().unwrap_or(seen);

        let ledger = Ledger::open(dir.path(), TINY).unwrap();
        let state = ledger.state().unwrap();
        let mark = marked(&state);
        assert!(before <= mark && mark <= last + 3, "round {round}: from {before} to {mark}, said {last}");
        let mut book = Book::open(MemoryStore::default()).unwrap();
        commands[..mark].iter().for_each(|command| drop(book.apply_bytes(command).unwrap()));
        assert_eq!(state.state_hash(), book.state_hash(), "round {round}: the state is the one at its mark");
        before = mark;
    }
    assert!(before > 0, "something was kept");
    let (_ledger, state) = apply_all(dir.path(), |_| {});
    let mut book = Book::open(MemoryStore::default()).unwrap();
    commands.iter().for_each(|command| drop(book.apply_bytes(command).unwrap()));
    assert_eq!(state.state_hash(), book.state_hash());
    assert_eq!(state.book().unwrap().check().unwrap().problems, Vec::<String>::new());
}
