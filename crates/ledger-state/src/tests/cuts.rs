//! How commands are cut into calls, and where the process ends, changes nothing.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn any_cut_of_the_same_commands_gives_the_same_answers_and_the_same_state(
        seed: u64,
        cuts in proptest::collection::vec((1..40usize, 0..6u8), 1..60),
    ) {
        let commands = support::commands(seed, 160);
        let (expected, book) = in_memory(&commands);
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, mut state) = open(dir.path());
        let (mut answers, mut applied) = (Vec::new(), 0);
        for (length, what) in cuts.into_iter().cycle() {
            if applied == commands.len() {
                break;
            }
            let next = (applied + length).min(commands.len());
            answers.truncate(applied);
            answers.extend(state.apply(&handed(&commands[applied..next]), &mark(next)).unwrap());
            applied = next;
            match what {
                // The process ends: the layer in memory is lost, and the log is applied again from the mark.
                0 => {
                    drop((ledger, state));
                    (ledger, state) = open(dir.path());
                    prop_assert!(marked(&state) <= applied);
                    applied = marked(&state);
                }
                1 => drop(state.view().unwrap()),
                2 => drop(ledger.reader().book().unwrap()),
                // The group opens its files again: nothing failed, so nothing is lost.
                3 => {
                    state = ledger.state().unwrap();
                    prop_assert_eq!(marked(&state), applied);
                }
                _ => {}
            }
        }
        prop_assert_eq!(answers, expected);
        assert_same(&state, &book);
        ledger.wait_until_merged();
        assert_same(&state, &book);
    }
}

#[test]
fn many_runs_are_merged_and_forget_what_was_removed() {
    let commands = support::commands(5, 900);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    // Each call is written before the next is applied.
    for (at, command) in commands.iter().enumerate() {
        state.apply(&handed(std::slice::from_ref(command)), &mark(at + 1)).unwrap();
        drop(state.view().unwrap());
    }
    ledger.wait_until_merged();
    let runs = ledger.inner().files.runs();
    assert!(runs.len() < 40, "{} runs", runs.len());
    assert!(runs.iter().any(|run| run.name().level > 1));
    drop(runs);
    let (_, book) = in_memory(&commands);
    assert_same(&state, &book);
    drop((ledger, state));
    let (ledger, state) = open(dir.path());
    assert_eq!(marked(&state), commands.len());
    assert_same(&state, &book);
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files(), ledger.inner().files.runs().len() + 3, "the lock, the manifest, the commands and the runs");
}

#[test]
fn bytes_that_are_no_command_change_nothing_and_get_an_empty_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, mut state) = open(dir.path());
    let before = state.state_hash();
    assert_eq!(state.apply(&handed(&[b"?".to_vec()]), &mark(1)).unwrap(), [Vec::<u8>::new()]);
    assert_eq!((state.state_hash(), marked(&state)), (before, 1));
}

#[test]
fn the_time_that_counts_is_the_leaders() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, mut state) = open(dir.path());
    let mut commands = handed(&support::commands(1, 3));
    commands[2].at = covenant_types::WallTime(5000);
    assert_ne!(support::time_of(&commands[2].bytes), commands[2].at);
    state.apply(&commands, &mark(3)).unwrap();
    assert_eq!(state.book().unwrap().head().at, commands[2].at);
}

#[test]
fn the_one_before_writes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut before) = open(dir.path());
    let commands = handed(&support::commands(1, 4));
    before.apply(&commands, &mark(4)).unwrap();
    let mut now = ledger.state().unwrap();
    assert!(before.apply(&commands, &mark(8)).unwrap_err().to_string().contains("another"));
    assert_eq!(marked(&now), 4);
    now.apply(&commands, &mark(8)).unwrap();
    assert!(matches!(Ledger::open(dir.path(), TINY), Err(crate::OpenError::InUse(_))));
}
