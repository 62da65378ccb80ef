//! Where the watcher learns of members.

use std::fmt;
use std::sync::Arc;

use covenant_cluster::Cluster;
use covenant_types::{BootEpoch, NodeName};

use crate::detector::MemberState;

/// What the watcher sees the cluster by. A node lends its [`Cluster`]; who has none, such as a test, lends one of these.
pub struct Members {
    look: Box<dyn Fn() -> Vec<MemberLook> + Send + Sync>,
    misbehaving: Box<dyn Fn() -> Vec<(NodeName, String)> + Send + Sync>,
}

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
        Self { look: Box::new(look), misbehaving: Box::new(Vec::new) }
    }

    /// The members as this cluster calls them, and those who misbehave in it.
    pub fn of(cluster: Arc<Cluster>) -> Self {
        let judge = Arc::clone(&cluster);
        let misbehaving = move || judge.misbehaving().into_iter().map(|member| (member.name, member.why)).collect();
        let look = move || {
            let look = |member: covenant_cluster::MemberView| MemberLook {
                name: member.name,
                state: member.state.into(),
                epoch: member.epoch,
            };
            cluster.members().into_iter().map(look).collect()
        };
        Self { look: Box::new(look), misbehaving: Box::new(misbehaving) }
    }

    /// The members now.
    pub(crate) fn look(&self) -> Vec<MemberLook> {
        (self.look)()
    }

    /// Who does now what no honest member does, and what.
    pub(crate) fn misbehaving(&self) -> Vec<(NodeName, String)> {
        (self.misbehaving)()
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
