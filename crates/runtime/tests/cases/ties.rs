//! Links and monitors.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::support::{Ask, End, Gate, LONG, Rig, env_with_workers, eventually, gone, inside, probes, subtree, within};
use covenant_runtime::{
    ActorState, Down, DownReason, MonitorRef, RuntimeEvent, System, TIES_MAX, TiesView, TooManyTies,
};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation};
use tokio::sync::broadcast;

/// `/a` and `/b`, with these keys, under a supervisor that forgives.
async fn pair(a: &str, b: &str) -> Rig {
    Rig::start(&probes("intensity = 1000", &[("a", a), ("b", b)]), &[]).await
}

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

async fn monitor(rig: &Rig, watcher: &str, target: &'static str) -> MonitorRef {
    inside(rig.probe(watcher), move |ctx| ctx.monitor(&path(target))).await.unwrap()
}

async fn link(rig: &Rig, one: &str, other: &'static str) {
    inside(rig.probe(one), move |ctx| ctx.link(&path(other))).await.unwrap();
}

async fn trap(rig: &Rig, who: &str) {
    inside(rig.probe(who), |ctx| ctx.trap_exits(true)).await;
}

/// Ends `/b` and waits for its successor.
async fn crash_b(rig: &Rig) {
    let before = rig.view("/b").incarnation.0;
    rig.end("/b", End::Error).await;
    eventually(|| rig.view("/b").incarnation.0 == before + 1).await;
}

/// What `/a` heard so far: an end is handled before the messages that come after it.
async fn heard(rig: &Rig) -> Vec<String> {
    rig.who("/a").await;
    rig.journal.lines().into_iter().filter(|line| line.starts_with("a by")).collect()
}

#[tokio::test]
async fn a_monitor_hears_of_the_incarnation_it_watches_exactly_once() {
    let rig = pair("", "").await;
    monitor(&rig, "/a", "/b").await;
    crash_b(&rig).await;
    assert_eq!(heard(&rig).await, ["a by monitor: /b #1 error: told to"]);
    crash_b(&rig).await;
    assert_eq!(heard(&rig).await.len(), 1);
    monitor(&rig, "/a", "/b").await;
    rig.kill("/b").await;
    assert_eq!(heard(&rig).await[1..], ["a by monitor: /b #3 killed"]);
    assert_eq!(rig.view("/a").incarnation.0, 1, "a monitor harms nobody");
}

#[tokio::test]
async fn ends_are_told_before_the_supervisor_hears_of_them() {
    /// Looks at the system when it is woken, on the thread and in the moment that tells.
    struct Looks {
        system: System,
        events: Mutex<broadcast::Receiver<RuntimeEvent>>,
        seen: Mutex<Option<(bool, ActorState, usize)>>,
    }
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            let heard = self.events.lock().unwrap().try_recv().is_ok();
            let state = self.system.tree().find(&path("/b")).unwrap().state;
            let links = self.system.ties(&path("/a")).unwrap().links.len();
            *self.seen.lock().unwrap() = Some((heard, state, links));
        }
    }
    let rig = pair("", "backoff = { min = \"1h\", max = \"1h\" }").await;
    trap(&rig, "/a").await;
    link(&rig, "/a", "/b").await;
    let mut monitor = rig.system.monitor(&path("/b"));
    let events = Mutex::new(rig.system.events());
    let looks = Arc::new(Looks { system: rig.system.clone(), events, seen: Mutex::new(None) });
    let waker = Waker::from(Arc::clone(&looks));
    assert!(Pin::new(&mut monitor).poll(&mut Context::from_waker(&waker)).is_pending());
    rig.end("/b", End::Error).await;
    eventually(|| looks.seen.lock().unwrap().is_some()).await;
    // The link was made first and is told first.
    assert_eq!(*looks.seen.lock().unwrap(), Some((false, ActorState::Running, 0)));
    rig.until("/b", ActorState::Restarting).await;
}

#[tokio::test]
async fn every_monitor_fires_by_itself() {
    let rig = pair("", "").await;
    for _ in 0..3 {
        monitor(&rig, "/a", "/b").await;
    }
    crash_b(&rig).await;
    assert_eq!(heard(&rig).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn between_two_incarnations_a_monitor_watches_the_next() {
    let rig = pair("", "backoff = { min = \"10s\", max = \"10s\" }").await;
    rig.end("/b", End::Error).await;
    rig.until("/b", ActorState::Restarting).await;
    monitor(&rig, "/a", "/b").await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(rig.who("/b").await, 2);
    assert_eq!(heard(&rig).await, [""; 0]);
    rig.end("/b", End::Panic).await;
    rig.until("/b", ActorState::Restarting).await;
    assert_eq!(heard(&rig).await, ["a by monitor: /b #2 panic: told to"]);
}

#[tokio::test]
async fn a_path_with_nothing_behind_it_is_told_at_once() {
    let main = probes("", &[("a", ""), ("b", "restart = \"transient\""), ("c", "config = { start = \"ignore\" }")]);
    let mut rig = Rig::start(&main, &[]).await;
    rig.end("/b", End::Normal).await;
    rig.exit_of("/b").await;
    rig.until("/b", ActorState::Undefined).await;
    for target in ["/nobody", "/b", "/c"] {
        monitor(&rig, "/a", target).await;
    }
    let told = ["a by monitor: /nobody noproc", "a by monitor: /b normal", "a by monitor: /c noproc"];
    assert_eq!(heard(&rig).await, told, "the words a call would hear");
}

#[tokio::test]
async fn what_is_told_during_the_start_is_heard_right_after_it() {
    let rig = pair("config = { monitor = \"/nobody\" }", "").await;
    // Nothing else wakes it.
    eventually(|| rig.journal.lines().iter().any(|line| line == "a by monitor: /nobody noproc")).await;
    assert_eq!(rig.view("/a").handled, 0);
}

#[tokio::test]
async fn what_is_told_needs_no_room_in_the_mailbox() {
    let rig = pair("mailbox = { capacity = 2, overflow = \"fail\" }", "").await;
    let (probe, gate) = (rig.probe("/a"), Gate::new());
    monitor(&rig, "/a", "/b").await;
    probe.cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    probe.cast(Ask::Note(1)).await.unwrap();
    assert_eq!(probe.cast(Ask::Note(2)).await, Err(CallError::MailboxFull));
    crash_b(&rig).await;
    gate.open();
    eventually(|| rig.journal.lines().iter().any(|line| line.starts_with("a by monitor: /b"))).await;
}

#[tokio::test]
async fn after_a_demonitor_nothing_is_heard_also_where_it_had_fired() {
    let rig = pair("", "").await;
    inside(rig.probe("/a"), |ctx| {
        let (told_at_once, waits) = (ctx.monitor(&path("/nobody")).unwrap(), ctx.monitor(&path("/b")).unwrap());
        ctx.demonitor(told_at_once);
        ctx.demonitor(waits);
    })
    .await;
    crash_b(&rig).await;
    assert_eq!(heard(&rig).await, [""; 0]);
}

#[tokio::test]
async fn a_reference_of_another_actor_takes_nothing_away() {
    let rig = pair("", "").await;
    let reference = monitor(&rig, "/a", "/b").await;
    inside(rig.probe("/b"), move |ctx| ctx.demonitor(reference)).await;
    crash_b(&rig).await;
    assert_eq!(heard(&rig).await.len(), 1);
}

#[tokio::test]
async fn a_monitor_ends_with_the_incarnation_that_made_it() {
    let rig = pair("", "").await;
    for _ in 0..20 {
        monitor(&rig, "/a", "/b").await;
        rig.kill("/a").await;
    }
    monitor(&rig, "/a", "/b").await;
    crash_b(&rig).await;
    assert_eq!(heard(&rig).await.len(), 1);
}

#[tokio::test]
async fn an_error_in_down_is_a_crash() {
    let mut rig = pair("config = { down = \"error\" }", "").await;
    monitor(&rig, "/a", "/b").await;
    rig.end("/b", End::Error).await;
    assert_eq!(rig.exit_of("/a").await, ExitReason::Error("down".to_owned()));
    let mut rig = pair("config = { down = \"panic\" }", "").await;
    monitor(&rig, "/a", "/nobody").await;
    assert_eq!(rig.exit_of("/a").await, ExitReason::Panicked("down".to_owned()));
}

#[tokio::test]
async fn an_incarnation_has_a_bound_of_ties() {
    let rig = pair("", "").await;
    let refused = inside(rig.probe("/a"), |ctx| {
        let mut all = (0..=TIES_MAX).map(|_| ctx.monitor(&path("/b")));
        let first = all.find(Result::is_err);
        (first, ctx.monitor(&path("/nobody")), ctx.link(&path("/b")))
    });
    assert_eq!(refused.await, (Some(Err(TooManyTies)), Err(TooManyTies), Err(TooManyTies)));
    crash_b(&rig).await;
    // They are more than one turn handles.
    eventually(|| rig.journal.lines().iter().filter(|line| line.starts_with("a by")).count() == TIES_MAX).await;
}

#[tokio::test]
async fn an_abnormal_end_of_one_ends_the_other_with_the_same_reason_and_without_its_stop() {
    let mut rig = pair("", "").await;
    for (from, to) in [("/a", "/b"), ("/b", "/a")] {
        link(&rig, from, to).await;
        rig.journal.clear();
        rig.end("/b", End::Panic).await;
        assert_eq!(rig.exit_of("/a").await, ExitReason::Panicked("told to".to_owned()));
        rig.start_of("/a").await;
        assert!(!rig.journal.lines().iter().any(|line| line.starts_with("stop")));
    }
    rig.end("/b", End::Panic).await;
    rig.exit_of("/b").await;
    assert_eq!([rig.who("/a").await, rig.who("/b").await], [3, 4], "a link ends with the incarnations it held");
}

#[tokio::test]
async fn who_waits_for_an_actor_that_ends_by_a_link_hears_the_reason_of_the_link() {
    let rig = pair("", "").await;
    link(&rig, "/a", "/b").await;
    let (asking, gate) = (rig.probe("/a"), Gate::new());
    let held = Arc::clone(&gate);
    let in_hand =
        rig.system.env().work.spawn(async move { asking.call(|reply| Ask::HoldReply(held, reply), LONG).await });
    gate.entered().await;
    rig.end("/b", End::Error).await;
    assert_eq!(within(in_hand).await.unwrap(), Err(gone(ExitReason::Error("told to".to_owned()))));
}

#[tokio::test]
async fn a_normal_end_of_one_leaves_the_other_alone() {
    let mut rig = pair("", "").await;
    for how in [End::Normal, End::Stop] {
        link(&rig, "/a", "/b").await;
        rig.end("/b", how).await;
        rig.start_of("/b").await;
    }
    assert_eq!(rig.who("/a").await, 1);
}

#[tokio::test]
async fn one_that_was_asked_to_stop_takes_the_other_along_and_nothing_is_reported() {
    let main = probes("intensity = 1000", &[("a", "restart = \"transient\""), ("b", ""), ("c", "")]);
    let (mut rig, log) = Rig::start_with_log(&main, &[]).await;
    for end in ["exit", "terminate", "drain"] {
        link(&rig, "/a", "/b").await;
        link(&rig, "/c", "/b").await;
        trap(&rig, "/c").await;
        rig.journal.clear();
        match end {
            "exit" => rig.end("/b", End::Shutdown).await,
            "terminate" => rig.system.terminate_child(&path("/b")).await.unwrap(),
            _ => drop(rig.system.drain(&path("/b"), LONG).await.unwrap()),
        }
        let reason = rig.exit_of("/a").await;
        assert!(reason.is_orderly() && reason != ExitReason::Normal, "{reason}");
        rig.until("/a", ActorState::Undefined).await;
        rig.who("/c").await;
        let lines = rig.journal.lines();
        assert!(!lines.iter().any(|line| line.starts_with("stop a")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("c by link: /b") && line.ends_with(&reason.to_string())));
        let _runs_again = (rig.system.restart_child(&path("/a")).await, rig.system.restart_child(&path("/b")).await);
        rig.until("/b", ActorState::Running).await;
        rig.until("/a", ActorState::Running).await;
    }
    assert_eq!((rig.view("/c").incarnation.0, log.take()), (1, Default::default()));
}

#[tokio::test]
async fn a_permanent_partner_of_one_that_was_asked_to_stop_starts_again_and_is_counted() {
    let main = format!("intensity = 9\n{}", subtree("sub", ""));
    let rig =
        Rig::start(&main, &[("sub", &probes("intensity = 1", &[("a", ""), ("b", "restart = \"transient\"")]))]).await;
    for incarnation in 2..=3 {
        link(&rig, "/sub/a", "/sub/b").await;
        rig.system.terminate_child(&path("/sub/b")).await.unwrap();
        eventually(|| rig.view("/sub/a").incarnation.0 == incarnation).await;
        if incarnation == 2 {
            rig.system.restart_child(&path("/sub/b")).await.unwrap();
        }
    }
    assert_eq!(rig.view("/sub").incarnation.0, 2, "the second was one too many for an intensity of 1");
}

#[tokio::test]
async fn linked_siblings_stop_and_restart_with_their_supervisor_once_each_without_a_report_or_a_count() {
    let children = [("a", ""), ("b", ""), ("c", "config = { link = \"/sub/a\" }"), ("d", "")];
    let main = format!("intensity = 0\n{}", subtree("sub", ""));
    let all = probes("strategy = \"one_for_all\"; intensity = 1", &children);
    let (rig, log) = Rig::start_with_log(&main, &[("sub", &all)]).await;
    rig.end("/sub/d", End::Error).await; // stops c, and with it a
    eventually(|| children.iter().all(|(id, _)| rig.view(&format!("/sub/{id}")).incarnation.0 == 2)).await;
    assert_eq!(rig.who("/sub/a").await, 2);
    let crashes = log.take().crashes;
    assert_eq!(crashes.keys().map(|key| key.path.as_str()).collect::<Vec<_>>(), ["/sub/d"]);
    assert_eq!(rig.view("/sub").incarnation.0, 1, "the one restart that is forgiven was spent once");

    rig.journal.clear();
    assert!(rig.system.stop(LONG).await.in_time);
    let lines = rig.journal.lines();
    let of = |what: &str| lines.iter().filter_map(|line| line.strip_prefix(what)).collect::<Vec<_>>();
    assert_eq!(of("stop "), ["d shutdown", "c shutdown", "b shutdown"], "{lines:?}");
    assert_eq!(of("end ").len(), 4, "{lines:?}");
    assert_eq!(log.take(), Default::default());
}

#[tokio::test]
async fn who_traps_exits_hears_of_them_orderly_or_not() {
    let mut rig = pair("", "").await;
    trap(&rig, "/a").await;
    for how in [End::Normal, End::Error] {
        link(&rig, "/a", "/b").await;
        rig.end("/b", how).await;
        rig.start_of("/b").await;
    }
    link(&rig, "/a", "/nobody").await;
    let told = ["a by link: /b #1 normal", "a by link: /b #2 error: told to", "a by link: /nobody noproc"];
    assert_eq!(heard(&rig).await, told);
    inside(rig.probe("/a"), |ctx| ctx.trap_exits(false)).await;
    link(&rig, "/a", "/b").await;
    rig.end("/b", End::Error).await;
    assert_eq!(rig.exit_of("/a").await, ExitReason::Error("told to".to_owned()), "and no longer");
}

#[tokio::test]
async fn a_link_to_nobody_ends_who_makes_it() {
    let mut rig = pair("", "").await;
    link(&rig, "/a", "/nobody").await;
    let why = "linked to /nobody, where no actor is".to_owned();
    assert_eq!(rig.exit_of("/a").await, ExitReason::Error(why));
    link(&rig, "/a", "/a").await;
    assert_eq!(rig.who("/a").await, 2, "a link to itself changes nothing");
}

#[tokio::test]
async fn an_unlinked_pair_ends_each_by_itself() {
    let rig = pair("", "").await;
    for (one, other) in [("/a", "/b"), ("/b", "/a")] {
        link(&rig, "/a", "/b").await;
        inside(rig.probe(one), move |ctx| ctx.unlink(&path(other))).await;
        crash_b(&rig).await;
    }
    assert_eq!(rig.who("/a").await, 1);
}

#[tokio::test]
async fn a_link_counts_once_however_often_and_from_whichever_side_it_is_made() {
    let rig = pair("", "").await;
    trap(&rig, "/a").await;
    for _ in 0..3 {
        link(&rig, "/a", "/b").await;
        link(&rig, "/b", "/a").await;
    }
    crash_b(&rig).await;
    assert_eq!(heard(&rig).await, ["a by link: /b #1 error: told to"]);
}

#[tokio::test]
async fn a_start_that_fails_ends_what_it_had_linked_to() {
    let mut rig = pair("", "config = { link = \"/a\" }").await;
    inside(rig.probe("/b"), |ctx| ctx.unlink(&path("/a"))).await;
    rig.journal.fail_starts("b", 1);
    rig.kill("/b").await;
    assert_eq!(rig.exit_of("/a").await, ExitReason::Error("told to".to_owned()), "the reason of the start");
    eventually(|| rig.view("/a").incarnation.0 == 2 && rig.view("/b").incarnation.0 == 2).await;
}

#[tokio::test]
async fn a_pair_that_links_in_its_start_settles_after_a_crash() {
    let mut rig = pair("config = { link = \"/b\" }", "config = { link = \"/a\" }").await;
    for round in 1..=20 {
        rig.kill(if round % 2 == 0 { "/a" } else { "/b" }).await;
        eventually(|| rig.view("/a").incarnation.0 == round + 1 && rig.view("/b").incarnation.0 == round + 1).await;
        assert_eq!([rig.who("/a").await, rig.who("/b").await], [round + 1, round + 1], "each came back once");
    }
    rig.end("/a", End::Error).await;
    assert_eq!(rig.exit_of("/b").await, ExitReason::Killed, "of the first round");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn links_made_from_both_sides_at_once_do_not_deadlock() {
    const TURNS: u32 = 20_000;
    let rig = pair("", "").await;
    let both = Arc::new(Barrier::new(2));
    let tie = |from: &str, to: &'static str| {
        let both = Arc::clone(&both);
        let (probe, to) = (rig.probe(from), path(to));
        inside(probe, move |ctx| {
            both.wait();
            for _ in 0..TURNS {
                ctx.link(&to).unwrap();
                let monitor = ctx.monitor(&to).unwrap();
                ctx.unlink(&to);
                ctx.demonitor(monitor);
            }
        })
    };
    let (of_a, of_b) = (tie("/a", "/b"), tie("/b", "/a"));
    within(futures_util::future::join(of_a, of_b)).await;
    assert_eq!([rig.who("/a").await, rig.who("/b").await], [1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_made_while_the_other_is_about_to_end_is_with_its_successor() {
    let (env, work) = env_with_workers(2);
    let main = probes("intensity = 9", &[("b", ""), ("a", "config = { link = \"/b\" }")]);
    let mut rig = Rig::start_in(env, &main, &[]).await.unwrap();
    let gate = Gate::new();
    rig.probe("/b").cast(Ask::Spin(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.end("/a", End::Error).await; // ends the first /b too, as soon as it waits
    assert_eq!(rig.who("/a").await, 2);
    gate.open();
    assert_eq!(rig.start_of("/b").await, 2);
    rig.end("/b", End::Panic).await;
    while rig.exit_of("/a").await != ExitReason::Panicked("told to".to_owned()) {}
    eventually(|| rig.view("/b").incarnation.0 == 3).await;
    assert_eq!(rig.who("/a").await, 3, "the first /b did not end the second /a");
    rig.system.stop(LONG).await;
    work.shutdown_background();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinning_actor_that_its_link_ends_is_reported_unkillable() {
    let (env, work) = env_with_workers(2);
    let mut rig =
        Rig::start_in(env, &probes("intensity = 9", &[("a", "kill_grace = \"20ms\""), ("b", "")]), &[]).await.unwrap();
    link(&rig, "/a", "/b").await;
    let gate = Gate::new();
    rig.probe("/a").cast(Ask::Spin(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.end("/b", End::Error).await;
    rig.wait_for(|event| matches!(event, RuntimeEvent::Unkillable { path, .. } if path.as_str() == "/a")).await;
    gate.open();
    assert_eq!(rig.exit_of("/a").await, ExitReason::Error("told to".to_owned()));
    assert_eq!(rig.start_of("/a").await, 2);
    rig.system.stop(LONG).await;
    work.shutdown_background();
}

#[tokio::test]
async fn whoever_is_no_actor_can_watch_actors_and_supervisors() {
    let main = format!("{}{}", probes("", &[("a", "")]), subtree("sub", ""));
    let rig = Rig::start(&main, &[("sub", &probes("", &[("b", "")]))]).await;
    let [a, sub, nobody, dropped] = ["/a", "/sub", "/nobody", "/a"].map(|at| rig.system.monitor(&path(at)));
    let (reference, of_nobody) = (a.reference(), nobody.reference());
    drop(dropped);
    rig.kill("/a").await;
    let (killed, one) = (DownReason::Exited(ExitReason::Killed), Some(Incarnation(1)));
    let down = Down { monitor: Some(reference), node: None, path: path("/a"), incarnation: one, reason: killed };
    assert_eq!(within(a).await, down);
    rig.kill("/sub").await;
    assert_eq!(within(sub).await.incarnation, Some(Incarnation(1)));
    let none = Down {
        monitor: Some(of_nobody),
        node: None,
        path: path("/nobody"),
        incarnation: None,
        reason: DownReason::NoProc,
    };
    assert_eq!(within(nobody).await, none);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_waits_for_a_child_that_never_comes_hears_why() {
    let rig = pair("", "backoff = { min = \"1h\", max = \"1h\" }").await;
    rig.end("/b", End::Error).await;
    rig.until("/b", ActorState::Restarting).await;
    let monitor = rig.system.monitor(&path("/b"));
    rig.system.stop(Duration::from_secs(9)).await;
    let down = within(monitor).await;
    assert_eq!((down.incarnation, down.reason), (None, DownReason::Exited(ExitReason::Shutdown)));
}

#[tokio::test]
async fn the_ties_of_a_path_can_be_seen_and_are_gone_with_the_incarnation() {
    let rig = pair("", "").await;
    let ties = |at: &str| rig.system.ties(&path(at)).unwrap();
    assert_eq!(ties("/a"), TiesView::default());
    link(&rig, "/a", "/b").await;
    monitor(&rig, "/a", "/b").await;
    trap(&rig, "/a").await;
    let outside = rig.system.monitor(&path("/b"));
    let (a, b) = (vec![path("/a")], vec![path("/b")]);
    let of_a = TiesView { links: b.clone(), monitors: b, traps_exits: true, ..TiesView::default() };
    let of_b = TiesView { links: a.clone(), monitored_by: a, monitored_from_outside: 1, ..TiesView::default() };
    assert_eq!((ties("/a"), ties("/b")), (of_a, of_b));
    assert_eq!(rig.system.ties(&path("/nobody")), None);
    crash_b(&rig).await;
    within(outside).await;
    rig.who("/a").await;
    assert_eq!((ties("/a"), ties("/b")), (TiesView { traps_exits: true, ..TiesView::default() }, TiesView::default()));
    rig.kill("/a").await;
    assert_eq!(ties("/a"), TiesView::default());
}
