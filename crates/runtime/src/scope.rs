//! What a dropped [`Reply`](crate::Reply) answers: the reason its actor ends, where that is known.
//!
//! A message in hand is dropped *before* anyone can know why: the panic is still unwinding, the error not yet returned.
//! So the host polls its actor inside [`collect`], which keeps such orphans until the reason is known, and drops what it
//! discards inside [`answering`]. Elsewhere an orphan says that its request was dropped.

use std::cell::{Cell, RefCell};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};

use covenant_types::{CallError, ExitReason};

use crate::notice::Notice;

/// Answers one caller.
pub(crate) type Orphan = Box<dyn FnOnce(CallError) + Send>;

/// Replies dropped while an actor ran. They answer when this is settled, or that they were dropped when it is not.
#[must_use]
#[derive(Default)]
pub(crate) struct Orphans(Vec<Orphan>);

/// What happens to an orphan of this thread. A doorbell passes here twice, so entering changes one byte and no more.
struct Scope {
    mode: Cell<Mode>,
    orphans: RefCell<Vec<Orphan>>,
    error: RefCell<Option<CallError>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Outside,
    Collecting,
    Answering,
}

thread_local! {
    static SCOPE: Scope = const {
        Scope { mode: Cell::new(Mode::Outside), orphans: RefCell::new(Vec::new()), error: RefCell::new(None) }
    };
}

/// Runs `poll` and returns, besides its result, the replies that were dropped in it. `poll` must not unwind.
pub(crate) fn collect<T>(poll: impl FnOnce() -> T) -> (T, Orphans) {
    let enter = |scope: &Scope| {
        let before = scope.mode.replace(Mode::Collecting);
        let outer = if before == Mode::Collecting { scope.orphans.take() } else { Vec::new() };
        (before, outer)
    };
    // A thread that is ending has no scope any more; what is dropped then says so itself.
    let Ok((before, outer)) = SCOPE.try_with(enter) else { return (poll(), Orphans::default()) };
    let result = poll();
    let leave = |scope: &Scope| {
        scope.mode.set(before);
        let mut orphans = scope.orphans.borrow_mut();
        // As good as always: there are none.
        if orphans.is_empty() && outer.is_empty() { Vec::new() } else { mem::replace(&mut *orphans, outer) }
    };
    (result, Orphans(SCOPE.try_with(leave).unwrap_or_default()))
}

/// Runs `act`; replies dropped in it answer `error`.
pub(crate) fn answering<T>(error: CallError, act: impl FnOnce() -> T) -> T {
    let _restore = enter_answering(error);
    act()
}

/// Decides what becomes of a reply that is dropped now.
pub(crate) fn orphaned(orphan: impl FnOnce(CallError) + Send + 'static) {
    let mut orphan = Some(orphan);
    let error = SCOPE.try_with(|scope| match scope.mode.get() {
        Mode::Outside => None,
        Mode::Answering => scope.error.borrow().clone(),
        Mode::Collecting => {
            scope.orphans.borrow_mut().extend(orphan.take().map(|orphan| Box::new(orphan) as Orphan));
            None
        }
    });
    // The answer runs outside the borrows: it wakes a caller and may run a callback of remoting.
    if let Some(orphan) = orphan {
        orphan(error.ok().flatten().unwrap_or_else(dropped));
    }
}

fn dropped() -> CallError {
    CallError::Gone(ExitReason::Error("the request was dropped without a reply".to_owned()))
}

impl Orphans {
    /// Answers `error` to all.
    pub(crate) fn settle(mut self, error: &CallError) {
        for orphan in mem::take(&mut self.0) {
            orphan(error.clone());
        }
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        for orphan in mem::take(&mut self.0) {
            orphan(dropped());
        }
    }
}

/// Puts the scope back that was in force before.
struct Restore(Mode, Option<CallError>);

fn enter_answering(error: CallError) -> Option<Restore> {
    let enter = |scope: &Scope| Restore(scope.mode.replace(Mode::Answering), scope.error.replace(Some(error)));
    SCOPE.try_with(enter).ok()
}

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = SCOPE.try_with(|scope| {
            scope.mode.set(self.0);
            scope.error.replace(self.1.take())
        });
    }
}

/// Brackets a future, so that replies dropped because it is given up half done answer why its actor was ended: hold an
/// [`AfterDrop`](Abandoned::after) made before the future and a [`BeforeDrop`](Abandoned::before) made after it.
///
/// Such a future may be dropped on another thread than it was polled on, and never inside the scope of another actor.
pub(crate) struct Abandoned<'a> {
    done: AtomicBool,
    notice: &'a Notice,
}

impl<'a> Abandoned<'a> {
    /// For a future of the actor whose end `notice` tells.
    pub(crate) fn new(notice: &'a Notice) -> Self {
        Self { done: AtomicBool::new(false), notice }
    }

    /// The future has ended by itself; nothing happens any more.
    pub(crate) fn done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// To be dropped before the future.
    pub(crate) fn before(&self) -> BeforeDrop<'_> {
        BeforeDrop(self)
    }

    /// To be dropped after the future.
    pub(crate) fn after(&self) -> AfterDrop<'_> {
        AfterDrop(self)
    }
}

pub(crate) struct BeforeDrop<'a>(&'a Abandoned<'a>);

impl Drop for BeforeDrop<'_> {
    fn drop(&mut self) {
        if !self.0.done.load(Ordering::Relaxed) {
            // `AfterDrop` undoes it.
            mem::forget(enter_answering(CallError::Gone(self.0.notice.reason())));
        }
    }
}

pub(crate) struct AfterDrop<'a>(&'a Abandoned<'a>);

impl Drop for AfterDrop<'_> {
    fn drop(&mut self) {
        if !self.0.done.load(Ordering::Relaxed) {
            drop(Restore(Mode::Outside, None));
        }
    }
}
