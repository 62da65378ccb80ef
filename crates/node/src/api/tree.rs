//! The words about changing a running tree.

use std::collections::BTreeMap;

use covenant_types::ActorPath;
use serde::{Deserialize, Serialize};

/// `POST /v1/tree/plan`, and part of `POST /v1/tree/apply`: a root file and the files it names, as texts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeBundle {
    /// The root file's name, without `.toml`.
    pub root: String,
    /// The texts by name.
    pub files: BTreeMap<String, String>,
}

/// `POST /v1/tree/apply`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyTree {
    /// The files.
    pub tree: TreeBundle,
    /// The hash of the plan that was seen.
    pub plan: String,
}

/// What an apply did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeApplied {
    /// The plan.
    pub plan: TreePlan,
    /// What was done, in order, as `restarted /sync/warmer`.
    pub done: Vec<String>,
}

/// `POST /v1/tree/drift`: compares with these files; with the tree in force where they are left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindDrift {
    /// The files.
    #[serde(default)]
    pub with: Option<TreeBundle>,
}

/// What it takes to make a running tree be what files say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreePlan {
    /// The node it is for.
    pub node: String,
    /// The hash of the files its supervisors were told.
    pub from: String,
    /// The hash of the files it is compared with.
    pub to: String,
    /// The plan's own hash: what `tree apply --plan` wants. It covers node, both trees and what runs, but no states,
    /// incarnations or instances.
    pub plan: String,
    /// Whether there is nothing to do.
    pub empty: bool,
    /// Supervisors that are told new specs, from the top down.
    pub supervisors: Vec<ChangedSupervisor>,
    /// What is stopped and deleted, in the order of doing.
    pub stops: Vec<ChangedChild>,
    /// What is stopped and started as something else.
    pub restarts: Vec<ChangedChild>,
    /// What is started.
    pub starts: Vec<ChangedChild>,
    /// How many actors and supervisors run on undisturbed.
    pub kept: usize,
    /// The longest that stopping can take, in milliseconds; none where something is waited for without a limit.
    pub stop_bound_ms: Option<u64>,
}

/// A supervisor that is told new specs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedSupervisor {
    /// The supervisor.
    pub path: ActorPath,
    /// What changes without a restart.
    pub rules: Vec<String>,
}

/// A child that stops, restarts or starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedChild {
    /// The child.
    pub path: ActorPath,
    /// The behaviour or tree file it runs.
    pub runs: String,
    /// Why.
    pub why: Vec<String>,
    /// How many actors and supervisors it is, those below included.
    pub size: usize,
}
