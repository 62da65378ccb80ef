//! Tortures the ledger of three voters, real processes of the program that ships, and holds what 64 clients were answered against the
//! book that came of it.
//!
//! `ledger-torture [--minutes N | --seconds N] [--seed N] [--clients N] [--program PATH] [--no-disks] [--keep FOLDER] [--json]`, or
//! `ledger-torture --recheck FILE`. The program is `covenant` beside this one where none is named. A run that finds something
//! keeps its history and the logs of its processes, and says where. docs/operating/ledger-torture.md says what is done to whom.

mod clients;
mod disks;
mod finish;
mod line;
mod options;
mod plan;
mod report;
mod run;
mod voters;

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use covenant_history::{History, check};

use options::{Asked, Options};

fn main() -> ExitCode {
    let asked = match Options::parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(error) => {
            say(&format!("{error:#}\n{}", options::USAGE));
            return ExitCode::from(2);
        }
    };
    let held = match asked {
        Asked::Help => {
            say(options::USAGE);
            return ExitCode::SUCCESS;
        }
        Asked::Recheck(path) => recheck(&path),
        Asked::Run(options) => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(run::run(&options))),
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("ledger-torture: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Looks at a history that was kept.
fn recheck(path: &Path) -> anyhow::Result<bool> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let history = History::read_from(&mut BufReader::new(file)).with_context(|| path.display().to_string())?;
    let verdict = check(&history);
    let counts = report::faults(&verdict);
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let (tries, reads) = (history.attempts.len(), history.reads.len());
    say(&format!("{tries} tries and {reads} reads: {}", counts.join(", ")));
    verdict.faults.iter().for_each(|fault| say(&fault.to_string()));
    Ok(verdict.holds())
}

/// Progress and complaints; the report alone goes to stdout.
fn say(line: &str) {
    // Whoever closed it does not want to hear it.
    let _unheard = writeln!(std::io::stderr(), "{line}");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
