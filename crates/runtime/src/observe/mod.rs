//! What can be learnt of an actor beside its messages: the last it handled, why it crashed, its state as it chooses to show
//! it.
//!
//! # Intuition
//! Each incarnation has a [`Recorder`] of its own, which nobody else touches while it runs: noting a message is a few stores
//! and no lock. Whoever wants something of a running actor leaves an [`Ask`] in its record and rings; the actor answers
//! between two batches. What a crashed incarnation leaves goes through its record to its supervisor, which writes the one
//! [`CrashReport`] of that end into the [`CrashLog`].
//!
//! # Invariants
//! - Everything kept is bounded: [`RECORDED_MAX`] messages an incarnation, [`ASKS_MAX`] asks, [`CRASHES_MAX`] kinds of crashes.
//! - Every abnormal end is counted in the crash log exactly once: that of an actor or supervisor whose supervisor lives by
//!   itself, those of all that die with a supervisor in the report of that supervisor.
//! - A suspended actor begins no message; asks, kill and stop reach it.

mod ask;
mod crash;
mod panic_site;
mod recorder;
mod system;
mod trace;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use covenant_types::{StartAttempt, TraceId};

pub(crate) use ask::{Ask, answer};
pub(crate) use crash::Case;
pub use crash::{
    CHAIN_MAX, CRASHES_MAX, ChainLink, CrashContext, CrashKey, CrashLog, CrashReport, Crashes, Decision, Taken,
};
pub(crate) use panic_site::take_panic_site;
pub use panic_site::{PanicSite, note_panic_sites};
pub use recorder::{FlightRecord, RECORDED_MAX, SeenBatch, SeenMessage};
pub(crate) use recorder::{Recorder, micros};
pub use system::{Inspection, LastCrash, ObserveError};
pub use trace::{TRACE_RATE_MAX, TRACED_MAX, Trace, TraceEnd, TraceEnded, TraceLimits, TracedMessage};

/// The most asks that wait for one actor.
pub const ASKS_MAX: usize = 16;
/// How many ended attempts may have left something that their supervisor has not collected yet.
const LEFT_MAX: usize = 4;

/// What a system remembers of its actors.
#[derive(Clone, Debug)]
pub struct Observe {
    /// Whether actors note the last messages they handled, and how long their handlers take.
    pub record: bool,
    /// Where abnormal ends are told; without one they are in the log of the process only.
    pub crashes: Option<CrashLog>,
}

impl Default for Observe {
    fn default() -> Self {
        Self { record: true, crashes: None }
    }
}

/// What an attempt that ended abnormally has left for its supervisor.
#[derive(Debug)]
pub(crate) struct Left {
    attempt: StartAttempt,
    /// Where it panicked.
    pub(crate) site: Option<PanicSite>,
    /// What it handled last.
    pub(crate) record: Option<FlightRecord>,
    /// The trace it was in.
    pub(crate) trace: Option<TraceId>,
    /// A supervisor: how many ran below it when it died.
    pub(crate) took_along: usize,
    /// A supervisor: the crash below it that it gave up for.
    pub(crate) cause: Option<CrashKey>,
}

/// The part of an actor's record that is about looking at it. Made on first use.
#[derive(Default)]
pub(crate) struct Observed {
    asks: Mutex<VecDeque<Ask>>,
    left: Mutex<Vec<Left>>,
    last_crash: Mutex<Option<LastCrash>>,
}

impl Observed {
    /// Adds an ask; `false` where too many wait.
    pub(crate) fn ask(&self, ask: Ask) -> bool {
        let mut asks = lock(&self.asks);
        asks.retain(Ask::is_wanted);
        let room = asks.len() < ASKS_MAX;
        if room {
            asks.push_back(ask);
        }
        room
    }

    /// The oldest ask.
    pub(crate) fn next_ask(&self) -> Option<Ask> {
        lock(&self.asks).pop_front()
    }

    /// Adds to what `attempt` leaves behind.
    pub(crate) fn leave(&self, attempt: StartAttempt, add: impl FnOnce(&mut Left)) {
        let mut left = lock(&self.left);
        let at = left.iter().position(|left| left.attempt == attempt).unwrap_or_else(|| {
            if left.len() == LEFT_MAX {
                left.remove(0); // its supervisor died before it heard
            }
            left.push(Left { attempt, site: None, record: None, trace: None, took_along: 0, cause: None });
            left.len() - 1
        });
        add(&mut left[at]);
    }

    /// What `attempt` left behind.
    pub(crate) fn take_left(&self, attempt: StartAttempt) -> Option<Left> {
        let mut left = lock(&self.left);
        let at = left.iter().position(|left| left.attempt == attempt)?;
        Some(left.swap_remove(at))
    }

    pub(crate) fn set_last_crash(&self, crash: LastCrash) {
        *lock(&self.last_crash) = Some(crash);
    }

    pub(crate) fn last_crash(&self) -> Option<LastCrash> {
        lock(&self.last_crash).clone()
    }
}

/// No foreign code runs under these locks, so a poisoned one holds nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
