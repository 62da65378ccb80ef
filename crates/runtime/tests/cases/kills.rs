//! Kills, and what cannot be killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Ask, End, Gate, LONG, Rig, env_with_workers, eventually, inside, probes, subtree, within};
use covenant_runtime::{ActorState, KillError, RuntimeEvent, SpawnRefused, TASKS_MAX};
use covenant_types::{ActorPath, ExitReason};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_successor_may_overlap_with_one_that_does_not_end() {
    let keys = "allow_overlap = true; kill_grace = \"50ms\"";
    let rig = Rig::start(&probes("intensity = 100", &[("x", keys)]), &[]).await;
    let gate = Gate::new();
    rig.probe("/x").cast(Ask::Spin(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.probe("/x").cast(Ask::Note(1)).await.unwrap();
    rig.kill("/x").await;
    assert_eq!(rig.who("/x").await, 2, "the successor answers while the other spins");
    assert_eq!(rig.system.unkillable(), 1);
    rig.probe("/x").cast(Ask::Note(2)).await.unwrap();
    gate.open();
    eventually(|| rig.system.unkillable() == 0).await;
    assert_eq!(rig.who("/x").await, 2, "the end of the old one is nobody's end");
    let noted = rig.probe("/x").call(Ask::Noted, LONG).await.unwrap();
    assert_eq!(noted, [1, 2], "what waited behind the stuck message is not lost");
}

#[tokio::test]
async fn a_kill_ends_a_waiting_handler_and_the_next_incarnation_answers() {
    let mut rig = Rig::start(&probes("", &[("a", ""), ("b", "")]), &[]).await;
    let gate = Gate::new();
    rig.probe("/a").cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.kill("/a").await;
    assert_eq!(rig.exit_of("/a").await, ExitReason::Killed);
    assert_eq!([rig.who("/a").await, rig.who("/b").await], [2, 1]);
}

#[tokio::test]
async fn only_what_runs_below_the_root_can_be_killed() {
    let rig = Rig::start(&probes("", &[("a", "config = { start = \"ignore\" }")]), &[]).await;
    let kill = |path: &str| {
        let (system, path) = (rig.system.clone(), path.parse::<ActorPath>().unwrap());
        async move { system.kill(&path).await }
    };
    assert_eq!(kill("/").await, Err(KillError::Root));
    assert_eq!(kill("/x").await, Err(KillError::NoSuchPath("/x".parse().unwrap())));
    assert_eq!(kill("/a").await, Err(KillError::NotRunning("/a".parse().unwrap())));
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_subtree_down_and_its_parent_restarts_it() {
    let main = format!("{}{}", subtree("sub", ""), probes("", &[("other", "")]));
    let sub = format!("{}{}", probes("", &[("a", "")]), subtree("inner", ""));
    let mut rig = Rig::start(&main, &[("sub", &sub), ("inner", &probes("", &[("b", "")]))]).await;
    rig.journal.clear();
    rig.kill("/sub").await;
    assert_eq!(rig.exit_of("/sub").await, ExitReason::Killed);
    assert_eq!(rig.start_of("/sub").await, 2);
    let paths = ["/sub/a", "/sub/inner/b", "/other"];
    assert_eq!([rig.who(paths[0]).await, rig.who(paths[1]).await, rig.who(paths[2]).await], [2, 2, 1]);
    // All that was had gone before anything new began.
    let mut lines = rig.journal.lines();
    lines[..2].sort();
    assert_eq!(lines, ["end a", "end b", "start a", "start b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinning_handler_is_unkillable_counted_and_leaves_its_siblings_alone() {
    let (env, work) = env_with_workers(2);
    let tree = probes("", &[("a", "kill_grace = \"20ms\""), ("b", "")]);
    let mut rig = Rig::start_in(env, &tree, &[]).await.unwrap();
    let gate = Gate::new();
    rig.probe("/a").cast(Ask::Spin(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.kill("/a").await;
    rig.wait_for(|event| matches!(event, RuntimeEvent::Unkillable { path, .. } if path.as_str() == "/a")).await;
    rig.until("/a", ActorState::Unkillable).await;
    assert_eq!(rig.system.unkillable(), 1);
    assert_eq!(rig.who("/b").await, 1);
    // It ends after all: then policy applies.
    gate.open();
    assert_eq!(rig.exit_of("/a").await, ExitReason::Killed);
    assert_eq!(rig.start_of("/a").await, 2);
    assert_eq!((rig.who("/a").await, rig.who("/b").await, rig.system.unkillable()), (2, 1, 0));
    rig.system.stop(LONG).await;
    work.shutdown_background();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_nothing_of_the_incarnation_begins_not_even_its_stop() {
    let (env, work) = env_with_workers(1);
    let mut rig = Rig::start_in(env, &probes("", &[("a", "kill_grace = \"20ms\"")]), &[]).await.unwrap();
    let (gate, probe) = (Gate::new(), rig.probe("/a"));
    let spinning = Arc::clone(&gate);
    let spin_and_stop = Ask::Beside(Box::new(move |ctx| {
        spinning.spin();
        ctx.stop();
    }));
    probe.cast(spin_and_stop).await.unwrap();
    gate.entered().await;
    probe.cast(Ask::Beside(Box::new(|ctx| assert_eq!(ctx.incarnation().0, 2)))).await.unwrap();
    rig.kill("/a").await;
    gate.open();
    assert_eq!(rig.exit_of("/a").await, ExitReason::Killed);
    assert_eq!(rig.who("/a").await, 2);
    assert_eq!(rig.journal.lines(), ["start a", "end a", "start a"]);
    rig.system.stop(LONG).await;
    work.shutdown_background();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_spinning_handlers_as_threads_leave_supervisors_and_the_tree_answering() {
    let (env, work) = env_with_workers(2);
    let grace = "kill_grace = \"20ms\"; shutdown = \"20ms\"";
    let rig = Rig::start_in(env, &probes("", &[("a", grace), ("b", grace), ("c", grace)]), &[]).await.unwrap();
    let gates = [Gate::new(), Gate::new()];
    for (path, gate) in ["/a", "/b"].into_iter().zip(&gates) {
        rig.probe(path).cast(Ask::Spin(Arc::clone(gate))).await.unwrap();
        gate.entered().await;
    }
    rig.kill("/a").await;
    rig.until("/a", ActorState::Unkillable).await;
    let report = rig.system.stop(LONG).await;
    // `/c` waits for a thread, also to end on.
    let left = ["/a", "/b", "/c"].map(|path| path.parse().unwrap());
    assert_eq!((report.in_time, report.still_running.as_slice()), (true, &left[..]), "it does not pretend");
    gates.iter().for_each(|gate| gate.open());
    within(rig.system.ended()).await;
    assert_eq!(rig.system.unkillable(), 0);
    work.shutdown_background();
}

/// Sets its flag when it is dropped.
struct Flag(Arc<AtomicBool>);
impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[tokio::test]
async fn a_task_ends_with_its_actor_before_the_next_incarnation_starts() {
    let mut rig = Rig::start(&probes("", &[("a", "")]), &[]).await;
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Flag(Arc::clone(&dropped));
    let spawned = inside(rig.probe("/a"), |ctx| {
        ctx.spawn(async move {
            let _flag = flag;
            std::future::pending().await
        })
    });
    assert_eq!(spawned.await, Ok(()));
    rig.end("/a", End::Panic).await;
    rig.start_of("/a").await;
    assert!(dropped.load(Ordering::Acquire));
}

#[tokio::test]
async fn an_actor_has_a_bound_of_tasks() {
    let rig = Rig::start(&probes("", &[("a", "")]), &[]).await;
    let refused = inside(rig.probe("/a"), |ctx| {
        let mut all = (0..=TASKS_MAX).map(|_| ctx.spawn(std::future::pending()));
        all.find(Result::is_err)
    });
    assert_eq!(refused.await, Some(Err(SpawnRefused)));
}

#[tokio::test(start_paused = true)]
async fn timers_fire_once_or_again_and_again_and_end_with_their_actor() {
    let rig = Rig::start(&probes("", &[("a", "")]), &[]).await;
    let probe = rig.probe("/a");
    inside(probe.clone(), |ctx| {
        ctx.send_after(Duration::from_secs(1), Ask::Note(1));
        ctx.send_every(Duration::from_secs(10), || Ask::Note(2));
    })
    .await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(probe.call(Ask::Noted, LONG).await, Ok(vec![1, 2, 2]));
    rig.end("/a", End::Error).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((rig.who("/a").await, probe.call(Ask::Noted, LONG).await), (2, Ok(vec![1, 2, 2])));
}

#[tokio::test]
async fn an_actor_that_ends_while_its_supervisor_starts_others_is_not_lost() {
    let main = probes("intensity = 1000", &[("a", ""), ("b", "")]);
    for _ in 0..50 {
        let rig = Rig::start(&main, &[]).await;
        rig.end("/a", End::Error).await;
        rig.kill("/b").await;
        rig.end("/a", End::Panic).await;
        eventually(|| rig.view("/a").incarnation.0 == 3 && rig.view("/b").incarnation.0 == 2).await;
        assert_eq!([rig.who("/a").await, rig.who("/b").await], [3, 2]);
    }
}

#[tokio::test]
async fn a_start_that_hangs_can_be_killed_and_counts_as_failed() {
    let mut rig = Rig::start(&probes("intensity = 3", &[("a", "")]), &[]).await;
    rig.journal.hang_next_start();
    rig.end("/a", End::Error).await;
    rig.until("/a", ActorState::Starting).await;
    eventually(|| rig.journal.lines().last().is_some_and(|line| line == "hang a")).await;
    rig.kill("/a").await;
    let failed = rig.wait_for(|event| matches!(event, RuntimeEvent::StartFailed { .. })).await;
    let (path, incarnation) = ("/a".parse().unwrap(), covenant_types::Incarnation(1));
    assert_eq!(failed, RuntimeEvent::StartFailed { path, incarnation, reason: ExitReason::Killed });
    assert_eq!(rig.who("/a").await, 2);
}
