//! Chunks over bulk streams: one request names many, the answer is their bytes in the same order.
//!
//! The request is one frame, a list of chunk names. The answer is one frame a name; an empty one says that the chunk is not
//! here. Nothing in the answer is believed: every chunk is hashed by whoever receives it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covenant_cluster::BulkHandler;
use covenant_env::{Env, Tasks};
use covenant_transport::{Bytes, Peer, Plane, RecvStream, SendError, SendStream, StreamError};
use covenant_types::NodeId;
use serde::{Deserialize, Serialize};

use crate::chunker::CHUNK_BYTES_MAX;
use crate::{ChunkId, ContentStore, StoreError};

/// The most chunks one fetch asks for.
pub const REQUEST_CHUNKS_MAX: usize = 256;
/// The longest request, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Chunks that are read from the disk, or written to it, at a time: at most 4 MiB in memory.
const BATCH_CHUNKS: usize = 16;
/// Streams that are served at a time.
const STREAMS_MAX: usize = 16;
/// Streams that are served to one node at a time: one that asks and never reads holds up nobody else.
const STREAMS_PER_NODE: usize = 4;
/// How long a node that opened a stream may take to say what it wants.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);
/// How long one stream may take in all: 64 MiB at half a megabit.
const STREAM_WITHIN: Duration = Duration::from_secs(1200);
/// What a stream that is given up is reset with.
const GIVEN_UP: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(crate) struct BulkRequest {
    pub(crate) chunks: Vec<ChunkId>,
}

/// Serves this node's chunks to others.
pub(crate) struct BulkServer {
    store: Arc<ContentStore>,
    env: Env,
    streams: Mutex<Tasks>,
    shares: Arc<Shares>,
}

/// How many streams each node has that are served.
#[derive(Debug, Default)]
struct Shares(Mutex<BTreeMap<NodeId, usize>>);

/// One stream's place among those of its node.
#[derive(Debug)]
struct Share {
    shares: Arc<Shares>,
    node: NodeId,
}

impl Shares {
    /// A place, unless the node has as many as it may.
    fn take(self: &Arc<Self>, node: NodeId) -> Option<Share> {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = served.entry(node).or_default();
        if *count >= STREAMS_PER_NODE {
            return None;
        }
        *count += 1;
        Some(Share { shares: Arc::clone(self), node })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut served = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = served.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                served.remove(&self.node);
            }
        }
    }
}

impl BulkServer {
    pub(crate) fn new(store: Arc<ContentStore>, env: Env) -> Self {
        let streams = Mutex::new(Tasks::new(env.work.clone(), STREAMS_MAX));
        Self { store, env, streams, shares: Arc::default() }
    }
}

impl BulkHandler for BulkServer {
    fn stream(&self, peer: &Peer, mut send: SendStream, recv: RecvStream) {
        let (store, env, node) = (self.store.clone(), self.env.clone(), peer.info().name.clone());
        // Past the bounds the stream is dropped, which refuses it; its opener asks again later.
        let Some(share) = self.shares.take(peer.info().id) else {
            return tracing::debug!(%node, "a bulk stream was refused: as many are served to this node as may be");
        };
        let serving = async move {
            let _share = share;
            let served = tokio::time::timeout(STREAM_WITHIN, serve(&store, &env, &mut send, recv)).await;
            match served {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%node, %error, "a bulk stream was given up");
                    send.reset(GIVEN_UP);
                }
                Err(_) => send.reset(GIVEN_UP),
            }
        };
        let started = self.streams.lock().unwrap_or_else(PoisonError::into_inner).spawn(serving);
        if !started {
            tracing::debug!("a bulk stream was refused: as many are served as may be");
        }
    }
}

async fn serve(
    store: &Arc<ContentStore>,
    env: &Env,
    send: &mut SendStream,
    mut recv: RecvStream,
) -> Result<(), FetchError> {
    let asked = tokio::time::timeout(REQUEST_WITHIN, recv.read_frame(REQUEST_BYTES_MAX)).await;
    let Some(frame) = asked.map_err(|_| FetchError::Malformed)?? else { return Ok(()) };
    let request: BulkRequest = covenant_wire::decode(&frame, REQUEST_BYTES_MAX).map_err(|_| FetchError::Malformed)?;
    if request.chunks.len() > REQUEST_CHUNKS_MAX {
        return Err(FetchError::Malformed);
    }
    let served = env.metrics.counter("covenant_content_served_bytes_total", &[]);
    for batch in request.chunks.chunks(BATCH_CHUNKS) {
        let (store, ids) = (store.clone(), batch.to_vec());
        let read =
            env.blocking(move || ids.into_iter().map(|id| store.chunk(id).unwrap_or_default()).collect::<Vec<_>>());
        for bytes in read.await.map_err(|_| FetchError::Malformed)? {
            let length = u32::try_from(bytes.len()).map_err(|_| FetchError::Malformed)?;
            served.increment(u64::from(length));
            send.write_all(&length.to_be_bytes()).await?;
            send.write_chunk(Bytes::from(bytes)).await?;
        }
    }
    send.finish();
    Ok(())
}

/// What a fetch brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Chunks that were new and right.
    pub stored: usize,
    /// Chunks whose bytes were not what they are called.
    pub wrong: usize,
}

/// Fetches the first [`REQUEST_CHUNKS_MAX`] of `chunks` from a node and stores those whose bytes are right.
///
/// # Errors
/// The stream or the disk failed. What was stored before stays.
///
/// # Cancel safety
/// What was stored stays; the rest is asked for again.
pub async fn fetch(
    peer: &Peer,
    store: &Arc<ContentStore>,
    env: &Env,
    chunks: &[ChunkId],
) -> Result<Fetched, FetchError> {
    let asked = &chunks[..chunks.len().min(REQUEST_CHUNKS_MAX)];
    let (mut send, mut recv) = peer.open_bi(Plane::Bulk).await?;
    send.write_frame(&covenant_wire::encode(&BulkRequest { chunks: asked.to_vec() })).await?;
    send.finish();
    let received = env.metrics.counter("covenant_content_fetched_bytes_total", &[]);
    let mut fetched = Fetched::default();
    for batch in asked.chunks(BATCH_CHUNKS) {
        let mut good = Vec::with_capacity(batch.len());
        for id in batch {
            let bytes = recv.read_frame(CHUNK_BYTES_MAX as usize).await?.ok_or(FetchError::CutShort)?;
            received.increment(bytes.len() as u64);
            if ChunkId::of(&bytes) == *id {
                good.push((*id, bytes));
            } else if !bytes.is_empty() {
                fetched.wrong += 1;
            }
        }
        let store = store.clone();
        let stored = env.blocking(move || store.put_chunks(&good)).await.map_err(|_| FetchError::CutShort)?;
        fetched.stored += stored?;
    }
    Ok(fetched)
}

/// Why a fetch ended early. What was stored before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The request is malformed.
    #[error("the request is malformed")]
    Malformed,
    /// The answer ended early.
    #[error("the answer ended early")]
    CutShort,
    /// No stream could be opened.
    #[error(transparent)]
    Open(#[from] SendError),
    /// The stream broke.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_never_ends_its_streams_leaves_places_for_others() {
        let shares = Arc::<Shares>::default();
        let held: Vec<_> = (0..100).filter_map(|_| shares.take(NodeId([1; 16]))).collect();
        assert_eq!(held.len(), STREAMS_PER_NODE);
        assert!(held.len() < STREAMS_MAX);
        assert!(shares.take(NodeId([2; 16])).is_some());
        drop(held);
        assert!(shares.take(NodeId([1; 16])).is_some(), "what has ended makes room");
    }
}
