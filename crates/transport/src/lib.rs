//! One QUIC connection per pair of nodes, mutually authenticated, in planes that do not starve each other.
//!
//! # Intuition
//! A node opens one endpoint. Whoever needs a neighbour asks for it by address; whoever was asked answers. However the two
//! met, one connection stays, and the layer above hears `peer_up` and `peer_down` for it. What runs on the streams is not
//! known here.
//!
//! # Invariants
//! - No work is accepted before the peer's certificate, its time, its role and its Hello have been checked by us.
//! - At most one connection per node is open to the layer above; which one is decided alike at both ends (`links`).
//! - Whoever is denied is refused in the handshake, and its connection closed at once where one stands.
//! - No session is resumed and nothing is sent before the handshake is over: resumption would skip the verifier.
//! - Everything that queues or runs has a bound: peers, handshakes, dials, streams, joins.
//!
//! # Reading order
//! 1. [`Transport`]  2. [`Peer`], [`Inbound`], [`Plane`]  3. [`NodeCredentials`], [`tls`]  4. `links`, `hello`  5. [`join`](mod@join)
//! 6. `faults`: bad weather on purpose
#![deny(clippy::disallowed_methods)]

mod accept;
mod admission;
mod bare;
mod close;
mod config;
mod counters;
mod credentials;
mod denials;
mod dial;
mod driven;
mod faults;
#[doc(hidden)]
pub mod fuzz;
mod greeting;
mod hello;
mod inbound;
pub mod join;
mod link;
mod links;
mod peer;
mod plane;
mod roster;
mod stream;
pub mod tls;
mod transport;

pub use bare::bare_endpoint;
pub use bytes::Bytes;
pub use close::CloseCode;
pub use config::{Profile, TransportConfig};
pub use credentials::{CredentialsError, NodeCredentials};
pub use denials::Denials;
pub use faults::{
    Direction, ENDED_MAX, Effects, EndedLease, Fate, Fault, FaultError, FaultLease, FaultPlan, FaultSpec, Faults,
    FaultySocket, HARD_DEADLINE_MAX, HELD_BYTES_MAX, HELD_MAX, LEASES_MAX, LeaseEnd, LeaseError, LeaseTerms, PeerScope,
    REORDER_DELAY_DEFAULT, Ratio, RatioError,
};
pub use inbound::Inbound;
pub use peer::{Peer, PeerInfo, PeerStats, SendError};
pub use plane::Plane;
pub use stream::{RecvStream, SendStream, StreamError};
pub use transport::{BindError, DialError, Transport};

/// The longest datagram. Alike on every path, so that membership never depends on a path's packet size.
pub const DATAGRAM_BYTES_MAX: usize = 1150;
