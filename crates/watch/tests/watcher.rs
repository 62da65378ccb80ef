//! The watcher in a running tree, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covenant_env::Env;
use covenant_runtime::{
    Behaviour, BehaviourRegistry, BootError, Context, Exit, Resources, StartError, System, SystemConfig,
};
use covenant_supervision::{TreeSource, TreeSourceError, load_tree};
use covenant_types::{ActorPath, BootEpoch, NodeName};
use covenant_watch::{Incident, IncidentKind, MemberLook, MemberState, Members, Message};

/// An actor that does nothing, so that the tests can kill it.
#[derive(Debug)]
struct Idle;

impl Behaviour for Idle {
    type Config = toml::Table;
    type Message = ();

    async fn start(_: toml::Table, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self)
    }
    async fn handle(&mut self, (): (), _: &Context<Self>) -> Result<(), Exit> {
        Ok(())
    }
}

/// One tree in memory.
struct Tree(String);

impl TreeSource for Tree {
    fn read(&self, _: &str) -> Result<String, TreeSourceError> {
        Ok(self.0.clone())
    }
}

async fn start(watcher_config: &str, resources: Resources) -> Result<System, BootError> {
    let tree = format!(
        "strategy = \"one_for_one\"\nintensity = 5\nperiod = \"60s\"\n\n\
         [[child]]\nid = \"watcher\"\nbehaviour = \"watch.watcher\"\nconfig = {{ {watcher_config} }}\n\n\
         [[child]]\nid = \"idle\"\nbehaviour = \"test.idle\"\n"
    );
    let mut registry = BehaviourRegistry::new();
    covenant_watch::register(&mut registry);
    registry.register::<Idle>("test.idle");
    let tree = load_tree("test", &Tree(tree)).expect("the tree is valid");
    System::start(SystemConfig { env: Env::for_test(1), tree, registry, resources }).await
}

fn path(text: &str) -> ActorPath {
    text.parse().expect("it is a path")
}

/// Asks until the incidents satisfy `wanted`.
async fn until(system: &System, wanted: impl Fn(&[Incident]) -> bool) -> Vec<Incident> {
    let watcher = system.lookup::<Message>(&path("/watcher")).expect("the watcher is in the tree");
    let ask = async {
        loop {
            let incidents = watcher.call(Message::List, Duration::from_secs(1)).await.expect("the watcher answers");
            if wanted(&incidents) {
                return incidents;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), ask).await.expect("the incidents come to what is wanted")
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_is_killed_again_and_again_becomes_an_incident_and_closes_when_left_alone() {
    let system = start("members = false", Resources::new()).await.expect("the tree starts");
    let mut events = system.events();
    for _ in 0..3 {
        system.kill(&path("/idle")).await.expect("it can be killed");
        while !matches!(
            events.recv().await,
            Ok(covenant_runtime::RuntimeEvent::Started { path: started, .. }) if started == path("/idle")
        ) {}
    }
    let open = until(&system, |incidents| !incidents.is_empty()).await;
    assert_eq!((open[0].kind, open[0].subject.as_str()), (IncidentKind::RestartRate, "/idle"));
    assert!(open[0].evidence[0].what.ends_with("after killed"), "{:?}", open[0].evidence);
    let closed = until(&system, |incidents| incidents.iter().all(|incident| !incident.is_open())).await;
    assert!(closed[0].closed_ms.expect("it is closed") - closed[0].opened_ms >= 60_000);
    system.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_lost_becomes_an_incident_and_closes_when_it_is_back() {
    let lost = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&lost);
    let mut resources = Resources::new();
    resources.insert(Arc::new(Members::new(move || {
        let state = if seen.load(Ordering::Relaxed) { MemberState::Down } else { MemberState::Reachable };
        vec![MemberLook { name: NodeName::new("hub-asia").expect("it is a name"), state, epoch: BootEpoch(3) }]
    })));
    let system = start("", resources).await.expect("the tree starts");
    let open = until(&system, |incidents| !incidents.is_empty()).await;
    assert_eq!((open[0].kind, open[0].subject.as_str()), (IncidentKind::MemberState, "hub-asia"));
    lost.store(false, Ordering::Relaxed);
    until(&system, |incidents| !incidents[0].is_open()).await;
    system.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn thresholds_that_would_flap_and_a_missing_cluster_are_refused_at_the_start() {
    for config in ["members = false, mailbox_close_percent = 90", "members = false, restarts = 0", ""] {
        assert!(start(config, Resources::new()).await.is_err(), "{config}");
    }
}
