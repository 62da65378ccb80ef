//! The same cases on real actors: the files of `core`, with a bench that takes every step on actors too.
//!
//! Cases about messages, tasks, links and trees of files have files of their own, and run on both hosts.
//!
//! What the core does in a step is compared with what the case says; how its children stand then, and what operators were
//! answered, with a running tree.

#[path = "../core/admin.rs"]
mod admin;
mod bench;
#[path = "../core/extra.rs"]
mod extra;
mod hosted;
mod light;
mod model;
#[path = "../core/replace.rs"]
mod replace;
#[path = "../core/restart_types.rs"]
mod restart_types;
#[path = "../core/robustness.rs"]
mod robustness;
#[path = "../core/significant.rs"]
mod significant;
#[path = "../core/start.rs"]
mod start;
#[path = "../core/stop.rs"]
mod stop;
#[path = "../core/strategies.rs"]
mod strategies;

/// Cases over two nodes in one process.
mod nodes;

use crate::Strategy::{self, Dynamic, OneForAll, OneForOne, RestForOne};
use crate::core::{counts, ids, script};
use bench::Bench;

#[track_caller]
fn check(strategy: Strategy, children: &str, script: &str, expected: &str) {
    let mut bench = booted(strategy, children);
    assert_eq!(bench.run(script), expected, "{strategy:?} of {children}: {script}");
}

#[track_caller]
fn check_steps(strategy: Strategy, children: &str, steps: &[(&str, &str)]) {
    let mut bench = booted(strategy, children);
    for (step, expected) in steps {
        assert_eq!(bench.run(step), *expected, "{strategy:?} of {children}: {step}");
    }
}

fn booted(strategy: Strategy, children: &str) -> Bench {
    let mut bench = Bench::new(strategy, children);
    bench.run("boot");
    bench
}
