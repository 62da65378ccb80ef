//! One line per promise: what the supervisor does, as text, in virtual time.

use std::time::Duration;

use covenant_types::ExitReason;
use proptest::prelude::{Just, proptest};
use proptest::strategy::Strategy as Generator;
use proptest::{prop_assert, prop_oneof};

use super::*;
use crate::event::AdminRequest;
use crate::{Backoff, ChildSpec};

/// A driver without a world: starts succeed unless told otherwise, stops are answered when the test says so.
struct Bench {
    core: Supervisor,
    now: Uptime,
    fail_starts: Vec<(&'static str, u32)>,
    ignore: Vec<&'static str>,
    /// Children that do not stop when asked.
    stubborn: Vec<&'static str>,
    /// Children that do not even end when killed.
    immortal: Vec<&'static str>,
    log: Vec<String>,
    timers: Vec<(Uptime, Timer)>,
}

impl Bench {
    fn new(strategy: Strategy, intensity: u32, children: &[&str]) -> Self {
        Self::with(strategy, intensity, children.iter().map(|id| spec(id)).collect())
    }

    fn with(strategy: Strategy, intensity: u32, children: Vec<ChildSpec>) -> Self {
        let spec = SupervisorSpec { strategy, intensity, period: Duration::from_secs(5), children };
        let core = Supervisor::new(spec, StartAttempts::default(), 1).unwrap();
        let (log, timers) = (Vec::new(), Vec::new());
        let none = Vec::new;
        Self {
            core,
            now: Uptime::ZERO,
            fail_starts: Vec::new(),
            ignore: none(),
            stubborn: none(),
            immortal: none(),
            log,
            timers,
        }
    }

    fn booted(mut self) -> Self {
        self.event(Event::StartRequested);
        self.log.clear();
        self
    }

    /// Gives one event to the core and plays the world until nothing follows.
    fn event(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.core.handle(self.now, event) {
                self.perform(effect, &mut events);
            }
        }
    }

    fn perform(&mut self, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Start { child, attempt } => {
                let id = child.as_str().to_owned();
                let failure = self.fail_starts.iter_mut().find(|(name, left)| *name == id && *left > 0);
                if let Some((_, left)) = failure {
                    *left -= 1;
                    self.log.push(format!("start {id} fails"));
                    events.push_back(Event::ChildStartFailed { child, attempt, reason: error() });
                } else if self.ignore.contains(&id.as_str()) {
                    self.log.push(format!("start {id} ignored"));
                    events.push_back(Event::ChildIgnored { child, attempt });
                } else {
                    self.log.push(format!("start {id}"));
                    events.push_back(Event::ChildStarted { child, attempt });
                }
            }
            Effect::Stop { child, attempt } => {
                self.log.push(format!("stop {child}"));
                if !self.stubborn.contains(&child.as_str()) {
                    events.push_back(Event::ChildExited { child, attempt, reason: ExitReason::Shutdown });
                }
            }
            Effect::Kill { child, attempt } => {
                self.log.push(format!("kill {child}"));
                if !self.immortal.contains(&child.as_str()) {
                    events.push_back(Event::ChildExited { child, attempt, reason: ExitReason::Killed });
                }
            }
            Effect::SetTimer { timer, after } => self.timers.push((self.now.after(after), timer)),
            Effect::CancelTimer(timer) => self.timers.retain(|(_, set)| *set != timer),
            Effect::Forget(child) => self.log.push(format!("forget {child}")),
            Effect::ChildEnded { child } => self.log.push(format!("ended {child}")),
            Effect::Report(report) => self.log.push(format!("report {:?} {}", report.context, report.offender)),
            Effect::Started => self.log.push("started".to_owned()),
            Effect::StartFailed { .. } => self.log.push("start failed".to_owned()),
            Effect::Exit { reason } => self.log.push(format!("exit {reason}")),
            Effect::Answer { result, .. } => self.log.push(match result {
                Ok(crate::AdminDone::Started(_)) => "answer started".to_owned(),
                Ok(done) => format!("answer {done:?}").to_lowercase(),
                Err(error) => format!("refused {error:?}"),
            }),
        }
    }

    /// Lets time pass, timers included.
    fn pass(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        while let Some(at) = self
            .timers
            .iter()
            .enumerate()
            .filter(|(_, (due, _))| *due <= end)
            .min_by_key(|(_, (due, _))| *due)
            .map(|(at, _)| at)
        {
            let (due, timer) = self.timers.remove(at);
            self.now = self.now.max(due);
            self.event(Event::TimerFired(timer));
        }
        self.now = end;
    }

    /// Timers that are due now, as often as they come, at most `limit` times.
    fn settle(&mut self) {
        self.pass(0);
    }

    fn attempt(&self, id: &str) -> StartAttempt {
        self.core.children().find(|child| child.id.as_str() == id).and_then(|child| child.attempt).expect("it runs")
    }

    fn exit(&mut self, id: &str, reason: ExitReason) {
        let attempt = self.attempt(id);
        self.event(Event::ChildExited { child: ChildId::new(id).unwrap(), attempt, reason });
    }

    fn crash(&mut self, id: &str) {
        self.exit(id, ExitReason::Panicked("test".into()));
    }

    fn admin(&mut self, request: AdminRequest) {
        self.event(Event::Admin { call: 1, request });
    }

    fn state(&self, id: &str) -> Option<ChildState> {
        self.core.children().find(|child| child.id.as_str() == id).map(|child| child.state)
    }

    /// What happened since the last call, reports left out.
    fn said(&mut self) -> String {
        let log = std::mem::take(&mut self.log);
        log.into_iter().filter(|line| !line.starts_with("report")).collect::<Vec<_>>().join(", ")
    }

    fn reports(&mut self) -> String {
        let log = std::mem::take(&mut self.log);
        log.into_iter()
            .filter_map(|line| line.strip_prefix("report ").map(str::to_owned))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn spec(id: &str) -> ChildSpec {
    ChildSpec::new(id.parse_id(), ChildKind::Worker)
}

trait ParseId {
    fn parse_id(&self) -> ChildId;
}

impl ParseId for str {
    fn parse_id(&self) -> ChildId {
        ChildId::new(self).unwrap()
    }
}

fn error() -> ExitReason {
    ExitReason::Error("test".into())
}

fn crash_of(strategy: Strategy, id: &str) -> String {
    let mut bench = Bench::new(strategy, 3, &["a", "b", "c"]).booted();
    bench.crash(id);
    bench.said()
}

#[test]
fn children_start_from_left_to_right() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a", "b"]);
    bench.event(Event::StartRequested);
    assert_eq!(bench.said(), "start a, start b, started");
}

#[test]
fn a_failed_start_stops_what_was_started_in_reverse_order() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a", "b", "c"]);
    bench.fail_starts.push(("c", 1));
    bench.event(Event::StartRequested);
    assert_eq!(bench.said(), "start a, start b, start c fails, stop b, stop a, start failed");
}

#[test]
fn an_ignored_child_keeps_its_spec_unless_it_is_temporary() {
    let mut temporary = spec("b");
    temporary.restart = Restart::Temporary;
    let mut bench = Bench::with(Strategy::OneForOne, 1, vec![spec("a"), temporary]);
    bench.ignore = vec!["a", "b"];
    bench.event(Event::StartRequested);
    assert_eq!(bench.said(), "start a ignored, ended a, start b ignored, ended b, forget b, started");
    assert_eq!((bench.state("a"), bench.state("b")), (Some(ChildState::Undefined), None));
}

#[test]
fn one_for_one_restarts_the_child_that_ended() {
    assert_eq!(crash_of(Strategy::OneForOne, "b"), "start b");
}

#[test]
fn rest_for_one_restarts_the_children_started_after_it() {
    assert_eq!(crash_of(Strategy::RestForOne, "b"), "stop c, start b, start c");
}

#[test]
fn one_for_all_restarts_all() {
    assert_eq!(crash_of(Strategy::OneForAll, "b"), "stop c, stop a, start a, start b, start c");
}

#[test]
fn restart_types_decide_by_exit_class() {
    let cases = [
        (Restart::Permanent, ExitReason::Normal, "start a"),
        (Restart::Permanent, error(), "start a"),
        (Restart::Transient, ExitReason::Normal, "ended a"),
        (Restart::Transient, ExitReason::ShutdownWith("x".into()), "ended a"),
        (Restart::Transient, ExitReason::Killed, "start a"),
        (Restart::Temporary, ExitReason::Normal, "forget a"),
        (Restart::Temporary, error(), "forget a"),
    ];
    for (restart, reason, expected) in cases {
        let mut child = spec("a");
        child.restart = restart;
        let mut bench = Bench::with(Strategy::OneForOne, 1, vec![child]).booted();
        bench.exit("a", reason.clone());
        assert_eq!(bench.said(), expected, "{restart:?} {reason}");
    }
}

#[test]
fn temporary_siblings_are_deleted_and_not_restarted() {
    let mut temporary = spec("b");
    temporary.restart = Restart::Temporary;
    let mut bench = Bench::with(Strategy::OneForAll, 1, vec![spec("a"), temporary, spec("c")]).booted();
    bench.crash("a");
    assert_eq!(bench.said(), "stop c, stop b, forget b, start a, start c");
}

#[test]
fn one_restart_too_many_stops_all_and_exits_with_shutdown() {
    let mut bench = Bench::new(Strategy::OneForOne, 2, &["a", "b"]).booted();
    bench.crash("a");
    bench.crash("a");
    assert_eq!(bench.said(), "start a, start a");
    bench.crash("a");
    assert_eq!(bench.said(), "stop b, exit shutdown");
}

#[test]
fn restarts_outside_the_window_are_forgiven() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a"]).booted();
    for _ in 0..4 {
        bench.pass(5001);
        bench.crash("a");
        assert_eq!(bench.said(), "start a");
    }
}

#[test]
fn a_restart_that_fails_is_tried_again_and_spends_the_budget() {
    let mut bench = Bench::new(Strategy::OneForOne, 3, &["a", "b"]).booted();
    bench.fail_starts.push(("a", 2));
    bench.crash("a");
    assert_eq!(bench.said(), "start a fails");
    assert_eq!(bench.state("a"), Some(ChildState::Restarting));
    bench.settle();
    assert_eq!(bench.said(), "start a fails, start a");
    bench.crash("a");
    assert_eq!(bench.said(), "stop b, exit shutdown", "three restarts were spent");
}

#[test]
fn one_for_all_stops_the_restarted_ones_before_the_next_try() {
    let mut bench = Bench::new(Strategy::OneForAll, 3, &["a", "b", "c"]).booted();
    bench.fail_starts.push(("b", 1));
    bench.crash("a");
    assert_eq!(bench.said(), "stop c, stop b, start a, start b fails");
    bench.settle();
    assert_eq!(bench.said(), "stop a, start a, start b, start c");
}

#[test]
fn rest_for_one_retries_only_the_one_that_failed() {
    let mut bench = Bench::new(Strategy::RestForOne, 3, &["a", "b", "c"]).booted();
    bench.fail_starts.push(("b", 1));
    bench.crash("a");
    assert_eq!(bench.said(), "stop c, stop b, start a, start b fails");
    bench.settle();
    assert_eq!(bench.said(), "start b, start c");
}

#[test]
fn children_stop_in_reverse_order_one_at_a_time() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a", "b"]).booted();
    bench.stubborn = vec!["b"];
    bench.event(Event::ShutdownRequested);
    assert_eq!(bench.said(), "stop b");
    bench.exit("b", ExitReason::Shutdown);
    assert_eq!(bench.said(), "stop a, exit shutdown");
}

#[test]
fn who_does_not_stop_in_time_is_killed() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a"]).booted();
    bench.stubborn = vec!["a"];
    bench.event(Event::ShutdownRequested);
    bench.pass(4999);
    assert_eq!(bench.said(), "stop a");
    bench.pass(1);
    assert_eq!(bench.said(), "kill a, exit shutdown");
}

#[test]
fn brutal_kill_does_not_ask_and_is_no_error() {
    let mut child = spec("a");
    child.shutdown = Shutdown::BrutalKill;
    let mut bench = Bench::with(Strategy::OneForOne, 1, vec![child]).booted();
    bench.event(Event::ShutdownRequested);
    assert_eq!(bench.log.join(", "), "kill a, exit shutdown");
}

#[test]
fn infinity_waits() {
    let mut child = spec("a");
    child.shutdown = Shutdown::Infinity;
    let mut bench = Bench::with(Strategy::OneForOne, 1, vec![child]).booted();
    bench.stubborn = vec!["a"];
    bench.event(Event::ShutdownRequested);
    bench.pass(86_400_000);
    assert_eq!(bench.said(), "stop a");
}

#[test]
fn children_that_end_by_themselves_meanwhile_are_not_restarted() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a", "b"]).booted();
    bench.stubborn = vec!["b"];
    bench.event(Event::ShutdownRequested);
    bench.crash("a");
    bench.exit("b", ExitReason::Shutdown);
    assert_eq!(bench.said(), "stop b, exit shutdown");
}

#[test]
fn the_exit_of_an_older_attempt_changes_nothing() {
    let mut bench = Bench::new(Strategy::OneForOne, 3, &["a"]).booted();
    let old = bench.attempt("a");
    bench.crash("a");
    assert_eq!(bench.said(), "start a");
    bench.event(Event::ChildExited { child: "a".parse_id(), attempt: old, reason: error() });
    assert_eq!(bench.said(), "");
    assert_eq!(bench.state("a"), Some(ChildState::Running));
}

#[test]
fn a_sibling_that_crashes_during_a_restart_has_its_turn_after_it() {
    let mut bench = Bench::new(Strategy::RestForOne, 5, &["a", "b", "c"]).booted();
    bench.stubborn = vec!["c"];
    bench.crash("b");
    bench.crash("a");
    assert_eq!(bench.said(), "stop c");
    bench.stubborn.clear();
    bench.exit("c", ExitReason::Shutdown);
    assert_eq!(bench.said(), "start b, start c, stop c, stop b, start a, start b, start c");
}

#[test]
fn a_killed_child_that_does_not_end_is_reported_and_leaves_its_siblings_alone() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a", "b"]).booted();
    bench.immortal = vec!["a"];
    bench.event(Event::KillRequested("a".parse_id()));
    bench.pass(1000);
    assert_eq!(bench.reports(), "Unkillable a");
    assert_eq!((bench.state("a"), bench.state("b")), (Some(ChildState::Unkillable), Some(ChildState::Running)));
    bench.exit("a", ExitReason::Killed);
    assert_eq!(bench.said(), "start a", "when it ends after all, policy applies");
}

#[test]
fn a_group_restart_waits_for_an_unkillable_member() {
    let mut bench = Bench::new(Strategy::OneForAll, 1, &["a", "b"]).booted();
    (bench.stubborn, bench.immortal) = (vec!["b"], vec!["b"]);
    bench.crash("a");
    bench.pass(6000);
    assert_eq!(bench.said(), "stop b, kill b");
    assert_eq!(bench.state("a"), Some(ChildState::Restarting));
    bench.exit("b", ExitReason::Killed);
    assert_eq!(bench.said(), "start a, start b");
}

#[test]
fn the_end_does_not_wait_for_an_unkillable_child() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a", "b"]).booted();
    (bench.stubborn, bench.immortal) = (vec!["b"], vec!["b"]);
    bench.event(Event::ShutdownRequested);
    bench.pass(6000);
    assert_eq!(bench.said(), "stop b, kill b, stop a, exit shutdown");
}

#[test]
fn a_start_under_way_is_killed_by_a_shutdown() {
    let mut bench = Bench::new(Strategy::OneForOne, 1, &["a", "b"]);
    // The driver of this test answers starts at once, so this one is given to the core alone.
    let effects = bench.core.handle(Uptime::ZERO, Event::StartRequested);
    let [Effect::Start { child, attempt }] = effects.as_slice() else { panic!("{effects:?}") };
    let (child, attempt) = (child.clone(), *attempt);
    bench.immortal = vec!["a"];
    bench.event(Event::ShutdownRequested);
    assert_eq!(bench.said(), "kill a");
    bench.event(Event::ChildStartFailed { child, attempt, reason: ExitReason::Killed });
    assert_eq!(bench.said(), "exit shutdown");
}

#[test]
fn backoff_waits_between_restarts_and_begins_anew_after_a_long_run() {
    let mut child = spec("a");
    let second = Duration::from_secs(1);
    child.backoff = Some(Backoff { min: second, max: second * 3, jitter: 0.0, reset_after: second * 10 });
    let mut bench = Bench::with(Strategy::OneForOne, 100, vec![child]).booted();
    for pause in [1000, 2000, 3000, 3000] {
        bench.crash("a");
        bench.pass(pause - 1);
        assert_eq!(bench.said(), "", "{pause}");
        assert_eq!(bench.state("a"), Some(ChildState::Restarting));
        bench.pass(1);
        assert_eq!(bench.said(), "start a");
    }
    bench.pass(10_000);
    bench.crash("a");
    bench.pass(1000);
    assert_eq!(bench.said(), "start a");
}

#[test]
fn terminate_cancels_a_pending_restart() {
    let mut child = spec("a");
    child.backoff = Some(Backoff {
        min: Duration::from_secs(1),
        max: Duration::from_secs(1),
        jitter: 0.0,
        reset_after: Duration::from_secs(1),
    });
    let mut bench = Bench::with(Strategy::OneForOne, 5, vec![child]).booted();
    bench.crash("a");
    bench.admin(AdminRequest::Terminate("a".parse_id()));
    assert_eq!(bench.said(), "ended a, answer done");
    bench.pass(5000);
    assert_eq!(bench.said(), "");
}

#[test]
fn admin_calls_have_otps_results() {
    let mut bench = Bench::new(Strategy::OneForOne, 5, &["a"]).booted();
    let id = || "a".parse_id();
    let check = |bench: &mut Bench, request: AdminRequest, expected: &str| {
        bench.admin(request.clone());
        assert_eq!(bench.said(), expected, "{request:?}");
    };
    check(&mut bench, AdminRequest::Restart(id()), "refused Running");
    check(&mut bench, AdminRequest::Delete(id()), "refused Running");
    check(&mut bench, AdminRequest::Start(spec("a")), "refused AlreadyStarted");
    check(&mut bench, AdminRequest::Terminate(id()), "stop a, ended a, answer done");
    check(&mut bench, AdminRequest::Terminate(id()), "answer done");
    check(&mut bench, AdminRequest::Start(spec("a")), "refused AlreadyPresent");
    bench.fail_starts.push(("a", 1));
    check(&mut bench, AdminRequest::Restart(id()), "start a fails, refused StartFailed(Error(\"test\"))");
    check(&mut bench, AdminRequest::Restart(id()), "start a, answer started");
    check(&mut bench, AdminRequest::Terminate(id()), "stop a, ended a, answer done");
    check(&mut bench, AdminRequest::Delete(id()), "forget a, answer done");
    check(&mut bench, AdminRequest::Delete(id()), "refused NotFound");
    bench.fail_starts.push(("b", 1));
    check(&mut bench, AdminRequest::Start(spec("b")), "start b fails, forget b, refused StartFailed(Error(\"test\"))");
    check(&mut bench, AdminRequest::Start(spec("b")), "start b, answer started");
    assert_eq!(bench.state("b"), Some(ChildState::Running));
}

#[test]
fn admin_calls_are_answered_in_a_crash_loop() {
    let mut bench = Bench::new(Strategy::OneForOne, 1000, &["a", "b"]).booted();
    bench.fail_starts.push(("a", 1000));
    bench.crash("a");
    bench.admin(AdminRequest::Restart("a".parse_id()));
    assert_eq!(bench.said(), "start a fails, refused Restarting");
    bench.admin(AdminRequest::Terminate("b".parse_id()));
    assert_eq!(bench.said(), "stop b, ended b, answer done");
    bench.admin(AdminRequest::Terminate("a".parse_id()));
    assert_eq!(bench.said(), "ended a, answer done");
}

#[test]
fn reports_say_who_and_why() {
    let mut bench = Bench::new(Strategy::OneForOne, 0, &["a"]).booted();
    bench.crash("a");
    assert_eq!(bench.reports(), "ChildTerminated a, ReachedMaxIntensity a");
}

#[test]
fn the_stop_bound_is_the_sum_of_the_timeouts() {
    let bench = Bench::new(Strategy::OneForOne, 0, &["a", "b"]);
    assert_eq!(bench.core.stop_bound(), Some(Duration::from_secs(12)));
    let mut endless = spec("a");
    endless.shutdown = Shutdown::Infinity;
    assert_eq!(Bench::with(Strategy::OneForOne, 0, vec![endless]).core.stop_bound(), None);
}

#[derive(Clone, Debug)]
enum Act {
    Crash(usize),
    End(usize),
    Kill(usize),
    Terminate(usize),
    Restart(usize),
    FailNext(usize),
    Pass(u64),
    ShutDown,
}

fn acts() -> impl Generator<Value = Vec<Act>> {
    let child = 0..4usize;
    let act = prop_oneof![
        4 => child.clone().prop_map(Act::Crash),
        1 => child.clone().prop_map(Act::End),
        1 => child.clone().prop_map(Act::Kill),
        1 => child.clone().prop_map(Act::Terminate),
        1 => child.clone().prop_map(Act::Restart),
        1 => child.prop_map(Act::FailNext),
        2 => (0..6000u64).prop_map(Act::Pass),
        1 => Just(Act::ShutDown),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold(strategy in 0..3usize, restarts in proptest::collection::vec(0..3usize, 4), acts in acts()) {
        const IDS: [&str; 4] = ["a", "b", "c", "d"];
        let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne][strategy];
        let children = IDS.iter().zip(&restarts).map(|(id, restart)| {
            let mut child = spec(id);
            child.restart = [Restart::Permanent, Restart::Transient, Restart::Temporary][*restart];
            child
        }).collect();
        let mut bench = Bench::with(strategy, 3, children).booted();
        let mut live: Vec<String> = IDS.iter().map(|id| (*id).to_owned()).collect();
        for act in acts {
            let running = |bench: &Bench, at: usize| bench.state(IDS[at]) == Some(ChildState::Running);
            match act {
                Act::Crash(at) if running(&bench, at) => { live.retain(|id| id != IDS[at]); bench.crash(IDS[at]) }
                Act::End(at) if running(&bench, at) => { live.retain(|id| id != IDS[at]); bench.exit(IDS[at], ExitReason::Normal) }
                Act::Kill(at) => bench.event(Event::KillRequested(IDS[at].parse_id())),
                Act::Terminate(at) => bench.admin(AdminRequest::Terminate(IDS[at].parse_id())),
                Act::Restart(at) => bench.admin(AdminRequest::Restart(IDS[at].parse_id())),
                Act::FailNext(at) => bench.fail_starts.push((IDS[at], 1)),
                Act::Pass(millis) => bench.pass(millis),
                Act::ShutDown => bench.event(Event::ShutdownRequested),
                Act::Crash(_) | Act::End(_) => {}
            }
            // Never two attempts of one child at a time, and nobody is stopped who does not run.
            for line in std::mem::take(&mut bench.log) {
                if let Some(id) = line.strip_prefix("start ").filter(|id| !id.contains(' ') && *id != "failed") {
                    prop_assert!(!live.iter().any(|alive| alive == id), "{id} was started while it ran");
                    live.push(id.to_owned());
                }
                if let Some(id) = line.strip_prefix("stop ").or(line.strip_prefix("kill ")) {
                    prop_assert!(live.iter().any(|alive| alive == id), "{id} was stopped while it did not run");
                    live.retain(|alive| alive != id);
                }
                if line.starts_with("exit") {
                    prop_assert!(live.is_empty(), "the supervisor left {live:?} behind");
                }
            }
        }
    }
}
