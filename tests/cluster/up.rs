//! Promises of `covenant up`, shown on real processes.

use crate::harness::{self, Up, covenant, runs, wait_for};

#[test]
fn the_whole_story_holds() {
    let _turn = harness::turn();
    let output = std::process::Command::new(harness::binary()).args(["up", "--check", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["steps"].as_array().unwrap().len(), 8);
}

#[test]
fn the_same_folder_brings_the_same_cluster_back() {
    let _turn = harness::turn();
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path());
    up.ask(&["ledger", "assess", "--year", "2024"]);
    let before = up.ask(&["ledger", "balances"])["accounts"].clone();
    let ids = |up: &Up| -> Vec<String> {
        let mut ids: Vec<String> =
            up.ask(&["members"]).as_array().unwrap().iter().map(|member| member["id"].to_string()).collect();
        ids.sort();
        ids
    };
    let members = ids(&up);
    up.signal("-INT");
    assert_eq!(up.wait(), Some(0), "Ctrl-C is an orderly end");
    let up = Up::start(dir.path());
    assert_eq!(up.ask(&["ledger", "balances"])["accounts"], before);
    wait_for("the same five members", || (ids(&up) == members).then_some(()));
    let again = up.ask(&["ledger", "assess", "--year", "2024"]);
    assert_eq!(again["booked"], 0, "assessing twice books once");
}

#[test]
fn killing_up_leaves_no_process_behind() {
    let _turn = harness::turn();
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path());
    let pids = up.pids();
    assert_eq!(pids.len(), 5);
    up.signal("-KILL");
    for (node, pid) in pids {
        wait_for(&format!("{node} to stop by itself"), || (!runs(pid)).then_some(()));
    }
}

#[test]
fn a_second_up_on_the_same_folder_is_refused() {
    let _turn = harness::turn();
    let dir = tempfile::tempdir().unwrap();
    let _up = Up::start(dir.path());
    let second = covenant(dir.path(), &["up", "--plain"]);
    assert_eq!(second.status.code(), Some(5), "a conflict");
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use"), "{second:?}");
}

#[test]
fn a_killed_node_comes_back_by_policy_and_acts_are_audited() {
    let _turn = harness::turn();
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path());
    let pid = |name: &str| up.pids().into_iter().find(|(node, _)| node == name).map(|(_, pid)| pid);
    let before = pid("hub-europe").unwrap();
    up.ask(&["node", "kill", "hub-europe"]);
    wait_for("another process for hub-europe", || pid("hub-europe").filter(|now| *now != before));
    wait_for("hub-europe to answer", || {
        covenant(dir.path(), &["status", "--node", "hub-europe"]).status.success().then_some(())
    });
    let audit = dir.path().join("audit.jsonl");
    assert!(std::fs::read_to_string(&audit).unwrap().contains("node kill"));
    let verified = covenant(dir.path(), &["audit", "verify", audit.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}
