use std::time::Duration;

use super::*;

#[test]
fn children_stop_in_reverse_order_one_at_a_time() {
    check(OneForOne, "a b:lasting", "shutdown; gone b", "stop b; stop a, exit shutdown");
    let unsorted = "stop q, stop a, stop m, stop c, stop x, exit shutdown";
    check(OneForOne, "x c m a q", "shutdown", unsorted);
}

#[test]
fn who_does_not_stop_in_time_is_killed() {
    check(OneForOne, "a:lasting", "shutdown; pass 4999ms; pass 1ms", "stop a; ; kill a, exit shutdown");
    check(OneForOne, "a:70ms:lasting", "shutdown; pass 69ms; pass 1ms", "stop a; ; kill a, exit shutdown");
}

#[test]
fn no_time_to_stop_is_a_kill_right_after_the_request() {
    check(OneForOne, "a:0s:lasting", "shutdown; pass 0s", "stop a; kill a, exit shutdown");
}

#[test]
fn brutal_kill_does_not_ask() {
    check(OneForOne, "a b:brutal", "shutdown", "kill b, stop a, exit shutdown");
}

#[test]
fn infinity_waits() {
    check(OneForOne, "a:infinity:lasting", "shutdown; pass 30d; gone a", "stop a; ; exit shutdown");
    check(OneForOne, "a:sup:lasting", "shutdown; pass 30d; gone a", "stop a; ; exit shutdown");
}

#[test]
fn children_that_end_by_themselves_meanwhile_are_not_restarted() {
    for restart in ["", ":transient"] {
        let children = format!("a{restart} b{restart} c{restart} d{restart} e:lasting");
        let script = "shutdown; crash a; end b; die c; gone d; gone e";
        check(OneForOne, &children, script, "stop e; ; ; ; ; exit shutdown");
    }
    let forgotten = "stop b; ; forget b, forget a, exit shutdown";
    check(OneForOne, "a:temporary b:lasting:temporary", "shutdown; crash a; gone b", forgotten);
}

#[test]
fn a_second_request_to_stop_changes_nothing() {
    check(OneForOne, "a:lasting", "shutdown; shutdown; gone a; shutdown", "stop a; ; exit shutdown; ");
}

#[test]
fn a_shutdown_during_a_group_restart_goes_on_from_where_it_stands() {
    check(OneForAll, "a b c:lasting", "crash a; shutdown; gone c", "stop c; ; stop b, exit shutdown");
}

#[test]
fn a_shutdown_while_a_restart_starts_kills_what_starts() {
    let script = "now b:slow; crash b; shutdown";
    check(RestForOne, "a b c", script, "; stop c, start b; kill b, stop a, exit shutdown");
}

#[test]
fn a_shutdown_ends_a_wait_for_a_restart() {
    check(OneForOne, "a:back=1s..1s b", "crash a; shutdown; pass 2s", "; stop b, exit shutdown; ");
    check(OneForOne, "a b", "spoil a 1; crash a; shutdown; pass 1s", "; start a fails; stop b, exit shutdown; ");
}

#[test]
fn a_shutdown_answers_the_operators_who_wait() {
    let gone = "refused: the supervisor is stopping";
    let script = "terminate b; restart a; shutdown; gone b; delete a";
    let expected = format!("stop b; ; {gone}; stop a, {gone}, exit shutdown; {gone}");
    check(OneForOne, "a b:lasting", script, &expected);
}

#[test]
fn the_exit_of_an_older_attempt_changes_nothing() {
    check(OneForOne, "a", "crash a; crash-again a 1; crash a", "start a; ; start a");
    check(OneForOne, "a", "terminate a; crash-again a 1", "stop a, ended a, ok; ");
}

#[test]
fn an_exit_that_is_told_twice_counts_once() {
    let script = "crash a; crash-again a 1; gone b";
    check(RestForOne, "z a b:lasting", script, "stop b; ; start a, start b");
    // Also while its first telling waits: `a` is attempt 1.
    check(
        OneForOne,
        "a b:lasting",
        "terminate b; crash a; crash-again a 1; gone b",
        "stop b; ; ; ended b, ok, start a",
    );
}

#[test]
fn the_stop_bound_is_the_sum_of_the_timeouts_and_the_time_kills_take() {
    let bound = |children: &str| Bench::new(OneForOne, children).core.stop_bound();
    assert_eq!(bound("a b:2s c:brutal"), Some(Duration::from_secs(6 + 3 + 1)));
    assert_eq!(bound("a b:infinity"), None);
}
