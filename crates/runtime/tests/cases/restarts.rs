//! What is started again, with whom, and when a supervisor gives up.

use std::sync::Arc;

use crate::support::{self, End, Journal, LONG, Rig, probes, subtree, within};
use covenant_env::Env;
use covenant_runtime::{ActorState, BootError, RuntimeEvent, System};
use covenant_types::ExitReason;

const FORGIVING: &str = "intensity = 100";

/// Ends `/x` in every way and says after which it came back.
async fn comes_back_after(restart: &str) -> Vec<&'static str> {
    let ways = [
        ("normal", Some(End::Normal)),
        ("shutdown", Some(End::Shutdown)),
        ("stop", Some(End::Stop)),
        ("error", Some(End::Error)),
        ("panic", Some(End::Panic)),
        ("killed", None),
    ];
    let mut back = Vec::new();
    for (name, how) in ways {
        let mut rig = Rig::start(&probes(FORGIVING, &[("x", &format!("restart = \"{restart}\""))]), &[]).await;
        match how {
            Some(how) => rig.end("/x", how).await,
            None => rig.kill("/x").await,
        }
        rig.exit_of("/x").await;
        // The exit is published before the core decides; a child that stays away is `Undefined` or gone from then on.
        let stays_away = || rig.find("/x").is_none_or(|view| view.state == ActorState::Undefined);
        support::eventually(|| stays_away() || rig.view("/x").incarnation.0 == 2).await;
        if !stays_away() {
            assert_eq!(rig.who("/x").await, 2);
            back.push(name);
        }
    }
    back
}

#[tokio::test]
async fn a_permanent_child_comes_back_after_every_end() {
    assert_eq!(comes_back_after("permanent").await, ["normal", "shutdown", "stop", "error", "panic", "killed"]);
}

#[tokio::test]
async fn a_transient_child_comes_back_after_abnormal_ends() {
    assert_eq!(comes_back_after("transient").await, ["error", "panic", "killed"]);
}

#[tokio::test]
async fn a_temporary_child_stays_away() {
    assert_eq!(comes_back_after("temporary").await, [""; 0]);
}

/// The incarnations of `/a`, `/b` and `/c` after `/b` crashed once.
async fn after_a_crash_of_b(strategy: &str) -> [u32; 3] {
    let keys = format!("strategy = \"{strategy}\"");
    let mut rig = Rig::start(&probes(&keys, &[("a", ""), ("b", ""), ("c", "")]), &[]).await;
    rig.end("/b", End::Panic).await;
    assert_eq!(rig.exit_of("/b").await, ExitReason::Panicked("told to".to_owned()));
    let last = if strategy == "one_for_one" { "/b" } else { "/c" };
    rig.start_of(last).await;
    [rig.who("/a").await, rig.who("/b").await, rig.who("/c").await]
}

#[tokio::test]
async fn one_for_one_leaves_siblings_alone() {
    assert_eq!(after_a_crash_of_b("one_for_one").await, [1, 2, 1]);
}

#[tokio::test]
async fn rest_for_one_restarts_those_started_after_it() {
    assert_eq!(after_a_crash_of_b("rest_for_one").await, [1, 2, 2]);
}

#[tokio::test]
async fn one_for_all_restarts_all() {
    assert_eq!(after_a_crash_of_b("one_for_all").await, [2, 2, 2]);
}

#[tokio::test]
async fn a_group_is_stopped_in_reverse_and_started_in_order() {
    let mut rig = Rig::start(&probes("strategy = \"one_for_all\"", &[("a", ""), ("b", ""), ("c", "")]), &[]).await;
    rig.journal.clear();
    rig.end("/b", End::Error).await;
    rig.start_of("/c").await;
    assert_eq!(
        rig.journal.lines(),
        ["end b", "stop c shutdown", "end c", "stop a shutdown", "end a", "start a", "start b", "start c"]
    );
}

#[tokio::test]
async fn a_supervisor_that_forgives_no_more_is_restarted_by_its_parent_with_new_incarnations() {
    let main = format!("intensity = 1\n{}{}", subtree("sub", ""), probes("", &[("other", "")]));
    let mut rig = Rig::start(&main, &[("sub", &probes("intensity = 1", &[("a", ""), ("b", "")]))]).await;
    rig.end("/sub/a", End::Panic).await;
    assert_eq!(rig.start_of("/sub/a").await, 2);
    rig.end("/sub/a", End::Panic).await;
    rig.wait_for(|event| matches!(event, RuntimeEvent::Escalated { path, .. } if path.as_str() == "/sub")).await;
    assert_eq!(rig.exit_of("/sub").await, ExitReason::Shutdown);
    assert_eq!(rig.start_of("/sub").await, 2);
    assert_eq!([rig.who("/sub/a").await, rig.who("/sub/b").await, rig.who("/other").await], [3, 2, 1]);
    assert_eq!(rig.view("/sub/a").restarts, 2);
}

#[tokio::test]
async fn the_system_ends_when_its_root_gives_up() {
    let rig = Rig::start(&probes("intensity = 0", &[("a", ""), ("b", "")]), &[]).await;
    rig.end("/b", End::Error).await;
    assert_eq!(within(rig.system.ended()).await, ExitReason::Shutdown);
    assert_eq!(rig.state("/a"), ActorState::Undefined);
    assert!(rig.probe("/a").call(support::Ask::Who, LONG).await.is_err());
}

#[tokio::test]
async fn a_restart_that_fails_is_tried_again() {
    let mut rig = Rig::start(&probes("intensity = 5", &[("a", ""), ("b", "")]), &[]).await;
    rig.journal.fail_starts("a", 2);
    rig.end("/a", End::Panic).await;
    assert_eq!(rig.start_of("/a").await, 2, "only starts that succeed are counted");
    assert_eq!(rig.journal.lines().iter().filter(|line| *line == "fail a").count(), 2);
    assert_eq!([rig.who("/a").await, rig.who("/b").await], [2, 1]);
}

#[tokio::test]
async fn a_start_that_fails_names_the_child_and_nothing_runs() {
    let told = "told to".to_owned();
    let ways = [("fail", ExitReason::Error(told.clone())), ("panic", ExitReason::Panicked(told))];
    for (how, reason) in ways {
        let sub = probes("", &[("a", ""), ("b", &format!("config = {{ start = \"{how}\" }}")), ("c", "")]);
        let main = format!("{}{}", probes("", &[("first", "")]), subtree("sub", ""));
        let journal = Arc::new(Journal::default());
        let config = support::config(Env::for_test(7), &main, &[("sub", &sub)], &journal);
        let error = System::start(config).await.expect_err("the start fails");
        assert_eq!(error, BootError::StartFailed { path: "/sub/b".parse().unwrap(), reason });
        let lines = journal.lines();
        assert_eq!(lines, ["start first", "start a", "stop a shutdown", "end a", "stop first shutdown", "end first"]);
    }
}

#[tokio::test]
async fn a_child_with_nothing_to_do_lets_its_siblings_start_and_answers_noproc() {
    let rig = Rig::start(&probes("", &[("a", "config = { start = \"ignore\" }"), ("b", "")]), &[]).await;
    assert_eq!(rig.state("/a"), ActorState::Undefined);
    assert_eq!(rig.who("/b").await, 1);
    let answer = rig.probe("/a").call(support::Ask::Who, LONG).await;
    assert_eq!(answer, Err(covenant_types::CallError::NoProc));
}

#[tokio::test]
async fn a_backoff_keeps_the_child_restarting_and_its_messages_waiting() {
    let keys = "backoff = { min = \"50ms\", max = \"50ms\" }";
    let rig = Rig::start(&probes("", &[("a", keys)]), &[]).await;
    rig.end("/a", End::Error).await;
    rig.until("/a", ActorState::Restarting).await;
    assert_eq!(rig.who("/a").await, 2);
}

#[tokio::test]
async fn an_unknown_behaviour_and_a_bad_config_are_named_with_their_place() {
    let main = "[[child]]\nid = \"a\"\nbehaviour = \"prope\"\n";
    let error = Rig::try_start(main, &[]).await.err().expect("it is unknown").to_string();
    assert!(error.starts_with("main.toml:") && error.contains("\"prope\"") && error.contains("probe"), "{error}");
    let main = probes("", &[("a", "config = { begin = 1 }")]);
    let error = Rig::try_start(&main, &[]).await.err().expect("it is bad").to_string();
    assert!(error.starts_with("main.toml:") && error.contains("begin"), "{error}");
}
