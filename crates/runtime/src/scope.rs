//! What a dropped [`Reply`](crate::Reply) answers: the reason its actor ends, where that is known.
//!
//! A message in hand is dropped *before* anyone can know why: the panic is still unwinding, the error not yet returned.
//! So the host polls its actor inside [`collect`], which keeps such orphans until the reason is known, and drops what it
//! discards inside [`answering`]. Elsewhere an orphan says that its request was dropped.

use std::cell::RefCell;
use std::mem;

use covenant_types::{CallError, ExitReason};

/// Answers one caller.
pub(crate) type Orphan = Box<dyn FnOnce(CallError) + Send>;

/// Replies dropped while an actor ran. They answer when this is settled, or that they were dropped when it is not.
#[must_use]
#[derive(Default)]
pub(crate) struct Orphans(Vec<Orphan>);

enum Scope {
    Outside,
    Collecting(Vec<Orphan>),
    Answering(CallError),
}

thread_local! {
    static SCOPE: RefCell<Scope> = const { RefCell::new(Scope::Outside) };
}

/// Runs `poll` and returns, besides its result, the replies that were dropped in it. `poll` must not unwind.
pub(crate) fn collect<T>(poll: impl FnOnce() -> T) -> (T, Orphans) {
    let restore = enter(Scope::Collecting(Vec::new()));
    let result = poll();
    let collected = match restore.leave() {
        Scope::Collecting(orphans) => orphans,
        Scope::Outside | Scope::Answering(_) => Vec::new(),
    };
    (result, Orphans(collected))
}

/// Runs `act`; replies dropped in it answer `error`.
pub(crate) fn answering<T>(error: CallError, act: impl FnOnce() -> T) -> T {
    let _restore = enter(Scope::Answering(error));
    act()
}

/// On drop, ends what [`entering_on_drop`] began.
pub(crate) fn restoring() -> impl Drop + Send {
    OnDrop::Restore
}

/// On drop, makes replies dropped on this thread answer `error`, until a [`restoring`] is dropped.
pub(crate) fn entering_on_drop(error: CallError) -> impl Drop + Send {
    OnDrop::Answer(error)
}

/// Decides what becomes of a reply that is dropped now.
pub(crate) fn orphaned(orphan: impl FnOnce(CallError) + Send + 'static) {
    let mut orphan = Some(orphan);
    let error = SCOPE.try_with(|scope| match &mut *scope.borrow_mut() {
        Scope::Outside => Some(dropped()),
        Scope::Answering(error) => Some(error.clone()),
        Scope::Collecting(orphans) => {
            orphans.extend(orphan.take().map(|orphan| Box::new(orphan) as Orphan));
            None
        }
    });
    // The answer runs outside the borrow: it wakes a caller and may run a callback of remoting.
    if let (Some(orphan), Some(error)) = (orphan, error.unwrap_or_else(|_| Some(dropped()))) {
        orphan(error);
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
        for orphan in mem::take(&mut self.0) {
            orphan(dropped());
        }
    }
}

/// Brackets the drop of a future that is given up half done. A future may be dropped on another thread than it was made
/// on, and never inside the scope of another actor: what is put back is the outside.
enum OnDrop {
    Restore,
    Answer(CallError),
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        let scope = match self {
            Self::Restore => Scope::Outside,
            Self::Answer(error) => Scope::Answering(error.clone()),
        };
        let _ = SCOPE.try_with(|current| current.replace(scope));
    }
}

/// Puts the scope back that was in force before.
struct Restore(Option<Scope>);

fn enter(scope: Scope) -> Restore {
    Restore(SCOPE.try_with(|current| current.replace(scope)).ok())
}

impl Restore {
    fn leave(mut self) -> Scope {
        let before = self.0.take().unwrap_or(Scope::Outside);
        SCOPE.try_with(|current| current.replace(before)).unwrap_or(Scope::Outside)
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            let _ = SCOPE.try_with(|current| current.replace(before));
        }
    }
}
