//! Children that come and go while their supervisor runs: administrative calls, and the instances of dynamic supervisors.

use crate::support::{self, Ask, End, LONG, Rig, eventually, gone, probes, subtree, tree};
use covenant_runtime::{ActorState, AdminFailure, Started};
use covenant_supervision::{AdminError, ChildId, ChildNode};
use covenant_types::{ActorPath, CallError, ExitReason};

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

fn id(text: &str) -> Option<ChildId> {
    Some(ChildId::new(text).unwrap())
}

/// One child as a tree file would say it.
fn node(name: &str, keys: &str) -> ChildNode {
    tree(&probes("", &[(name, keys)]), &[]).children.remove(0)
}

fn refused<T>(error: AdminError) -> Result<T, AdminFailure> {
    Err(AdminFailure::Refused(error))
}

fn no_config() -> toml::Table {
    toml::Table::new()
}

const DYNAMIC: &str = "strategy = \"dynamic\"; intensity = 100";

/// A root with one dynamic supervisor at `/pool`.
async fn pool(keys: &str, template: &str) -> Rig {
    Rig::start(&subtree("pool", ""), &[("pool", &probes(keys, &[("template", template)]))]).await
}

/// The ids below `at`, as the tree shows them.
fn shown(rig: &Rig, at: &str) -> Vec<String> {
    rig.view(at).children.iter().map(|child| child.path.id().to_owned()).collect()
}

#[tokio::test]
async fn admin_calls_have_otps_results_on_actors() {
    let rig = Rig::start(&probes("", &[("a", "")]), &[]).await;
    let (root, a, b) = (path("/"), path("/a"), path("/b"));
    let system = &rig.system;
    assert_eq!(system.restart_child(&a).await, refused(AdminError::Running));
    assert_eq!(system.delete_child(&a).await, refused(AdminError::Running));
    assert_eq!(system.start_child(&root, node("a", "")).await, refused(AdminError::AlreadyStarted));
    system.terminate_child(&a).await.unwrap();
    system.terminate_child(&a).await.unwrap();
    assert_eq!(rig.state("/a"), ActorState::Undefined);
    assert_eq!(system.start_child(&root, node("a", "")).await, refused(AdminError::AlreadyPresent));
    system.restart_child(&a).await.unwrap();
    assert_eq!(rig.who("/a").await, 2);
    assert_eq!(rig.view("/a").restarts, 1, "the path came back, by hand");
    assert_eq!(system.start_child(&root, node("b", "")).await.unwrap().path, Some(b.clone()));
    assert_eq!(rig.who("/b").await, 1);
    let counts = system.count_children(&root).await.unwrap();
    assert_eq!((counts.specs, counts.active, counts.supervisors, counts.workers), (2, 2, 0, 2));
    system.terminate_child(&b).await.unwrap();
    system.delete_child(&b).await.unwrap();
    assert_eq!(system.delete_child(&b).await, refused(AdminError::NotFound));
    assert_eq!(shown(&rig, "/"), ["a"]);
    assert_eq!(system.lookup::<Ask>(&b).err(), Some(CallError::NoProc));
    assert_eq!(system.start_child(&a, node("x", "")).await, Err(AdminFailure::NoSupervisor(a)));
}

#[tokio::test]
async fn a_child_that_does_not_start_is_told_of_and_not_kept() {
    let rig = Rig::start(&probes("", &[]), &[]).await;
    let start = async |keys: &str| rig.system.start_child(&ActorPath::root(), node("b", keys)).await;
    let told = refused(AdminError::StartFailed(ExitReason::Error("told to".into())));
    assert_eq!(start("config = { start = \"fail\" }").await, told);
    let told = refused(AdminError::StartFailed(ExitReason::Panicked("told to".into())));
    assert_eq!(start("config = { start = \"panic\" }").await, told);
    let Err(AdminFailure::Refused(AdminError::BadSpec(why))) = start("config = { strat = \"fail\" }").await else {
        panic!("a config that cannot be read is refused")
    };
    assert!(why.contains("unknown field `strat`"), "{why}");
    assert_eq!(shown(&rig, "/"), [""; 0]);
    assert_eq!(start("config = { start = \"ignore\" }").await, Ok(Started { path: None, info: None }));
    assert_eq!(rig.state("/b"), ActorState::Undefined);
}

#[tokio::test]
async fn a_child_that_was_added_is_restarted_by_policy_and_goes_with_its_supervisor() {
    let below = probes("intensity = 1", &[("a", "")]);
    let mut rig = Rig::start(&format!("intensity = 100\n{}", subtree("below", "")), &[("below", &below)]).await;
    rig.system.start_child(&path("/below"), node("b", "")).await.unwrap();
    let b = rig.probe("/below/b");
    rig.end("/below/b", End::Panic).await;
    assert_eq!(rig.who("/below/b").await, 2);
    // The second crash is one too many: the subtree is built again, as its file says.
    rig.end("/below/b", End::Panic).await;
    while rig.start_of("/below").await < 2 {}
    assert_eq!(shown(&rig, "/below"), ["a"]);
    assert!(matches!(b.call(Ask::Who, LONG).await, Err(CallError::Gone(_))));
    assert_eq!(rig.system.lookup::<Ask>(&path("/below/b")).err(), Some(CallError::NoProc));
    // And a killed supervisor takes it along too.
    rig.system.start_child(&path("/below"), node("b", "")).await.unwrap();
    rig.kill("/below").await;
    while rig.start_of("/below").await < 3 {}
    assert_eq!(shown(&rig, "/below"), ["a"]);
    assert_eq!(rig.journal.alive.load(std::sync::atomic::Ordering::Acquire), 1);
}

#[tokio::test]
async fn instances_start_on_demand_and_have_paths() {
    let rig = pool(DYNAMIC, "").await;
    assert_eq!(shown(&rig, "/pool"), [""; 0], "the template never runs");
    let pool = path("/pool");
    let started = rig.system.start_instance(&pool, id("x"), no_config()).await.unwrap();
    assert_eq!(started, Started { path: Some(path("/pool/x")), info: None });
    let numbered = rig.system.start_instance(&pool, None, no_config()).await.unwrap().path.unwrap();
    assert_eq!(rig.who("/pool/x").await, 1);
    rig.end("/pool/x", End::Panic).await;
    assert_eq!((rig.who("/pool/x").await, rig.who(numbered.as_str()).await), (2, 1));
    let again = rig.system.start_instance(&pool, id("x"), no_config()).await;
    assert_eq!(again, refused(AdminError::AlreadyStarted));
    let template = rig.system.start_instance(&pool, id("template"), no_config()).await;
    assert_eq!(template, refused(AdminError::AlreadyStarted));
    let counts = rig.system.count_children(&pool).await.unwrap();
    assert_eq!((counts.specs, counts.active, counts.workers), (1, 2, 2));
    let x = rig.probe("/pool/x");
    rig.system.terminate_child(&path("/pool/x")).await.unwrap();
    rig.system.terminate_child(&path("/pool/x")).await.unwrap();
    assert_eq!(x.call(Ask::Who, LONG).await, Err(gone(ExitReason::Shutdown)));
    assert_eq!(shown(&rig, "/pool"), [numbered.id()]);
    assert_eq!(rig.system.restart_child(&numbered).await, refused(AdminError::Dynamic));
}

#[tokio::test]
async fn an_instance_takes_config_over_that_of_the_template() {
    let mut rig = pool(DYNAMIC, "restart = \"transient\"; config = { stop = \"panic\" }").await;
    let config: toml::Table = toml::from_str("stop = \"\"").unwrap();
    rig.system.start_instance(&path("/pool"), id("x"), config).await.unwrap();
    rig.end("/pool/x", End::Panic).await;
    assert_eq!(rig.who("/pool/x").await, 2, "a restart has the same config");
    rig.end("/pool/x", End::Stop).await;
    rig.exit_of("/pool/x").await; // the crash
    assert_eq!(rig.exit_of("/pool/x").await, ExitReason::Normal, "its stop did not panic");
    support::eventually(|| rig.find("/pool/x").is_none()).await;
}

#[tokio::test]
async fn a_dynamic_supervisor_that_comes_back_has_no_instances() {
    let mut rig = pool("strategy = \"dynamic\"; intensity = 0", "").await;
    let old = rig.system.start_instance(&path("/pool"), None, no_config()).await.unwrap().path.unwrap();
    rig.end(old.as_str(), End::Panic).await;
    while rig.start_of("/pool").await < 2 {}
    assert_eq!(shown(&rig, "/pool"), [""; 0]);
    let new = rig.system.start_instance(&path("/pool"), None, no_config()).await.unwrap().path.unwrap();
    assert_ne!(old, new, "a number is given once");
}

#[tokio::test]
async fn instances_may_be_trees() {
    let files = [
        ("pool", &*format!("strategy = \"dynamic\"\n{}", subtree("cell", ""))),
        ("cell", &probes("", &[("a", ""), ("b", "")])),
    ];
    let rig = Rig::start(&subtree("pool", ""), &files).await;
    rig.system.start_instance(&path("/pool"), id("x"), no_config()).await.unwrap();
    rig.system.start_instance(&path("/pool"), id("y"), no_config()).await.unwrap();
    assert_eq!((rig.who("/pool/x/a").await, rig.who("/pool/y/b").await), (1, 1));
    rig.kill("/pool/x/a").await;
    assert_eq!((rig.who("/pool/x/a").await, rig.who("/pool/y/a").await), (2, 1));
    rig.system.terminate_child(&path("/pool/x")).await.unwrap();
    assert_eq!(rig.system.lookup::<Ask>(&path("/pool/x/a")).err(), Some(CallError::NoProc));
    assert_eq!(rig.journal.alive.load(std::sync::atomic::Ordering::Acquire), 2);
}

#[tokio::test]
async fn instances_stop_together_and_a_stuck_one_is_killed_at_the_shared_deadline() {
    let rig = pool(DYNAMIC, "shutdown = \"200ms\"; config = { stop = \"hang\" }").await;
    for _ in 0..20 {
        rig.system.start_instance(&path("/pool"), None, no_config()).await.unwrap();
    }
    let report = rig.system.stop(LONG).await;
    assert!(report.in_time && report.still_running.is_empty(), "{report:?}");
    assert!(report.took >= std::time::Duration::from_millis(200), "they were asked first: {report:?}");
    assert!(report.took < std::time::Duration::from_millis(20 * 200), "one after the other: {report:?}");
    assert_eq!(rig.journal.alive.load(std::sync::atomic::Ordering::Acquire), 0);
}

#[tokio::test]
async fn a_key_has_one_partition_and_keeps_it() {
    let files = [("pool", &*probes("partitions = 3", &[("worker", "")]))];
    let rig = Rig::start(&subtree("pool", ""), &files).await;
    let partition = |key: u32| rig.system.partition(&path("/pool"), &key.to_be_bytes()).unwrap();
    let of_keys: std::collections::BTreeSet<ActorPath> = (0..100).map(partition).collect();
    let all: Vec<&str> = of_keys.iter().map(ActorPath::as_str).collect();
    assert_eq!(all, ["/pool/0", "/pool/1", "/pool/2"]);
    let before = partition(7);
    let worker = before.child("worker").unwrap();
    rig.end(worker.as_str(), End::Panic).await;
    assert_eq!((rig.who(worker.as_str()).await, partition(7)), (2, before));
    assert_eq!(rig.system.partition(&path("/"), b"7"), None, "the root has no partitions");
    assert_eq!(rig.system.partition(&path("/nobody"), b"7"), None);
}

#[tokio::test]
async fn a_child_whose_name_is_taken_is_not_kept_and_its_starter_hears_by_whom() {
    let rig = Rig::start(&probes("", &[]), &[]).await;
    let taken = rig.system.start_child(&ActorPath::root(), node("b", "config = { start = \"taken\" }")).await;
    assert_eq!(taken, refused(AdminError::NameTaken("/other".to_owned())));
    assert_eq!(shown(&rig, "/"), [""; 0]);
}

#[tokio::test]
async fn an_actor_starts_children_under_a_dynamic_supervisor() {
    let root = format!("{}{}", probes("", &[("parent", "")]), subtree("pool", ""));
    let rig = Rig::start(&root, &[("pool", &probes(DYNAMIC, &[("template", "")]))]).await;
    let spawn = |reply| Ask::SpawnChild(path("/pool"), reply);
    let child = rig.probe("/parent").call(spawn, LONG).await.unwrap().unwrap();
    assert_eq!(rig.who(child.as_str()).await, 1);
    rig.kill("/parent").await;
    assert_eq!(rig.who(child.as_str()).await, 1, "it is the supervisor's child, not the starter's");
}

#[tokio::test]
async fn a_starter_hears_what_the_child_has_to_say() {
    let rig = pool(DYNAMIC, "config = { info = \"room 7\" }").await;
    let started = rig.system.start_instance(&path("/pool"), None, no_config()).await.unwrap();
    assert_eq!(started.info.as_deref(), Some("room 7"));
}

#[tokio::test]
async fn admin_calls_are_answered_while_a_child_is_in_a_crash_loop() {
    let rig = Rig::start(&probes("intensity = 1000000", &[("a", ""), ("b", "")]), &[]).await;
    rig.journal.fail_starts("a", u32::MAX);
    rig.end("/a", End::Panic).await;
    rig.until("/a", ActorState::Restarting).await;
    let restart = support::within(rig.system.restart_child(&path("/a"))).await;
    assert_eq!(restart, refused(AdminError::Restarting));
    let count = support::within(rig.system.count_children(&path("/"))).await.unwrap();
    assert_eq!((count.specs, count.workers), (2, 2));
    support::within(rig.system.terminate_child(&path("/a"))).await.unwrap();
    assert_eq!(rig.state("/a"), ActorState::Undefined);
    assert_eq!(rig.who("/b").await, 1);
}

#[tokio::test]
async fn a_planned_child_is_found_again_after_another_had_its_path() {
    for (restart, deleted_again) in [("temporary", false), ("permanent", false), ("permanent", true)] {
        let keys = format!("restart = \"{restart}\"");
        let main = format!("intensity = 9\n{}", subtree("sub", ""));
        let rig = Rig::start(&main, &[("sub", &probes("", &[("a", &keys), ("b", "")]))]).await;
        let (sub, a) = (path("/sub"), path("/sub/a"));
        let delete = async || {
            rig.system.terminate_child(&a).await.unwrap();
            let deleted = rig.system.delete_child(&a).await;
            assert_eq!(deleted.is_ok(), restart == "permanent", "a temporary one is forgotten with its end");
        };
        delete().await;
        rig.system.start_child(&sub, node("a", &keys)).await.unwrap();
        assert_eq!(rig.who("/sub/a").await, 2);
        if deleted_again {
            delete().await;
        }
        rig.kill("/sub").await;
        eventually(|| rig.find("/sub/a").is_some_and(|view| view.state == ActorState::Running)).await;
        assert_eq!(rig.who("/sub/a").await, 3, "{restart}: it goes on counting");
        assert_eq!(shown(&rig, "/sub"), ["a", "b"]);
        rig.kill("/sub/a").await;
    }
}
