//! Single actors of a real node: why they crashed, what can be seen of them, and holding them.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::path::PathBuf;

use covenant_node::api::ErrorKind;
use covenant_node::api::actor::{Capsule, CrashSummary};
use covenant_node::{BootError, audit};
use covenant_runtime::{CrashContext, Decision, Inspection};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{Running, World, free_udp, get, post, post_traced, wait_for};

const WARMER: &str = "/sync/warmer";

async fn ask<T: DeserializeOwned>(node: &Running, path: &str) -> T {
    serde_json::from_value(get(&node.socket(), path).await.unwrap()).unwrap()
}

async fn act(node: &Running, verb: &str) -> Result<Value, covenant_node::api::ApiError> {
    post(&node.socket(), &format!("/v1/actor/{verb}"), &json!({ "path": WARMER })).await
}

fn files(world: &World) -> Vec<PathBuf> {
    let files = std::fs::read_dir(world.dir("hub-one").join("crashes")).into_iter().flatten();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_of_one_kind_are_one_capsule_that_outlives_the_node() {
    let world = World::new();
    let node = world.first().await;
    assert!(ask::<Vec<CrashSummary>>(&node, "/v1/crashes").await.is_empty());
    for _ in 0..3 {
        act(&node, "kill").await.unwrap();
        wait_for(|| node.runs(WARMER)).await;
    }
    wait_for(|| files(&world).len() == 1).await;
    node.stop().await;

    let file = files(&world).remove(0);
    let kept: Capsule = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((kept.first.path.as_str(), kept.class.as_str(), kept.count), (WARMER, "killed", 3));
    assert_eq!((kept.first.incarnation.0, kept.last_incarnation.0), (1, 3));
    let mended: Vec<_> = kept.chain.iter().map(|link| (link.supervisor.as_str(), link.did, link.times)).collect();
    assert_eq!(mended, [("/sync", Decision::Restarted, 3)]);

    let node = world.boot("hub-one").await.unwrap();
    act(&node, "kill").await.unwrap();
    let mut times = 0;
    while times != 4 {
        let list: Vec<CrashSummary> = ask(&node, "/v1/crashes").await;
        assert_eq!(list.len(), 1, "the stop of a node is no crash: {list:?}");
        times = list[0].count;
    }
    let shown: Capsule = ask(&node, &format!("/v1/crashes/{}", kept.id)).await;
    assert_eq!((shown.count, shown.first), (4, kept.first));
    let unknown = get(&node.socket(), "/v1/crashes/0123").await.unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::NotFound);
    let metrics = node.node().render_metrics();
    assert!(metrics.contains("covenant_actor_crashes_total 1\n"), "of this run: {metrics}");
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} has no help text");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_is_inspected_suspended_resumed_and_drained_and_each_act_is_a_line() {
    let world = World::new();
    let node = world.first().await;
    let seen: Inspection = serde_json::from_value(act(&node, "inspect").await.unwrap()).unwrap();
    assert_eq!((seen.path.as_str(), seen.incarnation.0, seen.last_crash), (WARMER, 1, None));
    assert_eq!(seen.shown.unwrap()["pinned"], json!([]));
    act(&node, "suspend").await.unwrap();
    assert!(!node.runs(WARMER));
    let seen = act(&node, "inspect").await.unwrap();
    assert_eq!(seen["state"], "suspended");
    assert_eq!(act(&node, "resume").await.unwrap()["was_suspended"], true);
    assert!(node.runs(WARMER));
    assert_eq!(act(&node, "resume").await.unwrap()["was_suspended"], false);
    let drain = async |path: &str, deadline_ms: u64| {
        post(&node.socket(), "/v1/actor/drain", &json!({ "path": path, "deadline_ms": deadline_ms })).await
    };
    let drained = drain(WARMER, 5000).await.unwrap();
    assert_eq!((&drained["complete"], &drained["reason"]), (&json!(true), &json!("shutdown: drained")));
    assert_eq!(drain("/sync", 5000).await.unwrap_err().kind, ErrorKind::Refused);
    assert_eq!(drain("/sync", 600_001).await.unwrap_err().kind, ErrorKind::Usage);
    let root = post(&node.socket(), "/v1/actor/suspend", &json!({ "path": "/sync" })).await.unwrap_err();
    assert_eq!(root.kind, ErrorKind::Refused, "{root}");
    let nobody = post(&node.socket(), "/v1/actor/inspect", &json!({ "path": "/nobody" })).await.unwrap_err();
    assert_eq!(nobody.kind, ErrorKind::NotFound, "{nobody}");
    node.stop().await;

    let log = std::fs::read_to_string(world.dir("hub-one").join("audit.jsonl")).unwrap();
    let lines: Vec<audit::AuditLine> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let acts: Vec<_> = lines.iter().map(|line| (&*line.act.verb, &*line.act.before, &*line.act.after)).collect();
    assert_eq!(
        acts,
        [
            ("actor suspend", "incarnation 1", "suspended"),
            ("actor resume", "suspended", "resumed"),
            ("actor resume", "not suspended", "resumed"),
            ("actor drain", "incarnation 1", "shutdown: drained"),
            ("actor drain", "", ""),
            ("actor suspend", "", ""),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_an_operator_begins_a_trace_that_its_messages_are_part_of() {
    let world = World::new();
    let node = world.first().await;
    let _assessed = post(&node.socket(), "/v1/ledger/assess", &json!({ "year": 2024 })).await.unwrap();
    for _ in 0..2 {
        // It has a vote already, so nothing changes; the desk asks the book of whoever leads all the same.
        let vote = json!({ "node": "hub-one", "add": true });
        let _changed = post(&node.socket(), "/v1/ledger/voters", &vote).await.unwrap();
    }
    let of = async |path: &str| -> Vec<_> {
        let seen = post(&node.socket(), "/v1/actor/inspect", &json!({ "path": path })).await.unwrap();
        let seen: Inspection = serde_json::from_value(seen).unwrap();
        seen.record.unwrap().messages.into_iter().filter_map(|message| message.trace).collect()
    };
    let (desk, book) = (of("/ledger/desk").await, of("/ledger/book").await);
    assert!(desk.len() == 3 && desk[1] != desk[2], "{desk:?}");
    assert_eq!(desk[1..], book[..], "the desk asks the book, and what follows from one request is one trace");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_with_the_trace_that_its_traceparent_names() {
    let world = World::new();
    let node = world.first().await;
    let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let _booked = post_traced(&node.socket(), "/v1/ledger/assess", &json!({ "year": 2023 }), header).await;
    let _booked = post_traced(&node.socket(), "/v1/ledger/assess", &json!({ "year": 2023 }), "00-no-trace-01").await;
    let seen = post(&node.socket(), "/v1/actor/inspect", &json!({ "path": "/ledger/desk" })).await.unwrap();
    // As it leaves the node: a W3C trace id.
    let messages = seen["record"]["messages"].as_array().unwrap();
    let traces: Vec<&str> = messages.iter().filter_map(|message| message["trace"].as_str()).collect();
    assert!(traces.contains(&"00000000000000008448eb211c80319c"), "{traces:?}");
    assert!(traces.iter().all(|trace| trace.len() == 32), "{traces:?}");
    assert!(traces.iter().any(|trace| !trace.ends_with("8448eb211c80319c")), "a trace of its own: {traces:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_fails_leaves_a_capsule_that_says_why() {
    let world = World::new();
    world.make("hub-one", free_udp());
    std::fs::write(world.dir("hub-one").join("content"), "in the way of a folder").unwrap();
    let error = world.boot("hub-one").await.unwrap_err();
    assert!(matches!(error, BootError::System(_)), "{error}");
    let capsules: Vec<Capsule> =
        files(&world).iter().map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()).collect();
    assert_eq!(capsules.len(), 1, "{capsules:?}");
    assert_eq!(
        (capsules[0].first.path.as_str(), capsules[0].first.context),
        ("/content/store", CrashContext::Starting)
    );
    assert_eq!(capsules[0].chain.last().unwrap().did, Decision::GaveUp, "{:?}", capsules[0].chain);
}
