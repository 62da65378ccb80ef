//! Fetching: the scheduler follows what the node is subscribed to, the warmer keeps what is pinned.
//!
//! Both make *passes*: ask every reachable hub what it has, choose, fetch what is missing, verify, note. A pass that is cut
//! short by a crash or a lost link has lost nothing: the next one asks for what is still missing.

mod pass;
mod scheduler;
mod warmer;

pub use scheduler::{Scheduler, SchedulerMessage};
pub use warmer::{Warmer, WarmerMessage};

use std::time::Duration;

use covenant_types::parse_duration;
use serde::{Deserialize, Deserializer};

/// How often a pass is made, where the tree file does not say.
const EVERY: Duration = Duration::from_secs(1);

/// What a tree file says to the scheduler and the warmer.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncConfig {
    /// How long to wait between two passes.
    #[serde(default = "default_every", deserialize_with = "duration")]
    pub every: Duration,
}

fn default_every() -> Duration {
    EVERY
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
