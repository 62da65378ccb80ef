use super::*;
use crate::ChildState;

#[test]
fn a_killed_child_that_does_not_end_is_reported_and_leaves_its_siblings_alone() {
    let mut bench = Bench::new(OneForOne, "a:immortal b");
    bench.run("boot; kill a; pass 999ms");
    assert_eq!((bench.state("a"), bench.reports.len()), (Some(ChildState::Running), 0));
    bench.run("pass 1ms");
    assert_eq!(bench.reports, ["Unkillable a killed"]);
    assert_eq!((bench.state("a"), bench.state("b")), (Some(ChildState::Unkillable), Some(ChildState::Running)));
    assert_eq!(bench.run("crash b; die a"), "start b; start a", "when it ends after all, policy applies");
}

#[test]
fn kills_that_are_asked_for_again_do_not_put_off_the_report() {
    check_reports(OneForOne, "a:immortal", "kill a; pass 600ms; kill a; pass 600ms", "Unkillable a killed");
}

#[test]
fn a_group_restart_waits_for_an_unkillable_member() {
    let mut bench = Bench::new(OneForAll, "a b:immortal c");
    bench.run("boot");
    assert_eq!(bench.run("crash a; pass 5s; pass 1s"), "stop c, stop b; kill b; ");
    assert_eq!(bench.state("a"), Some(ChildState::Restarting));
    assert_eq!(bench.run("die b"), "start a, start b, start c");
}

#[test]
fn a_group_with_an_unkillable_member_is_not_touched() {
    let script = "kill b; pass 1s; crash a; die b";
    check(OneForAll, "a b:immortal c", script, "kill b; ; ; stop c, start a, start b, start c");
    let script = "kill a; pass 1s; crash b; die a";
    check(
        RestForOne,
        "a:immortal b c",
        script,
        "kill a; ; stop c, start b, start c; stop c, stop b, start a, start b, start c",
    );
}

#[test]
fn one_that_becomes_unkillable_before_its_group_stops_it_blocks_the_restart() {
    let script = "kill b; crash a; pass 1s; gone c; die b";
    let expected = "kill b; stop c; ; ; start a, start b, start c";
    check(OneForAll, "a b:immortal c:lasting", script, expected);
}

#[test]
fn others_who_crash_while_their_group_is_blocked_join_it() {
    let script = "kill c; pass 1s; crash a; crash b; die c";
    let children = "1/60s a b c:immortal";
    check(OneForAll, children, script, "kill c; ; ; ; start a, start b, start c");
    check(RestForOne, children, script, "kill c; ; ; ; start a, start b, start c");
}

#[test]
fn operators_are_answered_while_a_group_is_blocked() {
    let script = "kill c; pass 1s; crash a; terminate b; restart b; terminate a; die c";
    let answers = "stop b, ended b, ok; start b, ok, started; ended a, ok";
    // With `a` stopped by hand nobody waits for `c`: its end is then like any other, and starts `a` with the group.
    check(OneForAll, "a b c:immortal", script, &format!("kill c; ; ; {answers}; stop b, start a, start b, start c"));
}

#[test]
fn a_late_end_during_another_procedure_has_its_turn_after_it() {
    let script = "kill c; pass 1s; crash a; terminate b; die c; gone b";
    let expected = "kill c; ; ; stop b; ; ended b, ok, start a, start b, start c";
    check(OneForAll, "a b:lasting c:immortal", script, expected);
}

#[test]
fn a_temporary_member_that_would_not_end_frees_its_group_too() {
    let script = "kill c; pass 1s; crash a; die c";
    check(OneForAll, "a b c:immortal:temporary", script, "kill c; ; ; forget c, stop b, start a, start b");
}

#[test]
fn a_group_waits_for_all_its_unkillable_members() {
    let script = "kill b; kill c; pass 1s; crash a; die c; die b";
    let expected = "kill b; kill c; ; ; ; start a, start b, start c";
    check(OneForAll, "a b:immortal c:immortal", script, expected);
}

#[test]
fn a_pause_that_ends_while_its_group_is_blocked_does_not_lose_the_restart() {
    let script = "kill c; pass 1s; crash a; pass 5s; die c";
    let expected = "kill c; ; ; ; stop b, start a, start b, start c";
    check(OneForAll, "a:back=2s..2s b c:immortal", script, expected);
    let script = "kill c; pass 1s; crash b; crash a; pass 5s; terminate a; die c";
    let expected = "kill c; ; ; ; ; ended a, ok; start b, start c";
    check(RestForOne, "a:back=2s..2s b c:immortal", script, expected);
}

#[test]
fn the_end_does_not_wait_for_an_unkillable_child() {
    let script = "shutdown; pass 5s; pass 1s";
    check(OneForOne, "a b:immortal", script, "stop b; kill b; stop a, exit shutdown");
    check(OneForOne, "a b:immortal", "kill b; pass 1s; shutdown", "kill b; ; stop a, exit shutdown");
    let script = "boot; pass 5s; pass 1s";
    let expected = "start a, start b, start c fails, stop b; kill b; stop a, start failed: shutdown: failed to start child c: error: no";
    check_from_boot("a b:immortal c:bad", script, expected);
}

#[test]
fn operators_hear_of_a_child_that_does_not_end() {
    let refused = "refused: the child was killed and does not end: its handler never yields";
    let script = "terminate a; pass 5s; pass 1s; terminate a; restart a; delete a; die a";
    let expected = format!("stop a; kill a; {refused}; {refused}; {refused}; {refused}; start a");
    check(OneForOne, "a:immortal", script, &expected);
}

#[test]
fn who_waited_with_a_blocked_group_is_not_forgotten_when_the_other_is_stopped_by_hand() {
    let script = "crash a; crash d; pass 1s; terminate d; pass 1s; die c";
    let expected = "; ; kill c; ; ended d, ok; stop b, start a, start b, start c, start d";
    check(OneForAll, "a b:back=1s..1s c:brutal:immortal d", script, expected);
}

#[test]
fn one_that_was_killed_and_is_then_asked_to_stop_has_no_more_time_than_its_grace() {
    for shutdown in ["5s", "infinity"] {
        let children = format!("a:{shutdown}:immortal");
        check(OneForOne, &children, "kill a; shutdown; pass 999ms; pass 1ms", "kill a; stop a; ; exit shutdown");
    }
}

#[test]
fn a_blocked_group_that_waits_for_an_earlier_childs_pause_too_is_restarted_once() {
    let script = "kill d; pass 1s; crash c; crash a; die d; pass 2s";
    let expected = "kill d; ; ; ; ; stop b, start a, start b, start c, start d";
    check(RestForOne, "a:back=2s..2s b c d:immortal", script, expected);
}

#[test]
fn who_ended_for_a_blocked_group_that_is_stopped_by_hand_has_ended() {
    let script = "kill b; kill c; pass 1s; crash a; die c; terminate a";
    check(OneForAll, "a b:immortal c:immortal", script, "kill b; kill c; ; ; ; ended a, ended c, ok");
}
