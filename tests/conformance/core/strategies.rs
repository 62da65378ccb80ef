//! Strategies: cases 43 to 57.

use super::*;

#[test]
fn multiple_restarts() {
    let script = "crash a; pass 2100ms; crash a; pass 2100ms; crash a; pass 2100ms; crash a";
    check(OneForOne, "1/1s a", script, "start a; ; start a; ; start a; ; start a");
}

#[test]
fn one_for_one() {
    let script = "crash a; crash b; crash a";
    check(OneForOne, "2/5s a b", script, "start a; start b; stop b, exit shutdown");
}

#[test]
fn one_for_one_escalation() {
    let expected = "; start a fails; start a fails, start a fails, start a fails, stop b, exit shutdown";
    check(OneForOne, "4/5s a b", "now a:bad; crash a; pass 0s", expected);
}

#[test]
fn one_for_all() {
    let restarted = "stop b, start a, start b";
    let script = "crash a; crash b; crash a";
    check(OneForAll, "2/5s a b", script, &format!("{restarted}; stop a, start a, start b; stop b, exit shutdown"));
}

#[test]
fn one_for_all_escalation() {
    let once = "start a, start b fails";
    // Those that were restarted are stopped before each next try, and at the end.
    let expected = format!("; stop a, {once}; stop a, {once}, stop a, {once}, stop a, {once}, stop a, exit shutdown");
    check(OneForAll, "4/5s a b", "now b:bad; crash b; pass 0s", &expected);
}

#[test]
fn one_for_all_other_child_fails_restart() {
    let script = "spoil b 2; crash a; pass 0s";
    let expected = "; stop b, start a, start b fails; stop a, start a, start b fails, stop a, start a, start b";
    check(OneForAll, "a b", script, expected);
}

#[test]
fn simple_one_for_one() {
    let mut bench = booted(Dynamic, "2/5s t");
    assert_eq!(bench.run("instance a; instance b"), "start a, ok, started; start b, ok, started");
    assert_eq!(bench.run("crash a; crash b; crash a"), "start a; start b; forget a, stop b, forget b, exit shutdown");
}

#[test]
fn simple_one_for_one_shutdown() {
    // Four that take all of their second: together one second and not four.
    let mut bench = booted(Dynamic, "t:2s");
    for n in 0..4 {
        bench.run(&format!("instance i{n}:lasting"));
    }
    bench.run("shutdown");
    let done = bench.run("pass 1999ms; pass 1ms");
    assert!(done.starts_with("; kill") && done.ends_with("exit shutdown"), "{done}");
}

#[test]
fn simple_one_for_one_extra() {
    let mut bench = booted(Dynamic, "t");
    assert_eq!(bench.run("instance a:tells; crash a"), "start a, ok, started, extra; start a");
}

#[test]
fn simple_one_for_one_escalation() {
    let script = "instance a; instance b; now a:bad; crash a; pass 0s";
    let mut bench = booted(Dynamic, "4/5s t");
    let done = bench.run(script);
    assert_eq!(done.matches("start a fails").count(), 4, "{done}");
    assert!(done.contains("stop b") && done.ends_with("exit shutdown"), "{done}");
}

#[test]
fn simple_one_for_one_restart_ignore() {
    for restart in ["", ":transient"] {
        let mut bench = booted(Dynamic, &format!("t{restart}"));
        bench.run("instance a; now a:ignored");
        assert_eq!(bench.run("crash a"), "start a ignored, forget a");
        assert_eq!(counts(&bench), [1, 0, 0, 0]);
    }
}

#[test]
fn rest_for_one() {
    let restarted = "stop c, start b, start c";
    let expected = format!("{restarted}; {restarted}; stop c, stop a, exit shutdown");
    check(RestForOne, "2/5s a b c", "crash b; crash b; crash b", &expected);
}

#[test]
fn rest_for_one_escalation() {
    let script = "now b:bad; crash a; pass 0s";
    let mut bench = booted(RestForOne, "4/5s a b");
    let done = bench.run(script);
    assert_eq!(done.matches("start b fails").count(), 4, "{done}");
    assert_eq!(done.matches("start a").count(), 1, "{done}");
    assert!(done.ends_with("stop a, exit shutdown"), "{done}");
}

#[test]
fn rest_for_one_other_child_fails_restart() {
    let expected = "; stop b, start a, start b fails; start b";
    check(RestForOne, "a b", "spoil b 1; crash a; pass 0s", expected);
}
