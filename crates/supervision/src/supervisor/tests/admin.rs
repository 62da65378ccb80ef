use super::*;

#[test]
fn admin_calls_have_otps_results() {
    let cases = [
        ("restart a", "refused: the child is running"),
        ("delete a", "refused: the child is running"),
        ("add a", "refused: a child of that id runs already"),
        ("terminate a", "stop a, ended a, ok"),
        ("terminate a", "ok"),
        ("add a", "refused: a child of that id is there, stopped; restart or delete it"),
        ("spoil a 1", ""),
        ("restart a", "start a fails, ended a, refused: the child did not start: error: no"),
        ("restart a", "start a, ok, started"),
        ("terminate a", "stop a, ended a, ok"),
        ("delete a", "forget a, ok"),
        ("delete a", "refused: no child of that id"),
        ("restart a", "refused: no child of that id"),
        ("terminate a", "refused: no child of that id"),
        ("add b:bad", "start b fails, forget b, refused: the child did not start: error: no"),
        ("add b", "start b, ok, started"),
        ("add c:ignored", "start c ignored, ended c, ok, ignored"),
        ("add c", "refused: a child of that id is there, stopped; restart or delete it"),
        ("add d:ignored:temporary", "start d ignored, forget d, ok, ignored"),
        ("add d:temporary", "start d, ok, started"),
        ("terminate d", "stop d, forget d, ok"),
        ("shutdown", "stop b, exit shutdown"),
        ("restart b", "refused: the supervisor is stopping"),
    ];
    let (script, expected): (Vec<&str>, Vec<&str>) = cases.into_iter().unzip();
    check(OneForOne, "a", &script.join("; "), &expected.join("; "));
}

#[test]
fn admin_calls_are_answered_in_a_crash_loop() {
    let cases = [
        ("crash a", "start a fails"),
        ("restart a", "refused: the child is being restarted"),
        ("delete a", "refused: the child is being restarted"),
        ("add a", "refused: a child of that id is there, stopped; restart or delete it"),
        ("terminate b", "stop b, ended b, ok"),
        ("terminate a", "ended a, ok"),
        ("pass 9s", ""),
    ];
    let (script, expected): (Vec<&str>, Vec<&str>) = cases.into_iter().unzip();
    check(OneForOne, "a b", &format!("spoil a 99; {}", script.join("; ")), &format!("; {}", expected.join("; ")));
}

#[test]
fn a_new_child_is_the_last_in_order() {
    check(OneForOne, "b c", "add a; shutdown", "start a, ok, started; stop a, stop c, stop b, exit shutdown");
    check(RestForOne, "b c", "add a; crash c", "start a, ok, started; stop a, start c, start a");
}

#[test]
fn calls_wait_for_a_start_and_are_answered_in_order() {
    let script = "now a:slow; crash a; terminate a; delete a; up a";
    check(OneForOne, "a", script, "; start a; ; ; stop a, ended a, ok, forget a, ok");
}

#[test]
fn more_calls_than_may_wait_are_refused_at_once() {
    let mut bench = Bench::new(OneForOne, "a b:lasting");
    bench.run("boot; terminate b");
    for _ in 0..64 {
        assert_eq!(bench.run("terminate a"), "");
    }
    assert_eq!(bench.run("terminate a"), "refused: too many calls wait for this supervisor; try again");
    assert_eq!(bench.run("gone b").matches("ok").count(), 65);
}

#[test]
fn a_child_that_does_not_stop_when_an_operator_asks_is_killed() {
    check(OneForOne, "a:lasting", "terminate a; pass 5s", "stop a; kill a, ended a, ok");
}

#[test]
fn a_child_that_ends_while_an_operator_stops_another_is_restarted_afterwards() {
    check(OneForOne, "a b:lasting", "terminate b; crash a; gone b", "stop b; ; ended b, ok, start a");
}

#[test]
fn a_child_that_ended_is_not_restarted_when_an_operator_stops_it_first() {
    let script = "terminate b; terminate a; crash a; gone b";
    check(OneForOne, "a b:lasting", script, "stop b; ; ; ended b, ok, ended a, ok");
}

#[test]
fn who_is_left_of_a_group_whose_restart_is_cancelled_has_ended() {
    let script = "spoil a 1; crash a; terminate a; pass 1s";
    check(RestForOne, "a b c", script, "; stop c, stop b, start a fails; ended a, ended b, ended c, ok; ");
    // Who another restart takes along has not.
    let script = "spoil b 1; crash b; crash a; terminate b; pass 9s";
    let expected = "; stop c, start b fails; ; ended b, ok; start a, start b, start c";
    check(RestForOne, "a:back=1s..1s b c", script, expected);
}

#[test]
fn a_bad_spec_is_refused_by_name() {
    check(
        OneForOne,
        "a",
        "add b:back=2s..1s",
        "refused: the spec is wrong: the backoff of b needs 0 < min <= max and 0 <= jitter <= 1",
    );
}

#[test]
fn who_is_left_of_two_groups_waits_for_the_one_that_is_still_to_be_restarted() {
    let script = "spoil a 1; crash a; restart d; crash d; terminate a; pass 0s";
    let expected =
        "; stop d, stop c, stop b, start a fails; start d, ok, started; ; ended a, ended b, ended c, ok; start d";
    check(RestForOne, "a b c d", script, expected);
}
