//! `ledger.book`: keeps the book on a node that may vote, as a member of the group that agrees on it.
//!
//! The group does the work: its engine lives beside the actor, which begins it, says who keeps the book, begins the ledger on
//! the first node of a cluster, and changes the voters where it leads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use covenant_consensus::{ChangeError, Changed, Consensus};
use covenant_runtime::{Behaviour, Callers, Context, Exit, NoConfig, Remotable, Reply, Schema, StartError};
use covenant_types::{ExitReason, NodeId, NodeName, Role, Scope};
use serde::{Deserialize, Serialize};

use super::LedgerConfig;
use super::expiry::expire_for_ever;
use crate::LedgerError;
use crate::error::LedgerErrorKind;
use crate::member::Member;
use crate::places::name_of;

/// The group of those who keep the book and vote.
pub const VOTERS: &str = "ledger-voters";
/// How often a member looks whether it votes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a change of voters may take: a new one fetches the book first.
pub(crate) const CHANGE_WITHIN: Duration = Duration::from_secs(60);

/// A change of who votes.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub enum VotersChange {
    /// Makes this node a voter, when it has the book.
    Add(NodeName),
    /// Takes its vote, and its place in the group.
    Remove(NodeName),
}

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub enum VotersAnswer {
    /// Who votes now.
    Changed {
        /// Their names, or their ids where nobody knows them.
        voters: Vec<String>,
        /// What is to be said of so many.
        warning: Option<String>,
    },
    /// Another node leads: ask that one.
    NotLeader(Option<NodeName>),
    /// Nothing was changed, or it is not known.
    No(LedgerError),
}

/// A change that is asked for, and where the answer goes; crosses nodes.
#[derive(Debug, Remotable)]
#[remotable(name = "covenant.ledger.book/2")]
pub struct BookMessage {
    /// What is wanted.
    pub change: VotersChange,
    /// Where the answer goes.
    pub reply: Reply<VotersAnswer>,
}

/// A member of the group.
#[derive(Debug)]
pub struct Book {
    config: Arc<LedgerConfig>,
    member: Arc<Consensus<Member>>,
    votes: bool,
}

impl Behaviour for Book {
    type Config = NoConfig;
    type Message = BookMessage;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<LedgerConfig>()?;
        if !config.may_vote() {
            return Err(StartError::Ignore);
        }
        let member = config.open(ctx.env()).await.map_err(StartError::failed)?;
        let expiring = expire_for_ever(Arc::downgrade(&member), ctx.env().clone());
        ctx.spawn(expiring).map_err(StartError::failed)?;
        ctx.expose_to(Callers::roles(&[Role::Hub, Role::Voter]));
        ctx.set_alarm(Duration::ZERO);
        Ok(Self { config, member, votes: false })
    }

    fn kind(message: &BookMessage) -> &'static str {
        match message.change {
            VotersChange::Add(_) => "Add",
            VotersChange::Remove(_) => "Remove",
        }
    }

    async fn alarm(&mut self, ctx: &Context<Self>) -> Result<(), Exit> {
        ctx.set_alarm(LOOK_EVERY);
        let status = self.member.status();
        if status.voters.is_empty() {
            // Whoever gives this node a vote speaks to it before its own log says who may.
            self.member.believe(self.config.candidates());
        }
        if status.voters.is_empty() && self.config.may_begin() {
            match self.member.form(&BTreeSet::from([self.config.me.node])).await {
                Ok(()) => tracing::info!("the ledger begins on this node"),
                Err(error) => tracing::warn!(%error, "the ledger cannot begin yet"),
            }
        } else if !status.voters.is_empty() && self.config.may_begin() {
            self.config.has_begun().map_err(Exit::error)?;
        }
        let votes = status.voters.contains(&self.config.me.node);
        if votes && !self.votes {
            ctx.join_group(VOTERS, Scope::Global).map_err(Exit::error)?;
        } else if self.votes && !votes {
            ctx.leave_group(VOTERS);
        }
        self.votes = votes;
        Ok(())
    }

    async fn handle(&mut self, message: BookMessage, ctx: &Context<Self>) -> Result<(), Exit> {
        let (member, config) = (self.member.clone(), self.config.clone());
        let BookMessage { change, reply } = message;
        // In a task: a new voter may take its time, and one change at a time is the group's own rule.
        let refused = ctx.spawn(async move { reply.send(perform(&member, &config, change).await) });
        if let Err(refused) = refused {
            tracing::warn!(%refused, "a change of voters is turned away: too many wait");
        }
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
        Some(serde_json::json!({
            "leads": status.leads,
            "leader": status.leader.map(|leader| shown(&self.config, leader)),
            "term": status.term,
            "last": status.last,
            "applied": status.applied,
            "snapshot": status.snapshot,
            "voters": status.voters.iter().map(|voter| shown(&self.config, *voter)).collect::<Vec<_>>(),
            "learners": status.learners.iter().map(|learner| shown(&self.config, *learner)).collect::<Vec<_>>(),
        }))
    }
}

fn shown(config: &LedgerConfig, node: NodeId) -> String {
    name_of(&config.places, node).map_or_else(|| node.to_string(), |name| name.to_string())
}

async fn perform(member: &Consensus<Member>, config: &LedgerConfig, change: VotersChange) -> VotersAnswer {
    let (VotersChange::Add(name) | VotersChange::Remove(name)) = &change;
    let place = config.places.places().into_iter().find(|place| place.name == *name);
    let Some(place) = place else {
        let what = format_args!("no hub or voter of the cluster is called {name}; nothing was changed");
        return VotersAnswer::No(LedgerError::new(LedgerErrorKind::BadRequest, what.to_string()));
    };
    let changed = match change {
        VotersChange::Add(_) => member.add_voter(place.node, CHANGE_WITHIN).await,
        VotersChange::Remove(_) => member.remove(place.node, CHANGE_WITHIN).await,
    };
    match changed {
        Ok(changed) => said(config, &changed),
        Err(ChangeError::NotLeader { leader }) => {
            VotersAnswer::NotLeader(leader.and_then(|leader| name_of(&config.places, leader)))
        }
        Err(error) => {
            let kind = match error {
                ChangeError::Refused(_) | ChangeError::InProgress => LedgerErrorKind::Refused,
                ChangeError::Unreached { .. } => LedgerErrorKind::Unreachable,
                ChangeError::NotLeader { .. }
                | ChangeError::Behind
                | ChangeError::Unknown
                | ChangeError::Stopped
                | _ => LedgerErrorKind::Failed,
            };
            VotersAnswer::No(LedgerError::new(kind, error.to_string()))
        }
    }
}

fn said(config: &LedgerConfig, changed: &Changed) -> VotersAnswer {
    VotersAnswer::Changed {
        voters: changed.voters.iter().map(|voter| shown(config, *voter)).collect(),
        warning: changed.warning(),
    }
}
