//! Names and groups of one node's actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Ask, End, LONG, Rig, eventually, inside, probes};
use covenant_runtime::{NotEntered, OtherNodes};
use covenant_types::{ActorPath, CallError, ExitReason, Name, Scope};

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The paths in a group, in order.
fn members(rig: &Rig, group: &str) -> Vec<String> {
    rig.system.group_paths(&name(group)).into_iter().map(|(path, _)| path.to_string()).collect()
}

const FORGIVING: &str = "strategy = \"one_for_one\"; intensity = 100";

#[tokio::test]
async fn a_name_leads_to_its_actor_over_restarts_until_it_ends_for_good() {
    let rig = Rig::start(&probes(FORGIVING, &[("a", "config = { register = \"n\" }")]), &[]).await;
    let who = async || rig.system.whereis::<Ask>("n").unwrap().call(Ask::Who, LONG).await.unwrap().0;
    assert_eq!(who().await, 1);
    rig.end("/a", End::Panic).await;
    assert_eq!(rig.system.named(&name("n")), Some(path("/a")), "also between two incarnations");
    eventually(|| rig.view("/a").incarnation.0 == 2).await;
    assert_eq!(who().await, 2);
    rig.system.terminate_child(&path("/a")).await.unwrap();
    assert_eq!(rig.system.whereis::<Ask>("n").err(), Some(CallError::NoProc));
    rig.system.restart_child(&path("/a")).await.unwrap();
    assert_eq!(who().await, 3);
    assert!(matches!(rig.system.whereis::<Ask>("No Name"), Err(CallError::Rejected(_))));
    assert!(matches!(rig.system.whereis::<u64>("n"), Err(CallError::Rejected(_))), "of another type");
}

#[tokio::test]
async fn a_name_is_given_to_one_actor_and_the_other_is_not_counted() {
    let taken = "restart = \"permanent\"; backoff = { min = \"1ms\", max = \"2ms\" }; config = { register = \"n\" }";
    let strict = "strategy = \"one_for_one\"; intensity = 0";
    let mut rig = Rig::start(&probes(strict, &[("a", "config = { register = \"n\" }"), ("b", "")]), &[]).await;
    let refused = inside(rig.probe("/b"), |ctx| ctx.register("n")).await;
    assert_eq!(refused, Err(NotEntered::Taken { name: name("n"), holder: "/a".to_owned() }));
    let twice = inside(rig.probe("/a"), |ctx| ctx.register("n")).await;
    assert_eq!(twice, Ok(()), "its own name again");
    // One that loses its name ends, in a supervisor that forgives nothing, and comes back.
    rig.system.lose_name(&name("n"), &path("/a"), "far:/a");
    assert_eq!(rig.exit_of("/a").await, ExitReason::NameConflict("far:/a".to_owned()));
    assert_eq!(rig.start_of("/a").await, 2);
    assert_eq!(rig.system.named(&name("n")), Some(path("/a")), "nobody here has it");
    drop(rig);
    let failed = Rig::try_start(&probes(strict, &[("a", "config = { register = \"n\" }"), ("b", taken)]), &[]).await;
    let failed = failed.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(failed.contains("/b") && failed.contains("name conflict: /a runs already"), "{failed}");
}

#[tokio::test]
async fn members_leave_when_they_end_for_good_and_when_they_do_not_join_again() {
    let joins = "config = { join = \"g\" }";
    let rig = Rig::start(&probes(FORGIVING, &[("a", joins), ("b", ""), ("c", joins)]), &[]).await;
    inside(rig.probe("/b"), |ctx| ctx.join_group("g", Scope::Global)).await.unwrap();
    assert_eq!(members(&rig, "g"), ["/a", "/b", "/c"]);
    for (path, incarnation) in [("/a", 2), ("/b", 2)] {
        rig.end(path, End::Error).await;
        eventually(|| rig.view(path).incarnation.0 == incarnation).await;
    }
    eventually(|| members(&rig, "g") == ["/a", "/c"]).await;
    inside(rig.probe("/c"), |ctx| ctx.leave_group("g")).await;
    rig.system.terminate_child(&path("/a")).await.unwrap();
    assert_eq!(members(&rig, "g"), [""; 0]);
}

#[tokio::test]
async fn a_group_is_told_at_once_and_each_key_has_one_member() {
    let joins = "config = { join = \"g\" }";
    let rig = Rig::start(&probes(FORGIVING, &[("a", joins), ("b", joins), ("c", joins)]), &[]).await;
    let group = rig.system.group::<Ask>("g").unwrap();
    assert_eq!((group.count(), group.broadcast(|| Ask::Note(7)).await.sent), (3, 3));
    for path in ["/a", "/b", "/c"] {
        assert_eq!(rig.probe(path).call(Ask::Noted, LONG).await, Ok(vec![7]), "{path}");
    }
    let takers = |without: &str| -> Vec<ActorPath> {
        let group = rig.system.group::<Ask>("g").unwrap();
        let keys = (0..100u8).filter(|key| group.pick(&[*key]).unwrap().path.as_str() != without);
        keys.map(|key| group.pick(&[key]).unwrap().path.clone()).collect()
    };
    let before = takers("/b");
    assert!(before.len() > 40 && before.len() < 95, "{}", before.len());
    rig.system.terminate_child(&path("/b")).await.unwrap();
    let after: Vec<_> = (0..100u8)
        .filter(|key| group.pick(&[*key]).unwrap().path.as_str() != "/b")
        .map(|key| rig.system.group::<Ask>("g").unwrap().pick(&[key]).unwrap().path.clone())
        .collect();
    assert_eq!(after, before, "a key moved without need");
    assert!(rig.system.group::<Ask>("nobody").unwrap().pick(b"key").is_none());
}

/// Other nodes, where somebody has the name `far`.
#[derive(Default)]
struct Elsewhere(AtomicUsize);

impl OtherNodes for Elsewhere {
    fn holder(&self, name: &Name) -> Option<String> {
        (name.as_str() == "far").then(|| "two:/a".to_owned())
    }
    fn changed(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[tokio::test]
async fn other_nodes_are_asked_for_a_name_and_told_of_what_is_not_local() {
    let rig = Rig::start(&probes(FORGIVING, &[("a", "")]), &[]).await;
    let others = Arc::new(Elsewhere::default());
    let heard = || others.0.swap(0, Ordering::AcqRel);
    rig.system.set_other_nodes(Some(Arc::clone(&others) as Arc<dyn OtherNodes>));
    heard();
    let refused = inside(rig.probe("/a"), |ctx| ctx.register("far")).await;
    assert_eq!(refused, Err(NotEntered::Taken { name: name("far"), holder: "two:/a".to_owned() }));
    inside(rig.probe("/a"), |ctx| ctx.register_local("far")).await.unwrap();
    inside(rig.probe("/a"), |ctx| ctx.join_group("g", Scope::Local)).await.unwrap();
    assert_eq!(heard(), 0);
    inside(rig.probe("/a"), |ctx| ctx.register("near")).await.unwrap();
    inside(rig.probe("/a"), |ctx| ctx.join_group("g", Scope::Region)).await.unwrap();
    assert_eq!(heard(), 2);
    let entries = rig.system.entries();
    assert_eq!(entries.names, [(name("near"), path("/a"))]);
    assert_eq!(entries.members, [(name("g"), Scope::Region, path("/a"))]);
    rig.system.terminate_child(&path("/a")).await.unwrap();
    assert_eq!(heard(), 1);
}
