//! SIGKILL of every process in turn, while money moves: nothing that was acknowledged is lost.
//!
//! `COVENANT_KILL_ROUNDS` says how often; one round where it is unset, ten in `just kill-rounds`.

use std::collections::BTreeSet;

use crate::harness::{self, Up, covenant, wait_for};

/// Account names of the book that a test may move money between.
const FROM: &str = "treasury";
const TO: &str = "communities";

#[test]
fn killing_every_process_in_turn_loses_no_transfer_and_no_dataset() {
    let _turn = harness::turn();
    let rounds: u32 = std::env::var("COVENANT_KILL_ROUNDS").map_or(1, |text| text.parse().expect("a number of rounds"));
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("page.txt"), "readable when the world is dark\n".repeat(20_000)).unwrap();
    let folder = dir.path().join("cluster");
    let up = Up::start(&folder);
    up.ask(&["ledger", "assess", "--year", "2024"]);
    up.ask(&["content", "publish", source.to_str().unwrap(), "--name", "page", "--class", "health"]);
    let nodes: Vec<String> = up.pids().into_iter().map(|(node, _)| node).collect();
    let mut acknowledged = BTreeSet::new();
    let mut next = 1u128;
    for round in 0..rounds {
        for (at, node) in nodes.iter().enumerate() {
            let other = &nodes[(at + 1) % nodes.len()];
            // Killed and held, then started by hand: the policy forgives five restarts a minute and this is far more.
            up.ask(&["node", "kill", node, "--hold"]);
            for _ in 0..3 {
                let id = format!("{next:032x}");
                next += 1;
                let sent = covenant(
                    &folder,
                    &[
                        "ledger", "transfer", "--from", FROM, "--to", TO, "--amount", "1.00", "--id", &id, "--node",
                        other,
                    ],
                );
                if sent.status.success() {
                    acknowledged.insert(id);
                } else {
                    assert!(
                        matches!(sent.status.code(), Some(7 | 8)),
                        "round {round}: a named error while {node} is down: {sent:?}"
                    );
                }
            }
            up.ask(&["node", "start", node]);
            wait_for(&format!("{node} to be ready again"), || {
                let status = covenant(&folder, &["status", "--json", "--node", node]);
                let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
                (status["ready"] == true).then_some(())
            });
        }
    }
    assert!(!acknowledged.is_empty(), "some transfers were acknowledged, else this shows nothing");
    wait_for("the book to be reachable", || covenant(&folder, &["ledger", "check"]).status.success().then_some(()));
    for id in &acknowledged {
        let again = up.ask(&["ledger", "transfer", "--from", FROM, "--to", TO, "--amount", "1.00", "--id", id]);
        assert_eq!(again["booked"], false, "{id} was acknowledged, so it is in the book");
    }
    for node in nodes.iter().filter(|node| node.starts_with("tower")) {
        let target = dir.path().join(format!("read-at-{node}"));
        wait_for(&format!("{node} to have the dataset"), || {
            let target = target.to_str().unwrap();
            covenant(&folder, &["content", "get", "page", "--to", target, "--node", node])
                .status
                .success()
                .then_some(())
        });
        assert_eq!(std::fs::read(target.join("page.txt")).unwrap(), std::fs::read(source.join("page.txt")).unwrap());
    }
}
