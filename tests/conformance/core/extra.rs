//! Cases from other people's bugs that are about policy: X1, X3 to X7, X11, X17 to X19, X22 to X25.

use std::time::Duration;

use super::*;
use crate::ChildState;

#[test]
fn x1_next_start_after_stop_and_cleanup() {
    // A group's next start begins when the last of its stops has ended, and not before.
    let script = "crash a; gone b";
    check(OneForAll, "a b:lasting", script, "stop b; start a, start b");
    check(OneForOne, "a:immortal", "kill a; pass 999ms; die a", "kill a; ; start a");
}

#[test]
fn x3_a_permanent_child_that_stops_itself() {
    check(OneForOne, "a", "end a; gone a", "start a; start a");
}

#[test]
fn x4_a_start_that_fails_leaves_no_zombie() {
    let mut bench = booted(OneForOne, "a");
    bench.run("spoil a 1; crash a");
    assert_eq!(bench.state("a"), Some(ChildState::Restarting));
    assert!(bench.core.child(&script::id("a")).unwrap().attempt.is_none(), "nothing of it runs");
    assert_eq!(bench.reports, ["ChildTerminated a panic: boom", "StartError a error: no"]);
}

#[test]
fn x5_an_old_exit_is_ignored() {
    check(OneForOne, "a", "crash a; crash-again a 1; crash a", "start a; ; start a");
}

#[test]
fn x6_panics_in_every_hook() {
    // To the core a panic in `start` is a start that failed, and one in `stop` an end otherwise than asked.
    let mut bench = booted(OneForOne, "a:lasting b");
    bench.run("shutdown; crash a");
    assert_eq!(bench.reports, ["ShutdownError a panic: boom"]);
    assert_eq!(
        Bench::new(OneForOne, "a:bad").run("boot"),
        "start a fails, start failed: shutdown: failed to start child a: error: no"
    );
}

#[test]
fn x7_one_report_per_abnormal_exit() {
    let mut bench = booted(OneForOne, "999999/5s a");
    for _ in 0..500 {
        bench.run("crash a");
    }
    assert_eq!(bench.reports.len(), 500);
}

#[test]
fn x11_five_siblings_under_their_own_budgets() {
    let five = "0/5s a:own=1/5s b:own=1/5s c:own=1/5s d:own=1/5s e:own=1/5s";
    check(
        OneForOne,
        five,
        "crash a; crash b; crash c; crash d; crash e",
        "start a; start b; start c; start d; start e",
    );
}

#[test]
fn x17_the_drain_deadline_holds_with_a_stuck_child() {
    let script = "shutdown; pass 2s; pass 1s";
    check(OneForOne, "a b:2s:immortal c", script, "stop c, stop b; kill b; stop a, exit shutdown");
}

#[test]
fn x18_a_supervisor_that_restarts_leaves_no_orphan() {
    let mut bench = booted(OneForOne, "0/5s a b c");
    assert_eq!(bench.run("crash b"), "stop c, stop a, exit shutdown");
    let running = bench.core.children().filter(|child| child.attempt.is_some()).count();
    assert_eq!(running, 0);
}

#[test]
fn x19_a_forged_exit_is_rejected() {
    check(OneForOne, "a b", "crash-again a 2; crash-again b 77; crash-again nobody 1", "; ; ");
}

#[test]
fn x22_backoff_is_bounded_resets_and_cancels() {
    let one = "99/5s a:back=1s..4s";
    let delays = "crash a; pass 999ms; pass 1ms; crash a; pass 1999ms; pass 1ms; crash a; pass 4s; crash a; pass 3999ms; pass 1ms";
    check(OneForOne, one, delays, "; ; start a; ; ; start a; ; start a; ; ; start a");
    // After a run of `reset_after` the first pause comes again.
    check(
        OneForOne,
        one,
        "crash a; pass 1s; crash a; pass 2s; pass 10s; crash a; pass 1s",
        "; start a; ; start a; ; ; start a",
    );
    check(OneForOne, one, "crash a; terminate a; pass 99s", "; ended a, ok; ");
    // Under one_for_all a group waits the longest pause of its members; who ends meanwhile joins it.
    let group = "99/5s a:back=1s..4s b:back=3s..4s c";
    check(OneForAll, group, "crash a; crash c; pass 2999ms; pass 1ms", "; ; ; stop b, start a, start b, start c");
    check(RestForOne, group, "crash a; pass 1s", "; stop c, stop b, start a, start b, start c");
}

#[test]
fn x23_a_killed_supervisor_ends_its_children() {
    // The core of a supervisor that dies is gone with it. The one above starts the subtree again.
    check(OneForOne, "a:sup b", "die a", "start a");
}

#[test]
fn x24_the_stop_bound_holds() {
    let bench = booted(OneForOne, "a:1s:lasting b:2s:immortal c:brutal:immortal");
    let bound = bench.core.stop_bound().unwrap();
    // Each its time, and its second of grace.
    assert_eq!(bound, Duration::from_secs(1 + 1 + 2 + 1 + 1));
    let mut bench = bench;
    bench.run("shutdown");
    let done = bench.run(&format!("pass {}ms", bound.as_millis()));
    assert!(done.ends_with("exit shutdown"), "{done}");
    assert_eq!(booted(OneForOne, "a:infinity").core.stop_bound(), None);
    assert_eq!(booted(Dynamic, "t:2s").core.stop_bound(), Some(Duration::from_secs(3)), "instances stop together");
}
