//! A file that is not what was written is found, and nothing of it is given out.

use std::path::PathBuf;

use super::*;
use crate::OpenError;

/// A folder with a state of several runs, and its commands.
fn written() -> (tempfile::TempDir, Vec<Vec<u8>>) {
    let commands = support::commands(31, 120);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    catch_up(&mut state, &commands, 1);
    drop(state.view().unwrap());
    ledger.wait_until_merged();
    (dir, commands)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| !path.ends_with("lock"));
    files.sort();
    files
}

#[test]
fn a_bit_that_flips_in_any_file_is_found_at_the_next_start() {
    let (dir, _) = written();
    let hash = open(dir.path()).1.state_hash();
    for path in files(dir.path()) {
        let good = std::fs::read(&path).unwrap();
        let bits = good.len() * 8;
        for bit in (0..bits).step_by(bits / 40 + 1).chain([0, bits - 1]) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).unwrap();
            let opened = Ledger::open(dir.path(), TINY);
            assert!(matches!(opened, Err(OpenError::Damaged { .. })), "bit {bit} of {}", path.display());
        }
        for length in [0, good.len() / 2, good.len() - 1] {
            std::fs::write(&path, &good[..length]).unwrap();
            let opened = Ledger::open(dir.path(), TINY);
            assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{length} of {}", path.display());
        }
        std::fs::write(&path, &good).unwrap();
    }
    let run = files(dir.path()).into_iter().find(|path| !path.ends_with("manifest")).unwrap();
    std::fs::rename(&run, run.with_extension("gone")).unwrap();
    assert!(matches!(Ledger::open(dir.path(), TINY), Err(OpenError::Damaged { .. })), "a run is missing");
    std::fs::rename(run.with_extension("gone"), &run).unwrap();
    assert_eq!(open(dir.path()).1.state_hash(), hash, "and nothing was changed by looking");
}

#[test]
fn a_bit_that_flips_under_a_running_ledger_is_never_given_out_and_ends_the_turn() {
    let (dir, commands) = written();
    let (ledger, mut state) = open(dir.path());
    for path in files(dir.path()).into_iter().filter(|path| !path.ends_with("manifest")) {
        let mut bytes = std::fs::read(&path).unwrap();
        // In the blocks, which are read as they are asked for.
        for at in (16..bytes.len() / 2).step_by(512) {
            bytes[at] ^= 4;
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    let found = ledger.reader().book().and_then(|book| book.check().map_err(crate::ledger::refused));
    assert_eq!(found.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    let more = support::commands(32, 40);
    let failed = state.apply(&handed(&more), &mark(commands.len() + 40)).unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::InvalidData);
    assert!(state.apply(&handed(&more), &mark(1)).is_err() && state.view().is_err() && state.book().is_err());
    drop((state, ledger));
    // It is deleted, and the log applied again.
    Ledger::discard(dir.path()).unwrap();
    let (_ledger, mut state) = open(dir.path());
    assert_eq!(state.mark().unwrap(), None);
    catch_up(&mut state, &commands, 50);
    assert_same(&state, &in_memory(&commands).1);
}
