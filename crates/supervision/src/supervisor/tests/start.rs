use std::collections::BTreeSet;
use std::time::Duration;

use covenant_types::{StartAttempts, Uptime};

use super::script::supervisor;
use super::*;
use crate::{ChildState, Effect, Event, SpecError, Supervisor, SupervisorSpec};

#[test]
fn children_start_from_left_to_right() {
    check_from_boot("a b", "boot", "start a, start b, started");
    check_from_boot("a:slow b:slow", "boot; up a; up b", "start a; start b; started");
}

#[test]
fn a_supervisor_without_children_starts_and_ends() {
    check_from_boot("9/5s ", "boot; shutdown", "started; exit shutdown");
}

#[test]
fn a_failed_start_stops_what_was_started_in_reverse_order() {
    let failed = "start failed: shutdown: failed to start child c: error: no";
    check_from_boot("a b c:bad d", "boot", &format!("start a, start b, start c fails, stop b, stop a, {failed}"));
}

#[test]
fn a_failed_start_stops_by_the_rules_of_each_child() {
    let failed = "start failed: shutdown: failed to start child d: error: no";
    let expected = format!("start a, start b, start c, start d fails, stop c; kill c, kill b, stop a; {failed}");
    check_from_boot("a:infinity:lasting b:brutal c:2s:lasting d:bad", "boot; pass 2s; gone a", &expected);
}

#[test]
fn after_a_failed_start_nothing_happens_any_more() {
    let failed = "start failed: shutdown: failed to start child a: error: no";
    let expected = format!("start a fails, {failed}; ; ; refused: the supervisor is stopping");
    check_from_boot("a:bad", "boot; boot; shutdown; restart a", &expected);
}

#[test]
fn a_second_request_to_start_changes_nothing() {
    check_from_boot("a:slow b", "boot; boot; up a; boot", "start a; ; start b, started; ");
}

#[test]
fn an_ignored_child_keeps_its_spec_unless_it_is_temporary() {
    let mut bench = Bench::new(OneForOne, "a:ignored b:ignored:temporary c");
    assert_eq!(bench.run("boot"), "start a ignored, ended a, start b ignored, forget b, start c, started");
    assert_eq!((bench.state("a"), bench.state("b")), (Some(ChildState::Undefined), None));
}

#[test]
fn a_child_that_ends_while_others_start_is_restarted_when_all_have() {
    check_from_boot("a b:slow", "boot; crash a; up b", "start a, start b; ; started, start a");
}

#[test]
fn a_start_under_way_is_killed_by_a_shutdown() {
    check_from_boot("a b:slow", "boot; shutdown", "start a, start b; kill b, stop a, exit shutdown");
}

#[test]
fn a_supervisor_that_starts_is_asked_so_that_its_own_children_stop_in_order() {
    let children = "a b:sup:slow:lasting";
    check_from_boot(children, "boot; shutdown; fail b", "start a, start b; stop b; stop a, exit shutdown");
}

#[test]
fn a_start_that_succeeds_or_is_ignored_just_before_its_kill_ends_the_shutdown_all_the_same() {
    check_from_boot("a:slow:immortal", "boot; shutdown; ignore a", "start a; kill a; exit shutdown");
    check_from_boot("a:slow:immortal", "boot; shutdown; up a; die a", "start a; kill a; ; exit shutdown");
    check_from_boot("a:slow:immortal", "boot; shutdown; fail a", "start a; kill a; exit shutdown");
}

#[test]
fn a_shutdown_before_the_start_starts_nothing() {
    check_from_boot("a", "shutdown; boot", "exit shutdown; ");
}

#[test]
fn operators_who_come_before_the_start_wait_for_it() {
    check_from_boot("a", "terminate a; boot", "; start a, started, stop a, ended a, ok");
}

#[test]
fn a_spec_is_taken_whole_or_not_at_all() {
    let error = |text: &str, change: fn(&mut SupervisorSpec)| {
        let (mut spec, _) = supervisor(OneForOne, text);
        change(&mut spec);
        Supervisor::new(spec, StartAttempts::default(), 0).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(error("a b", |_| ()), Ok(()));
    assert_eq!(error("a b a", |_| ()), Err("two children have the id a".to_owned()));
    assert_eq!(error("a", |spec| spec.period = Duration::ZERO), Err(SpecError::ZeroPeriod.to_string()));
    let graceless = error("a", |spec| spec.children[0].kill_grace = Duration::ZERO);
    assert_eq!(graceless, Err("the kill_grace of a must be longer than zero".to_owned()));
    assert!(error("a:back=2s..1s", |_| ()).unwrap_err().starts_with("the backoff of a needs"));
}

#[test]
fn every_attempt_has_a_number_of_its_own_also_across_supervisors() {
    let attempts = StartAttempts::default();
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let (spec, _) = supervisor(OneForOne, "a");
        let mut core = Supervisor::new(spec, attempts.clone(), 0).unwrap();
        let effects = core.handle(Uptime::ZERO, Event::StartRequested);
        let [Effect::Start { attempt, .. }] = effects[..] else { panic!("{effects:?}") };
        assert!(seen.insert(attempt));
    }
}
