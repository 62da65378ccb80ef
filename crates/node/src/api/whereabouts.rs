//! The words about where something lives.

use covenant_cluster::Whereabouts;
use covenant_types::{ActorPath, BootEpoch, WallTime};
use serde::{Deserialize, Serialize};

/// `POST /v1/where`, answered with [`WhereFound`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// A path as `/sync/scheduler` or `hub-africa:/sync/scheduler`, a name, or a group.
    pub what: String,
}

/// Where something lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhereFound {
    /// Where it was found.
    #[serde(flatten)]
    pub whereabouts: Whereabouts,
    /// Who holds the lease that stands for it: of a strong name.
    pub held: Option<HeldLease>,
    /// Why it is not known whether there is such a lease.
    pub held_unknown: Option<String>,
}

/// Who may act for something, as a voter near by knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLease {
    /// What it is a lease of.
    pub key: ActorPath,
    /// The node that holds it: its name, or its id where nobody knows that.
    pub node: String,
    /// In which boot.
    pub boot: BootEpoch,
    /// The actor of that node, where it was said.
    pub path: Option<ActorPath>,
    /// Its token: an act with a lower one is refused wherever one with this was seen.
    pub token: u64,
    /// When it was granted.
    pub granted: WallTime,
    /// How far behind this may be, in milliseconds.
    pub age_ms: u64,
}
