//! What a node takes from the world: clock, randomness, tasks, sockets, blocking work, metrics.
//!
//! A node is built by `boot(config, Env)`. In production [`Env::real`] gives it the machine; a simulation gives it virtual
//! time, a seed and a network in memory, and the same code runs. Nothing below the command line reaches past this.
//!
//! # Invariants
//! - Two `Env`s share nothing: two nodes live in one process, each with its own metrics and its own random numbers.
//! - A task has an owner: dropping its [`Task`] ends it.
#![deny(clippy::disallowed_methods)]

mod clock;
mod metrics;
mod network;
mod random;
mod task;

use std::io;
use std::sync::Arc;

pub use clock::{Clock, RealClock};
pub use metrics::Metrics;
pub use network::{Network, UdpNetwork};
pub use random::Random;
pub use task::{Spawner, Task, TaskError, Tasks};

use covenant_types::{Uptime, WallTime};

/// Everything a node takes from outside. Cheap to clone; clones are the same world.
#[derive(Clone, Debug)]
pub struct Env {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The root of every random number that is not a key.
    pub random: Random,
    /// Runs the endpoint, membership, supervisors and the control API.
    pub system: Spawner,
    /// Runs behaviours. Stuck handlers here leave `system` untouched.
    pub work: Spawner,
    /// Opens UDP sockets.
    pub network: Arc<dyn Network>,
    /// Where this node counts.
    pub metrics: Metrics,
}

impl Env {
    /// The machine itself: its clock, UDP, and the two runtimes given.
    pub fn real(system: tokio::runtime::Handle, work: tokio::runtime::Handle, seed: u64, metrics: Metrics) -> Self {
        Self {
            clock: Arc::new(RealClock::new()),
            random: Random::new(seed),
            system: Spawner::new(system.clone()),
            work: Spawner::new(work),
            network: Arc::new(UdpNetwork::new(system)),
            metrics,
        }
    }

    /// An environment for tests inside a tokio runtime: both spawners are the current runtime, metrics go nowhere.
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn for_test(seed: u64) -> Self {
        let handle = tokio::runtime::Handle::current();
        Self::real(handle.clone(), handle, seed, Metrics::none())
    }

    /// Time since the node started.
    pub fn now(&self) -> Uptime {
        self.clock.now()
    }

    /// The date, for people and certificates.
    pub fn wall(&self) -> WallTime {
        self.clock.wall()
    }

    /// Runs `work`, which blocks on the disk, beside the system runtime and returns its result.
    ///
    /// # Errors
    /// `work` panicked.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop work that has begun.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.system.blocking(work).await
    }
}
