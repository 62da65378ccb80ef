//! What stands in a shard.

use covenant_types::{ActorPath, BootEpoch, Name, NodeId, NodeName, Region, Scope};
use serde::{Deserialize, Serialize};

use super::hybrid_clock::Moment;

/// One thing that a node says. The order puts what has one name side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The writer's actor is in a group.
    Member { group: Name, scope: Scope, path: ActorPath },
    /// The writer's actor claims a name.
    Claim { name: Name, claimed: Moment, path: ActorPath },
    /// So many of the writer's region are in a group.
    Count { group: Name, count: u64 },
    /// One of them.
    Delegate { group: Name, at: Place },
    /// An actor of the writer's region has a name there.
    Holder { name: Name, claimed: Moment, at: Place },
}

/// An actor of a node that is not the writer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) node_name: NodeName,
    pub(crate) path: ActorPath,
}

/// Whose shard, and which of the two it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShardId {
    pub(crate) writer: NodeId,
    pub(crate) about: About,
}

/// What a shard is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum About {
    /// The writer's own actors.
    Actors,
    /// The actors of the writer's region, in short.
    Region(Region),
}

/// How new a copy of a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The writer's boot.
    pub(crate) epoch: BootEpoch,
    /// How often it changed in that boot.
    pub(crate) version: u64,
}

impl Entry {
    /// About as many bytes as it takes on the wire.
    pub(crate) fn bytes(&self) -> usize {
        let text = match self {
            Self::Member { group, path, .. } => group.as_str().len() + path.as_str().len(),
            Self::Claim { name, path, .. } => name.as_str().len() + path.as_str().len(),
            Self::Count { group, .. } => group.as_str().len(),
            Self::Delegate { group, at } => group.as_str().len() + at.bytes(),
            Self::Holder { name, at, .. } => name.as_str().len() + at.bytes(),
        };
        text + ENTRY_OVERHEAD
    }

    /// Whether a shard about this has such entries.
    pub(crate) fn belongs_to(&self, about: About) -> bool {
        match self {
            Self::Member { scope, .. } => about == About::Actors && *scope != Scope::Local,
            Self::Claim { .. } => about == About::Actors,
            Self::Count { .. } | Self::Delegate { .. } | Self::Holder { .. } => about != About::Actors,
        }
    }

    /// Whether other regions are told of it, as part of a summary.
    pub(crate) fn matters_elsewhere(&self) -> bool {
        !matches!(self, Self::Member { scope: Scope::Local | Scope::Region, .. })
    }

    /// The moment and the name, where it is about a name.
    pub(crate) fn claim(&self) -> Option<(&Name, Moment)> {
        match self {
            Self::Claim { name, claimed, .. } | Self::Holder { name, claimed, .. } => Some((name, *claimed)),
            Self::Member { .. } | Self::Count { .. } | Self::Delegate { .. } => None,
        }
    }
}

impl Place {
    fn bytes(&self) -> usize {
        size_of::<NodeId>() + self.node_name.as_str().len() + self.path.as_str().len()
    }
}

/// Tags, lengths and numbers.
const ENTRY_OVERHEAD: usize = 8;
