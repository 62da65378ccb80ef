//! Each rule is broken once, and found.

use covenant_types::{ActorPath, ExitReason, Incarnation};

use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn exited(path: &str) -> RuntimeEvent {
    let reason = ExitReason::Killed;
    RuntimeEvent::Exited { path: path.parse().unwrap(), incarnation: Incarnation(1), reason }
}

fn started(path: &str) -> RuntimeEvent {
    RuntimeEvent::Started { path: path.parse::<ActorPath>().unwrap(), incarnation: Incarnation(2) }
}

fn check(tell: impl FnOnce(&mut Rules), broken: &str) {
    let mut rules = Rules::default();
    tell(&mut rules);
    let found = rules.broken().join("\n");
    assert!(if broken.is_empty() { found.is_empty() } else { found.contains(broken) }, "found: {found}");
}

#[test]
fn an_epoch_that_goes_back_is_found() {
    check(|rules| (1..=2).for_each(|epoch| rules.booted(at(epoch), 0, BootEpoch(epoch))), "");
    check(|rules| [2, 2].into_iter().for_each(|epoch| rules.booted(at(1), 0, BootEpoch(epoch))), "never go back");
}

#[test]
fn a_call_that_does_not_end_is_found_unless_its_caller_died() {
    let call = |rules: &mut Rules| rules.call_began(at(1), 7, 0, "echo".to_owned(), at(2), true);
    check(|rules| (call(rules), rules.check(at(5))).1, "did not end");
    check(|rules| (call(rules), rules.gone(at(2), 0), rules.check(at(5))).2, "");
    check(|rules| (call(rules), rules.call_ended(at(2), 7, Ok(None)), rules.check(at(5))).2, "");
    let suspend = |rules: &mut Rules, now: u64| {
        call(rules);
        rules.suspended(0);
        rules.check(at(9));
        rules.woke(at(9), 0, at(7));
        rules.check(at(now));
    };
    check(|rules| suspend(rules, 11), "");
    check(|rules| suspend(rules, 12), "did not end");
}

#[test]
fn a_monitor_that_fires_for_a_living_actor_is_found() {
    let watch = |rules: &mut Rules| rules.monitor_began(at(10), 1, 0, (1, "/lab/w0".to_owned()));
    let fire = |rules: &mut Rules, reason| rules.monitor_fired(at(12), 1, &reason);
    let exit = || DownReason::Exited(ExitReason::Killed);
    check(|rules| (watch(rules), fire(rules, exit())).1, "which lives");
    check(|rules| (watch(rules), rules.runtime(at(11), 1, &exited("/lab/w0")), fire(rules, exit())).2, "");
    check(|rules| (watch(rules), fire(rules, DownReason::NoConnection)).1, "");
    let quiet = |rules: &mut Rules| rules.quiet_begins(at(9));
    check(|rules| (quiet(rules), watch(rules), fire(rules, DownReason::NoConnection)).2, "which lives");
}

#[test]
fn a_monitor_that_is_never_told_is_found_in_the_quiet() {
    let untold = |rules: &mut Rules| {
        rules.monitor_began(at(10), 1, 0, (1, "/lab/w0".to_owned()));
        rules.runtime(at(40), 1, &exited("/lab/w0"));
        rules.check(at(100));
        assert!(rules.broken().is_empty(), "in the storm news may be late");
        rules.quiet_begins(at(100));
        rules.check(at(121));
    };
    check(untold, "never told");
}

#[test]
fn a_restart_above_the_intensity_is_found_and_an_escalation_forgives() {
    let crashes = |rules: &mut Rules, count: u64| {
        for number in 0..count {
            rules.runtime(at(number), 1, &exited("/lab/w0"));
            rules.runtime(at(number), 1, &started("/lab/w0"));
        }
    };
    check(|rules| crashes(rules, 5), "");
    check(|rules| crashes(rules, 6), "restarted 6 children");
    check(|rules| (crashes(rules, 5), rules.runtime(at(6), 1, &exited(LAB)), crashes(rules, 5)).2, "");
}
