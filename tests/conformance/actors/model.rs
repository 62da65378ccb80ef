//! X25 on actors: the random trees and ends of the core's case, on running trees in virtual time, against the same model.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_env::Env;
use covenant_runtime::{
    ActorState, Behaviour, BehaviourRegistry, Context, Exit, NoConfig, Resources, StartError, System, SystemConfig,
    TreeView,
};
use covenant_supervision::{TreeSpec, load_tree};
use covenant_types::{ActorPath, ExitReason, Uptime};
use tokio::runtime::Runtime;

use crate::core::model::{Dice, Files, Node, events, paths, supervises};
use crate::{ChildState, Restart};

const TREES: u64 = 100;
/// An actor takes about as much longer to end than the core needs to hear of it.
const SLOWER: u64 = 50;
/// How often everything that is ready is polled after an end: more than a tree of three levels needs.
const POLLS: usize = 400;

/// Ends as it is told.
struct Ends;

impl Behaviour for Ends {
    type Config = NoConfig;
    type Message = ExitReason;

    async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self)
    }

    async fn handle(&mut self, reason: ExitReason, _: &Context<Self>) -> Result<(), Exit> {
        if let ExitReason::Panicked(text) = &reason {
            panic!("{text}");
        }
        Err(Exit(reason))
    }
}

fn start(runtime: &Runtime, tree: TreeSpec) -> System {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Ends>("x");
    runtime.block_on(async {
        let config = SystemConfig { env: Env::for_test(1), tree, registry, resources: Resources::new() };
        System::start(config).await.unwrap()
    })
}

/// Path, state and starts of everything below what runs.
fn standing(view: &TreeView, into: &mut BTreeMap<String, (ChildState, u64)>) {
    for child in &view.children {
        let state = if child.state == ActorState::Running { ChildState::Running } else { ChildState::Undefined };
        into.insert(child.path.to_string(), (state, child.incarnation.0.into()));
        if child.state == ActorState::Running {
            standing(child, into);
        } else {
            assert_eq!(child.state, ActorState::Undefined, "{}", child.path);
        }
    }
}

fn has_ended(runtime: &Runtime, system: &System) -> bool {
    runtime.block_on(async {
        let mut ended = std::pin::pin!(system.ended());
        std::future::poll_fn(|cx| std::task::Poll::Ready(ended.as_mut().poll(cx).is_ready())).await
    })
}

fn play(seed: u64, events: u64) {
    let mut dice = Dice(seed);
    let tree = load_tree("root", &Files::new(&mut dice)).unwrap();
    let mut all = Vec::new();
    paths(&Node::new(ActorPath::root(), Restart::Permanent, Some(&tree)), &mut all);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let mut left = events;
    while left > 0 {
        let mut model = Node::new(ActorPath::root(), Restart::Permanent, Some(&tree));
        model.start();
        let system = start(&runtime, tree.clone());
        let mut now = Uptime::ZERO;
        while left > 0 && model.runs {
            left -= 1;
            let pause = Duration::from_millis(dice.below(150));
            now = now.after(pause);
            runtime.block_on(async { tokio::time::sleep(pause).await });
            let path = all[dice.index(all.len())].clone();
            let reason = match dice.below(if supervises(&model, &path) { 1 } else { 4 }) {
                0 => ExitReason::Killed,
                1 => ExitReason::Normal,
                2 => ExitReason::Shutdown,
                _ => ExitReason::Panicked("boom".into()),
            };
            let runs = model.end(&path, &reason, now);
            runtime.block_on(async {
                if reason == ExitReason::Killed {
                    assert_eq!(system.kill(&path).await.is_ok(), runs, "seed {seed}: {path}");
                } else if let Ok(actor) = system.lookup::<ExitReason>(&path) {
                    assert_eq!(actor.try_cast(reason.clone()).is_ok(), runs, "seed {seed}: {path}");
                }
                for _ in 0..POLLS {
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(has_ended(&runtime, &system), !model.runs, "seed {seed}: {path} {reason} at {now:?}");
            if model.runs {
                let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
                model.standing(&mut expected);
                standing(&system.tree(), &mut found);
                assert_eq!(found, expected, "seed {seed}: {path} {reason} at {now:?}");
            }
        }
    }
}

#[test]
fn x25_random_trees_against_a_reference_model() {
    for seed in 0..TREES {
        play(seed, events() / SLOWER);
    }
}
