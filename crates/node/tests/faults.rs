//! Faults that a node holds on itself, over its control API.
#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use covenant_cluster::MemberState;
use covenant_node::api::ErrorKind;
use covenant_node::api::fault::{FaultSet, Faults};
use serde_json::{Value, json};
use support::{Running, World, get, post, wait_for};

fn sees(node: &Running, name: &str, state: MemberState) -> bool {
    node.node().cluster().members().iter().any(|member| member.name.as_str() == name && member.state == state)
}

fn request(spec: &Value, dry_run: bool) -> Value {
    json!({ "spec": spec, "ttl_ms": 60_000, "dry_run": dry_run })
}

async fn faults(node: &Running) -> Faults {
    serde_json::from_value(get(&node.socket(), "/v1/faults").await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_cut_off_by_name_answers_its_operator_meanwhile_and_is_back_when_the_fault_is_lifted() {
    let world = World::new();
    let first = world.first().await;
    let second = world.joined(&first, "tower-two").await;
    wait_for(|| sees(&first, "tower-two", MemberState::Reachable) && sees(&second, "hub-one", MemberState::Reachable))
        .await;

    let cut = json!({ "fault": { "type": "partition" }, "direction": "both", "peer": { "node": "tower-two" } });
    let plan = post(&first.socket(), "/v1/fault/set", &request(&cut, true)).await.unwrap();
    let plan: FaultSet = serde_json::from_value(plan).unwrap();
    assert!(plan.lease.is_none() && plan.consequences.iter().any(|line| line.contains("called down")));
    assert!(faults(&first).await.holding.is_empty(), "a dry run sets nothing");

    let set = post(&first.socket(), "/v1/fault/set", &request(&cut, false)).await.unwrap();
    let id = serde_json::from_value::<FaultSet>(set).unwrap().lease.unwrap().id;
    wait_for(|| sees(&first, "tower-two", MemberState::Down) && sees(&second, "hub-one", MemberState::Down)).await;
    let holding = faults(&first).await.holding;
    assert!(holding[0].id == id && holding[0].effects.blocked > 0 && holding[0].left_ms <= 60_000, "{holding:?}");
    assert!(first.node().render_metrics().contains("covenant_transport_faults 1"));
    post(&first.socket(), "/v1/fault/renew", &json!({ "id": id, "ttl_ms": 90_000 })).await.unwrap();
    assert!(faults(&first).await.holding[0].left_ms > 60_000);

    post(&first.socket(), "/v1/fault/lift", &json!({ "id": id })).await.unwrap();
    wait_for(|| sees(&first, "tower-two", MemberState::Reachable) && sees(&second, "hub-one", MemberState::Reachable))
        .await;
    let after = faults(&first).await;
    assert!(after.holding.is_empty() && after.ended[0].effects.blocked > 0, "what it did is still known: {after:?}");
    let audit = std::fs::read_to_string(world.dir("hub-one").join("audit.jsonl")).unwrap();
    assert!(audit.contains("hub-one: partition with tower-two") && audit.contains("fault lift"), "{audit}");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_could_do_nothing_or_never_end_is_refused_and_not_set() {
    let world = World::new();
    let first = world.first().await;
    let spec = |peer: Value| json!({ "fault": { "type": "loss", "ratio": 0.2 }, "direction": "out", "peer": peer });
    let cases = [
        (request(&spec(json!({ "node": "hub-nowhere" })), false), ErrorKind::NotFound),
        (request(&spec(json!({ "node": "hub-one" })), false), ErrorKind::Usage),
        (json!({ "spec": spec(json!("all")), "ttl_ms": 0, "dry_run": false }), ErrorKind::Usage),
        (json!({ "spec": spec(json!("all")), "ttl_ms": 90_000_000_000_u64, "dry_run": false }), ErrorKind::Usage),
        (json!({ "spec": spec(json!("all")), "dry_run": false }), ErrorKind::Usage),
        (
            request(&json!({ "fault": { "type": "loss", "ratio": 2 }, "direction": "out", "peer": "all" }), false),
            ErrorKind::Usage,
        ),
        (request(&json!({ "fault": { "type": "los" }, "direction": "out", "peer": "all" }), false), ErrorKind::Usage),
    ];
    for (request, kind) in cases {
        let error = post(&first.socket(), "/v1/fault/set", &request).await.unwrap_err();
        assert_eq!(error.kind, kind, "{request}: {error}");
    }
    let error = post(&first.socket(), "/v1/fault/lift", &json!({ "id": 1 })).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(faults(&first).await.holding.is_empty());
    first.stop().await;
}
