//! Plain ractor actors as children.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::sync::{Arc, Mutex};

use covenant_env::Env;
use covenant_runtime::{
    BehaviourRegistry, BootError, DownReason, Resources, RuntimeEvent, System, SystemConfig, TreeView,
};
use covenant_types::{ActorPath, CallError, ExitReason};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use serde::Deserialize;
use support::{LONG, eventually, within};
use tokio::sync::broadcast;

const HOST: covenant_supervision::Host = covenant_supervision::Host::Hosted;

/// An actor as a program has it that knows nothing of us.
struct Counter {
    lines: Lines,
    name: String,
}

type Lines = Arc<Mutex<Vec<String>>>;

enum Count {
    Up,
    Get(RpcReplyPort<u64>),
    Hang,
    Fail,
    Panic,
    Leave,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Beginning {
    from: u64,
}

impl Actor for Counter {
    type Msg = Count;
    type State = u64;
    type Arguments = u64;

    async fn pre_start(&self, _: ActorRef<Count>, from: u64) -> Result<u64, ActorProcessingErr> {
        match from {
            13 => Err("unlucky".into()),
            14 => panic!("very unlucky"),
            from => Ok(from),
        }
    }

    async fn handle(&self, myself: ActorRef<Count>, message: Count, state: &mut u64) -> Result<(), ActorProcessingErr> {
        match message {
            Count::Up => *state += 1,
            Count::Get(reply) => reply.send(*state)?,
            Count::Hang => std::future::pending().await,
            Count::Fail => return Err("told to".into()),
            Count::Panic => panic!("told to"),
            Count::Leave => myself.stop(None),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Count>, state: &mut u64) -> Result<(), ActorProcessingErr> {
        self.lines.lock().unwrap().push(format!("{} stopped at {state}", self.name));
        Ok(())
    }
}

struct Rig {
    system: System,
    lines: Lines,
    events: broadcast::Receiver<RuntimeEvent>,
}

async fn start(tree: &str) -> Result<Rig, BootError> {
    let lines = Lines::default();
    let mut registry = BehaviourRegistry::new();
    let of_all = Arc::clone(&lines);
    registry.register_ractor::<Counter, Beginning>("counter", move |Beginning { from }| match from {
        15 => Err("never".to_owned()),
        from => Ok((Counter { lines: Arc::clone(&of_all), name: format!("from {from}") }, from)),
    });
    registry.register::<support::Probe>("probe");
    let mut resources = Resources::new();
    resources.insert(Arc::new(support::Journal::default()));
    let tree = support::tree(tree, &[]);
    let system = System::start(SystemConfig { env: Env::for_test(1), tree, registry, resources }).await?;
    let events = system.events();
    Ok(Rig { system, lines, events })
}

/// A counter that begins at `from`.
fn counter(id: &str, from: u64, keys: &str) -> String {
    format!("[[child]]\nid = \"{id}\"\nbehaviour = \"counter\"\nconfig = {{ from = {from} }}\n{keys}\n")
}

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

impl Rig {
    fn actor(&self, at: &str) -> ActorRef<Count> {
        self.system.ractor(&path(at)).unwrap()
    }

    async fn count(&self, at: &str) -> u64 {
        let asked = self.actor(at).call(Count::Get, Some(LONG)).await.unwrap();
        asked.unwrap()
    }

    fn view(&self, at: &str) -> TreeView {
        self.system.tree().find(&path(at)).unwrap().clone()
    }

    async fn exit_of(&mut self, at: &str) -> ExitReason {
        within(async {
            loop {
                if let RuntimeEvent::Exited { path, reason, .. } = self.events.recv().await.unwrap()
                    && path.as_str() == at
                {
                    return reason;
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn a_plain_actor_comes_back_after_every_end_with_its_reason_told() {
    let mut rig = start(&format!("intensity = 9\n{}", counter("a", 5, ""))).await.unwrap();
    let told = || "told to".to_owned();
    let ends = [
        (Some(Count::Fail), ExitReason::Error(told())),
        (Some(Count::Panic), ExitReason::Panicked(told())),
        (Some(Count::Leave), ExitReason::Normal),
        (None, ExitReason::Killed),
    ];
    for (round, (how, reason)) in (1..).zip(ends) {
        let before = rig.actor("/a");
        before.cast(Count::Up).unwrap();
        assert_eq!(rig.count("/a").await, 6);
        match how {
            Some(how) => before.cast(how).unwrap(),
            None => {
                before.cast(Count::Hang).unwrap();
                rig.system.kill(&path("/a")).await.unwrap();
            }
        }
        assert_eq!(rig.exit_of("/a").await, reason);
        eventually(|| rig.view("/a").incarnation.0 == round + 1).await;
        assert_eq!(rig.count("/a").await, 5, "it began anew");
    }
    let view = rig.view("/a");
    assert_eq!((view.restarts, view.mailbox, view.behaviour.as_deref()), (4, None, Some("counter")));
}

#[tokio::test]
async fn plain_actors_stop_in_order_and_run_their_post_stop() {
    let tree = format!("{}{}", counter("a", 1, ""), counter("b", 2, ""));
    let mut rig = start(&tree).await.unwrap();
    assert!(rig.system.stop(LONG).await.in_time);
    assert_eq!(*rig.lines.lock().unwrap(), ["from 2 stopped at 2", "from 1 stopped at 1"]);
    assert_eq!(rig.exit_of("/b").await, ExitReason::Shutdown);
    assert_eq!(rig.system.ractor::<Count>(&path("/a")).unwrap_err(), CallError::Gone(ExitReason::Shutdown));
}

#[tokio::test]
async fn a_plain_actor_that_does_not_start_says_why() {
    let reasons = [(13, "error: unlucky"), (14, "panic: very unlucky"), (15, "error: never")];
    for (from, why) in reasons {
        let error = start(&counter("a", from, "")).await.err().unwrap();
        assert_eq!(error.to_string(), format!("/a did not start: {why}"));
    }
    let bad = "[[child]]\nid = \"a\"\nbehaviour = \"counter\"\nconfig = { form = 1 }\n";
    let error = start(bad).await.err().unwrap();
    assert!(matches!(&error, BootError::BadConfig { why, .. } if why.contains("form")), "{error}");
}

#[tokio::test]
async fn a_plain_actor_is_reached_by_its_own_messages_only() {
    let tree = format!("{}{}", counter("a", 1, ""), support::probes("", &[("b", "")]));
    let rig = start(&tree).await.unwrap();
    assert!(
        matches!(rig.system.ractor::<String>(&path("/a")), Err(CallError::Rejected(why)) if why.contains("String"))
    );
    assert!(matches!(rig.system.ractor::<Count>(&path("/b")), Err(CallError::Rejected(_))));
    assert!(matches!(rig.system.lookup::<Count>(&path("/a")), Err(CallError::Rejected(_))));
    assert_eq!(rig.system.ractor::<Count>(&path("/c")).unwrap_err(), CallError::NoProc);
}

#[tokio::test]
async fn links_and_monitors_reach_a_plain_actor() {
    let tree = format!("intensity = 9\n{}{}", counter("a", 1, ""), support::probes("", &[("b", "")]));
    let mut rig = start(&tree).await.unwrap();
    let monitor = rig.system.monitor(&path("/a"));
    let b = rig.system.lookup(&path("/b")).unwrap();
    support::inside(b.clone(), |ctx| ctx.link(&path("/a"))).await.unwrap();
    b.cast(support::Ask::End(support::End::Error, None)).await.unwrap();
    let told = ExitReason::Error("told to".to_owned());
    assert_eq!(within(monitor).await.reason, DownReason::Exited(told.clone()));
    assert_eq!(rig.exit_of("/a").await, told);
    eventually(|| rig.view("/a").incarnation.0 == 2).await;
    support::inside(b, |ctx| ctx.link(&path("/a"))).await.unwrap();
    rig.actor("/a").cast(Count::Panic).unwrap();
    assert_eq!(rig.exit_of("/b").await, ExitReason::Panicked("told to".to_owned()));
}

#[tokio::test]
async fn a_plain_actor_handles_what_waits_before_it_ends() {
    let mut rig = start(&format!("intensity = 9\n{}", counter("a", 1, "shutdown = \"50ms\""))).await.unwrap();
    let actor = rig.actor("/a");
    (0..100).for_each(|_| actor.cast(Count::Up).unwrap());
    let drained = within(rig.system.drain(&path("/a"), LONG)).await.unwrap();
    assert!(drained.is_complete(), "{drained:?}");
    assert_eq!(rig.exit_of("/a").await, ExitReason::ShutdownWith("drained".to_owned()));
    assert_eq!(*rig.lines.lock().unwrap(), ["from 1 stopped at 101"]);
    eventually(|| rig.view("/a").incarnation.0 == 2).await;
    rig.actor("/a").cast(Count::Hang).unwrap();
    let drained = within(rig.system.drain(&path("/a"), LONG / 1000)).await.unwrap();
    assert_eq!(drained.reason, ExitReason::Killed, "one that does not finish is stopped");
}
