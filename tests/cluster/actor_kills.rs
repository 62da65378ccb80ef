//! Random actors of a running cluster are killed, one after the other, as fast as the budgets of their supervisors forgive:
//! every kill is reported once, everything comes back, and nothing is left behind or grows.
//!
//! `COVENANT_ACTOR_KILL_SECS` says how long; a few seconds where it is unset, ten minutes in `just actor-kills`.
//! `COVENANT_ACTOR_KILL_SEED` repeats a choice of actors.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{self, Up, wait_for};

/// How long actors are killed where nothing else is said.
const SECS: u64 = 10;
/// What a node may have more at the end than after its first kills: tasks and files that come and go with connections.
const TASKS_MORE: u64 = 4;
const FILES_MORE: u64 = 4;
/// In bytes: kills leave counts and capsules, which are bounded, and the allocator keeps a little.
const MEMORY_MORE: u64 = 6 * 1024 * 1024;
/// A budget is counted by two clocks, the test's and the node's: it is spent a little later here.
const LATER: Duration = Duration::from_secs(1);

/// Intensity and period of the supervisors in `supervisor-trees/`, by their ids. What a test kills faster than that makes a
/// supervisor give up, as it should.
fn budget(supervisor: &str) -> (usize, Duration) {
    let (intensity, secs) = match supervisor {
        "/" => (3, 60),
        "/content" | "/ledger" | "/placement" => (5, 60),
        "/sync" => (10, 30),
        "/watch" => (20, 60),
        other => panic!("no budget is known of {other}"),
    };
    (intensity, Duration::from_secs(secs) + LATER)
}

/// One actor of one node, as the tree shows it.
#[derive(Clone, Debug)]
struct Actor {
    node: String,
    path: String,
    supervisor: String,
    incarnation: u64,
}

/// The actors that run. One that has nothing to do on its node, as the book has on most, does not.
fn actors(up: &Up, node: &str) -> Vec<Actor> {
    fn walk(node: &str, supervisor: &str, view: &Value, into: &mut Vec<Actor>) {
        for child in view["children"].as_array().unwrap() {
            let path = child["path"].as_str().unwrap();
            if child["state"] == "running" {
                let incarnation = child["incarnation"].as_u64().unwrap();
                let (node, supervisor) = (node.to_owned(), supervisor.to_owned());
                into.push(Actor { node, path: path.to_owned(), supervisor, incarnation });
            }
            walk(node, path, child, into);
        }
    }
    let mut found = Vec::new();
    walk(node, "/", &up.ask(&["tree", "show", "--node", node]), &mut found);
    found
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug)]
struct Size {
    tasks: u64,
    files: u64,
    memory: u64,
    crashes: u64,
}

fn size(folder: &Path, node: &str) -> Size {
    let config = std::fs::read_to_string(folder.join(node).join("node.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let mut stream = TcpStream::connect(config["metrics"]["listen"].as_str().unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let sum = |name: &str| {
        let series = text.lines().filter(|line| line.starts_with(name));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>()
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and positive, as the node counts"
    )]
    let count = |name: &str| sum(name) as u64;
    Size {
        tasks: count("covenant_tasks"),
        files: count("process_open_fds"),
        memory: count("process_resident_memory_bytes"),
        crashes: count("covenant_actor_crashes_total"),
    }
}

/// Splitmix64: any number will do, and a seed repeats it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// When what was charged to whom: (node, supervisor).
#[derive(Default)]
struct Budgets(BTreeMap<(String, String), VecDeque<Instant>>);

impl Budgets {
    /// How long until one more is forgiven; zero for now.
    fn wait(&mut self, actor: &Actor) -> Duration {
        let (intensity, period) = budget(&actor.supervisor);
        let spent = self.0.entry((actor.node.clone(), actor.supervisor.clone())).or_default();
        while spent.front().is_some_and(|at| at.elapsed() > period) {
            spent.pop_front();
        }
        if spent.len() < intensity { Duration::ZERO } else { period.saturating_sub(spent[0].elapsed()) }
    }

    fn charge(&mut self, actor: &Actor) {
        self.0.entry((actor.node.clone(), actor.supervisor.clone())).or_default().push_back(Instant::now());
    }
}

#[test]
fn killing_random_actors_leaves_nothing_behind_and_every_kill_is_reported_once() {
    let _turn = harness::turn();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let secs = Duration::from_secs(number("COVENANT_ACTOR_KILL_SECS").unwrap_or(SECS));
    let seed = number("COVENANT_ACTOR_KILL_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    eprintln!("actors are killed for {secs:?}, COVENANT_ACTOR_KILL_SEED={seed}");
    let mut dice = Dice(seed);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cluster");
    let up = Up::start(&folder);
    up.ask(&["ledger", "assess", "--year", "2024"]);
    let pids = up.pids();
    let nodes: Vec<&str> = pids.iter().map(|(node, _)| node.as_str()).collect();
    let all: Vec<Actor> = nodes.iter().flat_map(|node| actors(&up, node)).collect();
    let mut budgets = Budgets::default();
    let mut kills: BTreeMap<(String, String), u64> = BTreeMap::new();

    let mut kill = |actor: &Actor, budgets: &mut Budgets| {
        budgets.charge(actor);
        let target = format!("{}:{}", actor.node, actor.path);
        let killed = up.ask(&["actor", "kill", &target]);
        *kills.entry((actor.node.clone(), actor.path.clone())).or_default() += 1;
        let killed = killed["incarnation"].as_u64().unwrap();
        let others = all.iter().filter(|other| other.node == actor.node).count();
        // And all below it, where it is a supervisor.
        wait_for(&format!("{target} to be back after incarnation {killed}"), || {
            let now = actors(&up, &actor.node);
            let own = now.iter().find(|other| other.path == actor.path)?;
            (own.incarnation > killed && now.len() == others).then_some(())
        });
    };

    // What a first restart allocates once is not growth.
    for actor in all.iter().filter(|actor| actor.supervisor != "/") {
        kill(actor, &mut budgets);
    }
    let before: Vec<Size> = nodes.iter().map(|node| size(&folder, node)).collect();

    let began = Instant::now();
    while began.elapsed() < secs {
        let actor = &all[dice.below(all.len())];
        if budgets.wait(actor).is_zero() {
            kill(actor, &mut budgets);
        } else if let Some(wait) = all.iter().map(|actor| budgets.wait(actor)).min() {
            // Zero where another choice is possible now. Otherwise a budget has to be waited for, and it is a time.
            std::thread::park_timeout(wait.min(secs.saturating_sub(began.elapsed())));
        }
    }

    let total: u64 = kills.values().sum();
    eprintln!("{total} kills of {} actors", kills.len());
    assert_eq!(up.pids(), pids, "no node gave up");
    for (node, before) in nodes.iter().zip(before) {
        let killed: BTreeMap<&str, u64> =
            kills.iter().filter(|((of, _), _)| of == node).map(|((_, path), count)| (path.as_str(), *count)).collect();
        let reported = up.ask(&["crash", "ls", "--node", node]);
        let reported: BTreeMap<&str, u64> = reported
            .as_array()
            .unwrap()
            .iter()
            .map(|crash| {
                assert_eq!(crash["class"], "killed", "nothing crashed that was not killed: {crash}");
                (crash["path"].as_str().unwrap(), crash["count"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(reported, killed, "one report for each kill at {node}");
        let after = wait_for(&format!("{node} to be as small as before: {before:?}"), || {
            let after = size(&folder, node);
            let small = after.tasks <= before.tasks + TASKS_MORE && after.files <= before.files + FILES_MORE;
            (small && after.memory <= before.memory + MEMORY_MORE).then_some(after)
        });
        assert_eq!(after.crashes, killed.values().sum::<u64>(), "{node} counts as many");
        let runs: Vec<String> = actors(&up, node).into_iter().map(|actor| actor.path).collect();
        let had: Vec<&str> = all.iter().filter(|actor| actor.node == *node).map(|actor| actor.path.as_str()).collect();
        assert_eq!(runs, had, "{node} runs what it ran, no orphan beside it");
        eprintln!("{node}: {before:?} -> {after:?}");
    }
    up.ask(&["ledger", "check"]);
}
