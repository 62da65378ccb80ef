//! A connected node, as the layers above hold it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use covenant_types::{BootEpoch, NodeId, NodeName, Region, Role};
use quinn::{Connection, SendDatagramError};

use crate::close::{CloseCode, describe};
use crate::counters::Counters;
use crate::driven::Driven;
use crate::links::Precedence;
use crate::plane::PLANES;
use crate::stream::ByteCount;
use crate::{DATAGRAM_BYTES_MAX, Inbound, Plane, RecvStream, SendStream, StreamError};

/// Who a connected node is. Id, name, role and region are proved by its certificate, epoch and listen address are its word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// What it is there for.
    pub role: Role,
    /// Where it stands.
    pub region: Region,
    /// Its boot.
    pub epoch: BootEpoch,
    /// Where its packets came from when it connected.
    pub address: SocketAddr,
    /// Where it can be dialled.
    pub listen: SocketAddr,
}

/// A connected node. Cheap to clone; all clones are one connection, and stay with it when a newer one replaces it.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    info: PeerInfo,
    connection: Driven,
    precedence: Precedence,
    bytes: PlaneBytes,
    datagrams: DatagramBytes,
    counters: Arc<Counters>,
    told: Mutex<Told>,
}

/// What the layer above has been told of this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Up,
    Down,
}

/// What passed on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// The round trip, smoothed.
    pub rtt: Duration,
    /// Bytes written to streams, by plane.
    pub sent: Vec<(Plane, u64)>,
    /// Bytes read from streams, by plane.
    pub received: Vec<(Plane, u64)>,
    /// Bytes of datagrams sent.
    pub datagram_bytes_sent: u64,
    /// Bytes of datagrams received.
    pub datagram_bytes_received: u64,
    /// Bytes of UDP payload sent, all told.
    pub udp_sent: u64,
    /// Bytes of UDP payload received, all told.
    pub udp_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets sent and lost.
    pub packets_lost: u64,
    /// The largest packet the path is known to carry.
    pub mtu: u16,
}

impl Peer {
    pub(crate) fn new(info: PeerInfo, connection: Driven, precedence: Precedence, counters: Arc<Counters>) -> Self {
        let told = Mutex::new(Told::Nothing);
        let (bytes, datagrams) = (PlaneBytes::default(), DatagramBytes::default());
        Self(Arc::new(Inner { info, connection, precedence, bytes, datagrams, counters, told }))
    }

    /// Who it is.
    pub fn info(&self) -> &PeerInfo {
        &self.0.info
    }

    /// Sends a datagram. It may be lost, and older ones are dropped first where too many wait.
    ///
    /// # Errors
    /// It is longer than [`DATAGRAM_BYTES_MAX`] or than the path carries, or the connection is gone. Nothing was sent.
    pub fn send_datagram(&self, bytes: Bytes) -> Result<(), SendError> {
        let length = bytes.len();
        if length > DATAGRAM_BYTES_MAX {
            return Err(SendError::TooLarge(length));
        }
        match self.0.connection.send_datagram(bytes) {
            Ok(()) => {
                self.0.counters.datagrams_sent.increment(1);
                self.0.datagrams.sent.fetch_add(length as u64, Ordering::Relaxed);
                Ok(())
            }
            Err(SendDatagramError::TooLarge) => Err(SendError::TooLarge(length)),
            Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled) => Err(SendError::NoDatagrams),
            Err(SendDatagramError::ConnectionLost(error)) => Err(SendError::Lost(describe(&error))),
        }
    }

    /// Counts a datagram that came.
    pub(crate) fn count_datagram(&self, bytes: &Bytes) {
        self.0.counters.datagrams_received.increment(1);
        self.0.datagrams.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    /// Where its packets come from at present. An address that a carrier changed is followed; see [`PeerInfo::address`] for
    /// where they came from at first.
    pub fn address(&self) -> SocketAddr {
        self.0.connection.remote_address()
    }

    /// Opens a stream both sides write. The peer sees it at once.
    ///
    /// Waits while the peer has as many streams open as it allows.
    ///
    /// # Errors
    /// The connection is gone.
    ///
    /// # Cancel safety
    /// Dropping the future gives the stream up.
    pub async fn open_bi(&self, plane: Plane) -> Result<(SendStream, RecvStream), SendError> {
        let (send, recv) = self.0.connection.open_bi().await.map_err(|error| SendError::Lost(describe(&error)))?;
        Ok((self.start(send, plane).await?, self.reader(recv, plane)))
    }

    /// Opens a stream only this side writes. The peer sees it at once.
    ///
    /// Waits while the peer has as many streams open as it allows.
    ///
    /// # Errors
    /// The connection is gone.
    ///
    /// # Cancel safety
    /// Dropping the future gives the stream up.
    pub async fn open_uni(&self, plane: Plane) -> Result<SendStream, SendError> {
        let send = self.0.connection.open_uni().await.map_err(|error| SendError::Lost(describe(&error)))?;
        self.start(send, plane).await
    }

    async fn start(&self, send: quinn::SendStream, plane: Plane) -> Result<SendStream, SendError> {
        // The only error is that the stream has ended, which the write below finds as well.
        let _ended = send.set_priority(plane.priority());
        let mut send = self.writer(send, plane);
        send.write_all(&[plane.byte()]).await.map_err(|error: StreamError| SendError::Lost(error.to_string()))?;
        Ok(send)
    }

    pub(crate) fn writer(&self, inner: quinn::SendStream, plane: Plane) -> SendStream {
        let peer = Arc::clone(&self.0.bytes.sent[plane.index()]);
        let count = ByteCount { peer, node: self.0.counters.bytes_sent[plane.index()].clone() };
        SendStream::new(inner, count, self.0.connection.driver().cloned())
    }

    pub(crate) fn reader(&self, inner: quinn::RecvStream, plane: Plane) -> RecvStream {
        let peer = Arc::clone(&self.0.bytes.received[plane.index()]);
        RecvStream::new(inner, ByteCount { peer, node: self.0.counters.bytes_received[plane.index()].clone() })
    }

    /// The round trip, smoothed.
    pub fn rtt(&self) -> Duration {
        self.0.connection.rtt()
    }

    /// Whether the connection stands.
    pub fn is_open(&self) -> bool {
        self.0.connection.close_reason().is_none()
    }

    /// Waits until the connection is gone and returns why.
    pub async fn closed(&self) -> String {
        describe(&self.0.connection.closed().await)
    }

    /// What passed so far.
    pub fn stats(&self) -> PeerStats {
        let quic = self.0.connection.stats();
        let read = |counts: &[Arc<AtomicU64>; PLANES]| {
            Plane::ALL.into_iter().map(|plane| (plane, counts[plane.index()].load(Ordering::Relaxed))).collect()
        };
        PeerStats {
            rtt: quic.path.rtt,
            sent: read(&self.0.bytes.sent),
            received: read(&self.0.bytes.received),
            datagram_bytes_sent: self.0.datagrams.sent.load(Ordering::Relaxed),
            datagram_bytes_received: self.0.datagrams.received.load(Ordering::Relaxed),
            udp_sent: quic.udp_tx.bytes,
            udp_received: quic.udp_rx.bytes,
            packets_sent: quic.path.sent_packets,
            packets_lost: quic.path.lost_packets,
            mtu: quic.path.current_mtu,
        }
    }

    /// Whether `other` is this very connection.
    pub fn is_same_connection(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    pub(crate) fn precedence(&self) -> Precedence {
        self.0.precedence
    }

    /// Closes the connection, unless it is closed already. The peer hears `reason`.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.0.connection.close(code.var_int(), reason.as_bytes());
    }

    /// Tells `inbound` that the connection is there, unless it was replaced before that.
    pub(crate) fn tell_up(&self, inbound: &dyn Inbound) {
        // Held while telling, so that `up` is over before `down` begins. Nothing `inbound` may call takes this lock.
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == Told::Nothing {
            *told = Told::Up;
            inbound.peer_up(self);
        }
    }

    /// Tells `inbound` once that the connection is gone, if it was told that it was there.
    pub(crate) fn tell_down(&self, inbound: &dyn Inbound, reason: &str) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let was_up = *told == Told::Up;
        *told = Told::Down;
        if was_up {
            inbound.peer_down(self, reason);
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("info", &self.0.info).field("open", &self.is_open()).finish()
    }
}

#[derive(Debug, Default)]
struct DatagramBytes {
    sent: AtomicU64,
    received: AtomicU64,
}

#[derive(Debug, Default)]
struct PlaneBytes {
    sent: [Arc<AtomicU64>; PLANES],
    received: [Arc<AtomicU64>; PLANES],
}

/// Why something could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The datagram is longer than allowed or than the path carries. Nothing was sent: use a stream.
    #[error("a datagram of {0} bytes is too large, use a stream")]
    TooLarge(usize),
    /// The peer takes no datagrams. Nothing was sent: use a stream.
    #[error("the peer takes no datagrams, use a stream")]
    NoDatagrams,
    /// The connection is gone. Dial again.
    #[error("the connection is gone: {0}")]
    Lost(String),
}
