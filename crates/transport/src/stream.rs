//! Halves of streams that count their bytes per plane, and frames on them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use covenant_wire::{FRAME_HEADER_BYTES, WireError, frame_length};
use metrics::Counter;
use quinn::{ReadError, ReadExactError, ReadToEndError, StoppedError, VarInt, WriteError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::close::describe;
use crate::driven::Driver;

/// Bytes of one direction of one plane of one peer.
#[derive(Clone, Debug)]
pub(crate) struct ByteCount {
    pub(crate) peer: Arc<AtomicU64>,
    pub(crate) node: Counter,
}

impl ByteCount {
    pub(crate) fn add(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.peer.fetch_add(bytes, Ordering::Relaxed);
        self.node.increment(bytes);
    }
}

/// The writing half of a stream. Dropping it without [`finish`](Self::finish) finishes it as well; use
/// [`reset`](Self::reset) to say that what was written is not whole.
#[derive(Debug)]
pub struct SendStream {
    inner: quinn::SendStream,
    count: ByteCount,
    driver: Option<Arc<Driver>>,
}

impl SendStream {
    pub(crate) fn new(inner: quinn::SendStream, count: ByteCount, driver: Option<Arc<Driver>>) -> Self {
        Self { inner, count, driver }
    }

    /// Writes what the stream takes of `bytes` without waiting, has it sent by this very thread where nobody else is sending
    /// for the connection, and returns how many bytes it took. For what somebody waits for: it costs the caller a system
    /// call, and saves the wait for another thread.
    ///
    /// A stream or connection that is gone takes nothing; the next write that waits says why.
    pub fn write_now(&mut self, bytes: &[u8]) -> usize {
        let inner = &mut self.inner;
        let mut write = || {
            let mut cx = Context::from_waker(Waker::noop());
            let mut written = 0;
            while written < bytes.len() {
                match AsyncWrite::poll_write(Pin::new(&mut *inner), &mut cx, &bytes[written..]) {
                    Poll::Ready(Ok(count)) if count > 0 => written += count,
                    Poll::Ready(Ok(_) | Err(_)) | Poll::Pending => break,
                }
            }
            written
        };
        let written = match &self.driver {
            Some(driver) => driver.after(write),
            None => write(),
        };
        self.count.add(written);
        written
    }

    /// Writes all of `bytes`; waits where the peer does not take them.
    ///
    /// # Errors
    /// The peer stopped the stream or the connection is gone. Part of the bytes may have arrived.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the bytes may have been written.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        self.inner.write_all(bytes).await?;
        self.count.add(bytes.len());
        Ok(())
    }

    /// Writes some of `bytes` and returns how many.
    ///
    /// # Errors
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
        let written = self.inner.write(bytes).await?;
        self.count.add(written);
        Ok(written)
    }

    /// Writes all of `bytes` without copying them.
    ///
    /// # Errors
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the bytes may have been written.
    pub async fn write_chunk(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let length = bytes.len();
        self.inner.write_chunk(bytes).await?;
        self.count.add(length);
        Ok(())
    }

    /// Writes all of `chunks`, one after the other, without copying them.
    ///
    /// # Errors
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the bytes may have been written.
    pub async fn write_all_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        let length = chunks.iter().map(Bytes::len).sum();
        self.inner.write_all_chunks(chunks).await?;
        self.count.add(length);
        Ok(())
    }

    /// Writes `payload` as one length-prefixed frame.
    ///
    /// # Errors
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the frame may have been written.
    pub async fn write_frame(&mut self, payload: &[u8]) -> Result<(), StreamError> {
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
        covenant_wire::frame_into(payload, &mut frame);
        self.write_all(&frame).await
    }

    /// Says that everything was written. Finishing twice changes nothing.
    pub fn finish(&mut self) {
        // The only error is that the stream has ended already.
        let _already_ended = self.inner.finish();
    }

    /// Gives the stream up: the peer sees `code` and not what it has not read yet.
    pub fn reset(&mut self, code: u32) {
        let _already_ended = self.inner.reset(VarInt::from_u32(code));
    }

    /// Waits until the peer has everything (`None`), or stopped the stream with a code.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn stopped(&self) -> Result<Option<u64>, StreamError> {
        match self.inner.stopped().await {
            Ok(code) => Ok(code.map(VarInt::into_inner)),
            Err(StoppedError::ConnectionLost(error)) => Err(StreamError::Lost(describe(&error))),
            Err(StoppedError::ZeroRttRejected) => Err(StreamError::Closed),
        }
    }
}

impl SendStream {
    /// Resolves when the peer stopped the stream, has all of a finished one, or is gone. Outlives a borrow of the stream, so
    /// that it can be awaited beside writes.
    pub fn turned_away(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = self.inner.stopped();
        async move {
            let _however = stopped.await;
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let polled = AsyncWrite::poll_write(Pin::new(&mut self.inner), cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.count.add(*written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.inner), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.inner), cx)
    }
}

/// The reading half of a stream. Dropping it tells the peer to stop.
#[derive(Debug)]
pub struct RecvStream {
    inner: quinn::RecvStream,
    count: ByteCount,
}

impl RecvStream {
    pub(crate) fn new(inner: quinn::RecvStream, count: ByteCount) -> Self {
        Self { inner, count }
    }

    /// Reads into `buffer` and returns how many bytes, or `None` at the end.
    ///
    /// # Errors
    /// The peer reset the stream or the connection is gone.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, StreamError> {
        let read = self.inner.read(buffer).await?;
        self.count.add(read.unwrap_or(0));
        Ok(read)
    }

    /// Fills `buffer`.
    ///
    /// # Errors
    /// The stream ended before, was reset, or the connection is gone.
    ///
    /// # Cancel safety
    /// Not cancel safe: bytes read are lost.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), StreamError> {
        self.inner.read_exact(buffer).await?;
        self.count.add(buffer.len());
        Ok(())
    }

    /// Reads at most `max` bytes without copying them; `None` at the end.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        let chunk = self.inner.read_chunk(max, true).await?.map(|chunk| chunk.bytes);
        self.count.add(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }

    /// Fills as many of `chunks` as have arrived, without copying, and returns how many; `None` at the end.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read_chunks(&mut self, chunks: &mut [Bytes]) -> Result<Option<usize>, StreamError> {
        let filled = self.inner.read_chunks(chunks).await?;
        self.count.add(chunks[..filled.unwrap_or(0)].iter().map(Bytes::len).sum());
        Ok(filled)
    }

    /// Reads to the end, at most `limit` bytes.
    ///
    /// # Errors
    /// There are more, the stream was reset, or the connection is gone.
    ///
    /// # Cancel safety
    /// Not cancel safe: bytes read are lost.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, StreamError> {
        let bytes = match self.inner.read_to_end(limit).await {
            Ok(bytes) => bytes,
            Err(ReadToEndError::TooLong) => return Err(StreamError::TooLarge(limit)),
            Err(ReadToEndError::Read(error)) => return Err(error.into()),
        };
        self.count.add(bytes.len());
        Ok(bytes)
    }

    /// Reads one length-prefixed frame of at most `limit` bytes; `None` where the stream ends instead of a frame.
    ///
    /// Good for a few frames. A busy lane reads chunks into a [`covenant_wire::FrameReader`].
    ///
    /// # Errors
    /// The frame is longer or cut short, the stream was reset, or the connection is gone.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the frame may be lost.
    pub async fn read_frame(&mut self, limit: usize) -> Result<Option<Vec<u8>>, StreamError> {
        let mut header = [0; FRAME_HEADER_BYTES];
        let Some(first) = self.read(&mut header).await? else {
            return Ok(None);
        };
        self.read_exact(&mut header[first..]).await?;
        let length = frame_length(header, limit)?;
        let mut payload = vec![0; length];
        self.read_exact(&mut payload).await?;
        Ok(Some(payload))
    }

    /// Tells the peer that nothing more is read, with a code.
    pub fn stop(&mut self, code: u32) {
        let _already_ended = self.inner.stop(VarInt::from_u32(code));
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = AsyncRead::poll_read(Pin::new(&mut self.inner), cx, buffer);
        self.count.add(buffer.filled().len() - before);
        polled
    }
}

/// Why a stream went no further. What was under way on it may or may not have been handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection is gone.
    #[error("the connection is gone: {0}")]
    Lost(String),
    /// The peer gave the stream up with this code.
    #[error("the peer reset the stream with code {0}")]
    Reset(u64),
    /// The peer does not want the rest.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(u64),
    /// The stream ended in the middle of something.
    #[error("the stream ended early")]
    EndedEarly,
    /// The peer sent more than this many bytes.
    #[error("more than {0} bytes")]
    TooLarge(usize),
    /// The stream has been closed on this side.
    #[error("the stream is closed")]
    Closed,
}

impl From<WriteError> for StreamError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Stopped(code.into_inner()),
            WriteError::ConnectionLost(error) => Self::Lost(describe(&error)),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Closed,
        }
    }
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset(code.into_inner()),
            ReadError::ConnectionLost(error) => Self::Lost(describe(&error)),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Self::Closed,
        }
    }
}

impl From<ReadExactError> for StreamError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::EndedEarly,
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}

impl From<WireError> for StreamError {
    /// Only a length can be wrong where frames are read.
    fn from(error: WireError) -> Self {
        if let WireError::TooLarge { limit, .. } = error { Self::TooLarge(limit) } else { Self::EndedEarly }
    }
}
