//! What the table is asked, and its answers: JSON between nodes.

use covenant_types::{ActorPath, BootEpoch, NodeId, WallTime};
use serde::{Deserialize, Serialize};

use crate::command::millis;
use crate::table::{Lease, Table};

/// Leases in one answer at most.
pub const PAGE_MAX: usize = 256;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Question {
    /// Who has the lease of this key.
    Lease(ActorPath),
    /// All leases, from a key on.
    Leases(ActorPath),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Lease(Option<LeaseView>),
    Leases(Vec<LeaseView>),
}

/// A lease, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// What it is a lease of.
    pub key: ActorPath,
    /// Who has it.
    pub node: NodeId,
    /// In which boot.
    pub boot: BootEpoch,
    /// Under which token.
    pub token: u64,
    /// For how long it lasts after each renewal, in milliseconds.
    pub span_ms: u64,
    /// When it was granted, by the clock of who led then.
    pub granted: WallTime,
    /// Which actor of the node it is of, where that was said.
    pub path: Option<ActorPath>,
}

/// Answers the bytes of a question by the bytes of an answer.
pub(crate) fn answer(table: &Table, question: &[u8]) -> Result<Vec<u8>, String> {
    let question =
        serde_json::from_slice(question).map_err(|error| format!("not a question about placement: {error}"))?;
    let said = match question {
        Question::Lease(key) => Said::Lease(table.lease(&key).map(|lease| view(&key, lease))),
        Question::Leases(from) => {
            Said::Leases(table.leases_from(&from).take(PAGE_MAX).map(|(key, lease)| view(key, lease)).collect())
        }
    };
    serde_json::to_vec(&said).map_err(|error| error.to_string())
}

fn view(key: &ActorPath, lease: &Lease) -> LeaseView {
    LeaseView {
        key: key.clone(),
        node: lease.holder.node,
        boot: lease.holder.boot,
        token: lease.token,
        span_ms: millis(lease.span),
        granted: lease.granted,
        path: lease.path.clone(),
    }
}
