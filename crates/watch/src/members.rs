//! Where the watcher learns of members.

use std::fmt;
use std::sync::Arc;

use covenant_cluster::Cluster;
use covenant_types::{BootEpoch, NodeName};

use crate::detector::MemberState;
use crate::incident::IncidentKind;
use crate::watch::Told;

/// What the watcher sees the cluster by. A node lends its [`Cluster`]; who has none, such as a test, lends one of these.
pub struct Members {
    look: Box<dyn Fn() -> Vec<MemberLook> + Send + Sync>,
    told: Vec<Box<dyn Fn() -> Told + Send + Sync>>,
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
        Self { look: Box::new(look), told: Vec::new() }
    }

    /// The members as this cluster calls them, those who misbehave in it, and those who hold message types for other ones.
    pub fn of(cluster: Arc<Cluster>) -> Self {
        let (judge, reader) = (Arc::clone(&cluster), Arc::clone(&cluster));
        let misbehaving = move || Told {
            kind: IncidentKind::Misconduct,
            wrong: judge.misbehaving().into_iter().map(|member| (member.name.to_string(), member.why)).collect(),
            over: "nothing more of it was seen",
        };
        let differing = move || Told {
            kind: IncidentKind::SchemaDiffers,
            wrong: reader.members().into_iter().filter_map(|member| differs(&member)).collect(),
            over: "its message types are ours, or it is not connected",
        };
        let look = move || {
            let look = |member: covenant_cluster::MemberView| MemberLook {
                name: member.name,
                state: member.state.into(),
                epoch: member.epoch,
            };
            cluster.members().into_iter().map(look).collect()
        };
        Self::new(look).and(misbehaving).and(differing)
    }

    /// Asks this as well, once a second. It must return at once, and always tell of the same kind.
    #[must_use]
    pub fn and(mut self, told: impl Fn() -> Told + Send + Sync + 'static) -> Self {
        self.told.push(Box::new(told));
        self
    }

    /// The members now.
    pub(crate) fn look(&self) -> Vec<MemberLook> {
        (self.look)()
    }

    /// What else is wrong now.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.iter().map(|told| told()).collect()
    }
}

/// What is said of a member that holds message types for other ones than this node does.
fn differs(member: &covenant_cluster::MemberView) -> Option<(String, String)> {
    if member.schema_differs.is_empty() {
        return None;
    }
    let (types, version) = (member.schema_differs.join(", "), &member.version);
    let what =
        format!("{types} is another type there, in version {version}: refused both ways until one build runs on both");
    Some((member.name.to_string(), what))
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
