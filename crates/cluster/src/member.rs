//! What callers see of the cluster's members.

use std::fmt;
use std::net::SocketAddr;

use covenant_identity::TrustMark;
use covenant_types::{BootEpoch, LinkTier, NodeId, NodeName, Region, Role, WallTime};
use serde::{Deserialize, Serialize};

/// Where a member stands in our view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It answers, and we have a connection to it.
    Reachable,
    /// It said until when it sleeps, and that time, with as much again, has not passed. It is not down.
    Asleep,
    /// No connection, or somebody got no answer. Avoid it; nothing is lost yet.
    Unreachable,
    /// The cluster gave it up. It comes back by itself if it can.
    Down,
    /// It said goodbye.
    Left,
    /// It was denied: neither it nor a later boot of it is let in again. A successor under its name is another node.
    Removed,
}

impl MemberState {
    /// The word used in output and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Asleep => "asleep",
            Self::Unreachable => "unreachable",
            Self::Down => "down",
            Self::Left => "left",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a member says that it is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It works.
    Active,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It is silent from `since` to `until`, to save power.
    Asleep {
        /// When it went to sleep.
        since: WallTime,
        /// When it means to be back.
        until: WallTime,
    },
}

impl Phase {
    /// Whether a member that is silent at `now` may still be asleep: it may oversleep by as long as it meant to sleep.
    pub fn excuses_silence(self, now: WallTime) -> bool {
        match self {
            Self::Active | Self::Draining => false,
            Self::Asleep { since, until } => now.0 <= until.0.saturating_add(until.0.saturating_sub(since.0)),
        }
    }

    /// Whether it is [`Phase::Asleep`].
    pub fn is_asleep(self) -> bool {
        matches!(self, Self::Asleep { .. })
    }

    /// The word used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Asleep { .. } => "asleep",
        }
    }
}

/// One member as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// The node.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// What it is there for.
    pub role: Role,
    /// Where it stands.
    pub region: Region,
    /// Its boot.
    pub epoch: BootEpoch,
    /// Where it is in our view.
    pub state: MemberState,
    /// What it said that it is about to do.
    pub phase: Phase,
    /// What kind of line it hangs on.
    pub tier: LinkTier,
    /// Where it can be dialled.
    pub address: SocketAddr,
    /// The version of its program.
    pub version: String,
    /// The authority that signed its certificate, by the hash of its key.
    pub certificate_issuer: NodeId,
    /// When its certificate begins.
    pub certificate_begins: WallTime,
    /// When its certificate ends.
    pub certificate_ends: WallTime,
    /// The roots it trusts and is certified under, and what it may sign for.
    pub trust: TrustMark,
    /// The round trip, where there is a connection.
    pub rtt_ms: Option<u64>,
    /// How many of a thousand packets to it were lost, where there is a connection.
    pub loss_permille: Option<u64>,
    /// The message types that are other ones there than here, where there is a connection. They are refused on both sides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema_differs: Vec<String>,
}

/// Something changed in our view of the cluster.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is the large one, and a box would cost each an allocation"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberEvent {
    /// A member is new, or its state, boot or address is.
    Changed(MemberView),
    /// A member does what no well one does. What it does so is not heard, or its connection was closed; of one that accuses or
    /// flaps no accusation is heard for ten minutes. Told once in that time.
    Quarantined {
        /// The member.
        node: NodeId,
        /// What it does, in one word: `accusing`, `flapping`, `forging`, `poisoning`, `flooding`, `crowding`, `overspending`,
        /// `deaf`, `restless`, or the code its connection was closed with, such as `malformed`.
        why: String,
    },
    /// A message type is another one on a member than here: messages of that type are refused on both sides.
    SchemaDiffers {
        /// The member.
        node: NodeId,
        /// The name of the type on the wire.
        message: String,
    },
    /// The cluster held a record of this node, signed by its own key, of a later boot than this one or of another process in
    /// it: its data directory was restored from a backup, or copied. It goes on in an epoch above that.
    OwnEpochRaised {
        /// The boot that the cluster knew.
        known: BootEpoch,
        /// This boot from now on.
        epoch: BootEpoch,
    },
    /// The same, and it does not go on in a higher epoch: it did so [`ADOPTIONS_MAX`](crate::ADOPTIONS_MAX) times, the epoch
    /// is beyond [`EPOCH_ADOPTED_MAX`](crate::EPOCH_ADOPTED_MAX), or it could not be kept. The others take it for its own ghost.
    OwnEpochBehind {
        /// This boot.
        ours: BootEpoch,
        /// The boot the cluster knows.
        known: BootEpoch,
    },
    /// Two processes run with the key of one node in one boot. Of this node: it was refused for the other one. Told once in ten
    /// minutes.
    Doubled {
        /// The node.
        node: NodeId,
        /// Where the one is that is connected, and where the one that was refused; of this node where it was refused, and
        /// where it is itself.
        at: Vec<SocketAddr>,
    },
}
