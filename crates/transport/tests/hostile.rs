//! What a node does to those who do not speak its protocol: a code, no work, no panic.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod support;

use covenant_identity::NodeKey;
use covenant_transport::CloseCode;
use covenant_types::{BootEpoch, NodeId, NodeName};
use quinn::{Connection, Endpoint};
use serde::Serialize;
use support::{Node, Paper, now, raw};

/// The Hello as it goes over the wire, written down a second time: the tests must notice when it changes.
#[derive(Clone, Serialize)]
struct Hello {
    cluster: String,
    id: NodeId,
    name: NodeName,
    epoch: BootEpoch,
    listen: std::net::SocketAddr,
    dial: u64,
    instance: u64,
}

impl Hello {
    fn of(key: &NodeKey, name: &str) -> Self {
        let listen = "127.0.0.1:1".parse().unwrap();
        Self {
            cluster: "demo".into(),
            id: key.node_id(),
            name: name.parse().unwrap(),
            epoch: BootEpoch(1),
            listen,
            dial: 1,
            instance: 1,
        }
    }

    fn frame(&self, version: u16) -> Vec<u8> {
        let payload = [version.to_be_bytes().to_vec(), covenant_wire::encode(self)].concat();
        let mut frame = vec![1];
        covenant_wire::frame_into(&payload, &mut frame);
        frame
    }
}

struct Intruder {
    node: Node,
    key: NodeKey,
    connection: Connection,
    _endpoint: Endpoint,
}

impl Intruder {
    /// A node with a good certificate and bad manners.
    async fn new() -> Self {
        let paper = Paper::new("demo");
        let node = Node::start(&paper, paper.node("victim"), 1);
        let key = NodeKey::generate();
        let chain = paper.chain(&key, "intruder", now());
        let (_endpoint, connection) = raw::dial(node.address(), b"covenant/1", Some((&key, chain))).await.unwrap();
        Self { node, key, connection, _endpoint }
    }

    fn hello(&self) -> Hello {
        Hello::of(&self.key, "intruder")
    }

    /// Says `bytes` on a first stream, ends it, and returns the code the connection is closed with.
    async fn says(self, bytes: &[u8]) -> CloseCode {
        let (mut send, _recv) = self.connection.open_bi().await.unwrap();
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        let code = raw::close_code(&self.connection).await;
        assert!(self.node.heard.events().is_empty(), "{:?}", self.node.heard.events());
        CloseCode::from_number(code).unwrap()
    }

    /// Becomes a peer in good manners.
    async fn greeted(self) -> Self {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        send.write_all(&self.hello().frame(1)).await.unwrap();
        send.finish().unwrap();
        assert!(recv.read_to_end(2048).await.unwrap().len() > 4);
        self.node.heard.until_heard("up intruder").await;
        self
    }
}

#[tokio::test]
async fn without_a_certificate_nothing_is_done() {
    let paper = Paper::new("demo");
    let node = Node::start(&paper, paper.node("victim"), 1);
    let (_endpoint, connection) = raw::dial(node.address(), b"covenant/1", None).await.unwrap();
    let hello = Hello::of(&NodeKey::generate(), "victim");
    if let Ok((mut send, _recv)) = connection.open_bi().await {
        let _ = send.write_all(&hello.frame(1)).await;
    }
    assert_eq!(raw::close_code(&connection).await, CloseCode::NoCertificate.number().into());
    assert!(node.heard.events().is_empty());
}

#[tokio::test]
async fn another_protocol_gets_no_connection() {
    let paper = Paper::new("demo");
    let node = Node::start(&paper, paper.node("victim"), 1);
    let key = NodeKey::generate();
    let chain = paper.chain(&key, "intruder", now());
    for alpn in [&b"h3"[..], b"covenant/2"] {
        let dialled = raw::dial(node.address(), alpn, Some((&key, chain.clone()))).await;
        let error = dialled.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("120"), "TLS says no_application_protocol, which is alert 120: {error}");
    }
}

#[tokio::test]
async fn a_foreign_certificate_gets_no_work_done() {
    let paper = Paper::new("demo");
    let node = Node::start(&paper, paper.node("victim"), 1);
    let foreign = Paper::new("demo");
    let key = NodeKey::generate();
    let chain = foreign.chain(&key, "intruder", now());
    // The client's side of the handshake may be over before the server has looked at the certificate.
    if let Ok((_endpoint, connection)) = raw::dial(node.address(), b"covenant/1", Some((&key, chain))).await {
        let error = connection.closed().await;
        assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    }
    assert!(node.heard.events().is_empty());
}

#[tokio::test]
async fn an_operator_is_no_node() {
    let paper = Paper::new("demo");
    let node = Node::start(&paper, paper.node("victim"), 1);
    let key = NodeKey::generate();
    let csr = covenant_identity::make_csr(&key);
    let role = covenant_identity::OperatorRole::Admin;
    let certificate = paper.issuing.sign_operator(&csr, &"ada".parse().unwrap(), role, now()).unwrap();
    let chain = paper.issuing.chain_for(certificate);
    if let Ok((_endpoint, connection)) = raw::dial(node.address(), b"covenant/1", Some((&key, chain))).await {
        let error = connection.closed().await;
        assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    }
    assert!(node.heard.events().is_empty());
}

#[tokio::test]
async fn a_hello_of_another_cluster_version_or_name_is_refused_by_name() {
    let intruder = Intruder::new().await;
    let hello = Hello { cluster: "other".into(), ..intruder.hello() };
    assert_eq!(intruder.says(&hello.frame(1)).await, CloseCode::WrongCluster);

    let intruder = Intruder::new().await;
    let hello = intruder.hello();
    assert_eq!(intruder.says(&hello.frame(2)).await, CloseCode::WrongVersion);

    let intruder = Intruder::new().await;
    let hello = Hello { name: "victim".parse().unwrap(), ..intruder.hello() };
    assert_eq!(intruder.says(&hello.frame(1)).await, CloseCode::IdentityMismatch);

    let intruder = Intruder::new().await;
    let hello = Hello { id: NodeId([0; 16]), ..intruder.hello() };
    assert_eq!(intruder.says(&hello.frame(1)).await, CloseCode::IdentityMismatch);
}

#[tokio::test]
async fn cut_oversized_and_garbled_hellos_close_the_connection_with_a_code() {
    let whole = Intruder::new().await.hello().frame(1);
    for length in [0, 1, 3, 5, 6, 20, whole.len() - 1] {
        assert_eq!(Intruder::new().await.says(&whole[..length]).await, CloseCode::Malformed, "cut at {length}");
    }
    assert_eq!(Intruder::new().await.says(&[1, 0xff, 0xff, 0xff, 0xff]).await, CloseCode::TooLarge);
    assert_eq!(Intruder::new().await.says(&[1, 0, 0, 4, 1]).await, CloseCode::TooLarge);
    assert_eq!(Intruder::new().await.says(&[4, 0, 0, 0, 1, 0]).await, CloseCode::Malformed, "another plane first");
    let mut garbled = vec![1, 0, 0, 0, 40, 0, 1];
    garbled.resize(45, 0xff);
    assert_eq!(Intruder::new().await.says(&garbled).await, CloseCode::Malformed);
}

#[tokio::test]
async fn a_stream_of_no_plane_ends_the_connection_and_only_that() {
    let intruder = Intruder::new().await.greeted().await;
    let mut send = intruder.connection.open_uni().await.unwrap();
    send.write_all(&[99]).await.unwrap();
    assert_eq!(raw::close_code(&intruder.connection).await, CloseCode::Malformed.number().into());
    intruder.node.heard.until_heard("down intruder").await;
    assert!(intruder.node.transport.peers().is_empty());
}

#[tokio::test]
async fn streams_that_end_before_they_begin_are_overlooked() {
    let intruder = Intruder::new().await.greeted().await;
    for _ in 0..200 {
        let mut send = intruder.connection.open_uni().await.unwrap();
        send.finish().unwrap();
        let (mut send, _recv) = intruder.connection.open_bi().await.unwrap();
        send.reset(quinn::VarInt::from_u32(1)).unwrap();
    }
    let mut send = intruder.connection.open_uni().await.unwrap();
    send.write_all(&[5]).await.unwrap();
    intruder.node.heard.until_heard("uni intruder feed").await;
    assert!(intruder.connection.close_reason().is_none());
}

#[tokio::test]
async fn packets_that_are_not_quic_are_overlooked() {
    let paper = Paper::new("demo");
    let node = Node::start(&paper, paper.node("victim"), 1);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 7, 100, 1200, 1472] {
        for first in [0x00, 0x40, 0x80, 0xc0, 0xff] {
            let mut packet = vec![0xaa; length];
            if let Some(byte) = packet.first_mut() {
                *byte = first;
            }
            socket.send_to(&packet, node.address()).unwrap();
        }
    }
    let other = Node::start(&paper, paper.node("friend"), 1);
    assert!(other.transport.connect(node.address(), None).await.is_ok());
}

#[tokio::test]
async fn strangers_are_turned_away_by_their_address_once_they_failed_often_enough() {
    let paper = Paper::new("demo");
    let node = Node::start(&paper, paper.node("victim"), 1);
    let foreign = Paper::new("demo");
    let key = NodeKey::generate();
    let chain = foreign.chain(&key, "intruder", now());
    let mut looked_at = 0;
    for _ in 0..400 {
        let dialled = raw::dial(node.address(), b"covenant/1", Some((&key, chain.clone()))).await;
        let error = match dialled {
            Ok((_endpoint, connection)) => connection.closed().await,
            Err(error) => error,
        };
        let quinn::ConnectionError::ConnectionClosed(close) = error else { panic!("{error}") };
        looked_at += u32::from(close.error_code != quinn::TransportErrorCode::CONNECTION_REFUSED);
    }
    // 57 without proof of its address and 57 with it, and what the measure gives back while this lasts.
    assert!((100..200).contains(&looked_at), "{looked_at} of 400 handshakes");
    let (_endpoint, connection) =
        raw::dial_from("127.0.0.2:0".parse().unwrap(), node.address(), b"covenant/1", None).await.unwrap();
    assert_eq!(raw::close_code(&connection).await, CloseCode::NoCertificate.number().into(), "others are looked at");
}
