//! Lets stock `ractor_cluster` programs in, as clients at the edge of a cluster.
//!
//! # Intuition
//! A [`Bridge`] is one more child in a node's tree. It listens for QUIC, lets nodes of chosen roles in by their certificates, and
//! hands the stream of each to a stock `NodeServer` of its own, so that the client meets the protocol it knows: it finds
//! members of process groups, casts to them and calls them. Behind each member stands a behaviour of this node. What the
//! client sends passes a gate first, which takes messages to members out of the stream and puts them into the
//! mailbox of the behaviour itself, within bounds; only the handshake and signs of life go on to `NodeServer`, whose queues
//! have no bound.
//!
//! # Invariants
//! - Who has no certificate of this cluster, or one of another role, gets nothing but a refusal. TCP gets nothing at all.
//! - A client goes by the name in its certificate, and has one session: a new one takes the place of the old.
//! - A client has at most [`IN_FLIGHT_BYTES_MAX`] under way here. Who sends more waits.
//! - What a client announces is not taken in: it costs this node nothing, and nothing of it is seen here.
//! - Messages reach what was exposed and nothing else.
//!
//! # Not here
//! Calls from this node to its clients, and clients among themselves.
//!
//! # Reading order
//! 1. [`Edge`], [`Members`], [`answer`]  2. [`Bridge`], [`BridgeConfig`]  3. `gate`, `wire`  4. `listener`, `clients`, `session`
//! 5. `server`, `members`
#![deny(clippy::disallowed_methods)]

mod bridge;
mod clients;
mod counters;
mod edge;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod listener;
mod members;
mod refusal;
mod server;
mod session;
mod tls;
mod wire;

pub use bridge::{Bridge, BridgeConfig, BridgeMessage, register};
pub use clients::CLIENTS_MAX;
pub use edge::{Edge, ExposeError, MEMBERS_MAX, Members, answer};
pub use session::{CALL_WITHIN_MAX, IN_FLIGHT_BYTES_MAX, MESSAGE_COST_BYTES};
pub use tls::ALPN;
pub use wire::FRAME_BYTES_MAX;
