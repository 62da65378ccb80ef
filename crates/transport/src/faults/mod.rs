//! Bad weather on purpose: datagrams are delayed, lost, doubled, turned round or cut off, on request and for a while.
//!
//! # Intuition
//! Between QUIC and the real socket stands a [`FaultySocket`]. While nobody asked for a fault it costs one read of a flag.
//! Each fault is a **lease** that this node holds on itself: it has an id and an end, whoever set it renews it, and it is
//! gone when nobody does, whatever became of them.
//!
//! # Invariants
//! - A lease ends by this node's own clock; it is asked at every datagram, so that even a stalled timer prolongs no fault.
//! - A fault draws the same number of random numbers for each datagram it sees, whatever comes of it, from generators of
//!   its own: setting one fault does not change what another does.
//! - A batch of datagrams is judged one by one.
//! - Leases, held datagrams and their bytes have bounds; what finds no room is counted.
//!
//! # Reading order
//! 1. [`Fault`], [`FaultSpec`]  2. [`FaultPlan`], the pure core  3. `line`: what one fault does to one datagram
//! 4. `held`  5. [`FaultySocket`], [`Faults`], the driver
mod fault;
mod held;
mod lease;
mod line;
mod plan;
mod ratio;
mod socket;
mod state;

pub use fault::{Direction, Fault, FaultError, FaultSpec, PeerScope, REORDER_DELAY_DEFAULT};
pub use held::{HELD_BYTES_MAX, HELD_MAX};
pub use lease::{Effects, EndedLease, FaultLease, LeaseEnd, LeaseError, LeaseTerms};
pub use plan::{ENDED_MAX, Fate, FaultPlan, HARD_DEADLINE_MAX, LEASES_MAX};
pub use ratio::{Ratio, RatioError};
pub use socket::FaultySocket;
pub use state::Faults;
