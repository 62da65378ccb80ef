//! Measures the promises that have a number, each beside the bare thing it is built on, in the same run.
//!
//! `covenant-bench [NAME…] [--json]`. Names are those of [`BENCHES`]; without one all run. `covenant-bench peers
//! [METRIC…] [--json]` holds our actors against those of others, `covenant-bench book [--full] [--json]` applies transfers to the
//! book on a disk, `covenant-bench group [--json]` has three processes agree beside three of etcd, and `covenant-bench verify
//! [--json]` verifies a public log of a million entries. What the numbers mean is in `docs/performance.md`.

mod actor;
mod bare;
mod book;
mod consensus;
mod content;
mod control;
mod disk;
mod group;
mod ledger;
mod load;
mod local;
mod machine;
mod nodes;
mod peers;
mod plan;
mod processes;
mod processor_time;
mod remote;
mod report;
mod restart;
mod stats;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use report::{Outcome, Report};

/// What ships runs on this allocator, so what is measured does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Anything that stops a benchmark: told to whoever runs it, and the others go on.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

type Bench = fn() -> Result<Outcome, Failure>;

/// Every benchmark by name, in the order of the table.
const BENCHES: [(&str, Bench); 13] = [
    ("restart", restart::run),
    ("local", local::run),
    remote::PARTS[0],
    remote::PARTS[1],
    remote::PARTS[2],
    remote::PARTS[3],
    remote::PARTS[4],
    remote::PARTS[5],
    ("content", content::run),
    ("ledger", ledger::run),
    ("consensus", consensus::run),
    ("plan", plan::run),
    ("processes", processes::run),
];

fn main() -> ExitCode {
    // The benchmarks of crashes panic on purpose, some twenty thousand times.
    std::panic::set_hook(Box::new(|info| {
        if info.payload_as_str() != Some(actor::CRASH) {
            let _unheard = writeln!(std::io::stderr(), "{info}");
        }
    }));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        // One cell of the table of peers, in a process of its own.
        ["--peer-cell", metric, engine] => {
            return said(peers::cell(metric, engine).and_then(|line| Ok(writeln!(std::io::stdout(), "{line}")?)));
        }
        // What one node weighs by its connections, in a process of its own.
        ["--weigh-connections"] => {
            return said(remote::weigh().and_then(|line| Ok(writeln!(std::io::stdout(), "{line}")?)));
        }
        // How long opening a book takes and what it weighs then, in a process of its own.
        ["--open-book", folder, check] => {
            return said(
                book::open(folder, check == "check").and_then(|line| Ok(writeln!(std::io::stdout(), "{line}")?)),
            );
        }
        // One member of a group, in a process of its own.
        ["--voter"] => return said(group::voter()),
        ["group"] => return said(group::run(false)),
        ["group", "--json"] => return said(group::run(true)),
        ["book", ref how @ ..] if how.iter().all(|how| ["--full", "--json"].contains(how)) => {
            return said(book::run(how.contains(&"--full"), how.contains(&"--json")));
        }
        ["verify", ref how @ ..] if how.iter().all(|how| *how == "--json") => {
            return said(verify::run(!how.is_empty()));
        }
        ["peers", ref metrics @ .., "--json"] => return said(peers::run(peers::ROUNDS, metrics, true)),
        ["peers", ref metrics @ ..] => return said(peers::run(peers::ROUNDS, metrics, false)),
        _ => {}
    }
    let mut json = false;
    let mut names = Vec::new();
    for argument in words {
        match argument {
            "--json" => json = true,
            name if BENCHES.iter().any(|(known, _)| *known == name) => names.push(name),
            other => {
                let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
                let _unheard = writeln!(
                    std::io::stderr(),
                    "no benchmark is called {other:?}: use {}, --json, or peers, book or group alone",
                    known.join(", ")
                );
                return ExitCode::from(2);
            }
        }
    }
    let mut report = Report::new();
    for (name, bench) in BENCHES {
        if names.is_empty() || names.contains(&name) {
            let _unheard = writeln!(std::io::stderr(), "measuring {name} …");
            match bench() {
                Ok(outcome) => report.add(name, outcome),
                Err(failure) => report.failed(name, failure.to_string()),
            }
        }
    }
    let mut out = std::io::stdout().lock();
    let written = if json { report.write_json(&mut out) } else { report.write_table(&mut out) };
    if written.is_ok() && !report.has_failed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn said(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _unheard = writeln!(std::io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}
