//! The end of a dynamic supervisor: its instances are asked all at once, and share one deadline.

use std::collections::VecDeque;
use std::time::Duration;

use covenant_types::ExitReason;

use super::answers::ends_as_asked;
use super::child::Phase;
use super::procedure::{Awaited, Goal, Procedure};
use super::{Supervisor, report};
use crate::effect::{Effect, Report, ReportContext};
use crate::event::Timer;
use crate::spec::{ChildKind, Shutdown};

/// Why instances ended otherwise than they were asked to, and how many for each reason. Bounded: what is one reason too many
/// is counted with the last.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<(ExitReason, usize)>);

/// Reasons that are told apart when instances are stopped.
const REASONS_MAX: usize = 16;

impl Failures {
    fn add(&mut self, reason: ExitReason) {
        let full = self.0.len() >= REASONS_MAX;
        let known = self.0.iter().position(|(known, _)| *known == reason);
        match known.or(full.then_some(REASONS_MAX - 1)) {
            Some(at) => self.0[at].1 += 1,
            None => self.0.push((reason, 1)),
        }
    }
}

impl Supervisor {
    /// Asks or kills every instance, as the template says, and waits for all of them together.
    pub(super) fn stop_instances(&mut self, shutdown: Shutdown, effects: &mut Vec<Effect>) {
        let mut at = 0;
        while at < self.children.len() {
            let child = &mut self.children[at];
            let id = child.id.clone();
            match child.phase.clone() {
                // A start under way may never answer, and nobody needs it any more. A supervisor hears that while it starts.
                Phase::Starting { attempt } if child.spec.kind == ChildKind::Worker => {
                    effects.push(Effect::Kill { child: id, attempt });
                    child.phase = Phase::Stopping { attempt };
                }
                Phase::Starting { attempt } | Phase::Running { attempt } | Phase::Stopping { attempt } => {
                    effects.push(match shutdown {
                        Shutdown::BrutalKill => Effect::Kill { child: id, attempt },
                        Shutdown::Timeout(_) | Shutdown::Infinity => Effect::Stop { child: id, attempt },
                    });
                    child.phase = Phase::Stopping { attempt };
                }
                Phase::Exited { reason, .. } => {
                    self.note_failure(at, *reason);
                    self.forget(at, effects);
                    continue; // another stands here now
                }
                Phase::Undefined | Phase::Waiting { .. } | Phase::Blocked => {
                    child.cancel_timer(effects);
                    self.forget(at, effects);
                    continue;
                }
                Phase::Unkillable { .. } => {}
            }
            // One that was killed already has no more time than its grace.
            if !matches!(self.children[at].timer, Some(Timer::KillGrace(_))) {
                self.children[at].cancel_timer(effects);
            }
            at += 1;
        }
        let procedure = Procedure::new(Goal::Shutdown, VecDeque::new(), VecDeque::new());
        self.procedure = Some(Procedure { awaited: Some(Awaited::Instances), ..procedure });
        match shutdown {
            Shutdown::BrutalKill => self.await_grace(effects),
            Shutdown::Timeout(after) => effects.push(Effect::SetTimer { timer: Timer::InstancesDeadline, after }),
            Shutdown::Infinity => {}
        }
        self.look_for_the_last(effects);
    }

    pub(super) fn awaits_instances(&self) -> bool {
        self.procedure.as_ref().is_some_and(|procedure| procedure.awaited == Some(Awaited::Instances))
    }

    pub(super) fn instance_stopped(&mut self, at: usize, reason: ExitReason, effects: &mut Vec<Effect>) {
        self.note_failure(at, reason);
        self.forget(at, effects);
        self.stopping_instances = self.stopping_instances.saturating_sub(1);
        if self.stopping_instances == 0 {
            self.look_for_the_last(effects);
        }
    }

    /// The shared deadline has passed.
    pub(super) fn kill_instances(&mut self, effects: &mut Vec<Effect>) {
        if self.awaits_instances() {
            for child in self.children.iter() {
                if let Phase::Stopping { attempt } = child.phase {
                    effects.push(Effect::Kill { child: child.id.clone(), attempt });
                }
            }
            self.await_grace(effects);
        }
    }

    /// Instances were killed and did not end: nobody waits for them any longer.
    pub(super) fn give_up_on_instances(&mut self, effects: &mut Vec<Effect>) {
        if self.awaits_instances() {
            for child in self.children.iter_mut() {
                if let Phase::Stopping { attempt } = child.phase {
                    child.phase = Phase::Unkillable { attempt };
                    effects.push(report(ReportContext::Unkillable, &ExitReason::Killed, &child.id));
                }
            }
            self.look_for_the_last(effects);
        }
    }

    fn await_grace(&self, effects: &mut Vec<Effect>) {
        let after = self.template.as_ref().map_or(Duration::from_secs(1), |template| template.kill_grace);
        effects.push(Effect::SetTimer { timer: Timer::InstancesGrace, after });
    }

    /// Ends when no instance is waited for any more.
    pub(super) fn look_for_the_last(&mut self, effects: &mut Vec<Effect>) {
        let stopping = |child: &&super::Child| matches!(child.phase, Phase::Stopping { .. });
        self.stopping_instances = self.children.iter().filter(stopping).count();
        if self.stopping_instances > 0 {
            return;
        }
        effects.push(Effect::CancelTimer(Timer::InstancesDeadline));
        effects.push(Effect::CancelTimer(Timer::InstancesGrace));
        if let Some(id) = self.template.as_ref().map(|template| template.id.clone()) {
            for (reason, count) in std::mem::take(&mut self.failures).0 {
                let context = ReportContext::ShutdownError;
                effects.push(Effect::Report(Report { context, reason, offender: id.clone(), count }));
            }
        }
        if let Some(procedure) = &mut self.procedure {
            procedure.awaited = None;
            self.go_on(effects);
        }
    }

    fn note_failure(&mut self, at: usize, reason: ExitReason) {
        if !ends_as_asked(&self.children[at].spec, &reason) {
            self.failures.add(reason);
        }
    }
}
