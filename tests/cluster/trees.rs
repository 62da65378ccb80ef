//! Trees of a running node: shown, compared with files, changed.

use std::collections::BTreeMap;
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
    assert_eq!(plan["kept"], 12, "the root, five subtrees, watcher, store, book, its log, scheduler and table");
    assert_eq!(plan["stop_bound_ms"], 3250, "two of 1 s, with a grace of 1 s and of 250 ms");
    let again = json(&node.verb(&["tree", "plan", &hub, "--json"]));
    assert_eq!(plan["plan"], again["plan"], "nothing changed between the two");

    let drift = node.verb(&["tree", "drift", &hub]);
    assert_refused(&drift, 5, &["has drifted", "hub.toml"]);
    assert!(String::from_utf8_lossy(&drift.stdout).contains("/sync/stoker"), "{drift:?}");
    assert!(node.verb(&["tree", "drift"]).status.success(), "what is in force did not change");

    change(&trees, "sync.toml", "id = \"stoker\"", "id = \"no such id\"");
    assert_refused(&node.verb(&["tree", "plan", &hub]), 2, &["sync.toml:", "no such id"]);
}

/// The plan's hash for `hub` on `node`.
fn planned(node: &Solo, hub: &str) -> String {
    let plan = json(&node.verb(&["tree", "plan", hub, "--json"]));
    plan["plan"].as_str().unwrap().to_owned()
}

/// Each worker's incarnation, by path.
fn incarnations(node: &Solo) -> BTreeMap<String, u64> {
    fn walk(view: &Value, into: &mut BTreeMap<String, u64>) {
        into.insert(view["path"].as_str().unwrap().to_owned(), view["incarnation"].as_u64().unwrap());
        view["children"].as_array().unwrap().iter().for_each(|child| walk(child, into));
    }
    let mut found = BTreeMap::new();
    walk(&json(&node.verb(&["tree", "show", "--json"])), &mut found);
    found
}

#[test]
fn an_apply_does_what_its_plan_said_and_siblings_never_notice() {
    let _turn = harness::turn();
    let mut node = Solo::start();
    let trees = trees();
    let before = incarnations(&node);
    change(&trees, "sync.toml", "id = \"warmer\"", "id = \"stoker\"");
    change(&trees, "content.toml", "shutdown = \"5s\"", "shutdown = \"4s\"");
    let hub = change(&trees, "ledger.toml", "id = \"desk\"\n", "id = \"desk\"\nmailbox = { capacity = 99 }\n");
    let hub = text(&hub);
    let plan = planned(&node, hub);
    let applied = json(&node.verb(&["tree", "apply", hub, "--plan", &plan, "--json"]));
    assert_eq!(
        applied["done"],
        serde_json::json!(["stopped /sync/warmer", "restarted /ledger/desk", "started /sync/stoker"])
    );
    let mut expected = before;
    expected.remove("/sync/warmer");
    expected.insert("/sync/stoker".to_owned(), 1);
    expected.insert("/ledger/desk".to_owned(), 2);
    assert_eq!(incarnations(&node), expected);
    assert!(node.verb(&["tree", "drift"]).status.success());
    assert!(node.verb(&["tree", "drift", hub]).status.success());
    assert!(node.verb(&["ledger", "balances"]).status.success(), "the desk answers at its path");

    // The same plan once more is for a tree that is no more.
    assert_refused(&node.verb(&["tree", "apply", hub, "--plan", &plan]), 5, &["make a new one", "nothing was changed"]);
    let audit = node.audit();
    let acts: Vec<(&str, &str)> = audit
        .iter()
        .filter(|line| line["verb"] == "tree change")
        .map(|line| (line["target"].as_str().unwrap(), line["result"].as_str().unwrap()))
        .collect();
    assert_eq!(acts.len(), 2, "{audit:?}");
    assert_eq!(acts[0], (format!("plan {plan}").as_str(), "ok"));
    assert!(acts[1].1.contains("make a new one"), "{acts:?}");

    node.restart("-TERM");
    assert!(incarnations(&node).contains_key("/sync/stoker"), "the next boot has what was applied");
    assert!(node.verb(&["tree", "drift"]).status.success());
}

#[test]
fn a_plan_is_refused_when_the_file_changed_since() {
    let _turn = harness::turn();
    let node = Solo::start();
    let trees = trees();
    let hub = change(&trees, "sync.toml", "id = \"warmer\"", "id = \"stoker\"");
    let plan = planned(&node, text(&hub));
    change(&trees, "sync.toml", "id = \"stoker\"", "id = \"fireman\"");
    let before = incarnations(&node);
    assert_refused(&node.verb(&["tree", "apply", text(&hub), "--plan", &plan]), 5, &["nothing was changed"]);
    assert_eq!(incarnations(&node), before);
}

#[test]
fn a_start_that_fails_brings_the_old_tree_back_and_is_told_with_what_was_touched() {
    let _turn = harness::turn();
    let mut node = Solo::start();
    let trees = trees();
    let before = incarnations(&node);
    change(
        &trees,
        "sync.toml",
        "[[child]]\nid = \"warmer\"\nbehaviour = \"sync.warmer\"\n",
        "[[child]]\nid = \"stoker\"\nbehaviour = \"sync.warmer\"\n",
    );
    // A watcher that would close before it opens says no when it starts.
    let sync = trees.path().join("sync.toml");
    let content = std::fs::read_to_string(&sync).unwrap();
    let odd = "config = { mailbox_open_percent = 10, mailbox_close_percent = 90 }";
    let second = format!("{content}\n[[child]]\nid = \"odd\"\nbehaviour = \"watch.watcher\"\n{odd}\n");
    std::fs::write(&sync, second).unwrap();
    change(&trees, "ledger.toml", "id = \"desk\"\n", "id = \"desk\"\nmailbox = { capacity = 99 }\n");
    let hub = trees.path().join("hub.toml");
    let plan = planned(&node, text(&hub));
    let failed = node.verb(&["tree", "apply", text(&hub), "--plan", &plan]);
    assert_refused(
        &failed,
        1,
        &[
            "/sync/odd",
            "did not start",
            "stopped /sync/warmer, restarted /ledger/desk, started /sync/stoker",
            "the tree is as it was",
        ],
    );
    let after = incarnations(&node);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    let touched = ["/sync/warmer", "/ledger/desk"];
    for (path, incarnation) in before.iter().filter(|(path, _)| !touched.contains(&path.as_str())) {
        assert_eq!(after[path], *incarnation, "{path} was not touched");
    }
    assert!(node.verb(&["tree", "drift"]).status.success());
    node.restart("-TERM");
    assert_eq!(incarnations(&node).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
}

#[test]
fn a_node_that_is_killed_during_an_apply_boots_the_old_tree_or_the_new_one() {
    let _turn = harness::turn();
    let mut node = Solo::start();
    let trees = trees();
    let names = ["warmer", "stoker"];
    let mut interrupted = 0;
    for round in 0..KILLS_MAX {
        let runs = incarnations(&node);
        let from = usize::from(runs.contains_key("/sync/stoker"));
        let text_of = std::fs::read_to_string(trees.path().join("sync.toml")).unwrap();
        let wanted = text_of.replace(&format!("id = \"{}\"", names[from]), &format!("id = \"{}\"", names[1 - from]));
        std::fs::write(trees.path().join("sync.toml"), wanted).unwrap();
        let hub = trees.path().join("hub.toml");
        let plan = planned(&node, text(&hub));
        let journal = node.data().join("trees/apply.journal");
        let mut apply = node.begin(&["tree", "apply", text(&hub), "--plan", &plan]);
        // Without a pause between two looks: an apply takes some milliseconds.
        while !journal.exists() && apply.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        // Each round kills a little later, so that the kills meet different parts of an apply.
        (0..round * 200_000).for_each(|_| std::hint::spin_loop());
        node.restart("-KILL");
        let _ended = apply.wait().unwrap();
        let boots = incarnations(&node);
        let has = names.map(|name| boots.contains_key(&format!("/sync/{name}")));
        assert!(has[0] != has[1], "the old tree or the new one: {boots:?}");
        assert!(node.verb(&["tree", "drift"]).status.success(), "what runs is what is in force");
        let told =
            node.audit().iter().filter(|line| line["result"].as_str().unwrap().starts_with("interrupted")).count();
        assert!(!journal.exists());
        interrupted = told;
        if interrupted >= 4 {
            break;
        }
    }
    assert!(interrupted > 0, "no kill met an apply");
}

/// How often a node is killed, until a few kills have met an apply.
const KILLS_MAX: usize = 12;

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

#[test]
fn top_prints_one_look_as_json_and_draws_only_on_a_terminal() {
    let _turn = harness::turn();
    let node = Solo::start();
    assert_refused(&node.verb(&["top"]), 2, &["terminal", "--json"]);
    let top = json(&node.verb(&["top", "--json"]));
    let hub = &top["nodes"][0];
    assert_eq!((&hub["name"], &hub["member"], &hub["error"]), (&"hub-solo".into(), &"reachable".into(), &Value::Null));
    assert_eq!(hub["actors"], 14, "the root, five subtrees and eight workers");
    assert!(hub["rates"]["/sync/scheduler"].is_number() && hub["per_second"].as_f64().unwrap() > 0.0, "{hub}");
    assert_eq!(hub["tree"]["path"], "/");
}
