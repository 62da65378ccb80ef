//! Trees of a running node: shown, compared with files, changed.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{self, assert_refused, run, text};
use crate::standalone::Solo;

/// The tree files of the repository in a folder of their own, to be changed.
fn trees() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../supervisor-trees");
    for file in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    dir
}

fn change(trees: &tempfile::TempDir, name: &str, from: &str, to: &str) -> PathBuf {
    let path = trees.path().join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{name} has {from:?}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    trees.path().join("hub.toml")
}

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn paths(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|change| change["path"].as_str().unwrap()).collect()
}

#[test]
fn tree_check_warns_with_places_and_only_strict_refuses() {
    let trees = trees();
    let clean = run(&["tree", "check", "--strict", text(&trees.path().join("hub.toml"))]);
    assert!(clean.status.success(), "{clean:?}");
    let hub = change(&trees, "hub.toml", "tree = \"content\"", "tree = \"content\"\nrestart = \"transient\"");
    let line = std::fs::read_to_string(&hub).unwrap().lines().position(|line| line.starts_with("restart")).unwrap() + 1;
    let warned = run(&["tree", "check", text(&hub)]);
    let said = String::from_utf8_lossy(&warned.stdout).into_owned();
    assert!(warned.status.success(), "{warned:?}");
    assert!(said.contains(&format!("hub.toml:{line}:1: ")) && said.contains("[supervisor-not-permanent]"), "{said}");
    let strict = run(&["tree", "check", "--strict", "--json", text(&hub)]);
    assert_refused(&strict, 6, &["1 warning", "--strict"]);
    let found = json(&strict);
    assert_eq!(found["ok"], false);
    assert_eq!(
        (&found["warnings"][0]["line"], &found["warnings"][0]["code"]),
        (&line.into(), &"supervisor-not-permanent".into())
    );
    let hurried = run(&["tree", "check", "--drain", "3s", text(&hub)]);
    assert!(String::from_utf8_lossy(&hurried.stdout).contains("[stop-beyond-drain]"), "{hurried:?}");
}

#[test]
fn a_plan_says_what_would_change_and_drift_has_an_exit_code() {
    let _turn = harness::turn();
    let node = Solo::start();
    let trees = trees();
    let hub = text(&trees.path().join("hub.toml")).to_owned();
    let same = node.verb(&["tree", "plan", &hub]);
    assert!(String::from_utf8_lossy(&same.stdout).contains("nothing to do"), "{same:?}");
    assert!(node.verb(&["tree", "drift"]).status.success());
    assert!(node.verb(&["tree", "drift", &hub]).status.success());

    change(&trees, "sync.toml", "id = \"warmer\"", "id = \"stoker\"");
    change(&trees, "content.toml", "shutdown = \"5s\"", "shutdown = \"4s\"");
    change(&trees, "desk.toml", "intensity = 5", "intensity = 6");
    change(&trees, "ledger.toml", "id = \"desk\"\n", "id = \"desk\"\nmailbox = { capacity = 99 }\n");
    let plan = json(&node.verb(&["tree", "plan", &hub, "--json"]));
    assert_eq!(paths(&plan["stops"]), ["/sync/warmer"]);
    assert_eq!(paths(&plan["restarts"]), ["/ledger/desk"]);
    assert_eq!(paths(&plan["starts"]), ["/sync/stoker"]);
    assert_eq!(paths(&plan["supervisors"]), ["/content", "/sync"], "a hub has no desk.toml");
    assert_eq!(plan["supervisors"][0]["rules"][0], "store: shutdown 5s -> 4s");
    assert_eq!(plan["kept"], 9, "the root, four subtrees, watcher, store, book and scheduler");
    assert_eq!(plan["stop_bound_ms"], 4000, "two of 1 s and 1 s of grace");
    let again = json(&node.verb(&["tree", "plan", &hub, "--json"]));
    assert_eq!(plan["plan"], again["plan"], "nothing changed between the two");

    let drift = node.verb(&["tree", "drift", &hub]);
    assert_refused(&drift, 5, &["has drifted", "hub.toml"]);
    assert!(String::from_utf8_lossy(&drift.stdout).contains("/sync/stoker"), "{drift:?}");
    assert!(node.verb(&["tree", "drift"]).status.success(), "what is in force did not change");

    change(&trees, "sync.toml", "id = \"stoker\"", "id = \"no such id\"");
    assert_refused(&node.verb(&["tree", "plan", &hub]), 2, &["sync.toml:", "no such id"]);
}

#[test]
fn a_tree_is_shown_with_its_rates_and_a_watched_one_is_a_line_a_tick() {
    let _turn = harness::turn();
    let node = Solo::start();
    let shown = node.verb(&["tree", "show"]);
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    let heading = said.lines().next().unwrap();
    for word in ["STATE", "INCARNATION", "RESTARTS", "MAILBOX", "PER SECOND"] {
        assert!(heading.contains(word), "{said}");
    }
    let store = said.lines().find(|line| line.contains("content.store")).unwrap();
    assert!(store.contains("running") && store.contains("/1024"), "{said}");
    let lines = node.first_lines(&["tree", "show", "--watch", "--json"], 2);
    let ticks: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ticks[0]["tree"]["path"], "/");
    assert!(ticks[1]["rates"]["/content/store"].is_number(), "{lines:?}");
}
