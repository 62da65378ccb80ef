//! A node's clock: it begins when the node does, and its date is that of the whole simulation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_env::{Clock, RealClock};
use covenant_types::{Uptime, WallTime};

/// The date on which every simulation begins: the first second of 2030.
const BEGIN_S: u64 = 1_893_456_000;

/// Tells virtual time. Ask it inside the runtime of its node only: elsewhere the machine's own time would come in.
#[derive(Debug)]
pub(super) struct NodeClock {
    /// The clock of the node's runtime, which stands still while the node has something to do.
    runtime: RealClock,
    /// When the node was started, in the time of the simulation.
    born: Duration,
    /// For how many microseconds its machine was suspended.
    suspended: AtomicU64,
}

impl NodeClock {
    /// The clock of a node that starts at `born`. To be made inside its runtime.
    pub(super) fn new(born: Duration) -> Self {
        Self { runtime: RealClock::new(), born, suspended: AtomicU64::new(0) }
    }

    /// The time of the simulation.
    pub(super) fn time(&self) -> Duration {
        self.born + self.runtime.now().0 + self.suspended()
    }

    /// Its machine was suspended for so long, until now.
    pub(super) fn was_suspended(&self, span: Duration) {
        self.suspended.fetch_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Uptime {
        self.runtime.now()
    }

    fn wall(&self) -> WallTime {
        wall(self.time())
    }

    fn suspended(&self) -> Duration {
        Duration::from_micros(self.suspended.load(Ordering::Relaxed))
    }
}

/// The date at a time of the simulation.
pub(super) fn wall(time: Duration) -> WallTime {
    WallTime(BEGIN_S + time.as_secs())
}
