//! One line per rule: children, what happens to them, and what the supervisor does, as text and in virtual time.
//!
//! `check` boots the children, plays the steps of a script and compares what was done in each step. [`script`] says how
//! children and steps are written.

mod admin;
mod auto_shutdown;
mod backoff;
mod bench;
mod budgets;
mod drain;
mod instances;
mod intensity;
mod random;
mod replace;
mod reports;
mod restart_types;
mod script;
mod start;
mod stop;
mod strategies;
mod unkillable;

use crate::Strategy::{self, Dynamic, OneForAll, OneForOne, RestForOne};
use bench::Bench;

/// After a boot that is not looked at, each step of `script` does what stands at its place in `expected`, reports left out.
#[track_caller]
fn check(strategy: Strategy, children: &str, script: &str, expected: &str) {
    let mut bench = Bench::new(strategy, children);
    bench.run("boot");
    assert_eq!(bench.run(script), expected, "{strategy:?} of {children}: {script}");
}

/// The same with the boot as the first step.
#[track_caller]
fn check_from_boot(children: &str, script: &str, expected: &str) {
    assert_eq!(Bench::new(OneForOne, children).run(script), expected, "{children}: {script}");
}

/// The same with nothing but the reports.
#[track_caller]
fn check_reports(strategy: Strategy, children: &str, script: &str, expected: &str) {
    let mut bench = Bench::new(strategy, children);
    bench.run("boot");
    bench.reports.clear();
    bench.run(script);
    assert_eq!(bench.reports.join(", "), expected, "{strategy:?} of {children}: {script}");
}
