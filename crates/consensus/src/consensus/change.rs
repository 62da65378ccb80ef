//! Changes who belongs to the group: one change at a time, by the leader, each of them checked before it is begun.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covenant_types::NodeId;
use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};

use super::{ChangeError, Consensus, Engine, who};
use crate::codec::MEMBERS_MAX;
use crate::message::Who;
use crate::replicated::Replicated;
use crate::types::{Instance, Member, StoredMembership, VoterId};

/// How the group is after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
}

impl Changed {
    /// What is to be said of so many voters, if anything is.
    pub fn warning(&self) -> Option<String> {
        let count = self.voters.len();
        let lost = |voters: usize| voters.saturating_sub(1) / 2;
        match count {
            1 => Some("one voter: when it is lost, the group is lost; add two".to_owned()),
            _ if count.is_multiple_of(2) => Some(format!(
                "{count} voters bear the loss of {}, as {} would: add one or remove one",
                lost(count),
                count - 1
            )),
            _ => None,
        }
    }
}

impl<R: Replicated> Consensus<R> {
    /// Forms a new group of `voters`, this node among them, all of whom have to answer. Doing it on several of them with the
    /// same voters is one group; a group that has formed already with this node in it is left as it is.
    ///
    /// # Errors
    /// This node is not among `voters`, one of them does not answer, or is in a group in which this node is not: then this
    /// node's folder was lost, and a leader has to remove it and add it again.
    pub async fn form(&self, voters: &BTreeSet<NodeId>) -> Result<(), ChangeError> {
        let shared = &self.shared;
        let engine = shared.engine().ok_or(ChangeError::Stopped)?;
        if !voters.contains(&shared.me) || voters.len() > MEMBERS_MAX {
            return Err(ChangeError::Refused(format!("a group is formed by one of its at most {MEMBERS_MAX} voters")));
        }
        if shared.members().is_some_and(|members| members.membership().nodes().next().is_some()) {
            return Err(ChangeError::Refused("this node is in a group already".to_owned()));
        }
        let mut members = BTreeMap::from([(shared.me.into(), Member { instance: shared.instance })]);
        for node in voters.iter().copied().filter(|node| *node != shared.me) {
            let who = who::ask(shared, node, shared.patience()).await;
            let who = who.map_err(|why| ChangeError::Unreached { node, why })?;
            let known = who.members.membership().get_node(&shared.me.into());
            match (who.members.membership().nodes().next(), known) {
                (None, _) => {}
                (Some(_), Some(member)) if member.instance == shared.instance => return Ok(()),
                (Some(_), _) => {
                    return Err(ChangeError::Refused(format!(
                        "{node} is in a group in which this node's folder is not: remove this node there and add it again"
                    )));
                }
            }
            members.insert(node.into(), Member { instance: who.instance });
        }
        engine.raft.initialize(members).await.map_err(|error| match error {
            RaftError::APIError(error) => ChangeError::Refused(error.to_string()),
            RaftError::Fatal(_) => ChangeError::Stopped,
        })
    }

    /// Makes `node` a voter: lets it follow, waits until its log is at most
    /// [`entries_kept`](super::ConsensusConfig::entries_kept) behind, and gives it a vote. Only the leader can.
    ///
    /// # Errors
    /// See [`ChangeError`]. A node that does not catch up in time stays a learner.
    ///
    /// # Cancel safety
    /// The change may go on after the future was dropped.
    pub async fn add_voter(&self, node: NodeId, within: Duration) -> Result<Changed, ChangeError> {
        let (_turn, engine, members) = self.begin_change()?;
        let deadline = self.shared.env.now().after(within);
        self.follow(&engine, &members, node, within).await?;
        let left = deadline.since(self.shared.env.now());
        let change = engine.raft.change_membership(ChangeMembers::AddVoterIds([node.into()].into()), true);
        changed(tokio::time::timeout(left, change).await)?;
        Ok(self.changed())
    }

    /// Lets `node` follow the group without a vote, and waits until it has caught up. Only the leader can.
    ///
    /// # Errors
    /// As [`add_voter`](Self::add_voter).
    ///
    /// # Cancel safety
    /// As [`add_voter`](Self::add_voter).
    pub async fn add_learner(&self, node: NodeId, within: Duration) -> Result<Changed, ChangeError> {
        let (_turn, engine, members) = self.begin_change()?;
        self.follow(&engine, &members, node, within).await?;
        Ok(self.changed())
    }

    /// Takes `node` out of the group, voter or learner. It need not be alive. Only the leader can; it may take itself out, and
    /// leads no more when that is done.
    ///
    /// # Errors
    /// It is no member, or the last voter; see [`ChangeError`].
    ///
    /// # Cancel safety
    /// As [`add_voter`](Self::add_voter).
    pub async fn remove(&self, node: NodeId, within: Duration) -> Result<Changed, ChangeError> {
        let (_turn, engine, members) = self.begin_change()?;
        let voters: BTreeSet<VoterId> = members.membership().voter_ids().collect();
        let id = VoterId::from(node);
        if members.membership().get_node(&id).is_none() {
            return Err(ChangeError::Refused(format!("{node} is no member")));
        }
        let change = if voters.contains(&id) {
            if voters.len() == 1 {
                return Err(ChangeError::Refused(format!("{node} is the last voter: add another one first")));
            }
            ChangeMembers::RemoveVoters([id].into())
        } else {
            ChangeMembers::RemoveNodes([id].into())
        };
        changed(tokio::time::timeout(within, engine.raft.change_membership(change, false)).await)?;
        Ok(self.changed())
    }

    /// The turn to change the group, where this node leads and no other change is under way.
    fn begin_change(&self) -> Result<(tokio::sync::MutexGuard<'_, ()>, Engine, StoredMembership), ChangeError> {
        let turn = self.shared.changing.try_lock().map_err(|_| ChangeError::InProgress)?;
        let engine = self.shared.engine().ok_or(ChangeError::Stopped)?;
        let members = {
            let metrics = engine.raft.metrics();
            let metrics = metrics.borrow();
            if !metrics.state.is_leader() {
                return Err(ChangeError::NotLeader { leader: metrics.current_leader.map(NodeId::from) });
            }
            metrics.membership_config.as_ref().clone()
        };
        if members.membership().get_joint_config().len() > 1 {
            return Err(ChangeError::InProgress);
        }
        Ok((turn, engine, members))
    }

    /// Makes `node` a learner, with the folder that it has now, unless it is a member with that folder.
    async fn follow(
        &self,
        engine: &Engine,
        members: &StoredMembership,
        node: NodeId,
        within: Duration,
    ) -> Result<(), ChangeError> {
        let deadline = self.shared.env.now().after(within);
        let left = || deadline.since(self.shared.env.now());
        let instance = if node == self.shared.me {
            self.shared.instance
        } else {
            let who = who::ask(&self.shared, node, within.min(self.shared.patience())).await;
            let who = who.map_err(|why| ChangeError::Unreached { node, why })?;
            self.refuse_of_another_group(node, members, &who)?;
            who.instance
        };
        let id = VoterId::from(node);
        match members.membership().get_node(&id) {
            Some(member) if member.instance == instance => {}
            Some(Member { instance: known }) if members.membership().voter_ids().any(|voter| voter == id) => {
                return Err(ChangeError::Refused(format!(
                    "{node} is a voter with the folder {known} and has {instance} now: remove it first"
                )));
            }
            // Nobody counts on what a learner has on disk.
            Some(_) => {
                let change = engine.raft.change_membership(ChangeMembers::RemoveNodes([id].into()), false);
                changed(tokio::time::timeout(left(), change).await)?;
            }
            None if members.membership().nodes().count() >= MEMBERS_MAX => {
                return Err(ChangeError::Refused(format!("a group has at most {MEMBERS_MAX} members")));
            }
            None => {}
        }
        if instance == Instance::default() {
            return Err(ChangeError::Refused(format!("{node} has no folder of the group")));
        }
        let added = tokio::time::timeout(left(), engine.raft.add_learner(id, Member { instance }, true)).await;
        changed(added).map_err(|error| if matches!(error, ChangeError::Unknown) { ChangeError::Behind } else { error })
    }

    /// A node that is in a group, and not in ours, would bring that one's log: two that were restored from one backup know of the
    /// same beginning and are two groups.
    fn refuse_of_another_group(&self, node: NodeId, members: &StoredMembership, who: &Who) -> Result<(), ChangeError> {
        let theirs = who.members.membership();
        let known = theirs.get_node(&self.shared.me.into());
        let ours = known.is_some_and(|member| member.instance == self.shared.instance);
        if ours || theirs.nodes().next().is_none() || members.membership().get_node(&node.into()).is_some() {
            return Ok(());
        }
        Err(ChangeError::Refused(format!(
            "{node} is in a group in which this node's folder is not: stop it, empty its folder, and add it again"
        )))
    }

    fn changed(&self) -> Changed {
        let changed = Changed { voters: self.status().voters };
        if let Some(warning) = changed.warning() {
            tracing::warn!(group = self.shared.config.group, warning, "the group was changed");
        }
        changed
    }
}

type Outcome<T> = Result<T, RaftError<VoterId, ClientWriteError<VoterId, Member>>>;

fn changed<T, E>(outcome: Result<Outcome<T>, E>) -> Result<(), ChangeError> {
    match outcome {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
            Err(ChangeError::NotLeader { leader: forward.leader_id.map(NodeId::from) })
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => Err(match error {
            ChangeMembershipError::InProgress(_) => ChangeError::InProgress,
            refused @ (ChangeMembershipError::EmptyMembership(_) | ChangeMembershipError::LearnerNotFound(_)) => {
                ChangeError::Refused(refused.to_string())
            }
        }),
        Ok(Err(RaftError::Fatal(_))) => Err(ChangeError::Stopped),
        Err(_) => Err(ChangeError::Unknown),
    }
}
