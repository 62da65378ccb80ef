//! The differential check: random trees and what befalls them, on our core and on Erlang's own `supervisor`.
//!
//! Both are asked after every step who is there, how often each was started, who was started and asked to stop in which order,
//! what a call answered, and how the root ended; the answers must be the same. Periods are an hour, so that nothing depends on time, and both sides settle by asking, never by sleeping.
//!
//! `just otp-diff --cases 2000 --seed 7`. Needs `erl` and `erlc` (Debian: `erlang-base`); says so and skips without them.
//!
//! Left out, because OTP releases differ: auto_shutdown of dynamic supervisors, and instances whose restart is ignored. Left
//! out, because OTP has no such thing: back-off, budgets, starts and stops that take time, and ends of supervisors other than
//! a kill.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod case;
mod generate;
mod kept;
mod otp;
mod ours;
mod shrink;

use std::fmt::Write as _;

use case::Case;
use generate::Dice;
use otp::Otp;

/// Random cases where `COVENANT_OTP_CASES` is unset.
const CASES: u64 = 300;
/// The seed where `COVENANT_OTP_SEED` is unset: `cargo test` does the same each time, `just otp-diff` does not.
const SEED: u64 = 1;
/// Disagreements that are shrunk and shown; one cause is often behind many.
const SHOWN_MAX: usize = 5;

#[test]
fn our_supervisors_and_otps_agree() {
    let cases = setting("COVENANT_OTP_CASES").unwrap_or(CASES);
    let seed = setting("COVENANT_OTP_SEED").unwrap_or(SEED);
    let Some(mut otp) = Otp::start() else { return };
    println!("otp-diff: {cases} cases, seed {seed}: again with `just otp-diff --cases {cases} --seed {seed}`");
    let mut report = String::new();
    let (mut steps, mut disagreements) = (0, 0);
    for number in 0..cases {
        let case = generate::case(&mut Dice::new(seed, number));
        steps += case.events.len();
        if disagreement(&case, &mut otp).is_some() {
            disagreements += 1;
            if disagreements <= SHOWN_MAX {
                let small = shrink::shrink(case, |case| disagreement(case, &mut otp).is_some());
                let how = disagreement(&small, &mut otp).unwrap_or_default();
                write!(report, "\n--- case {number} of seed {seed}, shrunk:\n{small}{how}").unwrap();
            }
        }
    }
    println!("otp-diff: {cases} cases with {steps} steps, {disagreements} disagreements");
    assert_eq!(disagreements, 0, "Erlang's supervisor disagrees:{report}\nKeep them in tests/otp-diff/kept.rs.");
}

/// The first step after which the two differ, and how.
fn disagreement(case: &Case, otp: &mut Otp) -> Option<String> {
    let (mut ours, mut theirs) = (ours::play(case), otp.play(case));
    if case.has_instances() {
        ours.iter_mut().chain(&mut theirs).for_each(|line| *line = with_sorted_stops(line));
    }
    let step = (0..ours.len().max(theirs.len())).find(|step| ours.get(*step) != theirs.get(*step))?;
    let line = |lines: &[String]| lines.get(step).cloned().unwrap_or_else(|| "(nothing)".to_owned());
    Some(format!("after step {step}\n  ours: {}\n  otp:  {}\n", line(&ours), line(&theirs)))
}

/// Instances are asked to stop all at once, so that their order says nothing.
fn with_sorted_stops(line: &str) -> String {
    let Some((before, stops)) = line.split_once(" | stopped ") else { return line.to_owned() };
    let mut stops: Vec<&str> = stops.split(' ').collect();
    stops.sort_unstable();
    format!("{before} | stopped {}", stops.join(" "))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}
