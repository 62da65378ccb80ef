//! What happened, in the order it happened: for the trace, for people, and for the rules.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::rules::Rules;
use crate::Trace;

/// Lines that are kept for people. The trace has them all.
const LINES_MAX: usize = 20_000;

/// Shared by everything in a simulation, all of which runs in one thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Chronicle(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    trace: Trace,
    lines: Vec<String>,
    numbers: u64,
    rules: Rules,
}

impl Chronicle {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down what happened, for the trace and for people.
    pub(super) fn tell(&self, now: Duration, what: &str) {
        let mut pages = self.lock();
        pages.mix(now, what);
        if pages.lines.len() < LINES_MAX {
            pages.lines.push(format!("{:>9.3} s  {what}", now.as_secs_f64()));
        }
    }

    /// Takes down what happened for the trace alone.
    pub(super) fn note(&self, now: Duration, what: &str) {
        self.lock().mix(now, what);
    }

    /// A number that nothing else has.
    pub(super) fn number(&self) -> u64 {
        let mut pages = self.lock();
        pages.numbers += 1;
        pages.numbers
    }

    /// Tells the rules.
    pub(super) fn rules<T>(&self, tell: impl FnOnce(&mut Rules) -> T) -> T {
        tell(&mut self.lock().rules)
    }

    /// What happened, in one number.
    pub(super) fn trace(&self) -> Trace {
        self.lock().trace
    }

    /// What happened, in words.
    pub(super) fn story(&self) -> Vec<String> {
        self.lock().lines.clone()
    }
}

impl Pages {
    fn mix(&mut self, now: Duration, what: &str) {
        self.trace.mix_u64(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        self.trace.mix(what.as_bytes());
    }
}
