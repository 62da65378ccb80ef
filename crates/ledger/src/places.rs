//! Who and where the other nodes are, as the ledger needs to know it.

use std::sync::Arc;

use covenant_cluster::{Cluster, MemberState};
use covenant_types::{NodeId, NodeName, Role};

/// A node that may keep the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// What it is called.
    pub name: NodeName,
    /// Whether it is there now.
    pub reachable: bool,
}

/// The nodes that may keep the book: all of them, this one too.
pub trait Places: Send + Sync {
    /// The nodes whose roles permit them a vote.
    fn places(&self) -> Vec<Place>;
}

impl Places for Cluster {
    fn places(&self) -> Vec<Place> {
        let votes = |role| matches!(role, Role::Hub | Role::Voter);
        let members = self.members();
        let places = members.into_iter().filter(|member| votes(member.role)).map(|member| Place {
            node: member.id,
            reachable: member.state == MemberState::Reachable,
            name: member.name,
        });
        places.collect()
    }
}

/// One node that is alone.
impl Places for Place {
    fn places(&self) -> Vec<Place> {
        vec![self.clone()]
    }
}

impl std::fmt::Debug for dyn Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.places()).finish()
    }
}

/// What a node is called; its id where nobody knows.
pub(crate) fn name_of(places: &Arc<dyn Places>, node: NodeId) -> Option<NodeName> {
    places.places().into_iter().find(|place| place.node == node).map(|place| place.name)
}
