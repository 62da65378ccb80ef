//! Cluster membership: who is in, who is suspected, who is down, who has left.
//!
//! SWIM with suspicion, by foca, inside a wrapper that adds what foca lacks. Opens no socket and reads no clock;
//! `covenant-cluster` drives it.
//!
//! # Intuition
//! Each period a node pings one other. Who does not answer, neither directly nor through third nodes, is *suspected*,
//! and everybody hears of it. A suspect that is alive hears of it too and refutes. One that stays silent is *down*.
//! Rumours travel on the pings. Besides, two nodes exchange all they know when they connect and now and then after,
//! so that a rumour missed does not stay missed.
//!
//! # Invariants
//! - The epoch reported for a node never goes down.
//! - Nothing is believed about a third node that its own signed record does not allow: see [`Event::EpochKnown`].
//! - A datagram or feed counts only if it names as its sender the peer whose connection it came on.
//! - No input makes this panic, and nothing here grows with what a peer sends beyond [`NODES_MAX`] nodes.
//!
//! # Not here
//! Names, addresses, roles (they are in the signed records of `covenant-cluster`), and who owns what: membership never
//! decides ownership.
//!
//! # Reading order
//! 1. [`Membership`], one pool  2. [`Event`], [`Effect`]  3. [`Profile`]  4. [`Topology`]  5. [`Pools`], all pools and leases
//!    of a node
#![deny(clippy::disallowed_methods)]

mod board;
mod boards;
mod codec;
mod dice;
mod digest;
mod event;
mod feed;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod identity;
mod lease;
mod local_health;
mod membership;
mod note;
mod pace;
mod pools;
mod profile;
mod topology;
mod view;
mod wheel;

pub use dice::Dice;
pub use event::{Effect, Event, Misconduct, Stats};
pub use feed::FEED_BYTES_MAX;
pub use gate::{
    ACCUSATIONS_MAX, ACCUSATIONS_WINDOW, BUMP_LEAD_MAX, FORGERIES_MAX, NODES_MAX, POISONS_MAX, QUARANTINE, WITNESSES,
};
pub use identity::Identity;
pub use lease::{LEASES_MAX, MISSED_MAX};
pub use membership::Membership;
pub use pools::Pools;
pub use profile::{PACKET_BYTES_MAX, Paces, Profile};
pub use topology::{Neighbour, Place, PoolId, RECOVERY_HUBS, Standing, Topology, UPLINKS, uplinks};
pub use view::{Change, Health};
