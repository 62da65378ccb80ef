//! One child inside the core.

use std::sync::Arc;
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt, Uptime};

use super::{ChildState, ChildView};
use crate::effect::Effect;
use crate::event::Timer;
use crate::restart_window::RestartWindow;
use crate::spec::{ChildId, ChildSpec, Shutdown};

#[derive(Debug)]
pub(super) struct Child {
    pub(super) id: ChildId,
    /// Its own, or that of the template it is an instance of, under whose id it stands.
    pub(super) spec: Arc<ChildSpec>,
    pub(super) phase: Phase,
    pub(super) last_attempt: Option<StartAttempt>,
    /// The one timer that is set for this child.
    pub(super) timer: Option<Timer>,
    /// It was stopped with a group that is not started again yet.
    pub(super) adrift: bool,
    /// Made on first use: most children have no back-off and no budget, and are never restarted.
    past: Option<Box<Past>>,
}

/// What policy remembers of one child.
#[derive(Debug, Default)]
struct Past {
    restarts: u64,
    /// Since when it runs, where a back-off asks; none once its end was dealt with.
    started_at: Option<Uptime>,
    /// Restarts without a run of `reset_after` between them: the exponent of the back-off.
    in_a_row: u32,
    /// Its restarts, where it has a budget of its own.
    window: Option<RestartWindow>,
}

/// Where a child stands, with what fences it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// Nothing runs.
    Undefined,
    /// Its start has not answered.
    Starting { attempt: StartAttempt },
    /// It runs.
    Running { attempt: StartAttempt },
    /// It ended while the supervisor was busy; its exit is among what was deferred.
    Exited { attempt: StartAttempt, reason: Box<ExitReason> },
    /// It will be started again when its timer fires.
    Waiting { due: Uptime },
    /// It will be started again with its group, which is held up by a sibling that does not end.
    Blocked,
    /// It was asked to stop, or killed.
    Stopping { attempt: StartAttempt },
    /// It was killed and did not end.
    Unkillable { attempt: StartAttempt },
}

impl Child {
    pub(super) fn new(spec: ChildSpec) -> Self {
        Self::instance(spec.id.clone(), Arc::new(spec))
    }

    /// One more after a template. Instances are many, so they share what is said of them.
    pub(super) fn instance(id: ChildId, spec: Arc<ChildSpec>) -> Self {
        let window = spec.budget.map(|budget| RestartWindow::new(budget.intensity, budget.period));
        let past = window.map(|window| Box::new(Past { window: Some(window), ..Past::default() }));
        Self { id, spec, phase: Phase::Undefined, last_attempt: None, timer: None, adrift: false, past }
    }

    pub(super) fn view(&self) -> ChildView<'_> {
        let state = match self.phase {
            Phase::Undefined => ChildState::Undefined,
            Phase::Starting { .. } => ChildState::Starting,
            Phase::Running { .. } => ChildState::Running,
            Phase::Exited { .. } | Phase::Waiting { .. } | Phase::Blocked => ChildState::Restarting,
            Phase::Stopping { .. } => ChildState::Stopping,
            Phase::Unkillable { .. } => ChildState::Unkillable,
        };
        ChildView {
            id: &self.id,
            kind: self.spec.kind,
            restart: self.spec.restart,
            state,
            attempt: self.attempt(),
            restarts: self.past.as_ref().map_or(0, |past| past.restarts),
        }
    }

    /// Is what `spec` says from now on. What runs goes on, and what a budget has counted stays counted.
    pub(super) fn respecify(&mut self, spec: Arc<ChildSpec>) {
        let window = match (spec.budget, self.past.as_mut().and_then(|past| past.window.take())) {
            (None, _) => None,
            (Some(budget), None) => Some(RestartWindow::new(budget.intensity, budget.period)),
            (Some(budget), Some(mut window)) => {
                window.change(budget.intensity, budget.period);
                Some(window)
            }
        };
        if window.is_some() {
            self.past().window = window;
        }
        self.spec = spec;
    }

    fn past(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    /// It runs.
    pub(super) fn note_start(&mut self, now: Uptime) {
        if self.spec.backoff.is_some() {
            self.past().started_at = Some(now);
        }
    }

    /// Its end was dealt with.
    pub(super) fn note_end(&mut self) {
        if let Some(past) = &mut self.past {
            past.started_at = None;
        }
    }

    /// Policy started it again.
    pub(super) fn count_restart(&mut self) {
        self.past().restarts += 1;
    }

    /// Its restarts, where it has a budget of its own.
    pub(super) fn window(&mut self) -> Option<&mut RestartWindow> {
        self.past.as_mut()?.window.as_mut()
    }

    /// The attempt that may be running.
    pub(super) fn attempt(&self) -> Option<StartAttempt> {
        match self.phase {
            Phase::Starting { attempt }
            | Phase::Running { attempt }
            | Phase::Stopping { attempt }
            | Phase::Unkillable { attempt } => Some(attempt),
            Phase::Undefined | Phase::Exited { .. } | Phase::Waiting { .. } | Phase::Blocked => None,
        }
    }

    /// Whether it ended and is to be started again by the supervisor itself.
    pub(super) fn is_restarting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. } | Phase::Blocked)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    pub(super) fn is_unkillable(&self) -> bool {
        matches!(self.phase, Phase::Unkillable { .. })
    }

    /// The pause before it is started again, where it has a back-off; `lot` decides the jitter. A child that ran for
    /// `reset_after` begins with the first pause again.
    pub(super) fn next_pause(&mut self, now: Uptime, lot: f64) -> Option<Duration> {
        let backoff = self.spec.backoff?;
        let past = self.past();
        if past.started_at.is_some_and(|at| now.since(at) >= backoff.reset_after) {
            past.in_a_row = 0;
        }
        let pause = backoff.pause(past.in_a_row, lot);
        past.in_a_row = past.in_a_row.saturating_add(1);
        Some(pause)
    }

    /// Waits for `timer` before it is started again.
    pub(super) fn wait(&mut self, timer: Timer, now: Uptime, after: Duration, effects: &mut Vec<Effect>) {
        self.set_timer(timer, after, effects);
        self.phase = Phase::Waiting { due: now.after(after) };
    }

    pub(super) fn set_timer(&mut self, timer: Timer, after: Duration, effects: &mut Vec<Effect>) {
        self.cancel_timer(effects);
        self.timer = Some(timer);
        effects.push(Effect::SetTimer { timer, after });
    }

    pub(super) fn cancel_timer(&mut self, effects: &mut Vec<Effect>) {
        if let Some(timer) = self.timer.take() {
            effects.push(Effect::CancelTimer(timer));
        }
    }

    /// Asks or kills a child that runs, as its spec says.
    pub(super) fn stop(&mut self, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        let child = self.id.clone();
        match self.spec.shutdown {
            Shutdown::BrutalKill => return self.kill(attempt, effects),
            Shutdown::Timeout(timeout) => {
                effects.push(Effect::Stop { child, attempt });
                // One that was killed already has no more time than its grace.
                if self.timer != Some(Timer::KillGrace(attempt)) {
                    self.set_timer(Timer::StopDeadline(attempt), timeout, effects);
                }
            }
            Shutdown::Infinity => effects.push(Effect::Stop { child, attempt }),
        }
        self.phase = Phase::Stopping { attempt };
    }

    /// Kills a child that is stopped.
    pub(super) fn kill(&mut self, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        self.phase = Phase::Stopping { attempt };
        self.strike(attempt, effects);
    }

    /// Kills a child without a word on what comes after. However often that is asked for, its grace runs once.
    pub(super) fn strike(&mut self, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        effects.push(Effect::Kill { child: self.id.clone(), attempt });
        let grace = Timer::KillGrace(attempt);
        if self.timer != Some(grace) {
            self.set_timer(grace, self.spec.kill_grace, effects);
        }
    }
}
