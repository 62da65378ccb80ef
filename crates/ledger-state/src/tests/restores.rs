//! A restored state is the whole new one or the old one.

use super::*;

fn viewed(state: &LedgerState) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.view().unwrap()(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_stream_cut_anywhere_or_with_a_flipped_bit_leaves_the_old_state() {
    let (old, new) = (support::commands(21, 12), support::commands(22, 20));
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, mut state) = open(dir.path());
    catch_up(&mut state, &new, 20);
    let bytes = viewed(&state);
    let other = tempfile::tempdir().unwrap();
    let (_other, mut restored) = open(other.path());
    catch_up(&mut restored, &old, 20);
    let (before, book) = (restored.state_hash(), in_memory(&old).1);
    let step = bytes.len() / 150;
    for length in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
        restored.restore(&mut &bytes[..length], &mark(99)).unwrap_err();
        assert_eq!((restored.state_hash(), marked(&restored)), (before, old.len()));
    }
    let mut flipped = bytes.clone();
    for bit in (0..bytes.len() * 8).step_by(step * 5 + 1) {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let restored = restored.restore(&mut flipped.as_slice(), &mark(99));
        assert!(restored.is_err(), "bit {bit}");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    restored.restore(&mut [bytes.as_slice(), &[0]].concat().as_slice(), &mark(99)).unwrap_err();
    assert_same(&restored, &book);
    let names = std::fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let runs = names.filter(|name| name.to_string_lossy().starts_with("run-")).count();
    assert_eq!(runs, restored.reader().book().unwrap().store().runs.len(), "nothing is left over");
    restored.restore(&mut bytes.as_slice(), &mark(new.len())).unwrap();
    assert_same(&restored, &in_memory(&new).1);
}

#[test]
fn a_crash_at_any_step_of_a_restore_leaves_the_old_state_or_the_new_one() {
    let (old, new) = (support::commands(23, 60), support::commands(24, 80));
    let dir = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(dir.path());
    catch_up(&mut state, &new, 20);
    let bytes = viewed(&state);
    drop((ledger, state));
    let home = tempfile::tempdir().unwrap();
    let (ledger, mut state) = open(home.path());
    catch_up(&mut state, &old, 20);
    drop(viewed(&state));
    let copy_of = |from: &Path| {
        let to = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
        }
        to
    };
    // Held, so that the runs before stay on the disk as they do until the very end.
    let reader = ledger.reader().book().unwrap();
    let before = copy_of(home.path());
    state.restore(&mut bytes.as_slice(), &mark(new.len())).unwrap();
    let after = copy_of(home.path());
    drop((ledger, state, reader));
    let manifest = |folder: &Path| std::fs::read(folder.join("manifest")).unwrap();
    let (old_manifest, new_manifest) = (manifest(before.path()), manifest(after.path()));
    let made: Vec<_> = crate::manifest::Manifest::decode(&new_manifest).unwrap().runs;
    let run = format!("run-{:016x}", made[0].number);
    let of_old = crate::manifest::Manifest::decode(&old_manifest).unwrap().journal.number;
    let old_journal = crate::journal::path_of(Path::new(""), of_old);
    let whole = std::fs::read(after.path().join(&run)).unwrap();
    let (old_book, new_book) = (in_memory(&old).1, in_memory(&new).1);
    // While the run is written the old manifest is in force: however much of the run is there.
    for length in (0..=whole.len()).step_by(whole.len() / 12) {
        let crashed = copy_of(after.path());
        std::fs::write(crashed.path().join(&run), &whole[..length]).unwrap();
        std::fs::copy(before.path().join(&old_journal), crashed.path().join(&old_journal)).unwrap();
        std::fs::write(crashed.path().join("manifest"), &old_manifest).unwrap();
        std::fs::write(crashed.path().join(".manifest.1.0.tmp"), &new_manifest[..new_manifest.len() / 2]).unwrap();
        let (_ledger, mut state) = open(crashed.path());
        assert_same(&state, &old_book);
        catch_up(&mut state, &old, 5);
        state.restore(&mut bytes.as_slice(), &mark(new.len())).unwrap();
        assert_same(&state, &new_book);
    }
    // Once the manifest is there the new state is, whether the old runs were deleted or not.
    let (_ledger, state) = open(after.path());
    assert_same(&state, &new_book);
    assert_eq!(marked(&state), new.len());
    assert_eq!(std::fs::read_dir(after.path()).unwrap().count(), 4, "the old runs are deleted at the next start");
}
