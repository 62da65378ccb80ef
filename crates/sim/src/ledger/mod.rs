//! The ledger in virtual time: three voters with the real engine, log and book, over lines and disks that fail, and clients that
//! ask again by the same id. What they were answered is held against the book that came of it.
//!
//! # Invariants
//! - One seed, one run, and one trace.
//! - A member whose power went keeps what it had synced, and of the rest what luck decides.
//!
//! # Not here
//! Nodes, their connections and their desks: [`whole`](crate::whole) has those, and `ledger-torture` has real processes. The files of
//! the book: here it is in memory, and follows from the log and from snapshots after each start.

mod book;
mod clients;
mod disk;
mod group;
mod network;
mod storm;

pub use storm::{Disks, Outcome, Storm, run};
