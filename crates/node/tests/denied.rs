//! Certificates that are taken back, nodes that are given up, and their successors.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use covenant_cluster::MemberState;
use covenant_env::Env;
use covenant_identity::TrustedRoots;
use covenant_node::api::cert::{CertStatus, Life, NodeReplaced};
use covenant_node::api::{ApiError, ErrorKind};
use covenant_node::audit;
use covenant_transport::join::{JoinError, JoinRefusal, Renewal, renew};
use covenant_types::NodeId;
use serde_json::{Value, json};
use support::{Running, World, certified, get, operator, post, wait_for};

fn state(node: &Running, name: &str) -> Option<MemberState> {
    let members = node.node().cluster().members();
    members.into_iter().find(|member| member.name.as_str() == name).map(|member| member.state)
}

fn id_of(node: &Running) -> NodeId {
    node.node().cluster().me().id
}

async fn status(node: &Running) -> CertStatus {
    serde_json::from_value(get(&node.socket(), "/v1/cert").await.unwrap()).unwrap()
}

async fn revoke(node: &Running, who: Value) -> Result<Value, ApiError> {
    let request = json!({ "who": who, "reason": "stolen", "dry_run": false });
    post(&node.socket(), "/v1/cert/revoke", &request).await
}

async fn remove(node: &Running, name: &str, force: bool) -> Result<Value, ApiError> {
    let request = json!({ "node": name, "force": force, "reason": "", "dry_run": false });
    post(&node.socket(), "/v1/node/remove", &request).await
}

async fn replace(node: &Running, name: &str, force: bool) -> Result<Value, ApiError> {
    let request = json!({ "node": name, "force": force, "reason": "", "ttl_s": 60, "dry_run": false });
    post(&node.socket(), "/v1/node/replace", &request).await
}

/// What a node hears that asks `hub` for a fresh certificate.
async fn renewal(world: &World, name: &str, hub: (NodeId, SocketAddr)) -> Result<(), JoinError> {
    let node = world.node_identity(name);
    let trusted = TrustedRoots::of(&node.cluster, node.roots[0].clone()).unwrap();
    let env = Env::for_test(3);
    let renewal = Renewal { trusted, floor: env.wall(), issuers: vec![hub], chain: node.chain };
    renew(&renewal, &node.key, &env).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_is_cut_off_is_not_renewed_and_its_successor_has_its_name() {
    let world = World::new();
    let hub = world.first().await;
    let (bad, other) = (world.joined(&hub, "tower-bad").await, world.joined(&hub, "tower-other").await);
    wait_for(|| {
        [&hub, &bad, &other].iter().all(|node| {
            ["hub-one", "tower-bad", "tower-other"].iter().all(|name| state(node, name) == Some(MemberState::Reachable))
        })
    })
    .await;
    let (bad_id, issuing) = (id_of(&bad), (id_of(&hub), hub.listen()));
    assert!(renewal(&world, "tower-bad", issuing).await.is_ok(), "until then it is renewed");
    let before = status(&other).await;
    assert_eq!((before.members.len(), before.denied.len()), (3, 0));
    assert!(
        before.members.iter().all(|member| member.life == Life::Fresh && member.issuer == before.members[0].issuer)
    );

    let plan = json!({ "who": { "node": "tower-bad" }, "reason": "stolen", "dry_run": true });
    let plan = post(&hub.socket(), "/v1/cert/revoke", &plan).await.unwrap();
    assert!(plan["consequences"].to_string().contains("cannot be taken back"), "{plan}");
    assert_eq!(state(&hub, "tower-bad"), Some(MemberState::Reachable), "asking does nothing");

    revoke(&hub, json!({ "node": "tower-bad" })).await.unwrap();
    let cut = async {
        wait_for(|| [&hub, &other].iter().all(|node| state(node, "tower-bad") == Some(MemberState::Removed))).await;
        wait_for(|| bad.node().cluster().transport().unwrap().peers().is_empty()).await;
    };
    tokio::time::timeout(Duration::from_secs(5), cut).await.expect("within five seconds");
    assert_eq!(renewal(&world, "tower-bad", issuing).await, Err(JoinError::Refused(JoinRefusal::Revoked)));
    let denied = status(&other).await.denied;
    assert_eq!((denied[0].id, denied[0].reason.as_str(), denied.len()), (Some(bad_id), "stolen", 1));
    assert_eq!(revoke(&hub, json!({ "node": bad_id.to_string() })).await.unwrap_err().kind, ErrorKind::Conflict);

    let made: NodeReplaced = serde_json::from_value(replace(&hub, "tower-bad", false).await.unwrap()).unwrap();
    assert_eq!((made.node.as_str(), made.id), ("tower-bad", bad_id));
    world.join("tower-next", &made.token.unwrap().token).await.unwrap();
    let next = world.boot("tower-next").await.unwrap();
    wait_for(|| [&hub, &other, &next].iter().all(|node| state(node, "tower-bad") == Some(MemberState::Reachable)))
        .await;
    assert_ne!(id_of(&next), bad_id);
    let taken = replace(&hub, &bad_id.to_string(), false).await.unwrap_err();
    assert_eq!(taken.kind, ErrorKind::Conflict, "{taken}");

    // The list outlives the process, and counts from the first moment.
    hub.stop().await;
    let hub = world.boot("hub-one").await.unwrap();
    assert_eq!(status(&hub).await.denied[0].id, Some(bad_id));
    assert_eq!(renewal(&world, "tower-bad", issuing).await, Err(JoinError::Refused(JoinRefusal::Revoked)));
    let log = world.dir("hub-one").join("audit.jsonl");
    let lines = std::fs::read_to_string(&log).unwrap();
    for words in ["\"cert revoke\"", "\"node replace\"", "denied; token"] {
        assert!(lines.contains(words), "{words} is not in {lines}");
    }
    audit::verify(&log).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_operator_is_cut_off_at_once_and_a_new_certificate_counts() {
    let world = World::new();
    let hub = world.first().await;
    let (ada, eve) = (certified(&hub, "ada", "admin").await, certified(&hub, "eve", "admin").await);
    let ask = |who| operator(who, hub.control(), "hub-one", "GET", "/v1/members", None);
    assert!(ask(&eve).await.is_ok());
    let follow = json!({ "after": 0, "follow_ms": 600_000 });
    let following = operator(&eve, hub.control(), "hub-one", "POST", "/v1/events", Some(&follow));
    let denying = async {
        let own = json!({ "who": { "operator": "ada" }, "reason": "", "dry_run": false });
        let own = operator(&ada, hub.control(), "hub-one", "POST", "/v1/cert/revoke", Some(&own)).await;
        assert_eq!(own.unwrap_err().kind, ErrorKind::Conflict, "an answer could not reach her");
        let eves = json!({ "who": { "operator": "eve" }, "reason": "left", "dry_run": false });
        operator(&ada, hub.control(), "hub-one", "POST", "/v1/cert/revoke", Some(&eves)).await.unwrap();
    };
    let cut = async { tokio::join!(following, denying).0 };
    let cut = tokio::time::timeout(Duration::from_secs(20), cut).await.expect("the stream is cut off");
    assert!(cut.is_err());
    assert!(ask(&eve).await.is_err(), "no handshake any more");
    assert!(ask(&ada).await.is_ok(), "others go on");

    let again = certified(&hub, "eve", "viewer").await;
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    let counts = async {
        // It begins a second after the denial.
        while ask(&again).await.is_err() {
            pause.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counts).await.expect("the new certificate counts");
    assert!(ask(&eve).await.is_err(), "and the old one does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_denied_or_not_by_whom_is_refused_and_nothing_changes() {
    let world = World::new();
    let hub = world.first().await;
    let tower = world.joined(&hub, "tower-two").await;
    wait_for(|| state(&hub, "tower-two") == Some(MemberState::Reachable)).await;
    let kind = |result: Result<Value, ApiError>| result.unwrap_err().kind;
    assert_eq!(kind(revoke(&hub, json!({ "node": "tower-nine" })).await), ErrorKind::NotFound);
    assert_eq!(kind(revoke(&hub, json!({ "node": "hub-one" })).await), ErrorKind::Refused);
    assert_eq!(kind(revoke(&hub, json!({ "node": "x".repeat(33) })).await), ErrorKind::Usage);
    assert_eq!(kind(revoke(&hub, json!({ "operator": "Ada" })).await), ErrorKind::Usage);
    let issuer = status(&hub).await.members[0].issuer.to_string();
    assert_eq!(kind(revoke(&hub, json!({ "node": issuer })).await), ErrorKind::Refused, "the branch it sits on");
    assert_eq!(kind(revoke(&tower, json!({ "node": "hub-one" })).await), ErrorKind::Refused, "it has no authority");
    for reason in ["x".repeat(201), "\u{1b}[2J".to_owned()] {
        let request = json!({ "who": { "node": "tower-two" }, "reason": reason, "dry_run": false });
        assert_eq!(kind(post(&hub.socket(), "/v1/cert/revoke", &request).await), ErrorKind::Usage);
    }
    let refused = remove(&hub, "tower-two", false).await.unwrap_err();
    assert!(refused.kind == ErrorKind::Refused && refused.message.contains("reachable"), "{refused}");
    assert_eq!(kind(replace(&hub, "tower-two", false).await), ErrorKind::Refused);
    assert_eq!(kind(replace(&hub, &NodeId([1; 16]).to_string(), true).await), ErrorKind::NotFound);
    for (role, path, body) in [
        ("viewer", "/v1/cert/revoke", json!({ "who": { "node": "tower-two" }, "reason": "", "dry_run": true })),
        ("operator", "/v1/node/remove", json!({ "node": "nobody", "force": true, "reason": "", "dry_run": false })),
        (
            "chaos",
            "/v1/node/replace",
            json!({ "node": "nobody", "force": true, "reason": "", "ttl_s": 9, "dry_run": true }),
        ),
    ] {
        let person = certified(&hub, role, role).await;
        let refused = operator(&person, hub.control(), "hub-one", "POST", path, Some(&body)).await;
        assert_eq!(kind(refused), ErrorKind::Denied, "{role}");
        assert!(operator(&person, hub.control(), "hub-one", "GET", "/v1/cert", None).await.is_ok(), "{role} may look");
    }
    assert!(status(&hub).await.denied.is_empty());
    assert_eq!(state(&hub, "tower-two"), Some(MemberState::Reachable));

    // A node that is down stays listed until it is removed, and then for good.
    drop(tower);
    wait_for(|| state(&hub, "tower-two") == Some(MemberState::Down)).await;
    remove(&hub, "tower-two", false).await.unwrap();
    wait_for(|| state(&hub, "tower-two") == Some(MemberState::Removed)).await;
    let back = world.boot("tower-two").await.unwrap();
    wait_for(|| back.node().render_metrics().contains("revoked")).await;
    assert_eq!(state(&hub, "tower-two"), Some(MemberState::Removed));
}
