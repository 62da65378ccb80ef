//! `placement.table`: keeps the table on a node that may vote, as a member of the group that agrees on it.
//!
//! The group does the work: its engine lives beside the actor. The actor begins it, says which leases are over where it leads, and
//! has those vote here who vote in the ledger.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covenant_consensus::{Consensus, GroupClient, Status};
use covenant_runtime::{Behaviour, Context, Exit, NoConfig, StartError};
use covenant_types::{ExitReason, NodeId, Uptime};
use rand::Rng;
use rand::rngs::StdRng;

use crate::command::{Command, VOTERS_MAX, Voters};
use crate::config::{GROUP, PlacementConfig};
use crate::member::Member;
use crate::watch::Watch;

/// How often a member looks what there is to do.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a change of voters may take: a new one fetches the table first.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to say who votes in the ledger. It is said again where it does not arrive.
const SAY_WITHIN: Duration = Duration::from_secs(5);

/// A member of the group.
#[derive(Debug)]
pub struct Keeper {
    config: Arc<PlacementConfig>,
    member: Arc<Consensus<Member>>,
    client: Arc<GroupClient>,
    watch: Watch,
    ids: StdRng,
    /// One task of each kind at a time.
    expiring: Arc<AtomicBool>,
    saying: Arc<AtomicBool>,
    changing: Arc<AtomicBool>,
}

impl Behaviour for Keeper {
    type Config = NoConfig;
    type Message = ();

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<PlacementConfig>()?;
        if !config.me.may_vote() {
            return Err(StartError::Ignore);
        }
        let member = config.open(ctx.env()).await?;
        let client = Arc::new(config.groups.client(GROUP, config.me, &BTreeSet::new()));
        let ids = ctx.env().random.derive("placement table");
        ctx.set_alarm(Duration::ZERO);
        let (expiring, saying, changing) = Default::default();
        Ok(Self { config, member, client, watch: Watch::default(), ids, expiring, saying, changing })
    }

    async fn alarm(&mut self, ctx: &Context<Self>) -> Result<(), Exit> {
        ctx.set_alarm(LOOK_EVERY);
        let status = self.member.status();
        if status.voters.is_empty() {
            // Whoever gives this node a vote speaks to it before its own log says who may.
            self.member.believe(self.config.candidates());
            if self.config.may_begin() {
                match self.member.form(&BTreeSet::from([self.config.me.node])).await {
                    Ok(()) => tracing::info!("placement begins on this node"),
                    Err(error) => tracing::warn!(%error, "placement cannot begin yet"),
                }
            }
            return Ok(());
        }
        if self.config.may_begin() {
            self.config.has_begun().map_err(Exit::error)?;
        }
        self.say_who_votes(ctx);
        if status.leads {
            self.end_what_is_over(ctx);
            self.follow(ctx, &status);
        } else {
            self.watch.forget();
        }
        Ok(())
    }

    async fn handle(&mut self, (): (), _: &Context<Self>) -> Result<(), Exit> {
        Ok(())
    }

    async fn stop(self, reason: &ExitReason, _: &Context<Self>) {
        // A crash of the actor is none of the group: the next incarnation goes on with the same member.
        if matches!(reason, ExitReason::Normal | ExitReason::Shutdown) {
            let Self { config, member, .. } = self;
            drop(member);
            config.close().await;
        }
    }

    fn inspect(&self) -> Option<serde_json::Value> {
        let status = self.member.status();
        let ids = |nodes: &BTreeSet<NodeId>| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>();
        Some(serde_json::json!({
            "leads": status.leads,
            "leader": status.leader.map(|leader| leader.to_string()),
            "term": status.term,
            "last": status.last,
            "applied": status.applied,
            "voters": ids(&status.voters),
            "learners": ids(&status.learners),
            "leases": self.member.read_stale(|member| member.table().leases().len()),
        }))
    }
}

impl Keeper {
    /// Says which leases are over, where this node leads. What it says holds whoever leads by the time it is heard.
    fn end_what_is_over(&mut self, ctx: &Context<Self>) {
        // Time in suspend counts: holders count it too.
        let now = Uptime(ctx.env().now().0 + ctx.env().clock.suspended());
        let over = self.member.read_stale(|member| self.watch.look(now, member.table()));
        if over.is_empty() {
            return;
        }
        let over: Vec<(u128, Command)> = over.into_iter().map(|command| (self.ids.random(), command)).collect();
        let member = self.member.clone();
        one_at_a_time(ctx, &self.expiring, async move {
            for (id, command) in over {
                // Where it came to nothing it is found again.
                if let Err(error) = member.write(id, command.encode()).await {
                    tracing::debug!(%error, "that a lease is over could not be said");
                    return;
                }
            }
        });
    }

    /// Where this node leads the ledger, says who votes there.
    fn say_who_votes(&mut self, ctx: &Context<Self>) {
        let Some(voters) = self.config.surroundings.ledger_voters() else { return };
        let known = |member: &Member| {
            let known = member.table().voters();
            (known.term, known.index) >= (voters.term, voters.index)
        };
        if voters.nodes.len() > VOTERS_MAX || self.member.read_stale(known) {
            return;
        }
        let (client, id) = (self.client.clone(), self.ids.random());
        client.ask_among(&self.config.candidates().into_iter().collect::<Vec<_>>());
        one_at_a_time(ctx, &self.saying, async move {
            if let Err(error) = client.submit(id, Command::Follow(voters).encode(), SAY_WITHIN).await {
                tracing::debug!(%error, "who votes in the ledger could not be said");
            }
        });
    }

    /// Makes those voters who vote in the ledger, one after the other.
    fn follow(&mut self, ctx: &Context<Self>, status: &Status) {
        let wanted = self.member.read_stale(|member| member.table().voters().clone());
        if wanted.nodes.is_empty() || wanted.nodes == status.voters {
            return;
        }
        let (member, me, voters) = (self.member.clone(), self.config.me.node, status.voters.clone());
        one_at_a_time(ctx, &self.changing, async move { change(&member, me, &voters, &wanted).await });
    }
}

/// Those who are missing first, then those who are too many, this node last.
async fn change(member: &Consensus<Member>, me: NodeId, voters: &BTreeSet<NodeId>, wanted: &Voters) {
    for node in wanted.nodes.difference(voters) {
        match member.add_voter(*node, CHANGE_WITHIN).await {
            Ok(_) => tracing::info!(%node, "a node that votes in the ledger votes on placement"),
            Err(error) => {
                tracing::warn!(%node, %error, "a node that votes in the ledger does not vote on placement yet")
            }
        }
    }
    let mut gone: Vec<&NodeId> = voters.difference(&wanted.nodes).collect();
    gone.sort_by_key(|node| **node == me);
    for node in gone {
        match member.remove(*node, CHANGE_WITHIN).await {
            Ok(_) => tracing::info!(%node, "a node that lost its vote in the ledger lost it on placement"),
            Err(error) => tracing::warn!(%node, %error, "a node keeps its vote on placement for now"),
        }
    }
}

/// Does `work` beside the actor, unless such work is under way: then it is found again.
fn one_at_a_time(ctx: &Context<Keeper>, busy: &Arc<AtomicBool>, work: impl Future<Output = ()> + Send + 'static) {
    if busy.swap(true, Ordering::AcqRel) {
        return;
    }
    let done = Done(busy.clone());
    // Where it is refused it is dropped, and is done.
    let _full = ctx.spawn(async move {
        work.await;
        drop(done);
    });
}

/// Work that ended, in whatever way.
struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
