//! What operators do to a node's part in its cluster, on real processes.

use crate::harness::{Up, assert_refused, covenant, turn, wait_for};

#[test]
fn a_node_drains_sleeps_and_leaves_as_it_is_told_and_the_others_know() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path());
    let tower = ["--node", "tower-kandy"];
    let verb = |args: &[&str]| covenant(dir.path(), &[args, &tower].concat());
    let waits = |what: &str| {
        let output = covenant(dir.path(), &["wait", "--node", "hub-asia", "--timeout", "60s", "--for", what]);
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    };
    waits("steady");

    assert_refused(&covenant(dir.path(), &["drain", "--yes"]), 2, &["--node", "nothing was done"]);
    let plan = verb(&["drain", "--dry-run"]);
    assert!(String::from_utf8_lossy(&plan.stdout).contains("takes nothing new"), "it says what it will do: {plan:?}");
    assert_refused(&verb(&["drain", "cancel"]), 5, &["does not drain"]);
    assert_refused(&verb(&["drain", "--deadline", "2h"]), 2, &["3600 s", "nothing was done"]);
    assert!(verb(&["drain", "--reason", "new disk"]).status.success());
    waits("tower-kandy=draining");
    let ready = covenant(dir.path(), &["wait", "--for", "ready", "--timeout", "1s", "--node", "tower-kandy"]);
    assert_refused(&ready, 7, &["the node drains"]);
    assert!(verb(&["drain", "cancel"]).status.success());
    waits("tower-kandy=active");

    assert_refused(&verb(&["wake"]), 5, &["is awake", "nothing was done"]);
    assert!(verb(&["sleep", "--for", "10m"]).status.success());
    waits("tower-kandy=asleep");
    waits("steady");
    assert!(verb(&["wake"]).status.success());
    waits("tower-kandy=reachable");

    let before = up.pids();
    assert!(verb(&["leave"]).status.success());
    waits("tower-kandy=left");
    wait_for("its process to stay away", || {
        let list = up.ask(&["node", "ls"]);
        list.as_array().unwrap().iter().any(|row| row["node"] == "tower-kandy" && row["state"] == "held").then_some(())
    });
    assert!(covenant(dir.path(), &["node", "start", "tower-kandy"]).status.success());
    waits("tower-kandy=reachable");
    let after = up.pids();
    let others =
        |pids: &[(String, u64)]| pids.iter().filter(|(name, _)| name != "tower-kandy").cloned().collect::<Vec<_>>();
    assert_eq!(others(&before), others(&after), "nobody else noticed");

    let events = covenant(dir.path(), &["events", "--node", "hub-asia", "--json"]);
    let said = String::from_utf8(events.stdout).unwrap();
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |state: &str| {
        lines
            .iter()
            .any(|line| line["event"]["changed"]["name"] == "tower-kandy" && line["event"]["changed"]["state"] == state)
    };
    assert!(told("asleep") && told("left") && told("reachable"), "{said}");
    assert!(!told("down"), "sleep and leaving are no death: {said}");
    let audit = std::fs::read_to_string(dir.path().join("tower-kandy/audit.jsonl")).unwrap();
    for act in ["new disk", "node sleep", "node stop"] {
        assert!(audit.contains(act), "{act} left no line: {audit}");
    }
}

#[test]
fn where_says_on_which_nodes_a_path_lives() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path());
    let steady = covenant(dir.path(), &["wait", "--for", "steady", "--timeout", "60s"]);
    assert!(steady.status.success(), "{steady:?}");
    let on = |what: &str| -> Vec<String> {
        let found = up.ask(&["where", what, "--node", "hub-africa"]);
        assert_eq!(found["silent"], serde_json::json!([]), "{found}");
        let rows = found["found"].as_array().unwrap().iter();
        rows.map(|row| format!("{} #{}", row["node"].as_str().unwrap(), row["sight"]["incarnation"])).collect()
    };
    let everywhere = on("/watch/watcher");
    assert!(everywhere.len() == 5 && everywhere.iter().all(|line| line.ends_with(" #1")), "{everywhere:?}");
    assert_eq!(on("hub-asia:/sync"), ["hub-asia #1"]);
    assert!(covenant(dir.path(), &["actor", "kill", "hub-asia:/watch/watcher"]).status.success());
    wait_for("the next incarnation", || on("/watch/watcher").contains(&"hub-asia #2".to_owned()).then_some(()));
    assert_refused(&covenant(dir.path(), &["where", "/no/such/path"]), 3, &["no node has the path /no/such/path"]);
    assert_refused(&covenant(dir.path(), &["where", "no.such.name"]), 3, &["no.such.name"]);
    assert_refused(&covenant(dir.path(), &["where", "Not A Name"]), 2, &["a path begins with"]);
    let table = covenant(dir.path(), &["where", "hub-asia:/sync", "--node", "hub-africa"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("NODE") && table.contains("hub-asia  /sync"), "{table}");
}

#[test]
fn the_doctor_says_what_it_looked_at_and_finds_a_member_that_is_gone() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path());
    let steady = covenant(dir.path(), &["wait", "--for", "steady", "--timeout", "60s"]);
    assert!(steady.status.success(), "{steady:?}");
    let checkup = up.ask(&["doctor", "--node", "hub-africa"]);
    let findings = checkup["findings"].as_array().unwrap();
    let level = |check: &str| {
        let found = findings.iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("nobody looked at {check}"))["level"].as_str().unwrap().to_owned()
    };
    for check in ["readiness", "certificate", "members", "versions", "packet size", "disk", "clock"] {
        assert_eq!(level(check), "ok", "{check}: {checkup}");
    }
    assert!(["ok", "warn"].contains(&level("receive buffer").as_str()));

    assert!(covenant(dir.path(), &["node", "kill", "tower-kandy", "--hold"]).status.success());
    let ill = wait_for("the doctor to miss it", || {
        let output = covenant(dir.path(), &["doctor", "--node", "hub-africa"]);
        (output.status.code() == Some(1)).then_some(output)
    });
    assert!(String::from_utf8_lossy(&ill.stdout).contains("tower-kandy at "), "{ill:?}");
}
