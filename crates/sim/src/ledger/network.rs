//! Lines between members: they take their time, lose what luck decides, and are cut one way or both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use covenant_consensus::{Call, Consensus, Lane, Network, Sender, Unreached};
use covenant_types::{NodeId, Role};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use super::book::SimBook;

/// What a message takes at most when all is well, in microseconds.
const LATENCY_US: u64 = 3_000;

/// All lines.
pub(super) struct Lines {
    pub(super) members: Mutex<BTreeMap<NodeId, Weak<Consensus<SimBook>>>>,
    state: Mutex<State>,
}

struct State {
    luck: StdRng,
    /// From whom to whom nothing arrives.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Of a hundred messages so many are lost.
    loss: u32,
    /// What each message takes more.
    slow: Duration,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

impl Lines {
    pub(super) fn new(luck: StdRng) -> Arc<Self> {
        let state = State { luck, cut: BTreeSet::new(), loss: 0, slow: Duration::ZERO };
        Arc::new(Self { members: Mutex::default(), state: Mutex::new(state) })
    }

    /// Nothing arrives from the one at the other any more.
    pub(super) fn cut(&self, from: NodeId, to: NodeId) {
        self.state.lock().cut.insert((from, to));
    }

    pub(super) fn spoil(&self, loss: u32, slow: Duration) {
        let mut state = self.state.lock();
        (state.loss, state.slow) = (loss, slow);
    }

    pub(super) fn heal(&self) {
        let mut state = self.state.lock();
        (state.cut, state.loss, state.slow) = (BTreeSet::new(), 0, Duration::ZERO);
    }

    /// One message on its way. `false` where it is lost.
    pub(super) async fn carry(&self, from: NodeId, to: NodeId) -> bool {
        let (arrives, takes) = {
            let mut state = self.state.lock();
            let (fate, us) = (state.luck.random_range(0..100), state.luck.random_range(200..LATENCY_US));
            (fate >= state.loss, Duration::from_micros(us) + state.slow)
        };
        tokio::time::sleep(takes).await;
        arrives && !self.state.lock().cut.contains(&(from, to))
    }
}

/// One member's way to the others, as long as it lives.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) me: NodeId,
    pub(super) lines: Arc<Lines>,
    pub(super) alive: Arc<AtomicBool>,
}

impl Network for Port {
    fn call(&self, to: NodeId, _lane: Lane, request: Vec<u8>) -> Call<'_> {
        Box::pin(async move {
            let lost = |why: &str| Unreached { to, why: why.to_owned(), sent: true };
            if !self.alive.load(Ordering::Relaxed) {
                return Err(lost("its power is gone"));
            }
            if !self.lines.carry(self.me, to).await {
                // Whoever sent waits for as long as it has patience.
                return std::future::pending().await;
            }
            let member = self.lines.members.lock().get(&to).and_then(Weak::upgrade);
            let member = member.ok_or_else(|| lost("nobody is there"))?;
            let answer = member.serve(Sender { node: self.me, role: Role::Hub }, &request).await;
            drop(member);
            let back = self.lines.carry(to, self.me).await;
            match back && self.alive.load(Ordering::Relaxed) {
                true => Ok(answer),
                false => std::future::pending().await,
            }
        })
    }
}
