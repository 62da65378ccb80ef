//! One outgoing stream: many senders, one buffer, one writer.
//!
//! Senders encode their frames straight into the buffer. The writer takes all there is and writes it in one piece, so that
//! frames coalesce by themselves while the stream is busy. Where somebody waits for the answer and the stream is idle, the
//! sender writes itself: that saves waking the writer.
//!
//! Invariants:
//! - Frames leave in the order in which they were appended, each whole.
//! - The buffer holds at most [`LANE_BYTES_MAX`] and one frame; beyond that senders wait.
//! - Either the writer has the stream or it lies in `state`; whoever writes has it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use covenant_transport::{Peer, Plane, SendStream};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// How much may wait in one lane before its senders do.
pub const LANE_BYTES_MAX: usize = 512 * 1024;
/// Pieces from this size on are handed over to the connection without a copy.
const HAND_OVER_BYTES: usize = 16 * 1024;

/// One outgoing stream.
#[derive(Debug)]
pub(crate) struct Lane {
    plane: Plane,
    state: Mutex<State>,
    /// Something was appended to an empty buffer.
    work: Notify,
    /// The buffer was emptied, or the lane closed. Each sender that wakes passes it on.
    space: Notify,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    /// `None` until the first frame, and while the writer writes.
    stream: Option<SendStream>,
    closed: bool,
}

/// Why a frame was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Wait for [`Lane::space`].
    Full,
    /// The stream is gone.
    Closed,
}

/// How soon a frame has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// With others.
    Batched,
    /// Somebody waits for it.
    AtOnce,
}

impl Lane {
    pub(crate) fn new(plane: Plane) -> Self {
        Self { plane, state: Mutex::default(), work: Notify::new(), space: Notify::new() }
    }

    /// Appends what `write` writes, unless `limit` bytes wait already.
    pub(crate) fn append<T>(
        &self,
        urgency: Urgency,
        limit: usize,
        write: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Result<T, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.buffer.len() >= limit {
            return Err(Refused::Full);
        }
        let was_empty = state.buffer.is_empty();
        let written = write(&mut state.buffer);
        if urgency == Urgency::AtOnce {
            state.write_now();
        }
        let wake = !state.buffer.is_empty() && (was_empty || urgency == Urgency::AtOnce);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(written)
    }

    /// Waits until there may be space, or the lane is closed. Who wakes must try to append, and call [`Lane::pass_on`]
    /// whatever came of it.
    pub(crate) fn space(&self) -> impl Future<Output = ()> + '_ {
        self.space.notified()
    }

    /// Wakes the next waiting sender.
    pub(crate) fn pass_on(&self) {
        self.space.notify_one();
    }

    /// Refuses all further frames.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.buffer = Vec::new();
        state.stream = None;
        drop(state);
        self.space.notify_one();
        self.work.notify_one();
    }

    /// Writes until the lane is closed or its stream is gone.
    pub(crate) async fn run(&self, peer: &Peer) {
        let mut spare = Vec::new();
        while let Some((piece, stream)) = self.next_piece(std::mem::take(&mut spare)).await {
            self.space.notify_one();
            let opened = match stream {
                Some(stream) => Ok(stream),
                None => peer.open_uni(self.plane).await,
            };
            let Ok(mut stream) = opened else { break };
            if piece.len() < HAND_OVER_BYTES {
                if stream.write_all(&piece).await.is_err() {
                    break;
                }
                spare = piece;
            } else if stream.write_chunk(Bytes::from(piece)).await.is_err() {
                break;
            }
            self.lock().stream = Some(stream);
        }
        self.close();
    }

    /// All that waits, and the stream if it has been opened. `None` once the lane is closed.
    async fn next_piece(&self, mut spare: Vec<u8>) -> Option<(Vec<u8>, Option<SendStream>)> {
        spare.clear();
        loop {
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if !state.buffer.is_empty() {
                    let piece = std::mem::replace(&mut state.buffer, spare);
                    return Some((piece, state.stream.take()));
                }
            }
            self.work.notified().await;
            // Let those that are running add theirs first.
            tokio::task::yield_now().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes what the stream takes without waiting. The writer does the rest.
    fn write_now(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut cx = Context::from_waker(Waker::noop());
        let mut written = 0;
        while written < self.buffer.len() {
            match Pin::new(&mut *stream).poll_write(&mut cx, &self.buffer[written..]) {
                Poll::Ready(Ok(count)) if count > 0 => written += count,
                // The writer meets the error as well, and acts upon it.
                Poll::Ready(Ok(_) | Err(_)) | Poll::Pending => break,
            }
        }
        self.buffer.drain(..written);
    }
}
