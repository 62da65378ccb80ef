//! Two transports over real UDP on loopback.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod support;

use std::sync::Arc;

use covenant_env::Env;
use covenant_identity::NodeKey;
use covenant_transport::{BindError, Bytes, CloseCode, DATAGRAM_BYTES_MAX, DialError, Plane, SendError, Transport};
use covenant_types::{NodeId, Region, Role, WallTime};
use support::{Heard, Node, Paper, config, echo, now};

fn code(result: Result<covenant_transport::Peer, DialError>) -> CloseCode {
    match result {
        Err(DialError::Refused { code, .. }) => code,
        other => panic!("expected a refusal by code, got {other:?}"),
    }
}

fn failure(result: Result<covenant_transport::Peer, DialError>) -> String {
    match result {
        Err(DialError::Failed { reason, .. }) => reason,
        other => panic!("expected a failed handshake, got {other:?}"),
    }
}

#[tokio::test]
async fn two_nodes_connect_and_each_knows_who_the_other_is() {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 3), Node::start(&paper, paper.node("b"), 7));
    let peer = a.transport.connect(b.address(), Some(b.credentials.id())).await.unwrap();
    let info = peer.info();
    assert_eq!((info.id, info.name.as_str(), info.epoch.0), (b.credentials.id(), "b", 7));
    assert_eq!((info.role, info.region, info.listen), (Role::Hub, Region::Africa, b.address()));
    b.heard.until_heard("up a epoch 3").await;
    let back = b.transport.peer(a.credentials.id()).unwrap();
    assert_eq!((back.info().id, back.info().listen), (a.credentials.id(), a.address()));
    assert_eq!((a.transport.peers().len(), b.transport.peers().len()), (1, 1));
}

#[tokio::test]
async fn streams_of_every_plane_and_datagrams_arrive_and_are_counted() {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
    let peer = a.transport.connect(b.address(), None).await.unwrap();
    for plane in Plane::ALL {
        let mut uni = peer.open_uni(plane).await.unwrap();
        uni.write_all(b"x").await.unwrap();
        b.heard.until_heard(&format!("uni a {plane}")).await;
    }
    peer.send_datagram(Bytes::from_static(b"hello")).unwrap();
    b.heard.until_heard("datagram a hello").await;
    assert_eq!(echo(&peer, "ping").await.as_deref(), Some("ping"));
    let stats = peer.stats();
    let actor = |counts: &[(Plane, u64)]| counts.iter().find(|(plane, _)| *plane == Plane::Actor).unwrap().1;
    // One byte each for the two planes, one of content, and a frame each way.
    assert_eq!((actor(&stats.sent), actor(&stats.received)), (2 + 1 + 8, 8));
    assert!(stats.udp_sent > 0 && !peer.rtt().is_zero());
}

#[tokio::test]
async fn a_datagram_is_as_long_everywhere_or_refused() {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
    let peer = a.transport.connect(b.address(), None).await.unwrap();
    let largest = "y".repeat(DATAGRAM_BYTES_MAX);
    peer.send_datagram(Bytes::from(largest.clone())).unwrap();
    b.heard.until_heard(&format!("datagram a {largest}")).await;
    let over = Bytes::from(vec![0; DATAGRAM_BYTES_MAX + 1]);
    assert_eq!(peer.send_datagram(over), Err(SendError::TooLarge(DATAGRAM_BYTES_MAX + 1)));
}

#[tokio::test]
async fn connecting_twice_gives_the_same_connection_also_at_once() {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
    let id = Some(b.credentials.id());
    let (one, two) = tokio::join!(a.transport.connect(b.address(), id), a.transport.connect(b.address(), None));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.is_same_connection(&two));
    assert!(one.is_same_connection(&a.transport.connect(b.address(), id).await.unwrap()));
    let ups = b.heard.until(|events| !events.is_empty()).await;
    assert_eq!(ups, ["up a epoch 1"]);
}

#[tokio::test]
async fn a_node_of_another_authority_is_refused_whatever_it_calls_itself() {
    let (ours, theirs) = (Paper::new("demo"), Paper::new("demo"));
    let (a, b) = (Node::start(&ours, ours.node("a"), 1), Node::start(&theirs, theirs.node("b"), 1));
    let reason = failure(a.transport.connect(b.address(), None).await);
    assert!(reason.contains("certificate"), "{reason}");
    assert!(a.heard.events().is_empty() && b.heard.events().is_empty());
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_both_directions() {
    let days_ago = WallTime(now().0 - 3 * 24 * 3600);
    let paper = Paper::at("demo", days_ago);
    let fresh = Node::start(&paper, paper.node("fresh"), 1);
    let stale = Node::start(&paper, paper.node_at("stale", days_ago), 1);
    for (from, to) in [(&fresh, &stale), (&stale, &fresh)] {
        let reason = failure(from.transport.connect(to.address(), None).await);
        assert!(reason.to_lowercase().contains("expired"), "{reason}");
    }
    assert!(fresh.heard.events().is_empty() && stale.heard.events().is_empty());
}

#[tokio::test]
async fn another_node_than_expected_is_refused() {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
    let refused = a.transport.connect(b.address(), Some(NodeId([9; 16]))).await;
    assert_eq!(code(refused), CloseCode::UnexpectedNode);
    assert!(a.transport.peers().is_empty());
}

#[tokio::test]
async fn a_node_that_dials_itself_is_told() {
    let paper = Paper::new("demo");
    let a = Node::start(&paper, paper.node("a"), 1);
    assert_eq!(code(a.transport.connect(a.address(), None).await), CloseCode::DialledSelf);
    assert_eq!(code(a.transport.connect(a.address(), Some(a.credentials.id())).await), CloseCode::DialledSelf);
}

#[tokio::test]
async fn nobody_there_is_a_timeout() {
    let paper = Paper::new("demo");
    let a = Node::start(&paper, paper.node("a"), 1);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    assert_eq!(a.transport.connect(address, None).await.unwrap_err(), DialError::TimedOut(address));
}

#[tokio::test]
async fn a_restarted_peer_replaces_its_ghost_and_the_ghost_cannot_come_back() {
    let paper = Paper::new("demo");
    let a = Node::start(&paper, paper.node("a"), 1);
    let credentials = paper.node("b");
    let ghost = Node::start(&paper, Arc::clone(&credentials), 1);
    let old = ghost.transport.connect(a.address(), None).await.unwrap();
    a.heard.until_heard("up b epoch 1").await;

    let restarted = Node::start(&paper, Arc::clone(&credentials), 2);
    let new = restarted.transport.connect(a.address(), None).await.unwrap();
    let events = a.heard.until(|events| events.len() == 3).await;
    assert_eq!(events[0], "up b epoch 1");
    assert!(events[1].starts_with("down b epoch 1"), "{events:?}");
    assert_eq!(events[2], "up b epoch 2");
    assert!(old.closed().await.contains("replaced"));
    assert_eq!(echo(&new, "still here").await.as_deref(), Some("still here"));

    ghost.heard.until_heard("down a").await;
    assert_eq!(code(ghost.transport.connect(a.address(), None).await), CloseCode::StaleEpoch);
    assert!(new.is_open());
}

#[tokio::test]
async fn a_restarted_peer_that_is_dialled_replaces_its_ghost_as_well() {
    let paper = Paper::new("demo");
    let a = Node::start(&paper, paper.node("a"), 1);
    let credentials = paper.node("b");
    let ghost = Node::start(&paper, Arc::clone(&credentials), 1);
    a.transport.connect(ghost.address(), None).await.unwrap();
    let restarted = Node::start(&paper, Arc::clone(&credentials), 2);
    let new = a.transport.connect(restarted.address(), None).await.unwrap();
    assert_eq!(new.info().epoch.0, 2);
    let events = a.heard.until(|events| events.len() == 3).await;
    assert!(events[1].starts_with("down b epoch 1") && events[2] == "up b epoch 2", "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_both_dial_at_once_one_connection_stays_and_works_both_ways() {
    let paper = Paper::new("demo");
    for _ in 0..20 {
        let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
        let (ab, ba) = tokio::join!(
            a.transport.connect(b.address(), Some(b.credentials.id())),
            b.transport.connect(a.address(), Some(a.credentials.id()))
        );
        ab.unwrap();
        ba.unwrap();
        for node in [&a, &b] {
            let standing = |events: &[String]| {
                let count = |word: &str| events.iter().filter(|event| event.starts_with(word)).count();
                count("up") == count("down") + 1
            };
            node.heard.until(standing).await;
            assert_eq!(node.transport.peers().len(), 1);
        }
        let (to_b, to_a) = (a.transport.peers().remove(0), b.transport.peers().remove(0));
        assert_eq!(echo(&to_b, "to b").await.as_deref(), Some("to b"));
        assert_eq!(echo(&to_a, "to a").await.as_deref(), Some("to a"));
        assert!(to_b.is_open() && to_a.is_open());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_both_dial_addresses_at_once_one_connection_stays_too() {
    let paper = Paper::new("demo");
    for _ in 0..20 {
        let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
        let (ab, ba) = tokio::join!(a.transport.connect(b.address(), None), b.transport.connect(a.address(), None));
        ab.unwrap();
        ba.unwrap();
        let (to_b, to_a) = (a.transport.peers().remove(0), b.transport.peers().remove(0));
        assert_eq!(echo(&to_b, "to b").await.as_deref(), Some("to b"));
        assert_eq!(echo(&to_a, "to a").await.as_deref(), Some("to a"));
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_dropping_connections() {
    let days_ago = WallTime(now().0 - 3 * 24 * 3600);
    let paper = Paper::at("demo", days_ago);
    let (a, c) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("c"), 1));
    let key = NodeKey::generate();
    let pem = key.to_pem();
    let b = Node::start(&paper, paper.node_with(key, "b", now()), 1);
    let standing = b.transport.connect(a.address(), None).await.unwrap();

    let key = NodeKey::from_pem(&pem).unwrap();
    // An expired chain shows that the swap is seen; a fresh one that it can be mended.
    b.credentials.replace_chain(paper.chain(&key, "b", days_ago)).unwrap();
    assert!(failure(b.transport.connect(c.address(), None).await).to_lowercase().contains("expired"));
    b.credentials.replace_chain(paper.chain(&key, "b", now())).unwrap();
    b.transport.connect(c.address(), None).await.unwrap();
    assert_eq!(echo(&standing, "still").await.as_deref(), Some("still"));

    let other = paper.chain(&NodeKey::generate(), "b", now());
    assert!(b.credentials.replace_chain(other).is_err(), "another key's certificate");
    let foreign = Paper::new("other").chain(&key, "b", now());
    assert!(b.credentials.replace_chain(foreign).is_err(), "another cluster's certificate");
}

#[tokio::test]
async fn a_closed_transport_says_goodbye_and_hears_the_end_of_every_peer() {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
    a.transport.connect(b.address(), None).await.unwrap();
    b.heard.until_heard("up a").await;
    a.transport.close("node stop").await;
    let events = b.heard.until(|events| events.len() == 2).await;
    assert!(events[1].contains("leaving") && events[1].contains("node stop"), "{events:?}");
    assert!(a.heard.events()[1].starts_with("down b"), "{:?}", a.heard.events());
    assert_eq!(a.transport.connect(b.address(), None).await.unwrap_err(), DialError::Closed);
    assert!(a.transport.peers().is_empty() && b.transport.peers().is_empty());
}

#[tokio::test]
async fn a_dropped_transport_ends_its_connections() {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
    a.transport.connect(b.address(), None).await.unwrap();
    b.heard.until_heard("up a").await;
    drop(a);
    b.heard.until_heard("down a").await;
}

#[tokio::test]
async fn a_disconnected_peer_hears_why_and_may_come_back() {
    let paper = Paper::new("demo");
    let (a, b) = (Node::start(&paper, paper.node("a"), 1), Node::start(&paper, paper.node("b"), 1));
    a.transport.connect(b.address(), None).await.unwrap();
    b.heard.until_heard("up a").await;
    a.transport.disconnect(b.credentials.id(), "because");
    let events = b.heard.until(|events| events.len() == 2).await;
    assert!(events[1].contains("disconnected") && events[1].contains("because"), "{events:?}");
    a.heard.until_heard("down b").await;
    a.transport.connect(b.address(), None).await.unwrap();
    b.heard.until(|events| events.len() == 3).await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let paper = Paper::new("demo");
    let a = Node::start(&paper, paper.node("a"), 1);
    let credentials = paper.node("b");
    let config = covenant_transport::TransportConfig { listen: a.address(), ..config(&paper, &credentials, 1) };
    let bound = Transport::bind(config, Env::for_test(1), Arc::new(Heard::default()), None);
    match bound {
        Err(error @ BindError::AddressTaken(_)) => {
            assert_eq!(
                error.to_string(),
                format!("{} is taken by another process: stop it or choose another port", a.address())
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_with_anothers_certificate_does_not_start() {
    let paper = Paper::new("demo");
    let credentials = paper.node("a");
    let config = covenant_transport::TransportConfig { name: "b".parse().unwrap(), ..config(&paper, &credentials, 1) };
    let bound = Transport::bind(config, Env::for_test(1), Arc::new(Heard::default()), None);
    assert!(matches!(bound, Err(BindError::Tls(_))));
}
