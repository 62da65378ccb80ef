//! The tree a node runs, compared with what it is to be, and changed.

mod apply;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use covenant_env::{Env, Tasks};
use covenant_runtime::{BehaviourRegistry, System, TreeView};
use covenant_supervision::{
    ChangePlan, ChildChange, RunningChild, Tree, TreeFiles, TreeSource, TreeSourceError, TreeSpec, plan_change,
};

use apply::{Change, Part, Progress};
use covenant_types::ActorPath;
pub use store::TreeStoreError;
pub(crate) use store::{Booted, Journal, TreeStore};

use crate::api::tree::{ChangedChild, ChangedSupervisor, TreeBundle, TreePlan};
use crate::api::{ApiError, ErrorKind};

/// How many requests to apply a plan may wait for their turn.
const REQUESTS_MAX: usize = 8;

/// What the supervisors of a node were told to be, and where trees are kept.
#[derive(Debug)]
pub(crate) struct LiveTree {
    pub(crate) store: TreeStore,
    told: Mutex<Told>,
    /// Who applies a plan holds it.
    turn: tokio::sync::Mutex<()>,
    /// Requests to apply that are being dealt with, whether or not somebody still waits for the answer.
    requests: Mutex<Tasks>,
}

/// A tree with the hash of its files.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) spec: TreeSpec,
    pub(crate) hash: String,
}

impl Told {
    pub(crate) fn new(files: &TreeFiles, spec: TreeSpec) -> Self {
        Self { spec, hash: files.hash() }
    }

    fn tree(&self) -> Tree<'_> {
        Tree { spec: &self.spec, hash: &self.hash }
    }
}

impl LiveTree {
    pub(crate) fn new(store: TreeStore, told: Told, env: &Env) -> Self {
        let requests = Mutex::new(Tasks::new(env.system.clone(), REQUESTS_MAX));
        Self { store, told: Mutex::new(told), turn: tokio::sync::Mutex::default(), requests }
    }

    /// Deals with a request to its end, also when whoever asked hangs up. False where too many are being dealt with.
    #[must_use]
    pub(crate) fn deal_with(&self, request: impl Future<Output = ()> + Send + 'static) -> bool {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).spawn(request)
    }

    /// What the supervisors were told last.
    pub(crate) fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it takes to make what `node` runs now be `to`.
    pub(crate) fn plan(&self, node: &str, running: &TreeView, to: &Told) -> Result<(ChangePlan, TreePlan), ApiError> {
        let told = self.told();
        let running: Vec<RunningChild> = running.children.iter().map(running_child).collect();
        let plan = plan_change(node, told.tree(), &running, to.tree())
            .map_err(|error| ApiError::new(ErrorKind::Refused, format!("{error}; nothing was changed")))?;
        let view = view(node, &told, to, &plan);
        Ok((plan, view))
    }
}

/// What an apply came to.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) plan: TreePlan,
    pub(crate) done: Vec<String>,
}

impl LiveTree {
    /// Makes what `node` runs be `files`, if `hash` is the plan for that. One at a time.
    ///
    /// # Errors
    /// The plan is not the one for what runs now, and nothing was done; or it did not work, and the message says what was
    /// touched and what the tree is now.
    ///
    /// # Cancel safety
    /// None: what was begun is left half done. Run it in a task of its own.
    pub(crate) async fn apply(&self, node: &str, system: &System, wanted: Wanted) -> Result<Applied, ApiError> {
        let _turn = self.turn.lock().await;
        let Wanted { files, to, hash, who } = wanted;
        let (plan, view) = self.plan(node, &system.tree(), &to)?;
        if plan.hash != hash {
            let message = format!(
                "the plan {hash} is not for what {node} runs and the file says now: make a new one with \
                 `covenant tree plan`; nothing was changed"
            );
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let not_begun = |error: TreeStoreError| ApiError::failure(format!("{error}; nothing was changed"));
        let before = self.told();
        let journal = Journal { plan: hash, from: before.hash.clone(), to: to.hash.clone(), who };
        self.store.keep(&files).and_then(|()| self.store.begin(&journal)).map_err(not_begun)?;
        let mut progress = Progress::default();
        let change = Change { system, before: &before.spec, after: &to.spec };
        let mut result = change.run(&plan, &mut progress).await.map_err(|failed| failed.to_string());
        if result.is_ok() {
            result = self.store.put_in_force(&files).map_err(|error| error.to_string());
        }
        if let Err(why) = result {
            let back = self.undo(node, system, &before, &to, &plan, &progress).await;
            self.end();
            let done = if progress.done.is_empty() { "nothing".to_owned() } else { progress.done.join(", ") };
            let message = format!("{why}; before that it had {done}; {back}");
            return Err(ApiError::failure(message));
        }
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.end();
        Ok(Applied { plan: view, done: progress.done })
    }

    /// Makes everything that was touched what it was, and says how that went.
    async fn undo(
        &self,
        node: &str,
        system: &System,
        before: &Told,
        to: &Told,
        plan: &ChangePlan,
        progress: &Progress,
    ) -> String {
        let back = Change { system, before: &to.spec, after: &before.spec };
        let running: Vec<RunningChild> = system.tree().children.iter().map(running_child).collect();
        let result = match plan_change(node, to.tree(), &running, before.tree()) {
            Ok(undo) => {
                let mut undone = Progress::default();
                // Also those whose children were not touched yet must forget what they were told.
                let part = Part { told: apply::supervisors(plan), touches: Some(touchable(&undo, plan, progress)) };
                back.run_part(&undo, &part, &mut undone).await.map_err(|failed| failed.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok(()) => "the tree is as it was".to_owned(),
            Err(why) => format!(
                "and not all of it could be undone: {why}; `covenant tree drift` says what is left, and a restart of the \
                 node boots the tree it had"
            ),
        }
    }

    /// What is left of the journal is told of at the next boot.
    fn end(&self) {
        if let Err(error) = self.store.end() {
            tracing::warn!(%error, "the journal of a change that has ended");
        }
    }
}

/// What an undo may stop and restart: what was touched, and what was made known and not started yet.
fn touchable(undo: &ChangePlan, plan: &ChangePlan, progress: &Progress) -> BTreeSet<ActorPath> {
    let new: BTreeSet<&ActorPath> = plan.starts.iter().map(|it| &it.path).collect();
    let stops = undo.stops.iter().map(|it| &it.path).filter(|path| new.contains(path));
    progress.touched.iter().chain(stops).cloned().collect()
}

/// What somebody wants applied.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) files: TreeFiles,
    pub(crate) to: Told,
    /// The hash of the plan they have seen.
    pub(crate) hash: String,
    pub(crate) who: String,
}

/// The tree that a request carries, checked as a boot would check it.
pub(crate) fn read_bundle(bundle: TreeBundle, registry: &BehaviourRegistry) -> Result<(TreeFiles, Told), ApiError> {
    let nothing_done = |error: String| ApiError::usage(format!("{error}; nothing was changed"));
    let TreeBundle { root, files } = bundle;
    let (files, tree) = TreeFiles::read(&root, &Texts(files)).map_err(|error| nothing_done(error.to_string()))?;
    covenant_runtime::check_tree(&tree, registry).map_err(|error| nothing_done(error.to_string()))?;
    let told = Told::new(&files, tree);
    Ok((files, told))
}

struct Texts(BTreeMap<String, String>);

impl TreeSource for Texts {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.0.get(name).cloned().ok_or(TreeSourceError::NotFound)
    }
}

fn running_child(view: &TreeView) -> RunningChild {
    RunningChild {
        id: view.path.id().to_owned(),
        behaviour: view.behaviour.clone(),
        children: view.children.iter().map(running_child).collect(),
    }
}

fn view(node: &str, told: &Told, to: &Told, plan: &ChangePlan) -> TreePlan {
    let child = |change: &ChildChange| ChangedChild {
        path: change.path.clone(),
        runs: change.runs.clone(),
        why: change.why.clone(),
        size: change.size,
    };
    let children = |changes: &[ChildChange]| changes.iter().map(child).collect();
    TreePlan {
        node: node.to_owned(),
        from: told.hash.clone(),
        to: to.hash.clone(),
        plan: plan.hash.clone(),
        empty: plan.is_empty(),
        supervisors: plan
            .supervisors
            .iter()
            .map(|it| ChangedSupervisor { path: it.path.clone(), rules: it.rules.clone() })
            .collect(),
        stops: children(&plan.stops),
        restarts: children(&plan.restarts),
        starts: children(&plan.starts),
        kept: plan.kept,
        stop_bound_ms: plan.stop_bound.map(millis),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
