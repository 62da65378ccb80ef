//! Keeps the leases of a node: asks for them, renews them, gives them up in time.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use covenant_env::{Env, Task};
use covenant_types::{ActorPath, Fence, NodeId, Uptime};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use super::held::HeldLeases;
use super::source::{LeaseError, LeaseSource};

/// How often it is looked whether the machine was suspended.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A shorter suspension is none: the two clocks are not read at the same moment.
const SUSPENSION_MIN: Duration = Duration::from_millis(20);

/// The leases of one node. Cheap to clone; with the last clone and the last [`Lease`] all are given up.
#[derive(Clone)]
pub struct Leases(Arc<Inner>);

struct Inner {
    source: Arc<dyn LeaseSource>,
    me: NodeId,
    env: Env,
    held: Mutex<Ledger>,
    /// Rung when leases may have gone.
    changed: Notify,
    /// Rung when a lease came. Tells the task.
    granted: Arc<Notify>,
    /// Ends with the last clone.
    task: Mutex<Option<Task>>,
}

struct Ledger {
    held: HeldLeases,
    /// How long the machine had been suspended when that was last looked at.
    suspended: Duration,
}

/// A lease that this node was granted. Dropping it stops renewing; [`Lease::release`] lets another have it at once.
pub struct Lease {
    fence: Fence,
    leases: Arc<Inner>,
}

impl Leases {
    /// The leases that `source` grants the node `me`.
    pub fn new(source: Arc<dyn LeaseSource>, me: NodeId, env: Env) -> Self {
        let ledger = Ledger { held: HeldLeases::default(), suspended: env.clock.suspended() };
        let (held, task) = (Mutex::new(ledger), Mutex::new(None));
        let (changed, granted) = (Notify::new(), Arc::new(Notify::new()));
        let inner = Arc::new(Inner { source, me, env, held, changed, granted: Arc::clone(&granted), task });
        let task = inner.env.system.spawn(keep(Arc::downgrade(&inner), granted));
        *inner.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Self(inner)
    }

    /// Asks for the lease of `key`, for `span`, and keeps renewing it.
    ///
    /// # Errors
    /// Another node has it, or the source does not grant it. Nothing is held.
    ///
    /// # Cancel safety
    /// A future that is dropped holds nothing; the source may count the lease as taken until it is over.
    pub async fn acquire(&self, key: &ActorPath, span: Duration) -> Result<Lease, LeaseError> {
        let inner = &self.0;
        inner.ledger().held.room()?;
        let (asked, suspended) = (inner.now(), inner.env.clock.suspended());
        let fence = inner.source.acquire(key.clone(), inner.me, span).await?;
        {
            let mut ledger = inner.ledger();
            ledger.held.room()?;
            // Suspended meanwhile: nobody knows what happened to it.
            let slept = inner.env.clock.suspended() > suspended + SUSPENSION_MIN;
            if slept || !ledger.held.granted(asked, inner.now(), &fence, span) {
                return Err(LeaseError::Lost);
            }
        }
        inner.granted.notify_one();
        Ok(Lease { fence, leases: Arc::clone(inner) })
    }
}

impl Lease {
    /// What each act under this lease carries.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Whether it is held now: ask before each act. It may be over right after; whoever receives the act refuses it then.
    pub fn is_held(&self) -> bool {
        self.leases.look().holds(self.leases.now(), &self.fence)
    }

    /// Resolves when it is no longer held.
    pub async fn lost(&self) {
        loop {
            let changed = self.leases.changed.notified();
            if !self.is_held() {
                return;
            }
            let wake = tokio::time::sleep(LOOK_EVERY);
            tokio::select! {
                biased;
                () = changed => {}
                () = wake => {}
            }
        }
    }

    /// Gives it back, so that another may have it at once.
    ///
    /// # Errors
    /// The source did not hear of it: another may have it when it is over. Nothing is held here either way.
    pub async fn release(self) -> Result<(), LeaseError> {
        let (fence, leases) = (self.fence.clone(), Arc::clone(&self.leases));
        drop(self);
        leases.source.release(fence, leases.me).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.ledger().held.remove(&self.fence);
        self.leases.changed.notify_waiters();
    }
}

impl Inner {
    /// Time since the node started, time in suspend included.
    fn now(&self) -> Uptime {
        self.env.now().after(self.env.clock.suspended())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held, after all was given up that a suspension or time took.
    fn look(&self) -> LookedAt<'_> {
        let (now, suspended) = (self.now(), self.env.clock.suspended());
        let mut ledger = self.ledger();
        if suspended > ledger.suspended + SUSPENSION_MIN {
            tracing::warn!(suspended = ?suspended, "this machine was suspended; all leases are given up");
            ledger.held.drop_all();
        }
        ledger.suspended = suspended;
        ledger.held.expire(now);
        LookedAt(ledger)
    }
}

struct LookedAt<'a>(MutexGuard<'a, Ledger>);

impl std::ops::Deref for LookedAt<'_> {
    type Target = HeldLeases;
    fn deref(&self) -> &HeldLeases {
        &self.0.held
    }
}

impl std::ops::DerefMut for LookedAt<'_> {
    fn deref_mut(&mut self) -> &mut HeldLeases {
        &mut self.0.held
    }
}

/// Renews leases until nobody holds any, nor can ask for one.
async fn keep(inner: Weak<Inner>, granted: Arc<Notify>) {
    let mut renewals = FuturesUnordered::new();
    loop {
        let Some(leases) = inner.upgrade() else { return };
        let due = {
            let mut held = leases.look();
            let now = leases.now();
            let due = held.due(now);
            let wake = held.next_wake().map_or(LOOK_EVERY, |at| at.since(now)).min(LOOK_EVERY);
            drop(held);
            for (fence, span) in due {
                let (renewed, asked) = (leases.source.renew(fence.clone(), leases.me, span), now);
                renewals.push(async move { (fence, span, asked, within(span, renewed).await) });
            }
            wake
        };
        leases.changed.notify_waiters();
        drop(leases); // so that who waits here keeps nothing alive
        tokio::select! {
            biased;
            Some((fence, span, asked, renewed)) = renewals.next() => {
                let Some(leases) = inner.upgrade() else { return };
                let now = leases.now();
                let mut held = leases.look();
                // It may have been given up meanwhile.
                if held.holds(now, &fence) {
                    match renewed {
                        Ok(()) => {
                            if !held.granted(asked, now, &fence, span) {
                                held.remove(&fence);
                            }
                        }
                        Err(LeaseError::Lost | LeaseError::Held { .. }) => held.remove(&fence),
                        Err(_) => held.try_again(now, &fence),
                    }
                }
            }
            () = granted.notified() => {}
            () = tokio::time::sleep(due) => {}
        }
    }
}

/// An answer that does not come within the lease is none.
async fn within(span: Duration, answer: impl Future<Output = Result<(), LeaseError>>) -> Result<(), LeaseError> {
    tokio::time::timeout(span, answer).await.unwrap_or(Err(LeaseError::Unreachable))
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("me", &self.0.me).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.fence)
    }
}
