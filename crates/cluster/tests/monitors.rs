//! Monitors of actors on other nodes.

mod support;

use std::time::Duration;

use covenant_cluster::{MONITORS_MAX, MemberState, MonitorRefused};
use covenant_runtime::{Down, DownReason};
use covenant_types::{ExitReason, Incarnation, NodeName};
use support::{Message, Node, PATIENCE, eventually, pair, path};

async fn fires(monitor: impl Future<Output = Down>) -> Down {
    tokio::time::timeout(PATIENCE, monitor).await.expect("it fires")
}

/// How many of `two`'s monitors of `id` are held for others.
fn watched(node: &Node, id: &str) -> usize {
    node.system.ties(&path(id)).map_or(0, |ties| ties.monitored_from_outside)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_actor_is_told_on_the_other_node_with_its_reason_and_incarnation() {
    let (one, two) = pair().await;
    let name = two.name();
    for incarnation in 1..=3 {
        let monitor = one.cluster.monitor(&name, &path("actor")).unwrap();
        eventually("it is held", || watched(&two, "actor") == 1).await;
        let crash = one.actor(&name, "actor").call(Message::Crash, PATIENCE).await;
        assert!(crash.is_err());
        let down = fires(monitor).await;
        assert_eq!(
            (down.node, down.path, down.incarnation),
            (Some(name.clone()), path("actor"), Some(Incarnation(incarnation)))
        );
        assert_eq!(down.reason, DownReason::Exited(ExitReason::Error("asked to".to_owned())));
        eventually("the next one runs", || {
            two.system.tree().find(&path("actor")).is_some_and(|view| view.incarnation.0 == incarnation + 1)
        })
        .await;
    }
    let down = fires(one.cluster.monitor(&name, &path("nobody")).unwrap()).await;
    assert_eq!((down.incarnation, down.reason), (None, DownReason::NoProc));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_is_dropped_is_not_held_on_the_other_node() {
    let (one, two) = pair().await;
    let name = two.name();
    let kept = one.cluster.monitor(&name, &path("actor")).unwrap();
    let dropped: Vec<_> = (0..100).map(|_| one.cluster.monitor(&name, &path("actor")).unwrap()).collect();
    eventually("all are held", || watched(&two, "actor") == 101).await;
    drop(dropped);
    eventually("one is held", || watched(&two, "actor") == 1).await;
    two.system.kill(&path("actor")).await.unwrap();
    assert_eq!(fires(kept).await.reason, DownReason::Exited(ExitReason::Killed));
    // A connection that ends lets go of what it held.
    let again = one.cluster.monitor(&name, &path("actor")).unwrap();
    eventually("it is held", || watched(&two, "actor") == 1).await;
    one.kill();
    eventually("none is held", || watched(&two, "actor") == 0).await;
    assert_eq!(fires(again).await.reason, DownReason::NoConnection);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_a_bound_on_monitors_of_another_node() {
    let (one, two) = pair().await;
    let mut held = Vec::new();
    let refused = loop {
        match one.cluster.monitor(&two.name(), &path("actor")) {
            Ok(monitor) => held.push(monitor),
            Err(MonitorRefused::Busy) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused, held.len()), (MonitorRefused::TooMany, MONITORS_MAX));
    eventually("all are held", || watched(&two, "actor") == MONITORS_MAX).await;
    held.pop();
    assert!(one.cluster.monitor(&two.name(), &path("actor")).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_left_or_never_was_is_no_connection_at_once() {
    let (one, two) = pair().await;
    let name = two.name();
    two.cluster.leave().await;
    one.until_state(&name, MemberState::Left).await;
    for name in [name, NodeName::new("never").unwrap()] {
        let down = fires(one.cluster.monitor(&name, &path("actor")).unwrap()).await;
        assert_eq!((down.node, down.incarnation, down.reason), (Some(name), None, DownReason::NoConnection));
    }
}
