//! What is done to the voters, and when: the same for the same seed. Pure.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The voters, by their places.
pub(crate) const VOTERS: usize = 3;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// SIGKILL; it is started again when the time is over.
    Kill(usize),
    /// SIGKILL of all, as when the power goes.
    KillAll,
    /// SIGSTOP, and SIGCONT when the time is over.
    Stop(usize),
    /// It reaches nobody, and nobody reaches it.
    CutOff(usize),
    /// These two do not reach each other.
    CutBetween(usize, usize),
    /// It does not hear the other.
    Deaf(usize, usize),
    /// A fifth of what it sends is lost.
    Lossy(usize),
    /// Each sync of its ledger takes so many milliseconds more.
    SlowDisk(usize, u32),
    /// Each sync of its ledger fails.
    FailingSync(usize),
    /// Its ledger cannot write: the disk is full.
    FullDisk(usize),
    /// Its ledger cannot write: the disk is broken.
    FailingWrite(usize),
}

impl Trouble {
    /// Its word, without whom it meets.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill(_) => "SIGKILL",
            Self::KillAll => "SIGKILL of all three",
            Self::Stop(_) => "SIGSTOP",
            Self::CutOff(_) => "cut off from both",
            Self::CutBetween(..) => "cut between two",
            Self::Deaf(..) => "one direction cut",
            Self::Lossy(_) => "a fifth lost",
            Self::SlowDisk(..) => "slow disk",
            Self::FailingSync(_) => "failing syncs",
            Self::FullDisk(_) => "full disk",
            Self::FailingWrite(_) => "failing writes",
        }
    }

    /// Whom it meets first.
    fn victim(self) -> Option<usize> {
        match self {
            Self::KillAll => None,
            Self::Kill(victim)
            | Self::Stop(victim)
            | Self::CutOff(victim)
            | Self::CutBetween(victim, _)
            | Self::Deaf(victim, _)
            | Self::Lossy(victim)
            | Self::SlowDisk(victim, _)
            | Self::FailingSync(victim)
            | Self::FullDisk(victim)
            | Self::FailingWrite(victim) => Some(victim),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.victim() {
            Some(victim) => write!(f, "{} of voter {}", self.name(), victim + 1),
            None => f.write_str(self.name()),
        }
    }
}

/// What goes wrong at one time, for how long, and how long all is well afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Episode {
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) lasts: Duration,
    pub(crate) calm: Duration,
}

/// An endless plan.
pub(crate) struct Plan {
    luck: StdRng,
    disks: bool,
}

impl Plan {
    /// With faults of disks, or without.
    pub(crate) fn new(seed: u64, disks: bool) -> Self {
        Self { luck: StdRng::seed_from_u64(seed), disks }
    }

    fn trouble(&mut self, victim: usize) -> Trouble {
        let other = (victim + self.luck.random_range(1..VOTERS)) % VOTERS;
        let sorts = if self.disks { 14 } else { 10 };
        match self.luck.random_range(0..sorts) {
            0..=2 => Trouble::Kill(victim),
            3 | 4 => Trouble::Stop(victim),
            5 | 6 => Trouble::CutOff(victim),
            7 => Trouble::CutBetween(victim, other),
            8 => Trouble::Deaf(victim, other),
            9 => Trouble::Lossy(victim),
            10 => Trouble::SlowDisk(victim, self.luck.random_range(20..400)),
            11 => Trouble::FailingSync(victim),
            12 => Trouble::FullDisk(victim),
            _ => Trouble::FailingWrite(victim),
        }
    }
}

impl Iterator for Plan {
    type Item = Episode;

    fn next(&mut self) -> Option<Episode> {
        let victim = self.luck.random_range(0..VOTERS);
        let mut troubles = vec![self.trouble(victim)];
        match self.luck.random_range(0..20) {
            // Two at a time may stop the ledger, and may not make it lie.
            0..=2 => troubles.push({
                let other = (victim + self.luck.random_range(1..VOTERS)) % VOTERS;
                self.trouble(other)
            }),
            3 => troubles = vec![Trouble::KillAll],
            _ => {}
        }
        let lasts = Duration::from_millis(self.luck.random_range(500..8_000));
        let calm = Duration::from_millis(self.luck.random_range(0..4_000));
        Some(Episode { troubles, lasts, calm })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_is_a_plan_and_a_long_one_has_every_trouble() {
        let plan = |seed, disks| Plan::new(seed, disks).take(300).collect::<Vec<_>>();
        assert_eq!(plan(1, true), plan(1, true));
        assert_ne!(plan(1, true), plan(2, true));
        let names = |disks| -> BTreeSet<&str> {
            plan(1, disks).iter().flat_map(|episode| &episode.troubles).map(|trouble| trouble.name()).collect()
        };
        assert_eq!((names(true).len(), names(false).len()), (11, 7));
    }
}
