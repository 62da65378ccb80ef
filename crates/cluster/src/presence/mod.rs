//! What nodes tell each other of their actors' names and groups.
//!
//! # Intuition
//! Each node writes one shard: the groups its actors are in and the names they claim. It alone changes it, and each change
//! has a number, so that two copies never contradict each other: the one with the higher number is newer. A node sends its
//! changes to the nodes of its region, and asks at each new connection, and now and then, for what it missed. What everybody
//! holds is merged by looking: a group is the union of the shards of the nodes that are there, and a name belongs to the
//! latest claim in them.
//!
//! Other regions see no shards. In each region one node, the speaker, writes a summary: how many are in each global group, a
//! few of them, and who has which name. It tells that to those who listen in the other regions, who tell their own.
//!
//! In a cluster laid out in pools a leaf is connected to hubs only: these tell it what its region says, and the region what it
//! says.
//!
//! # Invariants
//! - A shard has one writer. Merging keeps the greater `(epoch, version)`: it commutes, and twice is once.
//! - Who is connected speaks for its own actors, and nobody else does. Of a leaf, and to a leaf, hubs of the region may speak.
//! - Of nodes that are down nothing is seen, of those that sleep or cannot be reached all is, marked stale.
//! - Shards, what is kept of their changes, and all of them together have bounds.
//!
//! # Reading order
//! 1. [`entry`], [`shard`]  2. [`frame`]  3. [`core`], [`view`], [`summary`], [`account`]  4. [`keeper`]

pub(crate) mod account;
pub(crate) mod core;
pub(crate) mod entry;
pub(crate) mod frame;
pub(crate) mod hybrid_clock;
pub(crate) mod keeper;
pub(crate) mod shard;
mod summary;
#[cfg(test)]
mod tests;
pub(crate) mod view;
