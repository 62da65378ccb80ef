//! Who may act for something that one node at a time may act for, and how late acts of others are refused.
//!
//! # Intuition
//! Whoever wants to act for a path takes a **lease** of it from a source that grants one at a time, and each grant has a
//! higher **token**. The holder renews it, and stops when it could not: it counts from when it asked, so that it stops before
//! the source gives the lease to another. That is not enough, because a holder may stand still between looking at its lease
//! and acting. So each act carries its token, and whoever receives acts refuses one with a lower token than it has seen. A message
//! that is sent through [`Cluster::remote_fenced`](crate::Cluster::remote_fenced) carries it in its frame.
//! There may be two that run, and one that has an effect.
//!
//! # Invariants
//! - Tokens of a key only rise, whoever is granted it.
//! - A holder gives its lease up before the source counts it as expired, time in suspend included, and a machine that was
//!   suspended gives up all before it does anything else.
//! - What was seen of tokens is never forgotten while the node runs: where there is no room for a new key, it is refused.
//!
//! # Reading order
//! 1. [`LeaseSource`], [`Leases`], [`Lease`]  2. `held`, `lease_book`: the two sides, pure  3. [`Fences`], `gates`

mod fences;
mod gates;
mod held;
mod keeper;
mod lease_book;
mod simulated;
mod source;

pub(crate) use gates::{Gate, Gates};

pub use fences::{FENCED_KEYS_MAX, FENCED_KEYS_NODE_MAX, Fences, StaleToken};
pub use held::HELD_MAX;
pub use keeper::{Lease, Leases};
pub use lease_book::LEASES_MAX;
pub use simulated::SimulatedLeases;
pub use source::{LEASE_SPAN_MAX, LEASE_SPAN_MIN, LeaseAnswer, LeaseError, LeaseSource};
