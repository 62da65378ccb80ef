//! Whatever is changed in a log of real commands is found, by us and by a verifier in another language.
//!
//! Files and lines that are added or missing are changed in `covenant-tlog`'s own test of this kind, on a log as long as this one.

#[path = "../../../../tlog/tests/log/edits.rs"]
mod edits;
#[allow(dead_code, reason = "the tests of the log itself use the rest")]
#[path = "../../../../tlog/tests/log/fixture.rs"]
mod fixture;
#[path = "../../../../tlog/tests/log/python.rs"]
mod python;

use std::collections::BTreeMap;

use covenant_book::{AllowanceOrder, Decision, DeviceId, Intent, Period, Purpose, SignedIntent, Tags, Wish};
use covenant_identity::NodeKey;
use covenant_tlog::{CHECKPOINT_FILE, MemoryFiles, TileKind, TilePath, parse_bundle};
use covenant_types::TransferId;
use edits::edits;
use fixture::{Authors, tiles};
use python::{Python, write, write_all};

use super::*;

const SIZE: usize = 10_000;

/// The entries of a log, one for each command, and of each kind of command where it first stands and where it stands in the middle.
struct Log {
    entries: Vec<Vec<u8>>,
    kinds: BTreeMap<&'static str, (usize, usize)>,
}

fn kind_of(order: &Order) -> &'static str {
    match order {
        Order::Open(_) => "open",
        Order::Transfer { whole: true, .. } => "transfer, all or none",
        Order::Transfer { whole: false, .. } => "transfer",
        Order::Expire { .. } => "expire",
        Order::Close { .. } => "close",
        Order::AdoptNations { .. } => "nations",
        Order::AdoptProjects { .. } => "projects",
        Order::Assess { .. } => "assess",
        Order::Distribute { .. } => "distribute",
        Order::OpenAllowance(_) => "allowance",
        Order::Intents(_) => "intents",
        Order::WriteOff { .. } => "write-off",
        Order::Resolve { .. } => "resolve",
    }
}

/// What towers and those who look after them want, some of which is refused: that stands in the log too.
fn of_towers() -> Vec<Vec<u8>> {
    let device = NodeKey::from_pem(crate::fuzz::DEVICE).unwrap();
    let (key, period) = (device.public_key(), Period(2026));
    let (from, to) = (Purpose::Treasury.account().unwrap(), Purpose::Communities.account().unwrap());
    let device_id = DeviceId::of(&key);
    let signed = |sequence: u64| {
        let wish = Wish::Pay {
            id: TransferId(u128::from(sequence) + (1 << 90)),
            to,
            amount: 5,
            tags: Tags::default(),
            period,
        };
        let intent = Intent { device: device_id, sequence, wish };
        SignedIntent { intent, signature: device.sign(&intent.to_bytes()) }
    };
    let open = AllowanceOrder { key, id: TransferId(1 << 91), from, amount: 1000, period };
    let reason = || "a test".to_owned();
    let orders = [
        Order::OpenAllowance(open),
        Order::Intents(vec![signed(1), signed(2)]),
        Order::Intents(vec![signed(2), signed(3)]),
        Order::WriteOff { device: device_id, reason: reason(), period },
        Order::Intents(vec![signed(4)]),
        Order::Resolve { entry: 0, decision: Decision::Reject, reason: reason(), period },
    ];
    orders.map(|order| Command { at: WallTime(1000), order }.to_bytes()).into()
}

fn log() -> Log {
    let mut voter = Voter::new("hub");
    let of_towers = of_towers();
    let mut commands = support::commands(81, SIZE - of_towers.len());
    commands.splice(SIZE / 2..SIZE / 2, of_towers);
    voter.apply(&commands);
    let (mut entries, mut places) = (Vec::new(), BTreeMap::<_, Vec<usize>>::new());
    while entries.len() < SIZE {
        for applied in voter.reader().commands(entries.len() as u64, 1000).unwrap() {
            let command = Command::from_bytes(applied.command()).unwrap();
            places.entry(kind_of(&command.order)).or_default().push(entries.len());
            entries.extend(entries_of(entries.len() as u64 + 1, applied.as_bytes()));
        }
    }
    let kinds = places.into_iter().map(|(kind, places)| (kind, (places[0], places[places.len() / 2])));
    Log { entries, kinds: kinds.collect() }
}

/// Both verifiers, and the folder in which one of them looks.
struct Verifiers<'a> {
    authors: &'a Authors,
    files: &'a MemoryFiles,
    folder: tempfile::TempDir,
    python: Python,
    tried: usize,
    missed: Vec<String>,
}

impl Verifiers<'_> {
    fn try_with(&mut self, what: &str, changed: &MemoryFiles) {
        let gone = self.files.keys().filter(|name| !changed.contains_key(*name));
        let new = changed.iter().filter(|(name, bytes)| self.files.get(*name) != Some(bytes));
        let others: Vec<(&String, Option<&Vec<u8>>)> =
            gone.map(|name| (name, None)).chain(new.map(|(name, bytes)| (name, Some(bytes)))).collect();
        assert!(!others.is_empty(), "{what}: nothing was changed");
        self.tried += 1;
        if self.authors.verify(changed, &[]).is_ok() {
            self.missed.push(format!("{what}: we accept it"));
        }
        others.iter().for_each(|(name, bytes)| write(self.folder.path(), name, *bytes));
        let answer = self.python.answer(self.folder.path());
        if !answer.starts_with("bad ") {
            self.missed.push(format!("{what}: Python says {answer}"));
        }
        for (name, _) in others {
            write(self.folder.path(), name, self.files.get(name));
        }
    }
}

fn bundle(entries: &[&[u8]]) -> Vec<u8> {
    let with_length = |entry: &&[u8]| [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat();
    entries.iter().flat_map(with_length).collect()
}

fn replayed(entries: &[Vec<u8>]) -> Result<Replayed, ReplayError> {
    let temp = tempfile::tempdir().unwrap();
    let mut replay = Replay::new(temp.path()).unwrap();
    (0..).zip(entries).try_for_each(|(index, entry)| replay.entry(index, entry))?;
    replay.finish()
}

#[test]
fn whatever_is_changed_in_a_log_of_10_000_commands_of_every_kind_both_verifiers_find_it() {
    let Log { entries, kinds } = log();
    assert_eq!((entries.len(), kinds.len()), (SIZE, 13), "{kinds:?}");
    let (authors, folder) = (Authors::new(2), tempfile::tempdir().unwrap());
    let files = authors.files(&entries);
    write_all(folder.path(), &files);
    let mut python = Python::new(&authors, &[]);
    let good = format!("ok {SIZE} {}\n", authors.verify(&files, &[]).unwrap().head.root());
    assert_eq!(python.answer(folder.path()), good);
    let whole: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let mut both = Verifiers { authors: &authors, files: &files, folder, python, tried: 0, missed: Vec::new() };
    for (kind, (_, place)) in &kinds {
        let size = SIZE as u64;
        let path = TilePath::in_tree(TileKind::Entries, *place as u64 / 256, size).unwrap();
        let in_bundle = parse_bundle(&files[&path.to_string()], path.width()).unwrap();
        let at = place % 256;
        for byte in [0, 9, 10, 41, 42, in_bundle[at].len() - 1] {
            let mut flipped = in_bundle.clone();
            let mut entry = flipped[at].to_vec();
            entry[byte] ^= 1 << (byte % 8);
            flipped[at] = &entry;
            let mut changed = files.clone();
            changed.insert(path.to_string(), bundle(&flipped));
            both.try_with(&format!("a bit of byte {byte} of {kind} is flipped"), &changed);
        }
        for (what, edited) in edits(&in_bundle, at) {
            let mut changed = files.clone();
            changed.insert(path.to_string(), bundle(&edited));
            both.try_with(&format!("{kind} is {what}"), &changed);
        }
        for (what, edited) in edits(&whole, *place).into_iter().take(3) {
            let edited: Vec<Vec<u8>> = edited.iter().map(|entry| entry.to_vec()).collect();
            let mut changed = tiles(&edited).0;
            changed.insert(CHECKPOINT_FILE.to_owned(), files[CHECKPOINT_FILE].clone());
            both.try_with(&format!("{kind} is {what} and all tiles are made anew"), &changed);
        }
    }
    assert!(both.missed.is_empty(), "{} of {}:\n{}", both.missed.len(), both.tried, both.missed.join("\n"));
    assert!(both.tried > 130, "only {} changes", both.tried);
    assert_eq!(both.python.answer(both.folder.path()), good, "all was put back");
}

#[test]
fn a_log_that_was_changed_and_signed_again_is_found_by_doing_it_again_and_by_any_one_earlier_checkpoint() {
    let Log { entries, kinds } = log();
    let authors = Authors::new(1);
    assert_eq!(replayed(&entries).unwrap().counted.commands, SIZE as u64);
    for (kind, (first, _)) in &kinds {
        // Enough behind it for whatever its change leads to.
        let some: Vec<&[u8]> = entries[..first + 300].iter().map(Vec::as_slice).collect();
        for (what, edited) in edits(&some, *first) {
            let edited: Vec<Vec<u8>> = edited.iter().map(|entry| entry.to_vec()).collect();
            let found = replayed(&edited);
            assert!(matches!(found, Err(ReplayError::Entry { .. })), "{kind} is {what}: {found:?}");
        }
    }
    let mut rewritten = entries.clone();
    *rewritten[100].last_mut().unwrap() ^= 1;
    let signed_again = authors.files(&rewritten);
    authors.verify(&signed_again, &[]).expect("who kept nothing and does nothing again finds nothing");
    for size in [101, 256, 5000, SIZE] {
        let kept = authors.head(&entries[..size]);
        assert!(authors.verify(&signed_again, std::slice::from_ref(&kept)).is_err(), "{size}");
    }
}
