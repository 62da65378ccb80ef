//! A UDP socket with weather: passes datagrams on, and where faults hold does to each what the plan says.

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use covenant_env::{Env, Task};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::Faults;
use super::held::Held;

/// A UDP socket between QUIC and the real or simulated one.
///
/// Needs no rights that the node has not: faults are made here and not in the kernel. Other programs of the machine notice
/// nothing.
#[derive(Debug)]
pub struct FaultySocket {
    inner: Arc<dyn AsyncUdpSocket>,
    faults: Arc<Faults>,
}

impl FaultySocket {
    /// Wraps a socket. Returns with it the faults it obeys, and the timer that sends what was held back: keep that for as
    /// long as the socket lives.
    pub fn wrap(inner: Arc<dyn AsyncUdpSocket>, env: &Env) -> (Arc<Self>, Arc<Faults>, Task) {
        let faults = Arc::new(Faults::new(env));
        let socket = Arc::new(Self { inner, faults: Arc::clone(&faults) });
        // The timer does not hold the socket: its port is free as soon as QUIC lets go of it.
        let timer = env.system.spawn(run_timer(Arc::downgrade(&socket), Arc::clone(&faults)));
        (socket, faults, timer)
    }

    /// Sends one datagram now. What the socket below has no room for at this moment waits for the timer.
    fn send_one(&self, held: Held) -> io::Result<()> {
        match self.inner.try_send(&transmit(&held)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.faults.send_soon(held);
                Ok(())
            }
            sent => sent,
        }
    }
}

impl AsyncUdpSocket for FaultySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !self.faults.is_active() {
            return self.inner.try_send(transmit);
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for bytes in transmit.contents.chunks(segment) {
            let held =
                Held { peer: transmit.destination, local: transmit.src_ip, ecn: transmit.ecn, bytes: bytes.to_vec() };
            let Some((held, copies)) = self.faults.send(held) else { continue };
            for _ in 0..copies {
                self.send_one(held.clone())?;
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..BATCHES_AT_ONCE {
            if !self.faults.is_active() {
                return self.inner.poll_recv(cx, bufs, meta);
            }
            // Asked first, so that the reader is known before the socket below says that there is nothing.
            let filled = self.faults.deliver(cx, bufs, meta);
            if filled > 0 {
                return Poll::Ready(Ok(filled));
            }
            let received = match self.inner.poll_recv(cx, bufs, meta) {
                Poll::Ready(Ok(received)) => received,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            for (buf, meta) in bufs.iter().zip(meta.iter()).take(received) {
                for bytes in buf[..meta.len].chunks(meta.stride.max(1)) {
                    let (peer, local, ecn) = (meta.addr, meta.dst_ip, meta.ecn);
                    self.faults.receive(&Held { peer, local, ecn, bytes: bytes.to_vec() });
                }
            }
        }
        // Much came and nothing of it arrived: others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// Sends what was held back, and ends leases, each at its time. Runs until the task is dropped or the socket is gone.
async fn run_timer(socket: Weak<FaultySocket>, faults: Arc<Faults>) {
    loop {
        while let Some(held) = faults.next_to_send() {
            let Some(socket) = socket.upgrade() else { return };
            send_when_writable(&socket.inner, &held).await;
        }
        let wait = faults.tick().map_or(IDLE, |next| next.since(faults.now()).min(IDLE));
        tokio::select! {
            biased;
            () = faults.sooner.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Sends a datagram, after the socket has room for it. What it refuses is lost, as on any line.
async fn send_when_writable(socket: &Arc<dyn AsyncUdpSocket>, held: &Held) {
    let mut poller = None;
    loop {
        match socket.try_send(&transmit(held)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(()) | Err(_) => return,
        }
        let poller = poller.get_or_insert_with(|| Arc::clone(socket).create_io_poller());
        if poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.is_err() {
            return;
        }
    }
}

fn transmit(held: &Held) -> Transmit<'_> {
    Transmit { destination: held.peer, ecn: held.ecn, contents: &held.bytes, segment_size: None, src_ip: held.local }
}

/// How many batches are read in a row of which nothing arrives.
const BATCHES_AT_ONCE: usize = 16;
/// How long the timer sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
