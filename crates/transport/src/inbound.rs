//! What the layer above implements to hear from peers.

use bytes::Bytes;

use crate::{Peer, Plane, RecvStream, SendStream};

/// Hears what peers do. Every function must return at once: hand work to a task or a bounded queue.
///
/// For one connection `peer_up` comes first and `peer_down` last, each once. When a newer connection to the same node
/// replaces one, the old one's `peer_down` comes before the new one's `peer_up`.
pub trait Inbound: Send + Sync + 'static {
    /// A connection to a node stands.
    fn peer_up(&self, peer: &Peer);
    /// It is gone.
    fn peer_down(&self, peer: &Peer, reason: &str);
    /// A datagram came.
    fn datagram(&self, peer: &Peer, bytes: Bytes);
    /// The peer opened a stream both sides write. Dropping the halves refuses it.
    fn stream(&self, peer: &Peer, plane: Plane, send: SendStream, recv: RecvStream);
    /// The peer opened a stream only it writes. Dropping it refuses it.
    fn uni(&self, peer: &Peer, plane: Plane, recv: RecvStream);
    /// A connection was refused, for it was to another process with the key and the boot epoch of one that is connected.
    fn doubled(&self, _standing: &Peer, _refused: &Peer) {}
}
