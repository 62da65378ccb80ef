//! The words about a node's part in its cluster: draining, sleeping, leaving, and what happens to members.

use std::time::Duration;

use covenant_cluster::{LinkView, MemberEvent, MemberView, Phase};
use covenant_types::{NodeName, WallTime};
use serde::{Deserialize, Serialize};

use super::ApiError;

/// `GET /v1/members`: one member, with how the connection to it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The member as this node sees it.
    #[serde(flatten)]
    pub view: MemberView,
    /// The connection to it, where there is one.
    #[serde(default)]
    pub link: Option<LinkView>,
}

/// `POST /v1/node/drain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainNode {
    /// How long to wait for what is under way, in milliseconds, at most [`NODE_DRAIN_MAX`].
    pub deadline_ms: u64,
    /// Why, for the audit log. At most 200 characters.
    pub reason: String,
    /// Only say what it would do.
    pub dry_run: bool,
}

/// The longest time that a drain is waited for.
pub const NODE_DRAIN_MAX: Duration = Duration::from_secs(3600);
/// The longest reason, in characters.
pub const REASON_MAX: usize = 200;

impl DrainNode {
    /// How long to wait.
    ///
    /// # Errors
    /// It is longer than [`NODE_DRAIN_MAX`], or the reason than [`REASON_MAX`].
    pub fn deadline(&self) -> Result<Duration, ApiError> {
        let deadline = Duration::from_millis(self.deadline_ms);
        if deadline > NODE_DRAIN_MAX {
            let most = NODE_DRAIN_MAX.as_secs();
            return Err(ApiError::usage(format!("a drain is waited for at most {most} s; nothing was done")));
        }
        if self.reason.chars().count() > REASON_MAX {
            return Err(ApiError::usage(format!("a reason has at most {REASON_MAX} characters; nothing was done")));
        }
        Ok(deadline)
    }
}

/// A node that drains, or what draining it would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeDrained {
    /// The node.
    pub node: NodeName,
    /// What follows from it.
    pub consequences: Vec<String>,
    /// Whether it drains now.
    pub draining: bool,
    /// Calls of other nodes' actors that are not answered yet.
    pub under_way: usize,
}

/// A node that works again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeActive {
    /// The node.
    pub node: NodeName,
    /// What it had been about to do.
    pub was: Phase,
}

/// `POST /v1/node/sleep`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SleepNode {
    /// For how long, in milliseconds: from a second to [`SLEEP_MAX`].
    pub for_ms: u64,
    /// Only say what it would do.
    pub dry_run: bool,
}

/// The longest sleep.
pub const SLEEP_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A node that sleeps, or what that would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeAsleep {
    /// The node.
    pub node: NodeName,
    /// What follows from it.
    pub consequences: Vec<String>,
    /// Until when it sleeps; none where it was only asked.
    pub until: Option<WallTime>,
    /// Who said that they know.
    pub told: Vec<NodeName>,
}

/// `POST /v1/node/leave`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveNode {
    /// Only say what it would do.
    pub dry_run: bool,
}

/// A node that leaves, or what that would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeLeaves {
    /// The node.
    pub node: NodeName,
    /// What follows from it.
    pub consequences: Vec<String>,
    /// Whether it stops now.
    pub leaving: bool,
}

/// `POST /v1/events`: what happened to members, as lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Only events after this number.
    pub after: u64,
    /// How long to wait for more, in milliseconds; 0 for only what is there, at most [`FOLLOW_MAX`].
    pub follow_ms: u64,
}

/// How long events are followed at most in one request.
pub const FOLLOW_MAX: Duration = Duration::from_secs(24 * 3600);

/// Something that happened to a member, as this node saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventLine {
    /// Its number at this node in this boot, from 1. Where numbers are missing, that many were lost.
    pub number: u64,
    /// When.
    pub at: WallTime,
    /// What.
    pub event: MemberEvent,
}
