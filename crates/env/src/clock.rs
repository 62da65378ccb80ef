//! The only place that reads a clock.

use std::fmt;
use std::time::SystemTime;

use covenant_types::{Uptime, WallTime};

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since the node started; never goes back.
    fn now(&self) -> Uptime;
    /// The date.
    fn wall(&self) -> WallTime;
}

/// The machine's clock. Follows tokio's virtual time where a test paused it.
#[derive(Debug)]
pub struct RealClock(tokio::time::Instant);

impl RealClock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "the seam itself")]
    #[expect(clippy::new_without_default, reason = "a default that reads the clock would surprise")]
    pub fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for RealClock {
    fn now(&self) -> Uptime {
        Uptime(self.0.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "the seam itself")]
    fn wall(&self) -> WallTime {
        WallTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}
