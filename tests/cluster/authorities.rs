//! Authorities on real processes: the root is replaced while the cluster of `up` runs.

use crate::harness::{Up, assert_refused, covenant, text, turn, wait_for};

#[test]
fn the_root_is_replaced_under_a_running_cluster_and_nobody_is_missed() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path());
    let steady = covenant(dir.path(), &["wait", "--for", "steady", "--timeout", "60s"]);
    assert!(steady.status.success(), "{steady:?}");
    let before = up.pids();
    let old = dir.path().join("hub-africa/root/root.pem");
    let new = dir.path().join("next-root.pem");
    let (old, new) = (text(&old), text(&new));

    let issued = up.ask(&["ca", "issue", "hub-asia", "--root-key", old]);
    assert_eq!((&issued["node"], &issued["scope"]), (&"hub-asia".into(), &"asia".into()));
    let rotated = wait_for("hub-asia to be known as an issuing hub", || {
        let rotated = up.ask(&["cert", "rotate", "tower-kandy"]);
        let members = up.ask(&["ca", "show", "--node", "tower-kandy"])["members"].clone();
        let known = members.as_array().unwrap().iter().any(|member| member["issues"] == "asia");
        known.then_some(rotated)
    });
    assert!(["hub-asia", "hub-africa"].contains(&rotated["by"].as_str().unwrap()), "{rotated}");

    let rotate =
        |more: &[&str]| covenant(dir.path(), &[&["ca", "rotate", "--yes", "--node", "hub-europe"], more].concat());
    assert_refused(&rotate(&["--phase", "switch", "--root-key", old]), 5, &["needs it prepared", "nothing was done"]);
    assert_refused(&rotate(&["--phase", "prepare", "--root-key", old]), 2, &["--new-root-key"]);
    let prepare = ["--phase", "prepare", "--root-key", old, "--new-root-key", new];
    let planned = rotate(&[&prepare[..], &["--dry-run"]].concat());
    assert!(String::from_utf8_lossy(&planned.stdout).contains("nothing else changes"), "{planned:?}");
    assert!(!std::path::Path::new(new).exists(), "a dry run makes no key");
    for phase in [&prepare[..], &["--phase", "switch", "--root-key", new], &["--phase", "finish", "--root-key", new]] {
        // Refused until the phase before holds on every member: then it is asked again.
        wait_for(phase[1], || {
            let done = rotate(phase);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success() || said.contains("does not hold everywhere"), "{said}");
            done.status.success().then_some(())
        });
    }
    wait_for("all to have the new root alone", || {
        let hubs = ["hub-africa", "tower-kandy"].map(|node| up.ask(&["ca", "show", "--node", node]));
        let all = hubs.iter().all(|view| {
            view["roots"].as_array().unwrap().len() == 1
                && view["version"] == 3
                && view["members"].as_array().unwrap().iter().all(|member| {
                    member["same_roots"] == true && member["under_first_root"] == true && member["state"] == "reachable"
                })
        });
        all.then_some(())
    });
    for node in ["hub-africa", "tower-kisumu"] {
        let events = covenant(dir.path(), &["events", "--node", node, "--json"]);
        let said = String::from_utf8(events.stdout).unwrap();
        assert!(!said.contains("\"state\":\"down\""), "{node} took somebody for dead: {said}");
    }
    let sorted = |mut pids: Vec<(String, u64)>| {
        pids.sort();
        pids
    };
    assert_eq!(sorted(before), sorted(up.pids()), "nobody restarted");
    // What was certified under the old root is worth nothing, and a node that restarts is back under the new one.
    assert_refused(&rotate(&["--phase", "finish", "--root-key", new]), 5, &["needs it switched"]);
    up.ask(&["node", "kill", "tower-kisumu"]);
    wait_for("tower-kisumu to be back", || {
        let members = up.ask(&["members", "--node", "hub-europe"]);
        let back = |member: &serde_json::Value| {
            member["name"] == "tower-kisumu" && member["epoch"] == 2 && member["state"] == "reachable"
        };
        members.as_array().unwrap().iter().any(back).then_some(())
    });
    let audit = std::fs::read_to_string(dir.path().join("hub-europe/audit.jsonl")).unwrap();
    for step in ["rotation to prepared", "rotation to switched", "rotation to settled"] {
        assert!(audit.contains(step), "{step} left no line: {audit}");
    }
    assert!(!audit.contains("PRIVATE KEY"));
}
