//! A disk without room: what is there is read on, commands are refused when memory is full too, and it goes on later.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// Takes the place of the file that comes next, so that it cannot be made, as a disk without room would not let it.
struct Full {
    blocks: Vec<std::path::PathBuf>,
}

impl Full {
    fn new(ledger: &Ledger, folder: &Path) -> Self {
        let runs = ledger.inner().files.runs();
        let next = runs.iter().map(|run| run.name().number).max().map_or(0, |number| number + 1);
        let blocks: Vec<_> = (next..next + 3000).map(|number| crate::run::path_of(folder, number)).collect();
        for path in &blocks {
            std::fs::create_dir(path).unwrap();
        }
        Self { blocks }
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        for path in &self.blocks {
            std::fs::remove_dir(path).unwrap();
        }
    }
}

#[test]
fn a_disk_that_takes_nothing_refuses_commands_and_is_read_on_and_goes_on_later() {
    let commands = support::commands(41, 500);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    catch_up(&mut state, &commands[..60], 5);
    ledger.wait_until_merged();
    let full = Full::new(&ledger, dir.path());
    let mut applied = 60;
    let refused = loop {
        let next = applied + 5;
        match state.apply(&handed(&commands[applied..next]), &mark(next)) {
            Ok(_) => applied = next,
            Err(error) => break error,
        }
    };
    assert!(refused.raw_os_error().is_some(), "{refused}");
    // Nothing of the refused commands happened, and all before them is there.
    let (_, book) = in_memory(&commands[..applied]);
    assert_same(&state, &book);
    assert_eq!(marked(&state), applied);
    assert!(state.view().is_err(), "a snapshot would let the log go");
    let same = ledger.reader().book().unwrap();
    assert_eq!(same.head().position, applied as u64);
    // The group opens its files again when there is room.
    drop(full);
    let mut state = ledger.state().unwrap();
    assert_eq!(marked(&state), applied);
    catch_up(&mut state, &commands, 5);
    assert_same(&state, &in_memory(&commands).1);
}

#[test]
fn files_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("ledger");
    let (_ledger, mut state) = open(&folder);
    catch_up(&mut state, &support::commands(42, 60), 5);
    drop(state.view().unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| mode(&entry.unwrap().path())).collect();
    assert!(files.len() >= 3 && files.iter().all(|mode| *mode == 0o600), "{files:?}");
}
