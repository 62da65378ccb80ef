//! Manners of the command line: what it refuses, with which exit code, and what it says then. No node runs here.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use covenant_node::audit::{Act, AuditLog};
use covenant_types::WallTime;

use crate::harness::{assert_refused, covenant, run, text};

#[test]
fn help_teaches_every_verb_and_every_exit_code() {
    let help = run(&["--help"]);
    let said = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success());
    let verbs = [
        "up",
        "node",
        "members",
        "status",
        "where",
        "tree",
        "top",
        "actor",
        "ledger",
        "content",
        "incidents",
        "chaos",
        "init",
        "token",
        "join",
        "operator",
        "audit",
        "completions",
    ];
    for verb in verbs {
        let line = said.lines().find(|line| line.trim_start().starts_with(&format!("{verb} ")));
        assert!(line.is_some_and(|line| line.split_whitespace().count() > 2), "{verb} is not explained in: {said}");
    }
    assert!(said.contains("0 ok") && said.contains("8 unreachable"), "{said}");
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    assert_refused(&run(&["membres"]), 2, &["membres", "members"]);
    assert_refused(&run(&["members", "--node", "Not A Name"]), 2, &["Not A Name"]);
    assert_refused(&run(&["actor", "kill", "hub-one:/no path"]), 2, &["/no path"]);
    assert_refused(&run(&["ledger", "assess", "--year", "MMXXIV"]), 2, &["MMXXIV"]);
    assert_refused(&run(&["members", "--address", "127.0.0.1:1"]), 2, &["--as"]);
}

#[test]
fn a_simulation_prints_lines_and_refuses_a_bad_event_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, events) = (dir.path().join("one.toml"), dir.path().join("events.jsonl"));
    std::fs::write(&tree, "[[child]]\nid = \"a\"\nbehaviour = \"not.registered\"\n").unwrap();
    let killed = run(&["tree", "simulate", text(&tree), "--kill", "a"]);
    assert!(killed.status.success(), "{killed:?}");
    let lines = String::from_utf8(killed.stdout).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends = serde_json::json!({"final": {"/": {"state": "running"}, "a": {"state": "running", "incarnation": 2}}});
    assert_eq!(lines.last(), Some(&ends));
    std::fs::write(&events, "{\"at\": 5, \"exit\": \"a\", \"reason\": \"normal\"}\n{\"at\": 5, \"exitt\": \"a\"}\n")
        .unwrap();
    let refused = run(&["tree", "simulate", text(&tree), "--events", text(&events)]);
    assert_refused(&refused, 2, &["events.jsonl:2:11: unknown key \"exitt\"", "did you mean \"exit\""]);
    assert!(refused.stdout.is_empty(), "nothing was simulated");
    assert_refused(&run(&["tree", "simulate", text(&tree)]), 2, &["--events"]);
    assert_refused(&run(&["tree", "simulate", text(&tree), "--events", text(&dir.path().join("none"))]), 2, &["none"]);
}

#[test]
fn a_folder_without_a_cluster_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let members = covenant(dir.path(), &["members"]);
    assert_refused(&members, 3, &["has no cluster", "covenant up"]);
    assert!(members.stdout.is_empty(), "stdout is for data");
    let json = covenant(dir.path(), &["members", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!(error["kind"], "not-found");
    let nobody = run(&["members", "--socket", text(&dir.path().join("control.sock"))]);
    assert_refused(&nobody, 8, &["control.sock", "is the node running?"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "asking makes nothing");
}

#[test]
fn a_tree_file_is_checked_with_file_line_and_advice() {
    let trees = repository().join("supervisor-trees");
    for role in ["hub", "tower", "voter"] {
        let good = run(&["tree", "check", text(&trees.join(format!("{role}.toml")))]);
        assert!(good.status.success(), "{good:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    let child = "strategy = \"one_for_one\"\n\n[[child]]\nid = \"a\"\n";
    let cases: [(String, &[&str]); 5] = [
        (
            format!("{child}behavior = \"content.store\"\n"),
            &["bad.toml:5:1:", "\"behavior\"", "did you mean \"behaviour\"?"],
        ),
        (format!("{child}behaviour = \"content.stor\"\n"), &["bad.toml:3:", "\"content.stor\"", "content.store"]),
        (format!("{child}tree = \"missing\"\n"), &["bad.toml:", "missing"]),
        (format!("{child}tree = \"bad\"\n"), &["bad.toml:", "bad -> bad"]),
        (
            format!("{child}behaviour = \"content.store\"\n[[child]]\nid = \"a\"\nbehaviour = \"sync.warmer\"\n"),
            &["bad.toml:7:6:", "two children have the id a"],
        ),
    ];
    for (content, words) in cases {
        std::fs::write(&file, content).unwrap();
        assert_refused(&run(&["tree", "check", text(&file)]), 2, words);
    }
}

#[test]
fn a_scenario_is_checked_before_anything_breaks() {
    let good = repository().join("chaos/first-crash.toml");
    let checked = run(&["chaos", "check", text(&good)]);
    assert!(checked.status.success(), "{checked:?}");
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.toml");
    let content = std::fs::read_to_string(&good).unwrap();
    std::fs::write(&bad, format!("{content}\n[fualt]\n")).unwrap();
    let line = content.lines().count() + 2;
    assert_refused(&run(&["chaos", "check", text(&bad)]), 2, &[&format!("bad.toml:{line}:2:"), "fualt"]);
    // Running it asks for the same check first.
    assert_refused(&covenant(dir.path(), &["chaos", "run", text(&bad)]), 2, &["fualt"]);
}

#[test]
fn completions_are_a_script_that_bash_accepts() {
    let script = run(&["completions", "bash"]).stdout;
    assert!(String::from_utf8_lossy(&script).contains("incidents"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("covenant.bash");
    std::fs::write(&file, script).unwrap();
    assert!(Command::new("bash").arg("-n").arg(&file).status().unwrap().success());
}

#[test]
fn a_token_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (token, node) = (dir.path().join("token"), dir.path().join("node"));
    let join = || run(&["join", "--dir", text(&node), "--token-file", text(&token)]);
    std::fs::write(&token, "covenant-join-1.AAAA").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&join(), 2, &["token", "chmod 600"]);
    // A file of one's own is read, and then refused for what it says.
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let damaged = join();
    assert_refused(&damaged, 2, &["token"]);
    assert!(!String::from_utf8_lossy(&damaged.stderr).contains("chmod"), "{damaged:?}");
    assert!(!node.exists(), "nothing was made");
}

#[test]
fn init_never_overwrites_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node");
    let init = |name: &str| run(&["init", "--dir", text(&node), "--name", name, "--region", "africa"]);
    let made = init("hub-one");
    assert!(made.status.success(), "{made:?}");
    assert!(String::from_utf8_lossy(&made.stderr).contains("root.pem offline"), "{made:?}");
    let files = ["node.toml", "identity/node.key", "identity/chain.pem", "identity/issuing.pem", "root/root.pem"];
    let read = || files.map(|file| std::fs::read(node.join(file)).unwrap());
    for secret in ["identity/node.key", "identity/issuing.pem", "root/root.pem"] {
        assert_eq!(std::fs::metadata(node.join(secret)).unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
    }
    let before = read();
    assert_refused(&init("hub-two"), 5, &["holds a node already"]);
    assert_eq!(read(), before);
}

#[test]
fn a_changed_audit_line_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = AuditLog::open(&path).unwrap();
    for verb in ["actor kill", "token create", "node kill"] {
        log.record(WallTime(7), Act { who: "uid 7".into(), verb: verb.into(), ..Act::default() }).unwrap();
    }
    let verify = || run(&["audit", "verify", text(&path)]);
    let whole = verify();
    assert!(whole.status.success() && String::from_utf8_lossy(&whole.stdout).contains("3 lines"), "{whole:?}");
    let content = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, content.replacen("token create", "status", 1)).unwrap();
    assert_refused(&verify(), 1, &["line 2", "changed"]);
}

#[test]
fn a_wrong_configuration_is_named_by_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node");
    assert!(run(&["init", "--dir", text(&node), "--name", "hub-one", "--region", "africa"]).status.success());
    let config = node.join("node.toml");
    let content = std::fs::read_to_string(&config).unwrap();
    let line = content.lines().position(|line| line.starts_with("region")).unwrap() + 1;
    std::fs::write(&config, content.replacen("region", "regoin", 1)).unwrap();
    let refused = run(&["node", "run", "--config", text(&config)]);
    assert_refused(&refused, 2, &[&format!("node.toml:{line}:1:"), "regoin", "region"]);
    assert!(!node.join("boot_epoch").exists(), "nothing was started");
    assert_refused(
        &run(&["node", "run", "--config", text(&node.join("none.toml"))]),
        2,
        &["none.toml", "cannot be read"],
    );
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
