//! The errands of one node: its clerks take names and give them up, join groups and leave them, others are asked by name, and
//! those that sleep get letters.

use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{Cluster, MemberState};
use covenant_env::{Spawner, Tasks};
use covenant_runtime::{Ref, Reply, System};
use covenant_types::{CallError, NodeName, Scope};
use rand::Rng;
use rand::rngs::StdRng;

use super::chronicle::Chronicle;
use super::clerk::{CLERKS, GROUPS, Message, NAMES};
use super::client::is_asleep;
use super::clock::NodeClock;
use super::rules::LetterId;

/// The most calls and broadcasts of one node at a time.
const UNDER_WAY_MAX: usize = 16;
/// How long a call may take.
const WITHIN: Duration = Duration::from_secs(3);
/// Between two errands, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 300..1_800;
/// For how long names and groups go on to change in the quiet. After that all have time to come to see the same.
pub(super) const CHANGES_IN_QUIET: Duration = Duration::from_secs(4);

/// One node's errands.
pub(super) struct Errands {
    pub(super) node: usize,
    pub(super) boot: u64,
    /// How many letters it has posted.
    pub(super) letters: u64,
    /// The names of all nodes, by their places.
    pub(super) names: Arc<Vec<NodeName>>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) system: System,
    pub(super) spawner: Spawner,
    pub(super) clock: Arc<NodeClock>,
    pub(super) chronicle: Chronicle,
    pub(super) rng: StdRng,
}

impl Errands {
    /// Runs errands for as long as the node lives.
    pub(super) async fn run(mut self) {
        let mut under_way = Tasks::new(self.spawner.clone(), UNDER_WAY_MAX);
        loop {
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(PAUSE_MS))).await;
            let name = NAMES[self.rng.random_range(0..NAMES.len())];
            let group = GROUPS[self.rng.random_range(0..GROUPS.len())];
            let scope = [Scope::Local, Scope::Region, Scope::Global][self.rng.random_range(0..3)];
            if let Some(sleeper) = self.sleeper() {
                self.post(sleeper).await;
                continue;
            }
            let now = self.clock.time();
            let quiet = self.chronicle.rules(|rules| rules.quiet_for(now));
            match self.rng.random_range(0..100) {
                // Those that change something, which is over some time after the quiet has begun.
                0..65 if quiet.is_some_and(|quiet| quiet >= CHANGES_IN_QUIET) => {}
                0..22 => self.tell(|reply| Message::Take(name, reply)).await,
                22..35 => self.tell(|reply| Message::GiveUp(name, reply)).await,
                35..52 => self.tell(|reply| Message::Join(group, scope, reply)).await,
                52..65 => self.tell(|reply| Message::Leave(group, reply)).await,
                65..90 => {
                    if let Ok(holder) = self.cluster.whereis::<Message>(name) {
                        let _full = under_way.spawn(self.hail(holder, name));
                    }
                }
                _ => {
                    let all = self.cluster.group::<Message>(group).expect("groups have good names");
                    let _full = under_way.spawn(async move {
                        let _unreached = all.broadcast(|| Message::Ring).await;
                    });
                }
            }
        }
    }

    /// A member that sleeps.
    fn sleeper(&self) -> Option<usize> {
        let members = self.cluster.members();
        let sleeper = members.iter().find(|member| member.state == MemberState::Asleep)?;
        self.names.iter().position(|name| *name == sleeper.name).filter(|place| *place != self.node)
    }

    /// Posts some letters to one that sleeps.
    async fn post(&mut self, to: usize) {
        let path = CLERKS[self.rng.random_range(0..CLERKS.len())];
        let clerk = self.cluster.remote::<Message>(&self.names[to], &path.parse().expect("clerks have good paths"));
        for _ in 0..self.rng.random_range(1..6) {
            self.letters += 1;
            let id = LetterId { from: self.node, boot: self.boot, number: self.letters };
            // A connection may outlive the moment at which it fell asleep. What goes there is no letter.
            let slept = is_asleep(&self.cluster, &self.names[to]) && self.cluster.peer(&self.names[to]).is_none();
            self.chronicle.rules(|rules| rules.posted(id, (to, path.to_owned())));
            let sent = clerk.cast(Message::Letter(id)).await;
            let sleeps = is_asleep(&self.cluster, &self.names[to]);
            self.chronicle.rules(|rules| rules.kept(id, sent.is_ok(), slept && sleeps));
            if sent.is_err() {
                return;
            }
        }
    }

    /// Has one of this node's clerks do something.
    async fn tell(&mut self, message: impl FnOnce(Reply<bool>) -> Message) {
        let path = CLERKS[self.rng.random_range(0..CLERKS.len())].parse().expect("clerks have good paths");
        if let Ok(clerk) = self.system.lookup::<Message>(&path) {
            // It may be between two lives, or crash over it.
            let _done = clerk.call(message, WITHIN).await;
        }
    }

    /// Asks who has a name whether it is there. Whoever had it may not be any more.
    fn hail(&self, holder: Ref<Message>, name: &str) -> impl Future<Output = ()> + Send + use<> {
        let (node, chronicle, clock) = (self.node, self.chronicle.clone(), Arc::clone(&self.clock));
        let what = format!("a call of {name}");
        async move {
            let id = chronicle.number();
            chronicle.rules(|rules| rules.call_began(clock.time(), id, node, what, WITHIN, false));
            let result: Result<bool, CallError> = holder.call(Message::Hail, WITHIN).await;
            chronicle.note(clock.time(), &format!("call {id}: {}", result.is_ok()));
            chronicle.rules(|rules| rules.call_ended(clock.time(), id, result.as_ref().map(|_| None)));
        }
    }
}
