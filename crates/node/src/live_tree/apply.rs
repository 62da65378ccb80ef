//! Makes a running tree what a plan says: specs first, then what stops, restarts and starts, one after the other.
//!
//! Nothing here counts as a restart that is forgiven, and no strategy spreads it: siblings that the plan does not name run
//! on. Where something does not start, the specs go back and what was touched becomes what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covenant_runtime::{AdminFailure, Rework, System};
use covenant_supervision::{AdminError, ChangePlan, ChildId, ChildNode, Restart, TreeSpec, Work};
use covenant_types::ActorPath;

/// Changes one running tree.
pub(super) struct Change<'a> {
    pub(super) system: &'a System,
    pub(super) before: &'a TreeSpec,
    pub(super) after: &'a TreeSpec,
}

/// What was done, in order, as `restarted /sync/warmer`.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) done: Vec<String>,
    /// Whose stop, restart or start was begun.
    pub(super) touched: BTreeSet<ActorPath>,
}

/// A part of a plan.
#[derive(Debug)]
pub(super) struct Part {
    /// Supervisors that are told their specs even where those do not differ.
    pub(super) told: BTreeSet<ActorPath>,
    /// The only paths that are stopped or restarted; all where it is none.
    pub(super) touches: Option<BTreeSet<ActorPath>>,
}

/// What did not work. What was done before it is in the [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub(super) struct ChangeFailed {
    pub(super) path: ActorPath,
    pub(super) why: AdminFailure,
}

/// How often a supervisor is looked for that is between two incarnations.
const LOOKS_MAX: u32 = 100;
/// How long to wait between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Change<'_> {
    /// Does what `plan` says.
    pub(super) async fn run(&self, plan: &ChangePlan, progress: &mut Progress) -> Result<(), ChangeFailed> {
        self.run_part(plan, &Part { told: BTreeSet::new(), touches: None }, progress).await
    }

    /// Does a part of what `plan` says.
    pub(super) async fn run_part(
        &self,
        plan: &ChangePlan,
        part: &Part,
        progress: &mut Progress,
    ) -> Result<(), ChangeFailed> {
        let wanted = |path: &ActorPath| part.touches.as_ref().is_none_or(|only| only.contains(path));
        let restarts: Vec<&ActorPath> = plan.restarts.iter().map(|it| &it.path).filter(|path| wanted(path)).collect();
        let mut told = supervisors(plan);
        told.extend(part.told.iter().cloned());
        let told = from_the_top(told);
        for path in &told {
            self.specs(path, self.after, &restarts, true).await?;
        }
        for path in plan.stops.iter().map(|it| &it.path).filter(|path| wanted(path)) {
            progress.touched.insert(path.clone());
            self.call(path, Call::Terminate).await?;
            // A temporary child is forgotten as it ends.
            match self.call(path, Call::Delete).await {
                Err(ChangeFailed { why: AdminFailure::Refused(AdminError::NotFound), .. }) | Ok(()) => {}
                Err(failed) => return Err(failed),
            }
            progress.done.push(format!("stopped {path}"));
        }
        for path in &restarts {
            progress.touched.insert((*path).clone());
            self.call(path, Call::Terminate).await?;
            self.start(path).await?;
            progress.done.push(format!("restarted {path}"));
        }
        for path in plan.starts.iter().map(|it| &it.path) {
            progress.touched.insert(path.clone());
            self.start(path).await?;
            progress.done.push(format!("started {path}"));
        }
        // Once more, now that nothing temporary must be kept over its stop.
        for path in told.iter().filter(|path| self.has_temporary(path, &restarts)) {
            self.specs(path, self.after, &[], false).await?;
        }
        Ok(())
    }

    async fn specs(
        &self,
        path: &ActorPath,
        to: &TreeSpec,
        restarts: &[&ActorPath],
        keep_temporary: bool,
    ) -> Result<(), ChangeFailed> {
        let Some(mut tree) = find(to, path).cloned() else { return Ok(()) };
        let mut rework = BTreeMap::new();
        for restarted in restarts.iter().filter(|restarted| restarted.parent().as_ref() == Some(path)) {
            let Some(at) = tree.children.iter().position(|child| child.spec.id.as_str() == restarted.id()) else {
                continue;
            };
            let before = find(self.before, path).and_then(|tree| child_of(tree, restarted.id()));
            rework.insert(tree.children[at].spec.id.clone(), how(before, &tree.children[at]));
            if keep_temporary && tree.children[at].spec.restart == Restart::Temporary {
                // Its spec would go with it when it is stopped.
                tree.children[at].spec.restart = Restart::Transient;
                tree.spec.children[at].restart = Restart::Transient;
            }
        }
        self.call(path, Call::Specs(&tree, &rework)).await
    }

    fn has_temporary(&self, path: &ActorPath, restarts: &[&ActorPath]) -> bool {
        let temporary = |restarted: &&&ActorPath| {
            let tree = find(self.after, path);
            let child = tree.and_then(|tree| child_of(tree, restarted.id()));
            restarted.parent().as_ref() == Some(path)
                && child.is_some_and(|child| child.spec.restart == Restart::Temporary)
        };
        restarts.iter().any(|restarted| temporary(&restarted))
    }

    /// Starts what is stopped. What was started meanwhile by its supervisor's own restart runs as wanted.
    async fn start(&self, path: &ActorPath) -> Result<(), ChangeFailed> {
        match self.call(path, Call::Restart).await {
            Err(ChangeFailed { why: AdminFailure::Refused(AdminError::Running | AdminError::Restarting), .. }) => {
                Ok(())
            }
            other => other,
        }
    }

    /// Calls a supervisor, and again while it is between two incarnations.
    async fn call(&self, path: &ActorPath, call: Call<'_>) -> Result<(), ChangeFailed> {
        let mut looks = 1;
        loop {
            let answer = match &call {
                Call::Specs(tree, rework) => self.system.replace_specs(path, (*tree).clone(), (*rework).clone()).await,
                Call::Terminate => self.system.terminate_child(path).await,
                Call::Delete => self.system.delete_child(path).await,
                Call::Restart => self.system.restart_child(path).await.map(drop),
            };
            match answer {
                Ok(()) => return Ok(()),
                Err(AdminFailure::NoSupervisor(_) | AdminFailure::Gone(_)) if looks < LOOKS_MAX => looks += 1,
                Err(why) => return Err(ChangeFailed { path: path.clone(), why }),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// What a supervisor is asked.
enum Call<'a> {
    Specs(&'a TreeSpec, &'a BTreeMap<ChildId, Rework>),
    Terminate,
    Delete,
    Restart,
}

/// The supervisors that a plan tells new specs: those whose rules or children change, and those above what restarts.
pub(super) fn supervisors(plan: &ChangePlan) -> BTreeSet<ActorPath> {
    let above = plan.restarts.iter().filter_map(|it| it.path.parent());
    plan.supervisors.iter().map(|it| it.path.clone()).chain(above).collect()
}

fn from_the_top(paths: BTreeSet<ActorPath>) -> Vec<ActorPath> {
    let mut paths: Vec<ActorPath> = paths.into_iter().collect();
    paths.sort_by_key(|path| path.ids().count());
    paths
}

/// Whether a child keeps its mailbox when it becomes `after`.
fn how(before: Option<&ChildNode>, after: &ChildNode) -> Rework {
    match (before.map(|node| (&node.work, node.mailbox)), &after.work) {
        (Some((Work::Behaviour { name: old, .. }, mailbox)), Work::Behaviour { name: new, .. })
            if old == new && mailbox == after.mailbox =>
        {
            Rework::Refit
        }
        _ => Rework::Replace,
    }
}

fn child_of<'a>(tree: &'a TreeSpec, id: &str) -> Option<&'a ChildNode> {
    tree.children.iter().find(|child| child.spec.id.as_str() == id)
}

/// The supervisor at `path`.
fn find<'a>(root: &'a TreeSpec, path: &ActorPath) -> Option<&'a TreeSpec> {
    path.ids().try_fold(root, |tree, id| match &child_of(tree, id)?.work {
        Work::Tree(below) => Some(below),
        Work::Behaviour { .. } => None,
    })
}
