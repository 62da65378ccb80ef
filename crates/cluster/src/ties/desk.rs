//! Does what the [`TieBook`] decides: frames out, frames in, ends told.
//!
//! What is sent is sent under the book's lock, so that it leaves in the order in which it was decided. Whoever is told is told
//! after it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use covenant_runtime::{Abroad, DownReason, FarEnd, FarOrder, FarTie, NearEnd, Ordered, TooManyTies};
use covenant_transport::{CloseCode, RecvStream};
use covenant_types::{ActorPath, BootEpoch, CallError, Incarnation, NodeId, NodeName, Uptime};
use covenant_wire::FrameReader;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use super::book::{Effect, Standing as Seen, TieBook};
use super::frame::{Ask, CONTROL_FRAME_BYTES_MAX, TieFrame, Word, refused};
use super::monitor::MonitorRefused;
use super::orders::carry_out;
use crate::demand::{self, DEMAND_WAIT_MAX};
use crate::member::MemberState;
use crate::remoting::lane::{LANE_BYTES_MAX, Refused, Urgency};
use crate::remoting::receive::not_allowed;
use crate::session::{Session, Standing};
use crate::shared::Shared;

/// How much may wait on the control plane of a node that reads nothing, before its connection is closed.
const CONTROL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much of the control stream is read at once.
const READ_BYTES: usize = 16 * 1024;

type Book = TieBook<Near, NearEnd>;
type Effects = Vec<Effect<Near, NearEnd>>;

/// The ties of this node, and the connections that carry what is said of them.
#[derive(Default)]
pub(crate) struct Desk(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    book: Book,
    sessions: BTreeMap<NodeId, Arc<Session>>,
    ended: bool,
}

/// Who is told here of a tie that was asked for here.
#[derive(Debug)]
pub(crate) enum Near {
    Actor(NearEnd),
    Outside(oneshot::Sender<(Option<Incarnation>, DownReason)>),
}

impl Near {
    fn fire(self, incarnation: Option<Incarnation>, end: DownReason) {
        match self {
            Self::Actor(near) => near.fire(incarnation, end),
            // Who dropped the monitor does not want to know.
            Self::Outside(sender) => drop(sender.send((incarnation, end))),
        }
    }
}

impl Desk {
    /// Ties somebody here to an actor of another node. Where there is no connection it fires at once, unless the node said
    /// that it sleeps, or a connection can be had by asking.
    pub(crate) fn ask(
        &self,
        shared: &Arc<Shared>,
        node: &NodeName,
        path: &ActorPath,
        tie: FarTie,
        near: Near,
    ) -> Result<OurEnd, MonitorRefused> {
        let end = |node, id| OurEnd { shared: Arc::downgrade(shared), node, id };
        let session = shared.session_named(node).filter(|session| session.standing() == Standing::Open);
        let known = match &session {
            Some(session) => Some((session.sender.node, session.peer.info().epoch)),
            None => expected(shared, node),
        };
        let Some((id, epoch)) = known else {
            near.fire(None, DownReason::NoConnection);
            return Ok(end(NodeId([0; 16]), 0));
        };
        if session.is_some_and(|session| session.control.has(LANE_BYTES_MAX)) {
            return Err(MonitorRefused::Busy);
        }
        let mut asked = None;
        let mut over = None;
        self.act(shared, |inner| {
            if inner.ended {
                over = Some(near);
                return Vec::new();
            }
            match inner.book.ask(id, epoch, path.clone(), tie, near) {
                Ok((tie, effects)) => {
                    asked = Some(tie);
                    effects
                }
                Err(_) => Vec::new(),
            }
        });
        if let Some(near) = over {
            near.fire(None, DownReason::NoConnection);
            return Ok(end(id, 0));
        }
        asked.map(|tie| end(id, tie)).ok_or(MonitorRefused::TooMany)
    }

    /// A connection to a node stands. To be finished with [`Desk::perform`] once no lock is held.
    pub(crate) fn connected(&self, session: &Arc<Session>) -> Effects {
        self.decide(|inner| {
            if inner.ended {
                return Vec::new();
            }
            let node = session.sender.node;
            inner.sessions.insert(node, Arc::clone(session));
            inner.book.connected(node, session.peer.info().epoch)
        })
    }

    /// A connection is gone.
    pub(crate) fn disconnected(&self, session: &Arc<Session>) {
        let mut inner = self.lock();
        let node = session.sender.node;
        if inner.sessions.get(&node).is_some_and(|current| Arc::ptr_eq(current, session)) {
            inner.book.disconnected(node);
            let gone = inner.sessions.remove(&node);
            drop(inner);
            drop(gone); // after the lock
        }
    }

    /// The nodes that there are ties with.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.lock().book.nodes()
    }

    /// Looks at how a node stands.
    pub(crate) fn review(&self, shared: &Arc<Shared>, node: NodeId, seen: Seen, now: Uptime) {
        self.act(shared, |inner| inner.book.review(node, seen, now));
    }

    /// This node's part in the cluster ends: every tie fires.
    pub(crate) fn end(&self, shared: &Arc<Shared>) {
        let mut sessions = BTreeMap::new();
        self.act(shared, |inner| {
            inner.ended = true;
            sessions = std::mem::take(&mut inner.sessions);
            inner.book.end()
        });
    }

    fn hear(&self, shared: &Arc<Shared>, session: &Arc<Session>, frame: TieFrame) {
        if let Word::Order { order, millis_left, path } = frame.word {
            return carry_out(shared, session, frame.tie, order, millis_left, path);
        }
        self.act(shared, |inner| {
            let node = session.sender.node;
            let is_current = inner.sessions.get(&node).is_some_and(|current| Arc::ptr_eq(current, session));
            if is_current { inner.book.hear(node, frame) } else { Vec::new() }
        });
    }

    fn act(&self, shared: &Arc<Shared>, decide: impl FnOnce(&mut Inner) -> Effects) {
        let rest = self.decide(decide);
        self.perform(shared, rest);
    }

    /// Sends what is to be sent; the rest is for [`Desk::perform`].
    fn decide(&self, decide: impl FnOnce(&mut Inner) -> Effects) -> Effects {
        let mut inner = self.lock();
        let effects = decide(&mut inner);
        for effect in &effects {
            if let Effect::Send(node, frame) = effect
                && let Some(session) = inner.sessions.get(node)
            {
                // A lane that is gone says nothing more; the next connection begins with what holds.
                let _gone = session.control.append(Urgency::AtOnce, usize::MAX, |out| frame.put(out));
            }
        }
        effects
    }

    /// Tells who is to be told. No lock is held.
    pub(crate) fn perform(&self, shared: &Arc<Shared>, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Send(..) => {} // was sent
                Effect::Tell(near, incarnation, end) => near.fire(incarnation, end),
                Effect::Untie(Near::Actor(near)) | Effect::LetGo(near) => near.untie(),
                Effect::Untie(Near::Outside(_)) => {} // no link
                Effect::Fire(near, incarnation, end) => near.fire(incarnation, end),
                Effect::Hold(node, id, ask) => self.hold(shared, node, id, &ask),
            }
        }
    }

    fn hold(&self, shared: &Arc<Shared>, node: NodeId, id: u64, ask: &Ask) {
        let made = make(shared, node, id, ask);
        self.act(shared, |inner| match made {
            Ok((near, bound)) => inner.book.held(node, id, ask, near, bound),
            Err(end) => inner.book.not_held(node, id, end),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node without a connection that will have one, and its boot.
fn expected(shared: &Shared, name: &NodeName) -> Option<(NodeId, BootEpoch)> {
    let view = {
        let directory = shared.directory();
        directory.view(directory.named(name)?)?
    };
    let comes = view.state == MemberState::Asleep
        || (demand::can_be_reached(shared, name).is_some() && demand::demand(shared, view.id, DEMAND_WAIT_MAX));
    comes.then_some((view.id, view.epoch))
}

/// Makes this node's end of a tie that another asks for.
fn make(shared: &Arc<Shared>, node: NodeId, id: u64, ask: &Ask) -> Result<(NearEnd, Option<Incarnation>), DownReason> {
    let session = shared.session(node).ok_or(DownReason::NoConnection)?;
    let system = shared.system().ok_or(DownReason::NoProc)?;
    let from = &session.sender;
    if ask.tie != FarTie::Monitor && system.tree().find(&ask.path).is_some() {
        let may = shared.inlet(&ask.path).is_some_and(|inlet| inlet.callers().may_end(from));
        if !may {
            shared.counters.message_refused("role");
            tracing::warn!(peer = %from.name, role = %from.role, path = %ask.path, "not allowed: a link was refused");
            return Err(refused(&not_allowed(from, &format!("link with {}", ask.path)).to_string()));
        }
    }
    let end = Arc::new(TheirEnd { shared: Arc::downgrade(shared), node, id });
    system.tie_far(&ask.path, &from.name, ask.tie.clone(), end)
}

/// Reads what a peer says of ties until the stream ends.
pub(crate) async fn read_control(shared: Arc<Shared>, session: Arc<Session>, mut stream: RecvStream) {
    let mut frames = FrameReader::new(CONTROL_FRAME_BYTES_MAX);
    while let Ok(Some(chunk)) = stream.read_chunk(READ_BYTES).await {
        // Of the last connection nothing may come after the next one has begun.
        let Some(open) = session.hold_open() else { return };
        frames.push(&chunk);
        loop {
            let heard = match frames.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => TieFrame::parse(frame).ok_or(CloseCode::Malformed),
                Err(_) => Err(CloseCode::TooLarge),
            };
            // It asks and asks, and does not read what it is told.
            let heard = heard.and_then(|frame| {
                if session.control.has(CONTROL_BYTES_MAX) { Err(CloseCode::TooLarge) } else { Ok(frame) }
            });
            match heard {
                Ok(frame) => shared.ties.hear(&shared, &session, frame),
                Err(code) => {
                    drop(open);
                    return shared.refuse_stream(&session, &mut stream, code);
                }
            }
        }
        drop(open);
        consume_budget().await;
    }
}

/// The end of a tie of ours that the other node has.
pub(crate) struct OurEnd {
    shared: Weak<Shared>,
    node: NodeId,
    id: u64,
}

impl FarEnd for OurEnd {
    fn bound(&self, _: Incarnation) {} // who asks runs

    fn ended(&self, incarnation: Option<Incarnation>, reason: &DownReason) {
        if let Some(shared) = self.shared.upgrade() {
            shared.ties.act(&shared, |inner| inner.book.exited(self.node, self.id, incarnation, reason.clone()));
        }
    }

    fn untied(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.ties.act(&shared, |inner| inner.book.untie(self.node, self.id));
        }
    }
}

/// The end of a tie of theirs that the other node has.
struct TheirEnd {
    shared: Weak<Shared>,
    node: NodeId,
    id: u64,
}

impl TheirEnd {
    fn over(&self, word: Word) {
        if let Some(shared) = self.shared.upgrade() {
            shared.ties.act(&shared, |inner| inner.book.over(self.node, self.id, word));
        }
    }
}

impl FarEnd for TheirEnd {
    fn bound(&self, incarnation: Incarnation) {
        if let Some(shared) = self.shared.upgrade() {
            shared.ties.act(&shared, |inner| inner.book.bound(self.node, self.id, incarnation));
        }
    }

    fn ended(&self, incarnation: Option<Incarnation>, reason: &DownReason) {
        self.over(Word::Fired { incarnation, end: reason.clone() });
    }

    fn untied(&self) {
        self.over(Word::LetGo);
    }
}

/// The way to other nodes that a system is lent.
pub(crate) struct ToOthers {
    pub(crate) shared: Weak<Shared>,
    pub(crate) me: NodeName,
}

impl Abroad for ToOthers {
    fn me(&self) -> NodeName {
        self.me.clone()
    }

    fn tie(
        &self,
        node: &NodeName,
        path: &ActorPath,
        tie: FarTie,
        near: NearEnd,
    ) -> Result<Arc<dyn FarEnd>, TooManyTies> {
        let Some(shared) = self.shared.upgrade() else {
            near.fire(None, DownReason::NoConnection);
            return Ok(Arc::new(OurEnd { shared: Weak::new(), node: NodeId([0; 16]), id: 0 }));
        };
        let end = shared.ties.ask(&shared, node, path, tie, Near::Actor(near)).map_err(|_| TooManyTies)?;
        Ok(Arc::new(end))
    }

    fn order(&self, node: &NodeName, path: &ActorPath, order: FarOrder, within: Duration) -> Ordered {
        let answer = self.shared.upgrade().map(|shared| send_order(&shared, node, path, order, within));
        Box::pin(async move {
            let answer = answer.ok_or(CallError::NoConnection)??;
            match tokio::time::timeout(within, answer).await {
                Ok(answer) => answer.unwrap_or(Err(CallError::NoConnection)),
                Err(_) => Err(CallError::Timeout),
            }
        })
    }
}

fn send_order(
    shared: &Shared,
    node: &NodeName,
    path: &ActorPath,
    order: FarOrder,
    within: Duration,
) -> Result<oneshot::Receiver<Result<(), CallError>>, CallError> {
    let session = shared.session_named(node).filter(|session| session.standing() == Standing::Open);
    let session = session.ok_or(CallError::NoConnection)?;
    let (sender, answer) = oneshot::channel();
    let answered = Box::new(move |result: Result<&[u8], CallError>| drop(sender.send(result.map(drop))));
    let too_many = |_| CallError::Rejected("too many calls to the node wait for an answer already".to_owned());
    let call = session.pending.insert(session.clock.now().after(within), answered).map_err(too_many)?;
    let millis_left = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    let frame = TieFrame { tie: call, word: Word::Order { order, millis_left, path: path.clone() } };
    match session.control.append(Urgency::AtOnce, LANE_BYTES_MAX, |out| frame.put(out)) {
        Ok(()) => Ok(answer),
        Err(refused) => {
            drop(session.pending.take(call));
            Err(match refused {
                Refused::Full => CallError::MailboxFull,
                Refused::Closed => CallError::NoConnection,
            })
        }
    }
}
