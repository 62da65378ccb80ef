//! Cases from other people's bugs that are about policy: X3, X4, X6, X7, X11, X18 and X22.

use super::*;
use crate::ChildState;

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
fn x18_a_supervisor_that_restarts_leaves_no_orphan() {
    let mut bench = booted(OneForOne, "0/5s a b c");
    assert_eq!(bench.run("crash b"), "stop c, stop a, exit shutdown");
    let running = bench.core.children().filter(|child| child.attempt.is_some()).count();
    assert_eq!(running, 0);
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
