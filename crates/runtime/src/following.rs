//! Which trace the code that runs on this thread is part of.
//!
//! # Intuition
//! A message takes the trace of whoever sends it along, eight bytes beside it in the lane. While an actor handles a message
//! its thread is in that message's trace, so that what the handler sends follows from it without a word, across every
//! `.await` and whichever thread it goes on at. A trace begins where somebody asks for one: at the control API, or by
//! [`System::new_trace`] and [`traced`]. Elsewhere there is none, and a message costs the look at an empty cell.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use covenant_env::Random;
use covenant_types::TraceId;
use rand::Rng;

use crate::{Behaviour, Context, System};

thread_local! {
    static CURRENT: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// The trace of what runs on this thread: inside a handler that of the message in hand.
#[inline]
pub fn current_trace() -> Option<TraceId> {
    CURRENT.get()
}

/// This thread is in another trace from now on. Returns the one before, which whoever calls this puts back.
#[inline]
pub(crate) fn replace_trace(trace: Option<TraceId>) -> Option<TraceId> {
    CURRENT.replace(trace)
}

/// Runs `act` as part of `trace`: what it sends follows from that.
pub fn with_trace<T>(trace: Option<TraceId>, act: impl FnOnce() -> T) -> T {
    let _before = Before(replace_trace(trace));
    act()
}

/// `future` as part of `trace`, wherever it is polled.
///
/// # Cancel safety
/// As `future`.
#[expect(clippy::manual_async_fn, reason = "it would keep its arguments twice")]
pub fn traced<F: Future>(mut trace: Option<TraceId>, future: F) -> impl Future<Output = F::Output> + use<F> {
    async move {
        let mut future = pin!(future);
        poll_fn(|cx| {
            with_trace(trace, || {
                let polled = future.as_mut().poll(cx);
                trace = current_trace();
                polled
            })
        })
        .await
    }
}

/// Puts the trace back that was in force before, also after a panic.
struct Before(Option<TraceId>);

impl Drop for Before {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Makes ids that no other system has, as far as chance goes.
pub(crate) struct TraceIds {
    seed: u64,
    made: AtomicU64,
}

impl TraceIds {
    pub(crate) fn new(random: Random) -> Self {
        Self { seed: random.derive("traces").random(), made: AtomicU64::new(0) }
    }

    fn next(&self) -> TraceId {
        loop {
            // Every step of splitmix64 gives another number, so that one of two in a row is not 0.
            let made = self.made.fetch_add(1, Ordering::Relaxed);
            let state = self.seed.wrapping_add(made.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            if let Some(id) = TraceId::new(state ^ (state >> 31)) {
                return id;
            }
        }
    }
}

impl System {
    /// A trace that nothing is part of yet: give it to [`traced`] or [`with_trace`].
    pub fn new_trace(&self) -> TraceId {
        self.trace_ids().next()
    }
}

impl<B: Behaviour> Context<B> {
    /// Begins a trace in this handler: what it sends from here on follows from that. The message in hand, where it has a
    /// trace, keeps its own.
    pub fn begin_trace(&self) -> TraceId {
        let trace = self.system().new_trace();
        replace_trace(Some(trace)); // whoever polls this handler puts the one before back
        trace
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn ids_differ_also_between_systems() {
        let (one, other) = (TraceIds::new(Random::new(1)), TraceIds::new(Random::new(2)));
        let ids: BTreeSet<TraceId> = (0..1000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(ids.len(), 2000);
    }

    #[test]
    fn a_panic_leaves_the_thread_in_the_trace_it_was_in() {
        let _caught = catch_unwind(|| with_trace(TraceId::new(7), || panic!("told to")));
        assert_eq!(current_trace(), None);
    }

    #[test]
    fn a_traced_future_is_in_its_trace_at_every_poll_and_its_caller_is_not() {
        let seen = futures_util::FutureExt::now_or_never(traced(TraceId::new(7), async { current_trace() }));
        assert_eq!((seen, current_trace()), (Some(TraceId::new(7)), None));
    }
}
