//! Whole nodes: what `covenant node run` boots, with quinn, TLS, actors, trees, ledger and content, over a network in memory.
//!
//! # Intuition
//! Each node has a runtime of its own whose clock stands still while there is something to do. All run in one thread, a few
//! milliseconds each in turn. A storm befalls them: crashes, cuts, loss, sleep, kills, while they call and watch each other's
//! actors, take names, join groups, hold leases and post mail without pause. Then it ends, and they must mend. What must hold is checked all the time.
//!
//! # Invariants
//! - Two runs of one seed send the same packets at the same moments, and the same happens in them.
//! - A fault that had no effect is a failure: it would have proved nothing.
//!
//! # Not here
//! The kernel's UDP, threads, and how long a computation takes: in virtual time it takes none. What the disk loses in a
//! power cut: files are on the machine's own, and written in the task that asks. The contents of certificates, save for
//! the nodes' keys: they have the same lengths in every run. Datasets: stores are opened and nothing is published, so that no rule
//! here says whether what was acknowledged is on all that pinned it; processes on disks are tested for that. A source of leases
//! that nodes agree on: there is one in memory. Clusters in pools: whole nodes are laid out flat, membership in pools alone.
//!
//! # Reading order
//! 1. [`Setup`], [`Outcome`], [`twice`]  2. `storm`  3. `world`, `host`  4. `network`, `socket`, `clock`  5. `rules`, `client`, `errands`, `holder`

mod chronicle;
mod clerk;
mod client;
mod clock;
mod errands;
mod holder;
mod host;
mod identity;
mod narrow;
mod network;
mod office;
mod rules;
mod socket;
mod storm;
mod worker;
mod world;

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};

pub use narrow::{Narrow, narrow};
pub use network::{Counts, Weather};
pub use world::CHECK_EVERY;

use crate::Trace;

/// How a simulation is made. With a seed it is one run, always the same.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many nodes.
    pub nodes: usize,
    /// Whether they are as patient as in a data centre, or as on one machine.
    pub patient: bool,
    /// How long things befall them.
    pub storm: Duration,
    /// How long nothing may go wrong afterwards.
    pub quiet: Duration,
    /// Something that is wrong on purpose, to see that it is found.
    pub mischief: Option<Mischief>,
}

/// Something that is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// Lines are late by chance, which no seed decides.
    Chance,
    /// Each restart begins with the first epoch again, as from a backup: two lives with one name.
    OldEpoch,
}

impl Setup {
    /// The storm that a seed is run with: every other one with patient nodes.
    pub fn of(nodes: usize, seed: u64) -> Self {
        Self {
            nodes,
            patient: seed % 2 == 1,
            storm: Duration::from_secs(60),
            quiet: Duration::from_secs(20),
            mischief: None,
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All that happened and all packets up to each check, in two numbers.
    marks: Vec<(Trace, Trace)>,
    /// What happened, in words.
    pub story: Vec<String>,
    /// How long after the storm all saw all again.
    pub healed: Option<Duration>,
    /// The rules that were broken, none in a good run.
    pub broken: Vec<String>,
    /// What became of packets until the end of the storm.
    pub counts: Counts,
    /// Calls that were answered, and those that ended in an error.
    pub answered: u64,
    /// See `answered`.
    pub unanswered: u64,
    /// Monitors that fired.
    pub fired: u64,
    /// Actors that were told that another one has their name.
    pub conflicts: u64,
    /// Acts under leases that were let in, and those that were refused because a later holder had acted.
    pub acts: (u64, u64),
    /// Letters to sleepers that arrived, and those that had to.
    pub letters: (u64, u64),
    /// How much virtual time passed.
    pub virtual_time: Duration,
}

impl Outcome {
    /// All that happened and all packets, in one number.
    pub fn trace(&self) -> Trace {
        let mut trace = Trace::new();
        if let Some((events, packets)) = self.marks.last() {
            trace.mix(format!("{events}{packets}").as_bytes());
        }
        trace
    }

    /// From when on, and in what, two runs differ.
    pub fn differs(&self, other: &Self) -> Option<Difference> {
        let same = self.marks.iter().zip(&other.marks).take_while(|(one, two)| one == two).count();
        if same == self.marks.len() && same == other.marks.len() {
            return None;
        }
        let at = CHECK_EVERY * u32::try_from(same).unwrap_or(u32::MAX);
        let packets = self.marks.get(same).map(|mark| mark.1) != other.marks.get(same).map(|mark| mark.1);
        let line = self.story.iter().zip(&other.story).find(|(one, two)| one != two);
        let line = line.map(|(one, two)| format!("\"{}\" and \"{}\"", one.trim(), two.trim()));
        Some(Difference { at, packets, line })
    }
}

/// How two runs of one seed differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In which tenth of a second they begin to.
    pub at: Duration,
    /// Whether they sent different packets by then.
    pub packets: bool,
    /// The first line of their stories that differs.
    pub line: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.packets { "packets" } else { "events" };
        write!(f, "two runs of this seed differ in their {what} before {:.1} s", self.at.as_secs_f64())?;
        self.line.as_ref().map_or(Ok(()), |line| write!(f, ", first in {line}"))
    }
}

/// Runs a seed once, in a thread of its own: whatever a thread remembers would make the next run another one.
///
/// # Errors
/// The machine cannot run it: its files cannot be written.
pub fn once(setup: &Setup, seed: u64) -> Result<Outcome> {
    let setup = setup.clone();
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).stack_size(STACK_BYTES);
    let run = thread.spawn(move || storm::run(&setup, seed))?;
    run.join().ok().context("the run panicked")?
}

/// Runs a seed twice. A difference between the two is a broken rule too.
///
/// # Errors
/// As [`once`].
pub fn twice(setup: &Setup, seed: u64) -> Result<Outcome> {
    let mut first = once(setup, seed)?;
    let second = once(setup, seed)?;
    if let Some(difference) = first.differs(&second) {
        first.broken.push(difference.to_string());
    }
    Ok(first)
}

/// Threads of the main program have as much.
const STACK_BYTES: usize = 8 * 1024 * 1024;
