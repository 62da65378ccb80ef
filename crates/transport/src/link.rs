//! Serves one connection: hands what arrives to the layer above, until the connection is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use covenant_env::{Spawner, Tasks};
use quinn::{ConnectionError, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use crate::close::{CloseCode, code_of, describe};
use crate::counters::Counters;
use crate::roster::Roster;
use crate::{Inbound, Peer, Plane};

pub(crate) async fn serve(peer: Peer, roster: Arc<Roster>, counters: Arc<Counters>, spawner: Spawner) {
    let Some(inbound) = roster.inbound() else { return };
    // Streams whose first byte has not come yet. They end with this function.
    let mut openings = Tasks::new(spawner, OPENINGS_MAX);
    let error = loop {
        match arrival(&peer).await {
            Ok(Arrival::Datagram(bytes)) => {
                peer.count_datagram(&bytes);
                inbound.datagram(&peer, bytes);
            }
            Ok(Arrival::Stream(send, recv)) => {
                if !openings.spawn(open(peer.clone(), Arc::clone(&inbound), send, recv)) {
                    counters.handshake_failed("openings_full");
                }
            }
            Err(error) => break error,
        }
    };
    let why = match (&error, code_of(&error)) {
        (_, Some(code)) => code.as_str(),
        (ConnectionError::TimedOut, None) => "timed_out",
        (ConnectionError::Reset, None) => "reset",
        (ConnectionError::LocallyClosed, None) => "local",
        (
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::ApplicationClosed(_)
            | ConnectionError::CidsExhausted,
            None,
        ) => "error",
    };
    counters.closed(why);
    let reason = describe(&error);
    tracing::debug!(peer = %peer.info().name, reason, "connection gone");
    roster.remove(&peer, &reason);
}

enum Arrival {
    Datagram(Bytes),
    Stream(Option<SendStream>, RecvStream),
}

/// What comes next. Cancel safe: each of quinn's three futures is.
async fn arrival(peer: &Peer) -> Result<Arrival, ConnectionError> {
    let connection = peer.connection();
    tokio::select! {
        // Streams first: a peer may have few of them open, and datagrams without end.
        biased;
        both = connection.accept_bi() => both.map(|(send, recv)| Arrival::Stream(Some(send), recv)),
        one = connection.accept_uni() => one.map(|recv| Arrival::Stream(None, recv)),
        datagram = connection.read_datagram() => datagram.map(Arrival::Datagram),
    }
}

/// Reads which plane a stream is of and hands it on. A stream that stays silent is dropped, one of no plane ends the
/// connection: the peer speaks another protocol.
async fn open(peer: Peer, inbound: Arc<dyn Inbound>, send: Option<SendStream>, mut recv: RecvStream) {
    let mut byte = [0];
    let plane = match timeout(OPENING_DEADLINE, recv.read_exact(&mut byte)).await {
        Ok(Ok(())) => Plane::from_byte(byte[0]),
        Ok(Err(_)) => return,
        Err(_) => {
            // The only error is that the stream has ended already.
            let _ended = recv.stop(VarInt::from_u32(CloseCode::TooSlow.number()));
            return;
        }
    };
    let Some(plane) = plane else {
        peer.close(CloseCode::Malformed, &format!("{} is no plane", byte[0]));
        return;
    };
    let recv = peer.reader(recv, plane);
    match send {
        Some(send) => {
            let _ended = send.set_priority(plane.priority());
            inbound.stream(&peer, plane, peer.writer(send, plane), recv);
        }
        None => inbound.uni(&peer, plane, recv),
    }
}

/// The most streams of one peer that may be waiting for their first byte. As many as a peer may open at once.
const OPENINGS_MAX: usize = 128;
const OPENING_DEADLINE: Duration = Duration::from_secs(10);
