use std::collections::BTreeMap;
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempts, Uptime};
use proptest::prelude::*;

use super::*;
use crate::{Effect, Event, Supervisor, SupervisorSpec, Timer, TreeSource, TreeSourceError};

struct Texts(BTreeMap<&'static str, String>);

impl TreeSource for Texts {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.0.get(name).cloned().ok_or(TreeSourceError::NotFound)
    }
}

/// The warnings about a tree, each as `file:line:column code`.
fn check(main: &str, below: &str, expected: &[&str]) {
    let found: Vec<String> = warnings(main, below)
        .iter()
        .map(|warning| format!("{}:{}:{} {}", warning.file, warning.line, warning.column, warning.code))
        .collect();
    assert_eq!(found, expected, "{main}\n---\n{below}");
}

fn warnings(main: &str, below: &str) -> Vec<LintWarning> {
    let source = Texts([("main", main.to_owned()), ("below", below.to_owned())].into());
    let (files, _) = TreeFiles::read("main", &source).unwrap();
    lint_tree(&files, DRAIN).unwrap()
}

const DRAIN: Duration = Duration::from_secs(20);
const WORKER: &str = "[[child]]\nid = \"w\"\nbehaviour = \"x\"\n";
const SUBTREE: &str = "[[child]]\nid = \"s\"\ntree = \"below\"\n";

#[test]
fn a_plain_tree_has_no_warnings() {
    check(WORKER, "", &[]);
    check(SUBTREE, WORKER, &[]);
}

#[test]
fn an_inner_budget_that_a_backoff_never_spends_is_found() {
    let slow = |budget: &str, backoff: &str| format!("{budget}\n{WORKER}backoff = {backoff}\n");
    // Pauses 1 s, 2 s: the third failure comes 3 s after the first.
    check(&slow("intensity = 2\nperiod = \"3s\"", "{ min = \"1s\", max = \"60s\" }"), "", &[]);
    check(
        &slow("intensity = 2\nperiod = \"2900ms\"", "{ min = \"1s\", max = \"60s\" }"),
        "",
        &["main.toml:1:1 budget-never-spent"],
    );
    // Jitter shortens pauses, and only the shortest count.
    check(&slow("intensity = 2\nperiod = \"1500ms\"", "{ min = \"1s\", max = \"60s\", jitter = 0.5 }"), "", &[]);
    // A child that lives for reset_after begins with the first pause again: 1.1 s a failure, whatever the maximum.
    let resets = "{ min = \"1s\", max = \"60s\", reset_after = \"100ms\" }";
    check(&slow("intensity = 10\nperiod = \"11s\"", resets), "", &[]);
    check(&slow("intensity = 10\nperiod = \"10s\"", resets), "", &["main.toml:1:1 budget-never-spent"]);
    // One that is never started again spends nothing, and needs no budget.
    check(&slow("intensity = 2\nperiod = \"1s\"", "{ min = \"1s\", max = \"60s\" }\nrestart = \"temporary\""), "", &[]);
}

/// Whether a supervisor gives up whose one child lives for `life` each time.
#[expect(clippy::wildcard_enum_match_arm, reason = "a child that always starts needs no more")]
fn gives_up(spec: &SupervisorSpec, life: Duration) -> bool {
    let id = spec.children[0].id.clone();
    let mut core = Supervisor::new(spec.clone(), StartAttempts::default(), 1).unwrap();
    let mut now = Uptime::ZERO;
    let mut pending = vec![Event::StartRequested];
    // So many failures use up any budget of this test, or the pauses have reached their maximum long since.
    let mut failures_left = spec.intensity + 40;
    loop {
        let mut next = Vec::new();
        for effect in pending.drain(..).flat_map(|event| core.handle(now, event)).collect::<Vec<_>>() {
            match effect {
                Effect::Start { child, attempt } => next.push(Event::ChildStarted { child, attempt, info: None }),
                Effect::SetTimer { timer: timer @ Timer::Backoff(_), after } => {
                    now = now.after(after);
                    next.push(Event::TimerFired(timer));
                }
                Effect::Exit { .. } => return true,
                _ => {}
            }
        }
        if next.is_empty() {
            let Some(attempt) = core.child(&id).and_then(|child| child.attempt) else { return true };
            if failures_left == 0 {
                return false;
            }
            failures_left -= 1;
            now = now.after(life);
            next.push(Event::ChildExited { child: id.clone(), attempt, reason: ExitReason::Killed });
        }
        pending = next;
    }
}

proptest! {
    #[test]
    fn the_linter_and_the_supervisor_agree_on_budgets_that_are_never_spent(
        intensity in 0u32..12,
        period in 1u64..30_000,
        min in 1u64..3000,
        factor in 1u32..20,
        reset_after in 0u64..8000,
    ) {
        let id = crate::ChildId::new("w").unwrap();
        let min = Duration::from_millis(min);
        let reset_after = Duration::from_millis(reset_after);
        let backoff = crate::Backoff { min, max: min * factor, jitter: 0.0, reset_after };
        let child = ChildSpec { backoff: Some(backoff), ..ChildSpec::new(id, crate::ChildKind::Worker) };
        let spec = SupervisorSpec {
            intensity,
            period: Duration::from_millis(period),
            ..SupervisorSpec::new(crate::Strategy::OneForOne, vec![child.clone()])
        };
        let tree = TreeSpec { name: "main".to_owned(), spec: spec.clone(), children: Vec::new(), partitions: 1 };
        let says = budget::gives_up_after(&tree, &child, Duration::ZERO).is_some();
        let does = gives_up(&spec, Duration::ZERO) || gives_up(&spec, reset_after);
        prop_assert_eq!(says, does);
    }
}

#[test]
fn a_budget_of_one_child_is_judged_by_itself() {
    let own = "budget = { intensity = 3, period = \"2s\" }\nbackoff = { min = \"1s\", max = \"1s\" }\n";
    check(&format!("intensity = 3\nperiod = \"1h\"\n{WORKER}{own}"), "", &["main.toml:6:1 budget-never-spent"]);
}

#[test]
fn an_outer_budget_that_the_inner_one_never_spends_is_found() {
    // The inner supervisor lasts 2 s each time.
    let inner = format!("intensity = 2\nperiod = \"5s\"\n{WORKER}backoff = {{ min = \"1s\", max = \"1s\" }}\n");
    check(&format!("intensity = 3\nperiod = \"6s\"\n{SUBTREE}"), &inner, &[]);
    check(&format!("intensity = 3\nperiod = \"5s\"\n{SUBTREE}"), &inner, &["main.toml:1:1 budget-never-spent"]);
    let told = &warnings(&format!("intensity = 3\nperiod = \"5s\"\n{SUBTREE}"), &inner)[0].what;
    assert!(told.contains("/s/w") && told.contains("4 of them take 6s"), "{told}");
}

#[test]
fn an_outer_budget_that_dies_at_the_first_give_up_is_found() {
    let outer = |intensity: u32| format!("strategy = \"one_for_one\"\nintensity = {intensity}\n{SUBTREE}");
    check(&outer(0), WORKER, &["main.toml:2:1 dies-at-first-give-up"]);
    check(&outer(1), WORKER, &[]);
    // Over workers alone it is a way to say that every crash is for the one above.
    check(&format!("intensity = 0\n{WORKER}"), "", &[]);
}

#[test]
fn a_supervisor_that_stays_away_is_found() {
    for word in ["transient", "temporary"] {
        let outer = format!("{SUBTREE}restart = {word:?}\n");
        check(&outer, WORKER, &["main.toml:4:1 supervisor-not-permanent"]);
    }
    let significant =
        format!("auto_shutdown = \"any_significant\"\n{SUBTREE}restart = \"transient\"\nsignificant = true\n");
    check(&significant, WORKER, &[]);
    check(&format!("{WORKER}restart = \"transient\"\n"), "", &[]);
}

#[test]
fn a_stop_that_takes_too_long_is_found_at_the_child_that_takes_longest() {
    let two = |first: &str, second: &str| {
        let second = second.replace("\"w\"", "\"v\"");
        format!("{WORKER}shutdown = {first}\n{}", format!("{WORKER}shutdown = {second}\n").replace("\"w\"", "\"v\""))
    };
    // Each may take its kill_grace of a second more.
    check(&two("\"9s\"", "\"9s\""), "", &[]);
    check(&two("\"5s\"", "\"14s\""), "", &["main.toml:8:1 stop-beyond-drain"]);
    check(&two("\"5s\"", "\"infinity\""), "", &["main.toml:8:1 worker-waits-forever"]);
}

#[test]
fn a_subtree_that_is_killed_before_its_children_had_their_time_is_found() {
    let outer = |shutdown: &str| format!("{SUBTREE}shutdown = {shutdown:?}\n");
    check(&outer("6s"), WORKER, &[]);
    check(&outer("5s"), WORKER, &["main.toml:4:1 subtree-cut-short"]);
    check(&outer("brutal_kill"), WORKER, &["main.toml:4:1 subtree-cut-short"]);
}

#[test]
fn a_file_that_is_used_twice_is_told_of_once() {
    let twice = format!("{SUBTREE}{}", SUBTREE.replace("\"s\"", "\"t\""));
    let endless = format!("{WORKER}shutdown = \"infinity\"\n");
    check(&twice, &endless, &["below.toml:4:1 worker-waits-forever"]);
    check(&format!("partitions = 3\n{endless}"), "", &["main.toml:5:1 worker-waits-forever"]);
}

#[test]
fn a_warning_that_is_meant_is_silenced_with_a_reason() {
    let endless = |comment: &str| format!("{comment}\n{WORKER}shutdown = \"infinity\"\n");
    check(&endless("# allow(worker-waits-forever): a flush must not be cut"), "", &[]);
    let still = "main.toml:5:1 worker-waits-forever";
    check(&endless("# allow(worker-waits-forever)"), "", &["main.toml:1:1 useless-allow", still]);
    check(&endless("  # allow(no-such-thing): because"), "", &["main.toml:1:3 useless-allow", still]);
    check(&endless("# allow(stop-beyond-drain): because"), "", &["main.toml:1:1 useless-allow", still]);
}
