//! A node with a valid certificate that breaks the protocol, and bulk streams, which have no protocol here.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use covenant_cluster::{BulkHandler, FRAME_BYTES_MAX};
use covenant_transport::{Peer, Plane, RecvStream, SendStream, Transport};
use support::{AMPLE, Identity, Message, Note, deaf, eventually, pair};

/// A node that is nothing but an endpoint, connected to `node`.
async fn stranger(node: &support::Node) -> (Transport, Peer) {
    deaf::connect(&Identity::new("stranger"), node).await
}

async fn is_thrown_out_for(plane: Plane, bytes: &[u8]) {
    let node = Identity::new("one").boot(&[]).await;
    let (_transport, peer) = stranger(&node).await;
    let mut stream = peer.open_uni(plane).await.expect("the stream opens");
    // The connection may be closed before all is written.
    let _cut = stream.write_all(bytes).await;
    let closed = tokio::time::timeout(support::PATIENCE, peer.closed()).await;
    assert!(closed.is_ok(), "{plane}: the connection is still open after {bytes:?}");
    assert_eq!(node.counts.of("covenant_cluster_streams_refused_total"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_too_large_ends_the_connection() {
    let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_be_bytes();
    for plane in [Plane::Actor, Plane::Reply, Plane::Feed] {
        is_thrown_out_for(plane, &length).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_none_ends_the_connection() {
    for plane in [Plane::Actor, Plane::Reply, Plane::Feed] {
        is_thrown_out_for(plane, &[0, 0, 0, 2, 99, 0]).await;
    }
    // A cast to an id that was never given a path.
    is_thrown_out_for(Plane::Actor, &[0, 0, 0, 6, 2, 0, 0, 0, 0, 1]).await;
    // A path that is none.
    is_thrown_out_for(Plane::Actor, &[0, 0, 0, 10, 1, 0, 0, 0, 0, 1, 0, 2, b'/', b'A']).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_datagrams_and_records_are_counted_and_harm_nobody() {
    let (one, two) = pair().await;
    let (_transport, peer) = stranger(&one).await;
    for length in 0..100 {
        peer.send_datagram(Bytes::from(vec![1; length])).unwrap();
    }
    eventually("the datagrams are refused", || one.counts.of("covenant_cluster_swim_refused_total") > 0).await;
    let mut feed = peer.open_uni(Plane::Feed).await.unwrap();
    // Two records of four bytes of nothing.
    feed.write_frame(&[3, 0, 4, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]).await.unwrap();
    eventually("the records are refused", || one.counts.of("covenant_cluster_records_refused_total") == 2).await;
    let answer = two.actor(&one.name(), "actor").call(|reply| Message::Echo(vec![3], reply), AMPLE).await;
    assert_eq!(answer, Ok(vec![3]));
    assert_eq!(one.cluster.members().len(), 2, "the stranger has no record, so it is no member");
}

/// Sends back what comes.
struct Mirror(tokio::runtime::Handle);

impl BulkHandler for Mirror {
    fn stream(&self, _: &Peer, mut send: SendStream, mut recv: RecvStream) {
        self.0.spawn(async move {
            if let Ok(bytes) = recv.read_to_end(1 << 20).await
                && send.write_all(&bytes).await.is_ok()
            {
                send.finish();
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_stream_reaches_the_handler_of_the_other_node() {
    let (one, two) = pair().await;
    let peer = one.cluster.peer(&two.name()).unwrap();
    let refused = async {
        let (mut send, mut recv) = peer.open_bi(Plane::Bulk).await.unwrap();
        let _refused = send.write_all(b"anybody?").await;
        send.finish();
        recv.read_to_end(10).await
    };
    assert_eq!(refused.await.unwrap_or_default(), b"", "nobody takes it yet");

    two.cluster.set_bulk_handler(Arc::new(Mirror(tokio::runtime::Handle::current())));
    let (mut send, mut recv) = peer.open_bi(Plane::Bulk).await.unwrap();
    let content = vec![7; 200_000];
    send.write_all(&content).await.unwrap();
    send.finish();
    assert_eq!(recv.read_to_end(1 << 20).await.unwrap(), content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_is_turned_away_ends_its_connection_though_nothing_more_is_written_on_it() {
    let node = Identity::new("one").boot(&[]).await;
    let stranger = Identity::new("stranger");
    let (_transport, peer) = deaf::connect_turning_away(Plane::Actor, &stranger, &node).await;
    eventually("it is connected", || node.cluster.peer(&stranger.name).is_some()).await;
    let note = Note { sender: 1, number: 1, padding: Vec::new() };
    // The one message that this lane ever carries: what it named is lost, and no later write would find that out.
    node.actor(&stranger.name, "actor").cast(Message::Note(note)).await.unwrap();
    let closed = tokio::time::timeout(support::PATIENCE, peer.closed()).await.expect("it is noticed");
    assert!(closed.contains("turned away"), "closed for another reason: {closed}");
}
