use super::*;
use crate::ChildState;

#[test]
fn a_drained_child_runs_until_it_has_ended_and_policy_decides_then() {
    check(OneForOne, "a", "drain a 5s; gone a drained; pass 9s", "drain a; start a; ");
    check(OneForOne, "a:transient", "drain a 5s; gone a drained; pass 9s", "drain a; ended a; ");
    check(OneForOne, "a:temporary", "drain a 5s; gone a drained; pass 9s", "drain a; forget a; ");
    check(OneForAll, "a b", "drain a 5s; gone a drained", "drain a; stop b, start a, start b");
    let mut bench = Bench::new(OneForOne, "a");
    bench.run("boot; drain a 5s; pass 4s");
    assert_eq!(bench.state("a"), Some(ChildState::Running));
}

#[test]
fn one_that_does_not_finish_in_time_is_stopped_as_its_spec_says() {
    let within = "drain a 5s; pass 4999ms; pass 1ms";
    check(OneForOne, "a", within, "drain a; ; discard a, stop a, start a");
    check(OneForOne, "a:brutal", within, "drain a; ; discard a, kill a, start a");
    check(
        OneForOne,
        "a:infinity:lasting",
        &format!("{within}; pass 30d; gone a"),
        "drain a; ; discard a, stop a; ; start a",
    );
    let slow = format!("{within}; pass 69ms; pass 1ms");
    check(OneForOne, "a:70ms:lasting", &slow, "drain a; ; discard a, stop a; ; kill a, start a");
    check(OneForOne, "a:transient:70ms:lasting", &slow, "drain a; ; discard a, stop a; ; kill a, start a");
    check(OneForOne, "a:transient", within, "drain a; ; discard a, stop a, ended a");
}

#[test]
fn one_that_ends_neither_when_asked_nor_when_killed_is_reported() {
    check_reports(OneForOne, "a:70ms:immortal", "drain a 5s; pass 5s; pass 70ms; pass 1s", "Unkillable a killed");
}

#[test]
fn a_second_drain_moves_the_deadline_and_nothing_else() {
    check(
        OneForOne,
        "a",
        "drain a 5s; pass 4s; drain a 5s; pass 4s; pass 1s",
        "drain a; ; ; ; discard a, stop a, start a",
    );
    check(OneForOne, "a", "drain a 5s; drain a 1s; pass 1s; pass 9s", "drain a; ; discard a, stop a, start a; ");
}

#[test]
fn a_kill_and_a_stop_take_the_place_of_a_drain() {
    check(OneForOne, "a", "drain a 5s; kill a; pass 9s", "drain a; kill a, start a; ");
    check(
        OneForOne,
        "a:lasting:9s",
        "drain a 5s; terminate a; pass 5s; pass 4s",
        "drain a; stop a; ; kill a, ended a, ok",
    );
    let infinity = "drain a 5s; shutdown; pass 9s; gone a";
    check(OneForOne, "a:infinity:lasting", infinity, "drain a; stop a; ; exit shutdown");
    check(OneForOne, "a:immortal", "kill a; drain a 9s; pass 1s; die a", "kill a; ; ; start a");
}

#[test]
fn what_does_not_run_is_not_drained() {
    check(OneForOne, "a", "terminate a; drain a 5s; pass 9s", "stop a, ended a, ok; ; ");
    check(OneForOne, "a", "drain nobody 5s; pass 9s", "; ");
    check(OneForOne, "a:lasting", "shutdown; drain a 5s; gone a", "stop a; ; exit shutdown");
}
