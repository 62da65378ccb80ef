//! One outgoing stream: many senders, one buffer, one writer.
//!
//! Senders encode their frames straight into the buffer, which is cut into pieces. The writer takes all pieces there are; of
//! what is no whole piece yet it waits for the end while it grows, so that frames coalesce by themselves while senders are
//! busy. Where somebody waits for the answer and the stream is idle, the sender writes itself: that saves waking the writer.
//!
//! Invariants:
//! - Frames leave in the order in which they were appended, each whole.
//! - The buffer holds at most [`LANE_BYTES_MAX`] and one frame; beyond that senders wait.
//! - Either the writer has the stream or it lies in `state`; whoever writes has it.
//! - A writer that waits for work is woken by the first frame.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use covenant_transport::{Peer, Plane, SendStream};
use tokio::sync::Notify;

use crate::counters::Counters;

/// How much may wait in one lane before its senders do.
pub const LANE_BYTES_MAX: usize = 512 * 1024;
/// What is as long as this leaves as a piece of its own, without a copy.
const PIECE_BYTES: usize = 64 * 1024;
/// The room of a piece: most that are begun end before it is used up.
const PIECE_ROOM_BYTES: usize = PIECE_BYTES + 12 * 1024;
/// Less than this is copied into the stream, and its buffer used again.
const SMALL_BYTES: usize = 8 * 1024;
/// How often the writer looks whether an unfinished piece still grows, before it takes it as it is.
const LOOKS_MAX: u32 = 32;

/// One outgoing stream.
pub(crate) struct Lane {
    plane: Plane,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// Rung for a writer that waits.
    work: Notify,
    /// The buffer was emptied, or the lane closed. Each sender that wakes passes it on.
    space: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Whole pieces, oldest first.
    pieces: Vec<Bytes>,
    /// Their length together.
    pieces_bytes: usize,
    /// The piece that grows.
    buffer: Vec<u8>,
    /// How much room the next buffer is made with.
    room: usize,
    /// `None` until the first frame, and while the writer writes.
    stream: Option<SendStream>,
    /// The writer waits to be woken.
    waits: bool,
    closed: bool,
    /// Frames that nobody has counted yet.
    casts: u64,
    calls: u64,
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

/// What the writer takes.
enum Taken {
    Pieces(Vec<Bytes>),
    /// Less than a piece, to be copied.
    Small(Vec<u8>),
}

impl Lane {
    pub(crate) fn new(plane: Plane, counters: Arc<Counters>) -> Self {
        Self { plane, counters, state: Mutex::default(), work: Notify::new(), space: Notify::new() }
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
        if state.pieces_bytes + state.buffer.len() >= limit {
            return Err(Refused::Full);
        }
        if state.buffer.capacity() == 0 {
            state.buffer = Vec::with_capacity(state.room);
        }
        let written = write(&mut state.buffer);
        match urgency {
            Urgency::AtOnce => {
                state.calls += 1;
                state.write_now();
                self.count(&mut state);
            }
            Urgency::Batched => state.casts += 1,
        }
        if state.buffer.len() >= PIECE_BYTES {
            state.cut();
        }
        let wake = !state.is_empty() && std::mem::take(&mut state.waits);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(written)
    }

    /// Whether so much waits here.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        let state = self.lock();
        state.pieces_bytes + state.buffer.len() >= bytes
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
        (state.pieces, state.pieces_bytes, state.buffer) = (Vec::new(), 0, Vec::new());
        state.stream = None;
        self.count(&mut state);
        drop(state);
        self.space.notify_one();
        self.work.notify_one();
    }

    /// Writes until the lane is closed or its stream is gone.
    pub(crate) async fn run(&self, peer: &Peer) {
        let mut spare = Vec::new();
        // A stream that is turned away while nothing is written would be found out at the next write only.
        let mut turned_away: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(std::future::pending());
        loop {
            let next = tokio::select! {
                biased;
                next = self.next(&mut spare) => next,
                () = &mut turned_away => break,
            };
            let Some((taken, stream)) = next else { break };
            self.space.notify_one();
            let opened = match stream {
                Some(stream) => Ok(stream),
                None => {
                    let opened = peer.open_uni(self.plane).await;
                    if let Ok(stream) = &opened {
                        turned_away = Box::pin(stream.turned_away());
                    }
                    opened
                }
            };
            let Ok(mut stream) = opened else { break };
            let written = match taken {
                Taken::Pieces(mut pieces) => stream.write_all_chunks(&mut pieces).await,
                Taken::Small(piece) => {
                    let written = stream.write_all(&piece).await;
                    spare = piece;
                    written
                }
            };
            if written.is_err() {
                break;
            }
            self.lock().stream = Some(stream);
        }
        self.close();
    }

    /// What is to be written, and the stream if it has been opened. `None` once the lane is closed.
    async fn next(&self, spare: &mut Vec<u8>) -> Option<(Taken, Option<SendStream>)> {
        let (mut looks, mut seen) = (0, 0);
        loop {
            let woken = {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                let unfinished = state.buffer.len();
                // Let those that are running add theirs first.
                let rests = unfinished == seen || looks == LOOKS_MAX;
                if !state.pieces.is_empty() || (unfinished > 0 && rests) {
                    self.count(&mut state);
                    let taken = state.take(std::mem::take(spare));
                    return Some((taken, state.stream.take()));
                }
                (looks, seen) = (looks + 1, unfinished);
                state.waits = unfinished == 0;
                (unfinished == 0).then(|| {
                    state.rest();
                    self.work.notified()
                })
            };
            match woken {
                Some(woken) => {
                    woken.await;
                    (looks, seen) = (0, 0);
                }
                None => tokio::task::yield_now().await,
            }
        }
    }

    fn count(&self, state: &mut State) {
        let (casts, calls) = (std::mem::take(&mut state.casts), std::mem::take(&mut state.calls));
        if self.plane == Plane::Actor {
            self.counters.casts_sent.increment(casts);
            self.counters.calls_sent.increment(calls);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("plane", &self.plane).field("state", &self.state).finish_non_exhaustive()
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.buffer.is_empty()
    }

    /// Makes a piece of what there is.
    fn cut(&mut self) {
        self.room = PIECE_ROOM_BYTES;
        let piece = std::mem::take(&mut self.buffer);
        self.pieces_bytes += piece.len();
        self.pieces.push(Bytes::from(piece));
    }

    fn take(&mut self, mut spare: Vec<u8>) -> Taken {
        if self.pieces.is_empty() && self.buffer.len() < SMALL_BYTES {
            self.room = 0;
            spare.clear();
            return Taken::Small(std::mem::replace(&mut self.buffer, spare));
        }
        if self.pieces.is_empty() {
            self.cut();
        }
        self.pieces_bytes = 0;
        Taken::Pieces(std::mem::take(&mut self.pieces))
    }

    /// Nothing is to be done: an idle lane keeps no large buffer.
    fn rest(&mut self) {
        if self.buffer.capacity() > SMALL_BYTES {
            self.buffer = Vec::new();
        }
    }

    /// Writes what the stream takes without waiting. The writer does the rest.
    fn write_now(&mut self) {
        // What stands before it is the writer's.
        let (Some(stream), true) = (&mut self.stream, self.pieces.is_empty()) else { return };
        // The writer meets an error as well, and acts upon it.
        let written = stream.write_now(&self.buffer);
        self.buffer.drain(..written);
    }
}
