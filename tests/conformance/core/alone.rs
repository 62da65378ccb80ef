//! Cases that the core can show and the common bench of actors cannot: forged events, children that do not end when killed,
//! and trees of supervisors.

use std::time::{Duration, Instant};

use covenant_supervision::simulation::{ChildStanding, Simulation, read_script};

use super::*;
use crate::ChildState;

#[test]
fn x1_next_start_after_stop_and_cleanup() {
    // A group's next start begins when the last of its stops has ended, and not before.
    let script = "crash a; gone b";
    check(OneForAll, "a b:lasting", script, "stop b; start a, start b");
    check(OneForOne, "a:immortal", "kill a; pass 999ms; die a", "kill a; ; start a");
}

#[test]
fn x5_an_old_exit_is_ignored() {
    check(OneForOne, "a", "crash a; crash-again a 1; crash a", "start a; ; start a");
}

#[test]
fn x17_the_drain_deadline_holds_with_a_stuck_child() {
    let script = "shutdown; pass 2s; pass 1s";
    check(OneForOne, "a b:2s:immortal c", script, "stop c, stop b; kill b; stop a, exit shutdown");
}

#[test]
fn x19_a_forged_exit_is_rejected() {
    check(OneForOne, "a b", "crash-again a 2; crash-again b 77; crash-again nobody 1", "; ; ");
}

#[test]
fn x23_a_killed_supervisor_ends_its_children() {
    // The core of a supervisor that dies is gone with it. The one above starts the subtree again.
    check(OneForOne, "a:sup b", "die a", "start a");
}

#[test]
fn x24_the_stop_bound_holds() {
    let bench = booted(OneForOne, "a:1s:lasting b:2s:immortal c:brutal:immortal");
    let bound = bench.core.stop_bound().unwrap();
    // Each its time, and its second of grace.
    assert_eq!(bound, Duration::from_secs(1 + 1 + 2 + 1 + 1));
    let mut bench = bench;
    bench.run("shutdown");
    let done = bench.run(&format!("pass {}ms", bound.as_millis()));
    assert!(done.ends_with("exit shutdown"), "{done}");
    assert_eq!(booted(OneForOne, "a:infinity").core.stop_bound(), None);
    assert_eq!(booted(Dynamic, "t:2s").core.stop_bound(), Some(Duration::from_secs(3)), "instances stop together");
}

/// Children of the larger of the two runs of case 72 where `COVENANT_SCALE_CHILDREN` is unset.
const MANY: usize = 5_000;

/// The larger run of case 72: OTP takes 100 000.
pub(crate) fn many_children() -> usize {
    let set = std::env::var("COVENANT_SCALE_CHILDREN").ok();
    set.map_or(MANY, |many| many.parse().expect("COVENANT_SCALE_CHILDREN is a number"))
}

#[test]
fn scale_start_stop_many_children() {
    let times = |many: usize| {
        let ids: Vec<String> = (0..many).map(|n| format!("c{n}")).collect();
        let run = || {
            let mut bench = Bench::new(OneForOne, &ids.join(" "));
            let began = Instant::now();
            assert_eq!(bench.run("boot").split(", ").filter(|did| did.starts_with("start ")).count(), many);
            let started = began.elapsed();
            let began = Instant::now();
            let done = bench.run("shutdown");
            assert_eq!(done.split(", ").filter(|did| did.starts_with("stop ")).count(), many);
            [started, began.elapsed()]
        };
        let runs = [run(), run(), run()];
        [0, 1].map(|what| runs.iter().map(|times| times[what]).min().unwrap())
    };
    // OTP: from 1000 to 100 000 children, at most ten times linear.
    let many = many_children();
    let few = many / 10;
    let (small, large) = (times(few), times(many));
    for (what, small, large) in [("start", small[0], large[0]), ("stop", small[1], large[1])] {
        assert!(large <= small * 10 * 10, "{what}: {few} took {small:?}, {many} took {large:?}");
    }
}

#[test]
fn tree() {
    let files = |name: &str| match name {
        "root" => {
            "strategy = \"one_for_all\"\nintensity = 9\n[[child]]\nid = \"a\"\ntree = \"leaf\"\n\
             [[child]]\nid = \"b\"\ntree = \"pool\"\n[[child]]\nid = \"c\"\ntree = \"leaf\"\nrestart = \"transient\"\n"
        }
        "leaf" => "[[child]]\nid = \"w\"\nbehaviour = \"x\"\n[[child]]\nid = \"v\"\nbehaviour = \"x\"\n",
        _ => "strategy = \"dynamic\"\n[[child]]\nid = \"t\"\nbehaviour = \"x\"\n",
    };
    let tree = load_tree("root", &Named(files)).unwrap();
    let script = br#"{"at": 0, "exit": "a/w", "reason": "panic"}
        {"at": 1, "call": "start_child", "path": "b/x"}
        {"at": 2, "call": "terminate_child", "path": "c"}
        {"at": 3, "exit": "a/w", "reason": "panic"}"#;
    let mut simulation = Simulation::start(&tree, 1, &mut |_| {}).unwrap();
    let mut shown = Vec::new();
    for event in read_script(script).unwrap() {
        simulation.play(&event, &mut |_| {}).unwrap();
        let state = simulation.state().children;
        let one = |(path, at): (covenant_types::ActorPath, ChildStanding)| match at.state {
            ChildState::Running => format!("{path} {}", at.incarnation),
            ChildState::Undefined => format!("{path} -"),
            other @ (ChildState::Starting | ChildState::Restarting | ChildState::Stopping | ChildState::Unkillable) => {
                panic!("{path} is {other:?}")
            }
        };
        shown.push(state.into_iter().map(one).collect::<Vec<_>>().join(", "));
    }
    let expected = [
        // Only the worker that died is another.
        "/a 1, /a/w 2, /a/v 1, /b 1, /c 1, /c/w 1, /c/v 1",
        "/a 1, /a/w 2, /a/v 1, /b 1, /b/x 1, /c 1, /c/w 1, /c/v 1",
        "/a 1, /a/w 2, /a/v 1, /b 1, /b/x 1, /c -",
        // It gives up, and all are built anew: without the instance, and with the one that was stopped by hand.
        "/a 2, /a/w 3, /a/v 2, /b 2, /c 2, /c/w 2, /c/v 2",
    ];
    assert_eq!(shown, expected);
}

/// Tree files by name.
struct Named<F>(F);

impl<F: Fn(&str) -> &'static str> TreeSource for Named<F> {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        Ok((self.0)(name).to_owned())
    }
}
