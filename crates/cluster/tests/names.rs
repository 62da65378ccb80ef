//! Names and groups over several nodes.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use covenant_cluster::MemberState;
use covenant_runtime::{
    Behaviour, BehaviourRegistry, Context, Exit, NotEntered, Remotable, Reply, RuntimeEvent, StartError,
};
use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, load_tree};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation, LinkTier, Name, Region, Role, Scope};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use support::{AMPLE, Identity, Node, PATIENCE, eventually, path};

/// An actor that takes names and joins groups as it is told.
struct Named;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct NamedConfig {
    name: String,
    group: String,
}

enum ToNamed {
    Who(Reply<Answer>),
    Register(String, Reply<Answer>),
    Join(String, Scope, Reply<Answer>),
    Leave(String, Reply<Answer>),
}

#[derive(Serialize, Deserialize)]
enum Request {
    Who,
    Register(String),
    Join(String, Scope),
    Leave(String),
}

/// The incarnation, or who has the name.
type Answer = Result<Incarnation, String>;

impl Remotable for ToNamed {
    const NAME: &'static str = "test.names.named";
    type Request = Request;
    type Response = Answer;

    fn into_remote(self) -> (Request, Option<Reply<Answer>>) {
        match self {
            Self::Who(reply) => (Request::Who, Some(reply)),
            Self::Register(name, reply) => (Request::Register(name), Some(reply)),
            Self::Join(group, scope, reply) => (Request::Join(group, scope), Some(reply)),
            Self::Leave(group, reply) => (Request::Leave(group), Some(reply)),
        }
    }

    fn from_remote(request: Request, reply: Option<Reply<Answer>>) -> Result<Self, String> {
        let reply = reply.ok_or("these are calls")?;
        Ok(match request {
            Request::Who => Self::Who(reply),
            Request::Register(name) => Self::Register(name, reply),
            Request::Join(group, scope) => Self::Join(group, scope, reply),
            Request::Leave(group) => Self::Leave(group, reply),
        })
    }
}

impl Behaviour for Named {
    type Config = NamedConfig;
    type Message = ToNamed;

    async fn start(config: NamedConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        if !config.name.is_empty() {
            ctx.register(&config.name)?;
        }
        if !config.group.is_empty() {
            ctx.join_group(&config.group, Scope::Region)?;
        }
        Ok(Self)
    }

    async fn handle(&mut self, message: ToNamed, ctx: &Context<Self>) -> Result<(), Exit> {
        let told = |result: Result<(), NotEntered>| result.map(|()| ctx.incarnation()).map_err(|why| why.to_string());
        match message {
            ToNamed::Who(reply) => reply.send(Ok(ctx.incarnation())),
            ToNamed::Register(name, reply) => reply.send(told(ctx.register(&name))),
            ToNamed::Join(group, scope, reply) => reply.send(told(ctx.join_group(&group, scope))),
            ToNamed::Leave(group, reply) => {
                ctx.leave_group(&group);
                reply.send(told(Ok(())));
            }
        }
        Ok(())
    }
}

fn tree(text: &str) -> (TreeSpec, BehaviourRegistry) {
    struct OneFile(String);
    impl TreeSource for OneFile {
        fn read(&self, _: &str) -> Result<String, TreeSourceError> {
            Ok(self.0.clone())
        }
    }
    let mut registry = BehaviourRegistry::new();
    registry.register::<Named>("named");
    let text = format!("strategy = \"one_for_one\"\n{text}");
    (load_tree("main", &OneFile(text)).unwrap_or_else(|error| panic!("{error}")), registry)
}

/// A child of the tree.
fn child(id: &str, config: &str) -> String {
    let backoff = "backoff = { min = \"10ms\", max = \"20ms\" }";
    format!("[[child]]\nid = \"{id}\"\nbehaviour = \"named\"\n{backoff}\nconfig = {{ {config} }}\n")
}

async fn node(identity: &mut Identity, seeds: &[&Node], text: &str) -> Node {
    let seeds: Vec<_> = seeds.iter().map(|node| node.address()).collect();
    let (tree, registry) = tree(text);
    identity.boot_with(&seeds, tree, registry).await
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Who has the name, as this node sees it.
fn holder(node: &Node, text: &str) -> Option<String> {
    node.cluster.holder(&name(text)).map(|place| format!("{}:{}{}", place.node, place.path, stale(place.stale)))
}

/// Who is in the group, as this node sees it, sorted.
fn members(node: &Node, group: &str) -> Vec<String> {
    let mut found: Vec<String> = node
        .cluster
        .group_places(&name(group))
        .into_iter()
        .map(|place| format!("{}:{}{}", place.node, place.path, stale(place.stale)))
        .collect();
    found.sort();
    found
}

fn stale(stale: bool) -> &'static str {
    if stale { " (stale)" } else { "" }
}

async fn ask(node: &Node, id: &str, message: impl FnOnce(Reply<Answer>) -> ToNamed) -> Answer {
    node.system.lookup::<ToNamed>(&path(id)).unwrap().call(message, AMPLE).await.unwrap()
}

async fn all_reachable(nodes: &[&Node]) {
    let names: Vec<String> = nodes.iter().map(|node| node.name().to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for node in nodes {
        node.until_reachable(&names).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_seen_everywhere_and_gone_with_their_actors() {
    let one = node(&mut Identity::new("one"), &[], &child("a", "group = \"g\"")).await;
    let two = node(&mut Identity::new("two"), &[&one], &child("b", "group = \"g\"")).await;
    let three = node(&mut Identity::new("three"), &[&one], &child("c", "")).await;
    all_reachable(&[&one, &two, &three]).await;
    for node in [&one, &two, &three] {
        eventually("all see both", || members(node, "g") == ["one:/a", "two:/b"]).await;
    }
    // One joins while all look on, and is told like the others; one that is local is not seen.
    ask(&three, "c", |reply| ToNamed::Join("g".into(), Scope::Global, reply)).await.unwrap();
    ask(&three, "c", |reply| ToNamed::Join("hidden".into(), Scope::Local, reply)).await.unwrap();
    eventually("one sees all", || members(&one, "g") == ["one:/a", "three:/c", "two:/b"]).await;
    assert_eq!(members(&one, "hidden"), [""; 0]);
    let group = one.cluster.group::<ToNamed>("g").unwrap();
    assert_eq!(group.count(), 3);
    for member in group.members() {
        assert_eq!(member.reference.call(ToNamed::Who, AMPLE).await, Ok(Ok(Incarnation(1))), "{member:?}");
    }
    // Keys have one taker, whoever asks.
    eventually("two sees all", || members(&two, "g").len() == 3).await;
    let other = two.cluster.group::<ToNamed>("g").unwrap();
    for key in 0..32u8 {
        let (here, there) = (group.pick(&[key]).unwrap(), other.pick(&[key]).unwrap());
        assert_eq!((&here.node, &here.path), (&there.node, &there.path), "key {key}");
    }
    // They leave by themselves when they end for good, and not when they crash.
    two.system.kill(&path("b")).await.unwrap();
    ask(&three, "c", |reply| ToNamed::Leave("g".into(), reply)).await.unwrap();
    eventually("two are left", || members(&one, "g") == ["one:/a", "two:/b"]).await;
    two.system.terminate_child(&path("b")).await.unwrap();
    eventually("one is left", || members(&three, "g") == ["one:/a"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_said_is_not_seen_and_its_next_boot_says_it_again() {
    let text = child("a", "group = \"g\", name = \"n\"");
    let one = node(&mut Identity::new("one"), &[], &child("b", "")).await;
    let mut identity = Identity::new("two");
    let two = node(&mut identity, &[&one], &text).await;
    eventually("it is seen", || holder(&one, "n").is_some() && members(&one, "g") == ["two:/a"]).await;
    let name_of_two = two.name();
    two.kill();
    one.until_state(&name_of_two, MemberState::Down).await;
    eventually("it is gone", || holder(&one, "n").is_none() && members(&one, "g").is_empty()).await;
    assert_eq!(one.cluster.whereis::<ToNamed>("n").err(), Some(CallError::NoProc));
    let _two = node(&mut identity, &[&one], &text).await;
    eventually("it is seen again", || holder(&one, "n").is_some() && members(&one, "g") == ["two:/a"]).await;
}

/// The next exit of `at`.
async fn exit_of(events: &mut broadcast::Receiver<RuntimeEvent>, at: &ActorPath) -> ExitReason {
    let waiting = async {
        loop {
            if let RuntimeEvent::Exited { path, reason, .. } = events.recv().await.unwrap()
                && path == *at
            {
                return reason;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_has_one_holder_in_the_cluster_and_is_free_when_that_has_gone() {
    let one = node(&mut Identity::new("one"), &[], &child("a", "name = \"n\"")).await;
    let two = node(&mut Identity::new("two"), &[&one], &format!("intensity = 0\n{}", child("b", ""))).await;
    eventually("it is known", || holder(&two, "n").as_deref() == Some("one:/a")).await;
    let refused = ask(&two, "b", |reply| ToNamed::Register("n".into(), reply)).await;
    assert_eq!(refused, Err("one:/a has the name n".to_owned()));
    let far = two.cluster.whereis::<ToNamed>("n").unwrap();
    assert_eq!(far.call(ToNamed::Who, AMPLE).await, Ok(Ok(Incarnation(1))));
    one.system.kill(&path("a")).await.unwrap();
    eventually("it is back", || one.system.tree().find(&path("a")).unwrap().incarnation == Incarnation(2)).await;
    assert_eq!(far.call(ToNamed::Who, AMPLE).await, Ok(Ok(Incarnation(2))), "a name survives a crash");
    one.system.terminate_child(&path("a")).await.unwrap();
    eventually("it is free", || holder(&two, "n").is_none()).await;
    ask(&two, "b", |reply| ToNamed::Register("n".into(), reply)).await.unwrap();
    eventually("it is known", || holder(&one, "n").as_deref() == Some("two:/b")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_claimed_a_name_apart_one_is_left_and_no_budget_is_spent() {
    let text = format!("intensity = 0\n{}", child("a", "name = \"n\""));
    let one = node(&mut Identity::new("one"), &[], &text).await;
    let two = node(&mut Identity::new("two"), &[], &text).await;
    let (mut of_one, mut of_two) = (one.system.events(), two.system.events());
    assert_eq!((holder(&one, "n").unwrap(), holder(&two, "n").unwrap()), ("one:/a".to_owned(), "two:/a".to_owned()));
    // They had never heard of each other, and meet by a third.
    let three = node(&mut Identity::new("three"), &[&one, &two], &child("b", "")).await;
    all_reachable(&[&one, &two, &three]).await;
    eventually("all agree", || {
        let all: Vec<_> = [&one, &two, &three].iter().map(|node| holder(node, "n")).collect();
        all[0].is_some() && all.iter().all(|each| *each == all[0])
    })
    .await;
    let winner = holder(&three, "n").unwrap();
    let (loser, reason) = if winner == "one:/a" {
        (&two, exit_of(&mut of_two, &path("a")).await)
    } else {
        (&one, exit_of(&mut of_one, &path("a")).await)
    };
    assert_eq!(reason, ExitReason::NameConflict(winner.clone()));
    // Its supervisor forgives nothing, and tries again and again.
    let mut events = loser.system.events();
    let mut failed = 0;
    while failed < 5 {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            RuntimeEvent::StartFailed { reason, .. } => {
                assert_eq!(reason, ExitReason::NameConflict(winner.clone()));
                failed += 1;
            }
            other @ (RuntimeEvent::Started { .. }
            | RuntimeEvent::Exited { .. }
            | RuntimeEvent::Escalated { .. }
            | RuntimeEvent::Unkillable { .. }) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_takes_no_name_from_one_that_runs() {
    let one = node(&mut Identity::new("one"), &[], &child("a", "name = \"n\"")).await;
    // What is claimed at a start yields to others for a while.
    tokio::time::timeout(PATIENCE, async {
        while !one.cluster.has_settled() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    for round in 0..3 {
        let late = node(&mut Identity::new(&format!("late-{round}")), &[&one], &child("a", "name = \"n\"")).await;
        eventually("it knows the holder", || holder(&late, "n").as_deref() == Some("one:/a")).await;
        assert_eq!(holder(&one, "n").as_deref(), Some("one:/a"));
        late.cluster.leave().await;
    }
    assert_eq!(ask(&one, "a", ToNamed::Who).await, Ok(Incarnation(1)), "it never noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_that_sleeps_said_is_stale_and_its_names_stay_its_own() {
    let one = node(&mut Identity::new("one"), &[], &child("a", "")).await;
    let two = node(&mut Identity::new("two"), &[&one], &child("b", "name = \"n\", group = \"g\"")).await;
    let three = node(&mut Identity::new("three"), &[&one], &child("c", "group = \"g\"")).await;
    all_reachable(&[&one, &two, &three]).await;
    eventually("all is seen", || members(&one, "g") == ["three:/c", "two:/b"] && holder(&one, "n").is_some()).await;
    let until = covenant_types::WallTime(now() + 600);
    two.cluster.sleep(until).await.unwrap();
    one.until_state(&two.name(), MemberState::Asleep).await;
    eventually("it is stale", || members(&one, "g") == ["three:/c", "two:/b (stale)"]).await;
    assert_eq!(holder(&one, "n").as_deref(), Some("two:/b (stale)"));
    let refused = ask(&one, "a", |reply| ToNamed::Register("n".into(), reply)).await;
    assert_eq!(refused, Err("two:/b has the name n".to_owned()));
    let group = one.cluster.group::<ToNamed>("g").unwrap();
    let picks_one_that_is_there = |key: u8| group.pick(&[key]).unwrap().path == path("c");
    assert!((0..32).all(picks_one_that_is_there));
    assert!(two.cluster.wake().await);
    eventually("it is awake", || members(&one, "g") == ["three:/c", "two:/b"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_laid_out_in_pools_names_and_groups_go_by_way_of_hubs() {
    let places = [
        ("hub-a", Role::Hub, Region::Africa, LinkTier::Lan),
        ("hub-b", Role::Hub, Region::Africa, LinkTier::Lan),
        ("hub-c", Role::Hub, Region::Asia, LinkTier::Lan),
        ("tower-a", Role::Tower, Region::Africa, LinkTier::Lan),
        ("tower-c", Role::Tower, Region::Asia, LinkTier::Lan),
        ("leaf", Role::Tower, Region::Africa, LinkTier::Satellite),
    ];
    let mut nodes: Vec<Node> = Vec::new();
    for (place, role, region, tier) in places {
        let seeds: Vec<&Node> = nodes.first().into_iter().collect();
        let text = child("a", &format!("name = \"of.{place}\", group = \"near\""));
        let joined = node(&mut Identity::placed(place, role, region, tier), &seeds, &text).await;
        nodes.push(joined);
    }
    all_reachable(&nodes.iter().collect::<Vec<_>>()).await;
    assert!(nodes[5].cluster.peer(&nodes[3].name()).is_none(), "the leaf and the tower have no connection");
    for node in &nodes {
        ask(node, "a", |reply| ToNamed::Join("far".into(), Scope::Global, reply)).await.unwrap();
    }
    for node in &nodes {
        for (place, ..) in places {
            eventually("all know all names", || holder(node, &format!("of.{place}")).is_some()).await;
        }
        eventually("all see the global group", || members(node, "far").len() == 6).await;
        let region = node.cluster.me().region;
        let near = places.iter().filter(|(_, _, of, _)| *of == region).count();
        eventually("each sees its region", || members(node, "near").len() == near).await;
    }
}

fn now() -> u64 {
    covenant_env::Env::for_test(0).wall().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_something_lives_is_asked_of_the_nodes_that_have_it() {
    let text = format!("{}{}", child("a", "group = \"g\""), child("b", "name = \"n\""));
    let one = node(&mut Identity::new("one"), &[], &text).await;
    let two = node(&mut Identity::new("two"), &[&one], &child("a", "group = \"g\"")).await;
    all_reachable(&[&one, &two]).await;
    eventually("all is seen", || members(&two, "g").len() == 2 && holder(&two, "n").is_some()).await;
    one.system.kill(&path("b")).await.unwrap();
    eventually("it is back", || one.system.sight(&path("b")).unwrap().incarnation == Incarnation(2)).await;
    let found = async |what: &str| -> Vec<String> {
        let whereabouts = two.cluster.locate(&what.parse().unwrap()).await;
        assert_eq!((whereabouts.silent.len(), whereabouts.unseen), (0, 0));
        let line = |found: covenant_cluster::Found| {
            let sight = found.sight.map(|sight| format!("{} #{}", sight.state, sight.incarnation));
            format!("{}:{} {:?} {}", found.node, found.path, found.found_as, sight.unwrap_or_default())
        };
        whereabouts.found.into_iter().map(line).collect()
    };
    assert_eq!(found("/a").await, ["one:/a Path running #1", "two:/a Path running #1"]);
    assert_eq!(found("/b").await, ["one:/b Path running #2"]);
    assert_eq!(found("two:/b").await, [""; 0]);
    assert_eq!(found("n").await, ["one:/b Name running #2"]);
    assert_eq!(found("g").await, ["one:/a Member running #1", "two:/a Member running #1"]);
    assert_eq!(found("nobody").await, [""; 0]);
    assert!("Not A Name".parse::<covenant_cluster::Sought>().is_err());
}
