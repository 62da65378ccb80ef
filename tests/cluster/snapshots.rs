//! A drill: the ledger of one cluster goes on in another, from its backup.

use std::path::Path;

use serde_json::Value;

use crate::harness::{self, assert_refused, run, text};
use crate::standalone::{Place, Solo};

fn told(node: &Solo, args: &[&str]) -> Value {
    let output = node.verb(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pay(node: &Solo, id: &str, amount: &str) {
    let paid =
        node.verb(&["ledger", "transfer", "--from", "treasury", "--to", "nation:KEN", "--amount", amount, "--id", id]);
    assert!(paid.status.success(), "{paid:?}");
}

fn state(node: &Solo) -> Value {
    told(node, &["ledger", "check"])["state"].clone()
}

fn restored(place: &Place, backup: &Path, more: &[&str]) -> std::process::Output {
    run(&[&["snapshot", "restore", text(backup), "--config", text(&place.config())], more].concat())
}

#[test]
fn the_ledger_of_a_lost_cluster_goes_on_in_a_new_one_from_its_backup() {
    let _turn = harness::turn();
    let old = Solo::start();
    pay(&old, "1", "10.00");
    pay(&old, "2", "20.00");
    let before = told(&old, &["ledger", "status"])["position"].as_u64().unwrap();
    let at_two = state(&old);
    pay(&old, "3", "30.00");
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let saved = told(&old, &["snapshot", "save", text(&backup)]);
    let at_end = state(&old);
    assert_eq!((&saved["state"], &saved["transfers"]), (&at_end, &3.into()));
    assert_refused(&old.verb(&["snapshot", "save", text(&backup)]), 2, &["is there already"]);
    assert!(old.audit().iter().any(|line| line["verb"] == "ledger backup"), "{:?}", old.audit());
    assert!(run(&["snapshot", "inspect", text(&backup)]).status.success());
    assert!(run(&["snapshot", "verify", text(&backup)]).status.success());

    let bytes = std::fs::read(&backup).unwrap();
    let damaged = folder.path().join("damaged");
    std::fs::write(&damaged, &bytes[..bytes.len() - 1]).unwrap();
    assert_refused(&run(&["snapshot", "verify", text(&damaged)]), 1, &["not a whole backup"]);
    let place = Place::free();
    assert_refused(&restored(&place, &damaged, &[]), 1, &["not a whole backup", "nothing was restored"]);
    assert_refused(
        &restored(&place, &backup, &["--position", "9999"]),
        6,
        &["ends at position", "nothing was changed"],
    );
    // As it was before the last payment.
    assert!(restored(&place, &backup, &["--position", &before.to_string(), "--dry-run"]).status.success());
    assert!(restored(&place, &backup, &["--position", &before.to_string()]).status.success());
    assert_refused(&restored(&place, &backup, &[]), 6, &["keeps a book already", "nothing was changed"]);
    let new = Solo::of(place);
    assert_eq!(state(&new), at_two);
    // An id of before is known, and books go on.
    assert_eq!(
        told(
            &new,
            &["ledger", "transfer", "--from", "treasury", "--to", "nation:KEN", "--amount", "20.00", "--id", "2"]
        )["booked"],
        false
    );
    pay(&new, "3", "30.00");
    assert_eq!(told(&new, &["ledger", "check"])["ok"], true);
    drop(new);

    let whole = Place::free();
    assert!(restored(&whole, &backup, &[]).status.success());
    let mut whole = Solo::of(whole);
    assert_eq!(state(&whole), at_end);
    whole.restart("-KILL");
    assert_eq!(state(&whole), at_end);
}
