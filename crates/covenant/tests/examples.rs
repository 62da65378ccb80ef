//! Every example tells its story to the end.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each of them prints.
const STORIES: &[(&str, &str)] = &[
    ("channel_pool", "allocated Some(0)\nallocated Some(1)\nallocated Some(0)\nallocated Some(0)\nincarnation 2\n"),
    (
        "connection",
        "read 1 bar\nthe actor ended before it replied: error: the line dropped; asking again\nread 2 bar\nthe actor ended \
         before it replied: error: the line dropped; asking again\nread 3 bar\nconnected 3 times\n",
    ),
    (
        "crew",
        "the porter says: the house is open\n/ann hears the bell\n/ben hears the bell\n/cat hears the bell\n3 were told\nsixty \
         rooms are cleaned by 3\nonly ben's rooms have another cleaner: true\n",
    ),
    (
        "door",
        "a wrong code opens it: false\nthe right one does: true\nada goes in\ngrace goes in\nada was number 1, grace number \
         2\nthe door closes\nlate: Err(Timeout)\n",
    ),
    (
        "many",
        "20000 parcels are on their way\none was lost, and its next incarnation has seen 2\nanother has seen 1\n20000 are \
         counted\n",
    ),
    (
        "watch",
        "2 keys are lent\n/ann ended: normal; its key is back\n/ben ended: error: stumbled; its key is back\nno key is lent\n",
    ),
    (
        "worker_pool",
        "alice's worker has done 1\nalice's worker has done 2\nanother's worker has done 1\na bad job: the actor ended before \
         it replied: error: a picture without pixels\nalice's next worker has done 1\nthe other's goes on: 2\n",
    ),
];

/// Where cargo puts examples: beside the folder of this test.
fn built(example: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples").join(example)
}

#[test]
fn every_example_tells_its_story() {
    for (example, story) in STORIES {
        let output = Command::new(built(example)).output().unwrap_or_else(|error| panic!("{example}: {error}"));
        assert!(output.status.success(), "{example}: {output:?}");
        // Actors and their callers print from threads of their own: the order of some lines is theirs.
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines(&said), lines(story), "{example}");
    }
}

#[test]
fn no_example_is_forgotten() {
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap();
    let there: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let told: BTreeSet<String> = STORIES.iter().map(|(example, _)| (*example).to_owned()).collect();
    assert_eq!(there, told);
}
