//! A node: one process or one of several in a process, booted from its configuration and stopped in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covenant_cluster::{Cluster, ClusterConfig, EpochKeeper, Phase, Seed, Seeds, Topology};
use covenant_consensus::{Groups, Sender};
use covenant_content::{ContentConfig, Trust};
use covenant_env::{Env, Task};
use covenant_identity::{NodeGrant, PeerIdentity, Subject, Verb};
use covenant_ledger::{LedgerConfig, Nations, read_nations};
use covenant_placement::Placement;
use covenant_runtime::{BehaviourRegistry, Observe, Ref, Resources, System, SystemConfig};
use covenant_store::{DataDir, EpochFile};
use covenant_supervision::{TreeFiles, TreeSpec};
use covenant_telemetry::{NodeMetrics, Notifier, ProcessGauges};
use covenant_transport::join::Issuer;
use covenant_transport::{NodeCredentials, Profile, TransportConfig};
use covenant_types::{ActorPath, BootEpoch, NodeId};
use covenant_watch::Members;
use tokio::sync::Notify;

use crate::api::ApiError;
use crate::audit::{Act, AuditLog};
use crate::authorities;
use crate::boot_error::BootError;
use crate::certificate_gauges::CertificateGauges;
use crate::clock::NodeClock;
use crate::control;
use crate::crash::Keeper;
use crate::denials::DenialFile;
use crate::events::EventLog;
use crate::files::NodeFiles;
use crate::http::{self, Server};
use crate::issuer::{self, HubIssuer, IssuerHandle};
use crate::known_peers::KnownPeers;
use crate::live_tree::{Booted, Journal, LiveTree, Told, TreeStore};
use crate::orders::OrdersAudited;
use crate::placement;
use crate::public_log;
use crate::renewal::{self, Renewer, RenewerParts};
use crate::roots_keeper;
use crate::{Layout, LinkProfile, NodeConfig, Trees};

/// What the handlers and keepers of one node share.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) env: Env,
    pub(crate) id: NodeId,
    pub(crate) uid: u32,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) placement: Arc<Placement>,
    pub(crate) system: System,
    pub(crate) live_tree: LiveTree,
    pub(crate) credentials: Arc<NodeCredentials>,
    pub(crate) denial_file: Arc<DenialFile>,
    pub(crate) desk: Arc<HubIssuer>,
    pub(crate) renewer: Arc<Renewer>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) files: NodeFiles,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) crashes: Arc<Keeper>,
    pub(crate) events: Arc<EventLog>,
    /// Rung when an operator asks this node to leave.
    pub(crate) leave: Notify,
    metrics: NodeMetrics,
    gauges: ProcessGauges,
    certificate_gauges: CertificateGauges,
    draining: AtomicBool,
}

/// A running node. Dropping it is a crash: nothing is handed over. [`Node::stop`] stops it in order.
pub struct Node {
    shared: Arc<Shared>,
    servers: Vec<Server>,
    keepers: Vec<Task>,
    notifier: Arc<Notifier>,
    _part: Part,
    _lock: DataDir,
}

/// The node's part in the cluster, which ends when this is dropped. An attached cluster and the tree it serves hold each
/// other: without this a node that is dropped, or whose boot fails late, would live on unseen.
struct Part(Arc<Cluster>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The counter of boots in the node's directory.
#[derive(Debug)]
struct Epochs(EpochFile);

impl EpochKeeper for Epochs {
    fn raise(&self, to: BootEpoch) -> Result<(), String> {
        self.0.raise(to).map_err(|error| error.to_string())
    }
}

/// How often the node looks after itself: metrics, watchdog, status line.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// How long it may take to give leases back, after the tree has stopped. Those that are not end by themselves.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(2);
/// How long leaving the cluster may take, after the tree has stopped.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// Every behaviour a tree file can name.
pub fn registry() -> BehaviourRegistry {
    let mut registry = BehaviourRegistry::new();
    covenant_content::register(&mut registry);
    covenant_ledger::register(&mut registry);
    covenant_placement::register(&mut registry);
    covenant_watch::register(&mut registry);
    registry
}

/// Boots a node that can run the behaviours of `registry`: identity, cluster, tree, control API, in this order; whatever fails, what was begun is undone.
///
/// # Errors
/// See [`BootError`].
pub async fn boot(
    config: NodeConfig,
    trees: Trees,
    registry: BehaviourRegistry,
    env: Env,
    metrics: NodeMetrics,
    notifier: Notifier,
) -> Result<Node, BootError> {
    // A wrong tree or table is refused before anything is touched.
    let (own, own_tree) = TreeFiles::read(config.node.role.as_str(), &trees)?;
    covenant_runtime::check_tree(&own_tree, &registry)?;
    let nations = config.ledger.nations.as_ref().map(|path| read_nations(&config.node.data.join(path))).transpose()?;
    let lock = DataDir::open(&config.node.data)?;
    let files = NodeFiles::new(lock.path());
    let audit = Arc::new(AuditLog::open(&files.audit())?);
    let (credentials, identity) = files.credentials()?;
    let grant = check_identity(&config, &identity, credentials.id())?;
    let credentials = Arc::new(credentials);
    // Before anybody can be reached, and anything signed.
    let denial_file = Arc::new(DenialFile::open(credentials.clone(), files.clone())?);
    let clock = Arc::new(NodeClock::open(env.clock.clone(), &files, &identity));
    // From here on everything in the node goes by the clock with a floor.
    let env = Env { clock: clock.clone(), ..env };
    let me = issuer::Me {
        name: config.node.name.clone(),
        listen: config.node.listen,
        book_home: config.cluster.book_home.clone(),
        credentials: credentials.clone(),
        clock: clock.clone(),
    };
    let desk = Arc::new(HubIssuer::open(files.clone(), me, env.clone())?);
    let renewer = Arc::new(Renewer::new(RenewerParts {
        credentials: credentials.clone(),
        grant,
        files: files.clone(),
        desk: desk.clone(),
        configured: config.cluster.issuers.clone(),
        clock: clock.clone(),
        env: env.clone(),
    }));
    renewer.come_up().await.map_err(BootError::CertificateEnded)?;
    let (tree, live_tree) = tree_to_boot(&own, &registry, lock.path(), &audit, &env)?;
    let epoch = lock.epoch().bump()?;
    let peers = KnownPeers::open(lock.path());
    let cluster = start_cluster(&config, &env, &credentials, (epoch, lock.epoch()), desk.clone(), &peers)?;
    renewer.attach(&cluster);
    let part = Part(cluster.clone());
    let events = Arc::new(EventLog::new());
    let eventful = env.system.spawn(Arc::clone(&events).run(cluster.clone(), env.clone()));
    let authorities = authorities::watched(config.node.name.clone(), desk.clone(), credentials.clone(), env.clone());
    let groups = groups(&cluster, &env);
    let ledger = Arc::new(ledger(&config, lock.path(), &cluster, &credentials, groups.clone(), nations));
    let (mut resources, placement) =
        resources(&config, lock.path(), &cluster, &credentials, groups, ledger.clone(), &env);
    resources.insert(Arc::new(Members::of(cluster.clone()).and(authorities).and(public_log::watched(ledger))));
    let system = SystemConfig { env: env.clone(), tree, registry, resources };
    covenant_runtime::note_panic_sites();
    let crashes = Keeper::open(lock.path(), &env);
    let capsules = env.system.spawn(Arc::clone(&crashes).run());
    let observe = Observe { crashes: Some(crashes.log()), ..Observe::default() };
    let started = System::start_observed(system, observe).await;
    if started.is_err() {
        crashes.flush().await;
    }
    let system = started?;
    cluster.set_order_log(Arc::new(OrdersAudited::new(Arc::clone(&audit), env.clone())));
    cluster.attach(system.clone());
    let shared = Arc::new(Shared {
        env: env.clone(),
        id: credentials.id(),
        uid: crate::own_uid(),
        cluster,
        placement,
        system,
        live_tree,
        certificate_gauges: CertificateGauges::new(&env.metrics),
        credentials,
        desk,
        renewer: renewer.clone(),
        clock: clock.clone(),
        files: files.clone(),
        denial_file: denial_file.clone(),
        audit,
        crashes,
        gauges: ProcessGauges::new(&env.metrics),
        metrics,
        events: Arc::clone(&events),
        leave: Notify::new(),
        draining: AtomicBool::new(false),
        config,
    });
    let servers = serve(&shared).await?;
    let notifier = Arc::new(notifier);
    let keepers = vec![
        capsules,
        eventful,
        env.system.spawn(renewer.run()),
        env.system.spawn(denial_file.run(env.clone())),
        env.system.spawn(clock.keep(files.clone(), env.clone())),
        env.system.spawn(roots_keeper::run(shared.credentials.clone(), files, env.clone())),
        env.system.spawn(upkeep(shared.clone(), notifier.clone(), peers)),
    ];
    notifier.ready(&shared.summary());
    tracing::info!(node = %shared.config.node.name, %epoch, "ready");
    Ok(Node { shared, servers, keepers, notifier, _part: part, _lock: lock })
}

impl Node {
    /// Resolves when the root supervisor gave up.
    pub async fn ended(&self) {
        self.shared.system.ended().await;
    }

    /// Resolves when an operator asked this node to leave: stop it then.
    pub async fn asked_to_leave(&self) {
        self.shared.leave.notified().await;
    }

    /// The cluster as this node sees it.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.shared.cluster
    }

    /// The node's tree.
    pub fn system(&self) -> &System {
        &self.shared.system
    }

    /// What `/metrics` would say.
    pub fn render_metrics(&self) -> String {
        self.shared.render_metrics()
    }

    /// Stops in order: says that it is draining, stops the tree in reverse, leaves the cluster, closes the control API.
    pub async fn stop(self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.notifier.stopping("stopping in order");
        let report = self.shared.system.stop(self.shared.config.node.drain_deadline).await;
        tracing::info!(?report, "the tree has stopped");
        self.shared.placement.given_back(GIVE_BACK_WITHIN).await;
        self.shared.crashes.flush().await;
        drop(self.keepers);
        if tokio::time::timeout(LEAVE_WITHIN, self.shared.cluster.leave()).await.is_err() {
            tracing::warn!("the cluster was not told in time; it will find out");
        }
        drop(self.servers);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.shared.config.node.name).finish_non_exhaustive()
    }
}

impl Shared {
    /// Why the node is not ready; `None` when it is.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("the node is stopping".to_owned());
        }
        if self.credentials.denials().list().of_key(self.id).is_some() {
            return Some("the node's certificate was revoked: no other node talks to it".to_owned());
        }
        if let Some(why) = renewal::ended(&self.credentials.identity(), self.env.wall()) {
            return Some(why);
        }
        match self.cluster.phase() {
            Phase::Active => {}
            Phase::Draining => return Some("the node drains".to_owned()),
            Phase::Asleep { .. } => return Some("the node sleeps".to_owned()),
        }
        match self.system.unkillable() {
            0 => None,
            count => Some(format!("{count} actors were killed and did not end: their handlers never yield")),
        }
    }

    pub(crate) fn render_metrics(&self) -> String {
        self.gauges.update(&self.env);
        self.certificate_gauges.update(self);
        self.metrics.render()
    }

    /// The actor at `path` on this node.
    pub(crate) fn lookup<M: Send + 'static>(&self, path: &str) -> Result<Ref<M>, ApiError> {
        let path: ActorPath = path.parse().map_err(ApiError::failure)?;
        self.system.lookup(&path).map_err(|error| {
            let error = ApiError::from(error);
            ApiError::new(error.kind, format!("{path}: {}; this node's role may not run it", error.message))
        })
    }

    fn summary(&self) -> String {
        let members = self.cluster.members();
        let reachable =
            members.iter().filter(|member| member.state == covenant_cluster::MemberState::Reachable).count();
        format!(
            "{} epoch {}: {reachable} of {} members reachable",
            self.config.node.name,
            self.cluster.me().epoch,
            members.len()
        )
    }
}

/// The tree in force, which is the node's own unless another was applied.
fn tree_to_boot(
    own: &TreeFiles,
    registry: &BehaviourRegistry,
    data: &Path,
    audit: &AuditLog,
    env: &Env,
) -> Result<(TreeSpec, LiveTree), BootError> {
    let store = TreeStore::new(data);
    let Booted { files, tree, interrupted, overruled } = store.boot(own)?;
    covenant_runtime::check_tree(&tree, registry).map_err(|error| store.unusable(&files, error.to_string()))?;
    if overruled {
        tracing::warn!("an applied tree is in force, and the node's own has changed since: see `covenant tree drift`");
    }
    if let Some(Journal { plan, from, to, who }) = interrupted {
        let result = format!("interrupted: the node ended before it was done, and boots {}", files.hash());
        tracing::warn!(plan, who, result, "a change of the tree");
        let (verb, target) = (Verb::TreeChange.to_string(), format!("plan {plan}"));
        audit.record(env.wall(), Act { who, verb, target, before: from, after: to, result })?;
        store.end()?;
    }
    let live_tree = LiveTree::new(store, Told::new(&files, tree.clone()), env);
    Ok((tree, live_tree))
}

fn check_identity(config: &NodeConfig, identity: &PeerIdentity, id: NodeId) -> Result<NodeGrant, BootError> {
    let wanted = NodeGrant { name: config.node.name.clone(), role: config.node.role, region: config.node.region };
    if identity.subject == (Subject::Node { id, grant: wanted.clone() }) && identity.trust_domain == config.cluster.name
    {
        return Ok(wanted);
    }
    Err(BootError::WrongIdentity {
        certificate: identity.uri(),
        configured: format!("{} {} in {} of {}", wanted.role, wanted.name, wanted.region, config.cluster.name),
    })
}

/// Petting the watchdog goes through the system runtime, the supervisors and the lane of a behaviour on `work`: a node in
/// which one of them hangs is restarted by systemd.
async fn upkeep(shared: Arc<Shared>, notifier: Arc<Notifier>, mut peers: KnownPeers) {
    let watchdog = covenant_telemetry::watchdog_period();
    let mut petted = shared.env.now();
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        shared.gauges.update(&shared.env);
        shared.certificate_gauges.update(&shared);
        shared.metrics.upkeep();
        shared.resolve_faults();
        notifier.status(&shared.summary());
        peers.remember(&shared.cluster.members(), shared.config.node.listen, &shared.env).await;
        if let Some(period) = watchdog
            && shared.env.now().since(petted) >= period.saturating_sub(UPKEEP_EVERY)
            && control::round_trip(&shared).await
        {
            notifier.watchdog();
            petted = shared.env.now();
        }
    }
}

async fn serve(shared: &Arc<Shared>) -> Result<Vec<Server>, BootError> {
    let env = &shared.env;
    let mut servers = vec![http::serve_unix(env, &shared.config.socket(), control::router(shared.clone()))?];
    if let Some(address) = shared.config.control.listen {
        let config = covenant_transport::tls::control_server_config(&shared.credentials, env.clock.clone());
        let config = config.map_err(|error| BootError::Tls(error.to_string()))?;
        let denials = shared.credentials.denials().clone();
        servers.push(http::serve_tls(env, address, Arc::new(config), denials, control::router(shared.clone())).await?);
    }
    if let Some(address) = shared.config.metrics.listen {
        let (what, router) = ("metrics and health", control::health_router(shared.clone()));
        servers.push(http::serve_open(env, what, address, http::CONNECTIONS_MAX, router).await?);
    }
    if let Some(address) = shared.config.ledger.listen {
        let folder = covenant_ledger::public_folder(&shared.files.ledger());
        let router = public_log::router(env.clone(), folder);
        servers.push(http::serve_open(env, "the public log", address, public_log::CONNECTIONS_MAX, router).await?);
    }
    Ok(servers)
}

fn start_cluster(
    config: &NodeConfig,
    env: &Env,
    credentials: &Arc<NodeCredentials>,
    (epoch, kept): (BootEpoch, EpochFile),
    desk: Arc<HubIssuer>,
    peers: &KnownPeers,
) -> Result<Arc<Cluster>, BootError> {
    let transport = TransportConfig {
        listen: config.node.listen,
        advertise: None,
        identity: credentials.clone(),
        cluster: config.cluster.name.clone(),
        name: config.node.name.clone(),
        epoch,
        profile: match config.cluster.profile {
            LinkProfile::Loopback => Profile::Loopback,
            LinkProfile::Lan => Profile::Lan,
            LinkProfile::Wan => Profile::Wan,
            LinkProfile::Satellite => Profile::Leaf,
        },
    };
    // Always there: a hub may be given an authority while it runs.
    let issuer: Option<Arc<dyn Issuer>> = Some(Arc::new(IssuerHandle(desk)));
    let mut seeds = config.cluster.seeds.clone();
    let remembered = peers.addresses().map(Seed::Address);
    seeds.extend(remembered.filter(|seed| !config.cluster.seeds.contains(seed)));
    let file = config.cluster.seeds_file.as_ref().map(|file| config.node.data.join(file));
    let topology = match config.cluster.topology {
        Layout::Flat => Topology::Flat,
        Layout::Pools => Topology::Pools,
    };
    let seeds = Seeds::new(seeds, file)?;
    let cluster =
        ClusterConfig { transport, seeds, topology, tier: config.cluster.tier, epochs: Some(Arc::new(Epochs(kept))) };
    Ok(Cluster::start(cluster, env.clone(), issuer)?)
}

/// The groups that agree on something, over the connections of the cluster.
fn groups(cluster: &Arc<Cluster>, env: &Env) -> Groups {
    let peers = Arc::downgrade(cluster);
    let peer = move |node| peers.upgrade().and_then(|cluster: Arc<Cluster>| cluster.peer_or_demand(node));
    let groups = Groups::new(env.clone(), Arc::new(peer));
    let taking = groups.clone();
    cluster.set_consensus_handler(Arc::new(move |peer, plane, send, recv| taking.take(peer, plane, send, recv)));
    groups
}

/// The ledger on this node.
fn ledger(
    config: &NodeConfig,
    data: &Path,
    cluster: &Arc<Cluster>,
    credentials: &Arc<NodeCredentials>,
    groups: Groups,
    nations: Option<Nations>,
) -> LedgerConfig {
    let (folder, name) = (NodeFiles::new(data).ledger(), config.node.name.clone());
    let sender = Sender { node: credentials.id(), role: config.node.role };
    let ledger = LedgerConfig::new(sender, name, folder, groups, cluster.clone());
    let ledger = ledger.in_cluster(config.cluster.name.clone());
    match nations {
        Some(nations) => ledger.with_nations(nations),
        None => ledger,
    }
}

/// What the node lends to its actors.
fn resources(
    config: &NodeConfig,
    data: &Path,
    cluster: &Arc<Cluster>,
    credentials: &Arc<NodeCredentials>,
    groups: Groups,
    ledger: Arc<LedgerConfig>,
    env: &Env,
) -> (Resources, Arc<Placement>) {
    let me = config.node.name.clone();
    let sender = Sender { node: credentials.id(), role: config.node.role };
    let files = NodeFiles::new(data);
    let (placing, placement) = placement::open(sender, &files, groups, cluster, &ledger, env);
    let trusting = credentials.clone();
    let trust = Trust::live(move || trusting.trusted());
    let chain = credentials.clone();
    let mut content =
        ContentConfig::new(me, data.join("content"), credentials.key().clone(), trust, move || chain.chain());
    content.subscribe.clone_from(&config.content.subscribe);
    content.pinned.clone_from(&config.content.pinned);
    let mut resources = Resources::new();
    resources.insert(cluster.clone()).insert(credentials.clone()).insert(ledger).insert(Arc::new(content));
    resources.insert(placing).insert(placement.clone());
    (resources, placement)
}
