//! The cases in the pure core, in virtual time. [`script`] says how children and steps are written.

#[path = "../../../crates/supervision/src/supervisor/tests/bench.rs"]
#[allow(dead_code, reason = "a part of it is used by the core's own tests alone")]
mod bench;
#[path = "../../../crates/supervision/src/supervisor/tests/script.rs"]
mod script;
mod start;

use crate::Strategy::{self, Dynamic, OneForAll, OneForOne, RestForOne};
use bench::Bench;

/// After a boot that is not looked at, each step of `script` does what stands at its place in `expected`, reports left out.
#[track_caller]
fn check(strategy: Strategy, children: &str, script: &str, expected: &str) {
    let mut bench = Bench::new(strategy, children);
    bench.run("boot");
    assert_eq!(bench.run(script), expected, "{strategy:?} of {children}: {script}");
}
