//! How fast it must mend.

use std::time::Duration;

use covenant_types::format_duration;
use serde::Serialize;

use crate::reader::{InvalidScenario, Table};
use crate::verdict::Verdict;

/// A measured time from a fault's effect to the steady state, with a threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kpi {
    /// Its name: `mttr`.
    pub name: String,
    /// The fault from whose effect it is measured.
    pub from: String,
    /// Which of several measurements counts.
    pub stat: Stat,
    /// The most it may be.
    pub max: Duration,
}

/// Which of several measurements counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stat {
    /// The largest.
    Max,
    /// The one that 95 in 100 do not exceed.
    P95,
    /// The one in the middle.
    P50,
}

/// What a KPI came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KpiResult {
    /// The measurement that counts; `None` where there was none, which is never the same as zero.
    pub measured: Option<Duration>,
    /// How many measurements there were.
    pub samples: usize,
    /// Pass, fail, or inconclusive where nothing was measured.
    pub verdict: Verdict,
}

impl Kpi {
    /// Judges the measurements.
    pub fn judge(&self, measured: &[Duration]) -> KpiResult {
        let mut sorted = measured.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        let counts = match self.stat {
            Stat::Max => sorted.last(),
            Stat::P95 => sorted.get(rank(95)),
            Stat::P50 => sorted.get(rank(50)),
        };
        let verdict = match counts {
            Some(&counts) if counts <= self.max => Verdict::Pass,
            Some(_) => Verdict::Fail,
            None => Verdict::Inconclusive,
        };
        KpiResult { measured: counts.copied(), samples: sorted.len(), verdict }
    }

    /// Reads one `[[kpi]]`. `faults` are the ids it may be measured from.
    pub(crate) fn read(mut table: Table<'_>, faults: &[String]) -> Result<Self, InvalidScenario> {
        let (name, _) = table.required_text("name")?;
        let (from, from_at) = table.required_text("from")?;
        let fault = from.strip_prefix("fault:").and_then(|rest| rest.strip_suffix(".effective"));
        let Some(fault) = fault.filter(|fault| faults.iter().any(|known| known == fault)) else {
            return Err(
                table.wrong(from_at, "`from` must be \"fault:ID.effective\" with the id of a fault of this file")
            );
        };
        let from = fault.to_owned();
        let (to, to_at) = table.required_text("to")?;
        if to != "steady" {
            return Err(table.wrong(to_at, "`to` must be \"steady\": other ends are not supported yet"));
        }
        let stat = table.parsed("stat", stat)?.unwrap_or(Stat::Max);
        let max = table.duration("max")?.ok_or_else(|| table.wrong(table.at, "a kpi needs `max`, as in \"5s\""))?;
        if max.is_zero() {
            return Err(table.wrong(table.at, format!("`max` is {}: nothing mends in no time", format_duration(max))));
        }
        table.finish(&["def", "min", "phase", "trend"])?;
        Ok(Self { name, from, stat, max })
    }
}

fn stat(word: &str) -> Result<Stat, &'static str> {
    match word {
        "max" => Ok(Stat::Max),
        "p95" => Ok(Stat::P95),
        "p50" => Ok(Stat::P50),
        _ => Err("use \"max\", \"p95\" or \"p50\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(stat: Stat, seconds: &[u64]) -> (Option<u64>, Verdict) {
        let kpi = Kpi { name: "mttr".into(), from: "kill".into(), stat, max: Duration::from_secs(5) };
        let measured: Vec<Duration> = seconds.iter().copied().map(Duration::from_secs).collect();
        let result = kpi.judge(&measured);
        (result.measured.map(|span| span.as_secs()), result.verdict)
    }

    #[test]
    fn the_worst_counts_where_the_largest_is_asked_for() {
        assert_eq!(judge(Stat::Max, &[1, 9, 2]), (Some(9), Verdict::Fail));
        assert_eq!(judge(Stat::P50, &[9, 1, 2]), (Some(2), Verdict::Pass));
        assert_eq!(judge(Stat::P95, &[1; 19]), (Some(1), Verdict::Pass));
        assert_eq!(judge(Stat::P95, &[1, 6]), (Some(6), Verdict::Fail));
    }

    #[test]
    fn exactly_the_threshold_passes() {
        assert_eq!(judge(Stat::Max, &[5]), (Some(5), Verdict::Pass));
    }

    #[test]
    fn nothing_measured_is_not_zero() {
        assert_eq!(judge(Stat::Max, &[]), (None, Verdict::Inconclusive));
    }
}
