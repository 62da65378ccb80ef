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
mod lookup;

use std::time::Duration;

use covenant_types::{ActorPath, ActorPathError};

use lookup::Lookup;

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
    let plan = ChangePlan {
        hash: hash::of_plan(node, in_force, running, to),
        supervisors: Vec::new(),
        stops: Vec::new(),
        restarts: Vec::new(),
        starts: Vec::new(),
        kept: 1,
        stop_bound: Some(Duration::ZERO),
    };
    let mut comparison = Comparison { plan, place: Vec::new(), stops: Vec::new() };
    comparison.supervisor(&ActorPath::root(), in_force.spec, running, to.spec)?;
    let Comparison { mut plan, mut stops, .. } = comparison;
    stops.sort_by(|(a, _), (b, _)| b.cmp(a));
    plan.stops = stops.into_iter().map(|(_, change)| change).collect();
    Ok(plan)
}

/// A plan that is being made.
struct Comparison {
    plan: ChangePlan,
    /// Where among what runs the supervisor stands that is looked at: places from the root down.
    place: Vec<usize>,
    /// What stops, with its place.
    stops: Vec<(Vec<usize>, ChildChange)>,
}

impl Comparison {
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
            self.plan.kept += running.len();
            self.note_supervisor(path, rules, false);
            return Ok(());
        }
        let (named, runs) = (Lookup::new(&before.children), Lookup::new(running));
        let mut stays = vec![false; running.len()];
        let here = self.plan.supervisors.len();
        let mut set_changes = false;
        for child in &after.children {
            let id = child.spec.id.as_str();
            let before = named.find(id).map(|(_, before)| before);
            let Some((at, runs)) = runs.find(id) else {
                if before.is_some_and(|before| before.spec.restart == Restart::Temporary) {
                    continue; // it has ended for good, which is its right
                }
                set_changes = true;
                let why = if before.is_some() { "it is gone" } else { "new" };
                self.plan.starts.push(ChildChange::of(path.child(id)?, child, vec![why.to_owned()]));
                continue;
            };
            stays[at] = true;
            let why = match before {
                Some(before) => describe::restart_of(before, runs, child),
                None => vec!["it was started beside the file".to_owned()],
            };
            if !why.is_empty() {
                self.add_stop(before.and_then(ChildNode::stop_bound));
                self.plan.restarts.push(ChildChange::of(path.child(id)?, child, why));
                continue;
            }
            self.plan.kept += 1;
            if let (Some(Work::Tree(before)), Work::Tree(after)) = (before.map(|node| &node.work), &child.work) {
                self.place.push(at);
                self.supervisor(&path.child(id)?, before, &runs.children, after)?;
                self.place.pop();
            }
        }
        for (at, child) in running.iter().enumerate().filter(|(at, _)| !stays[*at]) {
            let spec = named.find(&child.id).map(|(_, before)| before);
            let change = self.stop(path.child(&child.id)?, child, spec);
            let place = self.place.iter().copied().chain([at]).collect();
            self.stops.push((place, change));
            set_changes = true;
        }
        self.supervisors_from(here, path, rules, set_changes);
        Ok(())
    }

    /// Notes a supervisor before those below it, which were noted already.
    fn supervisors_from(&mut self, here: usize, path: &ActorPath, rules: Vec<String>, set_changes: bool) {
        if set_changes || !rules.is_empty() {
            self.plan.supervisors.insert(here, SupervisorChange { path: path.clone(), rules });
        }
    }

    fn note_supervisor(&mut self, path: &ActorPath, rules: Vec<String>, set_changes: bool) {
        self.supervisors_from(self.plan.supervisors.len(), path, rules, set_changes);
    }

    fn stop(&mut self, path: ActorPath, runs: &RunningChild, spec: Option<&ChildNode>) -> ChildChange {
        let why = match spec {
            Some(_) => "the file has it no more",
            None => "no file has it",
        };
        self.add_stop(spec.and_then(ChildNode::stop_bound));
        let what = runs.behaviour.clone().unwrap_or_else(|| spec.map_or_else(|| "a tree".to_owned(), describe::work));
        ChildChange { path, runs: what, why: vec![why.to_owned()], size: size(runs) }
    }

    fn add_stop(&mut self, bound: Option<Duration>) {
        self.plan.stop_bound = self.plan.stop_bound.and_then(|sum| sum.checked_add(bound?));
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

fn size(child: &RunningChild) -> usize {
    1 + child.children.iter().map(size).sum::<usize>()
}

#[cfg(test)]
mod tests;
