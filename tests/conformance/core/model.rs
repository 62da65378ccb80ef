//! X25: random trees and random ends, against a model that is written for being read, not for being run on a node.
//!
//! The model knows no attempts, no timers and no waiting: a child that is to start runs, and one that is to stop has stopped.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use covenant_supervision::simulation::{Happening, ScriptedEvent, Simulation};
use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, Work, load_tree};
use covenant_types::{ActorPath, ExitReason, Uptime};

use crate::{ChildState, Restart, Strategy};

const TREES: u64 = 100;
/// Ends for each tree where `COVENANT_MODEL_EVENTS` is unset; `just conformance` sets it to 10 000.
const EVENTS: u64 = 1_000;

/// A child, or the root.
pub(crate) struct Node {
    path: ActorPath,
    restart: Restart,
    pub(crate) runs: bool,
    /// A temporary child that has ended; its supervisor's next start brings it back.
    gone: bool,
    starts: u64,
    /// What it supervises, if it does.
    below: Option<Below>,
}

struct Below {
    strategy: Strategy,
    intensity: usize,
    period: Duration,
    /// When restarts were spent.
    spent: Vec<Uptime>,
    children: Vec<Node>,
}

impl Node {
    pub(crate) fn new(path: ActorPath, restart: Restart, tree: Option<&TreeSpec>) -> Self {
        let below = tree.map(|tree| Below {
            strategy: tree.spec.strategy,
            intensity: tree.spec.intensity as usize,
            period: tree.spec.period,
            spent: Vec::new(),
            children: tree
                .children
                .iter()
                .map(|child| {
                    let tree = match &child.work {
                        Work::Tree(tree) => Some(tree),
                        Work::Behaviour { .. } => None,
                    };
                    Self::new(path.child(child.spec.id.as_str()).unwrap(), child.spec.restart, tree)
                })
                .collect(),
        });
        Self { path, restart, runs: false, gone: false, starts: 0, below }
    }

    pub(crate) fn start(&mut self) {
        self.runs = true;
        self.starts += 1;
        if let Some(below) = &mut self.below {
            below.spent.clear();
            for child in &mut below.children {
                child.gone = false;
                child.start();
            }
        }
    }

    fn stop(&mut self) {
        self.runs = false;
        if let Some(below) = &mut self.below {
            below.children.iter_mut().for_each(Self::stop);
        }
    }

    /// What lies at `path` ends for `reason`. False where nothing runs there.
    pub(crate) fn end(&mut self, path: &ActorPath, reason: &ExitReason, now: Uptime) -> bool {
        let Some(below) = &mut self.below else { return false };
        let hit = |child: &Node| child.path == *path || path.as_str().starts_with(&format!("{}/", child.path));
        let Some(at) = below.children.iter().position(hit) else { return false };
        let child = &mut below.children[at];
        let reason = if child.path == *path {
            if !child.runs {
                return false;
            }
            child.stop();
            reason.clone()
        } else {
            if !child.runs || !child.end(path, reason, now) {
                return false;
            }
            if child.runs {
                return true;
            }
            ExitReason::Shutdown // it gave up
        };
        if !below.child_ended(at, &reason, now) {
            self.stop();
        }
        true
    }

    /// Path, state and starts of everything below.
    pub(crate) fn standing(&self, into: &mut BTreeMap<String, (ChildState, u64)>) {
        let Some(below) = self.below.as_ref().filter(|_| self.runs) else { return };
        for child in below.children.iter().filter(|child| !child.gone) {
            let state = if child.runs { ChildState::Running } else { ChildState::Undefined };
            into.insert(child.path.to_string(), (state, child.starts));
            child.standing(into);
        }
    }
}

impl Below {
    /// False where this is one restart too many.
    fn child_ended(&mut self, at: usize, reason: &ExitReason, now: Uptime) -> bool {
        let again = match self.children[at].restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_orderly(),
            Restart::Temporary => false,
        };
        if !again {
            self.children[at].gone = self.children[at].restart == Restart::Temporary;
            return true;
        }
        self.spent.retain(|spent| now.since(*spent) <= self.period);
        self.spent.push(now);
        if self.spent.len() > self.intensity {
            return false;
        }
        let group = match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => at..at + 1,
            Strategy::RestForOne => at..self.children.len(),
            Strategy::OneForAll => 0..self.children.len(),
        };
        for child in &mut self.children[group.clone()] {
            let was_there = child.runs;
            child.stop();
            child.gone |= was_there && child.restart == Restart::Temporary;
        }
        self.children[group].iter_mut().filter(|child| !child.gone).for_each(Node::start);
        true
    }
}

/// splitmix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap()
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.index(words.len())]
    }
}

/// Files by name. A tree of up to three levels, with few restarts forgiven below and many at the root.
pub(crate) struct Files(BTreeMap<String, String>);

impl TreeSource for Files {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.0.get(name).cloned().ok_or(TreeSourceError::NotFound)
    }
}

impl Files {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let mut files = Self(BTreeMap::new());
        files.add("root", 0, dice);
        files
    }

    fn add(&mut self, name: &str, level: u64, dice: &mut Dice) {
        let intensity = if level == 0 { 50 } else { dice.below(4) };
        let strategy = dice.one_of(&["one_for_one", "one_for_all", "rest_for_one"]);
        let mut text =
            format!("strategy = \"{strategy}\"\nintensity = {intensity}\nperiod = \"{}ms\"\n", 200 + dice.below(800));
        for child in 0..1 + dice.below(4) {
            let restart = dice.one_of(&["permanent", "permanent", "transient", "temporary"]);
            let work = if level < 2 && dice.below(3) == 0 {
                let below = format!("{name}-{child}");
                self.add(&below, level + 1, dice);
                format!("tree = \"{below}\"")
            } else {
                "behaviour = \"x\"".to_owned()
            };
            write!(text, "[[child]]\nid = \"c{child}\"\nrestart = \"{restart}\"\n{work}\n").unwrap();
        }
        self.0.insert(name.to_owned(), text);
    }
}

pub(crate) fn paths(node: &Node, into: &mut Vec<ActorPath>) {
    for child in node.below.iter().flat_map(|below| &below.children) {
        into.push(child.path.clone());
        paths(child, into);
    }
}

/// Ends for each tree.
pub(crate) fn events() -> u64 {
    let set = std::env::var("COVENANT_MODEL_EVENTS").ok();
    set.map_or(EVENTS, |events| events.parse().expect("COVENANT_MODEL_EVENTS is a number"))
}

/// Plays random ends on one random tree, and holds the core against the model after each. Returns all that happened.
fn play(seed: u64, events: u64) -> String {
    let mut dice = Dice(seed);
    let tree = load_tree("root", &Files::new(&mut dice)).unwrap();
    let mut trace = String::new();
    let mut all = Vec::new();
    paths(&Node::new(ActorPath::root(), Restart::Permanent, Some(&tree)), &mut all);
    let mut left = events;
    // A root that gave up begins anew, with the rest of the ends.
    while left > 0 {
        let mut note = |line| writeln!(trace, "{line:?}").unwrap();
        let mut model = Node::new(ActorPath::root(), Restart::Permanent, Some(&tree));
        model.start();
        let mut core = Simulation::start(&tree, seed, &mut note).unwrap();
        let mut now = Uptime::ZERO;
        while left > 0 && model.runs {
            left -= 1;
            now = now.after(Duration::from_millis(dice.below(150)));
            let path = all[dice.index(all.len())].clone();
            let reason = match dice.below(if supervises(&model, &path) { 1 } else { 4 }) {
                0 => ExitReason::Killed,
                1 => ExitReason::Normal,
                2 => ExitReason::Shutdown,
                _ => ExitReason::Panicked("boom".into()),
            };
            model.end(&path, &reason, now);
            core.play(&ScriptedEvent { at: now, path: path.clone(), what: Happening::Exit(reason.clone()) }, &mut note)
                .unwrap();
            let state = core.state();
            assert_eq!(state.ended.is_some(), !model.runs, "seed {seed}: {path} {reason} at {now:?}");
            let mut expected = BTreeMap::new();
            model.standing(&mut expected);
            let found: BTreeMap<String, (ChildState, u64)> = state
                .children
                .iter()
                .map(|(path, standing)| (path.to_string(), (standing.state, standing.incarnation)))
                .collect();
            assert_eq!(found, expected, "seed {seed}: {path} {reason} at {now:?}");
        }
    }
    trace
}

pub(crate) fn supervises(node: &Node, path: &ActorPath) -> bool {
    node.below
        .iter()
        .flat_map(|below| &below.children)
        .any(|child| if child.path == *path { child.below.is_some() } else { supervises(child, path) })
}

#[test]
fn x25_random_trees_against_a_reference_model() {
    let events = events();
    for seed in 0..TREES {
        let trace = play(seed, events);
        if seed < 5 {
            assert!(trace == play(seed, events), "seed {seed} does not give the same again");
        }
    }
}
