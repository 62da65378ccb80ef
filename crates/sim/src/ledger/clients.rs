//! Clients of a simulated group: each wants one thing at a time, and asks for it by the same id until it knows what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use covenant_consensus::WriteError;
use covenant_env::{Clock, RealClock};
use covenant_history::{Attempt, History, Outcome, Read, Span};
use covenant_types::{NodeId, TransferId, Uptime};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use super::book::{self, ACCOUNTS};
use super::group::{Running, VOTERS};
use super::network::Lines;

/// How long a client waits before it asks somebody else.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);
/// One in so many operations is a read.
const READS: f64 = 0.25;
/// One in so many outcomes that are not known is left so.
const GIVES_UP: f64 = 0.1;

/// What clients share.
pub(super) struct Shared {
    pub(super) history: Mutex<History>,
    /// The members that run, as clients find them.
    pub(super) members: Mutex<BTreeMap<NodeId, Running>>,
    pub(super) lines: Arc<Lines>,
    pub(super) clock: RealClock,
    /// No new operation begins.
    pub(super) stop: Mutex<Option<Uptime>>,
    /// What no client can be told by a group that works.
    pub(super) problems: Mutex<Vec<String>>,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().0.as_micros()).unwrap_or(u64::MAX)
    }

    fn find(&self, node: NodeId) -> Option<Running> {
        self.members.lock().get(&node).cloned()
    }
}

/// One client.
pub(super) struct Client {
    pub(super) number: u32,
    pub(super) luck: StdRng,
    pub(super) shared: Arc<Shared>,
    pub(super) node: NodeId,
}

/// A transfer that is wanted.
struct Want {
    id: TransferId,
    from: u128,
    to: u128,
    amount: i128,
}

impl Client {
    /// A client has an address of its own, which no cut between members concerns.
    fn address(&self) -> NodeId {
        let mut address = [0xcc; 16];
        if let Some(last) = address.last_chunk_mut() {
            *last = self.number.to_be_bytes();
        }
        NodeId(address)
    }

    /// Works until it is told to stop.
    pub(super) async fn run(mut self) {
        while self.shared.stop.lock().is_none() {
            if self.luck.random_bool(READS) {
                self.read().await;
            } else {
                let want = self.want();
                self.until_known(&want).await;
            }
            self.pause(20).await;
        }
    }

    async fn pause(&mut self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.luck.random_range(1..ms))).await;
    }

    fn want(&mut self) -> Want {
        let from = self.luck.random_range(1..=ACCOUNTS);
        let to = (from + self.luck.random_range(0..ACCOUNTS - 1)) % ACCOUNTS + 1;
        let id = TransferId(self.luck.random::<u128>() >> 1 | 1);
        Want { id, from, to, amount: self.luck.random_range(1..1_000_000) }
    }

    async fn until_known(&mut self, want: &Want) {
        loop {
            match self.attempt(want).await {
                Outcome::Booked { .. } | Outcome::Refused => return,
                Outcome::Unknown if self.luck.random_bool(GIVES_UP) => return,
                Outcome::Unknown | Outcome::NotDone => {}
            }
            if self.shared.stop.lock().is_some_and(|end| self.shared.clock.now() > end) {
                return;
            }
            self.pause(200).await;
        }
    }

    fn next_node(&mut self, hint: Option<NodeId>) {
        let drawn = VOTERS.get(self.luck.random_range(0..VOTERS.len())).copied();
        self.node = hint.or(drawn).unwrap_or(self.node);
    }

    async fn attempt(&mut self, want: &Want) -> Outcome {
        let invoked = self.shared.now();
        let (shared, node, address) = (self.shared.clone(), self.node, self.address());
        let bytes = book::transfer(want.id, want.from, want.to, want.amount);
        let asked = async {
            let arrived = shared.lines.carry(address, node).await;
            let running = shared.find(node).filter(|_| arrived)?;
            let written = running.member.write(want.id.0, bytes).await;
            let back = shared.lines.carry(node, address).await;
            // What the dead say nobody hears.
            (back && running.alive.load(Ordering::Relaxed)).then_some(written)
        };
        let written = tokio::time::timeout(ANSWER_WITHIN, asked).await.ok().flatten();
        let mut hint = None;
        let outcome = match written {
            None | Some(Err(WriteError::Unknown)) => Outcome::Unknown,
            Some(Ok(answer)) => match book::answered(&answer) {
                Ok(Some((number, again))) => Outcome::Booked { number, fresh: !again },
                Ok(None) => Outcome::Refused,
                Err(error) => {
                    shared.problems.lock().push(format!("an answer cannot be read: {error}"));
                    Outcome::Unknown
                }
            },
            Some(Err(error)) => {
                if let WriteError::NotLeader { leader } = error {
                    hint = leader;
                }
                Outcome::NotDone
            }
        };
        match outcome {
            Outcome::Booked { .. } | Outcome::Refused => {}
            Outcome::NotDone | Outcome::Unknown => self.next_node(hint),
        }
        let span = Span { invoked, returned: shared.now() };
        let (from, to) = (book::account(want.from), book::account(want.to));
        let attempt = Attempt { client: self.number, span, id: want.id, from, to, amount: want.amount, outcome };
        shared.history.lock().attempts.push(attempt);
        outcome
    }

    async fn read(&mut self) {
        let invoked = self.shared.now();
        let (shared, node, address) = (self.shared.clone(), self.node, self.address());
        let asked = async {
            let arrived = shared.lines.carry(address, node).await;
            let running = shared.find(node).filter(|_| arrived)?;
            let seen = running.member.read_linearizable(super::book::SimBook::balances).await;
            let back = shared.lines.carry(node, address).await;
            let counts = back && running.alive.load(Ordering::Relaxed);
            seen.ok().and_then(Result::ok).filter(|_| counts)
        };
        match tokio::time::timeout(ANSWER_WITHIN, asked).await.ok().flatten() {
            Some(balances) => {
                let span = Span { invoked, returned: shared.now() };
                shared.history.lock().reads.push(Read { client: self.number, span, balances });
            }
            None => self.next_node(None),
        }
    }
}
