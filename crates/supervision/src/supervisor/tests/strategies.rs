use super::*;
use crate::ChildState;

#[test]
fn one_for_one_restarts_the_child_that_ended() {
    check(OneForOne, "a b c", "crash b", "start b");
}

#[test]
fn rest_for_one_restarts_the_children_started_after_it() {
    check(RestForOne, "a b c", "crash b", "stop c, start b, start c");
    check(RestForOne, "a b c", "crash c", "start c");
}

#[test]
fn one_for_all_restarts_all() {
    check(OneForAll, "a b c", "crash b", "stop c, stop a, start a, start b, start c");
}

#[test]
fn a_group_stops_one_at_a_time_by_the_rules_of_each() {
    let script = "crash a; gone d; pass 1s";
    let expected = "stop d; kill c, stop b; kill b, start a, start b, start c, start d";
    check(OneForAll, "a b:1s:lasting c:brutal d:infinity:lasting", script, expected);
}

#[test]
fn temporary_siblings_are_deleted_and_not_restarted() {
    check(OneForAll, "a b:temporary c", "crash a", "stop c, stop b, forget b, start a, start c");
    check(RestForOne, "a b:temporary c", "crash a", "stop c, stop b, forget b, start a, start c");
}

#[test]
fn a_temporary_child_that_ends_leaves_its_siblings_alone() {
    check(OneForAll, "a b:temporary c", "crash b", "forget b");
    check(RestForOne, "a b:temporary c", "crash b", "forget b");
}

#[test]
fn a_group_restart_brings_back_who_was_stopped_by_hand_or_had_ended() {
    let script = "terminate c; end b; crash a";
    check(OneForAll, "a b:transient c", script, "stop c, ended c, ok; ended b; start a, start b, start c");
}

#[test]
fn a_restart_that_fails_is_tried_again_and_spends_the_budget() {
    let script = "spoil a 2; crash a; pass 0s; crash a";
    check(OneForOne, "3/5s a b", script, "; start a fails; start a fails, start a; stop b, exit shutdown");
}

#[test]
fn a_restart_that_keeps_failing_ends_the_supervisor() {
    let script = "spoil a 9; crash a; pass 0s";
    let expected = "; start a fails; start a fails, start a fails, stop b, exit shutdown";
    check(OneForOne, "3/5s a b", script, expected);
    let expected = "; stop b, start a fails; start a fails, start a fails, exit shutdown";
    check(OneForAll, "3/5s a b", script, expected);
}

#[test]
fn between_two_tries_others_have_their_turn() {
    let mut bench = Bench::new(OneForOne, "a b");
    bench.run("boot; spoil a 1");
    assert_eq!(bench.run("crash a; crash b"), "start a fails; start b");
    assert_eq!(bench.state("a"), Some(ChildState::Restarting));
    assert_eq!(bench.run("pass 0s"), "start a");
}

#[test]
fn one_for_all_stops_the_restarted_ones_before_the_next_try() {
    let script = "spoil b 1; crash a; pass 0s";
    let expected = "; stop c, stop b, start a, start b fails; stop a, start a, start b, start c";
    check(OneForAll, "a b c", script, expected);
}

#[test]
fn rest_for_one_retries_only_the_one_that_failed() {
    let script = "spoil b 1; crash a; pass 0s";
    check(RestForOne, "a b c", script, "; stop c, stop b, start a, start b fails; start b, start c");
}

#[test]
fn after_a_failed_try_the_rest_of_the_group_is_undefined() {
    let mut bench = Bench::new(RestForOne, "a b c");
    bench.run("boot; spoil b 1; crash b");
    assert_eq!(bench.state("a"), Some(ChildState::Running));
    assert_eq!(bench.state("b"), Some(ChildState::Restarting));
    assert_eq!(bench.state("c"), Some(ChildState::Undefined));
}

#[test]
fn a_crash_before_the_next_try_takes_the_waiting_one_along() {
    let script = "spoil b 1; crash b; crash a; pass 0s";
    check(RestForOne, "a b c", script, "; stop c, start b fails; start a, start b, start c; ");
}

#[test]
fn a_crash_before_the_next_try_of_its_group_waits_for_it_and_both_spend_one_restart() {
    let script = "spoil b 1; crash b; crash a; pass 0s; crash a";
    let expected =
        "; stop c, stop a, start a, start b fails; ; start a, start b, start c; stop c, stop b, exit shutdown";
    check(OneForAll, "2/5s a b c", script, expected);
}

#[test]
fn a_child_that_is_ignored_at_its_restart_stays_stopped() {
    check(
        OneForOne,
        "a",
        "now a:ignored; crash a; restart a",
        "; start a ignored, ended a; start a ignored, ended a, ok, ignored",
    );
    check(OneForAll, "a b", "now a:ignored; crash b", "; stop a, start a ignored, ended a, start b");
}

#[test]
fn a_sibling_that_crashes_during_a_restart_has_its_turn_after_it() {
    let script = "crash b; crash a; gone c";
    let expected = "stop c; ; start b, start c, stop c; kill c, stop b, start a, start b, start c";
    check(RestForOne, "a b c:lasting", &format!("{script}; pass 5s"), expected);
}

#[test]
fn a_sibling_that_crashes_before_its_group_stops_it_is_restarted_with_the_group() {
    check(OneForAll, "a b c:lasting", "crash a; crash b; gone c", "stop c; ; start a, start b, start c");
}

#[test]
fn restarts_are_counted_for_all_whom_policy_starts_again() {
    let mut bench = Bench::new(RestForOne, "a b c");
    bench.run("boot; crash b; terminate c; restart c; spoil b 1; crash b; pass 0s");
    assert_eq!((bench.restarts("a"), bench.restarts("b"), bench.restarts("c")), (0, 2, 2));
}
