//! How a scenario ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a scenario ended. Each has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every hypothesis and KPI held, every fault proved effective, and what was broken is whole again.
    Pass,
    /// A hypothesis deviated or a KPI was over its threshold.
    Fail,
    /// The file or the flags are wrong. Nothing ran.
    Invalid,
    /// A fault did not fire, or something could not be measured: nothing was shown either way.
    Inconclusive,
    /// It was stopped before its end, and what was broken is whole again.
    Aborted,
    /// Nobody could show that what was broken is whole again: the cluster may still be faulted.
    Unhealed,
    /// It was not begun: the cluster was not in its steady state, or the caller may not do this.
    Refused,
}

impl Verdict {
    /// Every verdict, in the order of their exit codes.
    pub const ALL: [Self; 7] =
        [Self::Pass, Self::Fail, Self::Invalid, Self::Inconclusive, Self::Aborted, Self::Unhealed, Self::Refused];

    /// The exit code of the process that ran the scenario.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Invalid => 2,
            Self::Inconclusive => 3,
            Self::Aborted => 4,
            Self::Unhealed => 5,
            Self::Refused => 6,
        }
    }

    /// The one of the two that must be heard when both apply: UNHEALED, then FAIL, ABORTED, INCONCLUSIVE, PASS.
    ///
    /// INVALID and REFUSED mean that nothing ran, so that nothing else can apply; they win over all.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Inconclusive => 1,
            Self::Aborted => 2,
            Self::Fail => 3,
            Self::Unhealed => 4,
            Self::Refused => 5,
            Self::Invalid => 6,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Aborted => "ABORTED",
            Self::Unhealed => "UNHEALED",
            Self::Refused => "REFUSED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_order_of_the_list() {
        let codes: Vec<u8> = Verdict::ALL.iter().map(|verdict| verdict.exit_code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn the_verdict_that_must_page_someone_wins() {
        use Verdict::{Aborted, Fail, Inconclusive, Pass, Unhealed};
        let worst_first = [Unhealed, Fail, Aborted, Inconclusive, Pass];
        for (at, &worse) in worst_first.iter().enumerate() {
            for &better in &worst_first[at..] {
                assert_eq!((worse.and(better), better.and(worse)), (worse, worse));
            }
        }
    }
}
