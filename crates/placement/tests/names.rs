//! Nodes of a cluster and one table: who has a strong name, and who has it next.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{LeaseError, LeaseSource, MemberState, Place};
use covenant_runtime::Ref;
use covenant_types::{ActorPath, CallError, Fence};
use support::{HOME, Ledger, Node, PATIENCE, Token, boot, until};

const SPAN: Duration = Duration::from_secs(5);

/// Three hubs that vote, of which one begins, and a tower.
async fn cluster(dir: &Path) -> (Vec<Node>, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    let mut nodes = vec![boot(HOME, dir, &[], &ledger).await];
    let seeds = [nodes[0].address()];
    for name in ["hub-asia", "hub-europe", "tower-1"] {
        nodes.push(boot(name, dir, &seeds, &ledger).await);
    }
    for node in &nodes {
        until("all are reachable", || {
            let members = node.cluster.members();
            let there = members.iter().filter(|member| member.state == MemberState::Reachable).count();
            (there == 4).then_some(())
        })
        .await;
    }
    let voters: BTreeSet<_> = nodes[..3].iter().map(Node::id).collect();
    ledger.say(voters.clone());
    for node in &nodes[..3] {
        node.until_voters(&voters).await;
    }
    (nodes, ledger)
}

/// Who has the name as `node` hears it, once somebody does, save `not`.
async fn holder(node: &Node, not: Option<&Fence>) -> (Place, Fence) {
    let asking = async {
        loop {
            match node.placement.holder("porter").await {
                Ok((place, fence)) if not.is_none_or(|not| fence.token > not.token) => return (place, fence),
                Ok(_) | Err(CallError::NoProc | CallError::Timeout) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("somebody takes the name")
}

async fn stop_all(nodes: Vec<Node>) {
    for node in nodes {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_goes_on_to_another_node_when_its_holder_dies_and_what_the_old_one_was_sent_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, _ledger) = cluster(dir.path()).await;
    let (place, fence) = holder(&nodes[3], None).await;
    for node in &nodes {
        assert_eq!(node.placement.holder("porter").await.unwrap(), (place.clone(), fence.clone()), "all hear the same");
    }
    let killed = nodes.remove(nodes.iter().position(|node| node.name() == place.node).unwrap());
    killed.kill().await;

    let asker = &nodes[nodes.len() - 1];
    let (next, later) = holder(asker, Some(&fence)).await;
    assert_ne!(next.node, place.node);
    let asker = nodes.iter().find(|node| node.name() != next.node).unwrap();
    let porter: Ref<Token> = asker.placement.whereis("porter").await.unwrap();
    assert_eq!(porter.call(Token, PATIENCE).await, Ok(Some(later.token)));
    // What was meant for the one before, and comes to the next.
    let late: Ref<Token> = asker.cluster.reference_under(&next, &fence).unwrap();
    let Err(CallError::Rejected(why)) = late.call(Token, PATIENCE).await else { panic!("a late message was read") };
    assert!(why.contains("stale token"), "{why}");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_in_order_gives_back_what_it_holds_and_it_is_free_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (nodes, _ledger) = cluster(dir.path()).await;
    let (place, fence) = holder(&nodes[3], None).await;
    let (stopping, asker) = if nodes[3].name() == place.node {
        (3, 2)
    } else {
        (nodes.iter().position(|node| node.name() == place.node).unwrap(), 3)
    };
    let node = &nodes[stopping];
    node.system.terminate_child(&"/lodge/porter".parse().unwrap()).await.unwrap();
    node.placement.given_back(PATIENCE).await;
    // The table had it ended by its holder: no member could have said so within the span.
    let source = nodes[asker].placement.source();
    let now = source.leases(&ActorPath::root(), PATIENCE).await.unwrap();
    assert!(now.iter().all(|lease| lease.token != fence.token), "{now:?}");
    let (_, later) = holder(&nodes[asker], Some(&fence)).await;
    assert!(later.token > fence.token);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_wakes_has_lost_its_name_before_anything_else_and_takes_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (nodes, _ledger) = cluster(dir.path()).await;
    let (place, fence) = holder(&nodes[3], None).await;
    let sleeper = nodes.iter().find(|node| node.name() == place.node).unwrap();
    let key: ActorPath = "/own".parse().unwrap();
    let lease = sleeper.placement.leases().acquire(&key, SPAN).await.unwrap();
    sleeper.suspend(Duration::from_millis(100));
    assert!(!lease.is_held(), "however short it was");
    let asker = nodes.iter().find(|node| node.name() != place.node).unwrap();
    let (_, later) = holder(asker, Some(&fence)).await;
    assert!(later.token > fence.token);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_votes_follows_the_ledger_and_no_majority_grants_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, ledger) = cluster(dir.path()).await;
    let key: ActorPath = "/own".parse().unwrap();
    // One is taken out, and one is not there when it is to come back.
    let two: BTreeSet<_> = nodes[..2].iter().map(Node::id).collect();
    ledger.say(two.clone());
    nodes[0].until_voters(&two).await;
    let source = nodes[3].placement.source();
    let granted = source.acquire(key.clone(), nodes[3].id(), SPAN).await.unwrap();
    let other = nodes[2].placement.source().acquire(key.clone(), nodes[2].id(), SPAN).await;
    assert!(matches!(other, Err(LeaseError::Held { by, .. }) if by == nodes[3].id()), "{other:?}");
    // Nobody acts for another.
    let forged = source.acquire("/other".parse().unwrap(), nodes[2].id(), SPAN).await;
    assert!(matches!(forged, Err(LeaseError::Refused(_))), "{forged:?}");
    assert_eq!(nodes[2].placement.source().release(granted.clone(), nodes[2].id()).await, Ok(()));
    let held = source.leases(&key, PATIENCE).await.unwrap();
    assert_eq!(held.first().map(|lease| lease.token), Some(granted.token), "it was not its own to release");
    nodes.remove(1).kill().await;
    assert_eq!(source_of(&nodes[2]).renew(granted, nodes[2].id(), SPAN).await, Err(LeaseError::Unreachable));
    stop_all(nodes).await;
}

fn source_of(node: &Node) -> &covenant_placement::GroupLeases {
    node.placement.source()
}
