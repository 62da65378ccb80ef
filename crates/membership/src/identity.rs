//! What SWIM calls a member.

use covenant_types::{BootEpoch, NodeId};

/// One life of one node, as SWIM knows it. 28 bytes on the wire.
///
/// The epoch is what actors see: it rises when the process restarts. The bump rises when the cluster wrongly declared the
/// node down and it came back, and is nobody's business but SWIM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The node, which never changes.
    pub node: NodeId,
    /// How often its process started.
    pub epoch: BootEpoch,
    /// How often it came back in this epoch after it was declared down.
    pub bump: u32,
}

impl Identity {
    /// A node at the beginning of `epoch`.
    pub fn new(node: NodeId, epoch: BootEpoch) -> Self {
        Self { node, epoch, bump: 0 }
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        self.bump.checked_add(1).map(|bump| Self { bump, ..*self })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.epoch, self.bump) > (adversary.epoch, adversary.bump)
    }
}
