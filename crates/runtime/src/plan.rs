//! A tree file become concrete: every child with its record, its mailbox and the way to start it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use covenant_env::RealClock;
use covenant_supervision::{ChildId, ChildKind, ChildNode, SpecError, Strategy, SupervisorSpec, TreeSpec, Work};
use covenant_types::{ActorPath, ActorPathError, ExitReason};

use crate::deadline::Deadlines;
use crate::notice::Notice;
use crate::registry::Starter;
use crate::slot::{Handle, Slot};
use crate::{BehaviourRegistry, supervisor};

/// One supervisor and what it supervises.
pub(crate) struct TreePlan {
    pub(crate) slot: Arc<Slot>,
    /// What its next incarnation is. Changes with the specs of the one that runs.
    planned: Mutex<Arc<Planned>>,
    /// The place of the next child that is added while it runs.
    next_place: AtomicU64,
}

/// What a supervisor is when it starts.
pub(crate) struct Planned {
    pub(crate) spec: SupervisorSpec,
    /// The children it starts with; none where it is dynamic.
    pub(crate) children: HashMap<ChildId, PlannedChild>,
    /// What the instances of a dynamic supervisor are made after.
    pub(crate) template: Option<Template>,
}

/// What instances are made after.
pub(crate) struct Template {
    pub(crate) node: ChildNode,
    /// Shared by all that are no different.
    pub(crate) starter: Option<Arc<dyn Starter>>,
}

impl Template {
    /// The template `node`, of which `child` is one made.
    pub(crate) fn new(node: ChildNode, child: &PlannedChild) -> Self {
        // Every instance that is a tree has records of its own below it.
        let starter = child.starter.clone().filter(|_| matches!(node.work, Work::Behaviour { .. }));
        Self { node, starter }
    }
}

#[derive(Clone)]
pub(crate) struct PlannedChild {
    pub(crate) slot: Arc<Slot>,
    /// None once a temporary child that was added has begun: it is never started again, and what it was started with is not
    /// kept.
    pub(crate) starter: Option<Arc<dyn Starter>>,
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
/// What [`System::start`](crate::System::start) would refuse before it starts the first child.
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
    slot.set_partitioned(tree.partitions > 1);
    let mut planned = Planned { spec: tree.spec, children: HashMap::new(), template: None };
    let dynamic = planned.spec.strategy == Strategy::Dynamic;
    for (place, node) in (0..).zip(tree.children) {
        let id = node.spec.id.clone();
        let child = plan_child(&node, path.child(id.as_str())?, place, None, registry, deadlines)?;
        if dynamic {
            planned.template = Some(Template::new(node, &child)); // so a bad config is found before anything starts
        } else {
            slot.adopt(Arc::clone(&child.slot));
            planned.children.insert(id, child);
        }
    }
    let next_place = AtomicU64::new(planned.spec.children.len() as u64);
    Ok(TreePlan { slot, planned: Mutex::new(Arc::new(planned)), next_place })
}

impl TreePlan {
    /// What the supervisor is at its next start.
    pub(crate) fn planned(&self) -> Arc<Planned> {
        Arc::clone(&self.planned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It is this from its next start on.
    pub(crate) fn change(&self, planned: Planned) {
        let before =
            std::mem::replace(&mut *self.planned.lock().unwrap_or_else(PoisonError::into_inner), Arc::new(planned));
        drop(before); // after the lock
    }

    /// The place of one more child.
    pub(crate) fn take_place(&self) -> u64 {
        self.next_place.fetch_add(1, Ordering::Relaxed)
    }
}

/// Makes the plan of one child at `path`; `starter` is that of another with the same behaviour, `config` and host, if there
/// is one.
pub(crate) fn plan_child(
    node: &ChildNode,
    path: ActorPath,
    place: u64,
    starter: Option<&Arc<dyn Starter>>,
    registry: &BehaviourRegistry,
    deadlines: &Arc<Deadlines>,
) -> Result<PlannedChild, BootError> {
    match &node.work {
        Work::Tree(tree) => {
            let tree = plan(tree.clone(), &path, place, registry, deadlines)?;
            Ok(PlannedChild { slot: Arc::clone(&tree.slot), starter: Some(Arc::new(TreeStarter(Arc::new(tree)))) })
        }
        Work::Behaviour { name, config, file, line } => {
            let Some((name, factory)) = registry.find(name) else {
                let known = registry.names().collect::<Vec<_>>().join(", ");
                let (file, line, name) = (file.clone(), *line, name.clone());
                return Err(BootError::UnknownBehaviour { file, line, path, name, known });
            };
            let mailbox = factory.mailbox(path.clone(), &node.mailbox, deadlines);
            let starter = starter.map_or_else(|| factory.starter(config, node.host), |starter| Ok(Arc::clone(starter)));
            let starter = match starter {
                Ok(starter) => starter,
                Err(why) => {
                    let (file, line, name) = (file.clone(), *line, name.to_string());
                    return Err(BootError::BadConfig { file, line, path, name, why });
                }
            };
            let slot = Slot::new(path, node.spec.kind, Some(Arc::clone(name)), Some(mailbox), place);
            Ok(PlannedChild { slot: Arc::new(slot), starter: Some(starter) })
        }
    }
}

/// What starts the child at `slot` as `node` says, on the mailbox it has. Its behaviour must be the one it had.
pub(crate) fn refit(node: &ChildNode, slot: &Arc<Slot>, registry: &BehaviourRegistry) -> Result<PlannedChild, String> {
    let (Work::Behaviour { name, config, .. }, Some(mailbox)) = (&node.work, &slot.mailbox) else {
        return Err(format!("{} has no mailbox to keep", slot.path));
    };
    let (_, factory) = registry.find(name).ok_or_else(|| format!("unknown behaviour {name:?}"))?;
    if !factory.fits(mailbox) {
        return Err("the mailbox is of another type".to_owned());
    }
    let starter = factory.starter(config, node.host)?;
    Ok(PlannedChild { slot: Arc::clone(slot), starter: Some(starter) })
}

/// Starts a subtree.
pub(crate) struct TreeStarter(pub(crate) Arc<TreePlan>);

impl Starter for TreeStarter {
    fn start(&self, notice: Arc<Notice>) -> Option<Handle> {
        supervisor::spawn(Arc::clone(&self.0), notice.system().clone(), notice)
    }
}
