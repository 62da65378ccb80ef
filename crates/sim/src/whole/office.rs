//! Where the nodes of a simulation get their leases: one source, an office that stands for itself, at the end of a line of each
//! node's own.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_cluster::{LeaseAnswer, LeaseError, LeaseSource, SimulatedLeases};
use covenant_env::Clock;
use covenant_types::{ActorPath, Fence, NodeId, Uptime, WallTime};
use rand::Rng;
use rand::rngs::StdRng;

use super::chronicle::Chronicle;
use super::clock::{NodeClock, wall};

/// How long a question or an answer takes, in milliseconds.
const WAY_MS: std::ops::Range<u64> = 4..60;
/// The share of questions, and of answers, that are lost in a storm.
const LOST: f64 = 0.05;
/// After how long a holder takes an answer for lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// The source.
pub(super) struct Office {
    clock: Arc<OfficeClock>,
    book: SimulatedLeases,
    cut_off: Mutex<BTreeSet<usize>>,
    chronicle: Chronicle,
}

/// The latest moment at which anybody asked. Within a turn nodes that come later ask earlier: to a source that counts from a
/// moment after that, a lease lasts longer than to its holder, never shorter.
#[derive(Debug, Default)]
struct OfficeClock(Mutex<Duration>);

impl OfficeClock {
    fn lock(&self) -> MutexGuard<'_, Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for OfficeClock {
    fn now(&self) -> Uptime {
        Uptime(*self.lock())
    }

    fn wall(&self) -> WallTime {
        wall(*self.lock())
    }
}

impl Office {
    pub(super) fn new(chronicle: Chronicle) -> Self {
        let clock = Arc::new(OfficeClock::default());
        let book = SimulatedLeases::new(Arc::clone(&clock) as Arc<dyn Clock>);
        Self { clock, book, cut_off: Mutex::default(), chronicle }
    }

    /// Lets nothing of this node through from now on.
    pub(super) fn cut_off(&self, now: Duration, node: usize) {
        self.lines().insert(node);
        self.chronicle.rules(|rules| rules.cut_off(now, node, true));
    }

    /// Lets all be heard again.
    pub(super) fn mend(&self, now: Duration) {
        for node in std::mem::take(&mut *self.lines()) {
            self.chronicle.rules(|rules| rules.cut_off(now, node, false));
        }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.cut_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, now: Duration) -> &SimulatedLeases {
        let mut latest = self.clock.lock();
        *latest = (*latest).max(now);
        &self.book
    }
}

/// A node's line to the office.
#[derive(Clone)]
pub(super) struct Counter {
    pub(super) office: Arc<Office>,
    pub(super) node: usize,
    pub(super) clock: Arc<NodeClock>,
    pub(super) rng: Arc<Mutex<StdRng>>,
}

impl Counter {
    /// One way, question or answer. False where it is lost.
    async fn way(&self) -> bool {
        let is_quiet = self.office.chronicle.rules(|rules| rules.is_quiet());
        let (millis, lost) = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            (rng.random_range(WAY_MS), rng.random_bool(LOST))
        };
        tokio::time::sleep(Duration::from_millis(millis)).await;
        (is_quiet || !lost) && !self.office.lines().contains(&self.node)
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Self, &SimulatedLeases) -> LeaseAnswer<T> + Send + 'static,
    ) -> LeaseAnswer<T> {
        let line = self.clone();
        Box::pin(async move {
            if line.way().await {
                let answer = question(&line, line.office.at(line.clock.time())).await;
                if line.way().await {
                    return answer;
                }
            }
            tokio::time::sleep(PATIENCE).await;
            Err(LeaseError::Unreachable)
        })
    }
}

impl LeaseSource for Counter {
    fn acquire(&self, key: ActorPath, holder: NodeId, span: Duration) -> LeaseAnswer<Fence> {
        self.ask(move |line, book| {
            let (answer, line) = (book.acquire(key, holder, span), line.clone());
            Box::pin(async move {
                let granted = answer.await;
                if let Ok(Fence { key, token }) = &granted {
                    let (now, node) = (line.clock.time(), line.node);
                    line.office.chronicle.rules(|rules| rules.granted(now, key.as_str(), *token, node));
                }
                granted
            })
        })
    }

    fn renew(&self, fence: Fence, holder: NodeId, span: Duration) -> LeaseAnswer<()> {
        self.ask(move |_, book| book.renew(fence, holder, span))
    }

    fn release(&self, fence: Fence, holder: NodeId) -> LeaseAnswer<()> {
        self.ask(move |_, book| book.release(fence, holder))
    }
}

impl fmt::Debug for Office {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Office").finish_non_exhaustive()
    }
}
