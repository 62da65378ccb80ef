//! The calling end of a lane: one stream to one node, and the calls under way on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use covenant_env::{Env, Task};
use covenant_transport::{Peer, Plane, RecvStream, SendStream};
use covenant_types::NodeId;
use covenant_wire::FRAME_HEADER_BYTES;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::head::{HEAD_BYTES_MAX, RequestHead, ResponseHead, Turned};
use crate::message::{Lane, RESPONSE_BYTES_MAX};
use crate::network::Unreached;

/// Calls of one lane to one node that may be under way or wait. Past this a call is refused at once.
pub const CALLS_WAITING_MAX: usize = 1024;

/// A lane to one node.
pub(super) struct Line {
    to: NodeId,
    lane: Lane,
    env: Env,
    room: Semaphore,
    /// Held while a request is written. `None` before the first one, and after one that was not written whole.
    open: tokio::sync::Mutex<Option<Open>>,
}

/// A stream that is open.
struct Open {
    peer: Peer,
    send: SendStream,
    next: u64,
    calls: Arc<Calls>,
    /// Reads answers, as long as this lives.
    _reader: Task,
}

/// Who waits for which answer. `None` once the stream is gone.
struct Calls(Mutex<Option<BTreeMap<u64, Waiter>>>);

type Answer = Result<Vec<u8>, String>;
type Waiter = oneshot::Sender<Answer>;

/// Forgets a call that nobody waits for any more.
struct Forget<'a>(&'a Calls, u64);

impl Line {
    pub(super) fn new(to: NodeId, lane: Lane, env: Env) -> Self {
        let (room, open) = (Semaphore::new(CALLS_WAITING_MAX), tokio::sync::Mutex::default());
        Self { to, lane, env, room, open }
    }

    /// Asks over `peer`, the connection to the node.
    pub(super) async fn call(
        &self,
        peer: &Peer,
        group: &str,
        within: Duration,
        body: &[u8],
    ) -> Result<Vec<u8>, Unreached> {
        let unreached = |why: String| Unreached { to: self.to, why, sent: true };
        let _room = self.room.try_acquire().map_err(|_| unreached("too many requests to it wait already".into()))?;
        let (calls, number, answered) = self.send(peer, group, within, body).await.map_err(unreached)?;
        let _forget = Forget(&calls, number);
        match answered.await {
            Ok(answer) => answer.map_err(unreached),
            Err(_) => Err(unreached("the connection was lost before it answered".into())),
        }
    }

    /// Writes a request. Dropped while it waits for the peer to take it, it gives the stream up, and the next one opens another.
    async fn send(
        &self,
        peer: &Peer,
        group: &str,
        within: Duration,
        body: &[u8],
    ) -> Result<(Arc<Calls>, u64, oneshot::Receiver<Answer>), String> {
        let mut place = self.open.lock().await;
        // Taken out as long as it is not written whole.
        let mut open = match place.take().filter(|open| open.peer.is_same_connection(peer) && open.calls.are_open()) {
            Some(open) => open,
            None => self.open(peer).await?,
        };
        let number = open.next;
        open.next += 1;
        let answered = open.calls.wait_for(number).ok_or("the stream is gone")?;
        let forget = Forget(&open.calls, number);
        let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        let request = RequestHead { number, within_ms, group, body }.write();
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + request.len());
        covenant_wire::frame_into(&request, &mut frame);
        // Somebody waits for it: what the stream takes at once is sent by this very thread.
        let written = open.send.write_now(&frame);
        open.send.write_all(&frame[written..]).await.map_err(|error| error.to_string())?;
        std::mem::forget(forget);
        let calls = open.calls.clone();
        *place = Some(open);
        Ok((calls, number, answered))
    }

    async fn open(&self, peer: &Peer) -> Result<Open, String> {
        let plane = match self.lane {
            Lane::Log | Lane::Vote | Lane::Client => Plane::Consensus,
            Lane::Snapshot => Plane::Snapshot,
        };
        let (send, recv) = peer.open_bi(plane).await.map_err(|error| error.to_string())?;
        let calls = Arc::new(Calls(Mutex::new(Some(BTreeMap::new()))));
        let reader = self.env.system.spawn(read_answers(recv, calls.clone()));
        Ok(Open { peer: peer.clone(), send, next: 1, calls, _reader: reader })
    }
}

/// Hands answers to those who wait, until the stream ends.
async fn read_answers(mut recv: RecvStream, calls: Arc<Calls>) {
    let _close = Close(&calls);
    loop {
        let Ok(Some(frame)) = recv.read_frame(HEAD_BYTES_MAX + RESPONSE_BYTES_MAX).await else { return };
        // Who sends what is no answer is not listened to.
        let Some(ResponseHead { number, outcome }) = ResponseHead::parse(&frame) else { return };
        let answer = outcome.map(<[u8]>::to_vec).map_err(|turned: Turned| turned.explain().to_owned());
        if let Some(waiter) = calls.take(number) {
            // Who waits no more has its time over.
            let _gone = waiter.send(answer);
        }
    }
}

impl Calls {
    fn are_open(&self) -> bool {
        self.0.lock().is_some()
    }

    fn wait_for(&self, number: u64) -> Option<oneshot::Receiver<Answer>> {
        let (waiter, answered) = oneshot::channel();
        self.0.lock().as_mut()?.insert(number, waiter);
        Some(answered)
    }

    fn take(&self, number: u64) -> Option<Waiter> {
        self.0.lock().as_mut()?.remove(&number)
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        drop(self.0.take(self.1));
    }
}

/// Lets all who wait know that nothing comes any more.
struct Close<'a>(&'a Calls);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        drop(self.0.0.lock().take());
    }
}
