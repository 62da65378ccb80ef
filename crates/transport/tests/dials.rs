//! What dials leave behind, and what a second one may build on: nothing.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use covenant_identity::NodeKey;
use covenant_transport::DialError;
use support::{LOOPBACK, Node, Paper, now, raw};

/// A client that keeps what it needs to resume, and would send early if it could, is asked for everything again.
#[tokio::test]
async fn no_session_is_resumed_and_nothing_is_sent_before_the_handshake_is_over() {
    let paper = Paper::new("demo");
    let node = Node::start(&paper, paper.node("a"), 1);
    let key = NodeKey::generate();
    let chain = paper.chain(&key, "eager", now());
    let checked = Arc::new(AtomicUsize::new(0));
    let config = raw::client(b"covenant/1", Some((&key, chain)), Arc::clone(&checked));
    let endpoint = quinn::Endpoint::client(LOOPBACK).unwrap();
    for round in 1..=3 {
        let connecting = endpoint.connect_with(config.clone(), node.address(), "covenant").unwrap();
        let connecting = connecting.into_0rtt().err().expect("no early data");
        let connection = connecting.await.unwrap();
        // Tickets come after the handshake, if at all; the server's own words show that they would be here by now.
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&[9]).await.unwrap();
        let _refused = recv.read_to_end(1024).await;
        connection.close(0_u32.into(), b"");
        assert_eq!(checked.load(Ordering::Relaxed), round, "the server's certificate was checked each time");
    }
}

/// Another implementation kept 2.3 MB of each dial that failed.
#[tokio::test(start_paused = true)]
async fn dials_that_fail_leave_no_memory_and_no_turn_behind() {
    let paper = Paper::new("demo");
    let node = Node::start(&paper, paper.node("a"), 1);
    // They take what comes and say nothing.
    let silent: Vec<UdpSocket> = (0..32).map(|_| UdpSocket::bind(LOOPBACK).unwrap()).collect();
    let dial_all = async || {
        let dials = silent.iter().map(|socket| {
            let (transport, address) = (node.transport.clone(), socket.local_addr().unwrap());
            async move { transport.connect(address, None).await }
        });
        for result in futures_util::future::join_all(dials).await {
            assert!(matches!(result, Err(DialError::TimedOut(_))), "{result:?}");
        }
    };
    for _ in 0..5 {
        dial_all().await;
    }
    let before = resident_bytes();
    for _ in 0..20 {
        dial_all().await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes after 640 dials that failed");
    assert!(node.transport.peers().is_empty());
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
