//! What can be seen of a tree.

use std::fmt;

use covenant_supervision::{ChildKind, ChildState};
use covenant_types::{ActorPath, Incarnation};
use serde::{Deserialize, Serialize};

use crate::System;

/// One actor or supervisor, and all below it. A snapshot: each line is true, the whole was never one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeView {
    /// Where it hangs.
    pub path: ActorPath,
    /// Worker or supervisor.
    pub kind: ActorKind,
    /// What it is doing.
    pub state: ActorState,
    /// How many starts of this path succeeded since the node booted.
    pub incarnation: Incarnation,
    /// How often it came back after an exit.
    pub restarts: u64,
    /// Its mailbox; a supervisor has none.
    pub mailbox: Option<MailboxView>,
    /// How many messages it handled since the node booted.
    pub handled: u64,
    /// How long its handlers took since then, waiting included, in microseconds.
    #[serde(default)]
    pub handler_us: u64,
    /// The registered name of its behaviour; a supervisor has none.
    pub behaviour: Option<String>,
    /// Its children in start order.
    pub children: Vec<TreeView>,
}

impl TreeView {
    /// The line of `path`, here or below.
    pub fn find(&self, path: &ActorPath) -> Option<&TreeView> {
        if self.path == *path {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(path))
    }
}

/// How full a mailbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxView {
    /// Messages that wait.
    pub depth: usize,
    /// The most that can wait.
    pub capacity: usize,
    /// Messages its policy dropped since the node booted.
    pub dropped: u64,
}

/// What hangs at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A behaviour.
    Worker,
    /// A tree file.
    Supervisor,
}

impl From<ChildKind> for ActorKind {
    fn from(kind: ChildKind) -> Self {
        match kind {
            ChildKind::Worker => Self::Worker,
            ChildKind::Supervisor => Self::Supervisor,
        }
    }
}

/// One path, at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// How often it has started.
    pub incarnation: Incarnation,
    /// What it is doing.
    pub state: ActorState,
}

impl System {
    /// One path at a glance; `None` where the tree has no such path. Costs no more in a large tree.
    pub fn sight(&self, path: &ActorPath) -> Option<Sight> {
        let slot = self.slot(path)?;
        Some(Sight { incarnation: slot.incarnation(), state: slot.state() })
    }
}

/// What an actor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Its spec is kept, nothing runs.
    Undefined,
    /// Its start has not returned yet.
    Starting,
    /// It answers.
    Running,
    /// It runs and was told to begin no message.
    Suspended,
    /// It runs, takes nothing new, and ends when it has handled what waits.
    Draining,
    /// It will be started again.
    Restarting,
    /// It was asked to stop.
    Stopping,
    /// It was killed and does not end: its handler never waits.
    Unkillable,
}

impl fmt::Display for ActorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Undefined => "undefined",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Draining => "draining",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Unkillable => "unkillable",
        })
    }
}

impl From<ChildState> for ActorState {
    fn from(state: ChildState) -> Self {
        match state {
            ChildState::Undefined => Self::Undefined,
            ChildState::Starting => Self::Starting,
            ChildState::Running => Self::Running,
            ChildState::Restarting => Self::Restarting,
            ChildState::Stopping => Self::Stopping,
            ChildState::Unkillable => Self::Unkillable,
        }
    }
}
