//! Faults on real UDP: what two connected nodes notice of them.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod support;

use std::time::Duration;

use covenant_transport::{Direction, Fault, FaultLease, FaultSpec, LeaseTerms, Peer, PeerScope};
use support::{Node, Paper, echo};

const MS: Duration = Duration::from_millis(1);

fn set(node: &Node, fault: Fault, direction: Direction, peer: PeerScope) -> FaultLease {
    let terms = LeaseTerms { ttl: 60_000 * MS, hard_deadline: 60_000 * MS, by: "test".to_owned() };
    node.transport.faults().set(FaultSpec { fault, direction, peer }, terms).unwrap()
}

async fn pair() -> (Node, Node, Peer) {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
    let peer = a.transport.connect(b.address(), None).await.unwrap();
    (a, b, peer)
}

/// Whether an echo comes back while nothing is in its way for long enough.
async fn answers(peer: &Peer, within: Duration) -> bool {
    tokio::time::timeout(within, echo(peer, "ping")).await.is_ok_and(|echoed| echoed.as_deref() == Some("ping"))
}

#[tokio::test]
async fn a_slow_line_is_slow_for_whoever_asks_over_it() {
    let (a, b, peer) = pair().await;
    set(
        &a,
        Fault::Latency { delay: 100 * MS, jitter: Duration::ZERO },
        Direction::Both,
        PeerScope::Address(b.address()),
    );
    let began = tokio::time::Instant::now();
    assert!(answers(&peer, 10_000 * MS).await);
    assert!(began.elapsed() >= 200 * MS, "{:?}", began.elapsed());
    let effects = a.transport.faults().leases()[0].effects;
    assert!(effects.delayed >= 2 && effects.dropped == 0, "{effects:?}");
}

#[tokio::test]
async fn a_partition_one_way_stops_answers_and_ends_when_it_is_lifted() {
    let (a, b, peer) = pair().await;
    let lease = set(&a, Fault::Partition, Direction::In, PeerScope::All);
    assert!(!answers(&peer, 500 * MS).await);
    b.heard.until_heard("stream a actor").await;
    let blocked = a.transport.faults().leases()[0].effects.blocked;
    assert!(blocked > 0, "what b sent was kept from a");
    a.transport.faults().lift(lease.id).unwrap();
    assert!(answers(&peer, 10_000 * MS).await);
}

#[tokio::test]
async fn a_fault_about_one_peer_leaves_the_others_alone() {
    let paper = Paper::new("demo");
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(&paper, paper.node(name), 1));
    let to_b = a.transport.connect(b.address(), None).await.unwrap();
    let to_c = a.transport.connect(c.address(), None).await.unwrap();
    set(&a, Fault::Partition, Direction::Both, PeerScope::Node("b".parse().unwrap()));
    a.transport.faults().resolve(|name| if name.as_str() == "b" { vec![b.address()] } else { vec![] });
    assert!(!answers(&to_b, 300 * MS).await);
    assert!(answers(&to_c, 10_000 * MS).await);
}
