//! A peer that is no node: it says what a test has it say, and hears nothing.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use covenant_env::{Env, Metrics};
use covenant_transport::{Inbound, Peer, Plane, RecvStream, SendStream, Transport};

use super::{Identity, Node};

/// Takes every stream that the others open, and reads none.
#[derive(Default)]
struct Deaf(Mutex<Vec<RecvStream>>);

impl Inbound for Deaf {
    fn peer_up(&self, _: &Peer) {}
    fn peer_down(&self, _: &Peer, _: &str) {}
    fn datagram(&self, _: &Peer, _: Bytes) {}
    fn stream(&self, _: &Peer, _: Plane, _: SendStream, _: RecvStream) {}
    fn uni(&self, _: &Peer, _: Plane, recv: RecvStream) {
        self.0.lock().expect("no test panics with it").push(recv);
    }
}

/// Connects an identity to a node, with an endpoint and nothing behind it. It lasts as long as the endpoint.
pub async fn connect(identity: &Identity, to: &Node) -> (Transport, Peer) {
    let handle = tokio::runtime::Handle::current();
    let env = Env::real(handle.clone(), handle, 1, Metrics::none());
    let config = identity.transport_config(env.wall());
    let transport = Transport::bind(config, env, Arc::new(Deaf::default()), None).expect("the endpoint opens");
    let peer = transport.connect(to.address(), None).await.expect("its certificate is good");
    (transport, peer)
}
