//! Supervises node processes: transient children of a one_for_one supervisor, five restarts in a minute, back-off from 1 s.
//! A node that was told to leave ends normally and stays down until it is started again.
//!
//! The same core decides as for actors; this driver starts programs and waits for them. Each process holds the read end of
//! a pipe as its stdin and stops in order when it ends, so that a SIGKILL of `up` leaves nobody behind.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use covenant_env::{Env, Task};
use covenant_node::api::{ApiError, ErrorKind};
use covenant_supervision::{
    AdminRequest, Backoff, ChildId, ChildKind, ChildSpec, ChildState, Effect, Event, Restart, Shutdown, Strategy,
    Supervisor, SupervisorSpec, Timer,
};
use covenant_types::{ExitReason, NodeName, StartAttempt, StartAttempts, Uptime};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};

/// One process as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessView {
    /// The node.
    pub(crate) node: NodeName,
    /// Its process while it runs.
    pub(crate) pid: Option<u32>,
    /// `running`, `restarting`, `held` or `stopping`.
    pub(crate) state: String,
    /// How often it was started again.
    pub(crate) restarts: u64,
    /// Why its last process ended: `normal` after an orderly stop.
    pub(crate) last_exit: Option<String>,
    /// When it ended, in milliseconds since `up` started.
    pub(crate) last_exit_ms: Option<u64>,
}

/// Restarts that are forgiven within [`PERIOD`].
const INTENSITY: u32 = 5;
/// The window of [`INTENSITY`].
const PERIOD: Duration = Duration::from_secs(60);
/// The first pause before a restart, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// How long a node may take to stop in order before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(25);
/// Orders that may wait.
const ORDERS_MAX: usize = 16;

enum Order {
    Kill { node: NodeName, hold: bool, answer: oneshot::Sender<Result<(), ApiError>> },
    Start { node: NodeName, answer: oneshot::Sender<Result<(), ApiError>> },
    Add { program: Program, answer: oneshot::Sender<Result<(), ApiError>> },
    Stop,
}

/// What callers hold.
#[derive(Clone, Debug)]
pub(crate) struct ProcessesRef {
    orders: mpsc::Sender<Order>,
    views: watch::Receiver<Vec<ProcessView>>,
}

impl ProcessesRef {
    /// SIGKILLs a node. With `hold` it stays down; else its policy starts it again.
    pub(crate) async fn kill(&self, node: &NodeName, hold: bool) -> Result<(), ApiError> {
        self.order(|answer| Order::Kill { node: node.clone(), hold, answer }).await
    }

    /// Starts a node that is held down.
    pub(crate) async fn start(&self, node: &NodeName) -> Result<(), ApiError> {
        self.order(|answer| Order::Start { node: node.clone(), answer }).await
    }

    /// Starts one more node and supervises it from now on.
    pub(crate) async fn add(&self, program: Program) -> Result<(), ApiError> {
        self.order(|answer| Order::Add { program, answer }).await
    }

    /// Asks all processes to stop, in reverse order. They are gone when [`Processes::run`] returns.
    pub(crate) async fn stop(&self) {
        // A closed channel means that they have stopped already.
        let _already_stopped = self.orders.send(Order::Stop).await;
    }

    /// The processes now.
    pub(crate) fn views(&self) -> Vec<ProcessView> {
        self.views.borrow().clone()
    }

    async fn order(&self, make: impl FnOnce(oneshot::Sender<Result<(), ApiError>>) -> Order) -> Result<(), ApiError> {
        let gone = || ApiError::new(ErrorKind::Refused, "the cluster is stopping; nothing was done");
        let (answer, answered) = oneshot::channel();
        self.orders.send(make(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// How a node's process is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The node.
    pub(crate) node: NodeName,
    /// Its configuration.
    pub(crate) config: PathBuf,
    /// Where its log goes.
    pub(crate) log: PathBuf,
    /// Whose trees it boots from; none for those in the program.
    pub(crate) trees: Option<PathBuf>,
}

struct Running {
    attempt: StartAttempt,
    pid: Option<u32>,
    orders: mpsc::Sender<Signal>,
    _waiter: Task,
}

#[derive(Clone, Copy)]
enum Signal {
    Stop,
    Kill,
}

/// The driver.
pub(crate) struct Processes {
    env: Env,
    core: Supervisor,
    programs: BTreeMap<ChildId, Program>,
    running: BTreeMap<ChildId, Running>,
    timers: BTreeMap<Timer, Task>,
    /// How and when each child's last process ended.
    ended: BTreeMap<ChildId, (ExitReason, Uptime)>,
    /// Nodes whose next orderly stop is a SIGKILL, because a person asked for it.
    to_kill: Vec<ChildId>,
    /// Events that effects gave rise to, in order.
    follow: VecDeque<Event>,
    orders: mpsc::Receiver<Order>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    answers: BTreeMap<u64, oneshot::Sender<Result<(), ApiError>>>,
    calls: u64,
    views: watch::Sender<Vec<ProcessView>>,
}

impl Processes {
    /// A supervisor without children; [`ProcessesRef::add`] gives it some.
    pub(crate) fn new(env: Env) -> anyhow::Result<(Self, ProcessesRef)> {
        let spec =
            SupervisorSpec { intensity: INTENSITY, period: PERIOD, ..SupervisorSpec::new(Strategy::OneForOne, vec![]) };
        let core = Supervisor::new(spec, StartAttempts::default(), 0)?;
        let (order_sender, orders) = mpsc::channel(ORDERS_MAX);
        let (views, view_receiver) = watch::channel(Vec::new());
        let processes = Self {
            env,
            core,
            programs: BTreeMap::new(),
            running: BTreeMap::new(),
            timers: BTreeMap::new(),
            ended: BTreeMap::new(),
            to_kill: Vec::new(),
            follow: VecDeque::new(),
            orders,
            events: mpsc::channel(EVENTS_MAX),
            answers: BTreeMap::new(),
            calls: 0,
            views,
        };
        Ok((processes, ProcessesRef { orders: order_sender, views: view_receiver }))
    }

    /// Runs until all processes have stopped, and says why they did.
    pub(crate) async fn run(mut self) -> ExitReason {
        if let Some(reason) = self.handle(Event::StartRequested) {
            return reason;
        }
        loop {
            let ended = tokio::select! {
                biased;
                Some(event) = self.events.1.recv() => self.handle(event),
                Some(order) = self.orders.recv() => self.obey(order),
            };
            if let Some(reason) = ended {
                return reason;
            }
        }
    }

    fn obey(&mut self, order: Order) -> Option<ExitReason> {
        match order {
            Order::Stop => self.handle(Event::ShutdownRequested),
            Order::Start { node, answer } => self.admin(&node, answer, AdminRequest::Restart),
            Order::Add { program, answer } => {
                let id = match ChildId::new(program.node.as_str()) {
                    Ok(id) => id,
                    Err(error) => {
                        let _caller_left = answer.send(Err(ApiError::usage(error)));
                        return None;
                    }
                };
                let node = program.node.clone();
                self.programs.insert(id, program);
                self.admin(&node, answer, |id| {
                    AdminRequest::Start(ChildSpec {
                        shutdown: Shutdown::Timeout(STOP_WITHIN),
                        backoff: Some(Backoff { min: BACKOFF.0, max: BACKOFF.1, jitter: 0.2, reset_after: PERIOD }),
                        restart: Restart::Transient,
                        kill_grace: Duration::from_secs(5),
                        ..ChildSpec::new(id, ChildKind::Worker)
                    })
                })
            }
            Order::Kill { node, hold: true, answer } => {
                // Also while it waits to be started again: then there is nobody to kill, and it stays down.
                self.to_kill.extend(self.find(&node).map(|(id, _)| id));
                self.admin(&node, answer, AdminRequest::Terminate)
            }
            Order::Kill { node, hold: false, answer } => {
                let result = match self.find(&node) {
                    Some((_, running)) => running
                        .orders
                        .try_send(Signal::Kill)
                        .map_err(|_| ApiError::new(ErrorKind::Conflict, format!("{node} is being killed already"))),
                    None => Err(self.not_running(&node)),
                };
                let _caller_left = answer.send(result);
                None
            }
        }
    }

    fn find(&self, node: &NodeName) -> Option<(ChildId, &Running)> {
        self.running.iter().find(|(id, _)| id.as_str() == node.as_str()).map(|(id, running)| (id.clone(), running))
    }

    fn not_running(&self, node: &NodeName) -> ApiError {
        if self.programs.keys().any(|id| id.as_str() == node.as_str()) {
            ApiError::new(ErrorKind::Conflict, format!("{node} is not running; nothing was done"))
        } else {
            let known: Vec<&str> = self.programs.keys().map(ChildId::as_str).collect();
            ApiError::new(ErrorKind::NotFound, format!("no node {node} here; there are {}", known.join(", ")))
        }
    }

    fn admin(
        &mut self,
        node: &NodeName,
        answer: oneshot::Sender<Result<(), ApiError>>,
        make: impl FnOnce(ChildId) -> AdminRequest,
    ) -> Option<ExitReason> {
        let Some(id) = self.programs.keys().find(|id| id.as_str() == node.as_str()).cloned() else {
            let _caller_left = answer.send(Err(self.not_running(node)));
            return None;
        };
        self.calls += 1;
        self.answers.insert(self.calls, answer);
        self.handle(Event::Admin { call: self.calls, request: make(id) })
    }

    /// Gives one event to the core, and what follows from it at once; `Some` when the supervisor ended.
    fn handle(&mut self, event: Event) -> Option<ExitReason> {
        self.follow.push_back(event);
        while let Some(event) = self.follow.pop_front() {
            if let Event::ChildExited { child, attempt, reason } = &event {
                self.ended.insert(child.clone(), (reason.clone(), self.env.now()));
                self.to_kill.retain(|id| id != child);
                if self.running.get(child).is_some_and(|running| running.attempt == *attempt) {
                    self.running.remove(child);
                }
            }
            for effect in self.core.handle(self.env.now(), event) {
                if let Some(reason) = self.perform(effect) {
                    self.publish();
                    return Some(reason);
                }
            }
        }
        self.publish();
        None
    }

    fn perform(&mut self, effect: Effect) -> Option<ExitReason> {
        match effect {
            Effect::Start { child, attempt } => {
                let event = match self.start(&child, attempt) {
                    Ok(()) => Event::ChildStarted { child, attempt, info: None },
                    Err(error) => {
                        Event::ChildStartFailed { child, attempt, reason: ExitReason::Error(error.to_string()) }
                    }
                };
                self.follow.push_back(event);
            }
            Effect::Stop { child, attempt } => {
                let kill = self.to_kill.iter().position(|id| *id == child);
                let signal = if kill.map(|at| self.to_kill.remove(at)).is_some() { Signal::Kill } else { Signal::Stop };
                self.signal(&child, attempt, signal);
            }
            Effect::Kill { child, attempt } => self.signal(&child, attempt, Signal::Kill),
            Effect::SetTimer { timer, after } => {
                let sender = self.events.0.clone();
                let due = timer;
                let task = self.env.system.spawn(async move {
                    tokio::time::sleep(after).await;
                    // Fails only when nobody runs the processes any more.
                    let _ended = sender.send(Event::TimerFired(due)).await;
                });
                self.timers.insert(timer, task);
            }
            Effect::CancelTimer(timer) => drop(self.timers.remove(&timer)),
            // A node drains when it is asked to stop.
            Effect::Forget(_)
            | Effect::ChildEnded { .. }
            | Effect::Started
            | Effect::Drain { .. }
            | Effect::Discard { .. } => {}
            Effect::Report(report) => tracing::warn!(%report, "a node's process ended"),
            Effect::StartFailed { reason } | Effect::Exit { reason } => return Some(reason),
            Effect::Answer { call, result } => {
                if let Some(answer) = self.answers.remove(&call) {
                    let refused = |error| ApiError::new(ErrorKind::Conflict, format!("{error}; nothing was done"));
                    let _caller_left = answer.send(result.map(drop).map_err(refused));
                }
            }
        }
        None
    }

    fn start(&mut self, id: &ChildId, attempt: StartAttempt) -> std::io::Result<()> {
        let program = self.programs.get(id).ok_or(std::io::ErrorKind::NotFound)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["node", "run", "--stop-on-eof", "--config"])
            .arg(&program.config)
            .args(program.trees.iter().flat_map(|trees| [OsStr::new("--trees"), trees.as_os_str()]))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(open_log(&program.log)?)
            .kill_on_drop(true)
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take();
        let pid = child.id();
        let (orders, inbox) = mpsc::channel(SIGNALS_MAX);
        let (events, child_id) = (self.events.0.clone(), id.clone());
        let waiter = self.env.system.spawn(async move {
            let reason = wait(child, stdin, inbox).await;
            let _ended = events.send(Event::ChildExited { child: child_id, attempt, reason }).await;
        });
        self.running.insert(id.clone(), Running { attempt, pid, orders, _waiter: waiter });
        Ok(())
    }

    fn signal(&self, id: &ChildId, attempt: StartAttempt, signal: Signal) {
        if let Some(running) = self.running.get(id).filter(|running| running.attempt == attempt) {
            // A full inbox holds a stronger or equal signal already: there are only two.
            let _already_told = running.orders.try_send(signal);
        }
    }

    fn publish(&self) {
        let views = self.core.children().map(|child| {
            let running = self.running.get(child.id).filter(|running| child.attempt == Some(running.attempt));
            let state = match child.state {
                ChildState::Undefined => "held",
                ChildState::Starting | ChildState::Restarting => "restarting",
                ChildState::Running => "running",
                ChildState::Stopping | ChildState::Unkillable => "stopping",
            };
            let pid = running.and_then(|running| running.pid).filter(|_| child.state == ChildState::Running);
            let node = self.programs.get(child.id).map(|program| program.node.clone());
            let ended = self.ended.get(child.id);
            node.map(|node| ProcessView {
                node,
                pid,
                state: state.to_owned(),
                restarts: child.restarts,
                last_exit: ended.map(|(reason, _)| reason.to_string()),
                last_exit_ms: ended.map(|(_, at)| at.as_millis()),
            })
        });
        self.views.send_replace(views.flatten().collect());
    }
}

/// Events that may wait: one exit and two timers per process, with room to spare.
const EVENTS_MAX: usize = 256;
/// Signals that may wait for one process.
const SIGNALS_MAX: usize = 4;
/// A log longer than this begins a new file at the next start; the last one is kept beside it.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

async fn wait(mut child: Child, mut stdin: Option<ChildStdin>, mut inbox: mpsc::Receiver<Signal>) -> ExitReason {
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return reason(status),
            signal = inbox.recv() => match signal {
                Some(Signal::Stop) => drop(stdin.take()),
                // Fails only when the process has ended, which the next round sees.
                Some(Signal::Kill) | None => drop(child.start_kill()),
            },
        }
    }
}

fn reason(status: std::io::Result<ExitStatus>) -> ExitReason {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Ok(status) if status.success() => ExitReason::Normal,
        Ok(status) if status.signal() == Some(9) => ExitReason::Killed,
        Ok(status) => ExitReason::Error(status.to_string()),
        Err(error) => ExitReason::Error(format!("the process cannot be waited for: {error}")),
    }
}

fn open_log(path: &Path) -> std::io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
