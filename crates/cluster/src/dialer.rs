//! Dials the seeds and all those to whom this node keeps a connection, until each stands. One task and its dials.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use covenant_env::Tasks;
use covenant_transport::{CloseCode, DialError};
use covenant_types::NodeId;
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use crate::dial_book::{DialBook, Pace, Target};
use crate::shared::Shared;

/// How many dials may be under way.
pub const DIALS_MAX: usize = 8;
/// How long the dialer sleeps when nobody is due.
const IDLE: Duration = Duration::from_secs(60);

/// The task's state.
pub(crate) struct Dialer {
    shared: Arc<Shared>,
    book: DialBook,
    /// The addresses given to us, and who answered there last.
    seeds: BTreeMap<SocketAddr, Option<NodeId>>,
    head_start: Duration,
    rng: StdRng,
}

/// How a dial ended.
struct Dialled {
    target: Target,
    result: Result<NodeId, DialError>,
}

impl Dialer {
    pub(crate) fn new(shared: Arc<Shared>, pace: Pace, seeds: Vec<SocketAddr>) -> Self {
        let rng = shared.env.random.derive("cluster.dial");
        let seeds = seeds.into_iter().map(|seed| (seed, None)).collect();
        Self { shared, book: DialBook::new(pace), seeds, head_start: pace.min, rng }
    }

    /// Runs until the task is dropped.
    pub(crate) async fn run(mut self) {
        // A dial that has told its result still takes a moment to end.
        let mut dials = Tasks::new(self.shared.env.system.clone(), 2 * DIALS_MAX);
        let mut under_way = 0;
        let (ended, mut results) = mpsc::channel::<Dialled>(DIALS_MAX);
        loop {
            let now = self.shared.env.now();
            let wanted = self.wanted();
            self.book.want(now, &wanted);
            for target in self.book.take_due(now, DIALS_MAX - under_way) {
                if dials.spawn(dial(Arc::clone(&self.shared), target, ended.clone())) {
                    under_way += 1;
                } else {
                    self.book.ended(now, target, &mut self.rng);
                }
            }
            // Without a free slot the next result wakes us.
            let sleep = match self.book.next() {
                Some(next) if under_way < DIALS_MAX => next.since(now).min(IDLE),
                Some(_) | None => IDLE,
            };
            tokio::select! {
                biased;
                Some(dialled) = results.recv() => {
                    under_way -= 1;
                    self.ended(dialled);
                }
                () = self.shared.wanted_changed.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Everybody to whom there is no connection, with the head start each gives to being dialled by the other side.
    fn wanted(&self) -> BTreeMap<Target, Duration> {
        let connected = |id: NodeId| self.shared.session(id).is_some();
        let demanded = self.shared.demands.wanted(self.shared.env.now());
        let mut wanted = BTreeMap::new();
        if self.shared.is_asleep() {
            return wanted;
        }
        let warm = self.shared.warm();
        // Who belongs elsewhere has served as a seed once it answered, until this node is alone.
        let alone = self.shared.sessions().is_empty();
        let directory = self.shared.directory();
        for (address, answered) in &self.seeds {
            let served = answered.is_some_and(|id| !warm.contains(&id)) && !alone;
            if !served && !answered.is_some_and(|id| id == self.shared.me || connected(id)) {
                // A node that we know is dialled as that node first; only if it stays away, whoever is there now.
                let known = answered.is_some_and(|id| directory.record(id).is_some());
                let wait = if known { self.head_start * 10 } else { Duration::ZERO };
                wanted.insert(Target::Seed(*address), wait);
            }
        }
        for signed in directory.records() {
            let id = signed.record.id;
            if warm.contains(&id) && directory.worth_dialling(id) && !connected(id) {
                // Of two that learn of each other at once, the smaller id dials. The other does if nothing came of it.
                let wait = if self.shared.me < id { Duration::ZERO } else { self.head_start };
                wanted.insert(Target::Node(id, signed.record.address), wait);
            }
        }
        for signed in demanded.into_iter().filter(|id| !connected(*id)).filter_map(|id| directory.record(id)) {
            wanted.insert(Target::Node(signed.record.id, signed.record.address), Duration::ZERO);
        }
        wanted
    }

    fn ended(&mut self, dialled: Dialled) {
        let Dialled { target, result } = dialled;
        self.book.ended(self.shared.env.now(), target, &mut self.rng);
        let answered = match &result {
            Ok(id) => Some(*id),
            Err(DialError::Refused { code: CloseCode::DialledSelf, .. }) => Some(self.shared.me),
            Err(error @ DialError::Refused { code: CloseCode::Revoked, .. }) => {
                self.shared.counters.dials_failed.increment(1);
                tracing::warn!(?target, %error, "refused: one of the two nodes is on the deny-list");
                None
            }
            Err(error) => {
                self.shared.counters.dials_failed.increment(1);
                tracing::debug!(?target, %error, "a dial failed");
                None
            }
        };
        if let Target::Seed(address) = target
            && answered.is_some()
        {
            self.seeds.insert(address, answered);
        }
    }
}

async fn dial(shared: Arc<Shared>, target: Target, ended: mpsc::Sender<Dialled>) {
    let (Target::Seed(address) | Target::Node(_, address)) = target;
    let result = match shared.transport() {
        // Whoever answers is welcome. To insist on the node would make the transport turn away that very node when it
        // dials us from another address, for as long as we try its old one.
        Some(transport) => transport.connect(address, None).await.map(|peer| peer.info().id),
        None => Err(DialError::Closed),
    };
    // The dialer is gone only together with this task.
    let _gone = ended.send(Dialled { target, result }).await;
}
