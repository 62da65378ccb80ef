//! Breaks what the gate understands, and sees whether it minds.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use covenant_fuzz::{Bounds, Stop, Target, corpus, hunt, try_one};
use covenant_ractor_bridge::fuzz::{fuzz_gate, seeds};

const GATE: Target = Target::new("bridge-gate", fuzz_gate, seeds);
/// Variables: the seed of a hunt, how many seconds it takes, and whether to write the corpus's seeds anew.
const SEED: &str = "COVENANT_FUZZ_SEED";
const SECONDS: &str = "COVENANT_FUZZ_SECONDS";
const WRITE_SEEDS: &str = "COVENANT_FUZZ_WRITE_SEEDS";

/// Where the inputs that are kept lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn the_gate_reads_what_clients_wrote_before() {
    if std::env::var_os(WRITE_SEEDS).is_some() {
        corpus::write_seeds(&folder(), &GATE).unwrap();
    }
    let kept = corpus::kept(&folder(), &GATE).unwrap();
    let is_kept = |seed: &Vec<u8>| kept.iter().any(|(_, input)| input == seed);
    assert!(seeds().iter().all(is_kept), "what a client writes has changed; {WRITE_SEEDS}=1 keeps it as it is now");
    for (file, input) in kept {
        try_one(&GATE, &input, &Bounds::default()).unwrap_or_else(|trouble| panic!("{}: {trouble}", file.display()));
    }
}

#[test]
fn no_bytes_of_a_client_break_the_gate() {
    let (seed, seconds) = (number(SEED, 7), number(SECONDS, 5));
    let findings = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let stop = Stop::Within(Duration::from_secs(seconds));
    let begin_with = corpus::begin_with(&folder(), &GATE).unwrap();
    let hunted = hunt(&GATE, begin_with, seed, stop, &Bounds::default(), findings).unwrap();
    assert!(hunted.finding.is_none(), "seed {seed}: {:?}", hunted.finding);
    assert!(hunted.tried > 1000, "only {} inputs were tried", hunted.tried);
}
