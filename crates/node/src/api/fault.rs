//! The words about faults of the network that a node holds on itself.

use std::time::Duration;

use covenant_transport::{EndedLease, FaultLease, FaultSpec};
use covenant_types::NodeName;
use serde::{Deserialize, Serialize};

/// `POST /v1/fault/set`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetFault {
    /// What, which way and with whom.
    pub spec: FaultSpec,
    /// It ends by itself this many milliseconds after it was set or last renewed.
    pub ttl_ms: u64,
    /// It ends this many milliseconds after it was set, however often it is renewed; [`FAULT_HOLDS_AT_MOST`] where left
    /// out.
    #[serde(default)]
    pub hard_deadline_ms: Option<u64>,
    /// Only say what it would do.
    pub dry_run: bool,
}

/// How long a fault may be renewed where nobody said.
pub const FAULT_HOLDS_AT_MOST: Duration = Duration::from_secs(3600);

/// A fault that holds, or what setting it would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultSet {
    /// The node that holds it.
    pub node: NodeName,
    /// What follows from it.
    pub consequences: Vec<String>,
    /// The lease; none where it was only asked.
    pub lease: Option<FaultLease>,
}

/// `POST /v1/fault/renew`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewFault {
    /// Its number at the node.
    pub id: u64,
    /// It ends by itself this many milliseconds from now.
    pub ttl_ms: u64,
}

/// `POST /v1/fault/lift`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftFault {
    /// Its number at the node; all of them where left out.
    pub id: Option<u64>,
}

/// Faults that were ended before their time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultsLifted {
    /// The node that held them.
    pub node: NodeName,
    /// Their numbers.
    pub lifted: Vec<u64>,
}

/// `GET /v1/faults`: what a node holds on itself, and what it held last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Faults {
    /// The node.
    pub node: NodeName,
    /// Those that hold, by number.
    pub holding: Vec<FaultLease>,
    /// The last that ended, the oldest first.
    pub ended: Vec<EndedLease>,
}
