//! Case 67, X12 and X16: over two nodes, each with its own endpoint on loopback.

mod names;
#[path = "../../../../crates/cluster/tests/support/mod.rs"]
mod support;

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use covenant_cluster::MemberState;
use covenant_runtime::{Down, DownReason, RuntimeEvent};
use covenant_types::{ActorPath, ExitReason, Incarnation, NodeName};
use tokio::runtime::{Builder, Runtime};

use names::{AGAIN, Where, ask, end, holder, program};
use support::{Identity, Node, PATIENCE, eventually};

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

/// The first node.
async fn first(main: &str) -> Node {
    let (tree, registry) = program(main, &[]);
    Identity::new("one").boot_with(&[], tree, registry).await
}

/// The other node, which joins it.
async fn joined(one: &Node, main: &str, files: &[(&str, &str)]) -> Node {
    let (tree, registry) = program(main, files);
    Identity::new("two").boot_with(&[one.address()], tree, registry).await
}

/// Asks for the name at `one` until whoever has it there is as wanted, and sends it what is given.
async fn until_named(one: &Node, name: &str, wanted: impl Fn(&Where) -> bool) -> Where {
    let asking = async {
        loop {
            match ask(one, name).await {
                Some(found) if wanted(&found) => break found,
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{name} is not as wanted in time"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_global_supervisor() {
    let subtree = |id: &str| format!("intensity = 9\n[[child]]\nid = \"{id}\"\ntree = \"{id}\"\n");
    let worker = "intensity = 9\n[[child]]\nid = \"w\"\nbehaviour = \"named\"\nconfig = { name = \"worker\" }\n";
    let files = [("outer", subtree("inner")), ("inner", worker.to_owned())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let one = first("").await;
    let two = joined(&one, &subtree("outer"), &files).await;
    let now = |incarnation: u32| move |found: &Where| found.incarnation == Incarnation(incarnation);
    let found = until_named(&one, "worker", now(1)).await;
    assert_eq!((found.node.as_str(), found.path.as_str()), ("two", "/outer/inner/w"));

    // The supervisor is killed, then the worker, then the worker exits: each time the name leads to the next one.
    two.system.kill(&path("/outer/inner")).await.unwrap();
    until_named(&one, "worker", now(2)).await;
    two.system.kill(&found.path).await.unwrap();
    until_named(&one, "worker", now(3)).await;
    end(&one, "worker").await;
    until_named(&one, "worker", now(4)).await;

    // Terminated, it has no name; restarted, it has it again.
    two.system.terminate_child(&found.path).await.unwrap();
    eventually("nobody has the name", || holder(&one, "worker").is_none()).await;
    two.system.restart_child(&found.path).await.unwrap();
    until_named(&one, "worker", now(5)).await;
    assert_eq!(two.system.tree().find(&path("/outer")).unwrap().incarnation, Incarnation(1));
    assert_eq!(two.system.tree().find(&path("/outer/inner")).unwrap().incarnation, Incarnation(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x12_name_conflicts_are_not_counted() {
    let solo = "[[child]]\nid = \"solo\"\nbehaviour = \"named\"\nconfig = { name = \"solo\" }\n\
                backoff = { min = \"20ms\", max = \"40ms\" }\n";
    let calm = "[[child]]\nid = \"calm\"\nbehaviour = \"named\"\nconfig = { name = \"calm\" }\n";
    let one = first(solo).await;
    until_named(&one, "solo", |found| found.node.as_str() == "one").await;
    eventually("its claims no longer yield to others", || one.cluster.has_settled()).await;
    // Its supervisor forgives nothing.
    let two = joined(&one, &format!("intensity = 0\n{calm}{solo}"), &[]).await;
    let mut events = two.system.events();
    let mut conflicts = 0;
    while conflicts < 5 {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            RuntimeEvent::Exited { path, reason, .. } => {
                assert_eq!((path.as_str(), reason), ("/solo", ExitReason::NameConflict("one:/solo".to_owned())));
                conflicts += 1;
            }
            RuntimeEvent::Started { .. } => {}
            other @ (RuntimeEvent::StartFailed { .. }
            | RuntimeEvent::Escalated { .. }
            | RuntimeEvent::Unkillable { .. }) => panic!("{other:?}"),
        }
    }
    assert_eq!(until_named(&one, "solo", |_| true).await.node.as_str(), "one");

    // The holder ends for good: whoever tries next has the name.
    one.system.terminate_child(&path("/solo")).await.unwrap();
    let found = until_named(&one, "solo", |found| found.node.as_str() == "two").await;
    assert!(found.incarnation > Incarnation(5), "{found:?}");
    assert_eq!(until_named(&one, "calm", |_| true).await.incarnation, Incarnation(1), "its sibling never noticed");
    // Any other end is one too many.
    end(&one, "solo").await;
    assert_eq!(tokio::time::timeout(PATIENCE, two.system.ended()).await.unwrap(), ExitReason::Shutdown);
}

/// What fired, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Down>>>);

impl Heard {
    /// Watches `at` on `node` from `from`, and notes each time it fires.
    fn watch(&self, from: &Node, node: &NodeName, at: &str) {
        let (heard, monitor) = (Arc::clone(&self.0), from.cluster.monitor(node, &path(at)).unwrap());
        drop(tokio::spawn(async move {
            let down = monitor.await;
            heard.lock().unwrap().push(down);
        }));
    }

    /// Path and reason of all, once there are so many.
    async fn until(&self, count: usize) -> Vec<String> {
        eventually("so many fired", || self.0.lock().unwrap().len() >= count).await;
        let heard = self.0.lock().unwrap();
        let mut told: Vec<String> = heard
            .iter()
            .map(|down| format!("{}:{} {:?}", down.node.as_ref().unwrap(), down.path, down.reason))
            .collect();
        told.sort();
        told
    }
}

/// A runtime of one thread, for a node that is to stand still.
struct Thread(Option<Runtime>);

impl Thread {
    fn new() -> Self {
        Self(Some(Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().unwrap()
    }

    /// Lets nothing run on it, not even its sockets, until what this returns is dropped.
    async fn freeze(&self) -> Sender<()> {
        let (thaw, thawed) = channel();
        let (stands, still) = tokio::sync::oneshot::channel();
        drop(self.runtime().spawn(async move {
            stands.send(()).unwrap();
            thawed.recv().unwrap_err();
        }));
        still.await.unwrap();
        thaw
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x16_a_remote_monitor_fires_once() {
    let one = Identity::new("one").boot(&[]).await;
    let (thread, seed) = (Thread::new(), one.address());
    let two = thread.runtime().spawn(async move { Identity::new("two").boot(&[seed]).await }).await.unwrap();
    one.until_reachable(&["one", "two"]).await;
    let (name, heard) = (two.name(), Heard::default());
    let held = |at: &str| two.system.ties(&path(at)).unwrap().monitored_from_outside == 1;

    // What never was is told at once: the path by the other node, the node by this one.
    heard.watch(&one, &name, "/nobody");
    heard.watch(&one, &NodeName::new("never").unwrap(), "/actor");
    assert_eq!(heard.until(2).await, ["never:/actor NoConnection", "two:/nobody NoProc"]);
    // One that ends while its node is there is told of with its reason, and not again when the node goes.
    heard.watch(&one, &name, "/other");
    eventually("it is held", || held("/other")).await;
    two.system.kill(&path("/other")).await.unwrap();
    let killed = format!("two:/other {:?}", DownReason::Exited(ExitReason::Killed));
    assert_eq!(heard.until(3).await, ["never:/actor NoConnection", "two:/nobody NoProc", &killed]);

    // The node stands still, without a word. Whoever sees it down has heard of all its actors, and of what never was there.
    heard.watch(&one, &name, "/");
    let monitor = one.cluster.monitor(&name, &path("/actor")).unwrap();
    eventually("both are held", || held("/") && held("/actor")).await;
    let thaw = thread.freeze().await;
    let nobody = one.cluster.monitor(&name, &path("/nobody")).unwrap();
    one.until_state(&name, MemberState::Down).await;
    for monitor in [monitor, nobody] {
        let down = tokio::time::timeout(Duration::ZERO, monitor).await.expect("it fired before the node was seen down");
        assert_eq!((down.reason, down.incarnation), (DownReason::NoConnection, None));
    }
    heard.watch(&one, &name, "/nobody");
    let all =
        ["never:/actor NoConnection", "two:/ NoConnection", "two:/nobody NoConnection", "two:/nobody NoProc", &killed];
    assert_eq!(heard.until(5).await, all);

    // It goes on, and all ends there that was watched: nothing fires twice.
    drop(thaw);
    one.until_reachable(&["one", "two"]).await;
    eventually("what it held is let go", || !held("/") && !held("/actor")).await;
    let again = one.cluster.monitor(&name, &path("/")).unwrap();
    two.system.stop(PATIENCE).await;
    assert_eq!(again.await.reason, DownReason::Exited(ExitReason::Shutdown));
    assert_eq!(heard.until(5).await, all);
}
