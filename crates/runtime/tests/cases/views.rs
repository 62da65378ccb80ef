//! What can be seen from outside: the tree, events, metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Ask, End, Gate, Rig, eventually, probes, subtree};
use covenant_env::{Env, Metrics};
use covenant_runtime::{ActorKind, ActorState, RuntimeEvent, TreeView};
use covenant_types::{ExitReason, Incarnation};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

#[tokio::test]
async fn the_tree_shows_every_path_with_what_it_does_and_survives_json() {
    let main = format!("intensity = 9\n{}{}", probes("", &[("a", "mailbox = { capacity = 5 }")]), subtree("sub", ""));
    let mut rig = Rig::start(&main, &[("sub", &probes("", &[("b", "")]))]).await;
    rig.end("/a", End::Error).await;
    rig.start_of("/a").await;
    rig.until("/a", ActorState::Running).await;
    let gate = Gate::new();
    rig.probe("/a").cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.probe("/a").cast(Ask::Note(1)).await.unwrap();

    let tree = rig.system.tree();
    assert_eq!((tree.path.as_str(), tree.kind, tree.state), ("/", ActorKind::Supervisor, ActorState::Running));
    let paths: Vec<_> = tree.children.iter().map(|child| child.path.as_str()).collect();
    assert_eq!(paths, ["/a", "/sub"], "in start order");
    let a = tree.find(&"/a".parse().unwrap()).unwrap();
    assert_eq!((a.incarnation, a.restarts, a.state), (Incarnation(2), 1, ActorState::Running));
    assert_eq!(a.behaviour.as_deref(), Some("probe"));
    let mailbox = a.mailbox.unwrap();
    assert_eq!((mailbox.depth, mailbox.capacity, mailbox.dropped), (2, 5, 0), "the message in hand counts");
    let b = tree.find(&"/sub/b".parse().unwrap()).unwrap();
    assert_eq!((b.kind, b.incarnation, b.restarts), (ActorKind::Worker, Incarnation(1), 0));
    let json = serde_json::to_string(&tree).unwrap();
    assert_eq!(serde_json::from_str::<TreeView>(&json).unwrap(), tree);
    assert!(json.contains(r#""state":"running""#), "{json}");
    gate.open();
}

#[tokio::test]
async fn events_tell_starts_exits_and_escalations_in_order() {
    let main = format!("intensity = 1\n{}", subtree("sub", ""));
    let mut rig = Rig::start(&main, &[("sub", &probes("intensity = 0", &[("a", "")]))]).await;
    rig.end("/sub/a", End::Error).await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.push(rig.wait_for(|_| true).await);
    }
    let path = |text: &str| text.parse().unwrap();
    let (one, two) = (Incarnation(1), Incarnation(2));
    let error = ExitReason::Error("told to".to_owned());
    assert_eq!(
        seen,
        [
            RuntimeEvent::Exited { path: path("/sub/a"), incarnation: one, reason: error },
            RuntimeEvent::Escalated { path: path("/sub"), incarnation: one, reason: ExitReason::Shutdown },
            RuntimeEvent::Exited { path: path("/sub"), incarnation: one, reason: ExitReason::Shutdown },
            RuntimeEvent::Started { path: path("/sub/a"), incarnation: two },
            RuntimeEvent::Started { path: path("/sub"), incarnation: two },
        ]
    );
}

/// Values by name and path.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Recorded {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }
    fn raw(&self, name: &str) -> Option<u64> {
        self.0.lock().unwrap().get(name).map(|value| value.load(Ordering::Acquire))
    }
    fn gauge(&self, name: &str) -> Option<f64> {
        self.raw(name).map(f64::from_bits)
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_mailbox_depth_and_unkillable_tasks_are_metrics_of_this_node() {
    let recorded = Recorded::default();
    let work = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let here = tokio::runtime::Handle::current();
    let env = Env::real(here, work.handle().clone(), 1, Metrics::new(recorded.clone()));
    let mut rig = Rig::start_in(env, &probes("", &[("a", "kill_grace = \"10ms\"")]), &[]).await.unwrap();
    assert_eq!(recorded.raw("covenant_actor_restarts_total{path=/a}"), None, "made on first use");
    rig.end("/a", End::Panic).await;
    rig.start_of("/a").await;
    assert_eq!(recorded.raw("covenant_actor_restarts_total{path=/a}"), Some(1));

    let gate = Gate::new();
    rig.probe("/a").cast(Ask::Spin(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.probe("/a").cast(Ask::Note(1)).await.unwrap();
    rig.system.tree();
    assert_eq!(recorded.gauge("covenant_mailbox_depth{path=/a}"), Some(2.0));
    rig.kill("/a").await;
    eventually(|| recorded.gauge("covenant_unkillable_tasks{}") == Some(1.0)).await;
    gate.open();
    eventually(|| recorded.gauge("covenant_unkillable_tasks{}") == Some(0.0)).await;
    work.shutdown_background();
}
