use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use covenant_book::{Order, Outcome, Period};
use covenant_consensus::{Command as Handed, Replicated};
use covenant_env::Env;
use covenant_ledger_state::{Ledger, LedgerConfig, LedgerState};
use covenant_types::{NodeId, TransferId, WallTime};

use super::*;
use crate::Nations;
use crate::order::{self, Wanted};

const AT: u64 = 1_790_000_000;
const ME: NodeId = NodeId([7; 16]);

/// A ledger in which some things happened, a second apart.
struct Sample {
    dir: tempfile::TempDir,
    state: LedgerState,
    position: u64,
    /// The hash of the book and how many transfers there were, after so many commands.
    after: Vec<([u8; 32], u64)>,
}

impl Sample {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("book"), LedgerConfig::default()).unwrap();
        let state = ledger.state().unwrap();
        let after = vec![(state.state_hash(), 0)];
        let mut sample = Self { dir, state, position: 0, after };
        for order in order::tables(Nations::embedded()) {
            sample.apply(order);
        }
        sample.apply(order::assess(2024, Nations::embedded()).unwrap());
        for id in 1..=600 {
            sample.transfer(id);
        }
        sample
    }

    fn apply(&mut self, order: Order) {
        let at = WallTime(AT + self.position);
        let answers = self.state.apply(&[Handed { id: 0, bytes: order::command(order), at }], b"mark").unwrap();
        assert!(!matches!(Outcome::from_bytes(&answers[0]).unwrap(), Outcome::Refused(_)));
        self.position += 1;
        self.after.push((self.state.state_hash(), self.state.book().unwrap().head().transfers));
    }

    fn transfer(&mut self, id: u128) {
        let (from, to, amount) = ("treasury".to_owned(), "nation:KEN".to_owned(), "1.00".to_owned());
        let wanted = Wanted { id: TransferId(id), from, to, amount, nation: None };
        let projects = covenant_book::Projects::embedded();
        self.apply(order::transfer(&wanted, Period(2026), Nations::embedded(), projects).unwrap());
    }

    fn save(&self) -> PathBuf {
        let path = self.dir.path().join("backup");
        let head = BackupHead {
            cluster: "covenant".to_owned(),
            node: NodeName::new("hub-africa").unwrap(),
            taken: WallTime(AT + 1000),
            position: self.position,
            transfers: self.after.last().unwrap().1,
            state: blake3::Hash::from_bytes(self.state.state_hash()).to_hex().to_string(),
        };
        let mut file = std::fs::File::create(&path).unwrap();
        write(&head, &mut file, self.state.view().unwrap()).unwrap();
        path
    }

    fn restore(&self, until: Until) -> Restore {
        let folder = self.dir.path().join("node");
        crate::LedgerConfig::let_begin(&folder).unwrap();
        Restore { folder, me: ME, until, same_cluster: false }
    }
}

#[test]
fn a_backup_is_done_again_and_comes_to_the_same_book() {
    let sample = Sample::new();
    let backup = BackupFile::open(&sample.save()).unwrap();
    assert_eq!(backup.head().position, sample.position);
    backup.check_hash().unwrap();
    let mut heard = 0;
    let checked = check(&backup, &sample.dir.path().join("scratch"), |done| heard = done).unwrap();
    assert_eq!((checked.position, heard), (sample.position, sample.position));
    assert!(checked.problems.is_empty() && checked.state == backup.head().state, "{checked:?}");
}

#[test]
fn a_backup_that_says_what_its_book_is_not_is_refused_though_its_hash_is_right() {
    let sample = Sample::new();
    let path = sample.save();
    let good = BackupFile::open(&path).unwrap().head().clone();
    let wrong = [
        BackupHead { state: "0".repeat(64), ..good.clone() },
        BackupHead { position: good.position + 1, ..good.clone() },
        BackupHead { transfers: good.transfers + 1, ..good },
    ];
    for (number, head) in wrong.into_iter().enumerate() {
        write(&head, &mut std::fs::File::create(&path).unwrap(), sample.state.view().unwrap()).unwrap();
        let backup = BackupFile::open(&path).unwrap();
        backup.check_hash().unwrap();
        let checked = check(&backup, &sample.dir.path().join(format!("scratch-{number}")), |_| {});
        assert!(matches!(checked, Err(BackupError::Damaged { .. })), "{checked:?}");
    }
}

#[test]
fn a_bit_that_flips_anywhere_in_a_backup_and_a_cut_at_any_length_is_found() {
    let sample = Sample::new();
    let path = sample.save();
    let whole = std::fs::read(&path).unwrap();
    let found = || match BackupFile::open(&path) {
        Ok(backup) => backup.check_hash().is_err(),
        Err(_) => true,
    };
    assert!(!found());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 97).chain([whole.len() - 1]) {
        let flipped = whole[at] ^ (1 << (at % 8));
        file.write_all_at(&[flipped], at as u64).unwrap();
        assert!(found(), "byte {at}");
        file.write_all_at(&[whole[at]], at as u64).unwrap();
    }
    assert!(!found());
    for length in (0..whole.len()).step_by(whole.len() / 37) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(found(), "length {length}");
    }
    std::fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
    assert!(found(), "a byte more");
}

#[tokio::test]
async fn a_book_is_restored_as_it_was_at_any_position_or_time() {
    let sample = Sample::new();
    let backup = BackupFile::open(&sample.save()).unwrap();
    let env = Env::for_test(1);
    let all = usize::try_from(sample.position).unwrap();
    let points = [
        (Until::End, all),
        (Until::Position(3), 3),
        (Until::Position(256), 256),
        (Until::Position(257), 257),
        (Until::Time(WallTime(AT + 299)), 300),
        (Until::Time(WallTime(AT - 1)), 0),
    ];
    for (until, commands) in points {
        let to = sample.restore(until);
        let tried = restore(&backup, &to, &env, true, |_| {}).await.unwrap();
        assert!(!tried.restored && !to.folder.join("log").exists());
        let done = restore(&backup, &to, &env, false, |_| {}).await.unwrap();
        let (hash, transfers) = sample.after[commands];
        let expected = blake3::Hash::from_bytes(hash).to_hex().to_string();
        assert_eq!((done.position, done.transfers, done.state), (commands as u64, transfers, expected), "{until:?}");
        // The node's own files come to the same book when it starts.
        assert!(to.folder.join("log").exists() && !to.folder.join("restoring").exists());
        std::fs::remove_dir_all(&to.folder).unwrap();
    }
    let beyond = restore(&backup, &sample.restore(Until::Position(10_000)), &env, false, |_| {}).await;
    assert!(matches!(&beyond, Err(BackupError::Refused(why)) if why.contains("ends at position 603")), "{beyond:?}");
}

#[tokio::test]
async fn a_node_that_keeps_a_book_or_did_not_begin_its_cluster_is_not_restored() {
    let sample = Sample::new();
    let backup = BackupFile::open(&sample.save()).unwrap();
    let env = Env::for_test(1);
    let to = sample.restore(Until::End);
    std::fs::create_dir(to.folder.join("book")).unwrap();
    let kept = restore(&backup, &to, &env, false, |_| {}).await;
    assert!(matches!(&kept, Err(BackupError::Refused(why)) if why.contains("keeps a book already")), "{kept:?}");
    std::fs::remove_dir_all(&to.folder).unwrap();
    let joined = Restore { folder: to.folder.clone(), ..to };
    std::fs::create_dir(&joined.folder).unwrap();
    let refused = restore(&backup, &joined, &env, false, |_| {}).await;
    assert!(matches!(&refused, Err(BackupError::Refused(why)) if why.contains("--same-cluster")), "{refused:?}");
    let told = Restore { same_cluster: true, ..joined };
    assert!(restore(&backup, &told, &env, false, |_| {}).await.unwrap().restored);
}
