//! The sending side: what a `Ref` to an actor on another node holds.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use covenant_runtime::{
    Answered, CAST_WAIT_MAX, Deadlines, Declared, Encode, Outlet, Remotable, RemoteSender, Resolver, Sending, System,
    Way, answered, current_trace,
};
use covenant_types::{ActorPath, CallError, Fence, NodeId, NodeName, TraceId};

use crate::demand::{self, DEMAND_WAIT_MAX};
use crate::mail;
use crate::remoting::credit::Target;
use crate::remoting::frame::{FRAME_BYTES_MAX, put_call, put_cast, put_name};
use crate::remoting::lane::{LANE_BYTES_MAX, Refused, Urgency};
use crate::remoting::pending::PENDING_CALLS_MAX;
use crate::schemas;
use crate::session::{Session, Standing};
use crate::shared::Shared;

/// The way to one actor on one node for messages of one type.
pub(crate) struct RemoteOutlet<M> {
    line: Line,
    of: PhantomData<fn(M)>,
}

/// The same for messages that were taken apart already. Finds the node's connection anew whenever the one it knew is gone.
pub(crate) struct Line {
    shared: Weak<Shared>,
    deadlines: Arc<Deadlines>,
    node: NodeName,
    path: ActorPath,
    route: ArcSwapOption<Route>,
    message: Declared,
    /// The lease that all is sent under.
    fence: Option<Fence>,
}

/// A connection and the actor's id on it.
#[derive(Debug)]
struct Route {
    session: Weak<Session>,
    target: Arc<Target>,
}

/// What a message becomes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Cast,
    Call { id: u64, millis_left: u32 },
}

/// What a message has to wait for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Credit,
    Space,
}

/// A message on its way into a lane.
struct Outgoing<R> {
    session: Arc<Session>,
    target: Arc<Target>,
    kind: Kind,
    trace: Option<TraceId>,
    /// Of the lease that it is sent under.
    token: Option<u64>,
    request: R,
}

impl<M: Remotable> RemoteOutlet<M> {
    pub(crate) fn new(shared: &Arc<Shared>, node: NodeName, path: ActorPath, fence: Option<Fence>) -> Self {
        let line = Line::new(shared, node, path, shared.declare::<M>());
        Self { line: Line { fence, ..line }, of: PhantomData }
    }
}

impl Line {
    pub(crate) fn new(shared: &Arc<Shared>, node: NodeName, path: ActorPath, message: Declared) -> Self {
        let deadlines = Arc::clone(&shared.deadlines);
        let shared = Arc::downgrade(shared);
        Self { shared, deadlines, node, path, route: ArcSwapOption::empty(), message, fence: None }
    }

    fn route(&self) -> Result<(Arc<Session>, Arc<Target>), CallError> {
        if let Some(route) = &*self.route.load()
            && let Some(session) = route.session.upgrade()
        {
            match session.standing() {
                Standing::Open => return Ok((session, Arc::clone(&route.target))),
                Standing::Suspended => return Err(CallError::NoConnection),
                Standing::Closed => {}
            }
        }
        let shared = self.shared.upgrade().ok_or(CallError::NoConnection)?;
        let session = shared.session_named(&self.node).ok_or(CallError::NoConnection)?;
        if session.standing() != Standing::Open {
            return Err(CallError::NoConnection);
        }
        if session.schemas.differs(self.message) {
            return Err(CallError::Rejected(schemas::refusal(self.message.name)));
        }
        let target = session
            .target(&self.path, self.message, self.fence.as_ref().map(|fence| &fence.key))
            .ok_or_else(|| CallError::Rejected(format!("too many actors of {} are in use from here", self.node)))?;
        self.route.store(Some(Arc::new(Route { session: Arc::downgrade(&session), target: Arc::clone(&target) })));
        Ok((session, target))
    }

    fn begin<R>(
        &self,
        route: Result<(Arc<Session>, Arc<Target>), CallError>,
        request: R,
        answer: Option<Answered>,
        deadline: Duration,
    ) -> Result<Outgoing<R>, CallError> {
        let (session, target) = match route {
            Ok(route) => route,
            Err(error) => {
                if let Some(answer) = answer {
                    answer(Err(error.clone()));
                }
                return Err(error);
            }
        };
        let kind = match answer {
            None => Kind::Cast,
            Some(answer) => {
                let expires = session.clock.now().after(deadline);
                let id = session.pending.insert(expires, answer).map_err(|answer| {
                    let why = format!("{PENDING_CALLS_MAX} calls to {} wait for an answer already", self.node);
                    answer(Err(CallError::Rejected(why.clone())));
                    CallError::Rejected(why)
                })?;
                Kind::Call { id, millis_left: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX) }
            }
        };
        let token = self.fence.as_ref().map(|fence| fence.token);
        Ok(Outgoing { session, target, kind, trace: current_trace(), token, request })
    }

    fn dispatch<R: Encode + 'static>(
        &self,
        request: R,
        answer: Option<Answered>,
        deadline: Option<Duration>,
    ) -> Sending {
        let route = self.route();
        if let (Err(CallError::NoConnection), None) = (&route, &answer)
            && let Some(posted) = self.post(&request)
        {
            return Sending::Done(posted);
        }
        match self.way_to_be_made(&route) {
            Some(way) => self.send_once_connected(way, request, answer, deadline),
            None => self.send_by(route, request, answer, deadline),
        }
    }

    /// Has a cast kept for a node that sleeps. `None` where it does not.
    fn post(&self, request: &impl Encode) -> Option<Result<(), CallError>> {
        let shared = self.shared.upgrade()?;
        let sleeper = mail::sleeper(&shared, &self.node)?;
        let mut bytes = Vec::new();
        request.encode_into(&mut bytes);
        let fence = self.fence.clone();
        Some(mail::post(&shared, sleeper, &self.path, self.message, fence, current_trace(), bytes))
    }

    /// The node, where there is no connection to it but one is on its way now.
    fn way_to_be_made(&self, route: &Result<(Arc<Session>, Arc<Target>), CallError>) -> Option<NodeId> {
        let shared = match route {
            Err(CallError::NoConnection) => self.shared.upgrade()?,
            Ok(_) | Err(_) => return None,
        };
        let id = demand::can_be_reached(&shared, &self.node)?;
        demand::demand(&shared, id, DEMAND_WAIT_MAX).then_some(id)
    }

    fn send_once_connected<R: Encode + 'static>(
        &self,
        to: NodeId,
        request: R,
        answer: Option<Answered>,
        deadline: Option<Duration>,
    ) -> Sending {
        let line = Self {
            shared: Weak::clone(&self.shared),
            deadlines: Arc::clone(&self.deadlines),
            node: self.node.clone(),
            path: self.path.clone(),
            route: ArcSwapOption::empty(),
            message: self.message,
            fence: self.fence.clone(),
        };
        Sending::Waits(Box::pin(async move {
            let mut left = deadline;
            if let Some(shared) = line.shared.upgrade() {
                let began = shared.env.now();
                let within = deadline.map_or(DEMAND_WAIT_MAX, |deadline| deadline.min(DEMAND_WAIT_MAX));
                demand::reach(&shared, to, within).await;
                left = deadline.map(|deadline| deadline.saturating_sub(shared.env.now().since(began)));
            }
            match line.send_by(line.route(), request, answer, left) {
                Sending::Done(result) => result,
                Sending::Waits(turn) => turn.await,
            }
        }))
    }

    fn send_by<R: Encode + 'static>(
        &self,
        route: Result<(Arc<Session>, Arc<Target>), CallError>,
        request: R,
        answer: Option<Answered>,
        deadline: Option<Duration>,
    ) -> Sending {
        let mut outgoing = match self.begin(route, request, answer, deadline.unwrap_or(REPLY_WAIT_MAX)) {
            Ok(outgoing) => outgoing,
            Err(error) => return Sending::Done(Err(error)),
        };
        match outgoing.try_send() {
            Ok(result) => Sending::Done(outgoing.finish(result)),
            Err(wait) => {
                outgoing.session.counters.waits.increment(1);
                Sending::Waits(Box::pin(async move {
                    let bound = deadline.unwrap_or(CAST_WAIT_MAX);
                    let sent = tokio::time::timeout(bound, outgoing.send_after(wait)).await;
                    let gave_up = match outgoing.kind {
                        Kind::Cast => CallError::MailboxFull,
                        Kind::Call { .. } => CallError::Timeout,
                    };
                    outgoing.finish(sent.unwrap_or(Err(gave_up)))
                }))
            }
        }
    }
}

impl<M: Remotable> Outlet<M> for RemoteOutlet<M> {
    fn send(&self, message: M, deadline: Option<Duration>) -> Sending {
        let (request, reply) = message.into_remote();
        self.line.dispatch(request, reply.map(answered::<M>), deadline)
    }

    fn deadlines(&self) -> Option<&Deadlines> {
        Some(&self.line.deadlines)
    }
}

impl Way for Line {
    fn send(&self, request: Box<dyn Encode>, reply: Option<Answered>, deadline: Option<Duration>) -> Sending {
        self.dispatch(Boxed(request), reply, deadline)
    }

    fn deadlines(&self) -> Option<&Deadlines> {
        Some(&self.deadlines)
    }
}

/// A request of a type that is not known here.
struct Boxed(Box<dyn Encode>);

impl Encode for Boxed {
    fn encode_into(&self, out: &mut Vec<u8>) {
        (*self.0).encode_into(out);
    }
}

impl<R: Encode> Outgoing<R> {
    /// Appends the message to its lane, or says what it has to wait for.
    fn try_send(&self) -> Result<Result<(), CallError>, Wait> {
        if self.session.standing() != Standing::Open {
            return Ok(Err(CallError::NoConnection));
        }
        let urgency = match self.kind {
            // Calls pay nothing: their number is bounded, and the answer says so where the mailbox is full.
            Kind::Call { .. } => Urgency::AtOnce,
            Kind::Cast if self.target.has_credit() => Urgency::Batched,
            Kind::Cast => return Err(Wait::Credit),
        };
        let lane = self.session.lane(&self.target);
        match lane.append(urgency, LANE_BYTES_MAX, |buffer| self.encode(buffer)) {
            Ok(result) => Ok(result),
            Err(Refused::Closed) => Ok(Err(CallError::NoConnection)),
            Err(Refused::Full) => Err(Wait::Space),
        }
    }

    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), CallError> {
        if self.target.must_be_named(self.token)? {
            let Target { id, path, message, .. } = &*self.target;
            let fence = self.target.fence(self.token);
            put_name(buffer, *id, message.schema, fence.as_ref(), path, message.name);
        }
        let start = buffer.len();
        let length = match self.kind {
            Kind::Cast => put_cast(buffer, self.target.id, self.trace, &self.request),
            Kind::Call { id, millis_left } => {
                put_call(buffer, self.target.id, id, millis_left, self.trace, &self.request)
            }
        };
        if length > FRAME_BYTES_MAX {
            buffer.truncate(start);
            let why = format!("a message of {length} bytes, at most {FRAME_BYTES_MAX} cross the network");
            return Err(CallError::Rejected(why));
        }
        if matches!(self.kind, Kind::Cast) {
            self.target.pay(length);
        }
        Ok(())
    }

    /// Takes `self` for itself because a request need not be shareable.
    async fn send_after(&mut self, mut wait: Wait) -> Result<(), CallError> {
        let (session, target) = (Arc::clone(&self.session), Arc::clone(&self.target));
        let lane = session.lane(&target);
        loop {
            match wait {
                Wait::Credit => target.available().await,
                Wait::Space => lane.space().await,
            }
            let tried = self.try_send();
            // Whoever was woken wakes the next, who finds out for itself whether there is enough for it too.
            match (wait, &tried) {
                (Wait::Credit, Ok(_) | Err(Wait::Space)) => target.pass_on(),
                (Wait::Space, Ok(_) | Err(Wait::Credit)) => lane.pass_on(),
                (Wait::Credit, Err(Wait::Credit)) | (Wait::Space, Err(Wait::Space)) => {}
            }
            match tried {
                Ok(result) => return result,
                Err(next) => wait = next,
            }
        }
    }

    /// A call that could not be sent is no longer under way.
    fn finish(&self, result: Result<(), CallError>) -> Result<(), CallError> {
        if let (Kind::Call { id, .. }, Err(error)) = (self.kind, &result)
            && let Some(answer) = self.session.pending.take(id)
        {
            answer(Err(error.clone()));
        }
        result
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({}:{})", self.node, self.path)
    }
}

/// What this node knows that reads a message of another.
pub(crate) struct Reader {
    shared: Weak<Shared>,
    me: NodeName,
    sender: RemoteSender,
}

impl Reader {
    pub(crate) fn resolver(shared: &Arc<Shared>, sender: RemoteSender) -> Arc<dyn Resolver> {
        let me = shared.own_record().name;
        Arc::new(Self { shared: Arc::downgrade(shared), me, sender })
    }
}

impl Resolver for Reader {
    fn me(&self) -> &NodeName {
        &self.me
    }

    fn sender(&self) -> &RemoteSender {
        &self.sender
    }

    fn system(&self) -> Option<System> {
        self.shared.upgrade()?.system()
    }

    fn way(&self, node: &NodeName, path: &ActorPath, message: Declared) -> Option<Arc<dyn Way>> {
        Some(Arc::new(Line::new(&self.shared.upgrade()?, node.clone(), path.clone(), message)))
    }
}

/// How long a message that wants an answer but names no deadline may wait for it.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(60);
