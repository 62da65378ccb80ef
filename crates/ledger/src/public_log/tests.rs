//! What a public log promises, on the disk and among voters, without a network.

#[path = "../../../ledger-state/tests/support/mod.rs"]
mod support;
mod tampering;

use std::path::Path;

use covenant_book::{Book, Command, MemoryStore, Nations, Order};
use covenant_consensus::{Command as Handed, Replicated};
use covenant_ledger_state::{Ledger, LedgerConfig, Reader};
use covenant_tlog::{
    AddCheckpoint, CHECKPOINT_FILE, Checkpoint, Directory, Policy, SignedNote, Verified, VerifierKey, VerifyError,
    sign, verify,
};
use covenant_types::{NodeName, WallTime};

use super::*;

/// A voter: its commands and its log.
struct Voter {
    dir: tempfile::TempDir,
    name: NodeName,
    ledger: Ledger,
    state: covenant_ledger_state::LedgerState,
    applied: usize,
    keeper: Keeper,
}

impl Voter {
    fn new(name: &str) -> Self {
        let (dir, name) = (tempfile::tempdir().unwrap(), NodeName::new(name).unwrap());
        let ledger = Ledger::open(&dir.path().join("book"), LedgerConfig::default()).unwrap();
        let state = ledger.state().unwrap();
        let keeper = open(dir.path(), &name, None);
        Self { dir, name, ledger, state, applied: 0, keeper }
    }

    fn apply(&mut self, commands: &[Vec<u8>]) {
        let handed = |bytes: &Vec<u8>| Handed { id: 0, bytes: bytes.clone(), at: support::time_of(bytes) };
        let commands: Vec<_> = commands.iter().map(handed).collect();
        self.applied += commands.len();
        self.state.apply(&commands, &self.applied.to_be_bytes()).unwrap();
    }

    fn reader(&self) -> Reader {
        self.ledger.reader()
    }

    /// Puts all commands into the log, signed.
    fn grow(&mut self) -> SignedNote {
        while self.keeper.grow(&self.ledger.reader()).unwrap() {}
        self.keeper.unpublished().unwrap()
    }

    /// The log's process starts again.
    fn restart(&mut self, trouble: Option<&str>) {
        self.keeper = open(self.dir.path(), &self.name, trouble);
    }

    fn folder(&self) -> std::path::PathBuf {
        public_folder(self.dir.path())
    }

    fn log_key(&self) -> VerifierKey {
        self.keeper.keys().shown().log.parse().unwrap()
    }

    fn witness_key(&self) -> VerifierKey {
        self.keeper.keys().shown().witness.parse().unwrap()
    }

    /// Asks another voter to cosign, as often as it takes.
    fn ask(&self, other: &mut Self, note: &SignedNote) -> CosignAnswer {
        let mut old_size = 0;
        for _ in 0..3 {
            let proof = self.keeper.proof(old_size).unwrap();
            let request = AddCheckpoint { old_size, proof, checkpoint: note.clone() }.to_string();
            let reader = other.reader();
            let answer = other.keeper.cosign(&reader, &request, 1_790_000_000).unwrap();
            let CosignAnswer::Conflict(seen) = answer else { return answer };
            old_size = seen;
        }
        panic!("a witness changes its mind");
    }

    /// Verifies the files and does the commands again.
    fn verify(&self, policy: &Policy) -> Result<(Verified, Replayed), String> {
        let temp = tempfile::tempdir().unwrap();
        let mut replay = Replay::new(temp.path()).unwrap();
        let verified: Result<Verified, VerifyError<ReplayError>> =
            verify(&Directory::new(self.folder()), policy, &[], |index, entry| replay.entry(index, entry));
        let verified = verified.map_err(|error| format!("{error:?}"))?;
        Ok((verified, replay.finish().map_err(|error| error.to_string())?))
    }
}

fn open(folder: &Path, name: &NodeName, trouble: Option<&str>) -> Keeper {
    let (keeper, found) = Keeper::open(&folder_of(folder), "covenant.example", name).unwrap();
    let found = found.map(|found| found.what);
    let expected = found.as_ref().zip(trouble).is_some_and(|(found, part)| found.contains(part));
    assert!(expected || (found.is_none() && trouble.is_none()), "{found:?} and not {trouble:?}");
    keeper
}

/// Commands of every kind, one of which takes several entries.
fn commands(count: usize) -> Vec<Vec<u8>> {
    let mut commands = support::commands(71, count);
    let long = "# a comment\n".repeat(12_000) + Nations::embedded().text();
    let order = Order::AdoptProjects { text: long };
    commands.insert(count / 2, Command { at: WallTime(0), order }.to_bytes());
    commands
}

fn state_of(commands: &[Vec<u8>]) -> String {
    let mut book = Book::open(MemoryStore::default()).unwrap();
    commands.iter().for_each(|command| drop(book.apply_bytes(command).unwrap()));
    blake3::Hash::from_bytes(book.state_hash()).to_hex().to_string()
}

#[test]
fn a_log_of_every_kind_of_command_verifies_and_replays_to_the_same_book() {
    let (mut voter, commands) = (Voter::new("hub"), commands(700));
    let policy = Policy::new(voter.log_key(), Vec::new(), 0).unwrap();
    for (done, step) in [(0, 1), (1, 3), (3, 300), (300, 701)] {
        voter.apply(&commands[done..step]);
        let note = voter.grow();
        voter.keeper.publish(note, Vec::new()).unwrap();
        let (verified, replayed) = voter.verify(&policy).unwrap();
        assert!(verified.listed && verified.head.size() >= step as u64);
        assert_eq!((replayed.counted.commands, replayed.state), (step as u64, state_of(&commands[..step])));
        voter.restart(None);
    }
    let (verified, replayed) = voter.verify(&policy).unwrap();
    assert!(verified.head.size() > 701, "one command takes several entries");
    assert!(replayed.counted.assessments > 0 && replayed.counted.distributions > 0 && replayed.counted.refused > 0);
}

#[test]
fn voters_cosign_what_they_agreed_on_and_nothing_else() {
    let commands = commands(600);
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(Voter::new);
    for (log, witness) in [(&a.log_key(), &mut b), (&a.log_key(), &mut c)] {
        witness.keeper.know(log.clone()).unwrap();
    }
    a.apply(&commands[..400]);
    let note = a.grow();
    assert_eq!(a.ask(&mut b, &note), CosignAnswer::Behind);
    // One has its own log as far, the other has the commands alone.
    b.apply(&commands[..400]);
    b.grow();
    c.apply(&commands[..450]);
    let lines = [a.ask(&mut b, &note), a.ask(&mut c, &note)].map(|answer| {
        let CosignAnswer::Cosigned(line) = answer else { panic!("{answer:?}") };
        line.parse().unwrap()
    });
    a.keeper.publish(note.clone(), lines.into()).unwrap();
    let policy = Policy::new(a.log_key(), vec![b.witness_key(), c.witness_key()], 2).unwrap();
    a.verify(&policy).unwrap();
    // A log may be smaller than that of its witness, who remembers over a restart, and then from where it goes on.
    a.apply(&commands[400..450]);
    b.apply(&commands[400..600]);
    b.grow();
    b.restart(None);
    b.keeper.know(a.log_key()).unwrap();
    let note = a.grow();
    assert!(matches!(a.ask(&mut b, &note), CosignAnswer::Cosigned(_)));
    assert!(matches!(a.ask(&mut c, &note), CosignAnswer::Cosigned(_)));

    // Somebody with the key of the log signs something else.
    let head = Checkpoint::parse(note.text()).unwrap();
    let other = |size, checkpoint: &Checkpoint| {
        let root = covenant_tlog::Hash::leaf(b"what never was");
        let text = Checkpoint { size, root, ..checkpoint.clone() }.to_string();
        sign(&a.keeper.keys().log_name, &a.keeper.keys().log, text)
    };
    for size in [head.size, head.size + 3] {
        let request = AddCheckpoint { old_size: head.size, proof: Vec::new(), checkpoint: other(size, &head) };
        let reader = b.reader();
        let answer = b.keeper.cosign(&reader, &request.to_string(), 0).unwrap();
        assert!(matches!(answer, CosignAnswer::Differs { .. }), "{answer:?}");
    }
    // Whoever has not the key of the log is not said to have signed anything.
    let forged = sign(&a.keeper.keys().log_name, &c.keeper.keys().log, other(head.size, &head).text().to_owned());
    let request = AddCheckpoint { old_size: head.size, proof: Vec::new(), checkpoint: forged };
    let reader = b.reader();
    assert!(matches!(b.keeper.cosign(&reader, &request.to_string(), 0).unwrap(), CosignAnswer::Refused(_)));
    let reader = b.reader();
    assert!(matches!(b.keeper.cosign(&reader, "no request", 0).unwrap(), CosignAnswer::Refused(_)));
}

#[test]
fn a_log_that_was_damaged_says_so_and_is_made_anew_to_the_same_root() {
    let (mut voter, commands) = (Voter::new("hub"), commands(600));
    voter.apply(&commands);
    let note = voter.grow();
    voter.keeper.publish(note, Vec::new()).unwrap();
    let policy = Policy::new(voter.log_key(), Vec::new(), 0).unwrap();
    let before = voter.verify(&policy).unwrap();
    let public = voter.folder();
    let checkpoint = public.join(CHECKPOINT_FILE);
    let signed = public.parent().unwrap().join("signed");
    let rot = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let damages: [(&dyn Fn(), Option<&str>); 6] = [
        (&|| rot(&checkpoint), Some("is no checkpoint of this log")),
        (&|| rot(&signed), Some("is no checkpoint of this log")),
        (&|| std::fs::remove_dir_all(public.join("tile")).unwrap(), Some("were lost")),
        (&|| std::fs::remove_dir_all(public.join("tile/entries")).unwrap(), Some("were lost")),
        (&|| std::fs::remove_dir_all(&public).unwrap(), Some("were lost")),
        (&|| std::fs::remove_dir_all(public.join("tile/0")).unwrap(), None),
    ];
    for (number, (damage, trouble)) in damages.into_iter().enumerate() {
        damage();
        voter.restart(trouble);
        // With one more command, so that there is something to sign in any case.
        voter.apply(&support::commands(90, 4 + number)[3 + number..]);
        let note = voter.grow();
        voter.keeper.publish(note, Vec::new()).unwrap();
        assert!(voter.keeper.is_whole());
        let (verified, replayed) = voter.verify(&policy).unwrap_or_else(|error| panic!("damage {number}: {error}"));
        assert_eq!(replayed.counted.commands, before.1.counted.commands + 1 + number as u64);
        assert_eq!(verified.head.size(), before.0.head.size() + 1 + number as u64);
    }
}

#[test]
fn a_last_entry_that_is_not_the_one_that_was_signed_is_not_gone_on_from() {
    let (mut voter, commands) = (Voter::new("hub"), support::commands(72, 512));
    voter.apply(&commands);
    let note = voter.grow();
    voter.keeper.publish(note, Vec::new()).unwrap();
    // The last bundle is full, so the edge of the tree says nothing of it.
    let bundle = voter.folder().join("tile/entries/001");
    let mut bytes = std::fs::read(&bundle).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    voter.restart(Some("its last entry is not what was signed"));
    voter.apply(&support::commands(73, 4)[3..]);
    let note = voter.grow();
    voter.keeper.publish(note, Vec::new()).unwrap();
    let policy = Policy::new(voter.log_key(), Vec::new(), 0).unwrap();
    assert_eq!(voter.verify(&policy).unwrap().1.counted.commands, 513);
}

#[test]
fn commands_that_are_not_those_that_were_signed_are_never_signed() {
    let mut voter = Voter::new("hub");
    voter.apply(&support::commands(74, 300));
    voter.grow();
    std::fs::remove_dir_all(voter.folder()).unwrap();
    voter.restart(Some("were lost"));
    // Another history is there when the log is made anew.
    let mut other = Voter::new("hub");
    other.apply(&support::commands(75, 400));
    assert!(voter.keeper.grow(&other.reader()).unwrap(), "it begins again once");
    assert!(matches!(voter.keeper.grow(&other.reader()), Err(covenant_tlog::WriteError::Contradiction { .. })));
    // With the right commands it goes on.
    voter.apply(&support::commands(74, 301)[300..]);
    let note = voter.grow();
    assert_eq!(Checkpoint::parse(note.text()).unwrap().size, 301);
}

#[test]
fn a_re_signed_log_whose_commands_were_changed_does_not_replay() {
    let commands = support::commands(76, 400);
    let applied = {
        let mut voter = Voter::new("hub");
        voter.apply(&commands);
        voter.reader().commands(0, 400).unwrap()
    };
    let records: Vec<Vec<u8>> = applied.iter().map(|applied| applied.as_bytes().to_vec()).collect();
    let replay = |records: &[Vec<u8>]| {
        let temp = tempfile::tempdir().unwrap();
        let mut replay = Replay::new(temp.path()).unwrap();
        let entries = (1..).zip(records).flat_map(|(position, record)| entries_of(position, record));
        for (index, entry) in (0..).zip(entries) {
            replay.entry(index, &entry)?;
        }
        replay.finish()
    };
    assert_eq!(replay(&records).unwrap().counted.commands, 400);
    for place in [3, 100, 255, 256, 399] {
        let change = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut changed = records.clone();
            change(&mut changed);
            assert!(matches!(replay(&changed), Err(ReplayError::Entry { .. })), "at {place}");
        };
        change(&|records| records[place][7] ^= 1);
        change(&|records| *records[place].last_mut().unwrap() ^= 1);
        change(&|records| records.swap(place, place - 1));
        change(&|records| records.insert(place, records[place].clone()));
        change(&|records| records[place].truncate(60));
        if place != 399 {
            change(&|records| _ = records.remove(place));
        }
    }
}
