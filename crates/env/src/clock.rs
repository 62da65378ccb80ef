//! The only place that reads a clock.

use std::fmt;
use std::time::{Duration, SystemTime};

use covenant_types::{Uptime, WallTime};

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since the node started; never goes back.
    fn now(&self) -> Uptime;
    /// The date.
    fn wall(&self) -> WallTime;
    /// How long the machine has been suspended since the node started. [`Clock::now`] stands still then; what others count on
    /// to end does not.
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }
}

/// The machine's clock, which never tells less than the time its program was built. Follows tokio's virtual time where a test
/// paused it.
#[derive(Debug)]
pub struct RealClock {
    began: tokio::time::Instant,
    /// How long the machine had been suspended then, since it was started.
    suspended: Duration,
}

impl RealClock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "the seam itself")]
    #[expect(clippy::new_without_default, reason = "a default that reads the clock would surprise")]
    pub fn new() -> Self {
        Self { began: tokio::time::Instant::now(), suspended: suspended_since_boot() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Uptime {
        Uptime(self.began.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "the seam itself")]
    fn wall(&self) -> WallTime {
        let told = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        WallTime(told).max(built())
    }

    fn suspended(&self) -> Duration {
        suspended_since_boot().saturating_sub(self.suspended)
    }
}

/// One clock of the kernel goes on in suspend, and the other does not.
#[cfg(target_os = "linux")]
fn suspended_since_boot() -> Duration {
    use rustix::time::{ClockId, Timespec, clock_gettime};
    let span = |time: Timespec| {
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let awake = span(clock_gettime(ClockId::Monotonic));
    span(clock_gettime(ClockId::Boottime)).saturating_sub(awake)
}

/// Elsewhere the clock of the node is the only one there is.
#[cfg(not(target_os = "linux"))]
fn suspended_since_boot() -> Duration {
    Duration::ZERO
}

/// When this program was built.
fn built() -> WallTime {
    WallTime(env!("COVENANT_BUILT").parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_date_is_never_before_the_program_was_built() {
        assert!(built() > WallTime(1_700_000_000), "the build knows its time");
        assert!(RealClock::new().wall() >= built());
    }
}
