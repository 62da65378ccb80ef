//! The node's date: the machine's clock over a floor that no wrong clock can lower. See [`TimeFloor`] for what is decided.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_env::{Clock, Env};
use covenant_identity::{ClockVerdict, KnownTimes, PeerIdentity, TimeFloor};
use covenant_types::{Uptime, WallTime};

use crate::files::NodeFiles;

/// How often the date is written down.
const PERSIST_EVERY: Duration = Duration::from_secs(60);

/// The clock that everything in a node goes by.
#[derive(Debug)]
pub(crate) struct NodeClock {
    machine: Arc<dyn Clock>,
    floor: Mutex<TimeFloor>,
}

impl NodeClock {
    /// The clock of a node with this certificate that boots now. What cannot be read of the last boot is not known.
    pub(crate) fn open(machine: Arc<dyn Clock>, files: &NodeFiles, identity: &PeerIdentity) -> Self {
        let persisted = files.read_time().unwrap_or_else(|error| {
            tracing::warn!(%error, "the time of the last boot is not known");
            WallTime(0)
        });
        let known = KnownTimes { persisted, not_before: identity.not_before, not_after: identity.not_after };
        let floor = Mutex::new(TimeFloor::new(known, elapsed(&*machine)));
        Self { machine, floor }
    }

    /// The earliest that it can be.
    pub(crate) fn floor(&self) -> WallTime {
        self.lock().floor(self.elapsed())
    }

    /// What to think of the machine's clock.
    pub(crate) fn judge(&self) -> ClockVerdict {
        self.lock().judge(self.machine.wall(), self.elapsed())
    }

    /// Whether issuing hubs should be asked for the time.
    pub(crate) fn wants_to_ask(&self) -> bool {
        self.lock().wants_to_ask(self.machine.wall(), self.elapsed())
    }

    /// Takes in what hubs said; `known` are the hubs there are. Returns whether they were believed.
    pub(crate) fn hear(&self, said: &[WallTime], known: usize) -> bool {
        self.lock().hear(said, known, self.elapsed())
    }

    /// Takes in the node's fresh certificate.
    pub(crate) fn certified(&self, identity: &PeerIdentity) {
        self.lock().certified(identity.not_before, identity.not_after, self.elapsed());
    }

    /// Writes the date down every minute, for as long as the node lives.
    pub(crate) async fn keep(self: Arc<Self>, files: NodeFiles, env: Env) {
        loop {
            self.persist(&files, &env).await;
            tokio::time::sleep(PERSIST_EVERY).await;
        }
    }

    async fn persist(&self, files: &NodeFiles, env: &Env) {
        let at = self.lock().to_persist(self.machine.wall(), self.elapsed());
        let files = files.clone();
        let written = env.blocking(move || files.write_time(at).map_err(std::io::Error::other)).await;
        if let Err(error) = written.and_then(|written| written) {
            tracing::warn!(%error, "the time could not be written down");
        }
    }

    /// Time since the boot, suspend included: the date goes on in it.
    fn elapsed(&self) -> Uptime {
        elapsed(&*self.machine)
    }

    fn lock(&self) -> MutexGuard<'_, TimeFloor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Uptime {
        self.machine.now()
    }

    fn suspended(&self) -> Duration {
        self.machine.suspended()
    }

    fn wall(&self) -> WallTime {
        self.lock().time(self.machine.wall(), self.elapsed())
    }
}

fn elapsed(machine: &dyn Clock) -> Uptime {
    machine.now().after(machine.suspended())
}
