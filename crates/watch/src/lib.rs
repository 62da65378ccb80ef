//! The anomaly watcher: notices restarts that pile up, mailboxes that stay full and members that are lost.
//!
//! # Intuition
//! Small detectors look at one thing each. What they find becomes an [`Incident`] with its evidence; the same detector closes
//! it when things are well again, at a mark of its own, so that nothing flaps.
//!
//! # Invariants
//! - The core reads no clock: every event comes with its [`Moment`].
//! - Everything kept is bounded, and what found no room is counted.
//!
//! # Reading order
//! 1. [`Incident`]  2. [`Watch`], [`Event`], [`Effect`]  3. [`Watcher`], [`Message`]  4. [`Members`]
#![deny(clippy::disallowed_methods)]

mod detector;
mod incident;
mod members;
mod watch;
mod watcher;

pub use detector::MemberState;
pub use incident::{EVIDENCE_MAX, Evidence, Incident, IncidentKind, Moment};
pub use members::{MemberLook, Members};
pub use watch::{ACTORS_MAX, ActorSample, CLOSED_KEPT, Effect, Event, MEMBERS_MAX, OPEN_MAX, Thresholds, Told, Watch};
pub use watcher::{Message, Watcher, WatcherConfig, register};
