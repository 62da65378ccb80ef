//! What two nodes, or a node and its authority, come to disagree about is an incident that says what to do.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::MemberState;
use covenant_env::{Clock, RealClock};
use covenant_identity::{RootAuthority, Scope};
use covenant_node::Trees;
use covenant_node::api::ca::{AuthorityRequested, InstallAuthority};
use covenant_node::api::{CreateToken, TokenCreated};
use covenant_runtime::{Behaviour, BehaviourRegistry, Context, Exit, NoConfig, Remotable, StartError};
use covenant_types::{NodeName, Region, Role};
use covenant_watch::{Incident, IncidentKind};
use serde_json::json;
use support::{Ahead, Running, World, free_udp, get, post};
use tokio::runtime::Handle;

const DAY: u64 = 24 * 3600;

/// Asks a node until its incidents of this kind are as wanted.
async fn until(node: &Running, kind: IncidentKind, wanted: impl Fn(&[Incident]) -> bool) -> Vec<Incident> {
    let asking = async {
        loop {
            let incidents = get(&node.socket(), "/v1/incidents").await.unwrap();
            let mut incidents: Vec<Incident> = serde_json::from_value(incidents).unwrap();
            incidents.retain(|incident| incident.kind == kind);
            if wanted(&incidents) {
                return incidents;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("the incidents come to what is wanted")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_ends_soon_is_an_incident_until_another_is_in_its_place() {
    let world = World::new();
    world.first().await.stop().await;
    let ahead = Ahead::new();
    ahead.put_forward(25 * DAY);
    let hub = world.boot_at("hub-one", Trees::built_in(), ahead.clone()).await.unwrap();
    let open = until(&hub, IncidentKind::Authority, |incidents| !incidents.is_empty()).await;
    assert_eq!((open.len(), open[0].subject.as_str()), (1, "hub-one"));
    let what = &open[0].evidence[0].what;
    assert!(what.contains("ends within 7 days") && what.contains("covenant ca issue hub-one"), "{what}");

    let pem = std::fs::read_to_string(world.dir("hub-one").join("root/root.pem")).unwrap();
    let root = RootAuthority::from_pem(&pem).unwrap();
    let asked = post(&hub.socket(), "/v1/ca/request", &json!(null)).await.unwrap();
    let asked: AuthorityRequested = serde_json::from_value(asked).unwrap();
    let certificate = root.sign_issuing(&asked.csr, Scope::Everywhere, ahead.wall()).unwrap();
    let install = InstallAuthority { certificate, root: root.certificate().to_vec() };
    post(&hub.socket(), "/v1/ca/install", &json!(install)).await.unwrap();
    // Its own certificate is of the one before until it is renewed.
    post(&hub.socket(), "/v1/cert/rotate", &json!(null)).await.unwrap();
    until(&hub, IncidentKind::Authority, |incidents| incidents.iter().all(|incident| !incident.is_open())).await;
    hub.stop().await;
}

/// One build's message of a name.
#[derive(Debug, Remotable)]
#[remotable(name = "test.moved/1")]
enum Before {
    Moved(u32),
}

/// Another's.
#[derive(Debug, Remotable)]
#[remotable(name = "test.moved/1")]
enum After {
    Moved(u64),
}

struct Mover<M>(std::marker::PhantomData<fn(M)>);

impl<M: Remotable> Behaviour for Mover<M> {
    type Config = NoConfig;
    type Message = M;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        Ok(Self(std::marker::PhantomData))
    }
    async fn handle(&mut self, _: M, _: &Context<Self>) -> Result<(), Exit> {
        Ok(())
    }
}

async fn boot<M: Remotable>(world: &World, name: &str, trees: &Trees) -> Running {
    let mut registry: BehaviourRegistry = covenant_node::registry();
    registry.register::<Mover<M>>("test.mover");
    let handle = Handle::current();
    let clock = Arc::new(RealClock::new());
    world.boot_on(name, trees.clone(), registry, clock, [handle.clone(), handle]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_type_that_differs_is_an_incident_on_both_nodes_until_one_build_runs_on_both() {
    let world = World::new();
    let folder = world.dir("trees");
    std::fs::create_dir_all(&folder).unwrap();
    let top = "strategy = \"one_for_one\"\nintensity = 9\n\n[[child]]\nid = ";
    let tree = format!("{top}\"watch\"\ntree = \"watch\"\n\n[[child]]\nid = \"mover\"\nbehaviour = \"test.mover\"\n");
    let watch = format!("{top}\"watcher\"\nbehaviour = \"watch.watcher\"\n");
    for (name, text) in [("hub", &tree), ("tower", &tree), ("watch", &watch)] {
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
    let trees = Trees::folder(&folder);
    world.make("hub-one", free_udp());
    let hub = boot::<Before>(&world, "hub-one", &trees).await;
    let name = NodeName::new("tower-two").unwrap();
    let request = CreateToken { role: Role::Tower, region: Region::Asia, name: name.clone(), ttl_s: 60 };
    let made: TokenCreated =
        serde_json::from_value(post(&hub.socket(), "/v1/token", &json!(request)).await.unwrap()).unwrap();
    world.join("tower-two", &made.token).await.unwrap();
    let tower = boot::<After>(&world, "tower-two", &trees).await;

    for (node, other) in [(&hub, "tower-two"), (&tower, "hub-one")] {
        let open = until(node, IncidentKind::SchemaDiffers, |incidents| !incidents.is_empty()).await;
        assert_eq!((open.len(), open[0].subject.as_str()), (1, other));
        assert!(open[0].evidence[0].what.contains("test.moved/1"), "{:?}", open[0].evidence);
    }
    tower.stop().await;
    let tower = boot::<Before>(&world, "tower-two", &trees).await;
    until(&hub, IncidentKind::SchemaDiffers, |incidents| incidents.iter().all(|incident| !incident.is_open())).await;
    support::wait_for(|| {
        let members = hub.node().cluster().members();
        members.iter().any(|member| member.name == name && member.state == MemberState::Reachable)
    })
    .await;
    let again = until(&tower, IncidentKind::SchemaDiffers, |_| true).await;
    assert_eq!(again, [], "one build runs on both");
    tower.stop().await;
    hub.stop().await;
}
