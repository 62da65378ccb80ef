//! A node whose certificate is taken back, and its successor, on real processes.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{self, Up, ask, assert_refused, binary, covenant, text, turn, wait_for};

/// How long after a revocation a node may still be connected.
const CUT_OFF_WITHIN_S: u64 = 5;

/// A node process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn member(folder: &Path, asked: &str, name: &str) -> Option<Value> {
    let members = ask(folder, &["members", "--node", asked]);
    members.as_array().unwrap().iter().find(|member| member["name"] == name).cloned()
}

/// Makes a node of a token and runs it.
fn join_and_run(dir: &Path, token: &str) -> Running {
    let listen = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut join = Command::new(binary())
        .args(["join", "--dir", text(dir), "--listen", &listen.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    join.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    assert!(join.wait().unwrap().success(), "the token lets it in");
    let run = Command::new(binary())
        .args(["node", "run", "--config", text(&dir.join("node.toml"))])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Running(run.unwrap())
}

#[test]
fn a_revoked_node_is_cut_off_within_five_seconds_everywhere_and_a_successor_gets_its_name() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let up = Up::start(folder);
    let steady = covenant(folder, &["wait", "--for", "steady", "--timeout", "60s"]);
    assert!(steady.status.success(), "{steady:?}");
    let others: Vec<String> =
        up.pids().into_iter().map(|(name, _)| name).filter(|name| name != "tower-kandy").collect();
    let issuing = ["--node", "hub-africa", "--yes"];
    let verb = |args: &[&str]| covenant(folder, &[args, &issuing].concat());
    let id = member(folder, "hub-asia", "tower-kandy").unwrap()["id"].as_str().unwrap().to_owned();

    assert_refused(&covenant(folder, &["cert", "revoke", "tower-kandy", "--node", "hub-asia"]), 6, &["no issuing"]);
    assert_refused(&verb(&["cert", "revoke", "tower-nowhere"]), 3, &["nothing was done"]);
    assert_refused(&verb(&["remove", "tower-kandy"]), 6, &["is reachable", "--force"]);
    let plan = verb(&["cert", "revoke", "tower-kandy", "--dry-run"]);
    assert!(String::from_utf8_lossy(&plan.stdout).contains("cannot be taken back"), "{plan:?}");

    let begun = now_s();
    let done = verb(&["cert", "revoke", "tower-kandy", "--reason", "stolen from its mast"]);
    assert!(done.status.success(), "{done:?}");
    let answered = now_s();
    for node in &others {
        wait_for("it to be removed everywhere", || {
            (member(folder, node, "tower-kandy")?["state"] == "removed").then_some(())
        });
        let events = covenant(folder, &["events", "--node", node, "--json"]);
        let said = String::from_utf8(events.stdout).unwrap();
        let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let is_removal =
            |line: &Value| line["event"]["changed"]["id"] == *id && line["event"]["changed"]["state"] == "removed";
        let at = lines.filter(is_removal).map(|line| line["at"].as_u64().unwrap()).min().expect("it is an event");
        assert!((begun..=answered + CUT_OFF_WITHIN_S).contains(&at), "{node}: denied at {begun}, removed at {at}");
    }
    wait_for("it to be alone", || {
        let seen = ask(folder, &["members", "--node", "tower-kandy"]);
        let is_gone = |member: &Value| member["name"] == "tower-kandy" || member["state"] != "reachable";
        seen.as_array().unwrap().iter().all(is_gone).then_some(())
    });
    let log = folder.join("tower-kandy/node.log");
    wait_for("its dials to be refused", || std::fs::read_to_string(&log).unwrap().contains("deny-list").then_some(()));
    let status = ask(folder, &["cert", "status", "--node", "hub-asia"]);
    assert_eq!(
        (&status["denied"][0]["id"], &status["denied"][0]["reason"]),
        (&id.as_str().into(), &"stolen from its mast".into())
    );
    assert_refused(&verb(&["remove", "tower-kandy"]), 5, &["done already"]);

    let made = verb(&["node", "replace", "tower-kandy"]);
    assert!(made.status.success(), "{made:?}");
    let _next = join_and_run(&folder.join("next"), &String::from_utf8(made.stdout).unwrap());
    for node in &others {
        let next = wait_for("its successor", || {
            member(folder, node, "tower-kandy").filter(|member| member["state"] == "reachable")
        });
        assert_ne!(next["id"], *id, "{node}");
    }
    assert!(harness::runs(up.pids().iter().find(|(name, _)| name == "tower-kandy").unwrap().1), "it still tries");
    let audit = std::fs::read_to_string(folder.join("hub-africa/audit.jsonl")).unwrap();
    for words in ["cert revoke", "node replace", "stolen from its mast"] {
        assert!(audit.contains(words), "{words} left no line: {audit}");
    }
}
