//! Drains: what waits is handled, nothing new is taken, and then the actor ends.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Ask, End, Gate, LONG, Rig, eventually, gone, inside, probes, subtree, within};
use covenant_runtime::{ActorState, DrainError, Drained, ObserveError};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation};
use futures_util::future::join;

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

fn drained() -> ExitReason {
    ExitReason::ShutdownWith("drained".to_owned())
}

fn too_late() -> CallError {
    gone(ExitReason::ShutdownWith("its drain took too long".to_owned()))
}

/// `/a`, which is held by a gate, with three notes and a call behind that in the same batch.
async fn busy(keys: &str) -> (Rig, Arc<Gate>, tokio::task::JoinHandle<Result<Incarnation, CallError>>) {
    let rig = Rig::start(&probes("intensity = 1000", &[("a", keys)]), &[]).await;
    let (probe, before, gate) = (rig.probe("/a"), Gate::new(), Gate::new());
    probe.cast(Ask::Hold(Arc::clone(&before))).await.unwrap();
    before.entered().await;
    probe.cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    for number in 1..=3 {
        probe.cast(Ask::Note(number)).await.unwrap();
    }
    let call = tokio::spawn(async move { probe.call(Ask::Who, LONG).await });
    let all = if keys.contains("oldest") { 5 } else { 6 }; // there the one in hand is counted no more
    eventually(|| rig.view("/a").mailbox.unwrap().depth == all).await;
    before.open();
    gate.entered().await;
    (rig, gate, call)
}

/// Begins a drain of `/a`, and returns when it has begun.
async fn begin(rig: &Rig, deadline: Duration) -> tokio::task::JoinHandle<Drained> {
    let system = rig.system.clone();
    let drain = tokio::spawn(async move { system.drain(&path("/a"), deadline).await.unwrap() });
    rig.until("/a", ActorState::Draining).await;
    drain
}

async fn noted(rig: &Rig) -> Vec<u64> {
    rig.probe("/a").call(Ask::Noted, LONG).await.unwrap()
}

#[tokio::test]
async fn what_waits_is_handled_in_order_and_the_mailbox_opens_again_with_the_next_incarnation() {
    let (rig, gate, call) = busy("").await;
    let drain = begin(&rig, LONG).await;
    gate.open();
    let ended = within(drain).await.unwrap();
    assert_eq!((ended.incarnation, ended.reason.clone(), ended.is_complete()), (Incarnation(1), drained(), true));
    assert_eq!(within(call).await.unwrap(), Ok(Incarnation(1)), "a call that waited is answered");
    eventually(|| rig.state("/a") == ActorState::Running && rig.view("/a").incarnation.0 == 2).await;
    assert_eq!(noted(&rig).await, [1, 2, 3]);
    assert_eq!(rig.journal.lines(), ["start a", "stop a shutdown: drained", "end a", "start a"]);
}

#[tokio::test]
async fn nothing_new_is_taken_whoever_sends_it() {
    let (rig, gate, _call) = busy("").await;
    let drain = begin(&rig, LONG).await;
    let probe = rig.probe("/a");
    assert_eq!(probe.cast(Ask::Note(4)).await, Err(CallError::Draining));
    assert_eq!(probe.try_cast(Ask::Note(5)), Err(CallError::Draining));
    assert_eq!(probe.call(Ask::Who, LONG).await, Err(CallError::Draining));
    gate.open();
    within(drain).await.unwrap();
    eventually(|| rig.view("/a").incarnation.0 == 2).await;
    assert_eq!(noted(&rig).await, [1, 2, 3]);
}

#[tokio::test]
async fn who_waits_for_room_is_told_at_once() {
    let (rig, gate, _call) = busy("mailbox = { capacity = 6, overflow = \"wait\" }").await;
    let (first, second) = (rig.probe("/a"), rig.probe("/a"));
    first.try_cast(Ask::Note(4)).unwrap();
    let cast = tokio::spawn(async move { first.cast(Ask::Note(5)).await });
    let call = tokio::spawn(async move { second.call(Ask::Who, LONG).await });
    tokio::task::yield_now().await;
    let drain = begin(&rig, LONG).await;
    assert_eq!(within(cast).await.unwrap(), Err(CallError::Draining));
    assert_eq!(within(call).await.unwrap(), Err(CallError::Draining));
    gate.open();
    assert!(within(drain).await.unwrap().is_complete());
}

#[tokio::test]
async fn one_that_does_not_come_back_is_gone_to_its_senders() {
    for keys in ["restart = \"transient\"", "restart = \"temporary\""] {
        let (rig, gate, _call) = busy(keys).await;
        let probe = rig.probe("/a");
        let drain = begin(&rig, LONG).await;
        gate.open();
        within(drain).await.unwrap();
        eventually(|| rig.find("/a").is_none_or(|view| view.state == ActorState::Undefined)).await;
        assert_eq!(probe.cast(Ask::Note(4)).await, Err(gone(drained())));
        assert_eq!(rig.journal.lines(), ["start a", "stop a shutdown: drained", "end a"]);
    }
}

#[tokio::test]
async fn one_with_nothing_to_do_ends_at_once() {
    let rig = Rig::start(&probes("", &[("a", "mailbox = { capacity = 2, overflow = \"drop-oldest\" }")]), &[]).await;
    assert!(within(rig.system.drain(&path("/a"), LONG)).await.unwrap().is_complete());
}

#[tokio::test]
async fn a_mailbox_that_drops_the_oldest_is_drained_too() {
    let (rig, gate, call) = busy("mailbox = { capacity = 9, overflow = \"drop-oldest\" }").await;
    let drain = begin(&rig, LONG).await;
    assert_eq!(rig.probe("/a").cast(Ask::Note(4)).await, Err(CallError::Draining));
    gate.open();
    assert!(within(drain).await.unwrap().is_complete());
    assert_eq!(within(call).await.unwrap(), Ok(Incarnation(1)));
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_the_rest_is_told_and_the_actor_stops_in_order() {
    let (rig, gate, call) = busy("shutdown = \"1h\"").await;
    rig.probe("/a").try_cast(Ask::Note(4)).unwrap();
    let probe = rig.probe("/a");
    let behind = tokio::spawn(async move { probe.call(Ask::Who, LONG * 2).await });
    let drain = begin(&rig, Duration::from_secs(5)).await;
    assert_eq!(within(behind).await.unwrap(), Err(too_late()));
    gate.open();
    assert_eq!(within(call).await.unwrap(), Err(too_late()), "those of the batch in hand, once it is given back");
    let ended = within(drain).await.unwrap();
    assert_eq!((ended.reason.clone(), ended.is_complete()), (ExitReason::Shutdown, false));
    eventually(|| rig.view("/a").incarnation.0 == 2).await;
    assert_eq!(noted(&rig).await, [0; 0], "the next incarnation is not handed them");
    assert_eq!(rig.journal.lines(), ["start a", "stop a shutdown", "end a", "start a"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_stop_either_is_killed_as_its_shutdown_says() {
    for keys in ["shutdown = \"70ms\"", "shutdown = \"brutal_kill\""] {
        let (rig, _gate, call) = busy(keys).await;
        let drain = begin(&rig, Duration::from_secs(5)).await;
        assert_eq!(within(drain).await.unwrap().reason, ExitReason::Killed);
        assert_eq!(within(call).await.unwrap(), Err(too_late()));
        eventually(|| rig.view("/a").incarnation.0 == 2).await;
        assert_eq!(noted(&rig).await, [0; 0]);
        assert_eq!(rig.journal.lines(), ["start a", "end a", "start a"]);
    }
}

#[tokio::test]
async fn a_kill_during_a_drain_leaves_the_rest_to_the_next_incarnation() {
    let (rig, _gate, call) = busy("").await;
    let drain = begin(&rig, LONG).await;
    rig.kill("/a").await;
    assert_eq!(within(drain).await.unwrap().reason, ExitReason::Killed);
    assert_eq!(within(call).await.unwrap(), Ok(Incarnation(2)));
    assert_eq!(noted(&rig).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_crash_during_a_drain_loses_the_message_in_hand_and_no_other() {
    let rig = Rig::start(&probes("intensity = 1000", &[("a", "")]), &[]).await;
    let (probe, gate) = (rig.probe("/a"), Gate::new());
    probe.cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    for message in [Ask::Note(1), Ask::End(End::Panic, None), Ask::Note(2)] {
        probe.cast(message).await.unwrap();
    }
    let drain = begin(&rig, LONG).await;
    gate.open();
    assert_eq!(within(drain).await.unwrap().reason, ExitReason::Panicked("told to".to_owned()));
    assert_eq!(rig.who("/a").await, 2);
    assert_eq!(noted(&rig).await, [1, 2]);
    assert_eq!(rig.view("/a").incarnation.0, 2, "the drain has ended with the incarnation it was of");
}

#[tokio::test(start_paused = true)]
async fn draining_twice_moves_the_deadline_and_both_hear_of_the_end() {
    let (rig, _gate, _call) = busy("shutdown = \"brutal_kill\"").await;
    let (first, began) = (begin(&rig, Duration::from_secs(3600)).await, rig.system.env().now());
    let second = begin(&rig, Duration::from_secs(5)).await;
    let (first, second) = within(join(first, second)).await;
    assert_eq!((first.unwrap().reason, second.unwrap().reason), (ExitReason::Killed, ExitReason::Killed));
    assert_eq!(rig.system.env().now().since(began).as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_takes_nothing_back() {
    let (rig, _gate, call) = busy("shutdown = \"brutal_kill\"").await;
    begin(&rig, Duration::from_secs(5)).await.abort();
    assert_eq!(within(call).await.unwrap(), Err(too_late()));
}

#[tokio::test]
async fn an_actor_can_drain_itself() {
    let mut rig = Rig::start(&probes("", &[("a", "")]), &[]).await;
    let refused = inside(rig.probe("/a"), |ctx| {
        ctx.drain(LONG);
        ctx.me().try_cast(Ask::Note(1))
    });
    assert_eq!(refused.await, Err(CallError::Draining));
    assert_eq!(rig.exit_of("/a").await, drained());
}

#[tokio::test]
async fn a_suspended_actor_is_drained_when_it_goes_on() {
    let rig = Rig::start(&probes("", &[("a", "")]), &[]).await;
    rig.system.suspend(&path("/a"), LONG).await.unwrap();
    rig.probe("/a").cast(Ask::Note(1)).await.unwrap();
    let system = rig.system.clone();
    let drain = tokio::spawn(async move { system.drain(&path("/a"), LONG).await.unwrap() });
    let refused = async {
        while rig.probe("/a").cast(Ask::Note(2)).await != Err(CallError::Draining) {
            tokio::task::yield_now().await;
        }
    };
    within(refused).await;
    assert!(!drain.is_finished());
    assert_ne!(rig.system.resume(&path("/a")), Err(ObserveError::NotRunning(path("/a"))));
    assert!(within(drain).await.unwrap().is_complete());
    eventually(|| rig.view("/a").incarnation.0 == 2).await;
    assert_eq!(noted(&rig).await.first(), Some(&1));
}

#[tokio::test]
async fn what_cannot_be_drained_is_told_so() {
    let main = format!("{}{}", probes("", &[("a", "restart = \"transient\"")]), subtree("sub", ""));
    let rig = Rig::start(&main, &[("sub", &probes("", &[("b", "")]))]).await;
    rig.end("/a", End::Normal).await;
    rig.until("/a", ActorState::Undefined).await;
    let drain = async |at: &str| rig.system.drain(&path(at), LONG).await;
    assert_eq!(drain("/a").await, Err(DrainError::NotRunning(path("/a"))));
    assert_eq!(drain("/sub").await, Err(DrainError::Supervisor(path("/sub"))));
    assert_eq!(drain("/nobody").await, Err(DrainError::NoSuchPath(path("/nobody"))));
}

#[tokio::test]
async fn a_system_that_stops_does_not_wait_for_a_drain() {
    let (rig, gate, _call) = busy("").await;
    let drain = begin(&rig, LONG).await;
    let stop = rig.system.stop(LONG);
    gate.open();
    let (_, drain) = within(join(stop, drain)).await;
    assert!(matches!(drain.unwrap().reason, ExitReason::Shutdown | ExitReason::ShutdownWith(_)));
}
