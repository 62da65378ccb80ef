//! quinn's view of the network: sockets of one process, and the seeds of its endpoints.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use covenant_env::Random;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use rand::Rng;
use tokio::time::Sleep;

use super::clock::NodeClock;
use super::network::Network;

/// The network as one process has it.
pub(super) struct Port {
    pub(super) network: Arc<Network>,
    pub(super) node: usize,
    /// Which process of the node this is.
    pub(super) boot: u64,
    pub(super) clock: Arc<NodeClock>,
    pub(super) random: Random,
    pub(super) endpoints: AtomicU64,
}

impl covenant_env::Network for Port {
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = self.network.open(self.node, address).ok_or(io::ErrorKind::AddrInUse)?;
        let (network, clock) = (Arc::clone(&self.network), Arc::clone(&self.clock));
        Ok(Arc::new(Socket { network, sender: (self.node, self.boot), local, clock, due: Mutex::default() }))
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(TokioRuntime)
    }

    fn endpoint_seed(&self) -> Option<[u8; 32]> {
        let number = self.endpoints.fetch_add(1, Ordering::Relaxed);
        Some(self.random.derive(&format!("endpoint {number}")).random())
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({}, {})", self.node, self.boot)
    }
}

/// One socket.
struct Socket {
    network: Arc<Network>,
    sender: (usize, u64),
    local: SocketAddr,
    clock: Arc<NodeClock>,
    /// Rings when the next packet arrives.
    due: Mutex<Option<(Duration, Pin<Box<Sleep>>)>>,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Always)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.network.send(self.sender, self.local, transmit.destination, transmit.contents, self.clock.time());
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let now = self.clock.time();
        let mut filled = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
            match self.network.take(self.local, now, cx.waker()) {
                Ok(packet) => {
                    let length = packet.data.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&packet.data[..length]);
                    *meta = RecvMeta { addr: packet.from, len: length, stride: length, ecn: None, dst_ip: None };
                    filled += 1;
                }
                Err(_) if filled > 0 => break,
                Err(next) => return self.wait(cx, now, next),
            }
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Socket {
    /// Has the task woken when the next packet arrives.
    fn wait(&self, cx: &mut Context<'_>, now: Duration, next: Option<Duration>) -> Poll<io::Result<usize>> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = next else {
            *due = None;
            return Poll::Pending;
        };
        if due.as_ref().is_none_or(|(at, _)| *at != next) {
            *due = Some((next, Box::pin(tokio::time::sleep(next.saturating_sub(now)))));
        }
        if due.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(cx).is_ready()) {
            // It has arrived meanwhile: the next look finds it.
            *due = None;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.close(self.sender.0, self.sender.1, self.local);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.local)
    }
}

/// A buffer that is never full: what does not fit on a line is lost there.
#[derive(Debug)]
struct Always;

impl UdpPoller for Always {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
