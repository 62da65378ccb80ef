//! A source of leases in memory: for tests and simulations. Nodes can be cut off from it.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_env::Clock;
use covenant_types::{ActorPath, Fence, NodeId, Uptime};

use super::lease_book::LeaseBook;
use super::source::{LeaseAnswer, LeaseError, LeaseSource};

/// Grants leases from memory, and forgets them with itself.
#[derive(Debug)]
pub struct SimulatedLeases {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    book: LeaseBook,
    cut: BTreeSet<NodeId>,
}

impl SimulatedLeases {
    /// A source that goes by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, inner: Mutex::default() }
    }

    /// Lets nothing of this node arrive from now on.
    pub fn cut_off(&self, node: NodeId) {
        self.inner().cut.insert(node);
    }

    /// Lets this node be heard again.
    pub fn mend(&self, node: NodeId) {
        self.inner().cut.remove(&node);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T: Send + 'static>(
        &self,
        holder: NodeId,
        ask: impl FnOnce(&mut LeaseBook, Uptime) -> Result<T, LeaseError>,
    ) -> LeaseAnswer<T> {
        let now = self.clock.now().after(self.clock.suspended());
        let mut inner = self.inner();
        let answer = if inner.cut.contains(&holder) { Err(LeaseError::Unreachable) } else { ask(&mut inner.book, now) };
        Box::pin(ready(answer))
    }
}

impl LeaseSource for SimulatedLeases {
    fn acquire(&self, key: ActorPath, holder: NodeId, span: Duration) -> LeaseAnswer<Fence> {
        self.answer(holder, |book, now| book.acquire(now, &key, holder, span))
    }

    fn renew(&self, fence: Fence, holder: NodeId, span: Duration) -> LeaseAnswer<()> {
        self.answer(holder, |book, now| book.renew(now, &fence, holder, span))
    }

    fn release(&self, fence: Fence, holder: NodeId) -> LeaseAnswer<()> {
        self.answer(holder, |book, _| {
            book.release(&fence, holder);
            Ok(())
        })
    }
}
