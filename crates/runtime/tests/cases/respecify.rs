//! Specs that change while a tree runs: only what is named is touched, and it stays so over restarts.

use std::collections::BTreeMap;

use crate::support::{Ask, End, LONG, Rig, probes, subtree, tree};
use covenant_runtime::{ActorState, AdminFailure, Rework};
use covenant_supervision::{AdminError, ChildId, TreeSpec};
use covenant_types::{ActorPath, ExitReason};

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

fn none() -> BTreeMap<ChildId, Rework> {
    BTreeMap::new()
}

fn one(id: &str, how: Rework) -> BTreeMap<ChildId, Rework> {
    [(ChildId::new(id).unwrap(), how)].into()
}

fn flat(children: &[(&str, &str)]) -> TreeSpec {
    tree(&probes("intensity = 9", children), &[])
}

async fn rig(children: &[(&str, &str)]) -> Rig {
    Rig::start(&probes("intensity = 9", children), &[]).await
}

fn shown(rig: &Rig, at: &str) -> Vec<String> {
    rig.view(at).children.iter().map(|child| child.path.id().to_owned()).collect()
}

#[tokio::test]
async fn new_children_are_known_in_their_place_and_start_when_asked() {
    let rig = rig(&[("a", ""), ("b", "")]).await;
    rig.system.replace_specs(&path("/"), flat(&[("a", ""), ("new", ""), ("b", "")]), none()).await.unwrap();
    assert_eq!(shown(&rig, "/"), ["a", "new", "b"]);
    assert_eq!(rig.state("/new"), ActorState::Undefined);
    rig.system.restart_child(&path("/new")).await.unwrap();
    assert_eq!(rig.who("/new").await, 1);
    assert_eq!((rig.who("/a").await, rig.who("/b").await), (1, 1), "their siblings never noticed");
}

#[tokio::test]
async fn what_is_not_named_any_more_runs_until_it_is_deleted() {
    let rig = rig(&[("a", ""), ("b", ""), ("c", "")]).await;
    rig.system.replace_specs(&path("/"), flat(&[("c", ""), ("a", "")]), none()).await.unwrap();
    assert_eq!(shown(&rig, "/"), ["b", "c", "a"]);
    assert_eq!(rig.who("/b").await, 1);
    rig.system.terminate_child(&path("/b")).await.unwrap();
    rig.system.delete_child(&path("/b")).await.unwrap();
    assert_eq!(shown(&rig, "/"), ["c", "a"]);
    assert!(rig.system.lookup::<Ask>(&path("/b")).is_err());
}

#[tokio::test]
async fn a_child_that_is_refitted_keeps_its_mailbox_and_counts_on() {
    let rig = rig(&[("a", "")]).await;
    let a = rig.probe("/a");
    let told = flat(&[("a", "config = { start = \"fail\" }")]);
    rig.system.replace_specs(&path("/"), told, one("a", Rework::Refit)).await.unwrap();
    assert_eq!(rig.who("/a").await, 1, "what runs goes on");
    rig.system.terminate_child(&path("/a")).await.unwrap();
    let failed = rig.system.restart_child(&path("/a")).await;
    let reason = ExitReason::Error("told to".into());
    assert_eq!(failed, Err(AdminFailure::Refused(AdminError::StartFailed(reason))), "the new config is read");
    rig.system.replace_specs(&path("/"), flat(&[("a", "")]), one("a", Rework::Refit)).await.unwrap();
    rig.system.restart_child(&path("/a")).await.unwrap();
    assert_eq!(rig.who("/a").await, 2);
    assert!(a.call(Ask::Who, LONG).await.is_ok(), "an old reference reaches the new incarnation");
}

#[tokio::test]
async fn messages_wait_while_a_child_is_refitted_and_are_refused_when_it_does_not_start() {
    let rig = rig(&[("a", "")]).await;
    let a = rig.probe("/a");
    let told = || flat(&[("a", "config = { info = \"other\" }")]);
    rig.system.replace_specs(&path("/"), told(), one("a", Rework::Refit)).await.unwrap();
    rig.system.terminate_child(&path("/a")).await.unwrap();
    a.cast(Ask::Note(7)).await.unwrap();
    rig.system.restart_child(&path("/a")).await.unwrap();
    assert_eq!(a.call(Ask::Noted, LONG).await, Ok(vec![7]));

    let broken = flat(&[("a", "config = { start = \"fail\" }")]);
    rig.system.replace_specs(&path("/"), broken, one("a", Rework::Refit)).await.unwrap();
    rig.system.terminate_child(&path("/a")).await.unwrap();
    rig.system.restart_child(&path("/a")).await.unwrap_err();
    assert!(a.cast(Ask::Note(8)).await.is_err(), "nobody would ever read it");
}

#[tokio::test]
async fn a_child_that_is_replaced_has_a_new_mailbox_and_counts_on() {
    let rig = rig(&[("a", ""), ("b", "")]).await;
    let told = flat(&[("a", "mailbox = { capacity = 7 }"), ("b", "")]);
    rig.system.replace_specs(&path("/"), told, one("a", Rework::Replace)).await.unwrap();
    assert_eq!(rig.view("/a").mailbox.unwrap().capacity, 1024, "what runs goes on");
    rig.system.terminate_child(&path("/a")).await.unwrap();
    rig.system.restart_child(&path("/a")).await.unwrap();
    assert_eq!(rig.view("/a").mailbox.unwrap().capacity, 7);
    assert_eq!(rig.who("/a").await, 2);
    assert_eq!(shown(&rig, "/"), ["a", "b"]);
}

#[tokio::test]
async fn a_supervisor_that_is_restarted_keeps_its_new_specs() {
    let below = |children: &[(&str, &str)]| probes("intensity = 9", children);
    let before = below(&[("a", ""), ("b", ""), ("gone", "")]);
    let mut rig = Rig::start(&subtree("sub", ""), &[("sub", &before)]).await;
    let after = below(&[("a", "mailbox = { capacity = 7 }"), ("b", ""), ("new", "")]);
    rig.system.replace_specs(&path("/sub"), tree(&after, &[]), one("a", Rework::Replace)).await.unwrap();
    rig.system.terminate_child(&path("/sub/gone")).await.unwrap();
    rig.system.delete_child(&path("/sub/gone")).await.unwrap();
    rig.kill("/sub").await;
    assert_eq!(rig.start_of("/sub").await, 2);
    assert_eq!(shown(&rig, "/sub"), ["a", "b", "new"]);
    assert_eq!(rig.view("/sub/a").mailbox.unwrap().capacity, 7);
    assert_eq!((rig.who("/sub/a").await, rig.who("/sub/b").await, rig.who("/sub/new").await), (2, 2, 1));
}

#[tokio::test]
async fn a_subtree_that_is_replaced_counts_on_below() {
    let (old, new) = (probes("", &[("x", "")]), probes("intensity = 3", &[("x", ""), ("y", "")]));
    let rig = Rig::start(&subtree("sub", ""), &[("sub", &old)]).await;
    let told = tree(&subtree("sub", ""), &[("sub", &new)]);
    rig.system.replace_specs(&path("/"), told, one("sub", Rework::Replace)).await.unwrap();
    rig.system.terminate_child(&path("/sub")).await.unwrap();
    rig.system.restart_child(&path("/sub")).await.unwrap();
    assert_eq!((rig.who("/sub/x").await, rig.who("/sub/y").await), (2, 1));
}

#[tokio::test]
async fn new_rules_count_at_once_and_a_wrong_spec_changes_nothing() {
    let mut rig = rig(&[("a", ""), ("b", "")]).await;
    let wrong = flat(&[("a", ""), ("b", "config = { strat = 1 }")]);
    let refused = rig.system.replace_specs(&path("/"), wrong, one("b", Rework::Refit)).await;
    assert!(matches!(refused, Err(AdminFailure::Refused(AdminError::BadSpec(_)))), "{refused:?}");
    rig.end("/b", End::Panic).await;
    assert_eq!(rig.start_of("/b").await, 2, "as it was");
    rig.system.replace_specs(&path("/"), flat(&[("a", ""), ("b", "restart = \"transient\"")]), none()).await.unwrap();
    rig.end("/b", End::Normal).await;
    rig.until("/b", ActorState::Undefined).await;
    assert_eq!(rig.who("/a").await, 1);
}

#[tokio::test]
async fn a_temporary_child_that_becomes_permanent_is_started_again_as_the_new_spec_says() {
    let mut rig = rig(&[("a", "")]).await;
    let temporary = "restart = \"temporary\"; config = { info = \"old\" }";
    let child = flat(&[("b", temporary)]).children.remove(0);
    rig.system.start_child(&path("/"), child).await.unwrap();
    let permanent = flat(&[("a", ""), ("b", "restart = \"permanent\"; config = { info = \"new\" }")]);
    rig.system.replace_specs(&path("/"), permanent, none()).await.unwrap();
    rig.end("/b", End::Panic).await;
    while rig.start_of("/b").await < 2 {} // what the first began with was not kept, and is not needed
    assert_eq!([rig.who("/a").await, rig.who("/b").await], [1, 2]);
}
