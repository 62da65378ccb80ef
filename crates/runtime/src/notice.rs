//! How a supervisor learns that a child has ended: by the drop of what the child holds.
//!
//! Every start attempt has one [`Notice`], shared by the child, its tasks and, for a supervisor, all its descendants.
//! When the last of them has gone, it tells the supervisor above. Nothing else does, so an exit can be neither lost nor
//! told twice, whether it came by return, error, panic, kill or the end of the runtime, and a child counts as ended only
//! when nothing of it runs any more.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covenant_supervision::ChildId;
use covenant_types::{ExitReason, Incarnation, StartAttempt};

use crate::observe::take_panic_site;
use crate::slot::Slot;
use crate::tie::Bound;
use crate::{DownReason, System, panic_text};

/// Tells a supervisor about one start attempt of one child.
pub(crate) struct Notice {
    to: Arc<dyn Above>,
    slot: Arc<Slot>,
    child: ChildId,
    attempt: StartAttempt,
    started: AtomicBool,
    /// Made on first use: most children run, and have nothing to say.
    said: OnceLock<Box<Said>>,
    /// Counted as unkillable until it is gone after all.
    unkillable: AtomicBool,
}

#[derive(Default)]
struct Said {
    /// Why the child ends.
    ending: OnceLock<Ending>,
    /// What it has to say to whoever had it started.
    info: OnceLock<String>,
}

/// Who hears of a child: its supervisor, or the system for the root.
pub(crate) trait Above: Send + Sync {
    /// The system of both.
    fn system(&self) -> &System;

    /// Takes the news. Must not block and never fails: the supervisor may have gone.
    fn hear(&self, news: News);

    /// Kills what was begun with `attempt`, if it runs. Must not block and never fails.
    fn kill(&self, child: &ChildId, attempt: StartAttempt);

    /// Has what was begun with `attempt` finish what waits for it and end. As [`Above::kill`].
    fn drain(&self, child: &ChildId, attempt: StartAttempt, within: Duration);
}

/// What is heard of one start attempt: `Started` at most once, then one of the others exactly once.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) child: ChildId,
    pub(crate) attempt: StartAttempt,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Started(Option<String>),
    Ignored,
    StartFailed(ExitReason),
    Exited(ExitReason),
}

#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Ignored,
    Exit(ExitReason),
}

impl Notice {
    pub(crate) fn new(to: Arc<dyn Above>, slot: Arc<Slot>, child: ChildId, attempt: StartAttempt) -> Arc<Self> {
        let (started, unkillable) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { to, slot, child, attempt, started, said: OnceLock::new(), unkillable })
    }

    /// The child runs.
    pub(crate) fn started(self: &Arc<Self>) {
        self.started.store(true, Ordering::Release);
        self.slot.bind(&self.bound(self.slot.incarnation()));
        self.tell(What::Started(self.said.get().and_then(|said| said.info.get().cloned())));
    }

    /// Whether the child has run.
    pub(crate) fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Notes what the child has to say of itself when it has started. The first word stays.
    pub(crate) fn inform(&self, info: String) {
        let _ = self.said().info.set(info);
    }

    /// The record of the child.
    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// The system the child is part of.
    pub(crate) fn system(&self) -> &System {
        self.to.system()
    }

    pub(crate) fn attempt(&self) -> StartAttempt {
        self.attempt
    }

    /// Notes why the child ends. The first reason stays; without one it was killed.
    pub(crate) fn ends(&self, ending: Ending) {
        let _ = self.said().ending.set(ending);
    }

    /// The reason of an end by a panic that was just caught on this thread. Notes where it happened.
    pub(crate) fn panicked(&self, payload: &(dyn Any + Send)) -> ExitReason {
        if let Some(site) = take_panic_site() {
            self.slot.observed().leave(self.attempt, |left| left.site = Some(site));
        }
        ExitReason::Panicked(panic_text(payload))
    }

    /// This attempt, whose success makes it `incarnation`, as one end of a tie.
    pub(crate) fn bound(self: &Arc<Self>, incarnation: Incarnation) -> Bound {
        Bound { attempt: self.attempt, incarnation, notice: Arc::downgrade(self) }
    }

    /// Ends the child at its next `.await`, with this reason unless it already has one.
    pub(crate) fn end_with(&self, reason: ExitReason) {
        self.ends(Ending::Exit(reason));
        self.to.kill(&self.child, self.attempt);
    }

    /// Has the child finish what waits for it and end.
    pub(crate) fn drain(&self, within: Duration) {
        self.to.drain(&self.child, self.attempt, within);
    }

    /// It was killed and goes on.
    pub(crate) fn mark_unkillable(&self) {
        if !self.unkillable.swap(true, Ordering::AcqRel) {
            self.system().count_unkillable(true);
        }
    }

    /// The reason noted, or `Killed`.
    pub(crate) fn reason(&self) -> ExitReason {
        match self.ending() {
            Some(Ending::Exit(reason)) => reason.clone(),
            Some(Ending::Ignored) => ExitReason::Normal,
            None => ExitReason::Killed,
        }
    }

    fn said(&self) -> &Said {
        self.said.get_or_init(Box::default)
    }

    fn ending(&self) -> Option<&Ending> {
        self.said.get()?.ending.get()
    }

    fn tell(&self, what: What) {
        self.to.hear(News { child: self.child.clone(), attempt: self.attempt, what });
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        let ended = self.slot.end(self.attempt);
        if self.unkillable.load(Ordering::Acquire) {
            self.system().count_unkillable(false);
        }
        let what = match (self.has_started(), self.ending()) {
            (true, _) => What::Exited(self.reason()),
            (false, Some(Ending::Ignored)) => What::Ignored,
            (false, _) => What::StartFailed(self.reason()),
        };
        // Before the supervisor hears: what is linked to this child should not meet its successor.
        ended.tell(&self.slot.path, &DownReason::Exited(self.reason()));
        self.tell(what);
    }
}
