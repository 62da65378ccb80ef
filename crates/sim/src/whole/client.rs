//! The traffic of one node: calls, casts and monitors to the workers of all others, without pause.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{Cluster, MemberState};
use covenant_env::{Spawner, Tasks};
use covenant_runtime::{Ref, Reply};
use covenant_types::{CallError, NodeName};
use rand::Rng;
use rand::rngs::StdRng;

use super::chronicle::Chronicle;
use super::clock::NodeClock;
use super::worker::{Answer, Message, Note, SLOW_WORKER, WORKERS};

/// The most calls and monitors of one node at a time.
const UNDER_WAY_MAX: usize = 64;
/// How long a plain call may take, and one that is asked something slow.
const PLAIN_WITHIN: Duration = Duration::from_secs(3);
const SLOW_WITHIN: Duration = Duration::from_secs(1);
/// How long a large call may take, and how many bytes it carries each way.
const LARGE_WITHIN: Duration = Duration::from_secs(10);
const LARGE_BYTES: usize = 200_000;
/// How long something slow takes at most, in milliseconds.
const SLOW_MS_MAX: u32 = 3_000;
/// Between two acts, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 100..700;

/// Whether this node holds another for asleep.
pub(super) fn is_asleep(cluster: &Cluster, name: &NodeName) -> bool {
    let members = cluster.members();
    members.iter().any(|member| member.name == *name && member.state == MemberState::Asleep)
}

/// One node's traffic.
pub(super) struct Client {
    pub(super) node: usize,
    pub(super) boot: u64,
    pub(super) cluster: Arc<Cluster>,
    pub(super) spawner: Spawner,
    pub(super) clock: Arc<NodeClock>,
    pub(super) chronicle: Chronicle,
    /// The names of all nodes, by their places.
    pub(super) names: Arc<Vec<NodeName>>,
    pub(super) rng: StdRng,
}

impl Client {
    /// Talks for as long as the node lives.
    pub(super) async fn run(mut self) {
        let mut under_way = Tasks::new(self.spawner.clone(), UNDER_WAY_MAX);
        let mut numbers: BTreeMap<(usize, &str), u64> = BTreeMap::new();
        loop {
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(PAUSE_MS))).await;
            let other = (self.node + self.rng.random_range(1..self.names.len())) % self.names.len();
            let path = WORKERS[self.rng.random_range(0..WORKERS.len())];
            let act = self.rng.random_range(0..100);
            // In the quiet nothing is slow and nobody dies, so that all else has to work.
            let act = if act >= 80 && self.chronicle.rules(|rules| rules.is_quiet()) { act - 80 } else { act };
            match act {
                0..50 => {
                    // A large one may take its time on a line that has lost much, and is no proof of anything.
                    let large = self.rng.random_bool(0.02) && !self.chronicle.rules(|rules| rules.is_quiet());
                    let size = if large { LARGE_BYTES } else { self.rng.random_range(0..4_000) };
                    let bytes = vec![self.rng.random(); size];
                    let within = if large { LARGE_WITHIN } else { PLAIN_WITHIN };
                    let call = self.call(other, path, within, !large, move |reply| Message::Echo(bytes, reply));
                    let _full = under_way.spawn(call);
                }
                50..65 => {
                    let worker = self.worker(other, path);
                    let number = numbers.entry((other, path)).or_default();
                    for _ in 0..self.rng.random_range(1..30) {
                        // What is kept for a sleeper may come after what is sent once it woke.
                        if is_asleep(&self.cluster, &self.names[other]) {
                            break;
                        }
                        *number += 1;
                        let padding = vec![0; self.rng.random_range(0..300)];
                        let from = u32::try_from(self.node).expect("a simulation has few nodes");
                        let note = Note { from, boot: self.boot, number: *number, padding };
                        if worker.cast(Message::Note(note)).await.is_err() {
                            break;
                        }
                    }
                }
                65..80 => {
                    if let Some(watch) = self.watch(other, path) {
                        let _full = under_way.spawn(watch);
                    }
                }
                80..95 => {
                    let millis = self.rng.random_range(0..SLOW_MS_MAX);
                    let call =
                        self.call(other, SLOW_WORKER, SLOW_WITHIN, false, move |reply| Message::Slow(millis, reply));
                    let _full = under_way.spawn(call);
                }
                _ => {
                    let call = self.call(other, path, PLAIN_WITHIN, false, Message::Crash);
                    let _full = under_way.spawn(call);
                }
            }
        }
    }

    fn worker(&self, other: usize, path: &str) -> Ref<Message> {
        self.cluster.remote(&self.names[other], &path.parse().expect("workers have good paths"))
    }

    /// One call, which is not begun before it is polled.
    fn call<M: FnOnce(Reply<Answer>) -> Message + Send + 'static>(
        &self,
        other: usize,
        path: &str,
        within: Duration,
        plain: bool,
        message: M,
    ) -> impl Future<Output = ()> + Send + use<M> {
        let (worker, node) = (self.worker(other, path), self.node);
        let (chronicle, clock) = (self.chronicle.clone(), Arc::clone(&self.clock));
        let what = format!("a call of {path} at n{other}");
        async move {
            let id = chronicle.number();
            chronicle.rules(|rules| rules.call_began(clock.time(), id, node, what.clone(), within, plain));
            let result: Result<Answer, CallError> = worker.call(message, within).await;
            let now = clock.time();
            match &result {
                Ok(answer) => chronicle.note(now, &format!("call {id}: {} bytes", answer.bytes.len())),
                Err(error) => chronicle.tell(now, &format!("n{node}: {what} ends without an answer: {error}")),
            }
            let told = result.as_ref().map(|answer| answer.complaint.as_deref());
            chronicle.rules(|rules| rules.call_ended(now, id, told));
        }
    }

    /// One monitor, which watches from now on.
    fn watch(&self, other: usize, path: &str) -> Option<impl Future<Output = ()> + Send + use<>> {
        let id = self.chronicle.number();
        self.chronicle.rules(|rules| {
            rules.monitor_began(self.clock.time(), id, self.node, (other, path.to_owned()));
        });
        let monitor = self.cluster.monitor(&self.names[other], &path.parse().expect("workers have good paths"));
        let Ok(monitor) = monitor else {
            self.chronicle.rules(|rules| rules.monitor_refused(id));
            return None;
        };
        let (chronicle, clock) = (self.chronicle.clone(), Arc::clone(&self.clock));
        Some(async move {
            let dropped = Dropped { id, chronicle: chronicle.clone() };
            let down = monitor.await;
            std::mem::forget(dropped);
            chronicle.note(clock.time(), &format!("monitor {id}: {}", down.reason));
            chronicle.rules(|rules| rules.monitor_fired(clock.time(), id, &down.reason));
        })
    }
}

/// A monitor that is dropped before it fires owes nothing.
struct Dropped {
    id: u64,
    chronicle: Chronicle,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.chronicle.rules(|rules| rules.monitor_refused(self.id));
    }
}
