//! Who is denied is refused before any work, dialling and dialled, and thrown out where it is connected.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use covenant_identity::{Denial, DenialError, Denied, NodeKey, PeerIdentity, SignedDenial, Taken, make_csr};
use covenant_transport::{CloseCode, DialError, NodeCredentials, Peer};
use covenant_types::NodeId;
use support::{Node, Paper, now};

fn denial(paper: &Paper, who: Denied) -> SignedDenial {
    let (reason, by) = ("stolen".to_owned(), "the test".to_owned());
    paper.issuing.deny(Denial { who, at: now(), reason, by }).unwrap()
}

fn of(id: NodeId) -> Denied {
    Denied::Key { id, grant: None }
}

fn assert_revoked(result: Result<Peer, DialError>) {
    match result {
        Err(DialError::Refused { code: CloseCode::Revoked, .. }) => {}
        other => panic!("expected that it is refused as revoked, got {other:?}"),
    }
}

/// Two nodes of which the first has heard that the second is denied.
fn one_knows(paper: &Paper) -> (Node, Node) {
    let (one, two) = (Node::start(paper, paper.node("one"), 1), Node::start(paper, paper.node("two"), 1));
    assert_eq!(one.credentials.deny(denial(paper, of(two.credentials.id()))), Ok(Taken::New));
    (one, two)
}

#[tokio::test]
async fn a_denied_node_is_neither_dialled_nor_answered_and_is_told_why() {
    let paper = Paper::new("demo");
    let (one, two) = one_knows(&paper);
    assert_revoked(one.transport.connect(two.address(), None).await);
    assert_revoked(two.transport.connect(one.address(), None).await);
    for node in [&one, &two] {
        assert!(node.heard.events().is_empty(), "no connection came to be: {:?}", node.heard.events());
    }
    let three = Node::start(&paper, paper.node("three"), 1);
    one.transport.connect(three.address(), None).await.expect("others are not meant");
}

#[tokio::test]
async fn a_connection_that_stands_is_closed_when_its_node_is_denied() {
    let paper = Paper::new("demo");
    let (one, two) = (Node::start(&paper, paper.node("one"), 1), Node::start(&paper, paper.node("two"), 1));
    let peer = two.transport.connect(one.address(), None).await.unwrap();
    one.heard.until_heard("up two").await;
    assert_eq!(one.credentials.deny(denial(&paper, of(two.credentials.id()))), Ok(Taken::New));
    let why = tokio::time::timeout(Duration::from_secs(5), peer.closed()).await.expect("within five seconds");
    assert!(why.contains("revoked"), "{why}");
    one.heard.until_heard("down two").await;
    assert_revoked(two.transport.connect(one.address(), None).await);
}

#[tokio::test]
async fn everybody_below_a_denied_authority_is_denied() {
    let paper = Paper::new("demo");
    let (one, authority) = (Node::start(&paper, paper.node("one"), 1), paper.root.issue_issuing(now()).unwrap());
    let id = covenant_identity::key_id_of(authority.certificate()).unwrap();
    let key = NodeKey::generate();
    let certificate = authority.sign_node(&make_csr(&key), &support::grant("two"), now()).unwrap();
    let (chain, roots) = (authority.chain_for(certificate), vec![paper.root.certificate().to_vec()]);
    let two = Node::start(&paper, Arc::new(NodeCredentials::new(Arc::new(key), chain, roots).unwrap()), 1);
    let peer = two.transport.connect(one.address(), None).await.unwrap();
    one.heard.until_heard("up two").await;
    assert_eq!(one.credentials.deny(denial(&paper, of(id))), Ok(Taken::New));
    tokio::time::timeout(Duration::from_secs(5), peer.closed()).await.expect("within five seconds");
    assert_revoked(two.transport.connect(one.address(), None).await);
}

#[tokio::test]
async fn a_forged_denial_and_one_of_another_cluster_deny_nobody() {
    let (ours, theirs) = (Paper::new("demo"), Paper::new("demo"));
    let (one, two) = (Node::start(&ours, ours.node("one"), 1), Node::start(&ours, ours.node("two"), 1));
    let id = two.credentials.id();
    assert_eq!(one.credentials.deny(denial(&theirs, of(id))), Err(DenialError::UnknownRoot));
    let mut bytes = denial(&ours, of(NodeId([1; 16]))).bytes().to_vec();
    let at = bytes.windows(16).position(|window| window == [1; 16]).unwrap();
    bytes[at..at + 16].copy_from_slice(&id.0);
    assert_eq!(one.credentials.deny(SignedDenial::parse(&bytes).unwrap()), Err(DenialError::Forged));
    one.transport.connect(two.address(), None).await.expect("it is not denied");
}

#[tokio::test]
async fn what_was_written_down_counts_from_the_start() {
    let paper = Paper::new("demo");
    let two = Node::start(&paper, paper.node("two"), 1);
    let before: Arc<NodeCredentials> = paper.node("one");
    assert_eq!(before.deny(denial(&paper, of(two.credentials.id()))), Ok(Taken::New));
    let again = paper.node("one");
    again.denials().restore(&before.denials().list());
    let one = Node::start(&paper, again, 2);
    assert_revoked(two.transport.connect(one.address(), None).await);
    let identity = PeerIdentity::from_certificate(&two.credentials.chain()[0]).unwrap();
    assert!(one.credentials.denials().denies::<Vec<u8>>(&identity, &[]));
}
