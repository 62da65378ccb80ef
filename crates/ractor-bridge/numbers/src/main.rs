//! Measures stock `ractor_cluster` between two processes on loopback, over TCP and over QUIC: the numbers of ADR 1,
//! which says why messages between our nodes do not ride on it.
//!
//! `ractor-cluster-numbers [--quick] [--json]`. Every measurement has a fresh process at each end, and the two transports take
//! turns. `--quick` looks whether it all works; its numbers mean nothing.

mod callee;
mod caller;
mod link;
#[path = "../../../bench/src/machine.rs"]
mod machine;
mod plan;
#[expect(dead_code, reason = "the table of the other benchmarks, which have marks")]
#[path = "../../../bench/src/report.rs"]
mod report;
#[path = "../../../bench/src/stats.rs"]
mod stats;
mod words;

use std::io::Write;
use std::process::ExitCode;

use plan::Plan;
use report::Report;

/// What ships runs on this allocator, so what is measured beside it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Anything that stops a measurement.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &words[..] {
        ["callee", rest @ ..] => callee::run(rest),
        ["caller", rest @ ..] => caller::run(rest),
        options if options.iter().all(|option| ["--quick", "--json"].contains(option)) => {
            measure(options.contains(&"--quick"), options.contains(&"--json"))
        }
        _ => Err("it takes --quick and --json".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "ractor-cluster-numbers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(quick: bool, json: bool) -> Result<(), Failure> {
    let plan = if quick { Plan::quick() } else { Plan::whole() };
    let mut report = Report::new();
    for (name, part) in plan::PARTS {
        match part(&plan) {
            Ok(outcome) => report.add(name, outcome),
            Err(error) => report.failed(name, error.to_string()),
        }
    }
    let mut out = std::io::stdout().lock();
    if json {
        report.write_json(&mut out)?
    } else {
        report.write_table(&mut out)?
    }
    if report.has_failed() { Err("not all was measured".into()) } else { Ok(()) }
}
