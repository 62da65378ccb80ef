//! A peer that is no node: it says what a test has it say, and hears nothing.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use covenant_env::{Env, Metrics};
use covenant_transport::{Inbound, Peer, Plane, RecvStream, SendStream, Transport};

use super::{Identity, Node};

/// Takes every stream that the others open, and reads none. Those of one plane it turns away.
#[derive(Default)]
struct Deaf {
    streams: Mutex<Vec<RecvStream>>,
    turns_away: Option<Plane>,
}

impl Inbound for Deaf {
    fn peer_up(&self, _: &Peer) {}
    fn peer_down(&self, _: &Peer, _: &str) {}
    fn datagram(&self, _: &Peer, _: Bytes) {}
    fn stream(&self, _: &Peer, _: Plane, _: SendStream, _: RecvStream) {}
    fn uni(&self, _: &Peer, plane: Plane, recv: RecvStream) {
        if self.turns_away != Some(plane) {
            self.streams.lock().expect("no test panics with it").push(recv);
        }
    }
}

/// Connects an identity to a node, with an endpoint and nothing behind it. It lasts as long as the endpoint.
pub async fn connect(identity: &Identity, to: &Node) -> (Transport, Peer) {
    connect_as(Deaf::default(), identity, to).await
}

/// The same, and every stream of this plane is turned away as soon as something comes on it.
pub async fn connect_turning_away(plane: Plane, identity: &Identity, to: &Node) -> (Transport, Peer) {
    connect_as(Deaf { turns_away: Some(plane), ..Deaf::default() }, identity, to).await
}

async fn connect_as(deaf: Deaf, identity: &Identity, to: &Node) -> (Transport, Peer) {
    let handle = tokio::runtime::Handle::current();
    let env = Env::real(handle.clone(), handle, 1, Metrics::none());
    let config = identity.transport_config(env.wall());
    let transport = Transport::bind(config, env, Arc::new(deaf), None).expect("the endpoint opens");
    let peer = transport.connect(to.address(), None).await.expect("its certificate is good");
    (transport, peer)
}
