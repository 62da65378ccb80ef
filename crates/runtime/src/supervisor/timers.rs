//! The timers of one supervisor, which share one task.
//!
//! A supervisor that stops a hundred thousand children sets and cancels as many deadlines, and none of them passes. With a
//! task for each, every stop would wake the system runtime twice. So the book of what is due is here, and there is one
//! task that sleeps until the earliest; it may wake to find that nothing is due any more.

use std::collections::{BTreeMap, BTreeSet};

use covenant_env::Task;
use covenant_supervision::{Event, Timer};
use covenant_types::Uptime;

use super::desk::Order;
use super::driver::Driver;

/// What is due, and when.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Bounded as the core's timers are: one a child, and two of all instances.
    due: BTreeMap<Timer, Uptime>,
    in_order: BTreeSet<(Uptime, Timer)>,
    /// Wakes at this moment, or before the earliest timer.
    alarm: Option<(Uptime, Task)>,
}

impl Timers {
    fn set(&mut self, timer: Timer, due: Uptime) {
        self.cancel(timer);
        self.due.insert(timer, due);
        self.in_order.insert((due, timer));
    }

    /// Takes a timer away. Says whether it was there.
    pub(super) fn cancel(&mut self, timer: Timer) -> bool {
        self.due.remove(&timer).is_some_and(|due| self.in_order.remove(&(due, timer)))
    }

    fn due_by(&self, now: Uptime) -> Vec<(Uptime, Timer)> {
        self.in_order.iter().take_while(|(due, _)| *due <= now).copied().collect()
    }

    /// The earliest moment, where nothing wakes by then.
    fn unwatched(&self) -> Option<Uptime> {
        let (earliest, _) = *self.in_order.first()?;
        self.alarm.as_ref().is_none_or(|(at, _)| *at > earliest).then_some(earliest)
    }
}

impl Driver {
    pub(super) fn set_timer(&mut self, timer: Timer, due: Uptime) {
        self.timers.set(timer, due);
        self.set_alarm();
    }

    /// The alarm rang: tells the core what is due.
    pub(super) fn ring_timers(&mut self) {
        self.timers.alarm = None;
        // What is set meanwhile is for the next alarm, also where it is due at once.
        for (due, timer) in self.timers.due_by(self.system.env().now()) {
            if self.timers.due.get(&timer) == Some(&due) && self.timers.cancel(timer) {
                self.feed(Event::TimerFired(timer), None);
            }
        }
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        let Some(earliest) = self.timers.unwatched() else { return };
        let after = earliest.since(self.system.env().now());
        let desk = self.port.desk();
        // Also without a pause this is a task: where a runtime that is shutting down refuses every start, it refuses this
        // too, and the retries end instead of going round in this thread.
        let task = self.system.env().system.spawn(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            desk.post(Order::Alarm);
        });
        self.timers.alarm = Some((earliest, task));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use covenant_types::StartAttempt;

    use super::*;

    fn at(millis: u64) -> Uptime {
        Uptime::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_due_comes_in_order_and_what_was_cancelled_does_not() {
        let [first, second, third] = [1, 2, 3].map(|attempt| Timer::StopDeadline(StartAttempt(attempt)));
        let mut timers = Timers::default();
        timers.set(first, at(30));
        timers.set(second, at(20));
        timers.set(third, at(10));
        assert!(timers.cancel(third) && !timers.cancel(third));
        assert_eq!(timers.unwatched(), Some(at(20)));
        assert_eq!(timers.due_by(at(19)), []);
        assert_eq!(timers.due_by(at(30)), [(at(20), second), (at(30), first)]);
        timers.set(second, at(40));
        assert_eq!(timers.due_by(at(30)), [(at(30), first)]);
        assert_eq!(timers.due_by(at(40)), [(at(30), first), (at(40), second)]);
    }
}
