//! One node hears that another is denied, and with that all do.

mod support;

use covenant_cluster::MemberState;
use covenant_identity::{NodeKey, Taken};
use covenant_runtime::DownReason;
use covenant_transport::{CloseCode, DialError, Plane};
use covenant_types::{CallError, NodeId};
use support::{AMPLE, Identity, Message, Node, PATIENCE, deaf, denial, eventually, path};

fn deny(at: &Node, id: NodeId) {
    assert_eq!(at.credentials.deny(denial(id)), Ok(Taken::New));
}

fn is_denied(node: &Node, id: NodeId) -> bool {
    node.credentials.denials().list().of_key(id).is_some()
}

fn is_connected(node: &Node, id: NodeId) -> bool {
    node.cluster.transport().is_some_and(|transport| transport.peer(id).is_some())
}

/// Four nodes that see each other; the third is the one that will be denied.
async fn four() -> (Node, Node, Node, Node) {
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot(&[one.address()]).await;
    let bad = Identity::new("bad").boot(&[one.address()]).await;
    let four = Identity::new("four").boot(&[one.address()]).await;
    for node in [&one, &two, &bad, &four] {
        node.until_reachable(&["one", "two", "bad", "four"]).await;
    }
    (one, two, bad, four)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_close_their_connections_to_a_denied_node_and_end_its_calls_and_monitors() {
    let (one, two, bad, four) = four().await;
    let (id, name) = (bad.cluster.me().id, bad.name());
    let monitor = four.cluster.monitor(&name, &path("actor")).unwrap();
    let actor = four.actor(&name, "actor");
    let call = tokio::spawn(async move { actor.call(Message::Hold, PATIENCE).await });
    let watched = || bad.system.ties(&path("actor")).map_or(0, |ties| ties.monitored_from_outside);
    eventually("the call and the monitor are there", || bad.cluster.answering() > 0 && watched() == 1).await;

    deny(&one, id);
    let closed = async {
        for node in [&one, &two, &four] {
            node.until_state(&name, MemberState::Removed).await;
            eventually("its connection is closed", || !is_connected(node, id)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), closed).await.expect("within five seconds");
    let down = tokio::time::timeout(PATIENCE, monitor).await.expect("the monitor fires");
    assert_eq!(down.reason, DownReason::NoConnection);
    assert_eq!(call.await.unwrap(), Err(CallError::NoConnection));
    for node in [&one, &two, &four] {
        let transport = bad.cluster.transport().unwrap();
        let refused = transport.connect(node.address(), None).await.unwrap_err();
        assert!(matches!(refused, DialError::Refused { code: CloseCode::Revoked, .. }), "{refused}");
        node.until_reachable(&["one", "two", "four"]).await;
    }
    assert!(is_denied(&four, id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_hears_of_it_when_it_is_back_and_a_later_boot_stays_out() {
    let one = Identity::new("one").boot(&[]).await;
    let (mut away, mut bad) = (Identity::new("away"), Identity::new("bad"));
    let (id, gone) = (bad.key.node_id(), away.boot(&[one.address()]).await);
    let first = bad.boot(&[one.address()]).await;
    one.until_reachable(&["one", "away", "bad"]).await;
    gone.kill();
    first.kill();
    deny(&one, id);
    let bad_again = bad.boot(&[one.address()]).await;
    let away_again = away.boot(&[one.address(), bad_again.address()]).await;
    eventually("it was told", || is_denied(&away_again, id)).await;
    eventually("it has no connection to it", || !is_connected(&away_again, id)).await;
    away_again.until_reachable(&["one", "away"]).await;
    one.until_state(&bad.name, MemberState::Removed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_has_the_name_and_takes_the_place_of_whoever_was_removed() {
    let (one, two, bad, four) = four().await;
    let (id, name) = (bad.cluster.me().id, bad.name());
    deny(&two, id);
    four.until_state(&name, MemberState::Removed).await;
    let next = Identity::new("bad").boot(&[one.address()]).await;
    for node in [&one, &two, &four, &next] {
        node.until_reachable(&["one", "two", "bad", "four"]).await;
        let named = node.cluster.members().into_iter().filter(|member| member.name == name);
        assert_eq!(named.map(|member| member.id).collect::<Vec<_>>(), [next.cluster.me().id]);
    }
    let answer = four.actor(&name, "actor").call(|reply| Message::Echo(vec![5], reply), AMPLE).await;
    assert_eq!(answer, Ok(vec![5]));
    drop(bad);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_passes_on_a_forged_denial_is_thrown_out_and_denies_nobody() {
    let (one, two, _bad, _four) = four().await;
    let victim = two.cluster.me().id;
    // Somebody else's denial, with the victim's id put in.
    let mut bytes = denial(NodeId([1; 16])).bytes().to_vec();
    let at = bytes.windows(16).position(|window| window == [1; 16]).unwrap();
    bytes[at..at + 16].copy_from_slice(&victim.0);
    let mut frame = vec![11];
    frame.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&bytes);
    let (_transport, peer) = deaf::connect(&Identity::new("liar"), &one).await;
    let mut feed = peer.open_uni(Plane::Feed).await.unwrap();
    feed.write_frame(&frame).await.unwrap();
    tokio::time::timeout(PATIENCE, peer.closed()).await.expect("the connection is closed");
    assert_eq!(one.counts.of("covenant_cluster_denials_refused_total"), 1);
    assert!(!is_denied(&one, victim));
    one.until_reachable(&["one", "two", "bad", "four"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_genuine_denial_counts_whoever_passed_it_on_and_an_overlong_one_does_not() {
    let (one, _two, bad, _four) = four().await;
    let elsewhere = NodeKey::generate().node_id();
    deny(&bad, elsewhere);
    eventually("it is passed on", || is_denied(&one, elsewhere)).await;
    let (_transport, peer) = deaf::connect(&Identity::new("liar"), &one).await;
    let mut feed = peer.open_uni(Plane::Feed).await.unwrap();
    let mut frame = vec![11, 0x10, 0];
    frame.extend_from_slice(&[0; 0x1000]);
    feed.write_frame(&frame).await.unwrap();
    tokio::time::timeout(PATIENCE, peer.closed()).await.expect("the connection is closed");
    assert_eq!(one.credentials.denials().list().len(), 1);
}
