//! What happens to membership, and what it asks for.

use std::time::Duration;

use bytes::Bytes;
use covenant_types::{BootEpoch, LinkTier, NodeId};

use crate::Change;

/// Everything that can happen to membership.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection to a node stands, and the node proved this epoch over it. A second one replaces the first.
    PeerUp {
        /// The node.
        node: NodeId,
        /// Its boot.
        epoch: BootEpoch,
    },
    /// The connection is gone.
    PeerDown(NodeId),
    /// A record signed by the node itself names this epoch. Rumours about other epochs of it are not believed.
    EpochKnown {
        /// The node.
        node: NodeId,
        /// Its boot.
        epoch: BootEpoch,
    },
    /// The record of a node is not kept any more. Where nothing was ever heard of it but that record, or it is held for dead by a
    /// pool of this node, it has no place here.
    Forgotten(NodeId),
    /// What the line to a node is like: its tier as its signed record names it, and the round trip as measured, zero where
    /// it was not.
    Line {
        /// The node at the other end.
        node: NodeId,
        /// The worse of what both ends hang on counts.
        tier: LinkTier,
        /// The round trip, smoothed.
        rtt: Duration,
        /// By how much round trips differ, on the average.
        deviation: Duration,
    },
    /// A datagram came over the connection to this node.
    Datagram {
        /// The node at the other end.
        from: NodeId,
        /// What came.
        data: Bytes,
    },
    /// A message made by [`Effect::SendFeed`] came over the connection to this node.
    Feed {
        /// The node at the other end.
        from: NodeId,
        /// What came.
        data: Bytes,
    },
    /// The moment told by [`Membership::next_wake`](crate::Membership::next_wake) has come.
    Woken,
    /// This node says goodbye. Nothing happens here after that but [`Event::Return`].
    Leave,
    /// This node, which had left in this boot, is back: after sleep. It begins anew and does not probe before a period has
    /// passed.
    Return,
    /// This node goes on in a later boot epoch, without having ended: the cluster knew a later one than the one it had. All
    /// its connections are gone. It begins anew, as after sleep.
    Reborn(BootEpoch),
}

/// Everything membership can ask its driver to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Send this datagram; drop it if there is no connection.
    SendDatagram {
        /// Where to.
        to: NodeId,
        /// At most [`crate::PACKET_BYTES_MAX`] bytes.
        data: Bytes,
    },
    /// Send this over a stream; drop it if there is no connection.
    SendFeed {
        /// Where to.
        to: NodeId,
        /// At most [`crate::FEED_BYTES_MAX`] bytes.
        data: Bytes,
    },
    /// A node is no longer what it was.
    Changed(Change),
    /// The cluster had declared this node down; it is coming back.
    Renewed {
        /// How often that has happened in this boot.
        bump: u32,
    },
    /// A node does what no well node does. Its accusations are not heard for [`crate::QUARANTINE`].
    Quarantined {
        /// The node.
        node: NodeId,
        /// What it does.
        why: Misconduct,
    },
}

/// What no well node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misconduct {
    /// It accuses more nodes than may ever fail at once.
    Accusing,
    /// It is declared down again and again, and comes back each time: one direction of its line is gone, or it lies.
    Flapping,
    /// It speaks as another, as a boot that it is not, or in words that there are not.
    Forging,
    /// It tells of others epochs and bumps that they never had.
    Poisoning,
}

impl Misconduct {
    /// The word used in incidents and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accusing => "accusing",
            Self::Flapping => "flapping",
            Self::Forging => "forging",
            Self::Poisoning => "poisoning",
        }
    }
}

/// What was refused or went wrong, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams and feeds that were no such thing, or not their sender's.
    pub refused: u64,
    /// Statements about third nodes, or about us, that were not believed.
    pub held: u64,
    /// Declarations of death by third nodes that were heard as suspicions.
    pub doubted: u64,
    /// Probes that nobody answered.
    pub probes_failed: u64,
    /// Expired suspicions about nodes that had refuted in time.
    pub stale_suspicions: u64,
    /// Suspects declared down by us though we had not probed them ourselves.
    pub stragglers: u64,
    /// Errors of the SWIM machine that should not happen.
    pub faults: u64,
}
