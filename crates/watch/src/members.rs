//! Where the watcher learns of members.

use std::fmt;

use covenant_types::{BootEpoch, NodeName};

use crate::detector::MemberState;

/// What the node lends the watcher to see the cluster by. Put it into the node's resources.
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
