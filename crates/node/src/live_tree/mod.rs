//! The tree a node runs, compared with what it is to be, and changed.

mod store;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use covenant_runtime::TreeView;
use covenant_supervision::{
    ChangePlan, ChildChange, RunningChild, Tree, TreeFiles, TreeSource, TreeSourceError, TreeSpec, plan_change,
};

pub use store::TreeStoreError;
pub(crate) use store::{Booted, Journal, TreeStore};

use crate::api::tree::{ChangedChild, ChangedSupervisor, TreeBundle, TreePlan};
use crate::api::{ApiError, ErrorKind};

/// What the supervisors of a node were told to be, and where trees are kept.
#[derive(Debug)]
pub(crate) struct LiveTree {
    pub(crate) store: TreeStore,
    told: Mutex<Told>,
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
    pub(crate) fn new(store: TreeStore, told: Told) -> Self {
        Self { store, told: Mutex::new(told) }
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

/// The tree that a request carries, checked as a boot would check it.
pub(crate) fn read_bundle(bundle: TreeBundle) -> Result<(TreeFiles, Told), ApiError> {
    let nothing_done = |error: String| ApiError::usage(format!("{error}; nothing was changed"));
    let TreeBundle { root, files } = bundle;
    let (files, tree) = TreeFiles::read(&root, &Texts(files)).map_err(|error| nothing_done(error.to_string()))?;
    covenant_runtime::check_tree(&tree, &crate::registry()).map_err(|error| nothing_done(error.to_string()))?;
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
