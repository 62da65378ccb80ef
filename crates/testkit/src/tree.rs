//! A tree that runs, asked and waited for.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use covenant_env::Env;
use covenant_runtime::{
    BehaviourRegistry, BootError, CrashLog, CrashReport, Observe, Ref, Reply, Resources, RuntimeEvent, System,
    SystemConfig, TreeView,
};
use covenant_supervision::TreeSpec;
use covenant_types::{ActorPath, ExitReason};
use tokio::sync::broadcast::{self, error::TryRecvError};

/// How long anything is waited for, in virtual time: longer than back-offs are.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How many events are kept, and shown where an expectation fails.
const EVENTS_KEPT: usize = 64;

/// A running tree. Dropping it ends all its actors.
pub struct TestTree {
    system: System,
    crashes: CrashLog,
    events: Mutex<Events>,
}

struct Events {
    receiver: broadcast::Receiver<RuntimeEvent>,
    seen: VecDeque<RuntimeEvent>,
}

impl TestTree {
    pub(crate) async fn start(
        env: Env,
        tree: TreeSpec,
        registry: BehaviourRegistry,
        resources: Resources,
    ) -> Result<Self, BootError> {
        let crashes = CrashLog::new();
        let observe = Observe { crashes: Some(crashes.clone()), ..Observe::default() };
        let system = System::start_observed(SystemConfig { env, tree, registry, resources }, observe).await?;
        let events = Mutex::new(Events { receiver: system.events(), seen: VecDeque::new() });
        Ok(Self { system, crashes, events })
    }

    /// Everything else that a system can do.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The tree as it is.
    pub fn view(&self) -> TreeView {
        self.system.tree()
    }

    /// The actor at `path`, whose messages are of type `M`.
    ///
    /// # Panics
    /// Nothing is there, or its messages are of another type.
    #[track_caller]
    pub fn actor<M: Send + 'static>(&self, path: &str) -> Ref<M> {
        self.system.lookup(&parse(path)).unwrap_or_else(|error| panic!("{path}: {error}\n{self}"))
    }

    /// Tells the actor at `path`.
    ///
    /// # Panics
    /// It does not take the message.
    pub async fn cast<M: Send + 'static>(&self, path: &str, message: M) {
        let told = self.actor(path).cast(message).await;
        told.unwrap_or_else(|error| panic!("{path} does not take the message: {error}\n{self}"));
    }

    /// Asks the actor at `path`.
    ///
    /// # Panics
    /// There is no answer: the message names why. To see an error, call [`TestTree::actor`].
    pub async fn call<M: Send + 'static, T: Send + 'static>(
        &self,
        path: &str,
        message: impl FnOnce(Reply<T>) -> M,
    ) -> T {
        let answer = self.actor(path).call(message, PATIENCE).await;
        answer.unwrap_or_else(|error| panic!("{path} does not answer: {error}\n{self}"))
    }

    /// Kills what runs at `path`.
    ///
    /// # Panics
    /// Nothing runs there.
    pub async fn kill(&self, path: &str) {
        let killed = self.system.kill(&parse(path)).await;
        killed.unwrap_or_else(|error| panic!("{error}\n{self}"));
    }

    /// How often what is at `path` was started; zero where nothing is.
    #[track_caller]
    pub fn incarnation(&self, path: &str) -> u32 {
        self.view().find(&parse(path)).map_or(0, |view| view.incarnation.0)
    }

    /// Waits until `path` has been started that often.
    ///
    /// # Panics
    /// It is not within [`PATIENCE`].
    pub async fn until_incarnation(&self, path: &str, incarnation: u32) {
        let at = parse(path);
        let so = |view: &TreeView| view.find(&at).is_some_and(|view| view.incarnation.0 >= incarnation);
        self.until(&format!("incarnation {incarnation} of {path}"), so).await;
    }

    /// Waits until `so` is true of the tree; `what` says in words what is waited for.
    ///
    /// # Panics
    /// It is not within [`PATIENCE`].
    pub async fn until(&self, what: &str, so: impl Fn(&TreeView) -> bool) {
        let looking = async {
            while !so(&self.view()) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_err() {
            panic!("waited {PATIENCE:?} of virtual time in vain for {what}\n{self}");
        }
    }

    /// Waits for the tree to give up, and returns why.
    ///
    /// # Panics
    /// It does not within [`PATIENCE`].
    pub async fn until_it_gives_up(&self) -> ExitReason {
        let ended = tokio::time::timeout(PATIENCE, self.system.ended()).await;
        ended.unwrap_or_else(|_| panic!("waited {PATIENCE:?} of virtual time in vain for the tree to give up\n{self}"))
    }

    /// Lets that much time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Lets everything happen that does not wait for time. It takes a millisecond.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// The abnormal ends since the last time this was asked: the first report of each kind, and how many there were.
    pub fn crashes(&self) -> Vec<(CrashReport, u64)> {
        let crashes = self.crashes.take().crashes.into_values();
        crashes.filter_map(|crashes| Some((crashes.first?, crashes.count))).collect()
    }

    /// Stops the tree in order.
    ///
    /// # Panics
    /// It takes longer than [`PATIENCE`], or something runs on.
    pub async fn stop(self) {
        let shown = self.to_string();
        let report = self.system.stop(PATIENCE).await;
        let left: Vec<String> = report.still_running.iter().map(ToString::to_string).collect();
        assert!(left.is_empty(), "the tree was stopped, and these run on: {}\nbefore: {shown}", left.join(", "));
        assert!(report.in_time, "the tree did not stop within {PATIENCE:?} of virtual time\nbefore: {shown}");
    }
}

impl fmt::Display for TestTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tree:\n")?;
        draw(&self.view(), 1, f)?;
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match events.receiver.try_recv() {
                Ok(event) => {
                    events.seen.push_back(event);
                    if events.seen.len() > EVENTS_KEPT {
                        events.seen.pop_front();
                    }
                }
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        f.write_str("what happened last:\n")?;
        events.seen.iter().try_for_each(|event| tell(event, f))
    }
}

impl fmt::Debug for TestTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn draw(view: &TreeView, depth: usize, into: &mut impl Write) -> fmt::Result {
    let TreeView { path, state, incarnation, behaviour, handled, .. } = view;
    let what = behaviour.as_deref().unwrap_or("supervisor");
    let waiting = view.mailbox.map_or(0, |mailbox| mailbox.depth);
    writeln!(into, "{:1$}{path} {what}: {state} #{incarnation}, {handled} handled, {waiting} waiting", "", depth * 2)?;
    view.children.iter().try_for_each(|child| draw(child, depth + 1, into))
}

fn tell(event: &RuntimeEvent, into: &mut impl Write) -> fmt::Result {
    match event {
        RuntimeEvent::Started { path, incarnation } => writeln!(into, "  {path} started, #{incarnation}"),
        RuntimeEvent::StartFailed { path, reason, .. } => writeln!(into, "  {path} did not start: {reason}"),
        RuntimeEvent::Exited { path, incarnation, reason } => writeln!(into, "  {path} #{incarnation} ended: {reason}"),
        RuntimeEvent::Escalated { path, reason, .. } => writeln!(into, "  {path} gave up after: {reason}"),
        RuntimeEvent::Unkillable { path, incarnation } => {
            writeln!(into, "  {path} #{incarnation} was killed and does not end")
        }
    }
}

#[track_caller]
fn parse(path: &str) -> ActorPath {
    path.parse().unwrap_or_else(|error| panic!("{path:?} is no path: {error}"))
}
