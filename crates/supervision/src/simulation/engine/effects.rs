//! What supervisors want done, and what comes of it. As on a node, this decides nothing.

use std::time::Duration;

use covenant_types::{ActorPath, ExitReason, StartAttempt};

use super::super::agenda::Due;
use super::super::line::What;
use super::super::process::{Body, Manner, Phase, Process, StartOutcome, Supervising};
use super::{Asked, EFFECTS_MAX, Simulation, SimulationError};
use crate::{ChildId, Effect, Event, Report, ReportContext, Shutdown, Supervisor};

impl<'t> Simulation<'t> {
    /// Tells one supervisor what happened, and does what it answers.
    pub(super) fn tell(&mut self, supervisor: StartAttempt, event: Event) -> Result<(), SimulationError> {
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
                if let Some(Asked { call, path, .. }) = self.calls.remove(&call) {
                    self.line(path, What::Answered(call, Some(result)));
                }
            }
            // The core's own state says so, and nobody drains in a simulation.
            Effect::Forget(_) | Effect::ChildEnded { .. } | Effect::Drain { .. } | Effect::Discard { .. } => {}
        }
        Ok(())
    }

    /// A start begins; it comes to its end now or later, as the script says.
    pub(super) fn begin(
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

    pub(super) fn start_now(&mut self, attempt: StartAttempt) -> Result<(), SimulationError> {
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
    pub(super) fn end(&mut self, attempt: StartAttempt, reason: ExitReason) {
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
        // Whoever waits for an answer of it waits in vain.
        let waiting = self.calls.iter().filter(|(_, asked)| asked.supervisor == attempt);
        for number in waiting.map(|(number, _)| *number).collect::<Vec<u64>>() {
            if let Some(Asked { call, path, .. }) = self.calls.remove(&number) {
                self.line(path, What::Answered(call, None));
            }
        }
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
}

/// The jitter of each incarnation of each supervisor comes from the one seed (FNV-1a over the path).
fn lots(seed: u64, path: &ActorPath, starts: u64) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = path.as_str().bytes().chain(starts.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325 ^ seed, fold)
}
