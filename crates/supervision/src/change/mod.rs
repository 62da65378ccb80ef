//! What it takes to make a running tree be what another file says: what starts, stops, restarts and merely changes its rules.
//!
//! Pure. The node that runs the tree applies the plan; `covenant tree plan` and `covenant tree drift` only show it.
//!
//! # Intuition
//! Siblings that the change does not name never notice. A child is restarted only when what it *runs* changed: its
//! behaviour, tree, config, mailbox or host. How it is *supervised* — restart type, times, budgets, strategy, order — is told
//! to its supervisor while it runs on.
//!
//! # The hash
//! A plan is for one node, one tree in force, one running structure and one set of files; its hash covers all four, so that a
//! plan that was looked at yesterday is not applied to something else today. States, incarnations and restarts are *not*
//! covered, and neither are instances of dynamic supervisors: a tree in a crash loop changes those many times a second, and
//! that is when a plan is needed most.

mod describe;
mod hash;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covenant_types::{ActorPath, ActorPathError};

use crate::{ChildNode, Restart, Strategy, TreeSpec, Work};

/// A tree and the hash of the files it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// What the files say.
    pub spec: &'a TreeSpec,
    /// See [`crate::TreeFiles::hash`].
    pub hash: &'a str,
}

/// What runs at one id, and below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningChild {
    /// The id in its supervisor.
    pub id: String,
    /// Its behaviour; `None` for a supervisor.
    pub behaviour: Option<String>,
    /// What it supervises, in start order.
    pub children: Vec<RunningChild>,
}

/// What changes, in the order in which it is done: specs first, then what stops, restarts and starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePlan {
    /// Says which change this is: see the module.
    pub hash: String,
    /// Supervisors that are told new specs, from the top down.
    pub supervisors: Vec<SupervisorChange>,
    /// What is stopped and deleted, the last in start order first.
    pub stops: Vec<ChildChange>,
    /// What is stopped and started as something else, in start order.
    pub restarts: Vec<ChildChange>,
    /// What is started, in start order.
    pub starts: Vec<ChildChange>,
    /// How many actors and supervisors run on undisturbed.
    pub kept: usize,
    /// The longest that all stops and restarts can take to stop. `None` where something is waited for without a limit.
    pub stop_bound: Option<Duration>,
}

impl ChangePlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.supervisors.is_empty() && self.stops.is_empty() && self.restarts.is_empty() && self.starts.is_empty()
    }
}

/// A supervisor whose specs change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorChange {
    /// The supervisor.
    pub path: ActorPath,
    /// What changes without a restart, as `intensity 3 -> 5` or `store: shutdown 5s -> 1s`.
    pub rules: Vec<String>,
}

/// A child that stops, restarts or starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildChange {
    /// The child.
    pub path: ActorPath,
    /// What it runs after the change, or ran before where it stops: a behaviour, or a tree file.
    pub runs: String,
    /// Why, as `config changed`.
    pub why: Vec<String>,
    /// How many actors and supervisors it is, those below included.
    pub size: usize,
}

/// Why a running tree cannot become what a file says. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The root's strategy can only change within its kind, and nobody could restart the root.
    #[error(
        "the root supervisor cannot become dynamic or cease to be while it runs: restart the node with the new tree"
    )]
    RootKind,
    /// A path is too long.
    #[error("the tree is too deep: {0}")]
    TooDeep(#[from] ActorPathError),
}

/// Compares the tree that `node` runs with what it is to become.
///
/// `running` is what hangs below the root. Where it differs from `in_force`, because somebody stopped or started children
/// since, what runs is what counts.
///
/// # Errors
/// The root cannot become what `to` says, or a path is too long.
pub fn plan_change(
    node: &str,
    in_force: Tree<'_>,
    running: &[RunningChild],
    to: Tree<'_>,
) -> Result<ChangePlan, ChangeError> {
    if is_dynamic(in_force.spec) != is_dynamic(to.spec) || describe::template(in_force.spec, to.spec).is_some() {
        return Err(ChangeError::RootKind);
    }
    let hash = hash::of_plan(node, in_force, running, to);
    let mut plan = ChangePlan {
        hash,
        supervisors: Vec::new(),
        stops: Vec::new(),
        restarts: Vec::new(),
        starts: Vec::new(),
        kept: 1,
        stop_bound: Some(Duration::ZERO),
    };
    plan.supervisor(&ActorPath::root(), in_force.spec, running, to.spec)?;
    plan.stops.reverse();
    Ok(plan)
}

impl ChangePlan {
    /// The changes in and below a supervisor that itself runs on.
    fn supervisor(
        &mut self,
        path: &ActorPath,
        before: &TreeSpec,
        running: &[RunningChild],
        after: &TreeSpec,
    ) -> Result<(), ChangeError> {
        let rules = describe::rules(before, after);
        if is_dynamic(after) {
            // Its instances come and go by themselves, and go on under the new rules of their template.
            self.kept += running.len();
            self.note_supervisor(path, rules, false);
            return Ok(());
        }
        let named: BTreeMap<&str, &ChildNode> = by_id(before);
        let runs: BTreeMap<&str, &RunningChild> = running.iter().map(|child| (child.id.as_str(), child)).collect();
        let stays: BTreeSet<&str> = after.children.iter().map(|child| child.spec.id.as_str()).collect();
        let here = self.supervisors.len();
        let mut set_changes = false;
        for child in running.iter().filter(|child| !stays.contains(child.id.as_str())) {
            let spec = named.get(child.id.as_str()).copied();
            self.stop(path.child(&child.id)?, child, spec);
            set_changes = true;
        }
        for child in &after.children {
            let id = child.spec.id.as_str();
            let path = path.child(id)?;
            match (named.get(id).copied(), runs.get(id).copied()) {
                // It has ended for good, which is its right.
                (Some(before), None) if before.spec.restart == Restart::Temporary => {}
                (_, None) => {
                    set_changes = true;
                    let why = if named.contains_key(id) { "it is gone" } else { "new" };
                    self.starts.push(ChildChange::of(path, child, vec![why.to_owned()]));
                }
                (before, Some(runs)) => {
                    let why = match before {
                        Some(before) => describe::restart_of(before, runs, child),
                        None => vec!["it was started beside the file".to_owned()],
                    };
                    if !why.is_empty() {
                        self.add_stop(before.and_then(ChildNode::stop_bound));
                        self.restarts.push(ChildChange::of(path, child, why));
                    } else if let (Some(Work::Tree(before)), Work::Tree(after)) =
                        (before.map(|node| &node.work), &child.work)
                    {
                        self.kept += 1;
                        self.supervisor(&path, before, &runs.children, after)?;
                    } else {
                        self.kept += 1;
                    }
                }
            }
        }
        self.supervisors_from(here, path, rules, set_changes);
        Ok(())
    }

    /// Notes a supervisor before those below it, which were noted already.
    fn supervisors_from(&mut self, here: usize, path: &ActorPath, rules: Vec<String>, set_changes: bool) {
        if set_changes || !rules.is_empty() {
            self.supervisors.insert(here, SupervisorChange { path: path.clone(), rules });
        }
    }

    fn note_supervisor(&mut self, path: &ActorPath, rules: Vec<String>, set_changes: bool) {
        self.supervisors_from(self.supervisors.len(), path, rules, set_changes);
    }

    fn stop(&mut self, path: ActorPath, runs: &RunningChild, spec: Option<&ChildNode>) {
        let why = match spec {
            Some(_) => "the file has it no more",
            None => "no file has it",
        };
        self.add_stop(spec.and_then(ChildNode::stop_bound));
        let what = runs.behaviour.clone().unwrap_or_else(|| spec.map_or_else(|| "a tree".to_owned(), describe::work));
        self.stops.push(ChildChange { path, runs: what, why: vec![why.to_owned()], size: size(runs) });
    }

    fn add_stop(&mut self, bound: Option<Duration>) {
        self.stop_bound = self.stop_bound.and_then(|sum| sum.checked_add(bound?));
    }
}

impl ChildChange {
    fn of(path: ActorPath, child: &ChildNode, why: Vec<String>) -> Self {
        Self { path, runs: describe::work(child), why, size: child.size() }
    }
}

fn is_dynamic(tree: &TreeSpec) -> bool {
    tree.spec.strategy == Strategy::Dynamic
}

fn by_id(tree: &TreeSpec) -> BTreeMap<&str, &ChildNode> {
    tree.children.iter().map(|child| (child.spec.id.as_str(), child)).collect()
}

fn size(child: &RunningChild) -> usize {
    1 + child.children.iter().map(size).sum::<usize>()
}

#[cfg(test)]
mod tests;
