//! Bad weather on real processes: partitions, lines that lose, sleep and restarts, under the eyes of a member that calls and
//! monitors all the time.
//!
//! Short by default. `COVENANT_WEATHER=long` is what `just bad-weather` runs: a partition of a minute, ten minutes of loss,
//! fifty restarts, five minutes of sleep. Each story prints what it measured.

mod form;
mod stories;
mod village;
mod witness;

use std::time::Duration;

/// Whether the stories take their full time.
fn is_long() -> bool {
    std::env::var("COVENANT_WEATHER").is_ok_and(|text| text == "long")
}

/// One of two, by [`is_long`].
fn secs(short: u64, long: u64) -> Duration {
    Duration::from_secs(if is_long() { long } else { short })
}
