//! One behaviour that does what a test says, and a journal of what happened.
#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "a module of test binaries")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use covenant_env::{Env, Metrics};
use covenant_runtime::{
    ActorState, AdminFailure, Behaviour, BehaviourRegistry, Context, CrashLog, Down, DownReason, Exit, Observe, Ref,
    Reply, Resources, RuntimeEvent, StartError, System, SystemConfig, TreeView,
};
use covenant_supervision::{Host, TreeSource, TreeSourceError, TreeSpec, Work, load_tree};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation, Scope};
use serde::Deserialize;
use tokio::sync::{Notify, broadcast};

/// No test waits longer than this for anything.
pub const LONG: Duration = Duration::from_secs(20);

/// What a [`Probe`] is told.
pub enum Ask {
    /// Answers the incarnation.
    Who(Reply<Incarnation>),
    /// Notes a number.
    Note(u64),
    /// Answers the numbers noted over all incarnations.
    Noted(Reply<Vec<u64>>),
    /// Ends in that way. The reply, if any, is in hand then.
    End(End, Option<Reply<()>>),
    /// Says that it is held, then waits until it is let go.
    Hold(Arc<Gate>),
    /// As `Hold`, with a reply in hand that is sent afterwards.
    HoldReply(Arc<Gate>, Reply<()>),
    /// Says that it is held, then spins without waiting until it is let go.
    Spin(Arc<Gate>),
    /// Runs this beside the actor.
    Beside(Act),
    /// Starts an instance under that dynamic supervisor.
    SpawnChild(ActorPath, Reply<Result<ActorPath, AdminFailure>>),
    /// Keeps a reply in the state.
    Keep(Reply<()>),
    /// Drops the reply.
    Forget(Reply<()>),
}

/// Something to do inside a probe.
pub type Act = Box<dyn FnOnce(&Context<Probe>) + Send>;

/// Ways to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Panic,
    Error,
    Normal,
    Shutdown,
    Stop,
}

/// A place where a handler waits for a test, and the test for the handler.
#[derive(Default)]
pub struct Gate {
    entered: Notify,
    open: Notify,
    spinning: AtomicBool,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { spinning: AtomicBool::new(true), ..Self::default() })
    }
    pub async fn entered(&self) {
        within(self.entered.notified()).await;
    }
    /// Says that it is held, then waits until it is let go.
    pub async fn hold(&self) {
        self.entered.notify_one();
        self.open.notified().await;
    }
    /// As `hold`, without an `.await`.
    pub fn spin(&self) {
        self.entered.notify_one();
        while self.spinning.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
    pub fn open(&self) {
        self.spinning.store(false, Ordering::Release);
        self.open.notify_one();
    }
}

/// What happened, in order, and what the probes are to do.
#[derive(Default)]
pub struct Journal {
    lines: Mutex<Vec<String>>,
    noted: Mutex<BTreeMap<ActorPath, Vec<u64>>>,
    /// How many of the next starts of an id fail.
    pub failing_starts: Mutex<BTreeMap<String, u32>>,
    pub alive: AtomicU32,
    hang: AtomicBool,
}

impl Journal {
    pub fn write(&self, line: impl Into<String>) {
        self.lines.lock().unwrap().push(line.into());
    }
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
    pub fn clear(&self) {
        self.lines.lock().unwrap().clear();
    }
    /// The next start of any probe never returns.
    pub fn hang_next_start(&self) {
        self.hang.store(true, Ordering::Release);
    }
    pub fn fail_starts(&self, id: &str, times: u32) {
        self.failing_starts.lock().unwrap().insert(id.to_owned(), times);
    }
}

/// What a probe's child may say in its `config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// `ignore`, `fail` or `panic`.
    pub start: String,
    /// `hang`, `panic`.
    pub stop: String,
    /// What it tells who starts it.
    pub info: String,
    /// `error`, `panic`: what it does when it hears of an end.
    pub down: String,
    /// A path to link with before it starts.
    pub link: String,
    /// A path to monitor before it starts.
    pub monitor: String,
    /// A name to take before it starts.
    pub register: String,
    /// A group of the region to join before it starts.
    pub join: String,
    /// `panic`: what it does when it is inspected.
    pub inspect: String,
}

pub struct Probe {
    config: ProbeConfig,
    journal: Arc<Journal>,
    id: String,
    kept: Vec<Reply<()>>,
}

impl Behaviour for Probe {
    type Config = ProbeConfig;
    type Message = Ask;

    async fn start(config: ProbeConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let journal: Arc<Journal> = ctx.resource()?;
        let id = ctx.path().id().to_owned();
        if !config.monitor.is_empty() {
            ctx.monitor(&config.monitor.parse::<ActorPath>().unwrap()).unwrap();
        }
        if !config.link.is_empty() {
            ctx.link(&config.link.parse::<ActorPath>().unwrap()).unwrap();
        }
        if !config.register.is_empty() {
            ctx.register(&config.register)?;
        }
        if !config.join.is_empty() {
            ctx.join_group(&config.join, Scope::Region)?;
        }
        let fails = journal.failing_starts.lock().unwrap().get_mut(&id).is_some_and(|left| {
            let fails = *left > 0;
            *left = left.saturating_sub(1);
            fails
        });
        if fails {
            journal.write(format!("fail {id}"));
            return Err(StartError::failed("told to"));
        }
        if journal.hang.swap(false, Ordering::AcqRel) {
            journal.write(format!("hang {id}"));
            std::future::pending::<()>().await;
        }
        match config.start.as_str() {
            "ignore" => return Err(StartError::Ignore),
            "taken" => return Err(StartError::NameTaken("/other".to_owned())),
            "fail" => return Err(StartError::failed("told to")),
            "panic" => panic!("told to"),
            _ => {}
        }
        if !config.info.is_empty() {
            ctx.tell_starter(&*config.info);
        }
        journal.write(format!("start {id}"));
        journal.alive.fetch_add(1, Ordering::AcqRel);
        Ok(Self { config, journal, id, kept: Vec::new() })
    }

    async fn handle(&mut self, message: Ask, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            Ask::Who(reply) => reply.send(ctx.incarnation()),
            Ask::Note(number) => {
                self.journal.noted.lock().unwrap().entry(ctx.path().clone()).or_default().push(number);
            }
            Ask::Noted(reply) => {
                let noted = self.journal.noted.lock().unwrap().get(ctx.path()).cloned();
                reply.send(noted.unwrap_or_default());
            }
            Ask::End(how, reply) => {
                let _in_hand = reply;
                match how {
                    End::Panic => panic!("told to"),
                    End::Error => return Err(Exit::error("told to")),
                    End::Normal => return Err(Exit::normal()),
                    End::Shutdown => return Err(Exit::shutdown()),
                    End::Stop => ctx.stop(),
                }
            }
            Ask::Hold(gate) => gate.hold().await,
            Ask::HoldReply(gate, reply) => {
                gate.hold().await;
                reply.send(());
            }
            Ask::Spin(gate) => gate.spin(),
            Ask::Beside(act) => act(ctx),
            Ask::SpawnChild(supervisor, reply) => reply.send(ctx.spawn_child(&supervisor, toml::Table::new()).await),
            Ask::Keep(reply) => self.kept.push(reply),
            Ask::Forget(reply) => drop(reply),
        }
        Ok(())
    }

    async fn down(&mut self, down: Down, _: &Context<Self>) -> Result<(), Exit> {
        let Down { monitor, node, path, incarnation, reason } = down;
        assert_eq!(node, None);
        let by = if monitor.is_some() { "monitor" } else { "link" };
        let which = incarnation.map_or(String::new(), |incarnation| format!(" #{incarnation}"));
        self.journal.write(format!("{} by {by}: {path}{which} {}", self.id, word(&reason)));
        match self.config.down.as_str() {
            "error" => Err(Exit::error("down")),
            "panic" => panic!("down"),
            _ => Ok(()),
        }
    }

    fn kind(message: &Ask) -> &'static str {
        if let Ask::Note(_) = message { "Note" } else { "Other" }
    }

    fn text(message: &Ask) -> Option<String> {
        if let Ask::Note(number) = message { Some(number.to_string()) } else { None }
    }

    fn inspect(&self) -> Option<serde_json::Value> {
        assert_ne!(self.config.inspect, "panic", "told to, in inspect");
        Some(serde_json::json!({ "kept": self.kept.len() }))
    }

    async fn stop(self, reason: &ExitReason, _: &Context<Self>) {
        self.journal.write(format!("stop {} {reason}", self.id));
        match self.config.stop.as_str() {
            "hang" => std::future::pending().await,
            "panic" => panic!("told to, in stop"),
            _ => {}
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.journal.write(format!("end {}", self.id));
        self.journal.alive.fetch_sub(1, Ordering::AcqRel);
    }
}

/// As the journal tells it.
fn word(reason: &DownReason) -> String {
    match reason {
        DownReason::Exited(reason) => reason.to_string(),
        DownReason::NoProc => "noproc".to_owned(),
        DownReason::NoConnection => "noconnection".to_owned(),
    }
}

/// Runs `act` inside the actor and returns what it gave.
pub async fn inside<T: Send + 'static>(probe: Ref<Ask>, act: impl FnOnce(&Context<Probe>) -> T + Send + 'static) -> T {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let beside = Ask::Beside(Box::new(move |ctx| drop(sender.send(act(ctx)))));
    probe.cast(beside).await.unwrap();
    within(receiver).await.unwrap()
}

/// Env with its own runtime for behaviours, whose threads a test may block.
pub fn env_with_workers(threads: usize) -> (Env, tokio::runtime::Runtime) {
    let work = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let system = tokio::runtime::Handle::current();
    (Env::real(system, work.handle().clone(), 7, Metrics::none()), work)
}

/// A running system of probes.
pub struct Rig {
    pub system: System,
    pub journal: Arc<Journal>,
    events: broadcast::Receiver<RuntimeEvent>,
}

impl Rig {
    /// Starts the tree `main.toml`. Further files follow as name and text.
    pub async fn start(main: &str, others: &[(&str, &str)]) -> Self {
        Self::try_start(main, others).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn try_start(main: &str, others: &[(&str, &str)]) -> Result<Self, covenant_runtime::BootError> {
        Self::start_in(Env::for_test(7), main, others).await
    }

    /// A rig whose abnormal ends are told to the log beside it.
    pub async fn start_with_log(main: &str, others: &[(&str, &str)]) -> (Self, CrashLog) {
        let (journal, log) = (Arc::new(Journal::default()), CrashLog::new());
        let observe = Observe { crashes: Some(log.clone()), ..Observe::default() };
        let system = System::start_observed(config(Env::for_test(7), main, others, &journal), observe).await.unwrap();
        let events = system.events();
        (Self { system, journal, events }, log)
    }

    pub async fn start_in(env: Env, main: &str, others: &[(&str, &str)]) -> Result<Self, covenant_runtime::BootError> {
        let journal = Arc::new(Journal::default());
        let system = System::start(config(env, main, others, &journal)).await?;
        let events = system.events();
        Ok(Self { system, journal, events })
    }

    pub fn probe(&self, path: &str) -> Ref<Ask> {
        self.system.lookup(&path.parse().unwrap()).unwrap()
    }

    pub async fn who(&self, path: &str) -> u32 {
        self.probe(path).call(Ask::Who, LONG).await.unwrap_or_else(|error| panic!("{path}: {error}")).0
    }

    pub async fn end(&self, path: &str, how: End) {
        self.probe(path).cast(Ask::End(how, None)).await.unwrap();
    }

    /// Reads events until one is as wanted.
    pub async fn wait_for(&mut self, wanted: impl Fn(&RuntimeEvent) -> bool) -> RuntimeEvent {
        within(async {
            loop {
                let event = self.events.recv().await.unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }

    /// The reason with which `path` ends next.
    pub async fn exit_of(&mut self, path: &str) -> ExitReason {
        let path: ActorPath = path.parse().unwrap();
        let event = self.wait_for(|event| matches!(event, RuntimeEvent::Exited { path: p, .. } if *p == path)).await;
        let RuntimeEvent::Exited { reason, .. } = event else { unreachable!() };
        reason
    }

    /// Waits for the next start of `path`.
    pub async fn start_of(&mut self, path: &str) -> u32 {
        let path: ActorPath = path.parse().unwrap();
        let event = self.wait_for(|event| matches!(event, RuntimeEvent::Started { path: p, .. } if *p == path)).await;
        let RuntimeEvent::Started { incarnation, .. } = event else { unreachable!() };
        incarnation.0
    }

    pub fn view(&self, path: &str) -> TreeView {
        self.find(path).unwrap()
    }

    /// What the tree shows at `path`; nothing where there is no spec.
    pub fn find(&self, path: &str) -> Option<TreeView> {
        self.system.tree().find(&path.parse().unwrap()).cloned()
    }

    pub fn state(&self, path: &str) -> ActorState {
        self.view(path).state
    }

    /// Waits until `path` is in `state`.
    pub async fn until(&self, path: &str, state: ActorState) {
        eventually(|| self.state(path) == state).await;
    }

    pub async fn kill(&self, path: &str) {
        self.system.kill(&path.parse::<ActorPath>().unwrap()).await.unwrap();
    }
}

pub fn config(env: Env, main: &str, others: &[(&str, &str)], journal: &Arc<Journal>) -> SystemConfig {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Probe>("probe");
    let mut resources = Resources::new();
    resources.insert(Arc::clone(journal));
    SystemConfig { env, tree: tree(main, others), registry, resources }
}

pub fn tree(main: &str, others: &[(&str, &str)]) -> TreeSpec {
    struct Files(BTreeMap<String, String>);
    impl TreeSource for Files {
        fn read(&self, name: &str) -> Result<String, TreeSourceError> {
            Ok(self.0[name].clone())
        }
    }
    let mut files: BTreeMap<_, _> =
        others.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    files.insert("main".to_owned(), main.to_owned());
    let mut tree = load_tree("main", &Files(files)).unwrap_or_else(|error| panic!("{error}"));
    put_on(super::HOST, &mut tree);
    tree
}

/// Has every behaviour of `tree` run on `host`, also where a file could not say so.
fn put_on(host: Host, tree: &mut TreeSpec) {
    for child in &mut tree.children {
        child.host = host;
        if let Work::Tree(below) = &mut child.work {
            put_on(host, below);
        }
    }
}

/// A tree of probes in one line: the supervisor's keys, then the children's ids, each perhaps with keys of its own.
pub fn probes(keys: &str, children: &[(&str, &str)]) -> String {
    let mut text = format!("{}\n", keys.replace("; ", "\n"));
    for (id, keys) in children {
        let keys = keys.replace("; ", "\n");
        text.push_str(&format!("[[child]]\nid = \"{id}\"\nbehaviour = \"probe\"\n{keys}\n"));
    }
    text
}

/// A supervisor's child that is a tree file.
pub fn subtree(id: &str, keys: &str) -> String {
    format!("[[child]]\nid = \"{id}\"\ntree = \"{id}\"\n{}\n", keys.replace("; ", "\n"))
}

/// The output of `future`, which must come soon.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("it takes too long")
}

/// Waits until `condition` holds.
pub async fn eventually(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What a call gets whose actor ended with `reason` while it had the request.
pub fn gone(reason: ExitReason) -> CallError {
    CallError::Gone(reason)
}
