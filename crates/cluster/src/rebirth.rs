//! What a node does when the cluster knows a later boot of it than this one. Pure.
//!
//! # Intuition
//! Each start of a node has a higher boot epoch than all before, for the counter is on disk before it is used. A disk that
//! was restored from a backup counts from an old number again, and the others take such a node for its own ghost. They show
//! it the proof, a record signed by its own key, and it goes on in an epoch above that.
//!
//! # Invariants
//! - Without a record that this node's own key signed nothing changes here: its signature was checked before.
//! - An epoch is raised [`ADOPTIONS_MAX`] times in one process, so that two processes with one key do not outbid each other
//!   without end.
//! - What is adopted leaves room for every boot to come.

use std::fmt;

use covenant_types::BootEpoch;

/// How often a process raises its epoch. The first record that comes need not be the latest.
pub const ADOPTIONS_MAX: u32 = 3;
/// No counter of boots reaches this. Whoever signed a record of such an epoch has the node's key and means harm, or its disk
/// is broken: the epoch is not adopted, and only a new key helps.
pub const EPOCH_ADOPTED_MAX: BootEpoch = BootEpoch(1 << 62);

/// Keeps a node's epoch, so that a raised one is on disk before it is used.
pub trait EpochKeeper: fmt::Debug + Send + Sync {
    /// Sees to it that the next boot is later than `to`. May block.
    ///
    /// # Errors
    /// Why it is not kept, in words. The epoch is not used then.
    fn raise(&self, to: BootEpoch) -> Result<(), String>;
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on in this epoch.
    Adopt(BootEpoch),
    /// Say that this node stays behind.
    Tell,
    /// That was said.
    Nothing,
}

/// The raises of one process.
#[derive(Debug, Default)]
pub(crate) struct Rebirths {
    adopted: u32,
    told: BootEpoch,
}

impl Rebirths {
    /// A record of this node in the boot `known`, by its own key but not by this process, is known.
    pub(crate) fn known(&mut self, known: BootEpoch) -> Verdict {
        if known < EPOCH_ADOPTED_MAX && self.adopted < ADOPTIONS_MAX {
            self.adopted += 1;
            return Verdict::Adopt(BootEpoch(known.0 + 1));
        }
        self.stay(known)
    }

    /// The epoch is not adopted.
    pub(crate) fn stay(&mut self, known: BootEpoch) -> Verdict {
        if known <= self.told {
            return Verdict::Nothing;
        }
        self.told = known;
        Verdict::Tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(known: &[u64], expected: &[Verdict]) {
        let mut rebirths = Rebirths::default();
        let verdicts: Vec<_> = known.iter().map(|known| rebirths.known(BootEpoch(*known))).collect();
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn a_later_boot_is_outbid_by_one() {
        check(&[7], &[Verdict::Adopt(BootEpoch(8))]);
        check(&[(1 << 62) - 1], &[Verdict::Adopt(BootEpoch(1 << 62))]);
    }

    #[test]
    fn two_processes_with_one_key_do_not_outbid_each_other_without_end() {
        let adopt = |epoch| Verdict::Adopt(BootEpoch(epoch));
        check(&[2, 4, 6, 8, 8, 9], &[adopt(3), adopt(5), adopt(7), Verdict::Tell, Verdict::Nothing, Verdict::Tell]);
    }

    #[test]
    fn an_epoch_that_no_counter_reaches_is_told_once_and_never_adopted() {
        check(&[u64::MAX, u64::MAX], &[Verdict::Tell, Verdict::Nothing]);
        check(&[1 << 62, 7], &[Verdict::Tell, Verdict::Adopt(BootEpoch(8))]);
    }
}
