//! Every way to change a log is found, by us and by a verifier in another language.

use std::path::Path;

use covenant_tlog::{CHECKPOINT_FILE, Hash, Head, MemoryFiles, VerifyError, parse_bundle, verify};

use crate::edits::edits;
use crate::fixture::{Authors, entries, tiles};
use crate::python::{Python, write, write_all};

const SIZE: u64 = 10_000;

/// One way to change a log, and the files that are then other than before; `None` is a file that is gone.
struct Tampering {
    what: String,
    changed: Vec<(String, Option<Vec<u8>>)>,
}

/// Everything that is done to a log of `entries` whose checkpoint has three signatures.
fn tamperings(authors: &Authors, all: &[Vec<u8>], files: &MemoryFiles) -> Vec<Tampering> {
    let mut list = Vec::new();
    flipped_bytes(files, &mut list);
    files_added_and_removed(files, &mut list);
    lines_of_the_checkpoint(authors, all, files, &mut list);
    entries_of_bundles(files, &mut list);
    histories(all, files, &mut list);
    list
}

fn one(what: String, name: &str, bytes: Vec<u8>) -> Tampering {
    Tampering { what, changed: vec![(name.to_owned(), Some(bytes))] }
}

/// Of the checkpoint every byte in two ways; of one file of each other kind bytes all over.
fn flipped_bytes(files: &MemoryFiles, list: &mut Vec<Tampering>) {
    let kinds = [
        "tile/entries/000",
        "tile/entries/021",
        "tile/entries/039.p/16",
        "tile/0/000",
        "tile/0/021",
        "tile/0/039.p/16",
        "tile/1/000.p/39",
    ];
    for name in kinds.into_iter().chain([CHECKPOINT_FILE]) {
        let bytes = &files[name];
        let step = if name == CHECKPOINT_FILE { 1 } else { bytes.len() / 6 };
        for place in (0..bytes.len()).step_by(step).chain([1, bytes.len() - 1]) {
            for bit in if name == CHECKPOINT_FILE { vec![0, 5] } else { vec![place % 8] } {
                let mut bytes = bytes.clone();
                bytes[place] ^= 1 << bit;
                list.push(one(format!("bit {bit} of byte {place} of {name} is flipped"), name, bytes));
            }
        }
        for (what, bytes) in [
            ("cut by a byte", bytes[..bytes.len() - 1].to_vec()),
            ("cut to half", bytes[..bytes.len() / 2].to_vec()),
            ("empty", Vec::new()),
            ("longer by a byte", [&bytes[..], &[0]].concat()),
            ("longer by a newline", [&bytes[..], b"\n"].concat()),
        ] {
            list.push(one(format!("{name} is {what}"), name, bytes));
        }
    }
}

fn files_added_and_removed(files: &MemoryFiles, list: &mut Vec<Tampering>) {
    for name in files.keys() {
        list.push(Tampering { what: format!("{name} is missing"), changed: vec![(name.clone(), None)] });
    }
    for name in [
        "index.html",
        ".checkpoint.1.0.tmp",
        "checkpoint.old",
        "tile/0/039.p/15",
        "tile/entries/039.p/15",
        "tile/0/039",
        "tile/0/040",
        "tile/entries/040.p/1",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/1/000.p/38",
        "tile/data/000",
        "tile/00/000",
        "tile/0/x000/000",
        "tile/entries/notes",
    ] {
        list.push(one(format!("{name} is added"), name, files["tile/0/039.p/16"].clone()));
    }
    for (a, b) in
        [("tile/0/000", "tile/0/001"), ("tile/entries/004", "tile/entries/005"), ("tile/0/000", "tile/entries/000")]
    {
        let changed = [(a, b), (b, a)].map(|(to, from)| (to.to_owned(), Some(files[from].clone())));
        list.push(Tampering { what: format!("{a} and {b} are swapped"), changed: changed.into() });
    }
}

fn lines_of_the_checkpoint(authors: &Authors, all: &[Vec<u8>], files: &MemoryFiles, list: &mut Vec<Tampering>) {
    let text = String::from_utf8(files[CHECKPOINT_FILE].clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| format!("{}\n", lines.join("\n")).into_bytes();
    let stranger = Authors::new(1).files(&all[..5]);
    let stranger = String::from_utf8(stranger[CHECKPOINT_FILE].clone()).unwrap();
    let older = authors.checkpoint(SIZE - 1, tiles(&all[..all.len() - 1]).1.root()).to_string();
    for place in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(place);
        list.push(one(format!("line {place} of the checkpoint is missing"), CHECKPOINT_FILE, join(&without)));
        let mut twice = lines.clone();
        twice.insert(place, lines[place]);
        list.push(one(format!("line {place} of the checkpoint is there twice"), CHECKPOINT_FILE, join(&twice)));
        let mut with_older = lines.clone();
        with_older[place] = older.lines().nth(place).unwrap();
        if with_older != lines {
            list.push(one(format!("line {place} is of an older checkpoint"), CHECKPOINT_FILE, join(&with_older)));
        }
    }
    for place in 0..=lines.len() {
        for added in
            ["", "more", "-", "— ", "— covenant.example/ledger AAAAAAAA"].into_iter().chain(stranger.lines().skip(4))
        {
            let mut more = lines.clone();
            more.insert(place, added);
            list.push(one(format!("{added:?} is line {place} of the checkpoint"), CHECKPOINT_FILE, join(&more)));
        }
    }
    list.push(one("the checkpoint is an older one".to_owned(), CHECKPOINT_FILE, older.into_bytes()));
    list.push(one("the checkpoint is a stranger's".to_owned(), CHECKPOINT_FILE, stranger.into_bytes()));
}

/// Bundles alone, with their tiles left as they are.
fn entries_of_bundles(files: &MemoryFiles, list: &mut Vec<Tampering>) {
    for (name, width) in [("tile/entries/000", 256), ("tile/entries/021", 256), ("tile/entries/039.p/16", 16)] {
        let bytes = &files[name];
        let entries: Vec<&[u8]> = parse_bundle(bytes, width).unwrap();
        for place in [0, 1, entries.len() / 2, entries.len() - 1] {
            for (what, edited) in edits(&entries, place) {
                let bytes = edited
                    .iter()
                    .flat_map(|entry| [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat());
                list.push(one(format!("entry {place} of {name} is {what}"), name, bytes.collect()));
            }
        }
    }
}

/// All tiles are made anew from other entries, and only the checkpoint stays.
fn histories(all: &[Vec<u8>], files: &MemoryFiles, list: &mut Vec<Tampering>) {
    let entries: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    for place in [0, 255, 256, 5000, 9_999] {
        for (what, edited) in edits(&entries, place) {
            let edited: Vec<Vec<u8>> = edited.iter().map(|entry| entry.to_vec()).collect();
            let (rewritten, _) = tiles(&edited);
            let gone = files.keys().filter(|name| *name != CHECKPOINT_FILE && !rewritten.contains_key(*name));
            let mut changed: Vec<_> = gone.map(|name| (name.clone(), None)).collect();
            let other = rewritten.into_iter().filter(|(name, bytes)| files.get(name) != Some(bytes));
            changed.extend(other.map(|(name, bytes)| (name, Some(bytes))));
            list.push(Tampering { what: format!("entry {place} is {what} and all tiles are made anew"), changed });
        }
    }
}

#[test]
fn whatever_is_changed_in_a_log_of_10_000_entries_both_verifiers_find_it() {
    let (authors, all) = (Authors::new(2), entries(SIZE));
    let files = authors.files(&all);
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path(), &files);
    let mut python = Python::new(&authors, &[]);
    let root = authors.verify(&files, &[]).unwrap().head.root();
    let good = format!("ok {SIZE} {root}\n");
    assert_eq!(python.answer(folder.path()), good);

    let (mut missed, list) = (Vec::new(), tamperings(&authors, &all, &files));
    for (number, Tampering { what, changed }) in list.iter().enumerate() {
        let mut tampered = files.clone();
        for (name, bytes) in changed {
            match bytes {
                Some(bytes) => drop(tampered.insert(name.clone(), bytes.clone())),
                None => drop(tampered.remove(name)),
            }
            write(folder.path(), name, bytes.as_ref());
        }
        assert_ne!(tampered, files, "{what}: nothing was changed");
        if authors.verify(&tampered, &[]).is_ok() {
            missed.push(format!("{what}: we accept it"));
        }
        let answer = python.answer(folder.path());
        if !answer.starts_with("bad ") {
            missed.push(format!("{what}: Python says {answer}"));
        }
        for (name, _) in changed {
            match files.get(name) {
                Some(bytes) => write(folder.path(), name, Some(bytes)),
                None => write(folder.path(), name, None),
            }
        }
        for above in changed.iter().flat_map(|(name, _)| Path::new(name).ancestors().skip(1)) {
            // Only a folder that was made for an added file is empty now.
            let _kept = std::fs::remove_dir(folder.path().join(above));
        }
        if number % 50 == 0 {
            assert_eq!(python.answer(folder.path()), good, "{what}: all was put back");
        }
    }
    assert!(list.len() > 1_200, "only {} ways to tamper", list.len());
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), list.len(), missed.join("\n"));
    assert_eq!(python.answer(folder.path()), good, "all was put back");
}

#[test]
fn a_history_that_was_rewritten_and_signed_again_is_found_against_any_one_earlier_checkpoint() {
    let (authors, all) = (Authors::new(2), entries(2_000));
    let kept: Vec<Head> =
        [1, 2, 255, 256, 257, 1000, 1999, 2000].iter().map(|size| authors.head(&all[..*size])).collect();
    let folder = tempfile::tempdir().unwrap();
    let (log, note) = (folder.path().join("log"), folder.path().join("kept"));
    write_all(&log, &authors.files(&all));
    authors.verify(&authors.files(&all), &kept).unwrap();

    let mut rewritten = all.clone();
    rewritten[0] = b"what never was".to_vec();
    let files = authors.files(&rewritten);
    authors.verify(&files, &[]).expect("who kept nothing finds nothing");
    for head in &kept {
        std::fs::write(&note, head.note().to_string()).unwrap();
        write_all(&log, &authors.files(&all));
        assert!(Python::new(&authors, &[&note]).answer(&log).starts_with("ok "), "{}", head.size());
        write_all(&log, &files);
        assert!(Python::new(&authors, &[&note]).answer(&log).starts_with("bad "), "{}", head.size());
        let found = authors.verify(&files, std::slice::from_ref(head)).unwrap_err();
        assert!(matches!(found, VerifyError::Rewritten { size } if size == head.size()), "{found}");
        let cut = usize::try_from(head.size()).unwrap() - 1;
        let found = authors.verify(&authors.files(&rewritten[..cut]), std::slice::from_ref(head));
        assert!(matches!(found.unwrap_err(), VerifyError::Shorter { .. }));
    }
    // One cosignature without the log's signature is as good as proof.
    let (text, lines) = (kept[3].note().text(), kept[3].note().signatures());
    let cosigned = format!("{text}\n{}\n", lines[2]);
    let kept = authors.policy.open_kept(cosigned.as_bytes()).unwrap();
    assert!(authors.policy.open(cosigned.as_bytes()).is_err());
    assert!(authors.verify(&files, &[kept]).is_err());
    std::fs::write(&note, cosigned).unwrap();
    assert!(Python::new(&authors, &[&note]).answer(&log).starts_with("bad the first 256 "));
}

#[test]
fn what_an_entry_means_is_for_the_caller_to_say() {
    #[derive(Debug, thiserror::Error)]
    #[error("it does not balance")]
    struct Unbalanced;
    let (authors, all) = (Authors::new(1), entries(300));
    let mut seen = Vec::new();
    let result = verify(&authors.files(&all), &authors.policy, &[], |index, entry| {
        seen.push(entry.to_vec());
        if index == 270 { Err(Unbalanced) } else { Ok(()) }
    });
    assert!(matches!(result, Err(VerifyError::Entry { index: 270, source: Unbalanced })));
    assert_eq!(seen, all[..=270]);
}

#[test]
fn an_empty_log_verifies_and_has_only_its_checkpoint() {
    let authors = Authors::new(1);
    let mut files = authors.files(&[]);
    assert_eq!(files.len(), 1);
    assert_eq!(authors.verify(&files, &[authors.head(&[])]).unwrap().head.root(), Hash::EMPTY_TREE);
    files.insert("tile/0/000.p/1".to_owned(), vec![0; 32]);
    assert!(authors.verify(&files, &[]).is_err());
}

#[test]
fn what_is_no_file_is_found_in_a_folder() {
    let (authors, folder) = (Authors::new(1), tempfile::tempdir().unwrap());
    let all = entries(300);
    write_all(folder.path(), &authors.files(&all));
    let mut python = Python::new(&authors, &[]);
    let verified = || {
        verify::<std::convert::Infallible>(
            &covenant_tlog::Directory::new(folder.path()),
            &authors.policy,
            &[],
            |_, _| Ok(()),
        )
    };
    assert!(verified().unwrap().listed && python.answer(folder.path()).starts_with("ok "));
    std::fs::create_dir_all(folder.path().join("empty/below")).unwrap();
    assert!(verified().is_err() && python.answer(folder.path()).starts_with("bad "), "an empty folder");
    std::fs::remove_dir_all(folder.path().join("empty")).unwrap();
    let tile = folder.path().join("tile/0/000");
    std::fs::rename(&tile, folder.path().with_extension("elsewhere")).unwrap();
    std::os::unix::fs::symlink(folder.path().with_extension("elsewhere"), &tile).unwrap();
    assert!(verified().is_err() && python.answer(folder.path()).starts_with("bad "), "a link");
    std::fs::remove_file(folder.path().with_extension("elsewhere")).unwrap();
}
