//! Many nodes, one thread, virtual time, one seed.
//!
//! # Invariants
//! - One seed, one run: two runs of a seed have equal [`Trace`]s, on any machine.
//! - Faults never shift what they do not touch: each decision draws the same number of random numbers whatever comes of it.
//!
//! # Reading order
//! 1. [`Trace`]  2. [`swim`], one pool  3. [`land`], many  4. [`ledger`], three voters  5. [`whole`] nodes
#![deny(clippy::disallowed_methods)]

pub mod land;
pub mod ledger;
pub mod swim;
mod trace;
pub mod whole;

pub use trace::Trace;
