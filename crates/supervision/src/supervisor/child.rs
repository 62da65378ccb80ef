//! One child inside the core.

use std::time::Duration;

use covenant_types::{StartAttempt, Uptime};

use super::{ChildState, ChildView};
use crate::effect::Effect;
use crate::event::Timer;
use crate::spec::ChildSpec;

#[derive(Debug)]
pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) phase: Phase,
    pub(super) restarts: u64,
    /// Restarts without a run of `reset_after` between them: the exponent of the backoff.
    pub(super) in_a_row: u32,
    pub(super) started_at: Option<Uptime>,
    pub(super) last_attempt: Option<StartAttempt>,
    /// The one timer that is set for this child.
    pub(super) timer: Option<Timer>,
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
    /// It ended while the supervisor was busy; its exit waits in `deferred`.
    Exited,
    /// It will be started again: after a pause, or when an unkillable sibling has ended.
    Waiting,
    /// It was asked to stop, or killed.
    Stopping { attempt: StartAttempt, killed: bool },
    /// It was killed and did not end.
    Unkillable { attempt: StartAttempt },
}

impl Child {
    pub(super) fn new(spec: ChildSpec) -> Self {
        let phase = Phase::Undefined;
        Self { spec, phase, restarts: 0, in_a_row: 0, started_at: None, last_attempt: None, timer: None }
    }

    pub(super) fn view(&self) -> ChildView<'_> {
        let state = match self.phase {
            Phase::Undefined => ChildState::Undefined,
            Phase::Starting { .. } => ChildState::Starting,
            Phase::Running { .. } => ChildState::Running,
            Phase::Exited | Phase::Waiting => ChildState::Restarting,
            Phase::Stopping { .. } => ChildState::Stopping,
            Phase::Unkillable { .. } => ChildState::Unkillable,
        };
        ChildView {
            id: &self.spec.id,
            kind: self.spec.kind,
            restart: self.spec.restart,
            state,
            attempt: self.attempt(),
            restarts: self.restarts,
        }
    }

    /// The attempt that may be running.
    pub(super) fn attempt(&self) -> Option<StartAttempt> {
        match self.phase {
            Phase::Starting { attempt }
            | Phase::Running { attempt }
            | Phase::Stopping { attempt, .. }
            | Phase::Unkillable { attempt } => Some(attempt),
            Phase::Undefined | Phase::Exited | Phase::Waiting => None,
        }
    }

    /// A child that ran long enough begins with the first pause again.
    pub(super) fn note_end(&mut self, now: Uptime) {
        let ran = self.started_at.take().map_or(Duration::ZERO, |at| now.since(at));
        if self.spec.backoff.is_some_and(|backoff| ran >= backoff.reset_after) {
            self.in_a_row = 0;
        }
    }

    /// Waits for `timer` before it is started again.
    pub(super) fn wait(&mut self, timer: Timer, after: Duration, effects: &mut Vec<Effect>) {
        self.cancel_timer(effects);
        self.phase = Phase::Waiting;
        self.timer = Some(timer);
        effects.push(Effect::SetTimer { timer, after });
    }

    /// Sets a timer whose length the spec decides.
    pub(super) fn set_timer(&mut self, timer: Timer, effects: &mut Vec<Effect>) {
        self.cancel_timer(effects);
        let after = match (timer, self.spec.shutdown) {
            (Timer::StopDeadline(_), crate::Shutdown::Timeout(timeout)) => timeout,
            (Timer::StopDeadline(_) | Timer::KillGrace(_) | Timer::Backoff(_) | Timer::RetryStart(_), _) => {
                self.spec.kill_grace
            }
        };
        self.timer = Some(timer);
        effects.push(Effect::SetTimer { timer, after });
    }

    pub(super) fn cancel_timer(&mut self, effects: &mut Vec<Effect>) {
        if let Some(timer) = self.timer.take() {
            effects.push(Effect::CancelTimer(timer));
        }
    }
}
