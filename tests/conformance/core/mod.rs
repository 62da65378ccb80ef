//! The cases in the pure core, in virtual time. [`script`] says how children and steps are written.

mod admin;
pub(crate) mod alone;
#[path = "../../../crates/supervision/src/supervisor/tests/bench.rs"]
#[allow(dead_code, reason = "a part of it is used by the core's own tests alone")]
pub(crate) mod bench;
mod extra;
pub(crate) mod model;
mod replace;
mod restart_types;
mod robustness;
#[path = "../../../crates/supervision/src/supervisor/tests/script.rs"]
pub(crate) mod script;
mod significant;
mod specs;
mod start;
mod stop;
mod strategies;

use covenant_supervision::{Counts, TreeSource, TreeSourceError, TreeSpec, load_tree};

use crate::Strategy::{self, Dynamic, OneForAll, OneForOne, RestForOne};
use bench::Bench;

/// After a boot that is not looked at, each step of `script` does what stands at its place in `expected`, reports left out.
#[track_caller]
fn check(strategy: Strategy, children: &str, script: &str, expected: &str) {
    let mut bench = Bench::new(strategy, children);
    bench.run("boot");
    assert_eq!(bench.run(script), expected, "{strategy:?} of {children}: {script}");
}

/// Steps and what they do, one pair a line.
#[track_caller]
fn check_steps(strategy: Strategy, children: &str, steps: &[(&str, &str)]) {
    let mut bench = Bench::new(strategy, children);
    bench.run("boot");
    for (step, expected) in steps {
        assert_eq!(bench.run(step), *expected, "{strategy:?} of {children}: {step}");
    }
}

/// A bench whose children were booted.
fn booted(strategy: Strategy, children: &str) -> Bench {
    let mut bench = Bench::new(strategy, children);
    bench.run("boot");
    bench
}

/// Specs, active, supervisors and workers.
pub(crate) fn counts(bench: &Bench) -> [usize; 4] {
    let Counts { specs, active, supervisors, workers } = bench.core.counts();
    [specs, active, supervisors, workers]
}

/// The ids in start order.
pub(crate) fn ids(bench: &Bench) -> Vec<String> {
    bench.core.children().map(|child| child.id.to_string()).collect()
}

struct OneFile<'a>(&'a str);

impl TreeSource for OneFile<'_> {
    fn read(&self, _: &str) -> Result<String, TreeSourceError> {
        Ok(self.0.to_owned())
    }
}

/// A tree file, read.
pub(crate) fn file(text: &str) -> Result<TreeSpec, String> {
    load_tree("root", &OneFile(text)).map_err(|error| error.to_string())
}
