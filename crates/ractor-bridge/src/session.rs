//! One client's session: frames through the gate, messages to members, answers back.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_env::Env;
use covenant_identity::PeerIdentity;
use covenant_transport::NodeCredentials;
use covenant_types::{CallError, NodeName};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use quinn::{Connection, RecvStream, SendStream};
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::counters::Counters;
use crate::gate::{Delivery, Gate, Tag, Verdict};
use crate::members::{Directory, Handed};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::wire::{FRAME_BYTES_MAX, Frames, NetworkMessage, OUTWARD_BYTES_MAX, Reply, ToActor};

/// What all sessions of a bridge share.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) credentials: Arc<NodeCredentials>,
    pub(crate) server: Server,
    pub(crate) directory: Arc<Directory>,
    pub(crate) counters: Counters,
}

/// Who is at the other end, as its certificate says.
pub(crate) struct Who {
    pub(crate) name: NodeName,
    pub(crate) identity: PeerIdentity,
    /// Its chain, its own certificate left out.
    pub(crate) above: Vec<Vec<u8>>,
    /// Its session, as the log and `NodeServer` call it.
    pub(crate) label: String,
}

/// The most that one client has under way at a time, in bytes: casts that wait for room, and calls that wait for an answer.
pub const IN_FLIGHT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a message counts for at least: no more than 256 are under way.
pub const MESSAGE_COST_BYTES: usize = 16 * 1024;
/// The longest that an answer is waited for, also where the client named a longer time or none.
pub const CALL_WITHIN_MAX: Duration = Duration::from_secs(60);

/// Answers that wait to be written. As many as messages can be under way; pongs wait for room.
const OUTBOX_MAX: usize = IN_FLIGHT_BYTES_MAX / MESSAGE_COST_BYTES;
/// Between the gate and `NodeServer`, each way.
const DUPLEX_BYTES: usize = 64 * 1024;
/// How long a client may take for the handshake.
const ADMITTED_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may take to read what is written to it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);
/// How long `NodeServer` may take to end a session.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
/// Messages that cannot be read before the session ends: each costs a panic in ractor's decoders.
const UNREADABLE_MAX: u32 = 16;

/// Serves a client until there is a reason not to, and until `NodeServer` has forgotten it.
pub(crate) async fn run(shared: &Shared, who: &Who, connection: &Connection) -> Refusal {
    let streams = timeout(ADMITTED_WITHIN, connection.accept_bi()).await;
    let (send, recv) = match streams {
        Ok(Ok(streams)) => streams,
        Ok(Err(error)) => return Refusal::Gone(error.to_string()),
        Err(_) => return Refusal::TooSlow("it opened no stream"),
    };
    let (here, there) = tokio::io::duplex(DUPLEX_BYTES);
    let Ok(ended) = shared.server.open(who.label.clone(), there) else { return Refusal::Stopping };
    let why = Box::pin(pump(shared, who, connection, (send, recv), here)).await;
    // Closed first: the client need not wait for what this side has to tidy up.
    why.close(connection);
    if timeout(ENDED_WITHIN, ended).await.is_err() {
        tracing::warn!(client = who.label, "the session did not end in time");
        shared.server.forget(&who.label);
    }
    why
}

async fn pump(
    shared: &Shared,
    who: &Who,
    connection: &Connection,
    (send, recv): (SendStream, RecvStream),
    server: DuplexStream,
) -> Refusal {
    let (from_server, to_server) = tokio::io::split(server);
    let gate = Mutex::new(Gate::new(who.name.clone()));
    let (outbox, waiting) = mpsc::channel(OUTBOX_MAX);
    let inward = Inward {
        shared,
        gate: &gate,
        label: &who.label,
        to_server,
        outbox,
        room: Arc::new(Semaphore::new(permits(IN_FLIGHT_BYTES_MAX))),
        unreadable: 0,
    };
    let inward = pin!(inward.run(recv));
    let outward = pin!(outward(shared, &gate, from_server, send, waiting));
    let slow = pin!(async {
        tokio::time::sleep(ADMITTED_WITHIN).await;
        if lock(&gate).is_admitted() {
            std::future::pending::<()>().await;
        }
    });
    let why = tokio::select! {
        biased;
        () = denied(shared, who) => Refusal::Revoked,
        why = inward => why,
        why = outward => why,
        () = slow => Refusal::TooSlow("the handshake took too long"),
    };
    // A stream that ends is only half of it: the connection knows why.
    match connection.close_reason() {
        Some(quinn::ConnectionError::LocallyClosed) => Refusal::ClosedHere,
        Some(error) => Refusal::Gone(error.to_string()),
        // It ends a session whose proof of the cookie is wrong, and says nothing.
        None if matches!(why, Refusal::Left) && !lock(&gate).is_admitted() => Refusal::OtherCookie,
        None => why,
    }
}

/// Resolves when the client is let in nowhere any more.
async fn denied(shared: &Shared, who: &Who) {
    let denials = shared.credentials.denials();
    let mut changes = denials.changes();
    while !denials.denies(&who.identity, &who.above) {
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// From the client.
struct Inward<'a> {
    shared: &'a Shared,
    gate: &'a Mutex<Gate>,
    label: &'a str,
    to_server: WriteHalf<DuplexStream>,
    outbox: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
    unreadable: u32,
}

/// What waits to be written, or to be answered and written then.
enum Outgoing {
    Message(NetworkMessage),
    Call(PendingCall),
}

struct PendingCall {
    to: u64,
    tag: Tag,
    answer: oneshot::Receiver<Vec<u8>>,
    room: OwnedSemaphorePermit,
}

impl Inward<'_> {
    async fn run(mut self, recv: RecvStream) -> Refusal {
        let mut frames = Frames::new(recv, FRAME_BYTES_MAX);
        loop {
            match Box::pin(self.next(&mut frames)).await {
                Ok(()) => {}
                Err(why) => return why,
            }
        }
    }

    async fn next(&mut self, frames: &mut Frames<RecvStream>) -> Result<(), Refusal> {
        let frame = frames.next().await?;
        let verdict = lock(self.gate).client_sent(&frame)?;
        match verdict {
            Verdict::Pass(message) => {
                self.to_server.write_all(&message.frame()).await.map_err(|_| Refusal::Left)?;
            }
            Verdict::Answer(message) => self.send(Outgoing::Message(message)).await?,
            Verdict::Deliver(delivery) => self.deliver(delivery, frame.len()).await?,
            Verdict::Leave(what) => self.shared.counters.left(what),
        }
        Ok(())
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), Refusal> {
        self.outbox.send(outgoing).await.map_err(|_| Refusal::Left)
    }

    async fn deliver(&mut self, delivery: Delivery, bytes: usize) -> Result<(), Refusal> {
        let counters = &self.shared.counters;
        let Some(member) = self.shared.directory.find(delivery.to) else {
            // It has ended and left its group; the client hears of that, and its calls fail there.
            counters.dropped("no_member");
            return Ok(());
        };
        let room = self.room(bytes).await;
        let (to, call) = (delivery.to, delivery.call);
        let (reply, answer) = oneshot::channel();
        let (variant, message) = (delivery.variant.clone(), delivery.into_serialized(reply.into()));
        let Some(handed) = member.hand(message) else { return self.unreadable(&variant) };
        let handed = match handed {
            Handed::Now(result) => result,
            Handed::Waits(waits) => waits.await,
        };
        if let Err(error) = &handed {
            counters.dropped(word(error));
        }
        match call {
            // Also one that was refused: its answer says so.
            Some(tag) => {
                counters.calls.increment(1);
                self.send(Outgoing::Call(PendingCall { to, tag, answer, room })).await?;
            }
            None => counters.casts.increment(1),
        }
        Ok(())
    }

    /// Room for a message that came in a frame of so many bytes. Until there is some nothing more of the client is read, and
    /// QUIC holds it.
    async fn room(&self, bytes: usize) -> OwnedSemaphorePermit {
        let cost = u32::try_from(permits(bytes.max(MESSAGE_COST_BYTES))).unwrap_or(u32::MAX);
        let acquire = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_many_owned(cost);
        if let Ok(permit) = acquire(&self.room) {
            return permit;
        }
        self.shared.counters.waits.increment(1);
        let permit = Arc::clone(&self.room).acquire_many_owned(cost).await;
        permit.expect("the semaphore is never closed, and a frame costs less than all of it")
    }

    fn unreadable(&mut self, variant: &str) -> Result<(), Refusal> {
        self.shared.counters.dropped("unreadable");
        if self.unreadable == 0 {
            let variant: String = variant.chars().take(64).collect();
            tracing::warn!(client = self.label, variant, "a message could not be read, and is not answered");
        }
        self.unreadable += 1;
        if self.unreadable < UNREADABLE_MAX { Ok(()) } else { Err(Refusal::Unreadable(self.unreadable)) }
    }
}

/// To the client: what `NodeServer` says, and answers. Whoever writes here writes whole frames.
async fn outward(
    shared: &Shared,
    gate: &Mutex<Gate>,
    from_server: ReadHalf<DuplexStream>,
    mut send: SendStream,
    mut waiting: mpsc::Receiver<Outgoing>,
) -> Refusal {
    let mut frames = Frames::new(from_server, OUTWARD_BYTES_MAX);
    let mut calls: FuturesUnordered<BoxFuture<'static, Option<Reply>>> = FuturesUnordered::new();
    loop {
        let frame = tokio::select! {
            biased;
            Some(outgoing) = waiting.recv() => match outgoing {
                Outgoing::Message(message) => message.frame(),
                Outgoing::Call(call) => {
                    calls.push(Box::pin(answered(call)));
                    continue;
                }
            },
            Some(reply) = calls.next(), if !calls.is_empty() => match reply {
                Some(reply) if reply.what.len() < OUTWARD_BYTES_MAX - REPLY_OVERHEAD_BYTES => {
                    NetworkMessage::to_actor(ToActor::Reply(reply)).frame()
                }
                Some(_) => {
                    shared.counters.dropped("reply_too_long");
                    continue;
                }
                None => {
                    shared.counters.dropped("unanswered");
                    continue;
                }
            },
            frame = frames.next() => match frame {
                Ok(frame) => {
                    lock(gate).server_sent(&frame);
                    [&(frame.len() as u64).to_be_bytes()[..], &frame].concat()
                }
                Err(_) => return Refusal::Left,
            },
        };
        match timeout(WRITTEN_WITHIN, send.write_all(&frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Refusal::Gone(error.to_string()),
            Err(_) => return Refusal::TooSlow("it does not read what it is sent"),
        }
    }
}

/// What else is in the frame of a reply.
const REPLY_OVERHEAD_BYTES: usize = 64;

/// The reply to a call; `None` where there is none in time.
async fn answered(call: PendingCall) -> Option<Reply> {
    let PendingCall { to, tag: Tag { tag, within }, answer, room } = call;
    let within = within.unwrap_or(CALL_WITHIN_MAX).min(CALL_WITHIN_MAX);
    let answer = timeout(within, answer).await;
    drop(room);
    Some(Reply { to, tag, what: answer.ok()?.ok()? })
}

/// Room is counted in kibibytes.
fn permits(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

/// Why a message did not get into a mailbox, as a label.
fn word(error: &CallError) -> &'static str {
    match error {
        CallError::MailboxFull => "mailbox_full",
        CallError::Draining => "draining",
        CallError::NoProc
        | CallError::Gone(_)
        | CallError::NoConnection
        | CallError::Timeout
        | CallError::Rejected(_) => "gone",
    }
}

fn lock(gate: &Mutex<Gate>) -> MutexGuard<'_, Gate> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}
