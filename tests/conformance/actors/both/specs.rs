//! Specs: cases 13 to 18 and 38. What a running supervisor was told, and what it refuses to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_env::Env;
use covenant_runtime::{AdminFailure, BootError, System};
use covenant_supervision::{
    AdminError, AutoShutdown, ChildKind, ChildNode, ChildSpec, Restart, Shutdown, Strategy, TreeSpec,
};
use covenant_types::{ActorPath, ExitReason};

use super::support::{self, End, Journal, Rig, probes, subtree};

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

/// One child as a tree file would say it.
fn node(id: &str, keys: &str) -> ChildNode {
    support::tree(&probes("", &[(id, keys)]), &[]).children.remove(0)
}

async fn spec(rig: &Rig, at: &str) -> ChildSpec {
    rig.system.child_spec(&path(at)).await.unwrap()
}

async fn replaced(rig: &Rig, tree: TreeSpec) -> Result<(), AdminFailure> {
    rig.system.replace_specs(&ActorPath::root(), tree, BTreeMap::new()).await
}

#[tokio::test]
async fn sup_start_map() {
    let main = format!("{}{}", probes("", &[("a", "")]), subtree("b", ""));
    let rig = Rig::start(&main, &[("b", &probes("", &[]))]).await;
    let a = spec(&rig, "/a").await;
    let five_seconds = Shutdown::Timeout(Duration::from_secs(5));
    assert_eq!((a.restart, a.shutdown, a.kind), (Restart::Permanent, five_seconds, ChildKind::Worker));
    assert!(!a.significant);
    let b = spec(&rig, "/b").await;
    assert_eq!((b.restart, b.shutdown, b.kind), (Restart::Permanent, Shutdown::Infinity, ChildKind::Supervisor));
    let nobody = rig.system.child_spec(&path("/nobody")).await;
    assert_eq!(nobody, Err(AdminFailure::Refused(AdminError::NotFound)));
}

#[tokio::test]
async fn sup_start_map_simple() {
    let template = "restart = \"transient\"; shutdown = \"2s\"";
    let pool = probes("strategy = \"dynamic\"", &[("template", template)]);
    let rig = Rig::start(&subtree("pool", ""), &[("pool", &pool)]).await;
    let started = rig.system.start_instance(&path("/pool"), None, toml::Table::new()).await.unwrap();
    let found = rig.system.child_spec(&started.path.unwrap()).await.unwrap();
    assert_eq!((found.restart, found.shutdown), (Restart::Transient, Shutdown::Timeout(Duration::from_secs(2))));
    let stranger = rig.system.child_spec(&path("/pool/stranger")).await;
    assert_eq!(stranger, Err(AdminFailure::Refused(AdminError::NotFound)));
}

#[tokio::test]
async fn sup_start_map_faulty_specs() {
    // The file was read; what it says of behaviours only a system can tell.
    let cases = [
        ("[[child]]\nid = \"a\"\nbehaviour = \"probe\"\n\n[[child]]\nid = \"b\"\nbehaviour = \"prope\"\n", "\"prope\""),
        ("[[child]]\nid = \"a\"\nbehaviour = \"probe\"\nconfig = { strat = \"fail\" }\n", "unknown field `strat`"),
        ("[[child]]\nid = \"a\"\nbehaviour = \"probe\"\nconfig = { start = 1 }\n", "expected a string"),
    ];
    for (text, word) in cases {
        let journal = std::sync::Arc::new(Journal::default());
        let refused = System::start(support::config(Env::for_test(7), text, &[], &journal)).await;
        let refused = refused.expect_err(text).to_string();
        assert!(refused.starts_with("main.toml:") && refused.contains(word), "{refused}");
        assert_eq!(journal.lines(), [""; 0], "nothing of it started");
    }
}

#[tokio::test]
async fn child_specs() {
    let rig = Rig::start(&probes("", &[("a", "")]), &[]).await;
    let root = ActorPath::root();
    let again = rig.system.start_child(&root, node("a", "")).await;
    assert_eq!(again, Err(AdminFailure::Refused(AdminError::AlreadyStarted)));
    for restart in ["permanent", "transient", "temporary"] {
        for shutdown in ["brutal_kill", "1s", "0s", "infinity"] {
            let child = node("b", &format!("restart = \"{restart}\"; shutdown = \"{shutdown}\""));
            rig.system.start_child(&root, child.clone()).await.unwrap();
            assert_eq!(spec(&rig, "/b").await, child.spec);
            assert_eq!(rig.who("/b").await, 1);
            rig.system.terminate_child(&path("/b")).await.unwrap();
            // A temporary one is forgotten as it stops.
            let deleted = rig.system.delete_child(&path("/b")).await;
            assert_eq!(deleted.is_ok(), restart != "temporary", "{deleted:?}");
        }
    }
    let dynamic = support::tree(&probes("strategy = \"dynamic\"", &[("t", "")]), &[]);
    for templates in [vec![], vec![node("t", ""), node("u", "")]] {
        let spec = covenant_supervision::SupervisorSpec {
            children: templates.iter().map(|child: &ChildNode| child.spec.clone()).collect(),
            ..dynamic.spec.clone()
        };
        let refused = replaced(&rig, TreeSpec { spec, children: templates, ..dynamic.clone() }).await;
        assert!(matches!(refused, Err(AdminFailure::Refused(AdminError::BadSpec(_)))), "{refused:?}");
    }
    assert_eq!((rig.who("/a").await, rig.view("/").children.len()), (1, 1), "what ran runs on");
}

#[tokio::test]
async fn child_specs_map() {
    let rig = Rig::start(&probes("", &[("a", "restart = \"transient\"")]), &[]).await;
    let (mut legal, mut illegal) = (0, 0);
    for auto in [AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            for shutdown in [Shutdown::BrutalKill, Shutdown::Timeout(Duration::ZERO), Shutdown::Infinity] {
                for significant in [false, true] {
                    let before = spec(&rig, "/a").await;
                    let mut tree = support::tree(&probes("", &[("a", "")]), &[]);
                    let wanted = ChildSpec { restart, shutdown, significant, ..before.clone() };
                    tree.spec.auto_shutdown = auto;
                    tree.spec.children[0] = wanted.clone();
                    tree.children[0].spec = wanted.clone();
                    let allowed = !significant || (restart != Restart::Permanent && auto != AutoShutdown::Never);
                    let done = replaced(&rig, tree).await;
                    assert_eq!(done.is_ok(), allowed, "{auto:?} {wanted:?}: {done:?}");
                    assert_eq!(spec(&rig, "/a").await, if allowed { wanted } else { before });
                    *(if allowed { &mut legal } else { &mut illegal }) += 1;
                }
            }
        }
    }
    assert_eq!((legal, illegal), (39, 15));
    assert_eq!(rig.who("/a").await, 1, "it ran through all of it");
}

#[tokio::test]
async fn sup_flags() {
    let mut rig = Rig::start(&probes("intensity = 1", &[("a", ""), ("b", "")]), &[]).await;
    let tree = |keys: &str| support::tree(&probes(keys, &[("a", ""), ("b", "")]), &[]);
    // What a file cannot say a program may: no time within which restarts are counted.
    let mut endless = tree("intensity = 9");
    endless.spec.period = Duration::ZERO;
    let refused = replaced(&rig, endless).await;
    assert!(matches!(refused, Err(AdminFailure::Refused(AdminError::BadSpec(_)))), "{refused:?}");
    // Dynamic it cannot become, with two children.
    let mut dynamic = tree("");
    dynamic.spec.strategy = Strategy::Dynamic;
    assert!(replaced(&rig, dynamic).await.is_err());
    rig.end("/a", End::Panic).await;
    assert_eq!(rig.start_of("/a").await, 2, "one_for_one still");
    assert_eq!(rig.who("/b").await, 1);
    // New flags count at once: the strategy, and with what was spent before, the intensity.
    replaced(&rig, tree("strategy = \"one_for_all\"; intensity = 2")).await.unwrap();
    rig.end("/a", End::Panic).await;
    assert_eq!(rig.start_of("/b").await, 2);
    rig.end("/a", End::Panic).await;
    assert_eq!(support::within(rig.system.ended()).await, ExitReason::Shutdown, "the third within the period");
}

#[tokio::test]
async fn faulty_application_shutdown() {
    let inner = probes("", &[("a", ""), ("b", "config = { start = \"panic\" }")]);
    let sub = format!("{}{}", probes("", &[("first", "")]), subtree("inner", ""));
    let journal = std::sync::Arc::new(Journal::default());
    let files = [("sub", sub.as_str()), ("inner", inner.as_str())];
    let config = support::config(Env::for_test(7), &subtree("sub", ""), &files, &journal);
    let error = System::start(config).await.expect_err("its start fails");
    let reason = ExitReason::Panicked("told to".to_owned());
    assert_eq!(error, BootError::StartFailed { path: path("/sub/inner/b"), reason });
    let told = error.to_string();
    assert!(told.contains("/sub/inner/b") && told.contains("told to"), "who starts a node reads: {told}");
    let lines = journal.lines();
    assert_eq!(lines, ["start first", "start a", "stop a shutdown", "end a", "stop first shutdown", "end first"]);
}
