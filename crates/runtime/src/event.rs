//! What happens to actors, as it happens.

use covenant_types::{ActorPath, ExitReason, Incarnation};
use serde::{Deserialize, Serialize};

/// Something that happened to an actor. A receiver that lags loses the oldest: take a
/// [`TreeView`](crate::TreeView) then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum RuntimeEvent {
    /// A start succeeded.
    Started {
        /// Which actor.
        path: ActorPath,
        /// Its new incarnation.
        incarnation: Incarnation,
    },
    /// A start did not succeed.
    StartFailed {
        /// Which actor.
        path: ActorPath,
        /// The incarnation before.
        incarnation: Incarnation,
        /// Why.
        reason: ExitReason,
    },
    /// An incarnation ended.
    Exited {
        /// Which actor.
        path: ActorPath,
        /// The incarnation that ended.
        incarnation: Incarnation,
        /// Why.
        reason: ExitReason,
    },
    /// A supervisor gave up: its children exit more often than its intensity forgives.
    Escalated {
        /// Which supervisor.
        path: ActorPath,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The exit that was one too many.
        reason: ExitReason,
    },
    /// An incarnation was killed and goes on running.
    Unkillable {
        /// Which actor.
        path: ActorPath,
        /// The incarnation that does not end.
        incarnation: Incarnation,
    },
}

/// How many events a slow receiver may lag before it loses the oldest.
pub const EVENTS_MAX: usize = 1024;
