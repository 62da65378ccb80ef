//! Where the watcher learns of members.

use std::fmt;
use std::sync::Arc;

use covenant_cluster::Cluster;
use covenant_types::{BootEpoch, NodeName};

use crate::detector::MemberState;

/// What the watcher sees the cluster by. A node lends its [`Cluster`]; who has none, such as a test, lends one of these.
pub struct Members(Box<dyn Fn() -> Vec<MemberLook> + Send + Sync>);

/// One member as membership calls it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberLook {
    /// The member.
    pub name: NodeName,
    /// Its state.
    pub state: MemberState,
    /// The boot it is in.
    pub epoch: BootEpoch,
}

impl Members {
    /// Asks `look` once a second. It must return at once.
    pub fn new(look: impl Fn() -> Vec<MemberLook> + Send + Sync + 'static) -> Self {
        Self(Box::new(look))
    }

    /// The members as this cluster calls them.
    pub fn of(cluster: Arc<Cluster>) -> Self {
        Self::new(move || {
            let look = |member: covenant_cluster::MemberView| MemberLook {
                name: member.name,
                state: member.state.into(),
                epoch: member.epoch,
            };
            cluster.members().into_iter().map(look).collect()
        })
    }

    /// The members now.
    pub(crate) fn look(&self) -> Vec<MemberLook> {
        (self.0)()
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Members")
    }
}

impl From<covenant_cluster::MemberState> for MemberState {
    fn from(state: covenant_cluster::MemberState) -> Self {
        match state {
            covenant_cluster::MemberState::Reachable => Self::Reachable,
            covenant_cluster::MemberState::Unreachable => Self::Unreachable,
            covenant_cluster::MemberState::Down => Self::Down,
            // Who says until when it is away is not missed until then, and who was removed not at all.
            covenant_cluster::MemberState::Left
            | covenant_cluster::MemberState::Asleep
            | covenant_cluster::MemberState::Removed => Self::Left,
        }
    }
}
