//! Looking at actors beside their messages: flight records, crash reports, inspect, suspend and trace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Ask, End, Gate, LONG, Rig, probes, subtree, within};
use covenant_env::Env;
use covenant_runtime::{
    ActorState, CrashContext, CrashKey, CrashLog, CrashReport, Crashes, Decision, FlightRecord, Observe, ObserveError,
    RuntimeEvent, System, TraceEnded, TraceLimits, note_panic_sites,
};
use covenant_types::{ActorPath, Incarnation};

const MANY: &str = "intensity = 1000";
const SHORT: Duration = Duration::from_millis(20);

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

/// Reads the log until it satisfies `enough`, adding up what it says.
async fn read(log: &CrashLog, enough: impl Fn(&BTreeMap<CrashKey, Crashes>) -> bool) -> BTreeMap<CrashKey, Crashes> {
    let mut all: BTreeMap<CrashKey, Crashes> = BTreeMap::new();
    within(async {
        loop {
            for (key, new) in log.take().crashes {
                let known = all.entry(key).or_insert(Crashes { count: 0, first: None, last: None, chain: vec![] });
                known.count += new.count;
                known.first = known.first.take().or(new.first);
                known.last = new.last.or(known.last);
                new.chain.into_iter().for_each(|link| link.add_to(&mut known.chain));
            }
            if enough(&all) {
                return;
            }
            log.told().await;
        }
    })
    .await;
    all
}

fn only(crashes: BTreeMap<CrashKey, Crashes>) -> (Crashes, CrashReport) {
    assert_eq!(crashes.len(), 1, "{crashes:?}");
    let crashes = crashes.into_values().next().unwrap();
    let first = crashes.first.clone().unwrap();
    (crashes, first)
}

fn seen(record: &FlightRecord) -> Vec<(&str, Option<&str>)> {
    record.messages.iter().map(|message| (&*message.kind, message.text.as_deref())).collect()
}

fn chain(crashes: &Crashes) -> Vec<(&str, &str, Decision, u64)> {
    crashes.chain.iter().map(|l| (l.supervisor.as_str(), l.child.as_str(), l.did, l.times)).collect()
}

fn linked(count: usize) -> impl Fn(&BTreeMap<CrashKey, Crashes>) -> bool {
    move |all| all.values().map(|crashes| crashes.chain.len()).sum::<usize>() >= count
}

#[tokio::test]
async fn a_crash_is_reported_once_with_the_message_in_hand_last_and_where_it_panicked() {
    note_panic_sites();
    let (rig, log) = Rig::start_with_log(&probes(MANY, &[("a", "")]), &[]).await;
    rig.probe("/a").cast(Ask::Note(7)).await.unwrap();
    rig.end("/a", End::Panic).await;
    assert_eq!(rig.who("/a").await, 2);
    let (crashes, report) = only(read(&log, linked(1)).await);
    assert_eq!((crashes.count, report.incarnation, report.context), (1, Incarnation(1), CrashContext::Running));
    assert_eq!((report.reason.as_str(), report.behaviour.as_deref()), ("panic: told to", Some("probe")));
    assert_eq!(seen(report.record.as_ref().unwrap()), [("Note", Some("7")), ("Other", None)]);
    let batches = report.record.unwrap().batches;
    assert_eq!(batches.iter().map(|batch| batch.messages).sum::<u32>(), 2, "{batches:?}");
    let site = report.site.unwrap();
    assert!(site.file.ends_with("support/mod.rs") && site.line > 1, "{site}");
    assert_eq!(chain(&crashes), [("/", "/a", Decision::Restarted, 1)]);
    let seen = rig.system.inspect(&path("/a"), LONG).await.unwrap();
    assert_eq!(seen.last_crash.unwrap().incarnation, Incarnation(1));
}

#[tokio::test]
async fn errors_kills_and_failed_starts_are_reported_and_orderly_ends_are_not() {
    let keys = [("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "shutdown = \"brutal_kill\"")];
    let (mut rig, log) = Rig::start_with_log(&probes(MANY, &keys), &[]).await;
    rig.end("/a", End::Error).await;
    rig.exit_of("/a").await;
    rig.kill("/b").await;
    rig.journal.fail_starts("c", 2);
    rig.end("/c", End::Normal).await;
    rig.end("/d", End::Stop).await;
    rig.exit_of("/d").await;
    rig.system.terminate_child(&path("/e")).await.unwrap();
    assert_eq!(rig.who("/c").await, 2);
    let all = read(&log, linked(3)).await;
    let told: Vec<(&str, &str, u64, CrashContext)> = all
        .iter()
        .map(|(key, crashes)| (key.path.as_str(), &*key.class, crashes.count, crashes.first.as_ref().unwrap().context))
        .collect();
    assert_eq!(
        told,
        [
            ("/a", "error: told to", 1, CrashContext::Running),
            ("/b", "killed", 1, CrashContext::Running),
            ("/c", "error: told to", 2, CrashContext::Starting),
        ]
    );
}

#[tokio::test]
async fn a_crash_names_every_supervisor_that_gave_up_for_it_and_the_one_that_mended_it() {
    let inner = probes("intensity = 0", &[("x", "")]);
    let sub = format!("intensity = 0\n{}", subtree("inner", ""));
    let main = format!("{MANY}\n{}", subtree("sub", ""));
    let (mut rig, log) = Rig::start_with_log(&main, &[("sub", &sub), ("inner", &inner)]).await;
    rig.end("/sub/inner/x", End::Panic).await;
    rig.start_of("/sub").await;
    let (crashes, report) = only(read(&log, linked(3)).await);
    assert_eq!((crashes.count, report.path.as_str()), (1, "/sub/inner/x"));
    assert_eq!(
        chain(&crashes),
        [
            ("/sub/inner", "/sub/inner/x", Decision::GaveUp, 1),
            ("/sub", "/sub/inner", Decision::GaveUp, 1),
            ("/", "/sub", Decision::Restarted, 1),
        ]
    );
}

#[tokio::test]
async fn what_dies_with_its_supervisor_is_counted_in_the_one_report_of_that() {
    let inner = probes("", &[("x", ""), ("y", "")]);
    let sub = format!("{}{}", probes(MANY, &[("a", ""), ("b", "")]), subtree("inner", ""));
    let main = format!("{}{}", probes(MANY, &[("other", "")]), subtree("sub", ""));
    let (rig, log) = Rig::start_with_log(&main, &[("sub", &sub), ("inner", &inner)]).await;
    let mut events = rig.system.events();
    rig.kill("/sub").await;
    assert_eq!(rig.who("/sub/inner/y").await, 2);
    let (crashes, report) = only(read(&log, linked(1)).await);
    assert_eq!((report.path.as_str(), report.reason.as_str(), crashes.count), ("/sub", "killed", 1));
    assert_eq!(report.took_along, 5, "a, b, inner, x and y");
    let exited = |event| if let RuntimeEvent::Exited { path, .. } = event { Some(path.to_string()) } else { None };
    let exits: Vec<String> = std::iter::from_fn(|| events.try_recv().ok()).filter_map(exited).collect();
    assert_eq!(exits, ["/sub"], "as many events as reports");

    rig.kill("/sub/inner/x").await;
    let (_, report) = only(read(&log, linked(1)).await);
    assert_eq!((report.path.as_str(), report.took_along), ("/sub/inner/x", 0));
}

#[tokio::test]
async fn a_crash_loop_is_told_as_one_with_a_count() {
    let (rig, log) = Rig::start_with_log(&probes(MANY, &[("a", "")]), &[]).await;
    for round in 1..=50 {
        rig.end("/a", End::Panic).await;
        assert_eq!(rig.who("/a").await, round + 1);
    }
    let all = read(&log, |all| all.values().any(|c| c.chain.iter().any(|link| link.times == 50))).await;
    let (crashes, _) = only(all);
    assert_eq!((crashes.count, crashes.last.unwrap().0), (50, Incarnation(50)));
}

#[tokio::test]
async fn inspect_shows_the_state_beside_a_full_mailbox_and_says_when_a_handler_runs() {
    let keys = "mailbox = { capacity = 1, overflow = \"fail\" }";
    let rig = Rig::start(&probes(MANY, &[("a", keys), ("b", "config = { inspect = \"panic\" }")]), &[]).await;
    let gate = Gate::new();
    rig.probe("/a").cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    assert!(rig.probe("/a").try_cast(Ask::Note(1)).is_err(), "the mailbox is full");
    let busy = rig.system.inspect(&path("/a"), SHORT).await.unwrap();
    assert_eq!((busy.shown, busy.mailbox.unwrap().depth), (None, 1));
    assert!(busy.not_shown_because.unwrap().contains("a handler is running"));
    gate.open();
    let seen = rig.system.inspect(&path("/a"), LONG).await.unwrap();
    assert_eq!(seen.shown, Some(serde_json::json!({ "kept": 0 })));
    assert_eq!((seen.handled, seen.record.unwrap().messages.len()), (1, 1), "no message was needed for it");
    assert!(seen.handler_us > 0);

    let panicked = rig.system.inspect(&path("/b"), LONG).await.unwrap();
    assert!(panicked.not_shown_because.unwrap().contains("told to, in inspect"));
    assert_eq!((rig.who("/b").await, rig.view("/b").restarts), (1, 0), "it is no crash");
    let root = rig.system.inspect(&path("/"), LONG).await.unwrap();
    assert_eq!((root.shown, root.not_shown_because), (None, None));
    assert_eq!(rig.system.inspect(&path("/x"), LONG).await, Err(ObserveError::NoSuchPath(path("/x"))));
}

#[tokio::test]
async fn a_suspended_actor_begins_no_message_until_it_is_resumed() {
    let rig = Rig::start(&probes(MANY, &[("a", "")]), &[]).await;
    let (a, gate) = (path("/a"), Gate::new());
    rig.probe("/a").cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    assert_eq!(rig.system.suspend(&a, SHORT).await, Err(ObserveError::NoAnswer(a.clone())), "a handler runs");
    assert_eq!(rig.state("/a"), ActorState::Suspended);
    rig.probe("/a").cast(Ask::Note(1)).await.unwrap();
    gate.open();
    assert_eq!(rig.system.suspend(&a, LONG).await, Ok(Incarnation(1)), "it has come to rest");
    rig.probe("/a").cast(Ask::Note(2)).await.unwrap();
    let seen = rig.system.inspect(&a, LONG).await.unwrap();
    assert_eq!((seen.state, seen.handled, seen.mailbox.unwrap().depth), (ActorState::Suspended, 1, 2));
    assert_eq!(rig.system.resume(&a), Ok(true));
    assert_eq!(rig.probe("/a").call(Ask::Noted, LONG).await.unwrap(), [1, 2]);
    assert_eq!((rig.state("/a"), rig.system.resume(&a)), (ActorState::Running, Ok(false)));
}

#[tokio::test]
async fn a_suspended_actor_can_be_killed_and_stopped_and_its_next_incarnation_is_free() {
    let rig = Rig::start(&probes(MANY, &[("a", "")]), &[]).await;
    let a = path("/a");
    rig.system.suspend(&a, LONG).await.unwrap();
    rig.probe("/a").cast(Ask::Note(1)).await.unwrap();
    rig.kill("/a").await;
    assert_eq!(rig.who("/a").await, 2);
    assert_eq!(rig.probe("/a").call(Ask::Noted, LONG).await.unwrap(), [1], "what waited is not lost");
    rig.system.suspend(&a, LONG).await.unwrap();
    let report = rig.system.stop(LONG).await;
    assert!(report.in_time, "{report:?}");
    assert!(rig.journal.lines().contains(&"stop a shutdown".to_owned()), "{:?}", rig.journal.lines());
    assert_eq!(rig.system.suspend(&a, LONG).await, Err(ObserveError::NotRunning(a)));
    assert_eq!(rig.system.suspend(&path("/"), LONG).await, Err(ObserveError::NoMailbox(path("/"))));
}

#[tokio::test]
async fn a_trace_tells_what_is_handled_and_ends_by_itself() {
    let rig = Rig::start(&probes(MANY, &[("a", "")]), &[]).await;
    let a = path("/a");
    let limits = TraceLimits { messages: 2, time: LONG };
    let mut trace = rig.system.trace(&a, limits, LONG).await.unwrap();
    let second = rig.system.trace(&a, limits, LONG).await;
    assert_eq!(second.unwrap_err(), ObserveError::Traced(a.clone()));
    for number in 0..3 {
        rig.probe("/a").cast(Ask::Note(number)).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(within(trace.next()).await.unwrap().kind, "Note");
    }
    assert_eq!(within(trace.next()).await.unwrap_err().ended, TraceEnded::Limit);

    let limits = TraceLimits { messages: 9, time: LONG };
    let mut trace = rig.system.trace(&a, limits, LONG).await.unwrap();
    rig.kill("/a").await;
    let end = within(trace.next()).await.unwrap_err();
    assert_eq!((end.ended, end.shown), (TraceEnded::Incarnation, 0));

    let limits = TraceLimits { messages: 9, time: SHORT };
    let mut trace = rig.system.trace(&a, limits, LONG).await.unwrap();
    assert_eq!(within(trace.next()).await.unwrap_err().ended, TraceEnded::Time);
}

#[tokio::test]
async fn without_a_recorder_nothing_is_noted() {
    let journal = Arc::default();
    let config = crate::support::config(Env::for_test(7), &probes(MANY, &[("a", "")]), &[], &journal);
    let observe = Observe { record: false, crashes: None };
    let system = System::start_observed(config, observe).await.unwrap();
    let probe = system.lookup::<Ask>(&path("/a")).unwrap();
    probe.call(Ask::Noted, LONG).await.unwrap();
    let seen = system.inspect(&path("/a"), LONG).await.unwrap();
    assert_eq!((seen.handled, seen.handler_us, seen.record), (1, 0, None));
}
