//! Runs [`Presence`]: one task, which hears of connections, members and this node's actors, and does what it says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use covenant_runtime::{OtherNodes, Sight};
use covenant_transport::{CloseCode, Profile};
use covenant_types::{ActorPath, BootEpoch, Name, NodeId, Uptime};
use tokio::sync::{Notify, mpsc, oneshot};

use super::account::{Claim, HeldShard};
use super::core::{Lost, Outbox, Pace, Presence, Seen, Setting};
use super::frame::Frame;
use super::view::{Gathering, Held};
use crate::member::MemberView;
use crate::session::Session;
use crate::shared::Shared;

/// How many frames may wait for the keeper. The streams they came on wait with them.
const INBOX_MAX: usize = 64;

/// How long a node may take to say what is at its paths.
const SEEK_WITHIN: Duration = Duration::from_secs(2);

/// What the rest of the cluster holds of presence.
pub(crate) struct PresenceDesk {
    core: RwLock<Presence>,
    /// Rung when connections, members or this node's own entries are others.
    rung: Notify,
    inbox: mpsc::Sender<(Arc<Session>, Frame)>,
    /// Questions to other nodes that are not answered yet.
    seeking: Mutex<Seeking>,
}

#[derive(Default)]
struct Seeking {
    asked: u32,
    waiting: BTreeMap<(NodeId, u32), oneshot::Sender<Vec<Option<Sight>>>>,
}

/// The most questions that wait for an answer at a time.
const SEEKING_MAX: usize = 1024;

/// The frames for the keeper.
pub(crate) type PresenceInbox = mpsc::Receiver<(Arc<Session>, Frame)>;

impl PresenceDesk {
    pub(crate) fn new(me: Seen, pace: Pace, setting: Setting, now: Uptime) -> (Self, PresenceInbox) {
        let (inbox, frames) = mpsc::channel(INBOX_MAX);
        (
            Self {
                core: RwLock::new(Presence::new(me, pace, setting, now)),
                rung: Notify::new(),
                inbox,
                seeking: Mutex::default(),
            },
            frames,
        )
    }

    /// This node goes on in a later boot.
    pub(crate) fn reborn(&self, epoch: BootEpoch) {
        self.core_mut().reborn(epoch);
        self.ring();
    }

    /// Something that matters here has changed.
    pub(crate) fn ring(&self) {
        self.rung.notify_one();
    }

    /// Hands a frame to the keeper, waiting until it has room. False where there is no keeper any more.
    pub(crate) async fn take(&self, session: &Arc<Session>, frame: Frame) -> bool {
        self.inbox.send((Arc::clone(session), frame)).await.is_ok()
    }

    /// Who has a name on another node.
    pub(crate) fn held_elsewhere(&self, name: &Name) -> Option<Held> {
        self.core().held_elsewhere(name)
    }

    /// Who is in a group on other nodes.
    pub(crate) fn gathering(&self, group: &Name) -> Gathering {
        self.core().gathering(group)
    }

    /// The latest claim to a name.
    pub(crate) fn claim(&self, name: &Name) -> Option<Claim> {
        self.core().claim(name)
    }

    /// What is held of what nodes say.
    pub(crate) fn account(&self) -> Vec<HeldShard> {
        self.core().account()
    }

    /// Asks another node what is at paths of its own; `None` where it did not answer. At most [`SEEK_PATHS_MAX`] of them.
    ///
    /// # Cancel safety
    /// A future that is dropped may leave its place among the questions taken until the node answers.
    pub(crate) async fn seek(&self, session: &Session, paths: Vec<ActorPath>) -> Option<Vec<Option<Sight>>> {
        let (answer, answered) = oneshot::channel();
        let count = paths.len();
        let key = {
            let mut seeking = self.seeking();
            seeking.waiting.retain(|_, waiting| !waiting.is_closed());
            if seeking.waiting.len() >= SEEKING_MAX {
                return None;
            }
            seeking.asked = seeking.asked.wrapping_add(1);
            let key = (session.sender.node, seeking.asked);
            seeking.waiting.insert(key, answer);
            key
        };
        if !session.send_presence(Frame::Seek { question: key.1, paths }.bytes()) {
            self.seeking().waiting.remove(&key);
            return None;
        }
        let sights = tokio::time::timeout(SEEK_WITHIN, answered).await.ok()?.ok()?;
        (sights.len() == count).then_some(sights)
    }

    fn seeking(&self) -> MutexGuard<'_, Seeking> {
        self.seeking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this node's claims no longer yield to all others.
    pub(crate) fn has_settled(&self) -> bool {
        self.core().has_settled()
    }

    fn core(&self) -> RwLockReadGuard<'_, Presence> {
        self.core.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn core_mut(&self) -> RwLockWriteGuard<'_, Presence> {
        self.core.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a system's names ask of the cluster.
pub(crate) struct NamesElsewhere(pub(crate) Weak<Shared>);

impl OtherNodes for NamesElsewhere {
    fn holder(&self, name: &Name) -> Option<String> {
        let held = self.0.upgrade()?.presence.held_elsewhere(name)?;
        Some(format!("{}:{}", held.place.node_name, held.place.path))
    }

    fn changed(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.presence.ring();
        }
    }
}

/// The task's state.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    inbox: PresenceInbox,
    sessions: Sessions,
}

/// The connections the core knows of, as its way out.
#[derive(Default)]
struct Sessions {
    by_id: BTreeMap<NodeId, Arc<Session>>,
    frames: u64,
    bytes: u64,
}

impl Outbox for Sessions {
    fn send(&mut self, to: NodeId, frame: Bytes) -> bool {
        let length = frame.len() as u64;
        let sent = self.by_id.get(&to).is_some_and(|session| session.send_presence(frame));
        if sent {
            (self.frames, self.bytes) = (self.frames + 1, self.bytes + length);
        }
        sent
    }
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, inbox: PresenceInbox) -> Self {
        Self { shared, inbox, sessions: Sessions::default() }
    }

    /// Runs until the task is dropped.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let due = shared.presence.core().next_wake().since(shared.env.now());
            tokio::select! {
                biased;
                () = shared.presence.rung.notified() => self.look(),
                frame = self.inbox.recv() => match frame {
                    Some((session, frame)) => self.take_in(&session, frame),
                    None => return,
                },
                () = tokio::time::sleep(due) => {}
            }
            shared.presence.core_mut().work(shared.env.now(), shared.env.wall(), &mut self.sessions);
            self.count();
        }
    }

    /// Compares what there is with what the core knows.
    fn look(&mut self) {
        let shared = Arc::clone(&self.shared);
        let present: BTreeMap<NodeId, Arc<Session>> =
            shared.sessions().into_iter().map(|session| (session.sender.node, session)).collect();
        let known = std::mem::replace(&mut self.sessions.by_id, present.clone());
        let members = shared.directory().views().iter().map(seen).collect();
        let (entries, now) = (shared.entries(), shared.env.now());
        let mut core = shared.presence.core_mut();
        let is_same = |id: &NodeId, session: &Arc<Session>, among: &BTreeMap<NodeId, Arc<Session>>| {
            among.get(id).is_some_and(|other| Arc::ptr_eq(other, session))
        };
        known.iter().filter(|(id, old)| !is_same(id, old, &present)).for_each(|(id, _)| core.disconnected(*id));
        let mut lost = core.take_members(members);
        for (id, new) in present.iter().filter(|(id, new)| !is_same(id, new, &known)) {
            let info = new.peer.info();
            core.connected(now, (*id, info.role, info.region), &mut self.sessions);
        }
        if let Some(entries) = entries {
            lost.extend(core.take_own(entries, shared.env.wall()));
        }
        drop(core);
        self.lose(lost);
    }

    fn take_in(&mut self, session: &Arc<Session>, frame: Frame) {
        let from = session.sender.node;
        match frame {
            Frame::Seek { question, paths } => {
                let system = self.shared.system();
                let sight = |path| system.as_ref().and_then(|system| system.sight(path));
                let sights = paths.iter().map(sight).collect();
                // Where there is no room the other side asks in vain.
                let _full = session.send_presence(Frame::Sights { question, sights }.bytes());
                return;
            }
            Frame::Sights { question, sights } => {
                let waiting = self.shared.presence.seeking().waiting.remove(&(from, question));
                let _gave_up = waiting.map(|waiting| waiting.send(sights));
                return;
            }
            Frame::Digest(_) | Frame::Delta { .. } | Frame::Whole { .. } => {}
        }
        // What an older connection brought is said again over the present one.
        if !self.sessions.by_id.get(&from).is_some_and(|known| Arc::ptr_eq(known, session)) {
            if self.shared.session(from).is_none_or(|present| !Arc::ptr_eq(&present, session)) {
                return;
            }
            self.look(); // it came before word of its connection
        }
        let taken = self.shared.presence.core_mut().take_frame(from, frame, self.shared.env.wall());
        match taken {
            Ok(lost) => self.lose(lost),
            Err(_) => self.shared.refuse_peer(session, CloseCode::Malformed),
        }
    }

    /// Ends who lost a name. That is heard of as a change of this node's own entries.
    fn lose(&self, lost: Vec<Lost>) {
        for Lost { name, path, winner } in lost {
            self.shared.counters.names_lost.increment(1);
            self.shared.lose_name(&name, &path, &winner);
        }
    }

    fn count(&mut self) {
        let counters = &self.shared.counters;
        counters.presence_frames.increment(std::mem::take(&mut self.sessions.frames));
        counters.presence_bytes.increment(std::mem::take(&mut self.sessions.bytes));
        let (entries, refused) = self.shared.presence.core().size();
        counters.presence_entries.set(u32::try_from(entries).map_or(f64::INFINITY, f64::from));
        counters.presence_refused.absolute(refused);
    }
}

fn seen(view: &MemberView) -> Seen {
    Seen {
        id: view.id,
        name: view.name.clone(),
        role: view.role,
        region: view.region,
        tier: view.tier,
        epoch: view.epoch,
        state: view.state,
    }
}

/// How often things are told on such lines.
pub(crate) fn pace_of(profile: Profile) -> Pace {
    let pace = |round, digest, settle, settle_max| Pace {
        round: Duration::from_millis(round),
        digest: Duration::from_millis(digest),
        settle: Duration::from_millis(settle),
        settle_max: Duration::from_millis(settle_max),
    };
    match profile {
        Profile::Loopback => pace(200, 2_000, 3_000, 30_000),
        Profile::Lan => pace(1_500, 15_000, 10_000, 60_000),
        Profile::Wan => pace(1_500, 15_000, 30_000, 120_000),
        Profile::Leaf => pace(5_000, 600_000, 60_000, 600_000),
    }
}
