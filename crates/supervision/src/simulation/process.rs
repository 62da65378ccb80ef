//! What runs in a simulation: one entry for each attempt that was begun and has not ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covenant_types::{ActorPath, StartAttempt};

use super::agenda::Entry;
use crate::{ChildId, ChildKind, ChildNode, Supervisor, Timer, TreeSpec, Work};

/// One attempt.
#[derive(Debug)]
pub(super) struct Process<'t> {
    pub(super) path: ActorPath,
    /// Who supervises it, and under which id; nobody the root.
    pub(super) above: Option<(StartAttempt, ChildId)>,
    pub(super) phase: Phase,
    pub(super) body: Body<'t>,
    /// The end of its start or stop, where that takes time.
    pub(super) due: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its start comes to this.
    Starting(StartOutcome),
    Running,
    Stopping,
}

/// What a start comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartOutcome {
    Runs,
    Fails,
    Ignored,
}

#[derive(Debug)]
pub(super) enum Body<'t> {
    Worker,
    /// A supervisor whose start has not come to its children yet.
    Seed(&'t TreeSpec),
    Supervisor(Box<Supervising<'t>>),
}

/// A supervisor and what its driver would keep.
#[derive(Debug)]
pub(super) struct Supervising<'t> {
    pub(super) core: Supervisor,
    pub(super) tree: &'t TreeSpec,
    nodes: BTreeMap<&'t ChildId, &'t ChildNode>,
    pub(super) timers: BTreeMap<Timer, Entry>,
    /// The attempts of its children that have not ended.
    pub(super) children: BTreeSet<StartAttempt>,
}

impl<'t> Supervising<'t> {
    pub(super) fn new(core: Supervisor, tree: &'t TreeSpec) -> Self {
        let nodes = tree.children.iter().map(|node| (&node.spec.id, node)).collect();
        Self { core, tree, nodes, timers: BTreeMap::new(), children: BTreeSet::new() }
    }

    /// The tree that runs below the child `id`, if that is a supervisor. All instances run their template's.
    pub(super) fn tree_of(&self, id: &ChildId) -> Option<&'t TreeSpec> {
        // A call may have put a worker where the tree file had a supervisor.
        if self.core.child_spec(id).is_some_and(|spec| spec.kind == ChildKind::Worker) {
            return None;
        }
        let id = self.core.template().map_or(id, |template| &template.id);
        match self.nodes.get(id).map(|node| &node.work) {
            Some(Work::Tree(tree)) => Some(tree),
            Some(Work::Behaviour { .. }) | None => None,
        }
    }
}

/// What the script says of the starts and stops of one path.
#[derive(Debug, Default)]
pub(super) struct Manner {
    pub(super) fails: u64,
    pub(super) ignored: u64,
    pub(super) start_takes: Duration,
    pub(super) stop_takes: Duration,
}

impl Manner {
    /// What the next start comes to.
    pub(super) fn next_start(&mut self) -> StartOutcome {
        if self.fails > 0 {
            self.fails -= 1;
            StartOutcome::Fails
        } else if self.ignored > 0 {
            self.ignored -= 1;
            StartOutcome::Ignored
        } else {
            StartOutcome::Runs
        }
    }
}
