//! The handle everybody holds.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covenant_env::{Env, Task};
use covenant_membership::{Paces, Pools, Topology};
use covenant_runtime::{Ref, Remotable, System};
use covenant_transport::join::Issuer;
use covenant_transport::{BindError, Peer, Plane, Profile, RecvStream, SendStream, Transport, TransportConfig};
use covenant_types::{ActorPath, Fence, LinkTier, NodeId, NodeName, WallTime};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::conduct::Misbehaving;
use crate::demand;
use crate::dialer::Dialer;
use crate::driver::{Driver, INBOX_MAX};
use crate::gateway::Gateway;
use crate::links::{LinkKeeper, LinkView};
use crate::member::{MemberEvent, MemberState, MemberView, Phase};
use crate::placement::{Lease, StaleToken};
use crate::presence::core::{Seen, Setting};
use crate::presence::keeper::{self, Keeper, NamesElsewhere, PresenceDesk};
use crate::rebirth::EpochKeeper;
use crate::record::NodeRecord;
use crate::remoting::outlet::RemoteOutlet;
use crate::rest::{self, Asleep, SleepError};
use crate::seeds::Seeds;
use crate::shared::{Input, Shared};
use crate::ties::desk::ToOthers;
use crate::ties::monitor::{self, MonitorRefused, RemoteMonitor};
use crate::ties::orders::OrderLog;

/// How many member events a slow subscriber may fall behind before it loses the oldest.
pub const EVENTS_MAX: usize = 1024;
/// How long a goodbye may travel before the connections are closed.
const GOODBYE: Duration = Duration::from_millis(100);
/// How long leaving may take in all.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// What a node's cluster is told at its start.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Where to listen and what to prove oneself with. This node's record says what the certificate in it says.
    pub transport: TransportConfig,
    /// Whom to ask first. Any member will do.
    pub seeds: Seeds,
    /// How the cluster is laid out. The same on all its nodes.
    pub topology: Topology,
    /// What kind of line to say that this node hangs on, where that is not what the profile says.
    pub tier: Option<LinkTier>,
    /// Where this node's boot epoch is kept. Without it a node that was restored from a backup stays out.
    pub epochs: Option<Arc<dyn EpochKeeper>>,
}

impl ClusterConfig {
    /// A flat cluster.
    pub fn new(transport: TransportConfig, seeds: impl Into<Seeds>) -> Self {
        Self { transport, seeds: seeds.into(), topology: Topology::Flat, tier: None, epochs: None }
    }
}

/// Takes bulk streams that other nodes open.
pub trait BulkHandler: Send + Sync {
    /// A node opened a stream. Must return at once: hand it to a task. Dropping the halves refuses it.
    fn stream(&self, peer: &Peer, send: SendStream, recv: RecvStream);
}

/// Takes streams of [`Plane::Consensus`] and [`Plane::Snapshot`] that other nodes open. Must return at once: hand them to a
/// task. Dropping the halves refuses the stream.
pub type ConsensusHandler = Arc<dyn Fn(&Peer, Plane, SendStream, RecvStream) + Send + Sync>;

/// This node in its cluster: who else is there, and the way to their actors.
///
/// Dropping the last handle ends it without a word, as a crash does; see [`Cluster::leave`].
pub struct Cluster {
    pub(crate) shared: Arc<Shared>,
    tasks: Mutex<Vec<Task>>,
}

impl Cluster {
    /// Opens the endpoint, dials the seeds and begins to take part.
    ///
    /// Messages to actors of this node are answered `NoProc` until [`Cluster::attach`].
    ///
    /// # Errors
    /// The endpoint cannot be opened. Nothing runs then.
    pub fn start(config: ClusterConfig, env: Env, issuer: Option<Arc<dyn Issuer>>) -> Result<Arc<Self>, ClusterError> {
        let ClusterConfig { transport, seeds, topology, tier, epochs } = config;
        let credentials = Arc::clone(&transport.identity);
        let (key, grant, identity) = (credentials.key(), credentials.grant(), credentials.identity());
        let (epoch, profile, advertise) = (transport.epoch, transport.profile, transport.advertise);
        let (inbox, inputs) = mpsc::channel(INBOX_MAX);
        let record = NodeRecord {
            id: key.node_id(),
            public_key: key.public_key(),
            name: grant.name,
            role: grant.role,
            region: grant.region,
            epoch,
            address: transport.listen,
            tier: tier.unwrap_or_else(|| tier_of(profile)),
            phase: Phase::Active,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate_issuer: credentials.issuer(),
            certificate_begins: identity.not_before,
            certificate_ends: identity.not_after,
            trust: credentials.mark(),
            sequence: 0,
        };
        let me = Seen {
            id: record.id,
            name: record.name.clone(),
            role: record.role,
            region: record.region,
            tier: record.tier,
            epoch,
            state: MemberState::Reachable,
        };
        let place = record.place();
        let setting = Setting { in_pools: topology == Topology::Pools, has_seeds: !seeds.are_none() };
        let (presence, presence_inbox) = PresenceDesk::new(me, keeper::pace_of(profile), setting, env.now());
        let shared = Arc::new(Shared::new(
            env.clone(),
            (topology, idle_of(profile)),
            record,
            (Arc::clone(&credentials), epochs),
            inbox,
            EVENTS_MAX,
            presence,
        ));
        let gateway = Arc::new(Gateway(Arc::downgrade(&shared)));
        let transport = Transport::bind(transport, env.clone(), gateway, issuer)?;
        // The port may be chosen by the system, so the record others see is signed once the endpoint is open.
        let address = advertise.unwrap_or_else(|| transport.local_addr());
        shared.republish(|record| record.address = address);
        shared.set_transport(transport);

        let rng = env.random.derive("cluster.membership");
        let me = (key.node_id(), epoch);
        let core = Pools::new(me, (topology, place), paces_of(profile), rng, env.now());
        let tasks = vec![
            env.system.spawn(Driver::new(Arc::clone(&shared), core, inputs).run()),
            env.system.spawn(Driver::run_janitor(Arc::clone(&shared))),
            env.system.spawn(Keeper::new(Arc::clone(&shared), presence_inbox).run()),
            env.system.spawn(Arc::clone(&shared.deadlines).keep()),
            env.system.spawn(Dialer::new(Arc::clone(&shared), profile, seeds).run()),
            env.system.spawn(LinkKeeper::new(Arc::clone(&shared)).run()),
        ];
        // Who connected while we were not listening yet.
        shared.sessions_changed.notify_one();
        shared.presence.ring();
        Ok(Arc::new(Self { shared, tasks: Mutex::new(tasks) }))
    }

    /// Lets other nodes' messages in to this node's actors, and these tie themselves to actors of other nodes.
    ///
    /// Held until [`Cluster::leave`] or [`Cluster::abandon`]: a system whose resources hold this cluster ends only after
    /// one of them.
    pub fn attach(&self, system: System) {
        let elsewhere = NamesElsewhere(Arc::downgrade(&self.shared));
        let me = self.shared.own_record().name;
        system.set_abroad(Some(Arc::new(ToOthers { shared: Arc::downgrade(&self.shared), me })));
        self.shared.set_system(Some(system.clone()));
        system.set_other_nodes(Some(Arc::new(elsewhere)));
    }

    /// All members as this node sees them, itself included, by id.
    pub fn members(&self) -> Vec<MemberView> {
        let mut views = self.shared.directory().views();
        for view in &mut views {
            let Some(session) = self.shared.session(view.id) else { continue };
            let stats = session.peer.stats();
            view.rtt_ms = Some(u64::try_from(stats.rtt.as_millis()).unwrap_or(u64::MAX));
            view.loss_permille = Some(stats.packets_lost * 1000 / stats.packets_sent.max(1));
            view.schema_differs = session.schemas.differing();
        }
        views
    }

    /// How each connection does, by node; as of about a second ago.
    pub fn links(&self) -> Vec<LinkView> {
        self.shared.links()
    }

    /// This node as a member.
    pub fn me(&self) -> MemberView {
        self.shared.directory().view(self.shared.me).expect("the directory holds this node from the start")
    }

    /// Where a node is, as far as this one knows: where its record says, and where its connection comes from. Empty where
    /// it is not known.
    pub fn addresses(&self, node: &NodeName) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = self
            .shared
            .directory()
            .views()
            .into_iter()
            .filter(|view| view.name == *node)
            .map(|view| view.address)
            .collect();
        if let Some(session) = self.shared.session_named(node) {
            let info = session.peer.info();
            addresses.extend([info.listen, session.peer.address()]);
        }
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// What changes from now on. Take the list after subscribing, and nothing is missed.
    pub fn events(&self) -> broadcast::Receiver<MemberEvent> {
        self.shared.events.subscribe()
    }

    /// Members that do at present, or did within [`NAMED_FOR`](crate::NAMED_FOR), what no honest one does.
    pub fn misbehaving(&self) -> Vec<Misbehaving> {
        self.shared.misbehaving()
    }

    /// The actor at `path` on the node `node`. Nothing is sent, and neither need be there yet: each message finds out.
    ///
    /// The name must be another node's; a node does not connect to itself.
    pub fn remote<M: Remotable>(&self, node: &NodeName, path: &ActorPath) -> Ref<M> {
        self.remote_with(node, path, None)
    }

    /// As [`Cluster::remote`], for acts under a lease: each message carries the lease's key and token. An actor that has seen
    /// a higher token of the key refuses it with `Rejected`, which names the key, the token and the highest seen; a cast is
    /// dropped and counted there. Nothing of such a message is read. One with a higher token makes all with a lower one late,
    /// those too that wait for room in the actor's mailbox.
    ///
    /// What is sent is the token, whether or not the lease is still held: ask [`Lease::is_held`] before each act. Sent on in a
    /// message, the reference says where, and not under which lease: whoever gets it acts without one.
    pub fn remote_fenced<M: Remotable>(&self, lease: &Lease, node: &NodeName, path: &ActorPath) -> Ref<M> {
        self.remote_with(node, path, Some(lease.fence().clone()))
    }

    pub(crate) fn remote_with<M: Remotable>(&self, node: &NodeName, path: &ActorPath, fence: Option<Fence>) -> Ref<M> {
        let outlet = RemoteOutlet::<M>::new(&self.shared, node.clone(), path.clone(), fence);
        Ref::remote(node.clone(), path.clone(), Arc::new(outlet))
    }

    /// Notes that this node acts upon its own actor at `path` under a lease: to be asked before each act that is no message
    /// from another node. It makes the acts of earlier holders late, as their messages make others'.
    ///
    /// # Errors
    /// A later holder has acted upon this actor, or there are too many keys. The act must not be done.
    pub fn check_fence(&self, path: &ActorPath, fence: &Fence) -> Result<(), StaleToken> {
        self.shared.gates.gate(path, &fence.key, self.shared.me)?.pass(fence, || ())
    }

    /// Watches the actor or supervisor at `path` on the node `node`: the incarnation that runs now, or the next one where
    /// none does.
    ///
    /// It always fires, once: with the reason of the end; with `NoProc` where nothing is there or will be, or the incarnation
    /// ended in a way that nobody remembers; with `NoConnection` at once where there is no connection, and otherwise when this
    /// node gives the other one up or that has started again. The actor may still run then. A node that sleeps as it said it would is
    /// not given up, and neither is one whose connection broke and came back. Its [`Down`](covenant_runtime::Down) names the
    /// node, and no `MonitorRef`.
    ///
    /// The name must be another node's. An actor uses [`Context::monitor`](covenant_runtime::Context::monitor).
    ///
    /// # Errors
    /// Too many actors of that node are watched, or its connection is busy. Nothing is watched.
    pub fn monitor(&self, node: &NodeName, path: &ActorPath) -> Result<RemoteMonitor, MonitorRefused> {
        monitor::monitor(&self.shared, node, path)
    }

    /// What this node says that it is about to do.
    pub fn phase(&self) -> Phase {
        self.shared.own_record().phase
    }

    /// Says that this node finishes what it has and takes nothing new, or that it works again. The others avoid a node that
    /// drains where they have a choice. Changes nothing while it sleeps.
    pub fn set_draining(&self, draining: bool) {
        if !self.shared.is_asleep() {
            self.shared.republish(|record| record.phase = if draining { Phase::Draining } else { Phase::Active });
        }
    }

    /// How many calls of other nodes' actors this node has not answered yet.
    pub fn answering(&self) -> usize {
        self.shared.sessions().iter().map(|session| session.answering.load(Ordering::Relaxed)).sum()
    }

    /// Falls silent until `until` or [`Cluster::wake`], after enough others have said that they know: two hubs, or as many
    /// as are connected. They hold this node for asleep and not for down, for as long again as it meant to sleep. Its own
    /// actors work on.
    ///
    /// # Errors
    /// Nobody heard in time, the time is past, or it sleeps already. Then it is awake as before.
    ///
    /// # Cancel safety
    /// Before membership has said goodbye a drop leaves this node awake, after it asleep with its connections open for a
    /// while.
    pub async fn sleep(&self, until: WallTime) -> Result<Asleep, SleepError> {
        rest::sleep(&self.shared, until).await
    }

    /// Takes part again. Returns whether it had been asleep.
    pub async fn wake(&self) -> bool {
        rest::wake(&self.shared).await
    }

    /// Has a connection to a node that this one keeps none to, within that time: dials it, and has hubs ask it to dial.
    /// Returns whether there is one. It stays while it is used. Calls and casts do this by themselves.
    pub async fn reach(&self, node: &NodeName, within: Duration) -> bool {
        if self.shared.session_named(node).is_some() {
            return true;
        }
        match demand::can_be_reached(&self.shared, node) {
            Some(id) if demand::demand(&self.shared, id, within) => {
                demand::reach(&self.shared, id, within).await.is_some()
            }
            Some(_) | None => false,
        }
    }

    /// The connection to a node, if there is one. Open streams of [`covenant_transport::Plane::Bulk`] on it.
    pub fn peer(&self, node: &NodeName) -> Option<Peer> {
        self.shared.session_named(node).map(|session| session.peer.clone())
    }

    /// Sets who takes bulk streams that other nodes open. Until then they are refused.
    pub fn set_bulk_handler(&self, handler: Arc<dyn BulkHandler>) {
        self.shared.set_bulk(Some(handler));
    }

    /// The connection to the node of this id, if there is one.
    pub fn peer_of(&self, node: NodeId) -> Option<Peer> {
        self.shared.session(node).map(|session| session.peer.clone())
    }

    /// The connection to the node of this id. Where there is none, one is asked for, and the next question finds it.
    pub fn peer_or_demand(&self, node: NodeId) -> Option<Peer> {
        let peer = self.peer_of(node);
        if peer.is_none() {
            let name = self.shared.directory().view(node).map(|view| view.name);
            if let Some(id) = name.and_then(|name| demand::can_be_reached(&self.shared, &name)) {
                let _too_many = demand::demand(&self.shared, id, demand::DEMAND_WAIT_MAX);
            }
        }
        peer
    }

    /// Sets who takes streams of consensus that other nodes open. Until then they are refused.
    pub fn set_consensus_handler(&self, handler: ConsensusHandler) {
        self.shared.set_consensus(Some(handler));
    }

    /// Sets where orders of other nodes to end actors of this one are written down. Until then they are lines of the log alone,
    /// so set it before [`Cluster::attach`].
    pub fn set_order_log(&self, log: Arc<dyn OrderLog>) {
        self.shared.set_order_log(Some(log));
    }

    /// The transport, while this node takes part.
    pub fn transport(&self) -> Option<Transport> {
        self.shared.transport()
    }

    /// Says goodbye, so that the others see this node leave and not die, and closes all connections.
    pub async fn leave(&self) {
        let farewell = async {
            let (done, said) = oneshot::channel();
            if self.shared.inbox.send(Input::Leave(done)).await.is_ok() && said.await.is_ok() {
                tokio::time::sleep(GOODBYE).await;
            }
            self.end_tasks();
            if let Some(transport) = self.shared.take_transport() {
                transport.close("leaving").await;
            }
        };
        // A node that cannot say goodbye in time is missed soon enough.
        let _in_time = tokio::time::timeout(LEAVE_MAX, farewell).await;
        self.abandon();
    }

    /// Ends this node's part without a word, as a crash does: connections, calls, tasks. The attached system is let go.
    pub fn abandon(&self) {
        self.end_tasks();
        self.shared.close_all_sessions();
        drop(self.shared.take_transport());
        self.shared.set_bulk(None);
        self.shared.set_consensus(None);
        self.shared.set_order_log(None);
        self.shared.orders.end();
        self.shared.set_system(None);
    }

    fn end_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        drop(tasks);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

fn paces_of(profile: Profile) -> Paces {
    match profile {
        Profile::Loopback => Paces::loopback(),
        Profile::Lan | Profile::Wan | Profile::Leaf => Paces::network(),
    }
}

fn tier_of(profile: Profile) -> LinkTier {
    match profile {
        Profile::Loopback | Profile::Lan => LinkTier::Lan,
        Profile::Wan => LinkTier::Wan,
        Profile::Leaf => LinkTier::Satellite,
    }
}

/// A handshake costs kilobytes, and a connection by way of space costs nothing while it is silent.
fn idle_of(profile: Profile) -> Duration {
    Duration::from_secs(match profile {
        Profile::Loopback => 5,
        Profile::Lan => 60,
        Profile::Wan => 120,
        Profile::Leaf => 600,
    })
}

/// Why this node takes no part in a cluster. Nothing runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The endpoint could not be opened.
    #[error("the node's endpoint could not be opened")]
    Bind(#[from] BindError),
}
