//! One place for a node: its folder, and the process that runs from it now and then.
//!
//! A process is a node on a runtime of its own, whose time is virtual. A crash drops that runtime, and with it every task
//! at once, whoever began it: what they held is dropped, and nothing of it reaches the network any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use covenant_cluster::{Cluster, HeldShard, Leases, MemberEvent, MemberState, MemberView, Place};
use covenant_env::{Env, Random, Spawner};
use covenant_node::{Node, NodeConfig, Trees};
use covenant_runtime::{Entries, RuntimeEvent, System};
use covenant_telemetry::{NodeMetrics, Notifier};
use covenant_types::{Name, NodeId, NodeName};
use rand::Rng;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast::error::RecvError;

use super::chronicle::Chronicle;
use super::clerk::{CLERK, Clerk, GROUPS, Message, NAMES, Stage};
use super::client::Client;
use super::clock::NodeClock;
use super::errands::Errands;
use super::holder::{Holder, Shelf};
use super::network::Network;
use super::office::{Counter, Office};
use super::rules::{Actor, Has, Holding, Sees};
use super::socket::Port;
use super::worker::{WORKER, Worker};

/// What all hosts of a simulation share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) network: Arc<Network>,
    pub(super) chronicle: Chronicle,
    pub(super) random: Random,
    pub(super) names: Arc<Vec<NodeName>>,
    pub(super) trees: Trees,
    pub(super) office: Arc<Office>,
}

/// One place for a node.
pub(super) struct Host {
    place: usize,
    config: NodeConfig,
    common: Common,
    boots: u64,
    life: Option<Life>,
}

/// A process.
struct Life {
    runtime: Runtime,
    clock: Arc<NodeClock>,
    node: Arc<Slot>,
    shelf: Shelf,
    /// Until when the machine is suspended, and since when.
    suspended: Option<(Duration, Duration)>,
}

/// The node of a process: there once it has booted, and until it is told to stop.
#[derive(Default)]
struct Slot {
    node: Mutex<Option<Node>>,
    /// Set when the process would have ended by itself.
    over: AtomicBool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Node>> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    pub(super) fn new(place: usize, config: NodeConfig, common: Common) -> Self {
        Self { place, config, common, boots: 0, life: None }
    }

    /// Whether a process runs here, booted or not.
    pub(super) fn runs(&self) -> bool {
        self.life.is_some()
    }

    /// Starts a process. It boots while time passes.
    pub(super) fn start(&mut self, now: Duration) -> Result<()> {
        let Common { network, chronicle, random, names, trees, office } = self.common.clone();
        self.boots += 1;
        let (place, boot) = (self.place, self.boots);
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
        let inside = runtime.enter();
        let clock = Arc::new(NodeClock::new(now));
        network.set_running(place, boot);
        let random = Random::new(random.derive(&format!("node {place}, boot {boot}")).random());
        let port = Port { network, node: place, boot, clock: Arc::clone(&clock), random, endpoints: AtomicU64::new(0) };
        let metrics = NodeMetrics::new();
        let spawner = Spawner::inline(runtime.handle().clone());
        let env = Env {
            clock: Arc::clone(&clock) as Arc<_>,
            random,
            system: spawner.clone(),
            work: spawner.clone(),
            network: Arc::new(port),
            metrics: metrics.metrics(),
        };
        let (config, slot) = (self.config.clone(), Arc::new(Slot::default()));
        let (shelf, its_env) = (Shelf::default(), env.clone());
        let its_shelf = shelf.clone();
        let (booting, its_clock) = (Arc::clone(&slot), Arc::clone(&clock));
        let boot_it = Box::pin(async move {
            let mut registry = covenant_node::registry();
            registry.register::<Worker>(WORKER).register::<Clerk>(CLERK);
            let notifier = Notifier::to(None).expect("nobody is to be told");
            match covenant_node::boot(config, trees, registry, env, metrics, notifier).await {
                Ok(node) => {
                    let (cluster, system) = (Arc::clone(node.cluster()), node.system().clone());
                    let now = its_clock.time();
                    chronicle.tell(now, &format!("n{place} is up, epoch {}", cluster.me().epoch));
                    chronicle.rules(|rules| rules.booted(now, place, cluster.me().epoch));
                    let rng = random.derive("client");
                    let watched = (place, its_clock.clone(), chronicle.clone());
                    let told = follow(Arc::clone(&cluster), system.clone(), Arc::clone(&booting), watched);
                    let errands = Errands {
                        node: place,
                        boot,
                        letters: 0,
                        names: Arc::clone(&names),
                        cluster: Arc::clone(&cluster),
                        system: system.clone(),
                        spawner: spawner.clone(),
                        clock: Arc::clone(&its_clock),
                        chronicle: chronicle.clone(),
                        rng: random.derive("errands"),
                    };
                    let line = Arc::new(Mutex::new(random.derive("counter")));
                    let source = Counter { office, node: place, clock: Arc::clone(&its_clock), rng: line };
                    let holder = Holder {
                        node: place,
                        system,
                        leases: Leases::new(Arc::new(source), cluster.me().id, its_env),
                        cluster: Arc::clone(&cluster),
                        shelf: its_shelf,
                        clock: Arc::clone(&its_clock),
                        chronicle: chronicle.clone(),
                        names: Arc::clone(&names),
                        rng: random.derive("holder"),
                    };
                    *booting.lock() = Some(node);
                    let its_spawner = spawner.clone();
                    let client = Client {
                        node: place,
                        boot,
                        cluster,
                        spawner: its_spawner,
                        clock: its_clock,
                        chronicle,
                        names,
                        rng,
                    };
                    tokio::join!(client.run(), errands.run(), holder.run(), told);
                }
                Err(error) => {
                    let now = its_clock.time();
                    chronicle.rules(|rules| rules.broke(now, &format!("node {place} does not boot: {}", error.told())));
                }
            }
        });
        drop(runtime.spawn(boot_it));
        drop(inside);
        self.life = Some(Life { runtime, clock, node: slot, shelf, suspended: None });
        Ok(())
    }

    /// Lets the process run until the time of the simulation is `until`.
    pub(super) fn run(&mut self, until: Duration) {
        let Some(life) = &mut self.life else { return };
        if let Some((since, end)) = life.suspended {
            if until <= end {
                return;
            }
            life.suspended = None;
            let _inside = life.runtime.enter();
            life.clock.was_suspended(end - since);
            self.common.chronicle.rules(|rules| rules.woke(end, self.place, end - since));
        }
        let clock = &life.clock;
        let stage = Stage { node: self.place, clock: Arc::clone(clock), chronicle: self.common.chronicle.clone() };
        stage.enter();
        life.runtime.block_on(async { tokio::time::sleep(until.saturating_sub(clock.time())).await });
        if life.node.over.load(Ordering::Relaxed) {
            self.crash(until);
        }
    }

    /// Ends the process without a word: everything it was is dropped at once.
    pub(super) fn crash(&mut self, now: Duration) {
        let Some(life) = self.life.take() else { return };
        self.common.network.set_running(self.place, 0);
        self.common.chronicle.rules(|rules| rules.gone(now, self.place));
        let inside = life.runtime.enter();
        let node = life.node.lock().take();
        drop(node);
        drop(inside);
        drop(life.runtime);
    }

    /// Has the node stop in order; its process ends when that is done. False where there is none that could.
    pub(super) fn stop(&mut self, now: Duration) -> bool {
        let Some(life) = &self.life else { return false };
        let Some(node) = life.node.lock().take() else { return false };
        let (chronicle, place, slot) = (self.common.chronicle.clone(), self.place, Arc::clone(&life.node));
        chronicle.rules(|rules| rules.stopping(now, place));
        drop(life.runtime.spawn(async move {
            node.stop().await;
            slot.over.store(true, Ordering::Relaxed);
        }));
        true
    }

    /// Suspends the machine until `end`: nothing there runs, and its clock stands still. False where it is suspended, or no
    /// node has booted.
    pub(super) fn suspend(&mut self, now: Duration, end: Duration) -> bool {
        let Some(life) = &mut self.life else { return false };
        let can_be = life.suspended.is_none() && life.node.lock().is_some();
        if can_be {
            life.suspended = Some((now, end));
        }
        can_be
    }

    /// The leases that the node has; `None` where nothing runs.
    pub(super) fn holds(&self) -> Option<Vec<Holding>> {
        let life = self.life.as_ref().filter(|life| life.suspended.is_none())?;
        let _inside = life.runtime.enter();
        Some(life.shelf.all())
    }

    /// Does something with the node, inside its runtime; `None` while there is none.
    pub(super) fn with<T>(&self, act: impl FnOnce(&Node) -> T) -> Option<T> {
        let life = self.life.as_ref().filter(|life| life.suspended.is_none())?;
        let _inside = life.runtime.enter();
        life.node.lock().as_ref().map(act)
    }

    /// Runs something beside the node, for as long as its process lives.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(life) = &self.life {
            drop(life.runtime.spawn(future));
        }
    }

    /// What the node believes of all members; `None` while there is no node.
    pub(super) fn views(&self) -> Option<Vec<MemberView>> {
        self.with(|node| node.cluster().members())
    }

    /// What the node's actors have of names and groups, its id, and what it holds of what others say.
    pub(super) fn has(&self) -> Option<(Has, NodeId, Vec<HeldShard>)> {
        self.with(|node| {
            let Entries { names, .. } = node.system().entries();
            let names = names.into_iter().map(|(name, path)| (name.to_string(), path.to_string())).collect();
            let members = GROUPS.iter().flat_map(|group| {
                let paths = node.system().group_paths(&name(group)).into_iter();
                paths.map(|(path, scope)| ((*group).to_owned(), scope, path.to_string()))
            });
            let me = node.cluster().me().id;
            let claims = NAMES.iter().filter_map(|known| {
                let claim = node.cluster().claim(&name(known)).filter(|claim| claim.node == me)?;
                Some(((*known).to_owned(), claim.since))
            });
            let has = Has { names, claims: claims.collect(), members: members.collect() };
            (has, me, node.cluster().held_shards())
        })
    }

    /// What the node sees of names and groups, where `views` are its members. Who has names and who is in groups it may see
    /// late except in the quiet, and is looked at then.
    pub(super) fn sees(&self, views: &[(usize, MemberView)], is_quiet: bool) -> Option<Sees> {
        let place = |node: &NodeName| self.common.names.iter().position(|known| known == node);
        let actor = |at: Place| Some((place(&at.node)?, at.path.to_string()));
        self.with(|node| {
            let cluster = node.cluster();
            let mut sees = Sees::default();
            for known in NAMES {
                let name = name(known);
                if is_quiet {
                    sees.holders.push((known.to_owned(), cluster.holder(&name).and_then(actor)));
                }
                let claim = cluster.claim(&name);
                let at = claim.and_then(|claim| Some((views.iter().find(|(_, view)| view.id == claim.node)?.0, claim)));
                sees.claims.extend(at.map(|(at, claim)| (known.to_owned(), at, claim)));
            }
            for known in GROUPS.into_iter().filter(|_| is_quiet) {
                let name = name(known);
                let members: Vec<Actor> = cluster.group_places(&name).into_iter().filter_map(actor).collect();
                let count = cluster.group::<Message>(known).map_or(0, |group| group.count());
                sees.groups.push((known.to_owned(), members.clone(), count.saturating_sub(members.len() as u64)));
            }
            let is_there = |view: &MemberView| {
                matches!(view.state, MemberState::Reachable | MemberState::Unreachable | MemberState::Asleep)
            };
            sees.there = views.iter().filter(|(_, view)| is_there(view)).map(|(at, _)| *at).collect();
            sees
        })
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a simulation has good names")
}

/// Takes down what happens to the node's actors and in its view of the cluster.
async fn follow(cluster: Arc<Cluster>, system: System, slot: Arc<Slot>, to: (usize, Arc<NodeClock>, Chronicle)) {
    let (place, clock, chronicle) = to;
    let (mut members, mut actors, mut ended) = (cluster.events(), system.events(), std::pin::pin!(system.ended()));
    drop(cluster);
    loop {
        tokio::select! {
            biased;
            event = actors.recv() => match event {
                Ok(event) => {
                    let now = clock.time();
                    chronicle.tell(now, &format!("n{place} {}", words(&event)));
                    chronicle.rules(|rules| rules.runtime(now, place, &event));
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            event = members.recv() => match event {
                Ok(MemberEvent::Changed(view)) => {
                    let MemberView { name, state, epoch, .. } = view;
                    chronicle.tell(clock.time(), &format!("n{place} sees {name} {state}, epoch {epoch}"));
                }
                Ok(event) => chronicle.tell(clock.time(), &format!("n{place} {event:?}")),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            reason = &mut ended => {
                // Where it was told to stop, whoever does that says when it is over.
                if slot.lock().is_some() {
                    chronicle.tell(clock.time(), &format!("n{place} gives up: {reason}"));
                    slot.over.store(true, Ordering::Relaxed);
                }
                return;
            }
        }
    }
}

fn words(event: &RuntimeEvent) -> String {
    match event {
        RuntimeEvent::Started { path, incarnation } => format!("{path} #{incarnation} starts"),
        RuntimeEvent::StartFailed { path, reason, .. } => format!("{path} does not start: {reason}"),
        RuntimeEvent::Exited { path, incarnation, reason } => format!("{path} #{incarnation} ends: {reason}"),
        RuntimeEvent::Escalated { path, reason, .. } => format!("{path} gives up after: {reason}"),
        RuntimeEvent::Unkillable { path, incarnation } => format!("{path} #{incarnation} does not end though killed"),
    }
}
