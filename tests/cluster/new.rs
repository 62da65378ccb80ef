//! What `covenant new behaviour` writes: it compiles, its tests pass, and a cluster runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{self, Up, assert_refused, run, text};

/// The folder that this program was built from.
fn source() -> PathBuf {
    std::fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

fn new(args: &[&str]) -> Output {
    run(&[&["new", "behaviour"], args].concat())
}

/// Runs cargo in a package that was made. Everything that its program is built from was built for this test already.
fn cargo(package: &Path, args: &[&str]) -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let output = Command::new("cargo")
        .args(args)
        .arg("--offline")
        .current_dir(package)
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_new_behaviour_writes_compiles_passes_its_tests_and_runs_in_a_cluster() {
    let _turn = harness::turn();
    let dir = tempfile::tempdir().unwrap();
    let package = dir.path().join("covenant-made-here");
    let made = new(&["door_bell", "--dir", text(&package), "--covenant", text(&source())]);
    assert!(made.status.success(), "{made:?}");
    let more = new(&["greeter", "--dir", text(&package), "--json"]);
    assert!(more.status.success(), "{more:?}");
    let more: Value = serde_json::from_slice(&more.stdout).unwrap();
    assert_eq!((&more["behaviour"], &more["to_do"]), (&"greeter".into(), &serde_json::json!([])));

    let tested = cargo(&package, &["test"]);
    for behaviour in ["door_bell", "greeter"] {
        let line = format!("test {behaviour}::tests::it_counts_and_begins_anew_after_a_crash ... ok");
        assert!(tested.contains(&line), "{tested}");
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    cargo(&package, &["build"]);
    let program = target.join("debug/covenant-made-here");
    let trees = package.join("supervisor-trees");
    let check =
        Command::new(&program).args(["tree", "check", "--strict"]).arg(trees.join("hub.toml")).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    // The command without them does not know their names.
    assert_refused(&run(&["tree", "check", text(&trees.join("hub.toml"))]), 2, &["unknown behaviour \"door_bell\""]);

    let up = Up::start_program(&program, &dir.path().join("cluster"), &["--trees", text(&trees)]);
    let tree = up.ask(&["tree", "show", "--node", "hub-asia"]);
    let children = tree["children"].as_array().unwrap();
    for path in ["/door_bell", "/greeter"] {
        let child = children.iter().find(|child| child["path"] == path).unwrap_or_else(|| panic!("no {path}: {tree}"));
        assert_eq!(child["state"], "running");
    }
}

#[test]
fn what_is_wrong_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (source, empty) = (source(), dir.path().join("empty"));
    let empty = text(&empty);
    assert_refused(&new(&["../escape", "--dir", empty]), 2, &["is no name for a behaviour"]);
    assert_refused(&new(&["match", "--dir", empty]), 2, &["means something to Rust"]);
    assert_refused(&new(&["greeter", "--dir", empty]), 2, &["--covenant"]);
    assert_refused(&new(&["greeter", "--dir", empty, "--covenant", empty]), 2, &["nothing was changed"]);
    assert!(!Path::new(empty).exists());

    let full = dir.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("letter"), "mine").unwrap();
    let refused = new(&["greeter", "--dir", text(&full), "--covenant", text(&source)]);
    assert_refused(&refused, 5, &["neither empty nor a package"]);

    // In a package: a second behaviour of that name, a tree that is broken already, one where the name is taken.
    let package = dir.path().join("package");
    let made = new(&["greeter", "--dir", text(&package), "--covenant", text(&source)]);
    assert!(made.status.success(), "{made:?}");
    let hub = package.join("supervisor-trees/hub.toml");
    let before = std::fs::read_to_string(&hub).unwrap();
    assert_refused(&new(&["greeter", "--dir", text(&package)]), 5, &["is there already", "nothing was changed"]);
    std::fs::write(&hub, before.replace("greeter", "door_bell")).unwrap();
    assert_refused(&new(&["door_bell", "--dir", text(&package)]), 2, &["two children have the id door_bell"]);
    std::fs::write(&hub, "strategy = \"one\"\n").unwrap();
    assert_refused(&new(&["door_bell", "--dir", text(&package)]), 2, &["hub.toml:1:12", "nothing was changed"]);
    assert!(!package.join("src/door_bell.rs").exists());
    assert!(!std::fs::read_to_string(package.join("src/main.rs")).unwrap().contains("door_bell"));

    // A program whose main is its author's own: what is left to do is said.
    std::fs::write(&hub, &before).unwrap();
    std::fs::write(package.join("src/main.rs"), "fn main() {}\n").unwrap();
    let made = new(&["door_bell", "--dir", text(&package)]);
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    for words in ["to be done by hand", "mod door_bell;", "register::<door_bell::DoorBell>(\"door_bell\")"] {
        assert!(said.contains(words), "{said}");
    }
}
