//! Tree files and scripts in, lines out: what happens, and what a script may not say.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{EFFECTS_MAX, Line, SCRIPT_EVENTS_MAX, Simulation, SimulationError, read_script};
use crate::{TreeSource, TreeSourceError, TreeSpec, load_tree};

struct Files(BTreeMap<&'static str, String>);

impl TreeSource for Files {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.0.get(name).cloned().ok_or(TreeSourceError::NotFound)
    }
}

/// A tree of `root` and `below`; a child is written `id` or `id with = "more"`, one a line, after the supervisor's keys.
fn tree(root: &str, below: &str) -> TreeSpec {
    let file = |text: &str| {
        let (keys, children): (Vec<&str>, Vec<&str>) =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).partition(|line| line.starts_with('.'));
        let keys = keys.iter().map(|key| format!("{}\n", &key[1..]));
        let child = |line: &&str| {
            let (id, more) = line.split_once(' ').unwrap_or((line, ""));
            let work = if id == "sub" { "tree = \"below\"" } else { "behaviour = \"x\"" };
            format!("[[child]]\nid = \"{id}\"\n{work}\n{}\n", more.replace("; ", "\n"))
        };
        keys.chain(children.iter().map(child)).collect::<String>()
    };
    let files = Files(BTreeMap::from([("root", file(root)), ("below", file(below))]));
    load_tree("root", &files).unwrap_or_else(|error| panic!("{error}"))
}

fn play(tree: &TreeSpec, script: &str, seed: u64) -> Result<String, SimulationError> {
    let mut lines = Vec::new();
    let mut out = |line: Line| lines.push(serde_json::to_string(&line).unwrap());
    let mut simulation = Simulation::start(tree, seed, &mut out)?;
    for event in read_script(script.as_bytes()).unwrap_or_else(|error| panic!("{error}")) {
        simulation.play(&event, &mut out)?;
    }
    simulation.run_out(&mut out)?;
    lines.push(serde_json::to_string(&simulation.state()).unwrap());
    Ok(lines.join("\n"))
}

/// Plays `script` and compares what happened after the boot.
#[track_caller]
fn check(root: &str, below: &str, script: &str, expected: &str) {
    let tree = tree(root, below);
    let boot = play(&tree, "", 0).unwrap().lines().count() - 1;
    let lines = play(&tree, script, 0).unwrap();
    let lines: Vec<&str> = lines.lines().skip(boot).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, expected);
}

#[test]
fn the_boot_starts_children_in_order_and_a_supervisor_after_its_own() {
    check(
        "a\nsub\nz",
        "b\nc",
        "",
        r#"{"final":{"/":{"state":"running"},"a":{"state":"running","incarnation":1},"sub":{"state":"running","incarnation":1},"sub/b":{"state":"running","incarnation":1},"sub/c":{"state":"running","incarnation":1},"z":{"state":"running","incarnation":1}}}"#,
    );
    let lines = play(&tree("a\nsub\nz", "b\nc"), "", 0).unwrap();
    let started: Vec<&str> = lines.lines().filter_map(|line| line.split('"').nth(9)).collect();
    assert_eq!(started[..5], ["a", "sub/b", "sub/c", "sub", "z"]);
}

#[test]
fn a_child_that_ends_comes_back_as_its_next_incarnation() {
    check(
        "a\nt restart = \"transient\"",
        "",
        r#"{"at": 7, "exit": "/a", "reason": "panic"}
           {"at": 7, "exit": "t", "reason": {"shutdown": "done"}}
           {"at": 8, "exit": "t", "reason": "killed"}
           {"at": 8, "exit": "nobody", "reason": "killed"}"#,
        r#"{"at":7,"effect":"start","path":"a","incarnation":2}
           {"at":8,"ignored":"t","why":"not_running"}
           {"at":8,"ignored":"nobody","why":"not_running"}
           {"final":{"/":{"state":"running"},"a":{"state":"running","incarnation":2},"t":{"state":"undefined"}}}"#,
    );
}

#[test]
fn a_group_stops_in_reverse_order_and_stops_take_their_time() {
    check(
        ".strategy = \"one_for_all\"\na\nb\nc shutdown = \"brutal_kill\"\nd shutdown = \"infinity\"",
        "",
        r#"{"at": 0, "stop_takes": "b", "ms": 700}
           {"at": 5, "stop_takes": "d", "ms": 9000}
           {"at": 10, "exit": "a", "reason": {"error": "no"}}"#,
        r#"{"at":10,"effect":"stop","path":"d","how":"shutdown","timeout":"infinity"}
           {"at":9010,"effect":"stop","path":"c","how":"kill"}
           {"at":9010,"effect":"stop","path":"b","how":"shutdown","timeout":5000}
           {"at":9710,"effect":"start","path":"a","incarnation":2}
           {"at":9710,"effect":"start","path":"b","incarnation":2}
           {"at":9710,"effect":"start","path":"c","incarnation":2}
           {"at":9710,"effect":"start","path":"d","incarnation":2}
           {"final":{"/":{"state":"running"},"a":{"state":"running","incarnation":2},"b":{"state":"running","incarnation":2},"c":{"state":"running","incarnation":2},"d":{"state":"running","incarnation":2}}}"#,
    );
}

#[test]
fn a_child_that_does_not_stop_in_time_is_killed() {
    check(
        "a shutdown = \"1s\"",
        "",
        r#"{"at": 0, "stop_takes": "a", "ms": 1001}
           {"at": 0, "call": "terminate_child", "path": "a"}"#,
        r#"{"at":0,"effect":"stop","path":"a","how":"shutdown","timeout":1000}
           {"at":1000,"effect":"stop","path":"a","how":"kill"}
           {"at":1000,"call":"terminate_child","path":"a","result":"ok"}
           {"final":{"/":{"state":"running"},"a":{"state":"undefined"}}}"#,
    );
}

#[test]
fn starts_that_fail_are_tried_again_until_the_supervisor_gives_up() {
    check(
        "sub restart = \"permanent\"",
        ".intensity = 2\na",
        r#"{"at": 3, "start_fails": "sub/a", "times": 3}
           {"at": 3, "exit": "sub/a", "reason": "normal"}"#,
        r#"{"at":3,"effect":"start_failed","path":"sub/a","reason":{"error":"start_fails"}}
           {"at":3,"effect":"start_failed","path":"sub/a","reason":{"error":"start_fails"}}
           {"at":3,"effect":"escalate","path":"sub","restarts":3,"intensity":2}
           {"at":3,"effect":"exit","path":"sub","reason":"shutdown"}
           {"at":3,"effect":"start_failed","path":"sub/a","reason":{"error":"start_fails"}}
           {"at":3,"effect":"start_failed","path":"sub","reason":{"shutdown":"failed to start child a: error: start_fails"}}
           {"at":3,"effect":"escalate","path":"/","restarts":2,"intensity":1}
           {"at":3,"effect":"exit","path":"/","reason":"shutdown"}
           {"final":{"/":{"state":"exited","reason":"shutdown"}}}"#,
    );
}

#[test]
fn a_killed_supervisor_takes_all_below_it_along_and_they_start_anew() {
    check(
        "sub",
        "a\nb",
        r#"{"at": 1, "exit": "sub", "reason": "killed"}"#,
        r#"{"at":1,"effect":"stop","path":"sub/b","how":"kill"}
           {"at":1,"effect":"stop","path":"sub/a","how":"kill"}
           {"at":1,"effect":"exit","path":"sub","reason":"killed"}
           {"at":1,"effect":"start","path":"sub/a","incarnation":2}
           {"at":1,"effect":"start","path":"sub/b","incarnation":2}
           {"at":1,"effect":"start","path":"sub","incarnation":2}
           {"final":{"/":{"state":"running"},"sub":{"state":"running","incarnation":2},"sub/a":{"state":"running","incarnation":2},"sub/b":{"state":"running","incarnation":2}}}"#,
    );
}

#[test]
fn an_ended_root_leaves_nothing_and_calls_answer_noproc() {
    check(
        ".intensity = 0\na\nb",
        "",
        r#"{"at": 1, "exit": "b", "reason": "panic"}
           {"at": 2, "exit": "/", "reason": "killed"}
           {"at": 2, "call": "restart_child", "path": "a"}"#,
        r#"{"at":1,"effect":"escalate","path":"/","restarts":1,"intensity":0}
           {"at":1,"effect":"stop","path":"a","how":"shutdown","timeout":5000}
           {"at":1,"effect":"exit","path":"/","reason":"shutdown"}
           {"at":2,"ignored":"/","why":"not_running"}
           {"at":2,"call":"restart_child","path":"a","result":"noproc"}
           {"final":{"/":{"state":"exited","reason":"shutdown"}}}"#,
    );
}

#[test]
fn calls_answer_as_otp_does() {
    check(
        "a\nt restart = \"temporary\"",
        "",
        r#"{"at": 0, "call": "delete_child", "path": "a"}
           {"at": 0, "call": "restart_child", "path": "a"}
           {"at": 0, "call": "start_child", "path": "a"}
           {"at": 0, "call": "terminate_child", "path": "t"}
           {"at": 0, "call": "restart_child", "path": "t"}
           {"at": 0, "start_fails": "n"}
           {"at": 0, "call": "start_child", "path": "n", "restart": "temporary", "shutdown": "brutal_kill"}
           {"at": 0, "call": "start_child", "path": "n", "significant": true, "restart": "temporary"}
           {"at": 0, "start_ignored": "n", "times": 1}
           {"at": 0, "call": "start_child", "path": "n"}"#,
        r#"{"at":0,"call":"delete_child","path":"a","result":"running"}
           {"at":0,"call":"restart_child","path":"a","result":"running"}
           {"at":0,"call":"start_child","path":"a","result":"already_started"}
           {"at":0,"effect":"stop","path":"t","how":"shutdown","timeout":5000}
           {"at":0,"call":"terminate_child","path":"t","result":"ok"}
           {"at":0,"call":"restart_child","path":"t","result":"not_found"}
           {"at":0,"effect":"start_failed","path":"n","reason":{"error":"start_fails"}}
           {"at":0,"call":"start_child","path":"n","result":"start_failed"}
           {"at":0,"call":"start_child","path":"n","result":"bad_spec"}
           {"at":0,"effect":"start_ignored","path":"n"}
           {"at":0,"call":"start_child","path":"n","result":"ok"}
           {"final":{"/":{"state":"running"},"a":{"state":"running","incarnation":1},"n":{"state":"undefined"}}}"#,
    );
}

#[test]
fn a_call_to_a_supervisor_that_dies_over_it_is_answered_noproc() {
    check(
        "sub",
        "a",
        r#"{"at": 0, "stop_takes": "sub/a", "ms": 50}
           {"at": 0, "call": "terminate_child", "path": "sub/a"}
           {"at": 5, "exit": "sub", "reason": "killed"}"#,
        r#"{"at":0,"effect":"stop","path":"sub/a","how":"shutdown","timeout":5000}
           {"at":5,"effect":"stop","path":"sub/a","how":"kill"}
           {"at":5,"call":"terminate_child","path":"sub/a","result":"noproc"}
           {"at":5,"effect":"exit","path":"sub","reason":"killed"}
           {"at":5,"effect":"start","path":"sub/a","incarnation":2}
           {"at":5,"effect":"start","path":"sub","incarnation":2}
           {"final":{"/":{"state":"running"},"sub":{"state":"running","incarnation":2},"sub/a":{"state":"running","incarnation":2}}}"#,
    );
}

#[test]
fn instances_are_started_by_calls_and_below_them_runs_their_templates_tree() {
    check(
        ".strategy = \"dynamic\"\nsub restart = \"temporary\"",
        "a",
        r#"{"at": 0, "call": "start_child", "path": "one"}
           {"at": 0, "call": "start_child", "path": "one"}
           {"at": 0, "call": "delete_child", "path": "one"}
           {"at": 0, "exit": "one/a", "reason": "normal"}
           {"at": 0, "call": "start_child", "path": "two"}
           {"at": 0, "exit": "one", "reason": "killed"}"#,
        r#"{"at":0,"effect":"start","path":"one/a","incarnation":1}
           {"at":0,"effect":"start","path":"one","incarnation":1}
           {"at":0,"call":"start_child","path":"one","result":"ok"}
           {"at":0,"call":"start_child","path":"one","result":"already_started"}
           {"at":0,"call":"delete_child","path":"one","result":"dynamic"}
           {"at":0,"effect":"start","path":"one/a","incarnation":2}
           {"at":0,"effect":"start","path":"two/a","incarnation":1}
           {"at":0,"effect":"start","path":"two","incarnation":1}
           {"at":0,"call":"start_child","path":"two","result":"ok"}
           {"at":0,"effect":"stop","path":"one/a","how":"kill"}
           {"at":0,"effect":"exit","path":"one","reason":"killed"}
           {"final":{"/":{"state":"running"},"two":{"state":"running","incarnation":1},"two/a":{"state":"running","incarnation":1}}}"#,
    );
}

#[test]
fn a_start_that_takes_time_holds_up_those_behind_it() {
    check(
        ".strategy = \"rest_for_one\"\na\nb",
        "",
        r#"{"at": 0, "start_takes": "a", "ms": 40}
           {"at": 1, "exit": "a", "reason": "panic"}
           {"at": 2, "exit": "b", "reason": "panic"}"#,
        r#"{"at":1,"effect":"stop","path":"b","how":"shutdown","timeout":5000}
           {"at":2,"ignored":"b","why":"not_running"}
           {"at":41,"effect":"start","path":"a","incarnation":2}
           {"at":41,"effect":"start","path":"b","incarnation":2}
           {"final":{"/":{"state":"running"},"a":{"state":"running","incarnation":2},"b":{"state":"running","incarnation":2}}}"#,
    );
}

#[test]
fn the_seed_decides_the_jitter_and_nothing_else_does() {
    let tree = tree("a backoff = { min = \"10s\", max = \"10s\", jitter = 1.0 }", "");
    let script = "{\"at\": 0, \"exit\": \"a\", \"reason\": \"panic\"}";
    let lines = |seed| play(&tree, script, seed).unwrap();
    assert_eq!(lines(1), lines(1));
    assert_ne!(lines(1), lines(2));
    assert!(lines(1).contains("\"incarnation\":2"), "what is due after the last event happens: {}", lines(1));
}

#[test]
fn a_crash_loop_without_end_is_cut() {
    let tree = tree(".intensity = 4000000000\n.period = \"1h\"\na", "");
    let script = "{\"at\": 0, \"start_fails\": \"a\", \"times\": 18446744073709551615}\n\
                  {\"at\": 5, \"exit\": \"a\", \"reason\": \"panic\"}";
    let error = play(&tree, script, 0).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("the simulation was cut at 5 ms after {EFFECTS_MAX} effects: does / ")),
        "{error}"
    );
}

#[track_caller]
fn check_error(script: &str, expected: &str) {
    assert_eq!(read_script(script.as_bytes()).unwrap_err().to_string(), expected, "{script}");
}

#[test]
fn what_a_script_may_not_say_is_named_with_its_place() {
    let reason = "a reason is \"normal\", \"shutdown\", \"panic\", \"killed\", {\"shutdown\": \"text\"} or {\"error\": \"text\"}";
    check_error(r#"{"at": 0, "exitt": "a", "reason": "panic"}"#, "1:11: unknown key \"exitt\": did you mean \"exit\"?");
    check_error(
        "\n\n{\"at\": 0}",
        "3:1: an event has one of exit, start_fails, start_ignored, start_takes, stop_takes, call",
    );
    check_error(
        r#"{"at": 0, "exit": "a", "call": "restart_child"}"#,
        "1:24: an event has one of exit, start_fails, start_ignored, start_takes, stop_takes, call",
    );
    check_error(r#"{"at": 0, "exit": "a", "ms": 1}"#, "1:24: unknown key \"ms\": use one of at, exit, reason");
    check_error(r#"{"at": 0, "exit": "a"}"#, "1:1: this event has no \"reason\"");
    check_error(r#"{"exit": "a", "reason": "panic"}"#, "1:1: this event has no \"at\"");
    check_error(r#"{"at": 0, "exit": "a", "reason": "crash"}"#, &format!("1:34: {reason}"));
    check_error(r#"{"at": 0, "exit": "a", "reason": {"error": 1}}"#, &format!("1:34: {reason}"));
    check_error(
        r#"{"at": 0, "exit": "A b", "reason": "panic"}"#,
        "1:19: \"A b\" is not an actor path: ids are one or more of a-z, 0-9, '_' and '-'",
    );
    check_error(r#"{"at": -1, "exit": "a", "reason": "panic"}"#, "1:8: at must be a whole number of 0 or more");
    check_error(r#"{"at": 1.5, "exit": "a", "reason": "panic"}"#, "1:8: at must be a whole number of 0 or more");
    check_error(r#"{"at": 0, "at": 1, "exit": "a", "reason": "panic"}"#, "1:11: this key is there twice");
    check_error(
        "{\"at\": 5, \"exit\": \"a\", \"reason\": \"panic\"}\n{\"at\": 4, \"exit\": \"a\", \"reason\": \"panic\"}",
        "2:8: times never decrease, and the line before is at 5",
    );
    check_error(
        r#"{"at": 0, "call": "kill_child", "path": "a"}"#,
        "1:19: unknown call \"kill_child\": use one of terminate_child, restart_child, delete_child, start_child",
    );
    check_error(
        r#"{"at": 0, "call": "delete_child", "path": "a", "restart": "temporary"}"#,
        "1:48: unknown key \"restart\": use one of at, call, path",
    );
    check_error(r#"{"at": 0, "call": "restart_child", "path": "/"}"#, "1:44: nobody supervises the root: name a child");
    check_error("{\"at\": 0, \"exit\": \"a\"", "1:21: EOF while parsing an object");
    check_error("[1]", "1:1: invalid type: sequence, expected an event as one JSON object");
    assert_eq!(read_script(b"\n\"\xc3\xa9\xff").unwrap_err().to_string(), "2:3: this is not UTF-8");
}

#[test]
fn a_script_has_an_end() {
    let line = "{\"at\": 0, \"exit\": \"a\", \"reason\": \"panic\"}\n";
    assert_eq!(read_script(line.repeat(SCRIPT_EVENTS_MAX).as_bytes()).unwrap().len(), SCRIPT_EVENTS_MAX);
    check_error(&line.repeat(SCRIPT_EVENTS_MAX + 1), "100001:1: at most 100000 events are read");
    let long = vec![b' '; super::SCRIPT_BYTES_MAX + 1];
    assert_eq!(
        read_script(&long).unwrap_err().to_string(),
        "1:1: the events are longer than the 16777216 bytes that are read"
    );
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused_with_a_place(text in "[\\[\\]{}\":,a-z0-9 \u{e9}\\\\]{0,60}") {
        if let Err(error) = read_script(text.as_bytes()) {
            let error = error.to_string();
            let column: usize = error.split(':').nth(1).and_then(|column| column.parse().ok()).unwrap();
            prop_assert!(error.starts_with("1:") && column <= text.chars().count() + 1, "{error}");
        }
    }
}
