//! From many samples to few numbers.

use std::time::Duration;

/// What several rounds of one measurement gave.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    pub(crate) rounds: usize,
}

impl Spread {
    /// The spread of at least one round.
    pub(crate) fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (rounds.first(), rounds.last()) else {
            return Self { min: f64::NAN, median: f64::NAN, max: f64::NAN, rounds: 0 };
        };
        Self { min: *min, median: rounds[rounds.len() / 2], max: *max, rounds: rounds.len() }
    }
}

/// The p50 and p99 of one round, in seconds, by rank.
pub(crate) fn p50_p99(mut samples: Vec<Duration>) -> (f64, f64) {
    samples.sort_unstable();
    let at = |percent: usize| samples.get((samples.len() * percent / 100).min(samples.len().saturating_sub(1)));
    let seconds = |percent| at(percent).map_or(f64::NAN, Duration::as_secs_f64);
    (seconds(50), seconds(99))
}

/// `count` things in `took`, per second.
pub(crate) fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
