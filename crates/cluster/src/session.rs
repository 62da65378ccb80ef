//! One connection to one node: its lanes, its calls under way, its tasks. Ends with the connection.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use covenant_env::{Clock, Env, Tasks};
use covenant_runtime::{Declared, RemoteSender};
use covenant_transport::{CloseCode, Peer, Plane};
use covenant_types::{ActorPath, CallError};
use covenant_wire::SchemaHash;
use tokio::sync::{Semaphore, mpsc};

use crate::conduct::{Conduct, Offence};
use crate::counters::Counters;
use crate::remoting::credit::{Pool, Target};
use crate::remoting::frame::TARGETS_MAX;
use crate::remoting::lane::Lane;
use crate::remoting::pending::Pending;
use crate::schemas::PeerSchemas;

/// How many streams carry messages to one node. Those to one actor stay on one.
pub const LANES: usize = 4;
/// The most tasks of one connection: our lanes, and the streams the peer opened.
const TASKS_MAX: usize = LANES + 5 + 16;
/// How many streams of a plane a peer may have open here. It opens its lanes, one for answers, one for ties and two feeds.
const STREAMS_MAX: [(Plane, usize); 4] =
    [(Plane::Actor, LANES), (Plane::Reply, 1), (Plane::Feed, 2), (Plane::Control, 1)];
/// How many of its datagrams may wait for the driver: a peer that sends more than is heard loses its own, not others'.
const INBOX_SHARE: usize = 256;
/// How many of its feed frames may. Its streams wait then, and what others say is still heard in between.
const FED_SHARE: usize = 16;
/// How many frames may wait for the feed stream.
const FEED_QUEUE_MAX: usize = 64;
/// How many frames about names and groups may wait for a feed stream of their own.
const PRESENCE_QUEUE_MAX: usize = 48;

/// One connection to one node.
pub(crate) struct Session {
    pub(crate) peer: Peer,
    /// The node, as its messages name it to our actors.
    pub(crate) sender: RemoteSender,
    standing: AtomicU8,
    /// Shared by those who hand on what came in, and taken whole by who closes the session.
    open: RwLock<()>,
    lanes: [Lane; LANES],
    pub(crate) replies: Lane,
    /// What is said of ties.
    pub(crate) control: Lane,
    targets: Mutex<Targets>,
    pub(crate) pending: Pending,
    /// Calls of theirs that we have not answered.
    pub(crate) answering: AtomicUsize,
    /// Bytes of their casts that wait for a full mailbox.
    pub(crate) parked: AtomicUsize,
    /// Credit beyond the start that their senders have.
    pub(crate) pool: Pool,
    feed: mpsc::Sender<Bytes>,
    presence: mpsc::Sender<Bytes>,
    /// Paths that their streams gave an id.
    pub(crate) named: AtomicUsize,
    /// Streams of theirs that are open, in the order of [`STREAMS_MAX`].
    streams: [AtomicUsize; STREAMS_MAX.len()],
    /// Places for what came over their feed streams and waits for the driver.
    pub(crate) fed: Arc<Semaphore>,
    /// Their datagrams that wait for the driver.
    waiting: Arc<AtomicUsize>,
    conduct: Mutex<Conduct>,
    /// The number of our own record that they said they hold.
    pub(crate) heard: AtomicU64,
    /// The message types they declare.
    pub(crate) schemas: PeerSchemas,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    tasks: Mutex<Option<Tasks>>,
}

#[derive(Default)]
struct Targets {
    /// By path, type and the key of the lease that they are used under.
    by_name: HashMap<(ActorPath, &'static str, SchemaHash, Option<ActorPath>), Arc<Target>>,
    by_id: Vec<Arc<Target>>,
}

/// Whether messages may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They may.
    Open = 0,
    /// Membership holds the node down, though the connection has not broken yet.
    Suspended = 1,
    /// The connection is gone.
    Closed = 2,
}

impl Session {
    /// Begins a session on a connection that stands.
    pub(crate) fn start(peer: &Peer, env: &Env, counters: &Arc<Counters>) -> Arc<Self> {
        let info = peer.info();
        let (feed, queue) = mpsc::channel(FEED_QUEUE_MAX);
        let (presence, presence_queue) = mpsc::channel(PRESENCE_QUEUE_MAX);
        let session = Arc::new(Self {
            peer: peer.clone(),
            sender: RemoteSender { node: info.id, name: info.name.clone(), role: info.role, region: info.region },
            standing: AtomicU8::new(Standing::Open as u8),
            open: RwLock::new(()),
            lanes: std::array::from_fn(|_| Lane::new(Plane::Actor, Arc::clone(counters))),
            replies: Lane::new(Plane::Reply, Arc::clone(counters)),
            control: Lane::new(Plane::Control, Arc::clone(counters)),
            targets: Mutex::default(),
            pending: Pending::default(),
            answering: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            pool: Pool::default(),
            feed,
            presence,
            named: AtomicUsize::new(0),
            streams: Default::default(),
            fed: Arc::new(Semaphore::new(FED_SHARE)),
            waiting: Arc::default(),
            conduct: Mutex::new(Conduct::new(env.now())),
            heard: AtomicU64::new(0),
            schemas: PeerSchemas::default(),
            clock: Arc::clone(&env.clock),
            counters: Arc::clone(counters),
            tasks: Mutex::new(Some(Tasks::new(env.system.clone(), TASKS_MAX))),
        });
        for lane in 0..LANES {
            let writer = Arc::clone(&session);
            session.spawn(async move {
                writer.lanes[lane].run(&writer.peer).await;
                writer.stream_lost();
            });
        }
        let writer = Arc::clone(&session);
        session.spawn(async move {
            writer.replies.run(&writer.peer).await;
            writer.stream_lost();
        });
        let writer = Arc::clone(&session);
        session.spawn(async move {
            writer.control.run(&writer.peer).await;
            writer.stream_lost();
        });
        session.spawn(write_feed(peer.clone(), queue));
        // Of its own, so that many names do not hold up who is alive.
        session.spawn(write_feed(peer.clone(), presence_queue));
        session
    }

    /// Runs `future` until it or the session ends. False where too many run, or the session has ended.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        lock(&self.tasks).as_mut().is_some_and(|tasks| tasks.spawn(future))
    }

    /// Runs `reader` on a stream that the peer opened, unless it has as many of its plane open as may be.
    pub(crate) fn spawn_reader(
        self: &Arc<Self>,
        plane: Plane,
        reader: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        let Some(index) = STREAMS_MAX.iter().position(|(of, _)| *of == plane) else { return false };
        let place = StreamPlace { session: Arc::clone(self), index };
        // Counted before the look, so that two at once cannot both have the last place.
        let open = self.streams[index].fetch_add(1, Ordering::Relaxed);
        open < STREAMS_MAX[index].1
            && self.spawn(async move {
                let _place = place;
                reader.await;
            })
    }

    /// A place for one of the peer's datagrams in the driver's inbox. `None` where it has had its measure.
    pub(crate) fn take_share(&self) -> Option<InboxShare> {
        if !self.conduct().datagram(self.clock.now()) {
            return None;
        }
        let share = InboxShare(Arc::clone(&self.waiting));
        (self.waiting.fetch_add(1, Ordering::Relaxed) < INBOX_SHARE).then_some(share)
    }

    /// What the peer has asked of us of late.
    pub(crate) fn conduct(&self) -> MutexGuard<'_, Conduct> {
        lock(&self.conduct)
    }

    /// Notes what does no harm by itself.
    pub(crate) fn bear(&self, offence: Offence) {
        self.conduct().bear(self.clock.now(), offence);
    }

    /// Whether this session is that of `peer`'s very connection.
    pub(crate) fn is_on(&self, peer: &Peer) -> bool {
        self.peer.is_same_connection(peer)
    }

    /// Whether messages may be sent.
    pub(crate) fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            0 => Standing::Open,
            1 => Standing::Suspended,
            _ => Standing::Closed,
        }
    }

    /// Membership gave the node up, or took that back. Giving it up ends its calls.
    pub(crate) fn suspend(&self, suspended: bool) {
        let (from, to) =
            if suspended { (Standing::Open, Standing::Suspended) } else { (Standing::Suspended, Standing::Open) };
        let changed = self.standing.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire);
        if changed.is_ok() && suspended {
            self.pending.fail_all(CallError::NoConnection);
            self.wake_senders();
        }
    }

    /// While this is held the session is not closed, so that what it brought comes before what the next one brings. `None`
    /// where it is closed. Not to be held across an `.await`.
    pub(crate) fn hold_open(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        (self.standing() != Standing::Closed).then_some(open)
    }

    /// The connection is gone: ends everything that waits for it. Nothing it brought reaches an actor after this returned.
    pub(crate) fn close(&self) {
        self.standing.store(Standing::Closed as u8, Ordering::Release);
        drop(self.open.write().unwrap_or_else(PoisonError::into_inner));
        let tasks = lock(&self.tasks).take();
        self.lanes.iter().for_each(Lane::close);
        self.replies.close();
        self.control.close();
        self.pending.fail_all(CallError::NoConnection);
        self.wake_senders();
        drop(tasks);
    }

    /// A stream was turned away by the other side, as one is whose first byte was lost and came too late, or it broke. What it
    /// carried cannot go another way, and what it named is forgotten: the whole connection is made anew.
    fn stream_lost(&self) {
        if self.standing() != Standing::Closed {
            self.peer.close(CloseCode::TooSlow, STREAM_LOST);
        }
    }

    fn wake_senders(&self) {
        self.lanes.iter().for_each(Lane::pass_on);
        lock(&self.targets).by_id.iter().for_each(|target| target.pass_on());
    }

    /// The lane that carries the messages to `target`.
    pub(crate) fn lane(&self, target: &Target) -> &Lane {
        &self.lanes[target.lane]
    }

    /// The actor at `path` there, as the receiver of messages of this type, under a lease of `key` or none. `None` where
    /// there are too many.
    pub(crate) fn target(&self, path: &ActorPath, message: Declared, key: Option<&ActorPath>) -> Option<Arc<Target>> {
        let mut targets = lock(&self.targets);
        let name = (path.clone(), message.name, message.schema, key.cloned());
        if let Some(target) = targets.by_name.get(&name) {
            return Some(Arc::clone(target));
        }
        let id = u32::try_from(targets.by_id.len()).ok().filter(|id| *id < TARGETS_MAX)?;
        let target = Arc::new(Target::new(id, path.clone(), message, key.cloned(), lane_of(path)));
        targets.by_id.push(Arc::clone(&target));
        targets.by_name.insert(name, Arc::clone(&target));
        Some(target)
    }

    /// The target with this id, if we gave it out.
    pub(crate) fn target_by_id(&self, id: u32) -> Option<Arc<Target>> {
        lock(&self.targets).by_id.get(usize::try_from(id).ok()?).cloned()
    }

    /// Whether somebody here or there waits for something over this connection.
    pub(crate) fn is_awaited(&self) -> bool {
        let held = [&self.answering, &self.parked];
        !self.pending.is_empty() || held.into_iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// How many bytes of messages and content it has carried, both ways.
    pub(crate) fn carried(&self) -> u64 {
        let stats = self.peer.stats();
        let feed = |(plane, bytes): &(Plane, u64)| if *plane == Plane::Feed { 0 } else { *bytes };
        stats.sent.iter().chain(&stats.received).map(feed).sum()
    }

    /// Queues a frame for the feed stream. False where the queue is full or the session has ended.
    pub(crate) fn send_feed(&self, frame: Bytes) -> bool {
        self.feed.try_send(frame).is_ok()
    }

    /// As [`Session::send_feed`], for frames about names and groups.
    pub(crate) fn send_presence(&self, frame: Bytes) -> bool {
        self.presence.try_send(frame).is_ok()
    }
}

/// The place of one stream among those of its plane.
struct StreamPlace {
    session: Arc<Session>,
    index: usize,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.session.streams[self.index].fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of the peer's places in the driver's inbox, until the driver has seen what stands there.
#[derive(Debug)]
pub(crate) struct InboxShare(Arc<AtomicUsize>);

impl Drop for InboxShare {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer).field("standing", &self.standing()).finish_non_exhaustive()
    }
}

/// Writes the feed stream, which is opened when there is something for it.
async fn write_feed(peer: Peer, mut queue: mpsc::Receiver<Bytes>) {
    let Some(mut frame) = queue.recv().await else { return };
    let Ok(mut stream) = peer.open_uni(Plane::Feed).await else { return };
    while stream.write_frame(&frame).await.is_ok() {
        match queue.recv().await {
            Some(next) => frame = next,
            None => return,
        }
    }
    // See `Session::stream_lost`.
    peer.close(CloseCode::TooSlow, STREAM_LOST);
}

/// What the other side hears of a connection whose streams do not all work.
const STREAM_LOST: &str = "a stream was turned away: the connection is made anew";

/// The same lane for the same path, always.
fn lane_of(path: &ActorPath) -> usize {
    let hash = path
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from((hash >> 32) % LANES as u64).expect("there are few lanes")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
