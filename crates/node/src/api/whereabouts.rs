//! The words about where something lives.

use serde::{Deserialize, Serialize};

/// `POST /v1/where`, answered with [`covenant_cluster::Whereabouts`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// A path as `/sync/scheduler` or `hub-africa:/sync/scheduler`, a name, or a group.
    pub what: String,
}
