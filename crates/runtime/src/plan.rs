//! A tree file become concrete: every child with its record, its mailbox and the way to start it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use covenant_env::RealClock;
use covenant_supervision::{ChildId, ChildKind, ChildNode, SpecError, Strategy, SupervisorSpec, TreeSpec, Work};
use covenant_types::{ActorPath, ActorPathError, ExitReason};

use crate::deadline::Deadlines;
use crate::notice::Notice;
use crate::registry::Starter;
use crate::slot::{Handle, Slot};
use crate::{BehaviourRegistry, System, supervisor};

/// One supervisor and what it supervises.
pub(crate) struct TreePlan {
    pub(crate) slot: Arc<Slot>,
    pub(crate) spec: SupervisorSpec,
    /// The children it starts with; none where it is dynamic.
    pub(crate) children: BTreeMap<ChildId, PlannedChild>,
    /// What the instances of a dynamic supervisor are made after.
    pub(crate) template: Option<ChildNode>,
    /// The place of the next child that is added while it runs.
    pub(crate) next_place: AtomicU64,
}

#[derive(Clone)]
pub(crate) struct PlannedChild {
    pub(crate) slot: Arc<Slot>,
    pub(crate) starter: Arc<dyn Starter>,
}

/// Why a system did not start. Nothing of it runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// A child names a behaviour that is not registered. Correct the file.
    #[error("{file}:{line}: child {path}: unknown behaviour {name:?}: this node knows {known}")]
    UnknownBehaviour {
        /// The tree file.
        file: String,
        /// The line of the child.
        line: usize,
        /// The child.
        path: ActorPath,
        /// The name it gives.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A child's `config` is not what its behaviour reads. Correct the file.
    #[error("{file}:{line}: child {path}: bad config for {name:?}: {why}")]
    BadConfig {
        /// The tree file.
        file: String,
        /// The line of the child.
        line: usize,
        /// The child.
        path: ActorPath,
        /// Its behaviour.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The tree is deeper than a path can be.
    #[error("the tree is too deep: {0}")]
    TooDeep(#[from] ActorPathError),
    /// A supervisor's spec breaks a rule.
    #[error("supervisor {path}: {why}")]
    BadSpec {
        /// The supervisor.
        path: ActorPath,
        /// The rule.
        why: SpecError,
    },
    /// A child did not start, and those before it were stopped again.
    #[error("{path} did not start: {reason}")]
    StartFailed {
        /// The child.
        path: ActorPath,
        /// Why.
        reason: ExitReason,
    },
}

/// Checks that every behaviour of `tree` is there and reads its `config`, without starting anything.
///
/// # Errors
/// What [`System::start`] would refuse before it starts the first child.
pub fn check_tree(tree: &TreeSpec, registry: &BehaviourRegistry) -> Result<(), BootError> {
    let deadlines = Deadlines::new(Arc::new(RealClock::new()));
    plan(tree.clone(), &ActorPath::root(), 0, registry, &deadlines).map(drop)
}

/// Makes the plan of `tree` at `path`.
pub(crate) fn plan(
    tree: TreeSpec,
    path: &ActorPath,
    place: u64,
    registry: &BehaviourRegistry,
    deadlines: &Arc<Deadlines>,
) -> Result<TreePlan, BootError> {
    let slot = Arc::new(Slot::new(path.clone(), ChildKind::Supervisor, None, None, place));
    let mut plan =
        TreePlan { slot, spec: tree.spec, children: BTreeMap::new(), template: None, next_place: AtomicU64::new(0) };
    let dynamic = plan.spec.strategy == Strategy::Dynamic;
    for node in tree.children {
        let id = node.spec.id.clone();
        let child = plan_child(node.clone(), path.child(id.as_str())?, plan.take_place(), registry, deadlines)?;
        if dynamic {
            plan.template = Some(node); // planned all the same, so that a bad config is found before anything starts
        } else {
            plan.slot.adopt(Arc::clone(&child.slot));
            plan.children.insert(id, child);
        }
    }
    Ok(plan)
}

impl TreePlan {
    /// The place of one more child.
    pub(crate) fn take_place(&self) -> u64 {
        self.next_place.fetch_add(1, Ordering::Relaxed)
    }
}

/// Makes the plan of one child at `path`.
pub(crate) fn plan_child(
    node: ChildNode,
    path: ActorPath,
    place: u64,
    registry: &BehaviourRegistry,
    deadlines: &Arc<Deadlines>,
) -> Result<PlannedChild, BootError> {
    match node.work {
        Work::Tree(tree) => {
            let tree = plan(tree, &path, place, registry, deadlines)?;
            Ok(PlannedChild { slot: Arc::clone(&tree.slot), starter: Arc::new(TreeStarter(Arc::new(tree))) })
        }
        Work::Behaviour { name, config, file, line } => {
            let Some(factory) = registry.find(&name) else {
                let known = registry.names().collect::<Vec<_>>().join(", ");
                return Err(BootError::UnknownBehaviour { file, line, path, name, known });
            };
            let mailbox = factory.mailbox(path.clone(), &node.mailbox, deadlines);
            let starter = match factory.child(config, &mailbox, node.host) {
                Ok(starter) => starter,
                Err(why) => return Err(BootError::BadConfig { file, line, path, name, why }),
            };
            let slot = Slot::new(path, node.spec.kind, Some(name), Some(mailbox), place);
            Ok(PlannedChild { slot: Arc::new(slot), starter: Arc::from(starter) })
        }
    }
}

/// Starts a subtree.
pub(crate) struct TreeStarter(pub(crate) Arc<TreePlan>);

impl Starter for TreeStarter {
    fn start(&self, system: &System, _: &Arc<Slot>, notice: Arc<Notice>) -> Option<Handle> {
        supervisor::spawn(Arc::clone(&self.0), system.clone(), notice)
    }
}
