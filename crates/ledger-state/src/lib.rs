//! The book of the ledger on a disk, as a state that a group agrees on.
//!
//! # Intuition
//! The log of the group is what makes a command safe, so the state need not be: what is applied goes into a sorted layer in
//! memory, and when the layer is large enough it becomes a *run*, a sorted file that is synced and never changes. A *manifest*,
//! replaced whole, says which runs count and up to where in the log they are. A crash loses the layer alone, and the group
//! applies that part of its log again. Runs that became many are merged by a thread beside. The commands themselves are kept in a
//! *journal*, a file that grows, for those who want to do all of it again. Whoever reads holds the runs and
//! layers of one moment, which nobody changes under it.
//!
//! # Invariants
//! - What is read is what was written: each block is bound to its place by a hash that is compared at every read.
//! - Rows, commands and mark get onto the disk together or not at all.
//! - A disk that is full refuses commands and loses nothing: what is there is read on, and it goes on when there is room.
//! - Readers never wait for the writer, and it never waits for them.
//! - Memory is bounded: by [`LedgerConfig::pending_bytes`], [`LedgerConfig::cache_bytes`], and some bits a row.
//!
//! # Not here
//! What commands do: that is `covenant-book`. Who may ask for them. The log.
//!
//! # Reading order
//! 1. [`Ledger`], [`LedgerState`], [`Reader`]  2. `disk_store`, `stack`, `layer`  3. `files`, `manifest`  4. `run`, `block`, `bloom`
//! 5. `journal`, `stream`
#![deny(clippy::disallowed_methods)]

mod block;
mod bloom;
mod disk_store;
mod files;
pub mod fuzz;
mod journal;
mod layer;
mod ledger;
mod manifest;
mod row;
mod run;
mod stack;
mod state;
mod stream;
#[cfg(test)]
mod tests;

pub use journal::Applied;
pub use ledger::{Ledger, LedgerConfig, OpenError, Reader};
pub use stack::Stack;
pub use state::LedgerState;
pub use stream::read_view;
