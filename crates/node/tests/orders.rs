//! Who ends actors of a node, other nodes and operators: what the audit log says of it.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::sync::{Arc, LazyLock};

use covenant_cluster::MemberState;
use covenant_env::RealClock;
use covenant_node::api::{CreateToken, TokenCreated};
use covenant_node::audit::{self, AuditLine};
use covenant_node::{BootError, Trees};
use covenant_runtime::{
    ActorState, Behaviour, BehaviourRegistry, Callers, Context, Exit, KillError, NoConfig, Ref, Remotable, StartError,
};
use covenant_types::{Incarnation, NodeName, Region, RemotePath, Role};
use serde_json::json;
use support::{Running, World, free_udp, get, post, wait_for};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Lets a servant serve.
static LET_SERVE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

/// What a servant is told.
#[derive(Debug, Remotable)]
#[remotable(name = "test.servant/1")]
enum ToServant {
    Serve,
}

/// An actor that hubs may end.
struct Servant;

impl Behaviour for Servant {
    type Config = NoConfig;
    type Message = ToServant;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose_to(Callers::any().ended_by(&[Role::Hub]));
        Ok(Self)
    }
    async fn handle(&mut self, ToServant::Serve: ToServant, _: &Context<Self>) -> Result<(), Exit> {
        LET_SERVE.acquire().await.map(drop).map_err(Exit::error)
    }
}

fn registry() -> BehaviourRegistry {
    let mut registry = covenant_node::registry();
    registry.register::<Servant>("test.servant");
    registry
}

async fn boot(world: &World, name: &str, trees: Trees) -> Result<Running, BootError> {
    let handle = Handle::current();
    world.boot_on(name, trees, registry(), Arc::new(RealClock::new()), [handle.clone(), handle]).await
}

fn lines(world: &World, name: &str) -> Vec<AuditLine> {
    let path = world.dir(name).join("audit.jsonl");
    audit::verify(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<AuditLine>(line).unwrap());
    lines.collect()
}

/// The built-in trees give way to one with a servant.
fn trees(world: &World) -> Trees {
    let folder = world.dir("trees");
    std::fs::create_dir_all(&folder).unwrap();
    let tree =
        "strategy = \"one_for_one\"\nintensity = 9\n\n[[child]]\nid = \"servant\"\nbehaviour = \"test.servant\"\n";
    for role in ["hub", "tower"] {
        std::fs::write(folder.join(format!("{role}.toml")), tree).unwrap();
    }
    Trees::folder(&folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_another_node_is_a_line_of_the_audit_log_done_or_refused() {
    let world = World::new();
    let trees = trees(&world);
    world.make("hub-one", free_udp());
    let hub = boot(&world, "hub-one", trees.clone()).await.unwrap();
    let request =
        CreateToken { role: Role::Tower, region: Region::Asia, name: NodeName::new("tower-two").unwrap(), ttl_s: 60 };
    let made = post(&hub.socket(), "/v1/token", &json!(request)).await.unwrap();
    let made: TokenCreated = serde_json::from_value(made).unwrap();
    world.join("tower-two", &made.token).await.unwrap();
    let tower = boot(&world, "tower-two", trees).await.unwrap();
    let sees_both = |node: &&Running| {
        let members = node.node().cluster().members();
        members.iter().filter(|member| member.state == MemberState::Reachable).count() == 2
    };
    wait_for(|| [&hub, &tower].iter().all(sees_both)).await;

    let of_tower: RemotePath = "tower-two:/servant".parse().unwrap();
    hub.node().system().kill(&of_tower).await.unwrap();
    let next_runs = || {
        let tree = tower.node().system().tree();
        tree.find(&"/servant".parse().unwrap()).is_some_and(|actor| actor.incarnation == Incarnation(2))
    };
    wait_for(|| next_runs() && tower.runs("/servant")).await;
    hub.node().system().stop_actor(&of_tower).await.unwrap();
    let of_hub: RemotePath = "hub-one:/servant".parse().unwrap();
    for _ in 0..3 {
        let refused = tower.node().system().kill(&of_hub).await;
        assert!(matches!(refused, Err(KillError::Abroad { .. })), "{refused:?}");
    }

    // They were answered, so the lines are there.
    let said = |name: &str| -> Vec<[String; 5]> {
        let acts = lines(&world, name).into_iter().map(|line| line.act);
        let acts = acts.filter(|act| act.who.starts_with("node "));
        acts.map(|act| [act.who, act.verb, act.target, act.after, act.result]).collect()
    };
    let by_hub = |verb: &str, after: &str| ["node hub-one (hub)", verb, "/servant", after, "ok"].map(str::to_owned);
    assert_eq!(said("tower-two"), [by_hub("actor kill", "killed"), by_hub("actor stop", "stopped")]);
    let refused = said("hub-one");
    assert_eq!(refused.len(), 1, "one a minute: {refused:?}");
    assert_eq!(refused[0][..4], ["node tower-two (tower)", "actor kill", "/servant", ""].map(str::to_owned));
    assert!(refused[0][4].contains("not allowed"), "{refused:?}");
    tower.stop().await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_whose_caller_is_gone_before_its_end_is_a_line_of_the_audit_log_all_the_same() {
    let world = World::new();
    world.make("hub-one", free_udp());
    let hub = boot(&world, "hub-one", trees(&world)).await.unwrap();
    let path = "/servant".parse().unwrap();
    let servant: Ref<ToServant> = hub.node().system().lookup(&path).unwrap();
    servant.cast(ToServant::Serve).await.unwrap();
    let is_draining = || {
        let tree = hub.node().system().tree();
        tree.find(&path).is_some_and(|actor| actor.state == ActorState::Draining)
    };
    let (socket, drain) = (hub.socket(), json!({ "path": "/servant", "deadline_ms": 60_000 }));
    tokio::select! {
        // The request has to be on its way before anybody looks what came of it.
        biased;
        answer = post(&socket, "/v1/actor/drain", &drain) => panic!("it has nothing to wait for: {answer:?}"),
        () = wait_for(is_draining) => {} // and the connection is closed
    }
    // Answered on another one, so the node has heard of that by now.
    get(&socket, "/v1/status").await.unwrap();
    LET_SERVE.add_permits(1);
    wait_for(|| std::fs::read_to_string(world.dir("hub-one").join("audit.jsonl")).unwrap().contains("actor drain"))
        .await;
    let acts: Vec<_> = lines(&world, "hub-one").into_iter().map(|line| line.act).collect();
    let [drain] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!((drain.target.ends_with("/servant"), drain.result.as_str()), (true, "ok"), "{drain:?}");
    hub.stop().await;
}
