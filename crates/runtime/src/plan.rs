//! A tree file become concrete: every child with its record, its mailbox and the way to start it.

use std::collections::BTreeMap;
use std::sync::Arc;

use covenant_env::RealClock;
use covenant_supervision::{ChildId, ChildKind, ChildNode, SpecError, SupervisorSpec, TreeSpec, Work};
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
    pub(crate) children: BTreeMap<ChildId, PlannedChild>,
}

pub(crate) struct PlannedChild {
    pub(crate) slot: Arc<Slot>,
    pub(crate) starter: Box<dyn Starter>,
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
    plan(tree.clone(), &ActorPath::root(), registry, &deadlines).map(drop)
}

/// Makes the plan of `tree` at `path`.
pub(crate) fn plan(
    tree: TreeSpec,
    path: &ActorPath,
    registry: &BehaviourRegistry,
    deadlines: &Arc<Deadlines>,
) -> Result<TreePlan, BootError> {
    let mut children = BTreeMap::new();
    let mut slots = Vec::with_capacity(tree.children.len());
    for node in tree.children {
        let id = node.spec.id.clone();
        let child = plan_child(node, path.child(id.as_str())?, registry, deadlines)?;
        slots.push(Arc::clone(&child.slot));
        children.insert(id, child);
    }
    let slot = Arc::new(Slot::new(path.clone(), ChildKind::Supervisor, None, None, slots));
    Ok(TreePlan { slot, spec: tree.spec, children })
}

fn plan_child(
    node: ChildNode,
    path: ActorPath,
    registry: &BehaviourRegistry,
    deadlines: &Arc<Deadlines>,
) -> Result<PlannedChild, BootError> {
    match node.work {
        Work::Tree(tree) => {
            let tree = plan(tree, &path, registry, deadlines)?;
            Ok(PlannedChild { slot: Arc::clone(&tree.slot), starter: Box::new(TreeStarter(Arc::new(tree))) })
        }
        Work::Behaviour { name, config, file, line } => {
            let Some(factory) = registry.find(&name) else {
                let known = registry.names().collect::<Vec<_>>().join(", ");
                return Err(BootError::UnknownBehaviour { file, line, path, name, known });
            };
            let mailbox = factory.mailbox(path.clone(), &node.mailbox, deadlines);
            let starter = match factory.child(config, &mailbox) {
                Ok(starter) => starter,
                Err(why) => return Err(BootError::BadConfig { file, line, path, name, why }),
            };
            let slot = Slot::new(path, node.spec.kind, Some(name), Some(mailbox), Vec::new());
            Ok(PlannedChild { slot: Arc::new(slot), starter })
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
