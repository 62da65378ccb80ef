//! Runs storms over whole nodes, each seed twice, and says what broke.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_sim::whole::{self, CHECK_EVERY, Narrow, Outcome, Setup};

const USAGE: &str =
    "sim takes --seed N, --seeds N, --nodes 3..250, --threads N, --once and --story; or --narrow SECONDS and --seed N";

fn main() -> ExitCode {
    let Some(asked) = Asked::read(&std::env::args().skip(1).collect::<Vec<_>>()) else {
        let _closed = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(span) = asked.narrow {
        return narrow(span, asked.first);
    }
    let (next, failed) = (AtomicU64::new(asked.first), AtomicU64::new(0));
    let end = asked.first.saturating_add(asked.seeds);
    let out = Mutex::new(io::stdout());
    std::thread::scope(|scope| {
        for _ in 0..asked.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let (good, text) = report(&asked, seed);
                    failed.fetch_add(u64::from(!good), Ordering::Relaxed);
                    if let Ok(mut out) = out.lock() {
                        let _closed = writeln!(out, "{text}");
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        0 => ExitCode::SUCCESS,
        failed => {
            let _closed = writeln!(io::stderr(), "{failed} of {} seeds failed", asked.seeds);
            ExitCode::FAILURE
        }
    }
}

/// What is asked for on the command line.
struct Asked {
    first: u64,
    seeds: u64,
    nodes: usize,
    threads: u64,
    once: bool,
    story: bool,
    narrow: Option<Duration>,
}

impl Asked {
    fn read(arguments: &[String]) -> Option<Self> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let mut asked = Self { first: 0, seeds: 1, nodes: 5, threads: cores, once: false, story: false, narrow: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--once" => asked.once = true,
                "--story" => asked.story = true,
                "--seed" => asked.first = arguments.next()?.parse().ok()?,
                "--seeds" => asked.seeds = arguments.next()?.parse().ok()?,
                "--nodes" => asked.nodes = arguments.next()?.parse().ok().filter(|nodes| (3..=250).contains(nodes))?,
                // A fault holds for a day at most.
                "--narrow" => {
                    let secs = arguments.next()?.parse().ok().filter(|secs| (1..=80_000).contains(secs))?;
                    asked.narrow = Some(Duration::from_secs(secs));
                }
                "--threads" => {
                    asked.threads = arguments.next()?.parse().ok().filter(|threads| (1..=64).contains(threads))?
                }
                _ => return None,
            }
        }
        Some(asked)
    }
}

/// Fills a narrow line for so long, and says whether anybody took another for dead.
fn narrow(span: Duration, seed: u64) -> ExitCode {
    let narrow = match whole::narrow(span, seed) {
        Ok(narrow) => narrow,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "cannot be run: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let held = narrow.missed == 0 && narrow.broken.is_empty();
    let Narrow { flowed, bulk, dropped, missed, .. } = &narrow;
    let mut lines = vec![format!(
        "seed {seed}: 3 nodes on lines of 20 Mbit/s and 50 ms, bulk for {} s: {:.1} MiB a second arrived, {dropped} datagrams dropped in \
         full queues, {missed} looks of {} at which somebody was not reachable: {}",
        flowed.as_secs(),
        *bulk as f64 / f64::from(1 << 20) / flowed.as_secs_f64(),
        flowed.as_millis() / CHECK_EVERY.as_millis(),
        if held { "ok" } else { "BROKEN" }
    )];
    lines.extend(narrow.first_missed.iter().chain(&narrow.broken).cloned());
    let _closed = writeln!(io::stdout(), "{}", lines.join("\n"));
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a seed. Whether all held, and what to print.
fn report(asked: &Asked, seed: u64) -> (bool, String) {
    let setup = Setup::of(asked.nodes, seed);
    let run = if asked.once { whole::once(&setup, seed) } else { whole::twice(&setup, seed) };
    let outcome = match run {
        Ok(outcome) => outcome,
        Err(error) => return (false, format!("seed {seed}: cannot be run: {error:#}")),
    };
    let mut lines = vec![summary(asked.nodes, seed, &outcome)];
    if asked.story || !outcome.broken.is_empty() {
        lines.extend(outcome.story.iter().cloned());
    }
    lines.extend(outcome.broken.iter().map(|broken| format!("seed {seed}: BROKEN at {broken}")));
    if !outcome.broken.is_empty() {
        let nodes = asked.nodes;
        lines.push(format!("replay: just sim {seed} --nodes {nodes} --story"));
    }
    (outcome.broken.is_empty(), lines.join("\n"))
}

fn summary(nodes: usize, seed: u64, outcome: &Outcome) -> String {
    let Outcome { counts, answered, unanswered, fired, conflicts, acts: (acts, refused), letters, .. } = outcome;
    let healed = outcome.healed.map_or("never".to_owned(), |healed| format!("{:.1} s", healed.as_secs_f64()));
    let stopped = counts.parted + counts.cut;
    format!(
        "seed {seed}: {nodes} nodes, {:.0} s, {} packets ({} lost, {stopped} stopped), {answered} calls answered and \
         {unanswered} not, {fired} monitors fired, {conflicts} names lost to others, {acts} acts under leases and {refused} refused, \
         {} letters to sleepers of which {} had to arrive, healed after {healed}, trace {}: {}",
        outcome.virtual_time.as_secs_f64(),
        counts.sent,
        counts.lost,
        letters.0,
        letters.1,
        outcome.trace(),
        if outcome.broken.is_empty() { "ok" } else { "BROKEN" }
    )
}
