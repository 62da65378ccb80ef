//! Timers in the order in which they are due.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_types::{NodeId, Uptime};

use crate::Identity;

/// What can be due.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    /// One of foca's own.
    Swim(foca::Timer<Identity>),
    /// Compare states, look after stragglers and after peers that are no members.
    Sweep,
    /// Exchange everything with one peer.
    PushPull,
}

/// Pending timers. Those due at one moment fire in the order they were set.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    timers: BTreeMap<(Uptime, u64), Timer>,
    next: u64,
}

impl Wheel {
    pub(crate) fn set(&mut self, at: Uptime, timer: Timer) {
        self.timers.insert((at, self.next), timer);
        self.next += 1;
    }

    pub(crate) fn first(&self) -> Option<Uptime> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Uptime) -> Option<(Uptime, Timer)> {
        let entry = self.timers.first_entry()?;
        let (at, _) = *entry.key();
        (at <= now).then(|| (at, entry.remove()))
    }

    /// Gives every suspect a full suspicion from `now`.
    pub(crate) fn renew_suspicions(&mut self, now: Uptime, suspicion: impl Fn(&NodeId) -> Duration) {
        let is_suspicion = |timer: &Timer| matches!(timer, Timer::Swim(foca::Timer::ChangeSuspectToDown { .. }));
        let late: Vec<_> = self.timers.extract_if(.., |_, timer| is_suspicion(timer)).collect();
        for (_, timer) in late {
            if let Timer::Swim(foca::Timer::ChangeSuspectToDown { member_id, .. }) = &timer {
                self.set(now.after(suspicion(&member_id.node)), timer);
            }
        }
    }
}
