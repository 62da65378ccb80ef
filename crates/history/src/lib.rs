//! What clients asked of a ledger and were answered, and whether a ledger that keeps its word can have answered so.
//!
//! # Intuition
//! Clients write down when they asked, when they were answered, and what. At the end the book says in which order it booked.
//! That order is the only one there can be, so no order is searched for: what was acknowledged has to be in it, once and
//! unaltered; whoever asked after somebody else was answered comes behind; and what a linearizable read saw has to be the sum of a
//! first part of it that holds everything acknowledged before the read began, and nothing begun after it ended.
//!
//! # Invariants
//! - A history that a correct ledger can have is never called bad, whatever was lost on the way: an unknown outcome is held
//!   against nobody.
//! - Every verdict names the operation.
//! - What a file says is believed as little as any other input: [`History::read_from`] refuses what it cannot hold.
//!
//! # Not here
//! Who asks, over what, and what is broken meanwhile: `covenant-torture` and `covenant-sim` do that. Clocks: times are given.
//!
//! # Reading order
//! 1. [`History`]  2. [`check`], [`Fault`]  3. `lines`
#![deny(clippy::disallowed_methods)]

mod check;
pub mod fuzz;
mod lines;
mod record;
#[cfg(test)]
mod tests;
mod verdict;

pub use check::check;
pub use lines::{HistoryError, LINE_BYTES_MAX, LINES_MAX, NAME_BYTES_MAX};
pub use record::{AMOUNT_MAX, Account, Attempt, Booked, History, Outcome, Read, Replica, Span};
pub use verdict::{FAULTS_LISTED_MAX, Fault, Kind, Verdict};
