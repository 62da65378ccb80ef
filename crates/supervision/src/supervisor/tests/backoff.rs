use std::time::Duration;

use covenant_types::{ExitReason, StartAttempts, Uptime};

use super::script::{id, supervisor};
use super::*;
use crate::{ChildState, Effect, Event, Supervisor};

#[test]
fn backoff_waits_between_restarts_and_begins_anew_after_a_long_run() {
    let mut bench = Bench::new(OneForOne, "100/5s a:back=1s..3s");
    bench.run("boot");
    for pause in [1000, 2000, 3000, 3000] {
        assert_eq!(bench.run(&format!("crash a; pass {}ms", pause - 1)), "; ", "{pause}");
        assert_eq!(bench.state("a"), Some(ChildState::Restarting));
        assert_eq!(bench.run("pass 1ms"), "start a");
    }
    assert_eq!(bench.run("pass 10s; crash a; pass 999ms; pass 1ms"), "; ; ; start a");
}

#[test]
fn a_restart_that_fails_waits_one_pause_before_the_next_try_and_not_two() {
    let script = "spoil a 3; crash a; pass 999ms; pass 1ms; pass 1999ms; pass 1ms; pass 3999ms; pass 1ms; pass 8s";
    let expected = "; ; ; start a fails; ; start a fails; ; start a fails; start a";
    check(OneForOne, "a:back=1s..8s", script, expected);
}

#[test]
fn a_crash_loop_with_pauses_still_ends_in_the_parent() {
    let script = "spoil a 99; crash a; pass 60s";
    check(OneForOne, "2/60s a:back=1s..1s b", script, "; ; start a fails, start a fails, stop b, exit shutdown");
}

#[test]
fn siblings_run_on_during_the_pause() {
    check(OneForOne, "a:back=1s..1s b", "crash a; crash b; pass 1s", "; start b; start a");
    check(OneForAll, "a:back=1s..1s b", "crash a; pass 999ms; pass 1ms", "; ; stop b, start a, start b");
}

#[test]
fn one_for_all_waits_the_longest_pause_of_its_members() {
    let children = "a b:back=3s..9s c:back=1s..9s";
    check(OneForAll, children, "crash a; pass 2999ms; pass 1ms", "; ; stop c, stop b, start a, start b, start c");
    // A temporary member is not started again and has no say.
    let children = "a:back=1s..1s b:temporary:back=9s..9s";
    check(OneForAll, children, "crash a; pass 1s", "; stop b, forget b, start a");
}

#[test]
fn rest_for_one_waits_the_pause_of_the_one_that_ended() {
    check(RestForOne, "a b:back=1s..9s c:back=5s..9s", "crash b; pass 1s", "; stop c, start b, start c");
    check(RestForOne, "a b c:back=5s..9s", "crash b", "stop c, start b, start c");
}

#[test]
fn a_crash_while_its_group_waits_joins_it() {
    // One pause for both, and one restart: the window forgives no second.
    let script = "crash a; pass 500ms; crash b; pass 499ms; pass 1ms; crash a";
    let expected = "; ; ; ; stop c, start a, start b, start c; stop c, stop b, exit shutdown";
    check(OneForAll, "1/9s a:back=1s..1s b c", script, expected);
    check(RestForOne, "1/9s a:back=1s..1s b c", script, expected);
}

#[test]
fn a_crash_of_an_earlier_child_takes_the_waiting_group_along() {
    // With a pause of its own everybody waits as long as it does, without one nobody waits.
    let waits = "; ; ; stop c, start a, start b, start c; ";
    check(RestForOne, "a:back=2s..2s b:back=1s..1s c", "crash b; crash a; pass 1999ms; pass 1ms; pass 9s", waits);
    check(RestForOne, "a b:back=1s..1s c", "crash b; crash a; pass 9s", "; stop c, start a, start b, start c; ");
}

#[test]
fn who_joined_a_group_goes_on_alone_when_the_one_that_ended_first_is_stopped_by_hand() {
    let script = "crash a; pass 500ms; crash b; terminate a; pass 499ms; pass 1ms";
    check(RestForOne, "a:back=1s..1s b c", script, "; ; ; ended a, ok; ; stop c, start b, start c");
}

#[test]
fn a_pause_that_ends_during_a_restart_has_its_turn_after_it() {
    let script = "crash a; terminate b; pass 1s; gone b";
    check(OneForOne, "a:back=1s..1s b:lasting", script, "; stop b; ; ended b, ok, start a");
}

#[test]
fn terminate_cancels_a_pending_restart() {
    let script = "crash a; terminate a; pass 5s; restart a";
    check(OneForOne, "a:back=1s..1s", script, "; ended a, ok; ; start a, ok, started");
}

#[test]
fn jitter_is_decided_by_the_seed() {
    let pauses = |seed| {
        let (mut spec, _) = supervisor(OneForOne, "99/5s a:back=1s..1s");
        spec.children[0].backoff.as_mut().unwrap().jitter = 1.0;
        let mut core = Supervisor::new(spec, StartAttempts::default(), seed).unwrap();
        let (now, child) = (Uptime::ZERO, id("a"));
        let mut pauses = Vec::new();
        let _boot = core.handle(now, Event::StartRequested);
        for _ in 0..4 {
            let attempt = core.child(&child).and_then(|view| view.attempt).unwrap();
            let _started = core.handle(now, Event::ChildStarted { child: child.clone(), attempt, info: None });
            let reason = ExitReason::Killed;
            for effect in core.handle(now, Event::ChildExited { child: child.clone(), attempt, reason }) {
                if let Effect::SetTimer { timer, after } = effect {
                    pauses.push(after);
                    let _start = core.handle(now, Event::TimerFired(timer));
                }
            }
        }
        pauses
    };
    assert_eq!(pauses(7).len(), 4);
    assert!(pauses(7).iter().all(|pause| *pause <= Duration::from_secs(1)));
    assert_eq!(pauses(7), pauses(7));
    assert_ne!(pauses(7), pauses(8));
}
