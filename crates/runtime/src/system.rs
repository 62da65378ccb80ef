//! One node's actors, from the outside.

mod outside;
mod records;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use covenant_env::{Env, Task};
use covenant_supervision::{ChildId, ChildNode, SpecError, TreeSpec};
use covenant_types::{ActorPath, CallError, ExitReason, StartAttempt, StartAttempts, rendezvous};
use tokio::sync::{broadcast, watch};

use crate::deadline::{self, Deadlines};
use crate::following::TraceIds;
use crate::host::PlainMailbox;
use crate::mailbox::Mailbox;
use crate::names::Names;
use crate::notice::Notice;
use crate::plan::{PlannedChild, TreePlan, plan, plan_child, refit};
use crate::registry::Starter;
use crate::slot::{Handle, Running, Slot};
use crate::supervisor::{self, Desk};
use crate::{
    Abroad, BehaviourRegistry, BootError, CrashLog, DECLARED_MAX, Declared, EVENTS_MAX, Inlet, Observe, Ref, Remotable,
    Resources, RuntimeEvent, TreeView,
};
use outside::Outside;
use records::Records;

/// What a system is made of.
#[derive(Debug)]
pub struct SystemConfig {
    /// The world it runs in.
    pub env: Env,
    /// What runs, and what a crash means.
    pub tree: TreeSpec,
    /// The behaviours the tree may name.
    pub registry: BehaviourRegistry,
    /// What behaviours may ask for.
    pub resources: Resources,
}

/// A running tree. Cheap to clone. When the last clone outside its own actors is dropped, the tree is killed; call
/// [`System::stop`] to end it in order.
#[derive(Clone)]
pub struct System {
    shared: Arc<Shared>,
    /// `None` in the clones that the actors hold, or the system would keep itself alive.
    _owner: Option<Arc<Owner>>,
}

struct Shared {
    env: Env,
    resources: Resources,
    root: Arc<Slot>,
    /// The record of every path there is; children are added and taken away while the tree runs.
    records: Records,
    names: Arc<Names>,
    registry: BehaviourRegistry,
    deadlines: Arc<Deadlines>,
    attempts: StartAttempts,
    traces: TraceIds,
    /// How many links and monitors were made.
    ties: AtomicU64,
    /// The way to actors of other nodes.
    abroad: ArcSwapOption<Arc<dyn Abroad>>,
    /// The message types of actors that were exposed.
    declared: Mutex<BTreeMap<&'static str, Declared>>,
    events: broadcast::Sender<RuntimeEvent>,
    observe: Observe,
    state: watch::Sender<RootState>,
    stopping: AtomicBool,
    unkillable: AtomicUsize,
    /// The last start that failed while the tree booted: what went wrong, where the root only knows that it did.
    boot_failure: Mutex<Option<(ActorPath, ExitReason)>>,
    /// Ends calls whose deadline has passed.
    _keeper: Task,
}

#[derive(Clone, Debug)]
enum RootState {
    Starting,
    Running,
    Ended(ExitReason),
}

/// Kills the tree with its last owner.
struct Owner(Running);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// There is one attempt to start a root: attempts of children begin with 1.
const ROOT_ATTEMPT: StartAttempt = StartAttempt(0);
/// How long [`System::stop`] waits for the end of what it had to kill.
const KILL_WAIT: Duration = Duration::from_secs(1);

impl System {
    /// Starts the tree and waits until all its children have started.
    ///
    /// # Errors
    /// The tree names something this node does not have, or a child did not start. Nothing runs then.
    ///
    /// # Cancel safety
    /// Dropping the future kills what has started.
    pub async fn start(config: SystemConfig) -> Result<Self, BootError> {
        Self::start_observed(config, Observe::default()).await
    }

    /// As [`System::start`], and says what is remembered of its actors.
    ///
    /// # Errors
    /// As [`System::start`].
    ///
    /// # Cancel safety
    /// As [`System::start`].
    pub async fn start_observed(config: SystemConfig, observe: Observe) -> Result<Self, BootError> {
        let SystemConfig { env, tree, registry, resources } = config;
        let id = ChildId::new("root").map_err(|why: SpecError| BootError::BadSpec { path: ActorPath::root(), why })?;
        let deadlines = Deadlines::new(Arc::clone(&env.clock));
        let plan = Arc::new(plan(tree, &ActorPath::root(), 0, &registry, &deadlines)?);
        let shared = Shared::new(env, resources, registry, &plan, deadlines, observe);
        let system = Self { shared: Arc::new(shared), _owner: None };
        let mut state = system.shared.state.subscribe();
        let above = Arc::new(Outside(system.clone()));
        let notice = Notice::new(above, Arc::clone(&system.shared.root), id, ROOT_ATTEMPT);
        let held = Arc::downgrade(&notice);
        let handle = supervisor::spawn(plan, system.clone(), notice)
            .ok_or_else(|| system.shared.boot_error(ExitReason::Killed))?;
        let running = Running { attempt: ROOT_ATTEMPT, handle, notice: held };
        system.shared.root.set_running(running.clone());
        let owner = Arc::new(Owner(running));
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                RootState::Starting => {}
                RootState::Running => return Ok(Self { _owner: Some(owner), ..system }),
                RootState::Ended(reason) => return Err(system.shared.boot_error(reason)),
            }
            // The sender is in `system`, so this cannot fail.
            let _ = state.changed().await;
        }
    }

    /// Stops everything in reverse start order. What still runs after `deadline` is killed.
    ///
    /// A handler that never waits outlives even that: it is named in the report.
    pub async fn stop(&self, deadline: Duration) -> StopReport {
        let began = self.shared.env.now();
        self.shared.stopping.store(true, Ordering::Release);
        let mut in_time = true;
        if let Some(root) = self.shared.root.running()
            && let Handle::Supervisor(actor, _) = &root.handle
        {
            root.stop();
            // The root's actor stops when all below it have stopped, or were killed and given up as unkillable.
            in_time = deadline::within(deadline, actor.wait(None)).await.is_some();
            if !in_time {
                root.kill();
                let _ = deadline::within(KILL_WAIT, self.ended()).await;
            }
        }
        self.shared.root.close_gone(ExitReason::Shutdown);
        let mut still_running = Vec::new();
        self.shared.root.collect_running(&mut still_running);
        StopReport { took: self.shared.env.now().since(began), in_time, still_running }
    }

    /// Resolves when the root has ended, with its reason: it gave up, or was stopped.
    pub fn ended(&self) -> impl Future<Output = ExitReason> + Send + 'static {
        let mut state = self.shared.state.subscribe();
        async move {
            loop {
                if let RootState::Ended(reason) = &*state.borrow_and_update() {
                    return reason.clone();
                }
                if state.changed().await.is_err() {
                    return ExitReason::Killed; // the system has gone without an end of its root
                }
            }
        }
    }

    /// The tree as it is.
    pub fn tree(&self) -> TreeView {
        self.shared.root.view(&self.shared.env)
    }

    /// The actor at `path`. It need not run: messages wait for it.
    ///
    /// # Errors
    /// [`CallError::NoProc`] where the tree has no such actor, `Rejected` where its messages are of another type.
    pub fn lookup<M: Send + 'static>(&self, path: &ActorPath) -> Result<Ref<M>, CallError> {
        let mailbox = self.slot(path).and_then(|slot| slot.mailbox.clone()).ok_or(CallError::NoProc)?;
        let mailbox: Arc<Mailbox<M>> = mailbox
            .into_any()
            .downcast()
            .map_err(|_| CallError::Rejected(format!("{path} does not take {}", std::any::type_name::<M>())))?;
        Ok(Ref::local(mailbox))
    }

    /// Which partition of the supervisor at `path` takes `key`: its path, below which everything is as in the file. `None`
    /// where the tree has no such supervisor, or it has no partitions.
    pub fn partition(&self, path: &ActorPath, key: &[u8]) -> Option<ActorPath> {
        let slot = self.slot(path).filter(|slot| slot.is_partitioned())?;
        let parts = slot.children();
        let id = rendezvous(key, parts.iter().map(|part| part.path.id()))?;
        parts.iter().find(|part| part.path.id() == id).map(|part| part.path.clone())
    }

    /// The plain ractor actor that runs at `path`: this incarnation and not the next.
    ///
    /// # Errors
    /// [`CallError::NoProc`] where none runs, `Gone` where it ended for good, `Rejected` where what is there is no plain
    /// actor, or its messages are of another type.
    pub fn ractor<M: ractor::Message>(&self, path: &ActorPath) -> Result<ractor::ActorRef<M>, CallError> {
        let mailbox = self.slot(path).and_then(|slot| slot.mailbox.clone()).ok_or(CallError::NoProc)?;
        let plain: Arc<PlainMailbox<M>> = mailbox
            .into_any()
            .downcast()
            .map_err(|_| CallError::Rejected(format!("{path} is no ractor actor of {}", std::any::type_name::<M>())))?;
        plain.actor()
    }

    /// The way in for other nodes, once the actor at `path` has exposed itself.
    pub fn inlet(&self, path: &ActorPath) -> Option<Arc<dyn Inlet>> {
        self.slot(path)?.inlet()
    }

    /// The message types that other nodes may send to actors of this system, by name: at most [`DECLARED_MAX`].
    pub fn declared(&self) -> Vec<Declared> {
        self.shared.declared.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }

    /// An actor that takes these was exposed.
    pub(crate) fn declare<M: Remotable>(&self) {
        let mut declared = self.shared.declared.lock().unwrap_or_else(PoisonError::into_inner);
        if !declared.contains_key(M::NAME) && declared.len() < DECLARED_MAX {
            declared.insert(M::NAME, Declared { name: M::NAME, schema: M::schema() });
        }
    }

    /// What happens from now on. A receiver that lags by more than [`EVENTS_MAX`] loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.shared.events.subscribe()
    }

    /// How many incarnations were killed and go on running.
    pub fn unkillable(&self) -> usize {
        self.shared.unkillable.load(Ordering::Acquire)
    }

    /// The behaviours that trees of this system may name.
    pub fn behaviours(&self) -> &BehaviourRegistry {
        &self.shared.registry
    }

    /// The world this system runs in.
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    pub(crate) fn slot(&self, path: &ActorPath) -> Option<Arc<Slot>> {
        self.shared.records.get(path)
    }

    /// Where orders to the supervisor at `path` go, while it runs.
    pub(crate) fn desk(&self, path: &ActorPath) -> Option<Arc<Desk>> {
        match self.slot(path)?.running()?.handle {
            Handle::Supervisor(_, desk) => Some(desk),
            Handle::Worker(..) => None,
        }
    }

    /// Makes the record of a new path, and those below it, known.
    pub(crate) fn enter(&self, slot: &Arc<Slot>) {
        self.shared.records.enter(slot);
    }

    /// Takes the record of a path, and those below it, away.
    pub(crate) fn strike_off(&self, slot: &Arc<Slot>) {
        self.shared.records.strike_off(slot);
    }

    /// The plan of a child that is added while the tree runs.
    pub(crate) fn plan_child(
        &self,
        node: &ChildNode,
        path: ActorPath,
        place: u64,
        starter: Option<&Arc<dyn Starter>>,
    ) -> Result<PlannedChild, BootError> {
        plan_child(node, path, place, starter, &self.shared.registry, &self.shared.deadlines)
    }

    /// The plan of a child that becomes something else and keeps its mailbox.
    pub(crate) fn refit(&self, node: &ChildNode, slot: &Arc<Slot>) -> Result<PlannedChild, String> {
        refit(node, slot, &self.shared.registry)
    }

    pub(crate) fn names(&self) -> &Arc<Names> {
        &self.shared.names
    }

    pub(crate) fn trace_ids(&self) -> &TraceIds {
        &self.shared.traces
    }

    pub(crate) fn abroad_cell(&self) -> &ArcSwapOption<Arc<dyn Abroad>> {
        &self.shared.abroad
    }

    /// What a new link or monitor is known by.
    pub(crate) fn next_tie(&self) -> u64 {
        self.shared.ties.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn resources(&self) -> &Resources {
        &self.shared.resources
    }

    /// Whether actors note what they handle.
    pub(crate) fn is_recording(&self) -> bool {
        self.shared.observe.record
    }

    /// Where abnormal ends are told.
    pub(crate) fn crashes(&self) -> Option<&CrashLog> {
        self.shared.observe.crashes.as_ref()
    }

    pub(crate) fn attempts(&self) -> StartAttempts {
        self.shared.attempts.clone()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn publish(&self, event: RuntimeEvent) {
        // Without a receiver nobody wants it.
        let _ = self.shared.events.send(event);
    }

    /// A behaviour did not start. Who waits for the tree to boot is told which.
    pub(crate) fn note_start_failure(&self, path: &ActorPath, reason: &ExitReason) {
        if matches!(*self.shared.state.borrow(), RootState::Starting) {
            *self.shared.boot_failure() = Some((path.clone(), reason.clone()));
        }
    }

    /// One more or one less incarnation that was killed and goes on running.
    pub(crate) fn count_unkillable(&self, more: bool) {
        let counted = &self.shared.unkillable;
        let now =
            if more { counted.fetch_add(1, Ordering::AcqRel) + 1 } else { counted.fetch_sub(1, Ordering::AcqRel) - 1 };
        let gauge = self.shared.env.metrics.gauge("covenant_unkillable_tasks", &[]);
        gauge.set(u32::try_from(now).map_or(f64::INFINITY, f64::from));
    }
}

impl Shared {
    fn new(
        env: Env,
        resources: Resources,
        registry: BehaviourRegistry,
        plan: &TreePlan,
        deadlines: Arc<Deadlines>,
        observe: Observe,
    ) -> Self {
        let keeper = env.system.spawn(Arc::clone(&deadlines).keep());
        let records = Records::default();
        records.enter(&plan.slot);
        let traces = TraceIds::new(env.random);
        Self {
            traces,
            env,
            resources,
            root: Arc::clone(&plan.slot),
            records,
            names: Arc::default(),
            registry,
            deadlines,
            attempts: StartAttempts::default(),
            ties: AtomicU64::new(0),
            abroad: ArcSwapOption::empty(),
            declared: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_MAX),
            observe,
            state: watch::Sender::new(RootState::Starting),
            stopping: AtomicBool::new(false),
            unkillable: AtomicUsize::new(0),
            boot_failure: Mutex::new(None),
            _keeper: keeper,
        }
    }
}

impl Shared {
    fn boot_failure(&self) -> MutexGuard<'_, Option<(ActorPath, ExitReason)>> {
        self.boot_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn boot_error(&self, reason: ExitReason) -> BootError {
        let (path, reason) = self.boot_failure().take().unwrap_or((ActorPath::root(), reason));
        BootError::StartFailed { path, reason }
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").field("actors", &self.shared.records.len()).finish_non_exhaustive()
    }
}

/// How a stop went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// How long it took.
    pub took: Duration,
    /// Whether everything ended before the deadline. If not, the rest was killed, without order.
    pub in_time: bool,
    /// What does not end even so: handlers that never wait.
    pub still_running: Vec<ActorPath>,
}
