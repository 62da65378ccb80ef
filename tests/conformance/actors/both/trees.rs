//! Trees and scale: cases 59 and 72, X17, X23 and X24.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use covenant_env::Env;
use covenant_runtime::{ActorState, System, SystemConfig, TreeView};
use covenant_supervision::{ChildId, ChildNode, ChildSpec, SupervisorSpec, TreeSpec};
use covenant_types::{ActorPath, ExitReason};

use super::support::{self, End, Journal, LONG, Rig, probes, subtree};
use crate::core::alone::many_children;

/// Path and incarnation of everything that runs, in order; stopped ones with a dash.
fn standing(rig: &Rig) -> String {
    fn walk(view: &TreeView, into: &mut Vec<String>) {
        for child in &view.children {
            if child.state == ActorState::Undefined {
                into.push(format!("{} -", child.path));
            } else {
                into.push(format!("{} {}", child.path, child.incarnation.0));
                walk(child, into);
            }
        }
    }
    let mut all = Vec::new();
    walk(&rig.system.tree(), &mut all);
    all.join(", ")
}

#[tokio::test]
async fn tree() {
    let keys = "strategy = \"one_for_all\"; intensity = 9";
    let below = format!("{}{}{}", subtree("a", ""), subtree("b", ""), subtree("c", "restart = \"transient\""));
    let leaf = probes("", &[("w", ""), ("v", "")]);
    let pool = probes("strategy = \"dynamic\"", &[("t", "")]);
    let files = [("a", leaf.as_str()), ("b", &pool), ("c", &leaf)];
    let mut rig = Rig::start(&format!("{}{below}", probes(keys, &[])), &files).await;
    let path = |text: &str| text.parse::<ActorPath>().unwrap();
    rig.end("/a/w", End::Panic).await;
    assert_eq!(rig.start_of("/a/w").await, 2);
    assert_eq!(standing(&rig), "/a 1, /a/w 2, /a/v 1, /b 1, /c 1, /c/w 1, /c/v 1", "only the worker that died");
    let x = ChildId::new("x").unwrap();
    rig.system.start_instance(&path("/b"), Some(x), toml::Table::new()).await.unwrap();
    rig.system.terminate_child(&path("/c")).await.unwrap();
    assert_eq!(standing(&rig), "/a 1, /a/w 2, /a/v 1, /b 1, /b/x 1, /c -");
    // It gives up, and all are built anew: without the instance, and with the one that was stopped by hand.
    rig.end("/a/w", End::Panic).await;
    assert_eq!(rig.start_of("/c/v").await, 2);
    assert_eq!(standing(&rig), "/a 2, /a/w 3, /a/v 2, /b 2, /c 2, /c/w 2, /c/v 2");
}

/// Time to start and to stop so many static children, the best of three.
async fn scale(many: usize) -> [Duration; 2] {
    let one = support::tree(&probes("", &[("c", "")]), &[]);
    let children: Vec<ChildNode> = (0..many)
        .map(|n| {
            let id = ChildId::new(&format!("c{n}")).unwrap();
            ChildNode { spec: ChildSpec { id, ..one.children[0].spec.clone() }, ..one.children[0].clone() }
        })
        .collect();
    let spec =
        SupervisorSpec { children: children.iter().map(|child| child.spec.clone()).collect(), ..one.spec.clone() };
    let tree = TreeSpec { spec, children, ..one };
    let mut best = [Duration::MAX; 2];
    for _ in 0..3 {
        let journal = Arc::new(Journal::default());
        let config = support::config(Env::for_test(7), &probes("", &[]), &[], &journal);
        let alive = || usize::try_from(journal.alive.load(Ordering::Acquire)).unwrap();
        let began = Instant::now();
        let system = System::start(SystemConfig { tree: tree.clone(), ..config }).await.unwrap();
        let started = began.elapsed();
        assert_eq!(alive(), many);
        let began = Instant::now();
        assert!(system.stop(Duration::from_secs(600)).await.in_time);
        best = [best[0].min(started), best[1].min(began.elapsed())];
        assert_eq!(alive(), 0);
    }
    best
}

#[tokio::test]
async fn scale_start_stop_many_children() {
    // OTP: from 1000 to 100 000 children, at most ten times linear.
    let many = many_children();
    let few = many / 10;
    let (small, large) = (scale(few).await, scale(many).await);
    for (what, small, large) in [("start", small[0], large[0]), ("stop", small[1], large[1])] {
        assert!(large <= small * 10 * 10, "{what}: {few} took {small:?}, {many} took {large:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn x17_the_drain_deadline_holds_with_a_stuck_child() {
    let stuck = "shutdown = \"infinity\"; config = { stop = \"hang\" }";
    let main = format!("{}{}", probes("", &[("a", "")]), subtree("sub", ""));
    let rig = Rig::start(&main, &[("sub", &probes("", &[("stuck", stuck), ("late", stuck)]))]).await;
    let began = tokio::time::Instant::now();
    let report = rig.system.stop(Duration::from_secs(20)).await;
    assert!(!report.in_time);
    assert_eq!(report.still_running, [], "what waits can be killed");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(21), "{took:?}");
    assert_eq!(rig.journal.alive.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn x23_a_killed_supervisor_ends_its_children() {
    let main = format!("{}{}", subtree("sub", ""), probes("", &[("other", "")]));
    let sub = format!("{}{}", probes("", &[("a", "")]), subtree("inner", ""));
    let mut rig = Rig::start(&main, &[("sub", &sub), ("inner", &probes("", &[("b", "")]))]).await;
    rig.journal.clear();
    rig.kill("/sub").await;
    assert_eq!(rig.exit_of("/sub").await, ExitReason::Killed);
    assert_eq!(rig.start_of("/sub").await, 2);
    support::eventually(|| standing(&rig) == "/sub 2, /sub/a 2, /sub/inner 2, /sub/inner/b 2, /other 1").await;
    let mut lines = rig.journal.lines();
    lines[..2].sort();
    assert_eq!(lines, ["end a", "end b", "start a", "start b"], "all that was had gone before anything new began");
}

#[tokio::test(start_paused = true)]
async fn x24_the_stop_bound_holds() {
    let hangs = "config = { stop = \"hang\" }";
    let main = format!(
        "{}{}",
        probes("", &[("a", &format!("shutdown = \"1s\"; {hangs}")), ("b", "shutdown = \"brutal_kill\"")]),
        subtree("sub", "")
    );
    let sub =
        probes("", &[("c", &format!("shutdown = \"2s\"; {hangs}")), ("d", &format!("shutdown = \"4s\"; {hangs}"))]);
    let bound = support::tree(&main, &[("sub", &sub)]).stop_bound().unwrap();
    let rig = Rig::start(&main, &[("sub", &sub)]).await;
    let began = tokio::time::Instant::now();
    assert!(rig.system.stop(LONG).await.in_time);
    let took = began.elapsed();
    // Each its own time, one after the other; a second of grace each, which nothing that waits needs.
    assert!(took >= Duration::from_secs(1 + 2 + 4) && took <= bound, "{took:?} of {bound:?}");
    assert_eq!(bound, Duration::from_secs(1 + 2 + 4 + 4));
}
