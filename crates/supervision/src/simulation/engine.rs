//! Drives the cores of a tree in virtual time.

mod effects;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use covenant_types::{ActorPath, ActorPathError, ExitReason, StartAttempt, StartAttempts, Uptime};

use super::agenda::{Agenda, Due};
use super::line::{Line, What};
use super::process::{Body, Manner, Phase, Process, Supervising};
use super::script::{AdminCall, Happening, ScriptedEvent};
use super::state::{ChildStanding, TreeState};
use crate::{AdminRequest, ChildId, ChildKind, ChildSpec, Event, SpecError, TreeSpec};

/// The most that one simulation does: events that cores are told and effects they answer with.
pub const EFFECTS_MAX: u64 = 1_000_000;

/// A tree in virtual time. See the module's documentation for what it promises.
#[derive(Debug)]
pub struct Simulation<'t> {
    seed: u64,
    now: Uptime,
    root: StartAttempt,
    /// Why the root has ended.
    ended: Option<ExitReason>,
    attempts: StartAttempts,
    processes: BTreeMap<StartAttempt, Process<'t>>,
    /// The attempt that is there at each path.
    places: BTreeMap<ActorPath, StartAttempt>,
    manners: BTreeMap<ActorPath, Manner>,
    starts: BTreeMap<ActorPath, u64>,
    /// What supervisors have not been told yet.
    queue: VecDeque<(StartAttempt, Event)>,
    agenda: Agenda,
    /// Calls that wait for their answer.
    calls: BTreeMap<u64, Asked>,
    next_call: u64,
    done: u64,
    lines: Vec<Line>,
}

/// A call that waits for its answer.
#[derive(Debug)]
struct Asked {
    call: AdminCall,
    path: ActorPath,
    supervisor: StartAttempt,
}

/// Why a simulation went no further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// It does not come to rest.
    #[error(
        "the simulation was cut at {at} ms after {EFFECTS_MAX} effects: does {path} crash and come back for ever? Give it a \
         backoff, or its supervisor a lower intensity"
    )]
    Endless {
        /// When, in virtual milliseconds.
        at: u64,
        /// Who was busy last.
        path: ActorPath,
    },
    /// A supervisor that cannot be.
    #[error("the tree cannot run: {0}")]
    Spec(#[from] SpecError),
    /// Ids that are too long together.
    #[error("the tree cannot run: {0}")]
    Path(#[from] ActorPathError),
}

impl<'t> Simulation<'t> {
    /// Starts the tree at time zero. `seed` decides the jitter of backoffs; `out` is given what happens.
    ///
    /// # Errors
    /// The tree cannot run, or does not come to rest.
    pub fn start(tree: &'t TreeSpec, seed: u64, out: &mut dyn FnMut(Line)) -> Result<Self, SimulationError> {
        let attempts = StartAttempts::default();
        let mut simulation = Self {
            seed,
            now: Uptime::ZERO,
            root: attempts.next(),
            ended: None,
            attempts,
            processes: BTreeMap::new(),
            places: BTreeMap::new(),
            manners: BTreeMap::new(),
            starts: BTreeMap::new(),
            queue: VecDeque::new(),
            agenda: Agenda::default(),
            calls: BTreeMap::new(),
            next_call: 0,
            done: 0,
            lines: Vec::new(),
        };
        simulation.begin(simulation.root, ActorPath::root(), None, Body::Seed(tree))?;
        simulation.settle(out)?;
        Ok(simulation)
    }

    /// Lets everything happen that is due before or at the event's time, then the event, then what comes of it at that time.
    ///
    /// # Errors
    /// The tree does not come to rest.
    pub fn play(&mut self, event: &ScriptedEvent, out: &mut dyn FnMut(Line)) -> Result<(), SimulationError> {
        self.play_together(std::slice::from_ref(event), out)
    }

    /// The same for events that happen at one moment, the first one's: whoever hears of one has the others waiting.
    ///
    /// # Errors
    /// The tree does not come to rest.
    pub fn play_together(
        &mut self,
        events: &[ScriptedEvent],
        out: &mut dyn FnMut(Line),
    ) -> Result<(), SimulationError> {
        let Some(first) = events.first() else { return Ok(()) };
        self.advance(first.at, out)?;
        self.now = self.now.max(first.at);
        for event in events {
            self.happen(&event.path, &event.what)?;
        }
        self.settle(out)
    }

    /// Lets everything happen that is still due, however late.
    ///
    /// # Errors
    /// The tree does not come to rest.
    pub fn run_out(&mut self, out: &mut dyn FnMut(Line)) -> Result<(), SimulationError> {
        self.advance(Uptime(Duration::MAX), out)
    }

    /// Where every child stands now.
    pub fn state(&self) -> TreeState {
        let mut children = Vec::new();
        self.describe(self.root, &mut children);
        TreeState { ended: self.ended.clone(), children }
    }

    /// How often each path was started so far; paths that never were are not there.
    pub fn starts(&self) -> &BTreeMap<ActorPath, u64> {
        &self.starts
    }

    fn describe(&self, attempt: StartAttempt, children: &mut Vec<(ActorPath, ChildStanding)>) {
        let Some(Process { path, body: Body::Supervisor(supervising), .. }) = self.processes.get(&attempt) else {
            return;
        };
        for view in supervising.core.children() {
            // A path that does not fit was never started.
            let Ok(path) = path.child(view.id.as_str()) else { continue };
            let incarnation = self.starts.get(&path).copied().unwrap_or(0);
            children.push((path, ChildStanding { state: view.state, incarnation }));
            if let Some(below) = view.attempt {
                self.describe(below, children);
            }
        }
    }

    fn advance(&mut self, to: Uptime, out: &mut dyn FnMut(Line)) -> Result<(), SimulationError> {
        while let Some(next) = self.agenda.next_at().filter(|next| *next <= to) {
            self.now = self.now.max(next);
            self.settle(out)?;
        }
        Ok(())
    }

    /// Does what there is to do at this time, until nothing is left.
    fn settle(&mut self, out: &mut dyn FnMut(Line)) -> Result<(), SimulationError> {
        loop {
            self.lines.drain(..).for_each(&mut *out);
            if let Some((supervisor, event)) = self.queue.pop_front() {
                self.tell(supervisor, event)?;
            } else if let Some(due) = self.agenda.take_due(self.now) {
                self.fall_due(due)?;
            } else {
                return Ok(());
            }
        }
    }

    fn fall_due(&mut self, due: Due) -> Result<(), SimulationError> {
        match due {
            Due::Timer(supervisor, timer) => {
                if let Some(Body::Supervisor(supervising)) = self.body(supervisor) {
                    supervising.timers.remove(&timer);
                    self.queue.push_back((supervisor, Event::TimerFired(timer)));
                }
            }
            Due::Start(attempt) => self.start_now(attempt)?,
            Due::Stop(attempt) => self.end(attempt, ExitReason::Shutdown),
        }
        Ok(())
    }

    /// One event of the script.
    fn happen(&mut self, path: &ActorPath, what: &Happening) -> Result<(), SimulationError> {
        let there = self.places.get(path).copied();
        match what {
            Happening::Exit(reason) => {
                let phase = there.and_then(|attempt| self.processes.get(&attempt)).map(|process| process.phase);
                match (there, phase) {
                    (Some(attempt), Some(Phase::Running | Phase::Stopping)) => self.end(attempt, reason.clone()),
                    (_, Some(Phase::Starting(_)) | None) | (None, _) => self.ignore(path, "not_running"),
                }
            }
            Happening::StartFails { times } => self.manner(path).fails = *times,
            Happening::StartIgnored { times } => self.manner(path).ignored = *times,
            Happening::StartTakes(span) => self.manner(path).start_takes = *span,
            Happening::StopTakes(span) => {
                let supervises =
                    there.and_then(|attempt| self.body(attempt)).is_some_and(|body| !matches!(body, Body::Worker));
                if supervises {
                    self.ignore(path, "supervisor");
                } else {
                    self.manner(path).stop_takes = *span;
                }
            }
            Happening::Call(call) => self.call(path, call)?,
        }
        Ok(())
    }

    fn call(&mut self, path: &ActorPath, call: &AdminCall) -> Result<(), SimulationError> {
        let supervisor = path.parent().and_then(|above| self.places.get(&above).copied());
        let running = supervisor.and_then(|attempt| match self.body(attempt) {
            Some(Body::Supervisor(supervising)) => Some((attempt, supervising.core.template().is_some())),
            Some(Body::Worker | Body::Seed(_)) | None => None,
        });
        let Some((supervisor, dynamic)) = running else {
            self.line(path.clone(), What::Answered(call.clone(), None));
            return Ok(());
        };
        let id = ChildId::new(path.id())?;
        let request = match call {
            AdminCall::TerminateChild => AdminRequest::Terminate(id),
            AdminCall::RestartChild => AdminRequest::Restart(id),
            AdminCall::DeleteChild => AdminRequest::Delete(id),
            AdminCall::StartChild(None) if dynamic => AdminRequest::StartInstance(id),
            AdminCall::StartChild(None) => AdminRequest::Start(ChildSpec::new(id, ChildKind::Worker)),
            AdminCall::StartChild(Some(new)) => {
                let spec = ChildSpec::new(id, ChildKind::Worker);
                let shutdown = new.shutdown.unwrap_or(spec.shutdown);
                let (restart, significant) = (new.restart, new.significant);
                AdminRequest::Start(ChildSpec { restart, shutdown, significant, ..spec })
            }
        };
        let number = self.next_call;
        self.next_call += 1;
        self.calls.insert(number, Asked { call: call.clone(), path: path.clone(), supervisor });
        self.queue.push_back((supervisor, Event::Admin { call: number, request }));
        Ok(())
    }

    fn supervising(&self, attempt: StartAttempt) -> Option<&Supervising<'t>> {
        match self.processes.get(&attempt).map(|process| &process.body) {
            Some(Body::Supervisor(supervising)) => Some(supervising),
            Some(Body::Worker | Body::Seed(_)) | None => None,
        }
    }

    fn body(&mut self, attempt: StartAttempt) -> Option<&mut Body<'t>> {
        self.processes.get_mut(&attempt).map(|process| &mut process.body)
    }

    fn manner(&mut self, path: &ActorPath) -> &mut Manner {
        self.manners.entry(path.clone()).or_default()
    }

    fn ignore(&mut self, path: &ActorPath, why: &'static str) {
        self.line(path.clone(), What::Ignored(why));
    }

    fn line(&mut self, path: ActorPath, what: What) {
        self.lines.push(Line { at: self.now, path, what });
    }
}
