//! The leases of one node, and what it does under them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_cluster::{Cluster, Lease, Leases};
use covenant_runtime::System;
use covenant_types::{ActorPath, CallError, NodeName};
use rand::Rng;
use rand::rngs::StdRng;

use super::chronicle::Chronicle;
use super::clerk::{CLERKS, Message};
use super::clock::NodeClock;
use super::errands::CHANGES_IN_QUIET;
use super::rules::{Act, Holding};

/// What leases are of.
const KEYS: [&str; 2] = ["/placed/mill", "/placed/ferry"];
/// For how long they are granted, in milliseconds.
const SPAN_MS: std::ops::Range<u64> = 1_500..5_000;
/// Before a holder tries to have the next one, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 500..4_000;
/// Between two acts, in milliseconds, and how long a holder stands still that does.
const ACT_MS: std::ops::Range<u64> = 100..1_000;
const STILL_MS: std::ops::Range<u64> = 1_000..8_000;
/// How long an act may take.
const WITHIN: Duration = Duration::from_secs(3);
/// How long after the beginning of the quiet no clerk loses a name any more.
const CLERKS_STAY: Duration = Duration::from_secs(2 * CHANGES_IN_QUIET.as_secs());
/// The clerks of so many nodes are acted upon.
const ACTED_UPON: usize = 2;
/// Acts under one lease.
const ACTS_MAX: u32 = 8;

/// The leases that a node has at present, for the rules to look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf(Arc<Mutex<Kept>>);

/// Leases by their numbers.
type Kept = BTreeMap<u64, (Holding, Arc<Lease>)>;

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them. To be asked inside the runtime of their node.
    pub(super) fn all(&self) -> Vec<Holding> {
        let shelf = self.lock();
        shelf.values().map(|(holding, lease)| Holding { is_held: lease.is_held(), ..holding.clone() }).collect()
    }
}

/// One node as a holder of leases.
pub(super) struct Holder {
    pub(super) node: usize,
    pub(super) cluster: Arc<Cluster>,
    pub(super) system: System,
    pub(super) leases: Leases,
    pub(super) shelf: Shelf,
    pub(super) clock: Arc<NodeClock>,
    pub(super) chronicle: Chronicle,
    pub(super) names: Arc<Vec<NodeName>>,
    pub(super) rng: StdRng,
}

impl Holder {
    /// Has leases and acts under them for as long as the node lives, one after the other.
    pub(super) async fn run(mut self) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(PAUSE_MS))).await;
            let key: ActorPath = KEYS[self.rng.random_range(0..KEYS.len())].parse().expect("keys are good paths");
            let span = Duration::from_millis(self.rng.random_range(SPAN_MS));
            let Ok(lease) = self.leases.acquire(&key, span).await else { continue };
            self.reign(Arc::new(lease), span).await;
        }
    }

    /// Acts under a lease until it is over or there is nothing more to do.
    async fn reign(&mut self, lease: Arc<Lease>, span: Duration) {
        let id = self.chronicle.number();
        let holding = Holding {
            id,
            key: lease.fence().key.to_string(),
            token: lease.fence().token,
            span,
            at: self.clock.time(),
            is_held: true,
        };
        self.chronicle.note(self.clock.time(), &format!("n{} has {}", self.node, lease.fence()));
        self.shelf.lock().insert(id, (holding, Arc::clone(&lease)));
        let is_over = {
            let mut lost = std::pin::pin!(lease.lost());
            let acts = self.act_often(&lease);
            tokio::select! {
                biased;
                () = &mut lost => true,
                () = acts => false,
            }
        };
        self.shelf.lock().remove(&id);
        self.chronicle.rules(|rules| rules.lease_over(id));
        // Whoever stood still while its lease went does what it was about to, late.
        if is_over && self.rng.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(STILL_MS))).await;
            self.act(&lease, false).await;
        }
        if !is_over
            && self.rng.random_bool(0.7)
            && let Some(lease) = Arc::into_inner(lease)
        {
            let _unheard = lease.release().await;
        }
    }

    async fn act_often(&mut self, lease: &Lease) {
        for _ in 0..self.rng.random_range(1..=ACTS_MAX) {
            let now = self.clock.time();
            let quiet = self.chronicle.rules(|rules| rules.quiet_for(now));
            let stands_still = quiet.is_none() && self.rng.random_bool(0.15);
            let pause = if stands_still { STILL_MS } else { ACT_MS };
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(pause))).await;
            if lease.is_held() {
                // A clerk that loses its name loses what it has in hand.
                self.act(lease, quiet.is_some_and(|quiet| quiet > CLERKS_STAY)).await;
            }
        }
    }

    /// Has a clerk of this node or of another one do something under a lease. `plain` is what nothing stands in the way of.
    async fn act(&mut self, lease: &Lease, plain: bool) {
        // Few, so that they have seen the tokens of several holders.
        let at = self.rng.random_range(0..ACTED_UPON.min(self.names.len()));
        let path: ActorPath = CLERKS[0].parse().expect("clerks have good paths");
        let fence = lease.fence();
        let act = Act { key: fence.key.to_string(), token: fence.token, by: self.node };
        let now = self.clock.time();
        if at == self.node {
            match self.cluster.check_fence(&path, fence) {
                Ok(()) => {
                    // After all that was let in before.
                    let clerk = self.system.lookup::<Message>(&path);
                    let _busy = clerk.and_then(|clerk| clerk.try_cast(Message::Act(act, None)));
                }
                Err(_stale) => self.chronicle.rules(|rules| rules.act_refused()),
            }
            return;
        }
        let clerk = self.cluster.remote_fenced::<Message>(lease, &self.names[at], &path);
        if self.rng.random_bool(0.3) {
            let _sent = clerk.cast(Message::Act(act, None)).await;
            return;
        }
        let (id, what) = (self.chronicle.number(), format!("an act under {fence} at {path} of n{at}"));
        self.chronicle.rules(|rules| rules.call_began(now, id, self.node, what, WITHIN, plain));
        let dropped = Dropped { id, chronicle: self.chronicle.clone() };
        let result = clerk.call(|reply| Message::Act(act, Some(reply)), WITHIN).await;
        std::mem::forget(dropped);
        let now = self.clock.time();
        self.chronicle.note(now, &format!("call {id}: {}", result.is_ok()));
        if matches!(&result, Err(CallError::Rejected(why)) if why.contains("stale token")) {
            self.chronicle.rules(|rules| rules.act_refused());
        }
        self.chronicle.rules(|rules| rules.call_ended(now, id, result.as_ref().map(|_| None)));
    }
}

/// A call that is dropped owes no answer.
struct Dropped {
    id: u64,
    chronicle: Chronicle,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.chronicle.rules(|rules| rules.call_dropped(self.id));
    }
}
