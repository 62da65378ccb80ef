//! The receiving side: from a stream into mailboxes, and from answers into calls.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use covenant_runtime::{Entered, Inlet, Lobby, Reading, RemoteSender, with_trace};
use covenant_transport::{CloseCode, RecvStream};
use covenant_types::{ActorPath, CallError, ExitReason, Fence, TraceId, Uptime};
use covenant_wire::{FrameReader, SchemaHash};
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use crate::conduct::Offence;
use crate::placement::{Gate, StaleToken};
use crate::remoting::credit::{CREDIT_BYTES, CREDIT_IDLE, Window, cost};
use crate::remoting::frame::{
    ActorFrame, FRAME_BYTES_MAX, ReplyFrame, TARGETS_MAX, put_credit, put_refusal, put_reply, put_take_back,
};
use crate::remoting::lane::{Refused, Urgency};
use crate::remoting::outlet::Reader;
use crate::remoting::pending::PENDING_CALLS_MAX;
use crate::schemas;
use crate::session::Session;
use crate::shared::Shared;

/// How many pieces of a stream are read at once. Each is at most a packet.
const READ_CHUNKS: usize = 16;
/// How much is read from the stream of answers at once.
const READ_BYTES: usize = 64 * 1024;
/// How much of one node's casts may wait for room in mailboxes, as credit counts it.
const PARKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many bytes of answers may wait for the reply stream before further ones are replaced by a refusal.
const REPLIES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// At so many it has read nothing for so long that it never will: its connection is closed.
const REPLIES_BYTES_LAST: usize = 2 * REPLIES_BYTES_MAX;

/// Reads one lane of a peer's messages until the stream ends.
pub(crate) async fn read_messages(shared: Arc<Shared>, session: Arc<Session>, mut stream: RecvStream) {
    let mut inbox = Inbox::new(&shared, &session);
    let reader = Reader::resolver(&shared, session.sender.clone());
    let mut frames = FrameReader::new(FRAME_BYTES_MAX);
    let mut look = pin!(tokio::time::sleep(CREDIT_IDLE));
    let mut chunks: [Bytes; READ_CHUNKS] = std::array::from_fn(|_| Bytes::new());
    loop {
        let read = tokio::select! {
            biased;
            () = inbox.rooms.opened.notified() => {
                let Some(_open) = session.hold_open() else { return };
                inbox.let_in_where_there_is_room();
                continue;
            }
            () = &mut look, if inbox.has_lent => {
                inbox.take_back_idle_credit();
                look.set(tokio::time::sleep(CREDIT_IDLE));
                continue;
            }
            read = stream.read_chunks(&mut chunks) => read,
        };
        let Ok(Some(filled)) = read else { return };
        // What the last connection brought must not mix with what the next one brings.
        let Some(open) = session.hold_open() else { return };
        let reading = Reading::from(&reader);
        for chunk in &mut chunks[..filled] {
            frames.push(&std::mem::take(chunk));
            loop {
                match frames.next_frame() {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if inbox.frame(frame).is_none() {
                            return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed);
                        }
                    }
                    Err(_) => return shared.refuse_stream(&session, &mut stream, CloseCode::TooLarge),
                }
            }
        }
        inbox.let_in();
        drop((open, reading));
        // A lane that is never empty would keep the thread for itself.
        consume_budget().await;
    }
}

/// Reads a peer's answers and credit until the stream ends.
pub(crate) async fn read_replies(shared: Arc<Shared>, session: Arc<Session>, mut stream: RecvStream) {
    let mut frames = FrameReader::new(FRAME_BYTES_MAX);
    let reader = Reader::resolver(&shared, session.sender.clone());
    while let Ok(Some(chunk)) = stream.read_chunk(READ_BYTES).await {
        frames.push(&chunk);
        let reading = Reading::from(&reader);
        loop {
            match frames.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => match ReplyFrame::parse(frame) {
                    Some(ReplyFrame::Reply { call, response }) => {
                        if let Some(answer) = session.pending.take(call) {
                            answer(Ok(response));
                        }
                    }
                    Some(ReplyFrame::Refusal { call, error }) => {
                        if let Some(answer) = session.pending.take(call) {
                            answer(Err(error));
                        }
                    }
                    Some(ReplyFrame::Credit { to, bytes }) => {
                        if let Some(target) = session.target_by_id(to) {
                            target.give_back(bytes);
                        }
                    }
                    Some(ReplyFrame::TakeBack { to, bytes }) => {
                        if let Some(target) = session.target_by_id(to) {
                            target.take_away(bytes);
                        }
                    }
                    None => return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed),
                },
                Err(_) => return shared.refuse_stream(&session, &mut stream, CloseCode::TooLarge),
            }
        }
        drop(reading);
        consume_budget().await;
    }
}

/// The reading end of one lane.
struct Inbox<'a> {
    shared: &'a Shared,
    session: &'a Arc<Session>,
    targets: Vec<Option<Box<Known>>>,
    /// Targets whose lobby got something since the last time all were let in.
    fresh: Vec<usize>,
    rooms: Arc<Rooms>,
    /// How much waits here for room.
    parked: u64,
    /// Not counted yet.
    casts: u64,
    /// A sender may have more credit than it started with.
    has_lent: bool,
}

/// Which mailboxes have room again that were full.
#[derive(Default)]
struct Rooms {
    open: Mutex<Vec<usize>>,
    opened: Notify,
}

/// Tells that the mailbox of one target has room.
struct Room {
    target: usize,
    rooms: Arc<Rooms>,
}

impl Wake for Room {
    fn wake(self: Arc<Self>) {
        self.rooms.open.lock().unwrap_or_else(PoisonError::into_inner).push(self.target);
        self.rooms.opened.notify_one();
    }
}

impl Drop for Inbox<'_> {
    fn drop(&mut self) {
        self.session.parked.fetch_sub(usize::try_from(self.parked).unwrap_or(usize::MAX), Ordering::Relaxed);
    }
}

/// An actor of ours that the peer gave an id.
struct Known {
    id: u32,
    path: ActorPath,
    type_name: String,
    schema: SchemaHash,
    /// The lease that its messages are sent under.
    fence: Option<Fenced>,
    /// A refusal by role or by fence was logged: one line for each is enough.
    was_refused: bool,
    inlet: Option<Arc<dyn Inlet>>,
    /// Made with its first cast.
    lobby: Option<Box<dyn Lobby>>,
    /// Rung when there is room for what waits in the lobby.
    room: Waker,
    /// Whether it stands in `fresh`.
    is_fresh: bool,
    /// What waits in the lobby.
    waiting: u64,
    /// The part of it that is counted as parked.
    parked: u64,
    window: Window,
}

/// The lease that messages are sent under.
struct Fenced {
    fence: Fence,
    /// Found with the first message that its sender may send.
    gate: Option<Arc<Gate>>,
}

impl Fenced {
    fn gate(&mut self, shared: &Shared, path: &ActorPath, from: &RemoteSender) -> Result<Arc<Gate>, StaleToken> {
        let gate = match self.gate.take() {
            Some(gate) => gate,
            None => shared.gates.gate(path, &self.fence.key, from.node)?,
        };
        Ok(Arc::clone(self.gate.insert(gate)))
    }
}

impl<'a> Inbox<'a> {
    fn new(shared: &'a Shared, session: &'a Arc<Session>) -> Self {
        let (targets, fresh, rooms) = (Vec::new(), Vec::new(), Arc::default());
        Self { shared, session, targets, fresh, rooms, parked: 0, casts: 0, has_lent: false }
    }

    /// Handles one frame; `None` if it is not one an honest peer sends.
    fn frame(&mut self, frame: &[u8]) -> Option<()> {
        match ActorFrame::parse(frame)? {
            ActorFrame::Name { id, schema, fence, path, type_name } => self.name(id, schema, fence, path, type_name),
            ActorFrame::Cast { to, trace, request } => {
                self.cast(usize::try_from(to).ok()?, frame.len(), trace, request)
            }
            ActorFrame::Call { to, call, millis_left, trace, request } => {
                let to = usize::try_from(to).ok()?;
                self.shared.counters.calls_received.increment(1);
                self.let_in_one(to); // what was sent before comes before
                let known = self.targets.get_mut(to)?.as_mut()?;
                with_trace(trace, || known.call(self.shared, self.session, call, millis_left, request));
                Some(())
            }
        }
    }

    fn name(
        &mut self,
        id: u32,
        schema: SchemaHash,
        fence: Option<Fence>,
        path: ActorPath,
        type_name: &str,
    ) -> Option<()> {
        let target = usize::try_from(id).ok()?;
        if self.targets.get(target).is_some_and(Option::is_some) {
            return self.name_again(target, schema, fence?, &path, type_name);
        }
        if self.targets.len() <= target {
            self.targets.resize_with(target + 1, || None);
        }
        let slot = &mut self.targets[target];
        // Over all lanes together, as ids are given.
        if self.session.named.fetch_add(1, Ordering::Relaxed) >= TARGETS_MAX as usize {
            return None;
        }
        *slot = Some(Box::new(Known {
            id,
            path,
            type_name: type_name.to_owned(),
            schema,
            fence: fence.map(|fence| Fenced { fence, gate: None }),
            was_refused: false,
            inlet: None,
            lobby: None,
            room: Waker::from(Arc::new(Room { target, rooms: Arc::clone(&self.rooms) })),
            is_fresh: false,
            waiting: 0,
            parked: 0,
            window: Window::new(),
        }));
        Some(())
    }

    /// The sender has a later lease of the same key.
    fn name_again(
        &mut self,
        target: usize,
        schema: SchemaHash,
        fence: Fence,
        path: &ActorPath,
        type_name: &str,
    ) -> Option<()> {
        let is_later = |known: &Known| {
            let same = (known.schema, &known.path, known.type_name.as_str()) == (schema, path, type_name);
            let before = known.fence.as_ref().map(|fenced| &fenced.fence);
            same && before.is_some_and(|before| before.key == fence.key && before.token < fence.token)
        };
        self.targets.get(target)?.as_deref().filter(|known| is_later(known))?;
        // What was sent under the lease before may not stay: others may have had it in between.
        self.let_in_one(target);
        let known = self.targets.get_mut(target)?.as_mut()?;
        let late = known.lobby.take();
        let fenced = known.fence.as_mut()?;
        let stale = StaleToken::Stale { fence: fenced.fence.clone(), seen: fence.token };
        fenced.fence = fence;
        if let Some(late) = late.filter(|late| !late.is_empty()) {
            self.turn_away(target, late.len(), &stale);
        }
        Some(())
    }

    fn cast(&mut self, to: usize, frame_bytes: usize, trace: Option<TraceId>, request: &[u8]) -> Option<()> {
        self.casts += 1;
        let known = self.targets.get_mut(to)?.as_mut()?;
        let cost = cost(frame_bytes);
        let beyond_credit = known.waiting > u64::from(CREDIT_BYTES) + cost;
        if beyond_credit {
            self.session.bear(Offence::Overspending);
        }
        if beyond_credit || self.session.parked.load(Ordering::Relaxed) > PARKED_BYTES_MAX {
            self.shared.counters.cast_dropped("parked");
            known.owe(self.session, cost);
        } else if let Err(error) = known.cast(self.shared, &self.session.sender, trace, cost, request) {
            self.shared.counters.cast_dropped(word(&error));
            known.owe(self.session, cost);
        } else if !std::mem::replace(&mut known.is_fresh, true) {
            self.fresh.push(to);
        }
        Some(())
    }

    /// Lets all in that came since the last time, where there is room.
    fn let_in(&mut self) {
        self.shared.counters.casts_received.increment(std::mem::take(&mut self.casts));
        while let Some(target) = self.fresh.pop() {
            self.let_in_one(target);
        }
    }

    fn take_back_idle_credit(&mut self) {
        self.has_lent = false;
        for known in self.targets.iter_mut().flatten() {
            known.take_back_idle_credit(self.session);
            self.has_lent |= known.window.has_more_than_start();
        }
    }

    fn let_in_where_there_is_room(&mut self) {
        let open = std::mem::take(&mut *self.rooms.open.lock().unwrap_or_else(PoisonError::into_inner));
        open.into_iter().for_each(|target| self.let_in_one(target));
    }

    fn let_in_one(&mut self, target: usize) {
        let Some(Some(known)) = self.targets.get_mut(target) else { return };
        known.is_fresh = false;
        let Some(lobby) = known.lobby.as_mut().filter(|lobby| !lobby.is_empty()) else { return };
        let entered = match &known.fence {
            Some(Fenced { fence, gate: Some(gate) }) => gate.pass(fence, || lobby.enter(&known.room)),
            Some(_) | None => Ok(lobby.enter(&known.room)),
        };
        let Entered { cost, refused } = match entered {
            Ok(entered) => entered,
            Err(stale) => {
                let waited = lobby.len();
                known.lobby = None;
                return self.turn_away(target, waited, &stale);
            }
        };
        if let Some((messages, error)) = refused {
            (0..messages).for_each(|_| self.shared.counters.cast_dropped(word(&error)));
            // An instance of the same name that starts later has another mailbox.
            (known.lobby, known.inlet) = (None, None);
        }
        self.waits_no_more(target, cost);
    }

    /// Casts that waited for room are refused: a later holder of the lease has acted meanwhile.
    fn turn_away(&mut self, target: usize, casts: usize, stale: &StaleToken) {
        let Some(Some(known)) = self.targets.get_mut(target) else { return };
        (0..casts).for_each(|_| self.shared.counters.cast_dropped("rejected"));
        known.refuse_stale(self.shared, &self.session.sender, casts, stale);
        let waited = known.waiting;
        self.waits_no_more(target, waited);
    }

    /// So much of what the sender paid is in the mailbox, or gone.
    fn waits_no_more(&mut self, target: usize, cost: u64) {
        let Some(Some(known)) = self.targets.get_mut(target) else { return };
        known.waiting -= cost;
        known.owe(self.session, cost);
        self.has_lent |= known.window.has_more_than_start();
        let before = std::mem::replace(&mut known.parked, known.waiting);
        self.parked = self.parked - before + known.parked;
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        if known.parked > before {
            self.session.parked.fetch_add(bytes(known.parked - before), Ordering::Relaxed);
        } else if before > known.parked {
            self.session.parked.fetch_sub(bytes(before - known.parked), Ordering::Relaxed);
        }
    }
}

impl Known {
    fn cast(
        &mut self,
        shared: &Shared,
        from: &RemoteSender,
        trace: Option<TraceId>,
        cost: u64,
        request: &[u8],
    ) -> Result<(), CallError> {
        if self.lobby.is_none() {
            self.lobby = Some(self.inlet(shared, from)?.lobby());
        }
        self.pass_gate(shared, from, |known| {
            let Some(lobby) = &mut known.lobby else { return Err(CallError::NoProc) };
            lobby.add(from, request, trace, u32::try_from(cost).unwrap_or(u32::MAX))
        })?;
        self.waiting += cost;
        Ok(())
    }

    fn call(&mut self, shared: &Shared, session: &Arc<Session>, call: u64, millis_left: u32, request: &[u8]) {
        let Some(answering) = Answering::begin(shared, session, call, millis_left) else { return };
        if self.lobby.as_ref().is_some_and(|lobby| !lobby.is_empty()) {
            // It would overtake what waits for room.
            return answering.answer(Err(CallError::MailboxFull));
        }
        let (from, mut answering) = (&session.sender, Some(answering));
        let found = self.inlet(shared, from).map(drop);
        let delivered = found.and_then(|()| {
            self.pass_gate(shared, from, |known| {
                let (Some(inlet), Some(answering)) = (&known.inlet, answering.take()) else {
                    return Err(CallError::NoProc);
                };
                inlet.deliver(from, request, Some(Box::new(move |result| answering.answer(result))))
            })
        });
        match (delivered, answering) {
            (Ok(()), _) => {}
            (Err(error), Some(answering)) => answering.answer(Err(error)),
            // The actor's side has answered.
            (Err(_), None) => {
                self.lobby = None; // nothing waits in it
                self.inlet = None; // an instance of the same name that starts later has another mailbox
            }
        }
    }

    /// Does `act`, where no later holder of the lease that it stands under has acted here.
    ///
    /// # Errors
    /// One has: nothing was done. Or what `act` says.
    fn pass_gate<T>(
        &mut self,
        shared: &Shared,
        from: &RemoteSender,
        act: impl FnOnce(&mut Self) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let Some(mut fenced) = self.fence.take() else { return act(self) };
        let gate = fenced.gate(shared, &self.path, from);
        let passed = gate.and_then(|gate| gate.pass(&fenced.fence, || act(self)));
        self.fence = Some(fenced);
        passed.unwrap_or_else(|stale| {
            self.refuse_stale(shared, from, 1, &stale);
            Err(stale.into())
        })
    }

    fn refuse_stale(&mut self, shared: &Shared, from: &RemoteSender, messages: usize, stale: &StaleToken) {
        (0..messages).for_each(|_| shared.counters.message_refused("fence"));
        if !std::mem::replace(&mut self.was_refused, true) {
            tracing::warn!(peer = %from.name, path = %self.path, %stale, "a message under a lease was refused");
        }
    }

    /// The way in. Once found it stays: a path's mailbox lives as long as the node's tree.
    ///
    /// # Errors
    /// There is none, the type is another one there, or the node may not send it. Nothing of the message was read.
    fn inlet(&mut self, shared: &Shared, from: &RemoteSender) -> Result<&Arc<dyn Inlet>, CallError> {
        let inlet = match self.inlet.take() {
            Some(inlet) => inlet,
            None => shared.inlet(&self.path).ok_or(CallError::NoProc)?,
        };
        let name = inlet.name();
        if name != self.type_name {
            return Err(CallError::Rejected(format!("{} takes {name}, not {}", self.path, self.type_name)));
        }
        if inlet.schema() != self.schema {
            shared.counters.message_refused("schema");
            return Err(CallError::Rejected(schemas::refusal(name)));
        }
        if !inlet.callers().may_send(from) {
            shared.counters.message_refused("role");
            if !std::mem::replace(&mut self.was_refused, true) {
                let (role, region, path) = (from.role, from.region, &self.path);
                tracing::warn!(peer = %from.name, %role, %region, %path, message = name, "not allowed: a message was refused");
            }
            return Err(not_allowed(from, &format!("send {name} to {}", self.path)));
        }
        Ok(self.inlet.insert(inlet))
    }

    /// So much of what the sender paid no longer waits.
    fn owe(&mut self, session: &Session, bytes: u64) {
        if let Some(give) = self.window.entered(bytes, self.waiting, &session.pool) {
            // It is what frees space, so an honest peer always has room for it.
            let given =
                session.replies.append(Urgency::Batched, REPLIES_BYTES_LAST, |out| put_credit(out, self.id, give));
            if given == Err(Refused::Full) {
                session.conduct().offend(Offence::Deaf);
            }
        }
    }

    fn take_back_idle_credit(&mut self, session: &Session) {
        if let Some(bytes) = self.window.take_back(&session.pool) {
            // What does not fit is taken back with the connection.
            let take_back = |out: &mut Vec<u8>| put_take_back(out, self.id, bytes);
            let _gone = session.replies.append(Urgency::Batched, REPLIES_BYTES_LAST, take_back);
        }
    }
}

/// What a node hears that asks for what its role may not do.
pub(crate) fn not_allowed(from: &RemoteSender, what: &str) -> CallError {
    CallError::Rejected(format!("not allowed: a {} in {} may not {what}", from.role, from.region))
}

/// A call of a peer that has not been answered. Dropping it answers `Gone`.
pub(crate) struct Answering {
    session: Weak<Session>,
    clock: Arc<dyn covenant_env::Clock>,
    call: u64,
    expires: Uptime,
    answered: bool,
}

impl Answering {
    /// A call came in. `None` where there are too many: that was answered.
    pub(crate) fn begin(shared: &Shared, session: &Arc<Session>, call: u64, millis_left: u32) -> Option<Self> {
        let expires = shared.env.now().after(Duration::from_millis(millis_left.into()));
        let clock = Arc::clone(&shared.env.clock);
        let answering = Self { session: Arc::downgrade(session), clock, call, expires, answered: false };
        if session.answering.fetch_add(1, Ordering::Relaxed) >= PENDING_CALLS_MAX {
            let why = format!("{PENDING_CALLS_MAX} calls of this node wait for an answer already");
            answering.answer(Err(CallError::Rejected(why)));
            return None;
        }
        Some(answering)
    }

    pub(crate) fn answer(mut self, result: Result<Vec<u8>, CallError>) {
        self.send(result);
    }

    fn send(&mut self, result: Result<Vec<u8>, CallError>) {
        self.answered = true;
        let Some(session) = self.session.upgrade() else { return };
        session.answering.fetch_sub(1, Ordering::Relaxed);
        if self.expires <= self.clock.now() {
            return;
        }
        let sent = match result {
            Ok(response) if response.len() + REPLY_HEADER_BYTES <= FRAME_BYTES_MAX => {
                let write = |out: &mut Vec<u8>| put_reply(out, self.call, &response);
                session.replies.append(Urgency::AtOnce, REPLIES_BYTES_MAX, write)
            }
            Ok(response) => {
                let why =
                    format!("a response of {} bytes, at most {FRAME_BYTES_MAX} cross the network", response.len());
                self.refuse(&session, &CallError::Rejected(why))
            }
            Err(error) => self.refuse(&session, &error),
        };
        if sent == Err(Refused::Full) {
            let why = "too many responses to this node wait to be sent".to_owned();
            let _gone = self.refuse(&session, &CallError::Rejected(why));
        }
    }

    /// Refusals are small, and an honest caller bounds their number: they always find room. One that calls on and reads
    /// nothing is told nothing any more.
    fn refuse(&self, session: &Session, error: &CallError) -> Result<(), Refused> {
        let refused =
            session.replies.append(Urgency::AtOnce, REPLIES_BYTES_LAST, |out| put_refusal(out, self.call, error));
        if refused == Err(Refused::Full) {
            session.conduct().offend(Offence::Deaf);
        }
        refused
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.answered {
            self.send(Err(CallError::Gone(ExitReason::Error("the request was dropped without a reply".to_owned()))));
        }
    }
}

/// What a frame has besides the response.
const REPLY_HEADER_BYTES: usize = 10;

fn word(error: &CallError) -> &'static str {
    match error {
        CallError::Timeout => "timeout",
        CallError::NoProc => "noproc",
        CallError::Gone(_) => "gone",
        CallError::MailboxFull => "mailbox_full",
        CallError::NoConnection => "noconnection",
        CallError::Rejected(_) => "rejected",
        CallError::Draining => "draining",
    }
}
