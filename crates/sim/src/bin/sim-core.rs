//! Runs storms over the membership core, each seed twice, and says what broke.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use covenant_sim::swim::Setup;
use covenant_sim::swim::storm::{self, Storm};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| match arguments.iter().position(|argument| argument == name) {
        None => Some(default),
        Some(at) => arguments.get(at + 1)?.parse().ok(),
    };
    let known = |argument: &&String| ["--nodes", "--seed", "--seeds", "--secs", "--story"].contains(&argument.as_str());
    let unknown = arguments.iter().filter(|argument| argument.starts_with("--")).find(|argument| !known(argument));
    let asked = (number("--nodes", 50), number("--seed", 0), number("--seeds", 1), number("--secs", 300), unknown);
    let (Some(nodes @ 3..=1000), Some(first), Some(seeds), Some(secs @ 10..=100_000), None) = asked else {
        let usage = "sim-core takes --nodes 3..1000, --seed N, --seeds N, --secs 10..100000 and --story";
        let _closed = writeln!(io::stderr(), "{usage}");
        return ExitCode::from(2);
    };
    let nodes = usize::try_from(nodes).unwrap_or(1000);
    let story = arguments.iter().any(|argument| argument == "--story");
    let mut failed = 0_u64;
    for seed in first..first.saturating_add(seeds) {
        let setup = if seed % 2 == 0 { Setup::lan(nodes) } else { Setup::mixed(nodes) };
        let storm = Storm { setup, span: Duration::from_secs(secs), calm: Duration::from_secs(240) };
        let outcome = storm::run(&storm, seed);
        let mut broken = outcome.broken.clone();
        if storm::run(&storm, seed).trace != outcome.trace {
            broken.push("two runs of this seed differ".to_owned());
        }
        failed += u64::from(!broken.is_empty());
        let healed = outcome.healed.map_or("never".to_owned(), |healed| format!("{:.1} s", healed.as_secs_f64()));
        let verdict = if broken.is_empty() { "ok".to_owned() } else { broken.join("; ") };
        let lines = if story || !broken.is_empty() { outcome.story.join("\n  ") } else { String::new() };
        let line = format!(
            "seed {seed}: {nodes} nodes, {} blows, {} packets lost, healed after {healed}, trace {}: {verdict}",
            outcome.story.len(),
            outcome.lost,
            outcome.trace
        );
        let text = if lines.is_empty() { line } else { format!("{line}\n  {lines}") };
        if writeln!(io::stdout(), "{text}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
