//! The words every other crate speaks: what names a node, an actor, a moment, a reason.
//!
//! # Invariants
//! - Nothing here does I/O, reads a clock or draws a random number.
//! - Every type that comes from outside is made by a constructor that checks it.
//!
//! # Reading order
//! 1. [`NodeId`], [`NodeName`], [`Region`], [`Role`]  2. [`ActorPath`]  3. [`ExitReason`], [`CallError`]  4. [`canonical`]
#![deny(clippy::disallowed_methods)]

mod actor_path;
pub mod canonical;
mod exit;
mod fence;
mod geography;
mod name;
mod node;
mod rendezvous;
mod time;
mod trace_id;
mod transfer_id;

pub use actor_path::{ActorPath, ActorPathError, RemotePath};
pub use exit::{CallError, ExitReason};
pub use fence::Fence;
pub use geography::{LinkTier, Region, Role, UnknownWord};
pub use name::{Name, NameError, Scope};
pub use node::{BootEpoch, Incarnation, NodeId, NodeIdError, NodeName, NodeNameError, StartAttempt, StartAttempts};
pub use rendezvous::rendezvous;
pub use time::{DurationError, Uptime, WallTime, format_duration, parse_duration};
pub use trace_id::{BadTraceId, TraceId};
pub use transfer_id::{TransferId, TransferIdError};
