//! The answering end of a lane: reads requests off one stream and has them served, each in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use covenant_env::{Spawner, Tasks};
use covenant_transport::{CloseCode, Peer, RecvStream, SendStream};
use covenant_types::NodeId;
use covenant_wire::{FRAME_HEADER_BYTES, frame_length};
use tokio::sync::Semaphore;

use super::groups::Table;
use super::head::{HEAD_BYTES_MAX, RequestHead, ResponseHead, Turned};
use crate::consensus::COMMAND_BYTES_MAX;
use crate::gate::Sender;
use crate::message::REQUEST_BYTES_MAX;

/// Streams of consensus that one node may have open here: one for each lane, and those that these replace.
pub const STREAMS_PER_PEER_MAX: usize = 8;
/// Bytes of requests that are held for one stream, read and not answered. Past this its sender waits.
pub const STREAM_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Requests of one stream that are served at a time. Past this they are turned away.
const REQUESTS_PER_STREAM_MAX: usize = 1024;
/// The longest a request is served, whatever its sender says.
const WITHIN_MAX: Duration = Duration::from_secs(60);
const FRAME_BYTES_MAX: usize = HEAD_BYTES_MAX + REQUEST_BYTES_MAX;
/// What a node may send that has no vote: a command, its id, and what is around them.
const SHORT_FRAME_BYTES_MAX: usize = HEAD_BYTES_MAX + COMMAND_BYTES_MAX + 256;

/// Serves a stream until it ends or is no stream of requests.
pub(super) async fn serve(table: Arc<Table>, spawner: Spawner, peer: Peer, send: SendStream, mut recv: RecvStream) {
    let sender = Sender { node: peer.info().id, role: peer.info().role };
    let longest = if sender.may_vote() { FRAME_BYTES_MAX } else { SHORT_FRAME_BYTES_MAX };
    let send = Arc::new(tokio::sync::Mutex::new(send));
    let bytes = Arc::new(Semaphore::new(STREAM_BYTES_MAX));
    let mut serving = Tasks::new(spawner, REQUESTS_PER_STREAM_MAX);
    loop {
        let mut header = [0; FRAME_HEADER_BYTES];
        if recv.read_exact(&mut header).await.is_err() {
            return;
        }
        let Ok(length) = frame_length(header, longest) else {
            return refuse(&mut recv, sender.node, CloseCode::TooLarge);
        };
        let Ok(held) = u32::try_from(length) else { return };
        let Ok(held) = bytes.clone().acquire_many_owned(held).await else { return };
        let mut frame = vec![0; length];
        if recv.read_exact(&mut frame).await.is_err() {
            return;
        }
        let Some(RequestHead { number, .. }) = RequestHead::parse(&frame) else {
            return refuse(&mut recv, sender.node, CloseCode::Malformed);
        };
        let (table, answer_on) = (table.clone(), send.clone());
        let served = async move {
            let answer = serve_one(&table, sender, &frame).await;
            let outcome = answer.as_deref().map_err(|turned| *turned);
            respond(&answer_on, &ResponseHead { number, outcome }).await;
            drop(held);
        };
        if !serving.spawn(served) {
            respond(&send, &ResponseHead { number, outcome: Err(Turned::Busy) }).await;
        }
    }
}

async fn serve_one(table: &Table, sender: Sender, frame: &[u8]) -> Result<Vec<u8>, Turned> {
    let head = RequestHead::parse(frame).ok_or(Turned::NoGroup)?;
    let group = table.group(head.group).ok_or(Turned::NoGroup)?;
    let within = Duration::from_millis(head.within_ms.into()).min(WITHIN_MAX);
    tokio::time::timeout(within, group.serve(sender, head.body)).await.map_err(|_| Turned::TooLate)
}

async fn respond(send: &tokio::sync::Mutex<SendStream>, head: &ResponseHead<'_>) {
    let answer = head.write();
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + answer.len());
    covenant_wire::frame_into(&answer, &mut frame);
    let mut send = send.lock().await;
    let written = send.write_now(&frame);
    // A stream that is gone is found by whoever reads it.
    let _gone = send.write_all(&frame[written..]).await;
}

/// Gives a stream up that carries something else than requests.
fn refuse(recv: &mut RecvStream, node: NodeId, code: CloseCode) {
    tracing::error!(%node, why = code.as_str(), "a stream of consensus was refused");
    recv.stop(code.number());
}
