//! This node among others: who they are, and the way to their actors.
//!
//! # Intuition
//! A node dials a seed, and the two tell each other everybody's signed record. So it comes to dial those it watches: all
//! in a flat cluster, its pools or its hubs in one laid out in pools. Membership (`covenant-membership`, run by one task
//! here) says who is alive. Others are dialled when somebody here has a message for them. Each connection then carries messages to
//! actors in streams of their own, straight into mailboxes on the other side.
//!
//! # Invariants
//! - One task alone feeds the membership core and changes the directory.
//! - A record is kept only if the node it names signed it, and a name belongs to who proved it by certificate.
//! - Every call to another node ends: in an answer, in a word that says why there is none, or at its deadline.
//! - Everything that queues has a bound with a name, and a counter for what did not fit.
//! - What one member sends, however much and however wrong, costs the others nothing that they would notice.
//!
//! # Reading order
//! 1. [`Cluster`]  2. [`MemberView`], [`MemberEvent`]  3. `driver`, `seeds`, `dialer`, `directory`, `links`
//! 4. `session`, `remoting`, `ties`  5. `presence`  6. `placement`
#![deny(clippy::disallowed_methods)]

mod cluster;
mod conduct;
mod counters;
mod demand;
mod dial_book;
mod dialer;
mod directory;
mod driver;
mod feed;
#[doc(hidden)]
pub mod fuzz;
mod gateway;
mod links;
mod mail;
mod mail_room;
mod member;
mod names;
mod placement;
mod presence;
mod rebirth;
mod record;
mod remoting;
mod rest;
mod schemas;
mod seeds;
mod session;
mod shared;
mod ties;
mod whereabouts;

pub use covenant_membership::Topology;

pub use cluster::{BulkHandler, Cluster, ClusterConfig, ClusterError, ConsensusHandler, EVENTS_MAX};
pub use conduct::{Misbehaving, NAMED_FOR};
pub use demand::{DEMAND_WAIT_MAX, DEMANDS_MAX};
pub use dialer::{DIALS_MAX, DIALS_MAX_LEAF, SEED_ANSWERS_MAX};
pub use directory::{RECORDS_MAX, UNMET_MAX};
pub use links::{LinkView, PEERS_MEASURED_MAX, PlaneBytes};
pub use mail::KEEPERS;
pub use mail_room::{LETTER_BYTES_MAX, MAIL_AGE_MAX, MAIL_BYTES_MAX, MAIL_LETTERS_MAX, MAIL_NODE_BYTES_MAX};
pub use member::{MemberEvent, MemberState, MemberView, Phase};
pub use names::Place;
pub use placement::{
    FENCED_KEYS_MAX, FENCED_KEYS_NODE_MAX, Fences, HELD_MAX, LEASE_SPAN_MAX, LEASE_SPAN_MIN, LEASES_MAX, Lease,
    LeaseAnswer, LeaseError, LeaseSource, Leases, SimulatedLeases, StaleToken,
};
pub use presence::account::{Claim, HeldShard};
pub use rebirth::{ADOPTIONS_MAX, EPOCH_ADOPTED_MAX, EpochKeeper};
pub use record::NodeRecord;
pub use remoting::credit::{CREDIT_BYTES, CREDIT_POOL_BYTES, CREDIT_START_BYTES};
pub use remoting::frame::{FRAME_BYTES_MAX, TARGETS_MAX};
pub use remoting::lane::LANE_BYTES_MAX;
pub use remoting::pending::PENDING_CALLS_MAX;
pub use rest::{Asleep, HUBS_TOLD, SleepError, TELLING_WITHIN};
pub use seeds::{SEEDS_MAX, Seed, SeedError, Seeds, SeedsFileError};
pub use session::LANES;
pub use ties::book::MONITORS_MAX;
pub use ties::monitor::{MonitorRefused, RemoteMonitor};
pub use ties::orders::{OrderLog, OrderNoted, RemoteOrder};
pub use whereabouts::{Found, FoundAs, Sought, SoughtError, Whereabouts};
