use super::*;

#[test]
fn one_restart_too_many_stops_all_and_exits_with_shutdown() {
    let expected = "start a; start a; stop c, stop b, exit shutdown";
    check(OneForOne, "2/5s a b c", "crash a; crash a; crash a", expected);
}

#[test]
fn restarts_of_all_children_count_together() {
    check(OneForOne, "2/5s a b c", "crash a; crash b; crash c", "start a; start b; stop b, stop a, exit shutdown");
}

#[test]
fn a_group_restart_counts_once() {
    let group = "stop c, stop b, start a, start b, start c";
    let expected = format!("{group}; {group}; stop c, stop b, exit shutdown");
    check(OneForAll, "2/5s a b c", "crash a; crash a; crash a", &expected);
}

#[test]
fn restarts_outside_the_window_are_forgiven() {
    let crash = "pass 5001ms; crash a";
    check(OneForOne, "1/5s a", &[crash; 4].join("; "), &["; start a"; 4].join("; "));
}

#[test]
fn a_restart_exactly_one_period_ago_still_counts_for_the_supervisor() {
    check(OneForOne, "1/5s a", "crash a; pass 5s; crash a", "start a; ; exit shutdown");
}

#[test]
fn a_restart_by_hand_counts_for_nothing() {
    let by_hand = "terminate a; restart a";
    let done = "stop a, ended a, ok; start a, ok, started";
    check(OneForOne, "1/5s a", &format!("{by_hand}; {by_hand}; crash a"), &format!("{done}; {done}; start a"));
}

#[test]
fn giving_up_obeys_the_stop_rules_and_restarts_nobody() {
    let script = "crash a; crash b; pass 1s; crash c; gone d";
    let expected = "stop d; ; ; ; exit shutdown";
    check(OneForOne, "0/5s a b c d:infinity:lasting", script, expected);
}

#[test]
fn a_supervisor_that_gives_up_forgets_who_was_temporary() {
    check(OneForOne, "0/5s a b:temporary", "crash a", "stop b, forget b, exit shutdown");
}

#[test]
fn who_joined_a_group_spends_a_restart_when_the_one_that_ended_first_is_stopped_by_hand() {
    let script = "spoil b 1; crash b; crash a; terminate b; pass 0s";
    let expected = "; stop c, stop a, start a, start b fails; ; ended b, ok; exit shutdown";
    check(OneForAll, "1/5s a b c", script, expected);
}
