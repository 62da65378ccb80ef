//! Who may act for what, as the cluster agrees: leases under tokens, and names that one actor of all has.
//!
//! # Intuition
//! The nodes that vote in the ledger keep a second log, of who has which lease: a table. Any node asks it for leases, renews them
//! while it lives, and gives them back when it stops. A node that dies loses them when a member has seen them unchanged for longer
//! than they last; and each grant has a higher token, so that what an earlier holder still does is refused wherever a
//! later one has acted.
//!
//! # Invariants
//! - A key has one holder, and each grant of whatever key a higher token than all before.
//! - No lease ends before its holder has given it up by its own clock, whoever leads and whatever clocks are set to.
//! - A node asks in its own name alone, and what an earlier boot of it asked for does not count.
//! - There is a bound on leases, on those of one node, and on what is remembered of grants.
//!
//! # Not here
//! How a node keeps its leases and how late acts are refused: `covenant_cluster`. Agreement: `covenant_consensus`.
//!
//! # Reading order
//! 1. [`Table`], [`Command`]  2. [`Watch`]  3. [`Member`], [`Keeper`], [`PlacementConfig`]  4. [`GroupLeases`]  5. [`Placement`],
//!    [`StrongName`]
#![deny(clippy::disallowed_methods)]

mod command;
mod config;
pub mod fuzz;
mod keeper;
mod keys;
mod member;
mod names;
mod question;
mod source;
mod table;
mod watch;

pub use command::{Command, Holder, Outcome, VOTERS_MAX, Voters};
pub use config::{PlacementConfig, Surroundings};
pub use keeper::Keeper;
pub use keys::key_of_name;
pub use member::Member;
pub use names::{NAME_SPAN, NameRefused, Placement, REGISTER_WITHIN, StrongName};
pub use question::{LeaseView, PAGE_MAX};
pub use source::GroupLeases;
pub use table::{GRANTS_REMEMBERED, Lease, Table, TableError};
pub use watch::{EXPIRED_AT_ONCE, RATE_MARGIN, Watch, lasts};

use covenant_runtime::BehaviourRegistry;

/// Registers `placement.table`.
pub fn register(registry: &mut BehaviourRegistry) {
    registry.register::<Keeper>("placement.table");
}
