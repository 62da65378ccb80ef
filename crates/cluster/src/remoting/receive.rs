//! The receiving side: from a stream into mailboxes, and from answers into calls.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use covenant_runtime::{Inlet, with_trace};
use covenant_transport::{CloseCode, RecvStream};
use covenant_types::{ActorPath, CallError, ExitReason, TraceId, Uptime};
use covenant_wire::FrameReader;
use tokio::sync::mpsc;
use tokio::task::coop::consume_budget;

use crate::remoting::credit::{CREDIT_BYTES, GIVE_BACK_BYTES, cost};
use crate::remoting::frame::{
    ActorFrame, FRAME_BYTES_MAX, ReplyFrame, TRACE_BYTES, put_credit, put_refusal, put_reply,
};
use crate::remoting::lane::{Refused, Urgency};
use crate::remoting::pending::PENDING_CALLS_MAX;
use crate::remoting::watch::{Asked, NEVER, WATCH};
use crate::session::{Session, Standing};
use crate::shared::Shared;

/// How much is read from a stream at once.
const READ_BYTES: usize = 64 * 1024;
/// How much of one node's casts may be parked.
const PARKED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How soon a full mailbox is tried again, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(1);
const RETRY_MAX: Duration = Duration::from_millis(20);
/// How many bytes of answers may wait for the reply stream before further ones are replaced by a refusal.
const REPLIES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads one lane of a peer's messages until the stream ends.
pub(crate) async fn read_messages(shared: Arc<Shared>, session: Arc<Session>, mut stream: RecvStream) {
    let mut lane = Inbox { shared: &shared, session: &session, targets: Vec::new(), parked: BTreeSet::new(), bytes: 0 };
    let mut frames = FrameReader::new(FRAME_BYTES_MAX);
    let mut retry = RETRY_MIN;
    loop {
        let chunk = if lane.parked.is_empty() {
            stream.read_chunk(READ_BYTES).await
        } else {
            let read = tokio::select! {
                biased;
                () = tokio::time::sleep(retry) => None,
                chunk = stream.read_chunk(READ_BYTES) => Some(chunk),
            };
            let progress = lane.retry_parked();
            retry = if progress { RETRY_MIN } else { (retry * 2).min(RETRY_MAX) };
            match read {
                Some(chunk) => chunk,
                None => continue,
            }
        };
        let Ok(Some(chunk)) = chunk else { return };
        frames.push(&chunk);
        loop {
            match frames.next_frame() {
                Ok(None) => break,
                // What the last connection brought must not mix with what the next one brings.
                Ok(Some(_)) if session.standing() == Standing::Closed => return,
                Ok(Some(frame)) => {
                    if lane.frame(frame).is_none() {
                        return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed);
                    }
                }
                Err(_) => return shared.refuse_stream(&session, &mut stream, CloseCode::TooLarge),
            }
        }
        // A lane that is never empty would keep the thread for itself.
        consume_budget().await;
    }
}

/// Reads a peer's answers and credit until the stream ends.
pub(crate) async fn read_replies(shared: Arc<Shared>, session: Arc<Session>, mut stream: RecvStream) {
    let mut frames = FrameReader::new(FRAME_BYTES_MAX);
    while let Ok(Some(chunk)) = stream.read_chunk(READ_BYTES).await {
        frames.push(&chunk);
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
                    None => return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed),
                },
                Err(_) => return shared.refuse_stream(&session, &mut stream, CloseCode::TooLarge),
            }
        }
        consume_budget().await;
    }
}

/// The reading end of one lane.
struct Inbox<'a> {
    shared: &'a Shared,
    session: &'a Arc<Session>,
    targets: Vec<Option<Box<Known>>>,
    /// Targets with messages that found the mailbox full.
    parked: BTreeSet<usize>,
    /// How much is parked here.
    bytes: usize,
}

impl Drop for Inbox<'_> {
    fn drop(&mut self) {
        self.session.parked.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An actor of ours that the peer gave an id.
struct Known {
    id: u32,
    path: ActorPath,
    type_name: String,
    inlet: Option<Arc<dyn Inlet>>,
    parked: VecDeque<(Option<TraceId>, Vec<u8>)>,
    parked_bytes: usize,
    /// Credit to give back.
    owed: u64,
}

impl Inbox<'_> {
    /// Handles one frame; `None` if it is not one an honest peer sends.
    fn frame(&mut self, frame: &[u8]) -> Option<()> {
        match ActorFrame::parse(frame)? {
            ActorFrame::Name { id, path, type_name } => self.name(id, path, type_name),
            ActorFrame::Cast { to, trace, request } => {
                self.cast(usize::try_from(to).ok()?, frame.len(), trace, request)
            }
            ActorFrame::Call { to, call, millis_left, trace, request } => {
                self.shared.counters.calls_received.increment(1);
                let known = self.targets.get_mut(usize::try_from(to).ok()?)?.as_mut()?;
                with_trace(trace, || known.call(self.shared, self.session, call, millis_left, request));
                Some(())
            }
        }
    }

    fn name(&mut self, id: u32, path: ActorPath, type_name: &str) -> Option<()> {
        let index = usize::try_from(id).ok()?;
        if self.targets.len() <= index {
            self.targets.resize_with(index + 1, || None);
        }
        let slot = &mut self.targets[index];
        if slot.is_some() {
            return None;
        }
        let type_name = type_name.to_owned();
        let known = Known { id, path, type_name, inlet: None, parked: VecDeque::new(), parked_bytes: 0, owed: 0 };
        *slot = Some(Box::new(known));
        Some(())
    }

    fn cast(&mut self, to: usize, frame_bytes: usize, trace: Option<TraceId>, request: &[u8]) -> Option<()> {
        self.shared.counters.casts_received.increment(1);
        let known = self.targets.get_mut(to)?.as_mut()?;
        if known.type_name == WATCH {
            // Costs no credit: there are no more of these than of watches.
            let call = covenant_wire::decode(request, size_of::<u64>() * 2).ok()?;
            let _full = self.session.desk.try_send(Asked::Withdraw(call));
            return Some(());
        }
        // Behind what is parked already, or it would overtake.
        let delivered = if known.parked.is_empty() {
            known.cast(self.shared, self.session, trace, request)
        } else {
            Err(CallError::MailboxFull)
        };
        match delivered {
            Ok(()) => known.owe(self.session, cost(frame_bytes)),
            Err(CallError::MailboxFull) => {
                let beyond_credit = known.parked_bytes > CREDIT_BYTES as usize + FRAME_BYTES_MAX;
                if beyond_credit || self.session.parked.load(Ordering::Relaxed) > PARKED_BYTES_MAX {
                    self.shared.counters.cast_dropped("parked");
                    known.owe(self.session, cost(frame_bytes));
                } else {
                    known.parked.push_back((trace, request.to_vec()));
                    known.parked_bytes += request.len();
                    self.bytes += request.len();
                    self.session.parked.fetch_add(request.len(), Ordering::Relaxed);
                    self.parked.insert(to);
                }
            }
            Err(error) => {
                self.shared.counters.cast_dropped(word(&error));
                known.owe(self.session, cost(frame_bytes));
            }
        }
        Some(())
    }

    /// Tries the full mailboxes again. True when one took something.
    fn retry_parked(&mut self) -> bool {
        let mut progress = false;
        let waiting: Vec<usize> = self.parked.iter().copied().collect();
        for index in waiting {
            let Some(known) = self.targets[index].as_mut() else { continue };
            while let Some((trace, request)) = known.parked.pop_front() {
                match known.cast(self.shared, self.session, trace, &request) {
                    Err(CallError::MailboxFull) => {
                        known.parked.push_front((trace, request));
                        break;
                    }
                    Ok(()) => {}
                    Err(error) => self.shared.counters.cast_dropped(word(&error)),
                }
                progress = true;
                known.parked_bytes -= request.len();
                self.bytes -= request.len();
                self.session.parked.fetch_sub(request.len(), Ordering::Relaxed);
                let trace_bytes = if trace.is_some() { TRACE_BYTES } else { 0 };
                known.owe(self.session, cost(request.len() + CAST_HEADER_BYTES + trace_bytes));
            }
            if known.parked.is_empty() {
                self.parked.remove(&index);
            }
        }
        progress
    }
}

impl Known {
    fn cast(
        &mut self,
        shared: &Shared,
        session: &Session,
        trace: Option<TraceId>,
        request: &[u8],
    ) -> Result<(), CallError> {
        let inlet = self.inlet(shared)?;
        with_trace(trace, || inlet.deliver(&session.sender, request, None))
    }

    fn call(&mut self, shared: &Shared, session: &Arc<Session>, call: u64, millis_left: u32, request: &[u8]) {
        let expires = shared.env.now().after(Duration::from_millis(millis_left.into()));
        let clock = Arc::clone(&shared.env.clock);
        let answering = Answering { session: Arc::downgrade(session), clock, call, expires, answered: false };
        if session.answering.fetch_add(1, Ordering::Relaxed) >= PENDING_CALLS_MAX {
            let why = format!("{PENDING_CALLS_MAX} calls of this node wait for an answer already");
            return answering.answer(Err(CallError::Rejected(why)));
        }
        if self.type_name == WATCH {
            return self.watch(shared, session, answering);
        }
        match self.inlet(shared) {
            Ok(inlet) => {
                let reply = Box::new(move |result| answering.answer(result));
                // The reply is answered whatever this returns.
                let _answered = inlet.deliver(&session.sender, request, Some(reply));
            }
            Err(error) => answering.answer(Err(error)),
        }
    }

    fn watch(&self, shared: &Shared, session: &Session, mut answering: Answering) {
        answering.expires = NEVER;
        let Some(monitor) = shared.monitor(&self.path) else {
            return answering.answer(Err(CallError::NoProc));
        };
        if let Err(mpsc::error::TrySendError::Full(Asked::Watch(_, answering))) =
            session.desk.try_send(Asked::Watch(monitor, answering))
        {
            answering.answer(Err(CallError::Rejected("too many monitors wait to be taken up".to_owned())));
        }
    }

    /// The way in. Once found it stays: a path's mailbox lives as long as the node's tree.
    fn inlet(&mut self, shared: &Shared) -> Result<&Arc<dyn Inlet>, CallError> {
        let inlet = match self.inlet.take() {
            Some(inlet) => inlet,
            None => shared.inlet(&self.path).ok_or(CallError::NoProc)?,
        };
        let name = inlet.name();
        if name != self.type_name {
            return Err(CallError::Rejected(format!("{} takes {name}, not {}", self.path, self.type_name)));
        }
        Ok(self.inlet.insert(inlet))
    }

    fn owe(&mut self, session: &Session, bytes: u64) {
        self.owed += bytes;
        if self.owed >= GIVE_BACK_BYTES {
            let owed = std::mem::take(&mut self.owed);
            // Never refused for want of space: it is what frees space.
            let _gone = session.replies.append(Urgency::Batched, usize::MAX, |out| put_credit(out, self.id, owed));
        }
    }
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
    /// Which call it is.
    pub(crate) fn call(&self) -> u64 {
        self.call
    }

    pub(crate) fn answer(mut self, result: Result<Vec<u8>, CallError>) {
        self.send(result);
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn withdraw(mut self) {
        self.answered = true;
        if let Some(session) = self.session.upgrade() {
            session.answering.fetch_sub(1, Ordering::Relaxed);
        }
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

    /// Refusals are small, and the caller bounds their number: they always find room.
    fn refuse(&self, session: &Session, error: &CallError) -> Result<(), Refused> {
        session.replies.append(Urgency::AtOnce, usize::MAX, |out| put_refusal(out, self.call, error))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.answered {
            self.send(Err(CallError::Gone(ExitReason::Error("the request was dropped without a reply".to_owned()))));
        }
    }
}

/// What a frame has besides the request or response.
const CAST_HEADER_BYTES: usize = 6;
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
