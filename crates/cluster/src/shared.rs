//! What the parts of a node's cluster share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use covenant_env::Env;
use covenant_membership::Topology;
use covenant_runtime::{DECLARED_MAX, Deadlines, Declared, Entries, Inlet, Remotable, System};
use covenant_transport::{CloseCode, NodeCredentials, Peer, RecvStream, Transport};
use covenant_types::{ActorPath, Name, NodeId, NodeName};
use tokio::sync::{Notify, OwnedSemaphorePermit, broadcast, mpsc, oneshot};

use crate::conduct::{ConductBook, Misbehaving};
use crate::counters::Counters;
use crate::demand::Demands;
use crate::directory::Directory;
use crate::links::LinkView;
use crate::mail_room::{MailRoom, Taken};
use crate::member::MemberEvent;
use crate::placement::Gates;
use crate::presence::keeper::PresenceDesk;
use crate::rebirth::EpochKeeper;
use crate::record::{NodeRecord, SignedRecord};
use crate::session::{InboxShare, Session};
use crate::ties::desk::Desk;
use crate::ties::orders::{OrderLog, Underway};
use crate::{BulkHandler, ConsensusHandler};

/// What the driver is told.
pub(crate) enum Input {
    /// A membership datagram, by datagram or by feed.
    Datagram { from: NodeId, data: Bytes, share: InboxShare },
    /// What another node's membership core made.
    Members { from: NodeId, data: Bytes },
    /// Records whose signatures were checked.
    Records { from: NodeId, records: Vec<SignedRecord> },
    /// What the sender's directory comes to.
    Digest { from: NodeId, digest: u64 },
    /// The same in buckets, and whether ours are wanted.
    Summary { from: NodeId, answer: bool, buckets: Vec<u64> },
    /// `asker` wants to be dialled by `target`.
    Seek { from: NodeId, target: NodeId, asker: NodeId },
    /// One of the others, from a feed stream, and its place among those of its sender.
    Fed(Box<Input>, OwnedSemaphorePermit),
    /// Fall silent but stay a member, and tell when that was said.
    Sleep(oneshot::Sender<()>),
    /// Take part again after sleep.
    Wake,
    /// Say goodbye, and tell when that was said.
    Leave(oneshot::Sender<()>),
}

/// What the parts of a node's cluster share.
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    /// How the cluster is laid out.
    pub(crate) topology: Topology,
    pub(crate) env: Env,
    /// What this node proves itself with, and who is denied.
    pub(crate) credentials: Arc<NodeCredentials>,
    /// Where a raised boot epoch is kept. Without one it is not raised.
    pub(crate) epochs: Option<Arc<dyn EpochKeeper>>,
    pub(crate) counters: Arc<Counters>,
    /// Of calls to other nodes.
    pub(crate) deadlines: Arc<Deadlines>,
    pub(crate) inbox: mpsc::Sender<Input>,
    pub(crate) events: broadcast::Sender<MemberEvent>,
    /// Rung when a connection came or went. Tells the driver.
    pub(crate) sessions_changed: Notify,
    /// Rung when this node's own record is another.
    pub(crate) own_changed: Notify,
    /// Rung when a peer says that it holds this node's own record.
    pub(crate) heard: Notify,
    /// What this node says of itself.
    own: Mutex<NodeRecord>,
    /// Rung when somebody new may have to be dialled. Tells the dialer.
    pub(crate) wanted_changed: Notify,
    /// Nodes to be dialled because somebody here wants to reach them.
    pub(crate) demands: Demands,
    /// Tells all who wait for a connection that one has come.
    pub(crate) arrived: Notify,
    /// How long a connection that is kept for nothing but messages may carry none.
    pub(crate) idle_close: Duration,
    /// The number of the next letter to a sleeper.
    pub(crate) letters: AtomicU64,
    /// What this node, as a hub, keeps for members that sleep.
    mail_room: Mutex<MailRoom>,
    /// Which letters this node has had.
    taken_mail: Mutex<Taken>,
    transport: Mutex<Option<Transport>>,
    sessions: RwLock<Sessions>,
    /// Monitors and links with actors of other nodes.
    pub(crate) ties: Desk,
    directory: RwLock<Directory>,
    conduct: Mutex<ConductBook>,
    system: RwLock<Option<System>>,
    /// The message types that this node sends.
    sent: Mutex<BTreeMap<&'static str, Declared>>,
    bulk: RwLock<Option<Arc<dyn BulkHandler>>>,
    consensus: RwLock<Option<ConsensusHandler>>,
    order_log: RwLock<Option<Arc<dyn OrderLog>>>,
    /// Orders of other nodes that are carried out.
    pub(crate) orders: Underway,
    links: Mutex<BTreeMap<NodeId, LinkView>>,
    /// Names and groups of all nodes.
    pub(crate) presence: PresenceDesk,
    /// Tokens of leases that messages to this node's actors carried.
    pub(crate) gates: Gates,
}

#[derive(Default)]
struct Sessions {
    by_id: BTreeMap<NodeId, Arc<Session>>,
    /// Names as certificates prove them.
    by_name: BTreeMap<NodeName, NodeId>,
    ended: bool,
}

impl Shared {
    pub(crate) fn new(
        env: Env,
        (topology, idle_close): (Topology, Duration),
        record: NodeRecord,
        (credentials, epochs): (Arc<NodeCredentials>, Option<Arc<dyn EpochKeeper>>),
        inbox: mpsc::Sender<Input>,
        events_max: usize,
        presence: PresenceDesk,
    ) -> Self {
        let own = SignedRecord::sign(record.clone(), credentials.key());
        let orders = Underway::new(env.system.clone());
        Self {
            me: record.id,
            topology,
            own_changed: Notify::new(),
            heard: Notify::new(),
            own: Mutex::new(record),
            credentials,
            epochs,
            counters: Arc::new(Counters::new(env.metrics.clone())),
            deadlines: Deadlines::new(Arc::clone(&env.clock)),
            env,
            inbox,
            events: broadcast::Sender::new(events_max),
            sessions_changed: Notify::new(),
            wanted_changed: Notify::new(),
            demands: Demands::default(),
            arrived: Notify::new(),
            idle_close,
            letters: AtomicU64::new(1),
            mail_room: Mutex::default(),
            taken_mail: Mutex::default(),
            transport: Mutex::new(None),
            sessions: RwLock::default(),
            ties: Desk::default(),
            directory: RwLock::new(Directory::new(own)),
            conduct: Mutex::default(),
            system: RwLock::new(None),
            sent: Mutex::default(),
            bulk: RwLock::new(None),
            consensus: RwLock::new(None),
            order_log: RwLock::new(None),
            orders,
            links: Mutex::default(),
            presence,
            gates: Gates::default(),
        }
    }

    /// Changes what this node says of itself, and has it told to all. Returns the number of the new record.
    pub(crate) fn republish(&self, change: impl FnOnce(&mut NodeRecord)) -> u64 {
        let mut own = lock(&self.own);
        change(&mut own);
        own.sequence += 1;
        let signed = SignedRecord::sign(own.clone(), self.credentials.key());
        // Under the lock, so that an older one never comes after a newer one.
        self.directory_mut().set_own(signed);
        self.own_changed.notify_one();
        own.sequence
    }

    /// Whether this node sleeps: it dials nobody.
    pub(crate) fn is_asleep(&self) -> bool {
        lock(&self.own).phase.is_asleep()
    }

    /// What this node says of itself.
    pub(crate) fn own_record(&self) -> NodeRecord {
        lock(&self.own).clone()
    }

    /// Those to whom this node keeps a connection.
    pub(crate) fn warm(&self) -> BTreeSet<NodeId> {
        let place = self.own_record().place();
        let neighbours = self.directory().neighbours();
        self.topology.warm(self.me, &place, &neighbours)
    }

    pub(crate) fn mail_room(&self) -> MutexGuard<'_, MailRoom> {
        lock(&self.mail_room)
    }

    pub(crate) fn taken_mail(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken_mail)
    }

    pub(crate) fn set_transport(&self, transport: Transport) {
        *lock(&self.transport) = Some(transport);
    }

    /// The transport, until this node's part in the cluster ends.
    pub(crate) fn transport(&self) -> Option<Transport> {
        lock(&self.transport).clone()
    }

    pub(crate) fn take_transport(&self) -> Option<Transport> {
        lock(&self.transport).take()
    }

    pub(crate) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        read(&self.directory)
    }

    pub(crate) fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        write(&self.directory)
    }

    /// Begins the session of a connection; ends that of an older connection to the same node.
    ///
    /// One that is shunned gets none: its connection stands and nothing on it is heard.
    pub(crate) fn open_session(self: &Arc<Self>, peer: &Peer) {
        let info = peer.info();
        if self.is_shunned(info.id) {
            tracing::info!(peer = %info.name, "connected, and not listened to for what it did before");
            return;
        }
        let told = loop {
            let mut sessions = write(&self.sessions);
            if sessions.ended {
                return;
            }
            // Closed before the next begins, and outside the lock: nothing that the last one brought comes after.
            if let Some(old) = sessions.by_id.remove(&info.id) {
                drop(sessions);
                old.close();
                self.ties.disconnected(&old);
                continue;
            }
            let session = Session::start(peer, &self.env, &self.counters);
            sessions.by_name.insert(info.name.clone(), info.id);
            sessions.by_id.insert(info.id, Arc::clone(&session));
            // Before anything that it brings is read.
            break self.ties.connected(&session);
        };
        self.ties.perform(self, told);
        self.sessions_changed.notify_one();
        self.arrived.notify_waiters();
    }

    /// Ends the session of a connection, if it is still the node's.
    pub(crate) fn close_session(&self, peer: &Peer) {
        let ended = {
            let mut sessions = write(&self.sessions);
            let id = peer.info().id;
            match sessions.by_id.get(&id) {
                Some(session) if session.is_on(peer) => sessions.by_id.remove(&id),
                Some(_) | None => None,
            }
        };
        if let Some(session) = ended {
            session.close();
            self.ties.disconnected(&session);
        }
        self.sessions_changed.notify_one();
    }

    /// Ends all sessions and begins no more.
    pub(crate) fn close_all_sessions(self: &Arc<Self>) {
        let all = {
            let mut sessions = write(&self.sessions);
            sessions.ended = true;
            std::mem::take(&mut sessions.by_id)
        };
        all.values().for_each(|session| session.close());
        self.ties.end(self);
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        read(&self.sessions).by_id.values().cloned().collect()
    }

    pub(crate) fn session(&self, id: NodeId) -> Option<Arc<Session>> {
        read(&self.sessions).by_id.get(&id).cloned()
    }

    /// The session of the node whose certificate proves this name.
    pub(crate) fn session_named(&self, name: &NodeName) -> Option<Arc<Session>> {
        let sessions = read(&self.sessions);
        let session = sessions.by_id.get(sessions.by_name.get(name)?)?;
        Some(Arc::clone(session))
    }

    /// The session of this very connection.
    pub(crate) fn session_on(&self, peer: &Peer) -> Option<Arc<Session>> {
        self.session(peer.info().id).filter(|session| session.is_on(peer))
    }

    pub(crate) fn set_system(&self, system: Option<System>) {
        let old = std::mem::replace(&mut *write(&self.system), system);
        if let Some(old) = &old {
            old.set_other_nodes(None);
        }
        // Outside the lock: its actors may be dropped with it.
        drop(old);
        self.presence.ring();
    }

    /// The system of this node, while it takes part.
    pub(crate) fn system(&self) -> Option<System> {
        read(&self.system).clone()
    }

    /// What this node's actors say of themselves; `None` while there are none.
    pub(crate) fn entries(&self) -> Option<Entries> {
        Some(read(&self.system).as_ref()?.entries())
    }

    /// Ends the actor of this node at `path`, whose name another one has.
    pub(crate) fn lose_name(&self, name: &Name, path: &ActorPath, winner: &str) {
        if let Some(system) = self.system() {
            system.lose_name(name, path, winner);
        }
    }

    /// Notes that this node sends such messages.
    pub(crate) fn declare<M: Remotable>(&self) -> Declared {
        let declared = Declared { name: M::NAME, schema: M::schema() };
        let mut sent = lock(&self.sent);
        if sent.len() < DECLARED_MAX {
            sent.entry(M::NAME).or_insert(declared);
        }
        declared
    }

    /// The message types that this node sends, and those that its actors take.
    pub(crate) fn declared(&self) -> Vec<Declared> {
        let taken = read(&self.system).as_ref().map(System::declared).unwrap_or_default();
        let mut all: BTreeMap<_, _> = lock(&self.sent).clone();
        all.extend(taken.into_iter().map(|declared| (declared.name, declared)));
        all.into_values().take(DECLARED_MAX).collect()
    }

    /// Finds out for which message types a peer is another program than this node, and tells of those that are new.
    pub(crate) fn compare_schemas(&self, session: &Session, ours: &[Declared]) {
        for message in session.schemas.compare(ours) {
            tracing::error!(peer = %session.sender.name, message, "schema differs: messages of this type are refused");
            self.counters.schemas_differ(message);
            self.tell(MemberEvent::SchemaDiffers { node: session.sender.node, message: message.to_owned() });
        }
    }

    /// The way in to an actor of this node.
    pub(crate) fn inlet(&self, path: &ActorPath) -> Option<Arc<dyn Inlet>> {
        read(&self.system).as_ref()?.inlet(path)
    }

    pub(crate) fn set_bulk(&self, handler: Option<Arc<dyn BulkHandler>>) {
        let old = std::mem::replace(&mut *write(&self.bulk), handler);
        drop(old);
    }

    pub(crate) fn set_consensus(&self, handler: Option<ConsensusHandler>) {
        let old = std::mem::replace(&mut *write(&self.consensus), handler);
        drop(old);
    }

    pub(crate) fn consensus(&self) -> Option<ConsensusHandler> {
        read(&self.consensus).clone()
    }

    pub(crate) fn set_order_log(&self, log: Option<Arc<dyn OrderLog>>) {
        let old = std::mem::replace(&mut *write(&self.order_log), log);
        drop(old);
    }

    pub(crate) fn order_log(&self) -> Option<Arc<dyn OrderLog>> {
        read(&self.order_log).clone()
    }

    pub(crate) fn bulk(&self) -> Option<Arc<dyn BulkHandler>> {
        read(&self.bulk).clone()
    }

    /// Queues a frame for a feed stream, or counts it where there is no room.
    pub(crate) fn send_feed(&self, session: &Session, frame: Bytes) {
        if !session.send_feed(frame) {
            self.counters.feeds_dropped.increment(1);
        }
    }

    pub(crate) fn set_links(&self, links: BTreeMap<NodeId, LinkView>) {
        *lock(&self.links) = links;
    }

    /// How each connection does.
    pub(crate) fn links(&self) -> Vec<LinkView> {
        lock(&self.links).values().cloned().collect()
    }

    /// Closes the connection to a peer that sent what no honest peer sends.
    pub(crate) fn refuse_stream(&self, session: &Arc<Session>, stream: &mut RecvStream, code: CloseCode) {
        tracing::warn!(peer = %session.sender.name, %code, "a stream broke the protocol, closing the connection");
        self.counters.stream_refused(code.as_str());
        stream.stop(code.number());
        self.break_off(session, code);
    }

    /// As [`Shared::refuse_stream`] where the stream is not at hand.
    pub(crate) fn refuse_peer(&self, session: &Arc<Session>, code: CloseCode) {
        tracing::warn!(peer = %session.sender.name, %code, "a frame broke the protocol, closing the connection");
        self.counters.stream_refused(code.as_str());
        self.break_off(session, code);
    }

    fn break_off(&self, session: &Arc<Session>, code: CloseCode) {
        self.name_misbehaving(session.sender.node, Some(&session.sender.name), code.as_str());
        self.end_connection(session, code.as_str());
    }

    /// Names those whose conduct could not be borne, and closes the connections of which nothing good can come.
    pub(crate) fn judge_conduct(&self) {
        for session in self.sessions() {
            for offence in session.conduct().take_offences() {
                self.name_misbehaving(session.sender.node, Some(&session.sender.name), offence.as_str());
                if offence.ends_the_connection() {
                    self.end_connection(&session, offence.as_str());
                }
            }
        }
        // Who was shunned until now has a connection and no session: it begins anew.
        let back = lock(&self.conduct).forget(self.env.now());
        if let Some(transport) = self.transport() {
            back.into_iter().for_each(|node| transport.disconnect(node, "heard again"));
        }
    }

    fn end_connection(&self, session: &Arc<Session>, why: &str) {
        let node = session.sender.node;
        lock(&self.conduct).strike(node);
        // A newer connection to the node has done nothing wrong.
        let is_current = self.session(node).is_some_and(|current| Arc::ptr_eq(&current, session));
        if let (true, Some(transport)) = (is_current, self.transport()) {
            transport.disconnect(node, why);
        }
    }

    /// A node did what no honest one does: people hear of it, once in a while.
    pub(crate) fn name_misbehaving(&self, node: NodeId, name: Option<&NodeName>, why: &str) {
        let name = match name {
            Some(name) => Some(name.clone()),
            None => self.directory().record(node).map(|signed| signed.record.name.clone()),
        };
        // Only who is connected, and has a name by that, can do anything.
        let Some(name) = name.or_else(|| self.session(node).map(|session| session.sender.name.clone())) else { return };
        self.name_once(node, &name, why, MemberEvent::Quarantined { node, why: why.to_owned() });
    }

    /// Two processes run with the key of one node in one boot: people hear of it, once in a while. The first is connected, the
    /// other one was refused.
    pub(crate) fn name_doubled(&self, node: NodeId, name: &NodeName, at: [SocketAddr; 2]) {
        self.name_once(node, name, "doubled", MemberEvent::Doubled { node, at: at.to_vec() });
    }

    /// This process was refused at `address`, for another one with its key is connected there.
    pub(crate) fn refused_as_twin(&self, address: SocketAddr) {
        self.name_doubled(self.me, &self.own_record().name, [address, self.own_record().address]);
    }

    pub(crate) fn name_once(&self, node: NodeId, name: &NodeName, why: &str, event: MemberEvent) {
        if lock(&self.conduct).name(self.env.now(), node, name, why) {
            tracing::error!(node = %name, why, ?event, "an incident about a member");
            self.counters.quarantined(why);
            self.tell(event);
        }
    }

    /// Who does at present what no honest member does.
    pub(crate) fn misbehaving(&self) -> Vec<Misbehaving> {
        lock(&self.conduct).named(self.env.now())
    }

    /// Whether nothing that this node says is heard.
    pub(crate) fn is_shunned(&self, node: NodeId) -> bool {
        lock(&self.conduct).is_shunned(self.env.now(), node)
    }

    /// Tells subscribers. Without any, nobody wants to know.
    pub(crate) fn tell(&self, event: MemberEvent) {
        let _nobody = self.events.send(event);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("me", &self.me).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
