//! Children that finish what waits for them before they end.
//!
//! A drain is a wish about how one incarnation ends, and not about what comes after: for policy the child runs until it has
//! ended. It has one timer, which a drain shares with what is more urgent: a kill and a stop take its place.

use std::time::Duration;

use covenant_types::StartAttempt;

use super::Supervisor;
use super::child::Phase;
use crate::effect::Effect;
use crate::event::Timer;
use crate::spec::{ChildId, Shutdown};

impl Supervisor {
    /// Begins a drain of a child that runs. While it drains another only moves the deadline; once it is being stopped or
    /// killed another changes nothing.
    pub(super) fn drain_requested(&mut self, id: &ChildId, within: Duration, effects: &mut Vec<Effect>) {
        let Some(at) = self.children.position(id) else { return };
        let child = &mut self.children[at];
        let Phase::Running { attempt } = child.phase else { return };
        let deadline = Timer::DrainDeadline(attempt);
        match child.timer {
            None => effects.push(Effect::Drain { child: id.clone(), attempt }),
            Some(timer) if timer == deadline => {}
            Some(_) => return,
        }
        child.set_timer(deadline, within, effects);
    }

    /// The child at `at` has not finished in time: it is stopped as its spec says.
    pub(super) fn drained_too_long(&mut self, at: usize, attempt: StartAttempt, effects: &mut Vec<Effect>) {
        let child = &mut self.children[at];
        child.timer = None;
        if !child.is_running() {
            return; // it is being stopped already
        }
        effects.push(Effect::Discard { child: child.id.clone(), attempt });
        match child.spec.shutdown {
            Shutdown::BrutalKill => child.strike(attempt, effects),
            Shutdown::Timeout(timeout) => {
                effects.push(Effect::Stop { child: child.id.clone(), attempt });
                child.set_timer(Timer::StopDeadline(attempt), timeout, effects);
            }
            Shutdown::Infinity => effects.push(Effect::Stop { child: child.id.clone(), attempt }),
        }
    }
}
