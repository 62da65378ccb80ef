//! Links and monitors: how an actor hears of another's end.
//!
//! # Intuition
//! A monitor looks one way: whoever made it hears once of the end, in [`Behaviour::down`](crate::Behaviour::down). A link
//! holds both ways: an end of one that is not `normal` ends the other with the same reason, unless that one traps exits and
//! hears of it in `down` as well. Both are made to a path and bind to the incarnation that runs there, or to the next one where
//! none does.
//!
//! # Invariants
//! - A tie stands in the books of both its ends under one id. Whoever takes it out of the other's book, under that book's
//!   lock, is the one who tells: it fires exactly once.
//! - Two books are locked in the order of their addresses, and no other lock is taken under them: ties made from both
//!   sides at once do not wait for each other.
//! - What is told waits in the watcher's own book, beside its mailbox: it is never dropped, and needs no room there. The
//!   book has at most [`TIES_MAX`] of what its incarnation asked for.
//! - A tie ends with the incarnation that made it.

mod book;
mod context;
mod far;
mod monitor;
mod place;

use covenant_types::{ActorPath, CallError, ExitReason, Incarnation, NodeName};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) use book::{Bound, Ended, Ties};
pub use far::{Abroad, FarEnd, FarOrder, FarTie, NearEnd, Ordered};
pub use monitor::Monitor;
pub use place::Place;

/// The most monitors and links one incarnation has at a time, those it was not told of yet included.
pub const TIES_MAX: usize = 16 * 1024;

/// One monitor, as its [`Down`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorRef(pub(crate) u64);

/// What [`Behaviour::down`](crate::Behaviour::down) hears: an actor has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// The monitor that fired; `None` where it was a link, and this actor traps exits, or the monitor is no actor's.
    pub monitor: Option<MonitorRef>,
    /// The node of the actor, where it is another one.
    pub node: Option<NodeName>,
    /// Where it hung.
    pub path: ActorPath,
    /// Which incarnation ended. `None` where none ran.
    pub incarnation: Option<Incarnation>,
    /// Why.
    pub reason: DownReason,
}

/// Why somebody hears of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// It ended with this reason.
    Exited(ExitReason),
    /// No such actor is known at that path, or it has nothing to do on this node.
    NoProc,
    /// The node cannot be reached; the actor may still run.
    NoConnection,
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(reason) => reason.fmt(f),
            Self::NoProc => f.write_str("there is no such actor"),
            Self::NoConnection => f.write_str("its node cannot be reached"),
        }
    }
}

impl DownReason {
    /// The reason with which whoever is linked to it ends.
    fn as_exit(&self, path: &ActorPath) -> ExitReason {
        match self {
            Self::Exited(reason) => reason.clone(),
            Self::NoProc => ExitReason::Error(format!("linked to {path}, where no actor is")),
            Self::NoConnection => ExitReason::NoConnection,
        }
    }
}

/// What callers of an actor hear is what its watchers hear.
impl From<&CallError> for DownReason {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Gone(reason) => Self::Exited(reason.clone()),
            CallError::NoConnection => Self::NoConnection,
            CallError::NoProc
            | CallError::Timeout
            | CallError::MailboxFull
            | CallError::Rejected(_)
            | CallError::Draining => Self::NoProc,
        }
    }
}

/// The ties of one path, as an operator sees them. Each monitor is a line of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TiesView {
    /// The actors it is linked with.
    pub links: Vec<ActorPath>,
    /// The actors it watches.
    pub monitors: Vec<ActorPath>,
    /// The actors that watch it.
    pub monitored_by: Vec<ActorPath>,
    /// How many watch it that are no actors of this node.
    pub monitored_from_outside: usize,
    /// The actors of other nodes that it is linked with, as `node:path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links_abroad: Vec<String>,
    /// The actors of other nodes that it watches, as `node:path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitors_abroad: Vec<String>,
    /// Whether it hears of the exits of those it is linked with instead of ending with them.
    pub traps_exits: bool,
}

/// This incarnation, or the one it was to be linked to, has [`TIES_MAX`] monitors and links; or there are as many with actors
/// of one other node as may be. Nothing was tied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an actor has at most {TIES_MAX} monitors and links at a time, and fewer with one other node: take some away first"
)]
pub struct TooManyTies;
