//! Runs storms over the ledger's voters, each seed twice, and says what broke.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_history::Outcome as Told;
use covenant_sim::ledger::{Disks, Outcome, Storm, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| match arguments.iter().position(|argument| argument == name) {
        None => Some(default),
        Some(at) => arguments.get(at + 1)?.parse().ok(),
    };
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let known = ["--seed", "--seeds", "--secs", "--clients", "--story", "--lying"];
    let unknown = arguments.iter().find(|argument| argument.starts_with("--") && !known.contains(&argument.as_str()));
    let asked = (number("--seed", 0), number("--seeds", 1), number("--secs", 30), number("--clients", 8), unknown);
    let (Some(first), Some(seeds), Some(secs @ 1..=100_000), Some(clients @ 1..=256), None) = asked else {
        let usage = "sim-ledger takes --seed N, --seeds N, --secs 1..100000, --clients 1..256, --lying and --story";
        let _closed = writeln!(io::stderr(), "{usage}");
        return ExitCode::from(2);
    };
    let disks = if flag("--lying") { Disks::Lying } else { Disks::Honest };
    let clients = u32::try_from(clients).unwrap_or(8);
    let storm = Storm { span: Duration::from_secs(secs), clients, disks };
    let next = AtomicU64::new(first);
    let sums = Mutex::new(Sums::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first.saturating_add(seeds) {
                        return;
                    }
                    let (outcome, again) = (run(storm, seed), run(storm, seed));
                    let mut broken = outcome.broken.clone();
                    if again.trace != outcome.trace {
                        broken.push(format!("two runs of this seed differ: {} and {}", outcome.trace, again.trace));
                    }
                    let mut sums = sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    sums.add(&outcome, &broken);
                    if !broken.is_empty() || flag("--story") || seeds == 1 {
                        let _closed = tell(seed, &outcome, &broken, flag("--story"));
                    }
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Sums { failed, blows, attempts, acknowledged, unknown, reads } = sums;
    let _closed = writeln!(
        io::stdout(),
        "{seeds} seeds twice: {blows} blows, {attempts} tries ({acknowledged} acknowledged, {unknown} not known), {reads} linearizable \
         reads; {failed} seeds broke"
    );
    // On disks that lie, what is asked is whether it is found.
    let as_wanted = if disks == Disks::Lying { failed > 0 } else { failed == 0 };
    if as_wanted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What all seeds came to.
#[derive(Default)]
struct Sums {
    failed: u64,
    blows: usize,
    attempts: usize,
    acknowledged: usize,
    unknown: usize,
    reads: usize,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome, broken: &[String]) {
        let count = |wanted: fn(&Told) -> bool| {
            outcome.history.attempts.iter().filter(|attempt| wanted(&attempt.outcome)).count()
        };
        self.failed += u64::from(!broken.is_empty());
        self.blows += outcome.story.len();
        self.attempts += outcome.history.attempts.len();
        self.acknowledged += count(|told| matches!(told, Told::Booked { .. }));
        self.unknown += count(|told| *told == Told::Unknown);
        self.reads += outcome.history.reads.len();
    }
}

fn tell(seed: u64, outcome: &Outcome, broken: &[String], story: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let healed = outcome.healed.map_or("never".to_owned(), |healed| format!("{:.2} s", healed.as_secs_f64()));
    let (tries, reads) = (outcome.history.attempts.len(), outcome.history.reads.len());
    let verdict = if broken.is_empty() { "ok".to_owned() } else { broken.join("\n  ") };
    writeln!(
        out,
        "seed {seed}: {} blows, {tries} tries, {reads} reads, healed after {healed}, trace {}: {verdict}",
        outcome.story.len(),
        outcome.trace
    )?;
    if story {
        outcome.story.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    Ok(())
}
