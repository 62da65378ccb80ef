//! Waiting no longer than agreed, cheaply enough for every call.
//!
//! A tokio timer per call costs a system call whenever it is the earliest of its runtime, which the deadline of a call
//! on a quiet node always is. Calls end long before their deadlines, so here they only sign a list, and a keeper walks
//! through it every [`TICK`] while anybody is on it.
//!
//! # Invariants
//! - A deadline never passes early: an entry made between two walks counts from the second.
//! - It passes at most two ticks late, as far as the system runtime has time to walk.
//! - With nobody on the list the keeper sleeps.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use covenant_env::Clock;
use covenant_types::Uptime;
use tokio::sync::Notify;

/// The time between two walks.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// The keeper goes to sleep when it found nobody on so many walks: waking it costs the next caller a little.
const IDLE_WALKS_MAX: u32 = 10;
/// Lists, so that threads seldom meet at one.
const SHARDS: usize = 8;
/// An emptied list with more room than this gives it back.
const IDLE_CAPACITY_MAX: usize = 64;

/// The output of `future`, or `None` when `deadline` passes first. For waits that are rare.
pub(crate) async fn within<T>(deadline: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(deadline, future).await.ok()
}

/// Who waits, and until when. Needs [`Deadlines::keep`] to run.
#[derive(Debug)]
pub struct Deadlines {
    clock: Arc<dyn Clock>,
    shards: [Mutex<Shard>; SHARDS],
    asleep: AtomicBool,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Shard {
    /// When the keeper last walked here.
    walked: Uptime,
    entries: Vec<Entry>,
    /// Indices of vacant entries.
    vacant: Vec<usize>,
}

#[derive(Debug)]
enum Entry {
    Vacant,
    Waiting {
        due: Uptime,
        /// Made since the last walk, and `due` counted from that.
        fresh: bool,
        waker: Waker,
    },
    Expired,
}

impl Deadlines {
    /// Nobody waits yet.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let (asleep, wake) = (AtomicBool::new(true), Notify::new());
        Arc::new(Self { clock, shards: Default::default(), asleep, wake })
    }

    /// Wakes those whose deadline has passed, for ever.
    pub async fn keep(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            let mut idle_walks = 0;
            while idle_walks < IDLE_WALKS_MAX {
                tokio::time::sleep(TICK).await;
                idle_walks = if self.walk() { 0 } else { idle_walks + 1 };
            }
            // Whoever signs after this sees it and wakes us; whoever signed before is seen by one more walk.
            self.asleep.store(true, Ordering::Release);
            if self.walk() {
                self.rouse();
            }
        }
    }

    /// The output of `future`, or `None` when `deadline` passes first.
    ///
    /// # Cancel safety
    /// As `future`.
    pub(crate) fn within<F: Future + Unpin>(&self, deadline: Duration, future: F) -> Within<'_, F> {
        Within { deadlines: self, deadline, future, signed: None }
    }

    fn sign(&self, deadline: Duration, waker: &Waker) -> Signed<'_> {
        let shard_at = SHARD.with(|shard| *shard);
        let entry_at = {
            let mut shard = self.shard(shard_at);
            let entry = Entry::Waiting { due: shard.walked.after(deadline), fresh: true, waker: waker.clone() };
            if let Some(at) = shard.vacant.pop() {
                shard.entries[at] = entry;
                at
            } else {
                shard.entries.push(entry);
                shard.entries.len() - 1
            }
        };
        if self.asleep.load(Ordering::Acquire) {
            self.rouse();
        }
        Signed { deadlines: self, shard_at, entry_at }
    }

    fn rouse(&self) {
        if self.asleep.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Wakes whose time has come. True while anybody is on the list.
    fn walk(&self) -> bool {
        let mut anybody = false;
        let mut due_now = Vec::new();
        for at in 0..SHARDS {
            let mut shard = self.shard(at);
            let now = self.clock.now();
            let since_last = now.since(shard.walked);
            shard.walked = now;
            let Shard { entries, vacant, .. } = &mut *shard;
            anybody |= vacant.len() < entries.len();
            for entry in entries.iter_mut() {
                let Entry::Waiting { due, fresh, .. } = entry else { continue };
                if mem::take(fresh) {
                    *due = due.after(since_last);
                }
                if *due <= now
                    && let Entry::Waiting { waker, .. } = mem::replace(entry, Entry::Expired)
                {
                    due_now.push(waker);
                }
            }
            drop(shard);
            due_now.drain(..).for_each(Waker::wake);
        }
        anybody
    }

    /// No foreign code runs under the lock, so a poisoned one holds nothing half done.
    fn shard(&self, at: usize) -> MutexGuard<'_, Shard> {
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    /// The list this thread signs.
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

/// A wait that signs the list when it begins to wait.
#[must_use]
pub(crate) struct Within<'a, F> {
    deadlines: &'a Deadlines,
    deadline: Duration,
    future: F,
    signed: Option<Signed<'a>>,
}

impl<F: Future + Unpin> Future for Within<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(output) = Pin::new(&mut this.future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        match &this.signed {
            None => this.signed = Some(this.deadlines.sign(this.deadline, cx.waker())),
            Some(signed) if signed.has_expired(cx.waker()) => return Poll::Ready(None),
            Some(_) => {}
        }
        Poll::Pending
    }
}

/// A name on the list; struck off when dropped.
struct Signed<'a> {
    deadlines: &'a Deadlines,
    shard_at: usize,
    entry_at: usize,
}

impl Signed<'_> {
    /// Whether the time has come. If not, `waker` is woken when it does.
    fn has_expired(&self, waker: &Waker) -> bool {
        let mut shard = self.deadlines.shard(self.shard_at);
        let _before = match &mut shard.entries[self.entry_at] {
            Entry::Waiting { waker: before, .. } if !before.will_wake(waker) => mem::replace(before, waker.clone()),
            Entry::Waiting { .. } => return false,
            Entry::Expired | Entry::Vacant => return true,
        };
        drop(shard); // before the old waker, whose drop may run anything
        false
    }
}

impl Drop for Signed<'_> {
    fn drop(&mut self) {
        let mut shard = self.deadlines.shard(self.shard_at);
        let _entry = mem::replace(&mut shard.entries[self.entry_at], Entry::Vacant);
        shard.vacant.push(self.entry_at);
        if shard.vacant.len() == shard.entries.len() && shard.entries.capacity() > IDLE_CAPACITY_MAX {
            (shard.entries, shard.vacant) = (Vec::new(), Vec::new());
        }
        drop(shard); // before the entry, whose waker's drop may run anything
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_env::Env;
    use tokio::sync::oneshot;

    fn kept() -> (Env, Arc<Deadlines>, covenant_env::Task) {
        let env = Env::for_test(1);
        let deadlines = Deadlines::new(Arc::clone(&env.clock));
        let keeper = env.system.spawn(Arc::clone(&deadlines).keep());
        (env, deadlines, keeper)
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_on_time_after_any_pause() {
        let (env, deadlines, _keeper) = kept();
        for pause in [0, 3, 250, 60_000] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            for millis in [1, 30, 1234] {
                let began = env.now();
                let deadline = Duration::from_millis(millis);
                assert_eq!(deadlines.within(deadline, std::future::pending::<()>()).await, None);
                let took = env.now().since(began);
                assert!((deadline..=deadline + 2 * TICK).contains(&took), "{deadline:?} took {took:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_time_is_returned_and_leaves_nothing_behind() {
        let (_env, deadlines, _keeper) = kept();
        let waits = (0..1000_u32).map(|number| {
            let (sender, receiver) = oneshot::channel();
            let waits = deadlines.within(Duration::from_secs(5), receiver);
            (sender, async move { assert_eq!(waits.await, Some(Ok(number))) })
        });
        let (senders, waits): (Vec<_>, Vec<_>) = waits.unzip();
        let send = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            senders.into_iter().zip(0..).for_each(|(sender, number)| sender.send(number).unwrap());
        };
        futures_util::future::join(futures_util::future::join_all(waits), send).await;
        assert!(!deadlines.walk());
        assert!((0..SHARDS).all(|at| deadlines.shard(at).entries.capacity() <= IDLE_CAPACITY_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_with_nobody_on_the_list_sleeps() {
        let (_env, deadlines, _keeper) = kept();
        assert_eq!(deadlines.within(TICK, std::future::pending::<()>()).await, None);
        tokio::time::sleep(TICK * (IDLE_WALKS_MAX + 2)).await;
        assert!(deadlines.asleep.load(Ordering::Acquire));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_moves_to_another_task_is_still_woken() {
        let (env, deadlines, _keeper) = kept();
        let mut wait =
            Box::pin(async move { deadlines.within(Duration::from_secs(1), std::future::pending::<()>()).await });
        assert!(futures_util::poll!(wait.as_mut()).is_pending());
        assert_eq!(env.work.spawn(wait).await, Ok(None));
    }
}
