//! Scenario files as people write them: the shipped ones are valid, and each mistake is named with its place.

use std::path::Path;

use covenant_chaos::{FaultKind, Scenario};

const SMALLEST: &str = include_str!("smallest.toml");

fn error(from: &str, to: &str) -> String {
    assert!(SMALLEST.contains(from), "the test changes a text that is there: {from}");
    Scenario::parse("x.toml", &SMALLEST.replacen(from, to, 1)).expect_err("the mistake is found").to_string()
}

fn check(from: &str, to: &str, expected: &str) {
    let error = error(from, to);
    assert!(error.starts_with(expected), "got      {error}\nexpected {expected}");
}

#[test]
fn every_shipped_scenario_is_valid_and_named_after_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../chaos");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let scenario = Scenario::parse(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
            assert_eq!(scenario.unwrap().id, path.file_stem().unwrap().to_str().unwrap());
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn a_misspelt_key_is_named_with_its_place_and_a_suggestion() {
    check("tiers =", "noeds = 5\ntiers =", "x.toml:7:1: unknown key `noeds`: did you mean `nodes`?");
    check("on = ", "acotr = 1, on = ", "x.toml:14:39: unknown key `acotr`: did you mean `actor`?");
    check(
        "op = ",
        "zebra = 1\nop = ",
        "x.toml:19:1: unknown key `zebra`: hypothesis has name, probe, phase, op, value",
    );
    check(
        "id = \"smallest\"",
        "id = \"smallest\"\nonwer = \"x\"",
        "x.toml:3:1: unknown key `onwer`: did you mean `owner`?",
    );
}

#[test]
fn a_missing_key_is_named_with_its_table() {
    check("owner = \"runtime\"", "", "x.toml:1:1: a scenario needs `owner`");
    check("id = \"kill\"", "", "x.toml:11:1: fault needs `id`");
    check("timeout = \"1m\"", "", "x.toml:6:1: run needs `timeout`");
}

#[test]
fn what_a_later_release_will_run_is_refused_and_not_skipped() {
    check("[run]", "[guard]\nkeep_quorum = true\n[run]", "x.toml:6:2: `guard` is not supported yet");
    check("tiers =", "seeds = { proc = [42] }\ntiers =", "x.toml:7:1: `seeds` is not supported yet");
    check("type = ", "args = { mode = \"panic\" }\ntype = ", "x.toml:13:17: mode \"panic\" is not supported yet");
    check("op = ", "phase = [\"fault\"]\nop = ", "x.toml:19:10: phase \"fault\" is not supported yet");
}

#[test]
fn values_that_make_no_sense_are_refused_where_they_stand() {
    check("covenant.chaos/1", "covenant.chaos/2", "x.toml:1:10: this release reads schema");
    check("actor.kill", "actor.kil", "x.toml:13:8: unknown fault type \"actor.kil\": did you mean \"actor.kill\"?");
    check("\"5s\"", "\"5 s\"", "x.toml:9:23: `within`: \"5 s\" is not a duration");
    check("\"1m\"", "\"6s\"", "x.toml:9:12: `within` and `hold` together are longer than `timeout`");
    check("\"/sync/scheduler\"", "\"/Sync\"", "x.toml:14:20: `actor`: \"/Sync\" is not an actor path");
    check("\"hub-africa\"", "7", "x.toml:14:44: `on` must be a text, not a number");
    check("actor.incarnation(", "actor.age(", "x.toml:18:9: `probe`: unknown probe");
    check("\"==\"", "\"=\"", "x.toml:19:6: `op`: use ==");
    check("\"baseline + 1\"", "1.5", "x.toml:20:9: `value` must be a whole number");
    check("\"proc\"", "\"moon\"", "x.toml:7:10: a tier is");
    check("timeout", "= timeout", "x.toml:8:11: ");
}

#[test]
fn faults_come_in_an_order_in_which_none_waits_for_a_later_one() {
    let two = format!(
        "{}\n[[fault]]\nid = \"down\"\ntype = \"node.kill\"\ntarget = {{ node = \"hub-asia\" }}\nargs = {{ hold = true }}\n",
        SMALLEST.replace("id = \"kill\"", "id = \"kill\"\nafter = [\"down\"]")
    );
    let scenario = Scenario::parse("x.toml", &two).unwrap();
    let ids: Vec<&str> = scenario.faults.iter().map(|fault| fault.id.as_str()).collect();
    assert_eq!(ids, ["down", "kill"]);
    assert!(matches!(scenario.faults[0].kind, FaultKind::NodeKill { hold: true, .. }));
    let circle = two.replace("id = \"down\"", "id = \"down\"\nafter = [\"kill\"]");
    let error = Scenario::parse("x.toml", &circle).unwrap_err().to_string();
    assert!(error.contains("waits for itself"), "{error}");
    check(
        "id = \"kill\"",
        "id = \"kill\"\nafter = [\"x\"]",
        "x.toml:11:1: fault \"kill\" waits for \"x\", which is not in",
    );
    let twice = two.replace("\"down\"", "\"kill\"");
    assert!(Scenario::parse("x.toml", &twice).unwrap_err().to_string().contains("is there twice"));
}

#[test]
fn a_fault_that_repeats_says_how_often_and_proves_each() {
    check("type = ", "times = 3\ntype = ", "x.toml:11:1: fault \"kill\" happens 3 times and needs `every`");
    let text = SMALLEST.replace("type = ", "times = 3\nevery = \"1s\"\ntype = ");
    let effect = Scenario::parse("x.toml", &text).unwrap().faults[0].effective;
    assert!(effect.is_proved_by(3) && !effect.is_proved_by(2));
}

#[test]
fn a_story_without_a_fault_or_without_a_hypothesis_is_refused() {
    let fault = SMALLEST.find("[[fault]]").unwrap();
    let hypothesis = SMALLEST.find("[[hypothesis]]").unwrap();
    let no_fault = format!("{}{}", &SMALLEST[..fault], &SMALLEST[hypothesis..]);
    assert!(Scenario::parse("x.toml", &no_fault).unwrap_err().what.contains("[[fault]]"));
    assert!(Scenario::parse("x.toml", &SMALLEST[..hypothesis]).unwrap_err().what.contains("[[hypothesis]]"));
}

#[test]
fn a_file_that_is_too_long_is_refused_unread() {
    let long = format!("{SMALLEST}\n#{}", "x".repeat(70_000));
    assert!(Scenario::parse("x.toml", &long).unwrap_err().what.contains("at most"));
}
