//! What is due later, in order of time; what is due at one time, in the order it was asked for.

use std::collections::BTreeMap;

use covenant_types::{StartAttempt, Uptime};

use crate::Timer;

/// Something that happens at its time unless it is struck out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// A supervisor wants to be told.
    Timer(StartAttempt, Timer),
    /// A start that takes time comes to its end.
    Start(StartAttempt),
    /// A stop that takes time does.
    Stop(StartAttempt),
}

/// Where something stands in the agenda.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    at: Uptime,
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<Entry, Due>,
    next: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Uptime, due: Due) -> Entry {
        let entry = Entry { at, number: self.next };
        self.next += 1;
        self.entries.insert(entry, due);
        entry
    }

    pub(super) fn strike(&mut self, entry: Entry) {
        self.entries.remove(&entry);
    }

    /// When the next thing is due.
    pub(super) fn next_at(&self) -> Option<Uptime> {
        self.entries.first_key_value().map(|(entry, _)| entry.at)
    }

    /// The next thing that is due by `now`.
    pub(super) fn take_due(&mut self, now: Uptime) -> Option<Due> {
        self.entries.first_entry().filter(|first| first.key().at <= now).map(|first| first.remove())
    }
}
