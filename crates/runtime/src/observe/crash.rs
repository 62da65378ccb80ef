//! Abnormal ends: one report each, and what became of it further up the tree.
//!
//! A crash loop would drown whoever reads the reports. Crashes of one actor for the same reason are therefore one entry with
//! a count, from the moment they happen.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covenant_supervision::{ChildId, ChildState};
use covenant_types::{ActorPath, ExitReason, Incarnation, TraceId, WallTime};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{FlightRecord, Left, PanicSite};

/// The most kinds of crashes that wait for the reader of a log.
pub const CRASHES_MAX: usize = 256;
/// The most supervisors' decisions that are kept of one kind of crash.
pub const CHAIN_MAX: usize = 64;
/// The longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 4096;
/// The longest part of a reason by which crashes are told apart, in bytes.
const CLASS_BYTES_MAX: usize = 160;

/// Which crashes are the same: those of one actor for one reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CrashKey {
    /// The actor.
    pub path: ActorPath,
    /// The first line of the reason, with `#` for every number in it.
    pub class: String,
}

/// One abnormal end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    /// The actor.
    pub path: ActorPath,
    /// The incarnation that ended; of a start that failed the one before.
    pub incarnation: Incarnation,
    /// What it was doing.
    pub context: CrashContext,
    /// Why it ended.
    pub reason: String,
    /// Where it panicked, where that is known.
    pub site: Option<PanicSite>,
    /// The trace it was in: that of the message in hand, unless its handler had begun another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
    /// When its supervisor heard of it.
    pub at: WallTime,
    /// The same in microseconds since the node started.
    pub at_us: u64,
    /// The registered name of its behaviour; a supervisor has none.
    pub behaviour: Option<String>,
    /// How many messages the path had handled.
    pub handled: u64,
    /// How many messages waited.
    pub waiting: usize,
    /// A supervisor that died: how many actors and supervisors ran below it. They ended with it and have no reports of their
    /// own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub took_along: usize,
    /// What it handled last. A plain ractor actor, a supervisor and a failed start have none.
    pub record: Option<FlightRecord>,
}

/// What an actor that ended abnormally was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashContext {
    /// It ran.
    Running,
    /// It did not start.
    Starting,
    /// It was asked to stop.
    Stopping,
}

/// What a supervisor did because of a crash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChainLink {
    /// The supervisor.
    pub supervisor: ActorPath,
    /// Which of its children ended.
    pub child: ActorPath,
    /// What it did about it.
    pub did: Decision,
    /// How often.
    pub times: u64,
}

/// What a supervisor does when a child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It starts the child again, with others where its strategy says so.
    Restarted,
    /// Its intensity was exceeded, or a child could not be started: it ends, and its own supervisor decides.
    GaveUp,
    /// The child stays away, as its restart policy says.
    LeftDown,
    /// It was stopping the child anyway.
    WasStopping,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Restarted => "restarted",
            Self::GaveUp => "gave up",
            Self::LeftDown => "left down",
            Self::WasStopping => "was stopping",
        })
    }
}

/// Crashes of one kind since somebody last looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crashes {
    /// How many. Zero where only something further up was decided since.
    pub count: u64,
    /// The first of them.
    pub first: Option<CrashReport>,
    /// The incarnation that ended last, and when.
    pub last: Option<(Incarnation, WallTime)>,
    /// What supervisors did, nearest first.
    pub chain: Vec<ChainLink>,
}

/// What happened since somebody last looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// By kind.
    pub crashes: BTreeMap<CrashKey, Crashes>,
    /// Crashes of further kinds than [`CRASHES_MAX`], of which nothing else is known.
    pub uncounted: u64,
}

/// Where a system tells of abnormal ends, for one reader. Cheap to clone; clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct CrashLog(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Taken>,
    told: Notify,
}

impl CrashLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves when there is something to take.
    pub async fn told(&self) {
        self.0.told.notified().await;
    }

    /// Takes what happened since the last time.
    pub fn take(&self) -> Taken {
        std::mem::take(&mut *self.waiting())
    }

    /// Tells of a crash.
    pub(crate) fn note(&self, key: &CrashKey, report: CrashReport) {
        let mut waiting = self.waiting();
        let last = Some((report.incarnation, report.at));
        match Self::entry(&mut waiting, key) {
            Some(crashes) => {
                crashes.count += 1;
                crashes.last = last;
                crashes.first.get_or_insert(report);
            }
            None => waiting.uncounted += 1,
        }
        drop(waiting);
        self.0.told.notify_one();
    }

    /// Tells what a supervisor did because of it.
    pub(crate) fn link(&self, key: &CrashKey, supervisor: &ActorPath, child: &ActorPath, did: Decision) {
        let mut waiting = self.waiting();
        if let Some(crashes) = Self::entry(&mut waiting, key) {
            let link = ChainLink { supervisor: supervisor.clone(), child: child.clone(), did, times: 1 };
            link.add_to(&mut crashes.chain);
        }
        drop(waiting);
        self.0.told.notify_one();
    }

    fn entry<'a>(waiting: &'a mut Taken, key: &CrashKey) -> Option<&'a mut Crashes> {
        let full = waiting.crashes.len() >= CRASHES_MAX;
        match waiting.crashes.entry(key.clone()) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if full => None,
            Entry::Vacant(new) => Some(new.insert(Crashes { count: 0, first: None, last: None, chain: Vec::new() })),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Taken> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChainLink {
    /// Counts this in a chain, which has at most [`CHAIN_MAX`] links.
    pub fn add_to(self, chain: &mut Vec<Self>) {
        let same = |link: &Self| (&link.supervisor, &link.child, link.did) == (&self.supervisor, &self.child, self.did);
        match chain.iter().position(same) {
            Some(at) => chain[at].times += self.times,
            None if chain.len() < CHAIN_MAX => chain.push(self),
            None => {}
        }
    }
}

impl CrashKey {
    pub(crate) fn new(path: ActorPath, reason: &ExitReason) -> Self {
        let reason = reason.to_string();
        let line = reason.lines().next().unwrap_or_default();
        let mut class = String::with_capacity(line.len().min(CLASS_BYTES_MAX));
        for letter in line.chars() {
            let letter = if letter.is_ascii_digit() { '#' } else { letter };
            if !(letter == '#' && class.ends_with('#')) {
                class.push(letter);
            }
            if class.len() >= CLASS_BYTES_MAX {
                break;
            }
        }
        Self { path, class }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A reason, short enough to be kept.
pub(super) fn shortened(reason: &ExitReason) -> String {
    let mut text = reason.to_string();
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}

/// The crash a supervisor is dealing with, and the one it gave up for.
#[derive(Default)]
pub(crate) struct Case {
    /// The last crash that was heard of.
    pub(crate) last: Option<CrashKey>,
    /// The one that was too many.
    pub(crate) gave_up: Option<CrashKey>,
    /// The traces of ends that people were not told of yet. At most one a child.
    pub(crate) traces: BTreeMap<ChildId, TraceId>,
}

impl Case {
    /// The crash that is behind the end of a child: its own, or the one that a supervisor below gave up for.
    pub(crate) fn of_child(path: &ActorPath, reason: &ExitReason, left: &mut Option<Left>) -> (Option<CrashKey>, bool) {
        match left.as_mut().and_then(|left| left.cause.take()) {
            Some(cause) => (Some(cause), false),
            // One that ended for another to take its place did nothing wrong.
            None if reason.is_orderly() || !reason.is_counted() => (None, false),
            None => (Some(CrashKey::new(path.clone(), reason)), true),
        }
    }

    /// What a supervisor did with `child`, judged by what has become of it.
    pub(crate) fn decision(gave_up: bool, was_stopping: bool, now: Option<ChildState>) -> Decision {
        match now {
            _ if gave_up => Decision::GaveUp,
            _ if was_stopping => Decision::WasStopping,
            Some(ChildState::Starting | ChildState::Running | ChildState::Restarting) => Decision::Restarted,
            Some(ChildState::Undefined | ChildState::Stopping | ChildState::Unkillable) | None => Decision::LeftDown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ActorPath {
        text.parse().unwrap()
    }

    fn report(path: &ActorPath, incarnation: u32) -> CrashReport {
        CrashReport {
            path: path.clone(),
            incarnation: Incarnation(incarnation),
            context: CrashContext::Running,
            reason: "panic: x".into(),
            site: None,
            trace: None,
            at: WallTime(u64::from(incarnation)),
            at_us: 0,
            behaviour: None,
            handled: 0,
            waiting: 0,
            took_along: 0,
            record: None,
        }
    }

    #[test]
    fn reasons_that_differ_in_numbers_or_later_lines_are_one_kind() {
        let key = |text: &str| CrashKey::new(path("/a"), &ExitReason::Panicked(text.to_owned()));
        assert_eq!(key("index 17 of 4\nmore"), key("index 3 of 120"));
        assert_eq!(key("index 17 of 4").class, "panic: index # of #");
        assert_ne!(key("index"), key("other"));
        assert!(key(&"x".repeat(10_000)).class.len() <= CLASS_BYTES_MAX);
    }

    #[test]
    fn a_crash_loop_is_one_entry_with_a_count() {
        let (log, a) = (CrashLog::new(), path("/a"));
        let key = CrashKey::new(a.clone(), &ExitReason::Killed);
        for incarnation in 1..=1000 {
            log.note(&key, report(&a, incarnation));
            log.link(&key, &path("/"), &a, Decision::Restarted);
        }
        let taken = log.take();
        let crashes = &taken.crashes[&key];
        assert_eq!((taken.crashes.len(), crashes.count, crashes.chain.len()), (1, 1000, 1));
        assert_eq!(crashes.first.as_ref().unwrap().incarnation, Incarnation(1));
        assert_eq!((crashes.last, crashes.chain[0].times), (Some((Incarnation(1000), WallTime(1000))), 1000));
        assert_eq!(log.take(), Taken::default());
    }

    #[test]
    fn a_log_that_nobody_reads_is_bounded_and_says_so() {
        let log = CrashLog::new();
        for number in 0..CRASHES_MAX + 3 {
            let path = path(&format!("/a{number}"));
            log.note(&CrashKey::new(path.clone(), &ExitReason::Killed), report(&path, 1));
        }
        let taken = log.take();
        assert_eq!((taken.crashes.len(), taken.uncounted), (CRASHES_MAX, 3));
    }
}
