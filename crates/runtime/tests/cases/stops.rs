//! Orderly ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{self, Ask, End, Gate, LONG, Rig, gone, probes, subtree, within};
use covenant_runtime::{ActorState, StopReport};
use covenant_types::{CallError, ExitReason};

#[tokio::test]
async fn a_system_stops_in_reverse_start_order_through_its_subtrees() {
    let main = format!("{}{}{}", probes("", &[("a", "")]), subtree("sub", ""), probes("", &[("z", "")]));
    let rig = Rig::start(&main, &[("sub", &probes("", &[("b", ""), ("c", "")]))]).await;
    rig.journal.clear();
    let StopReport { in_time, still_running, .. } = rig.system.stop(LONG).await;
    assert!(in_time && still_running.is_empty());
    let stops: Vec<_> = rig.journal.lines().into_iter().filter(|line| line.starts_with("stop")).collect();
    assert_eq!(stops, ["stop z shutdown", "stop c shutdown", "stop b shutdown", "stop a shutdown"]);
    assert_eq!(rig.journal.alive.load(Ordering::Acquire), 0);
    assert_eq!(within(rig.system.ended()).await, ExitReason::Shutdown);
}

#[tokio::test]
async fn a_child_that_does_not_stop_in_its_time_is_killed_and_the_others_still_stop_in_order() {
    let slow = "shutdown = \"20ms\"; config = { stop = \"hang\" }";
    let mut rig = Rig::start(&probes("", &[("a", ""), ("slow", slow), ("c", "")]), &[]).await;
    let report = rig.system.stop(LONG).await;
    assert!(report.in_time);
    assert_eq!(rig.exit_of("/slow").await, ExitReason::Killed);
    assert_eq!(rig.exit_of("/a").await, ExitReason::Shutdown);
}

#[tokio::test]
async fn past_the_deadline_the_rest_is_killed() {
    let slow = "shutdown = \"infinity\"; config = { stop = \"hang\" }";
    let rig = Rig::start(&probes("", &[("a", ""), ("slow", slow)]), &[]).await;
    let report = rig.system.stop(Duration::from_millis(20)).await;
    assert!(!report.in_time);
    assert_eq!(report.still_running, []);
    assert_eq!(rig.journal.alive.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn a_brutal_kill_does_not_run_stop() {
    let rig = Rig::start(&probes("", &[("a", "shutdown = \"brutal_kill\"")]), &[]).await;
    rig.system.stop(LONG).await;
    assert_eq!(rig.journal.lines(), ["start a", "end a"]);
}

#[tokio::test]
async fn a_stop_hears_why() {
    let mut rig = Rig::start(&probes("intensity = 9", &[("a", "")]), &[]).await;
    for how in [End::Stop, End::Normal, End::Shutdown, End::Error, End::Panic] {
        rig.end("/a", how).await;
        rig.start_of("/a").await;
    }
    rig.system.stop(LONG).await;
    let stops: Vec<_> = rig.journal.lines().into_iter().filter(|line| line.starts_with("stop")).collect();
    assert_eq!(stops, ["stop a normal", "stop a normal", "stop a shutdown", "stop a shutdown"], "not after a crash");
}

#[tokio::test]
async fn a_panic_in_stop_is_the_reason_of_the_end() {
    let mut rig = Rig::start(&probes("", &[("a", "config = { stop = \"panic\" }")]), &[]).await;
    assert!(rig.system.stop(LONG).await.in_time);
    assert_eq!(rig.exit_of("/a").await, ExitReason::Panicked("told to, in stop".to_owned()));
}

#[tokio::test]
async fn stopping_answers_every_call_that_waits_and_refuses_later_ones() {
    let rig = Rig::start(&probes("", &[("a", "mailbox = { capacity = 2 }")]), &[]).await;
    let gate = Gate::new();
    let probe = rig.probe("/a");
    probe.cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    let call = |probe: covenant_runtime::Ref<Ask>| async move { probe.call(Ask::Who, LONG).await };
    // Two wait in the mailbox, two more for room in it.
    let calls: Vec<_> = (0..4).map(|_| rig.system.env().work.spawn(call(probe.clone()))).collect();
    support::eventually(|| rig.view("/a").mailbox.unwrap().depth == 2).await;
    let system = rig.system.clone();
    let stop = rig.system.env().work.spawn(async move { system.stop(LONG).await });
    rig.until("/a", ActorState::Stopping).await;
    gate.open();
    assert!(within(stop).await.unwrap().in_time);
    for call in calls {
        assert_eq!(within(call).await.unwrap(), Err(gone(ExitReason::Shutdown)));
    }
    assert_eq!(probe.call(Ask::Who, LONG).await, Err(gone(ExitReason::Shutdown)));
    assert_eq!(probe.cast(Ask::Note(1)).await, Err(gone(ExitReason::Shutdown)));
}

#[tokio::test]
async fn a_child_that_stays_away_answers_with_its_reason() {
    let mut rig = Rig::start(&probes("", &[("a", "restart = \"temporary\"")]), &[]).await;
    rig.end("/a", End::Panic).await;
    rig.exit_of("/a").await;
    let reason = gone(ExitReason::Panicked("told to".to_owned()));
    assert_eq!(rig.probe("/a").call(Ask::Who, LONG).await, Err(reason));
}

#[tokio::test]
async fn two_systems_in_one_process_know_nothing_of_each_other() {
    let tree = probes("", &[("a", "")]);
    let (first, second) = (Rig::start(&tree, &[]).await, Rig::start(&tree, &[]).await);
    first.end("/a", End::Error).await;
    support::eventually(|| first.view("/a").incarnation.0 == 2).await;
    assert_eq!((first.who("/a").await, second.who("/a").await), (2, 1));
    first.system.stop(LONG).await;
    assert_eq!(second.who("/a").await, 1);
    assert!(matches!(first.probe("/a").call(Ask::Who, LONG).await, Err(CallError::Gone(_))));
}

#[tokio::test]
async fn dropping_the_last_system_outside_ends_its_actors() {
    let Rig { system, journal, .. } = Rig::start(&probes("", &[("a", ""), ("b", "")]), &[]).await;
    assert_eq!(journal.alive.load(Ordering::Acquire), 2);
    let ended = system.ended();
    drop(system);
    assert_eq!(within(ended).await, ExitReason::Killed);
    assert_eq!(journal.alive.load(Ordering::Acquire), 0);
}

#[test]
fn a_runtime_that_shuts_down_under_a_forgiving_supervisor_does_not_restart_for_ever() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rig = runtime.block_on(Rig::start(&probes("intensity = 4000000000", &[("a", ""), ("b", "")]), &[]));
    let starts = || rig.journal.lines().iter().filter(|line| line.starts_with("start")).count();
    assert_eq!(starts(), 2);
    drop(runtime); // with the system still held
    assert_eq!(starts(), 2);
    assert_eq!(rig.journal.alive.load(Ordering::Acquire), 0);
}
