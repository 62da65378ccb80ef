//! What the system knows of one path, over all its incarnations.

mod running;
mod sight;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use covenant_env::Env;
use covenant_supervision::ChildKind;
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation, StartAttempt};

use crate::Inlet;
use crate::mailbox::AnyMailbox;
use crate::names::Names;
use crate::observe::Observed;
use crate::tie::{Bound, Down, Ended, Ties};
use crate::view::ActorState;
pub(crate) use running::{Handle, Running};
use sight::SlotMetrics;

/// The record of one path. Written by its supervisor and its host, read by everyone.
pub(crate) struct Slot {
    pub(crate) path: ActorPath,
    pub(crate) kind: ChildKind,
    pub(crate) behaviour: Option<Arc<str>>,
    /// `None` for a supervisor.
    pub(crate) mailbox: Option<Arc<dyn AnyMailbox>>,
    /// This record's place among its siblings, which no other of them has.
    place: AtomicU64,
    /// No spec stands behind it at present: it is not shown.
    forgotten: AtomicBool,
    incarnation: AtomicU32,
    now: Mutex<Now>,
    /// Made on first use: most actors are not exposed, never restart and are not looked at.
    rare: OnceLock<Box<Rare>>,
    /// Something waits for the actor beside its messages. Looked at once per batch.
    signalled: AtomicBool,
    /// What runs is to begin no message. Looked at once per batch.
    suspended: AtomicBool,
}

/// Records by their place among siblings.
type Below = BTreeMap<u64, Arc<Slot>>;

/// What few records need.
#[derive(Default)]
struct Rare {
    /// The records of a supervisor's children, by their place in start order.
    children: Mutex<Below>,
    /// They are equal supervisors that share the keys.
    partitioned: AtomicBool,
    restarts: AtomicU64,
    inlet: Mutex<Option<Arc<dyn Inlet>>>,
    metrics: OnceLock<SlotMetrics>,
    observed: Observed,
    /// Where this path has a name, or is in a group.
    names: OnceLock<Weak<Names>>,
}

/// What runs at a path now.
struct Now {
    state: ActorState,
    running: Option<Running>,
    ties: Ties,
}

impl Slot {
    pub(crate) fn new(
        path: ActorPath,
        kind: ChildKind,
        behaviour: Option<Arc<str>>,
        mailbox: Option<Arc<dyn AnyMailbox>>,
        place: u64,
    ) -> Self {
        Self {
            path,
            kind,
            behaviour,
            mailbox,
            place: AtomicU64::new(place),
            forgotten: AtomicBool::new(false),
            incarnation: AtomicU32::new(0),
            now: Mutex::new(Now { state: ActorState::Undefined, running: None, ties: Ties::default() }),
            rare: OnceLock::new(),
            signalled: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
        }
    }

    /// The records below, in start order.
    pub(crate) fn children(&self) -> Vec<Arc<Slot>> {
        let Some(rare) = self.rare.get() else { return Vec::new() };
        rare.children.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Adds the record of a child.
    pub(crate) fn adopt(&self, child: Arc<Slot>) {
        let before = self.below().insert(child.place(), child);
        drop(before);
    }

    /// Takes the record of a child away.
    pub(crate) fn disown(&self, child: &Slot) {
        let gone = self.below().remove(&child.place());
        drop(gone); // after the lock
    }

    /// Puts the records of all children into this order.
    pub(crate) fn arrange(&self, children: Vec<Arc<Slot>>) {
        let arranged = (0..).zip(children).map(|(place, child)| {
            child.place.store(place, Ordering::Relaxed);
            (place, child)
        });
        let arranged = arranged.collect();
        let before = std::mem::replace(&mut *self.below(), arranged);
        drop(before); // after the lock
    }

    fn below(&self) -> MutexGuard<'_, Below> {
        self.rare().children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This record's place among its siblings.
    pub(crate) fn place(&self) -> u64 {
        self.place.load(Ordering::Relaxed)
    }

    /// Is in the place of the record that had the path before.
    pub(crate) fn take_place_of(&self, before: &Self) {
        self.place.store(before.place(), Ordering::Relaxed);
    }

    /// Goes on counting where the record that had the path before ended.
    pub(crate) fn inherit(&self, before: &Self) {
        if !std::ptr::eq(self, before) {
            self.incarnation.fetch_max(before.incarnation().0, Ordering::AcqRel);
            if before.restarts() > 0 {
                self.rare().restarts.fetch_max(before.restarts(), Ordering::Relaxed);
            }
        }
    }

    /// Whether a spec stands behind this record.
    pub(crate) fn set_forgotten(&self, forgotten: bool) {
        self.forgotten.store(forgotten, Ordering::Release);
    }

    pub(crate) fn set_partitioned(&self, partitioned: bool) {
        self.rare().partitioned.store(partitioned, Ordering::Release);
    }

    pub(crate) fn is_partitioned(&self) -> bool {
        self.rare.get().is_some_and(|rare| rare.partitioned.load(Ordering::Acquire))
    }

    fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Acquire)
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Ordering::Acquire))
    }

    /// A start succeeded.
    pub(crate) fn count_start(&self, incarnation: Incarnation) {
        self.incarnation.store(incarnation.0, Ordering::Release);
    }

    /// The path came back after an exit.
    pub(crate) fn count_restart(&self, env: &Env) {
        self.rare().restarts.fetch_add(1, Ordering::Relaxed);
        self.metrics(env).restarts.increment(1);
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.rare.get().map_or(0, |rare| rare.restarts.load(Ordering::Relaxed))
    }

    pub(crate) fn expose(&self, inlet: Arc<dyn Inlet>) {
        let before = self.rare().inlet.lock().unwrap_or_else(PoisonError::into_inner).replace(inlet);
        drop(before); // after the lock
    }

    pub(crate) fn inlet(&self) -> Option<Arc<dyn Inlet>> {
        self.rare.get()?.inlet.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_state(&self, state: ActorState) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).state = state;
    }

    pub(crate) fn state(&self) -> ActorState {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        // A supervisor that died can no longer say that its children followed it.
        if now.state == ActorState::Stopping && now.running.is_none() { ActorState::Undefined } else { now.state }
    }

    pub(crate) fn set_running(&self, running: Running) {
        let before = self.now().running.replace(running);
        drop(before); // after the lock
    }

    /// `attempt` has ended. A later one is left alone.
    pub(crate) fn clear_running(&self, attempt: StartAttempt) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.running.as_ref().is_some_and(|running| running.attempt == attempt) {
            let _ended = now.running.take();
            self.suspended.store(false, Ordering::Release);
            drop(now); // before what it holds, whose drop may tell the supervisor above
        }
    }

    pub(crate) fn running(&self) -> Option<Running> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).running.clone()
    }

    /// `attempt` runs: whoever waited for it is tied to it.
    pub(crate) fn bind(&self, bound: &Bound) {
        for far in self.with_ties(|ties| ties.started(bound)) {
            far.bound(bound.incarnation);
        }
        if let Some(names) = self.names() {
            names.started(&self.path, bound.attempt);
        }
    }

    /// What runs here is about to take a name or join a group: these hear of its end.
    pub(crate) fn keep_names(&self, names: &Arc<Names>) {
        self.rare().names.get_or_init(|| Arc::downgrade(names));
    }

    fn names(&self) -> Option<Arc<Names>> {
        self.rare.get()?.names.get()?.upgrade()
    }

    /// Nothing of `attempt` runs any more. Returns its ties, which are to be told.
    pub(crate) fn end(&self, attempt: StartAttempt) -> Ended {
        self.clear_running(attempt);
        self.with_ties(|ties| ties.ended(attempt))
    }

    /// Runs `act` under the lock of the ties. What holds a record, or wakes anybody, leaves with the result.
    pub(crate) fn with_ties<T>(&self, act: impl FnOnce(&mut Ties) -> T) -> T {
        act(&mut self.now().ties)
    }

    /// As [`Slot::with_ties`] with the ties of two, which must not be the same. Locks in the order of addresses, so that
    /// two who do this at once do not wait for each other.
    pub(crate) fn with_both_ties<T>(&self, other: &Slot, act: impl FnOnce(&mut Ties, &mut Ties) -> T) -> T {
        if std::ptr::from_ref(self) < std::ptr::from_ref(other) {
            let mut ours = self.now();
            act(&mut ours.ties, &mut other.now().ties)
        } else {
            let mut theirs = other.now();
            act(&mut self.now().ties, &mut theirs.ties)
        }
    }

    /// No foreign code runs under the lock, so a poisoned one holds nothing half done.
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something waits beside the messages: wakes who is to look for it.
    pub(crate) fn signal(&self) {
        self.signalled.store(true, Ordering::Release);
        if let Some(mailbox) = &self.mailbox {
            mailbox.ring();
        }
    }

    /// Whether something may wait beside the messages.
    pub(crate) fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::Relaxed)
    }

    /// As [`Slot::is_signalled`], to whoever looks now: what comes later signals again.
    pub(crate) fn take_signal(&self) -> bool {
        self.is_signalled() && self.signalled.swap(false, Ordering::AcqRel)
    }

    /// The oldest end that `attempt` was not told yet.
    pub(crate) fn next_down(&self, attempt: StartAttempt) -> Option<Down> {
        self.with_ties(|ties| ties.next_down(attempt))
    }

    /// Whether its messages are in a lane of ours.
    pub(crate) fn has_lane(&self) -> bool {
        self.mailbox.as_ref().is_some_and(|mailbox| mailbox.capacity() > 0)
    }

    /// Lets what runs begin no message more. `None` where nothing does.
    pub(crate) fn suspend(&self) -> Option<Incarnation> {
        // Under the lock: the end of what runs now ends this too.
        let now = self.now();
        now.running.as_ref()?;
        self.suspended.store(true, Ordering::Release);
        Some(self.incarnation())
    }

    /// Whoever calls this signals. False where it was not suspended.
    pub(crate) fn resume(&self) -> bool {
        self.suspended.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    /// The part about looking at it.
    pub(crate) fn observed(&self) -> &Observed {
        &self.rare().observed
    }

    /// The same, if anything was ever put there.
    pub(crate) fn if_observed(&self) -> Option<&Observed> {
        self.rare.get().map(|rare| &rare.observed)
    }

    /// Adds the paths below that still run.
    pub(crate) fn collect_running(&self, into: &mut Vec<ActorPath>) {
        for child in self.children() {
            if child.running().is_some() {
                into.push(child.path.clone());
            }
            child.collect_running(into);
        }
    }

    /// Refuses senders here and below, and answers every call that waits.
    pub(crate) fn close(&self, error: &CallError) {
        let ended = self.with_ties(|ties| ties.close(error));
        if let Some(mailbox) = &self.mailbox {
            mailbox.close(error.clone());
        }
        if let Some(names) = self.names() {
            names.closed(&self.path);
        }
        ended.tell(&self.path, &error.into());
        for child in self.children() {
            child.close(error);
        }
    }

    /// Closes with the reason of an end for good.
    pub(crate) fn close_gone(&self, reason: ExitReason) {
        self.close(&CallError::Gone(reason));
    }

    /// Takes messages again. Those below open when they are started.
    pub(crate) fn reopen(&self) {
        self.with_ties(Ties::reopen);
        if let Some(mailbox) = &self.mailbox {
            mailbox.reopen();
        }
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }
}
