//! Drives the cores of a tree in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use covenant_types::{ActorPath, ActorPathError, ExitReason, StartAttempt, StartAttempts, Uptime};

use super::agenda::{Agenda, Due};
use super::line::{Line, What};
use super::process::{Body, Manner, Phase, Process, StartOutcome, Supervising};
use super::script::{AdminCall, Happening, ScriptedEvent};
use super::state::{ChildStanding, TreeState};
use crate::{
    AdminRequest, ChildId, ChildKind, ChildSpec, Effect, Event, Report, ReportContext, Shutdown, SpecError, Supervisor,
    TreeSpec,
};

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
    /// Who asked what, for the answers.
    calls: BTreeMap<u64, (AdminCall, ActorPath)>,
    next_call: u64,
    done: u64,
    lines: Vec<Line>,
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
        self.calls.insert(number, (call.clone(), path.clone()));
        self.queue.push_back((supervisor, Event::Admin { call: number, request }));
        Ok(())
    }

    /// Tells one supervisor what happened, and does what it answers.
    fn tell(&mut self, supervisor: StartAttempt, event: Event) -> Result<(), SimulationError> {
        let now = self.now;
        let Some(Body::Supervisor(supervising)) = self.body(supervisor) else { return Ok(()) };
        let effects = supervising.core.handle(now, event);
        self.done += 1;
        for effect in effects {
            self.done += 1;
            self.perform(supervisor, effect)?;
        }
        if self.done > EFFECTS_MAX {
            let path = self.processes.get(&supervisor).map_or_else(ActorPath::root, |process| process.path.clone());
            return Err(SimulationError::Endless { at: now.as_millis(), path });
        }
        Ok(())
    }

    fn perform(&mut self, supervisor: StartAttempt, effect: Effect) -> Result<(), SimulationError> {
        match effect {
            Effect::Start { child, attempt } => {
                let Some(process) = self.processes.get_mut(&supervisor) else { return Ok(()) };
                let path = process.path.child(child.as_str())?;
                let Body::Supervisor(supervising) = &mut process.body else { return Ok(()) };
                let body = supervising.tree_of(&child).map_or(Body::Worker, Body::Seed);
                supervising.children.insert(attempt);
                self.begin(attempt, path, Some((supervisor, child)), body)?;
            }
            Effect::Stop { child, attempt } => {
                let shutdown = self.supervising(supervisor).and_then(|above| above.core.child_spec(&child));
                let shutdown = shutdown.map_or(Shutdown::Infinity, |spec| spec.shutdown);
                self.stop(attempt, shutdown);
            }
            Effect::Kill { attempt, .. } => {
                if let Some(process) = self.processes.get(&attempt) {
                    self.line(process.path.clone(), What::Stopped(Shutdown::BrutalKill));
                    self.end(attempt, ExitReason::Killed);
                }
            }
            Effect::SetTimer { timer, after } => {
                let entry = self.agenda.add(self.now.after(after), Due::Timer(supervisor, timer));
                if let Some(Body::Supervisor(supervising)) = self.body(supervisor)
                    && let Some(earlier) = supervising.timers.insert(timer, entry)
                {
                    self.agenda.strike(earlier);
                }
            }
            Effect::CancelTimer(timer) => {
                if let Some(Body::Supervisor(supervising)) = self.body(supervisor)
                    && let Some(entry) = supervising.timers.remove(&timer)
                {
                    self.agenda.strike(entry);
                }
            }
            Effect::Report(report) => self.report(supervisor, &report),
            Effect::Started => self.runs(supervisor),
            Effect::StartFailed { reason } => self.start_fails(supervisor, reason),
            Effect::Exit { reason } => self.end(supervisor, reason),
            Effect::Answer { call, result } => {
                if let Some((asked, path)) = self.calls.remove(&call) {
                    self.line(path, What::Answered(asked, Some(result)));
                }
            }
            // The core's own state says so.
            Effect::Forget(_) | Effect::ChildEnded { .. } => {}
        }
        Ok(())
    }

    /// A start begins; it comes to its end now or later, as the script says.
    fn begin(
        &mut self,
        attempt: StartAttempt,
        path: ActorPath,
        above: Option<(StartAttempt, ChildId)>,
        body: Body<'t>,
    ) -> Result<(), SimulationError> {
        let manner = self.manners.get_mut(&path);
        let takes = manner.as_ref().map_or(Duration::ZERO, |manner| manner.start_takes);
        let outcome = manner.map_or(StartOutcome::Runs, Manner::next_start);
        let later = (!takes.is_zero()).then(|| self.agenda.add(self.now.after(takes), Due::Start(attempt)));
        self.places.insert(path.clone(), attempt);
        self.processes.insert(attempt, Process { path, above, phase: Phase::Starting(outcome), body, due: later });
        if later.is_none() { self.start_now(attempt) } else { Ok(()) }
    }

    fn start_now(&mut self, attempt: StartAttempt) -> Result<(), SimulationError> {
        let seed = self.seed;
        let Some(process) = self.processes.get_mut(&attempt) else { return Ok(()) };
        let Phase::Starting(outcome) = process.phase else { return Ok(()) };
        process.due = None;
        match outcome {
            StartOutcome::Fails => self.start_fails(attempt, ExitReason::Error("start_fails".to_owned())),
            StartOutcome::Ignored => {
                let Some((path, above)) = self.remove(attempt) else { return Ok(()) };
                self.line(path, What::StartIgnored);
                if let Some((above, child)) = above {
                    self.queue.push_back((above, Event::ChildIgnored { child, attempt }));
                }
            }
            StartOutcome::Runs => match process.body {
                Body::Worker => self.runs(attempt),
                Body::Seed(tree) => {
                    let lots = lots(seed, &process.path, self.starts.get(&process.path).copied().unwrap_or(0));
                    let core = Supervisor::new(tree.spec.clone(), self.attempts.clone(), lots)?;
                    process.body = Body::Supervisor(Box::new(Supervising::new(core, tree)));
                    self.queue.push_back((attempt, Event::StartRequested));
                }
                Body::Supervisor(_) => unreachable!("a start comes to its end once"),
            },
        }
        Ok(())
    }

    fn runs(&mut self, attempt: StartAttempt) {
        let Some(process) = self.processes.get_mut(&attempt) else { return };
        process.phase = Phase::Running;
        let path = process.path.clone();
        let above = process.above.clone();
        let incarnation = self.starts.entry(path.clone()).or_default();
        *incarnation += 1;
        let what = What::Started(*incarnation);
        // Nobody supervises the root, so nobody started it.
        if let Some((above, child)) = above {
            self.line(path, what);
            self.queue.push_back((above, Event::ChildStarted { child, attempt, info: None }));
        }
    }

    fn start_fails(&mut self, attempt: StartAttempt, reason: ExitReason) {
        let Some((path, above)) = self.remove(attempt) else { return };
        match above {
            Some((above, child)) => {
                self.line(path, What::StartFailed(reason.clone()));
                self.queue.push_back((above, Event::ChildStartFailed { child, attempt, reason }));
            }
            None => {
                self.line(path, What::Exited(reason.clone()));
                self.ended = Some(reason);
            }
        }
    }

    fn stop(&mut self, attempt: StartAttempt, shutdown: Shutdown) {
        let Some(process) = self.processes.get_mut(&attempt) else { return };
        if process.phase == Phase::Stopping {
            return; // it was asked already
        }
        let path = process.path.clone();
        process.phase = Phase::Stopping;
        let takes = match process.body {
            Body::Worker => self.manners.get(&path).map_or(Duration::ZERO, |manner| manner.stop_takes),
            Body::Seed(_) => Duration::ZERO,
            Body::Supervisor(_) => {
                // Its children stop first, also those it is still starting.
                self.line(path, What::Stopped(shutdown));
                self.queue.push_back((attempt, Event::ShutdownRequested));
                return;
            }
        };
        self.line(path, What::Stopped(shutdown));
        if takes.is_zero() {
            return self.end(attempt, ExitReason::Shutdown);
        }
        let entry = self.agenda.add(self.now.after(takes), Due::Stop(attempt));
        if let Some(process) = self.processes.get_mut(&attempt) {
            process.due = Some(entry);
        }
    }

    /// An attempt ends, and everything below it; the supervisor above hears of it.
    fn end(&mut self, attempt: StartAttempt, reason: ExitReason) {
        // Without an end of its own, what is left below a supervisor dies with it, the youngest first.
        let left = self.supervising(attempt).map(|supervising| supervising.children.clone()).unwrap_or_default();
        for below in left.into_iter().rev() {
            self.die_with_supervisor(below);
        }
        let supervises = self.supervising(attempt).is_some();
        let Some((path, above)) = self.remove(attempt) else { return };
        if supervises {
            self.line(path, What::Exited(reason.clone()));
        }
        match above {
            Some((above, child)) => self.queue.push_back((above, Event::ChildExited { child, attempt, reason })),
            None => self.ended = Some(reason),
        }
    }

    fn die_with_supervisor(&mut self, attempt: StartAttempt) {
        let left = self.supervising(attempt).map(|supervising| supervising.children.clone()).unwrap_or_default();
        for below in left.into_iter().rev() {
            self.die_with_supervisor(below);
        }
        let supervises = self.supervising(attempt).is_some();
        if let Some((path, _)) = self.remove(attempt) {
            let what = if supervises { What::Exited(ExitReason::Killed) } else { What::Stopped(Shutdown::BrutalKill) };
            self.line(path, what);
        }
    }

    /// Nothing of this attempt is left.
    fn remove(&mut self, attempt: StartAttempt) -> Option<(ActorPath, Option<(StartAttempt, ChildId)>)> {
        let Process { path, above, body, due, .. } = self.processes.remove(&attempt)?;
        if self.places.get(&path) == Some(&attempt) {
            self.places.remove(&path);
        }
        let timers = match body {
            Body::Supervisor(supervising) => supervising.timers.into_values().collect(),
            Body::Worker | Body::Seed(_) => Vec::new(),
        };
        timers.into_iter().chain(due).for_each(|entry| self.agenda.strike(entry));
        if let Some((above, _)) = &above
            && let Some(Body::Supervisor(supervising)) = self.body(*above)
        {
            supervising.children.remove(&attempt);
        }
        Some((path, above))
    }

    fn report(&mut self, supervisor: StartAttempt, report: &Report) {
        if report.context != ReportContext::ReachedMaxIntensity {
            return;
        }
        let Some(process) = self.processes.get(&supervisor) else { return };
        let Body::Supervisor(supervising) = &process.body else { return };
        let offender = supervising.core.child_spec(&report.offender).or(supervising.core.template());
        let budget = offender.and_then(|spec| spec.budget).map(|budget| budget.intensity);
        let intensity = budget.unwrap_or(supervising.tree.spec.intensity);
        let what = What::Escalated { restarts: u64::from(intensity) + 1, intensity };
        self.line(process.path.clone(), what);
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

/// The jitter of each incarnation of each supervisor comes from the one seed (FNV-1a over the path).
fn lots(seed: u64, path: &ActorPath, starts: u64) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = path.as_str().bytes().chain(starts.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325 ^ seed, fold)
}
