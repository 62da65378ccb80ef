//! The corpus never does harm again, and the hunt finds what is there to be found.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use covenant_fuzz::{Bounds, Hunted, Stop, Target, Trouble, corpus, hunt, targets, try_one};

/// Long enough for a machine that is busy with other tests.
fn patient() -> Bounds {
    Bounds { time: Duration::from_secs(60), ..Bounds::default() }
}

fn hunted(target: &Target, begin_with: Vec<Vec<u8>>, count: u64) -> (Hunted, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let hunted = hunt(target, begin_with, 1, Stop::After(count), &patient(), folder.path()).unwrap();
    (hunted, folder)
}

#[test]
fn every_target_has_a_corpus_and_no_input_in_it_does_harm() {
    for target in targets() {
        let kept = corpus::kept(&corpus::folder(), &target).unwrap();
        assert!(!kept.is_empty(), "{} has no corpus: just fuzz {} --write-seeds", target.name, target.name);
        for (path, input) in kept {
            let outcome = try_one(&target, &input, &patient());
            assert!(outcome.is_ok(), "{}: {:?}", path.display(), outcome.unwrap_err());
        }
    }
}

#[test]
fn a_short_hunt_in_every_target_finds_nothing() {
    for target in targets() {
        let begin_with = corpus::begin_with(&corpus::folder(), &target).unwrap();
        let (Hunted { finding, .. }, _folder) = hunted(&target, begin_with, 300);
        assert!(finding.is_none(), "{}: {finding:?}", target.name);
    }
}

#[test]
fn every_folder_of_the_corpus_is_of_a_target() {
    for entry in std::fs::read_dir(corpus::folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(targets().iter().any(|target| target.name == name), "{name} is no target");
    }
}

fn believes_a_length(bytes: &[u8]) {
    if let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length).min(1 << 28) as usize;
        let mut copy: Vec<u8> = Vec::with_capacity(length);
        copy.extend(rest);
    }
}

fn cuts_without_looking(bytes: &[u8]) {
    if let Some((length, rest)) = bytes.split_first() {
        assert_eq!(rest[..usize::from(*length)].len(), usize::from(*length));
    }
}

#[test]
fn a_decoder_that_reserves_what_a_length_says_is_found() {
    let target = Target::new("greedy", believes_a_length, Vec::new);
    let (hunted, _folder) = hunted(&target, vec![vec![0, 0, 0, 3, 1, 2, 3]], 10_000);
    assert!(matches!(hunted.finding.map(|finding| finding.trouble), Some(Trouble::Greedy(bytes)) if bytes > 4 << 20));
}

#[test]
fn a_decoder_that_panics_is_found_and_its_input_is_kept_short_and_does_it_again() {
    let target = Target::new("careless", cuts_without_looking, Vec::new);
    let (hunted, _folder) = hunted(&target, vec![[&[40][..], &[7; 40]].concat()], 10_000);
    let finding = hunted.finding.expect("it panics");
    let kept = std::fs::read(&finding.file).unwrap();
    assert_eq!(kept, finding.input);
    assert_eq!(kept.len(), 1, "a length with nothing behind it is enough");
    assert!(matches!(try_one(&target, &kept, &patient()), Err(Trouble::Panicked(why)) if why.contains("corpus.rs")));
}

#[test]
fn a_hunt_is_the_same_each_time() {
    let target = targets().into_iter().find(|target| target.name == "feed-frame").unwrap();
    let run = || {
        let begin_with = corpus::begin_with(&corpus::folder(), &target).unwrap();
        let (Hunted { tried, new, .. }, _folder) = hunted(&target, begin_with, 3000);
        (tried, new)
    };
    assert_eq!(run(), run());
}
