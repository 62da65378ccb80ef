//! The words about single actors: what can be seen of them, why they crashed, and holding them.

use std::time::Duration;

use covenant_runtime::{ChainLink, CrashReport, Drained, TraceEnd, TracedMessage};
use covenant_types::{ActorPath, Incarnation, WallTime};
use serde::{Deserialize, Serialize};

use super::ApiError;

/// `POST /v1/actor/inspect`, `/v1/actor/suspend` and `/v1/actor/resume`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThisActor {
    /// The actor.
    pub path: ActorPath,
}

/// An actor that was suspended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActorSuspended {
    /// The actor.
    pub path: ActorPath,
    /// The incarnation that begins no message more.
    pub incarnation: Incarnation,
}

/// An actor that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActorResumed {
    /// The actor.
    pub path: ActorPath,
    /// Whether it was suspended.
    pub was_suspended: bool,
}

/// `POST /v1/actor/drain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainActor {
    /// The actor.
    pub path: ActorPath,
    /// How long it may take, in milliseconds, at most [`DRAIN_MAX`]. It is stopped then.
    pub deadline_ms: u64,
}

/// The longest drain.
pub const DRAIN_MAX: Duration = Duration::from_secs(600);

impl DrainActor {
    /// How long it may take.
    ///
    /// # Errors
    /// It is longer than [`DRAIN_MAX`].
    pub fn deadline(&self) -> Result<Duration, ApiError> {
        let deadline = Duration::from_millis(self.deadline_ms);
        let too_long = || ApiError::usage(format!("a drain takes at most {} s; nothing was done", DRAIN_MAX.as_secs()));
        (deadline <= DRAIN_MAX).then_some(deadline).ok_or_else(too_long)
    }
}

/// An actor that was drained and has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActorDrained {
    /// The actor.
    pub path: ActorPath,
    /// The incarnation that has ended.
    pub incarnation: Incarnation,
    /// Whether everything that waited was handled.
    pub complete: bool,
    /// Why it ended.
    pub reason: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl ActorDrained {
    /// What is told of a drain of `path`.
    pub fn new(path: ActorPath, drained: &Drained) -> Self {
        Self {
            path,
            incarnation: drained.incarnation,
            complete: drained.is_complete(),
            reason: drained.reason.to_string(),
            took_ms: u64::try_from(drained.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// `POST /v1/actor/trace`. The answer is a [`TraceLine`] a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceActor {
    /// The actor.
    pub path: ActorPath,
    /// How many messages to tell of, at most [`TRACED_MAX`](covenant_runtime::TRACED_MAX).
    pub limit: u32,
    /// For how long, in milliseconds, at most five minutes.
    pub for_ms: u64,
}

impl TraceActor {
    /// For how long.
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.for_ms)
    }
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum TraceLine {
    /// A message was handled.
    Message(TracedMessage),
    /// The last line.
    End(TraceEnd),
}

/// What is kept of all crashes of one actor for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capsule {
    /// What it is shown by: the same for the same actor and reason, also after the node started again.
    pub id: String,
    /// The reason by which crashes are told apart.
    pub class: String,
    /// How many there were.
    pub count: u64,
    /// The incarnation that ended last.
    pub last_incarnation: Incarnation,
    /// When that was.
    pub last_at: WallTime,
    /// The first of them.
    pub first: CrashReport,
    /// How long after the first one its file was begun, in microseconds.
    pub taken_up_after_us: u64,
    /// What supervisors did because of them, nearest first.
    pub chain: Vec<ChainLink>,
    /// Whether parts of the first report were left out, because the file would have been too long.
    #[serde(default)]
    pub cut: bool,
}

/// `GET /v1/crashes`: a line of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashSummary {
    /// What `GET /v1/crashes/ID` shows it by.
    pub id: String,
    /// The actor.
    pub path: ActorPath,
    /// Why, in short.
    pub class: String,
    /// How many there were.
    pub count: u64,
    /// The incarnation that ended last.
    pub last_incarnation: Incarnation,
    /// When that was.
    pub last_at: WallTime,
}

impl From<&Capsule> for CrashSummary {
    fn from(capsule: &Capsule) -> Self {
        Self {
            id: capsule.id.clone(),
            path: capsule.first.path.clone(),
            class: capsule.class.clone(),
            count: capsule.count,
            last_incarnation: capsule.last_incarnation,
            last_at: capsule.last_at,
        }
    }
}
