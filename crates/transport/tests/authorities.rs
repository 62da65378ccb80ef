//! Who may sign whom, and roots that are replaced while connections stand.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use covenant_identity::{Adoption, IssuingAuthority, NodeKey, RootAuthority, Scope, make_csr};
use covenant_transport::{DialError, NodeCredentials};
use covenant_types::Region;
use support::{Node, Paper, echo, grant, now};

/// The chain of a hub in Africa by an authority for this scope, whose program does not keep to it.
fn chain_by(paper: &Paper, key: &NodeKey, scope: Scope) -> Vec<Vec<u8>> {
    let hub = NodeKey::generate();
    let real = paper.root.sign_issuing(&make_csr(&hub), scope, now()).unwrap();
    let everywhere = paper.root.sign_issuing(&make_csr(&hub), Scope::Everywhere, now()).unwrap();
    let lying = IssuingAuthority::assemble(hub, everywhere, paper.root.certificate().to_vec()).unwrap();
    let leaf = lying.sign_node(&make_csr(key), &grant("node"), now()).unwrap();
    vec![leaf, real, paper.root.certificate().to_vec()]
}

#[tokio::test]
async fn a_node_signed_by_the_authority_of_another_region_is_refused_by_both_ends() {
    let paper = Paper::new("demo");
    let hub = Node::start(&paper, paper.node("hub"), 1);
    for (scope, welcome) in [(Scope::Region(Region::Africa), true), (Scope::Region(Region::Asia), false)] {
        let key = Arc::new(NodeKey::generate());
        let chain = chain_by(&paper, &key, scope);
        let roots = vec![paper.root.certificate().to_vec()];
        let node = Node::start(&paper, Arc::new(NodeCredentials::new(key, chain, roots).unwrap()), 1);
        let dials = node.transport.connect(hub.address(), None).await;
        assert_eq!(dials.is_ok(), welcome, "{scope}: {dials:?}");
        let is_dialled = hub.transport.connect(node.address(), None).await;
        assert_eq!(is_dialled.is_ok(), welcome, "{scope}: {is_dialled:?}");
        if let Err(DialError::Failed { reason, .. }) = is_dialled {
            assert!(reason.contains("an authority for asia may not sign the node node"), "{reason}");
        }
    }
}

#[tokio::test]
async fn roots_are_replaced_while_a_connection_stands_and_who_missed_it_is_told_apart() {
    let (paper, new) = (Paper::new("demo"), RootAuthority::create("demo", now()).unwrap());
    let nodes = ["one", "two"].map(|name| Node::start(&paper, paper.node(name), 1));
    let [one, two] = &nodes;
    let late = Node::start(&paper, paper.node("late"), 1);
    let peer = one.transport.connect(two.address(), None).await.unwrap();
    let all_adopt = |statement: &[u8]| {
        for node in &nodes {
            assert_eq!(node.credentials.adopt_roots(statement), Ok(Adoption::New));
        }
    };
    let trusted = || one.credentials.trusted();

    all_adopt(&trusted().prepare(&paper.root, &new, now()).unwrap());
    assert_ne!(one.credentials.mark(), late.credentials.mark());
    assert_eq!(one.credentials.mark(), two.credentials.mark());
    all_adopt(&trusted().switch(&new).unwrap());
    let issuing = new.issue_issuing(now()).unwrap();
    let under_old = two.credentials.mark().under;
    let leaf = issuing.sign_node(&make_csr(two.credentials.key()), &grant("two"), now()).unwrap();
    two.credentials.replace_chain(issuing.chain_for(leaf)).unwrap();
    assert_ne!(two.credentials.mark().under, under_old);
    // Both ways, old chain and new.
    let third = Node::start(&paper, paper.node("third"), 1);
    third.credentials.adopt_roots(&trusted().to_bytes()).unwrap();
    third.transport.connect(two.address(), None).await.unwrap();
    assert!(late.transport.connect(two.address(), None).await.is_err(), "it does not know the new root");

    let leaf = issuing.sign_node(&make_csr(one.credentials.key()), &grant("one"), now()).unwrap();
    one.credentials.replace_chain(issuing.chain_for(leaf)).unwrap();
    all_adopt(&trusted().finish(&new, false, now()).unwrap());
    assert!(late.transport.connect(one.address(), None).await.is_err());
    let fourth = Node::start(&paper, paper.node("fourth"), 1);
    assert!(fourth.transport.connect(one.address(), None).await.is_err(), "the old root counts no more");
    assert_eq!(echo(&peer, "through all of it").await.as_deref(), Some("through all of it"));
    assert!(!one.heard.events().iter().any(|event| event.starts_with("down two")), "{:?}", one.heard.events());
}
