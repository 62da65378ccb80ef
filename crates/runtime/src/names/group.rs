//! The members of a group, as they are at one moment.

use std::fmt;

use covenant_types::{ActorPath, CallError, Name, NodeName, rendezvous};
use futures_util::future::join_all;

use crate::Ref;

/// Who is in a group now: a list that does not change. Ask again for news.
pub struct Group<M: Send + 'static> {
    name: Name,
    members: Vec<GroupMember<M>>,
    unseen: u64,
}

/// One member of a group.
pub struct GroupMember<M: Send + 'static> {
    /// Its node; `None` where there is no cluster.
    pub node: Option<NodeName>,
    /// Where it hangs there.
    pub path: ActorPath,
    /// Its node sleeps or cannot be reached at present: it may be there or not.
    pub stale: bool,
    /// The actor.
    pub reference: Ref<M>,
}

/// What became of a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broadcast {
    /// How many it is on its way to.
    pub sent: usize,
    /// Who did not take it, and why.
    pub failed: Vec<(String, CallError)>,
}

impl<M: Send + 'static> Group<M> {
    /// A group of these members, and `unseen` more that only their number is known of.
    pub fn new(name: Name, members: Vec<GroupMember<M>>, unseen: u64) -> Self {
        Self { name, members, unseen }
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The members that can be told one by one, those of this node first.
    pub fn members(&self) -> &[GroupMember<M>] {
        &self.members
    }

    /// How many there are, also those of other regions that only their number is known of.
    pub fn count(&self) -> u64 {
        self.members.len() as u64 + self.unseen
    }

    /// The member that takes `key`: the same one wherever the same members are known, and few keys move when one comes or
    /// goes. Stale members are passed over where there are others.
    pub fn pick(&self, key: &[u8]) -> Option<&GroupMember<M>> {
        let labels: Vec<(String, &GroupMember<M>)> =
            self.members.iter().map(|member| (member.label(), member)).collect();
        let fresh = labels.iter().filter(|(_, member)| !member.stale);
        let taker = rendezvous(key, fresh.map(|(label, _)| label.as_str()))
            .or_else(|| rendezvous(key, labels.iter().map(|(label, _)| label.as_str())))?;
        labels.iter().find(|(label, _)| label == taker).map(|(_, member)| *member)
    }

    /// Sends what `message` makes to every member at once. Waits where a mailbox is full, as [`Ref::cast`] does.
    ///
    /// # Cancel safety
    /// A future that is dropped has told some and not others.
    pub async fn broadcast(&self, message: impl Fn() -> M) -> Broadcast {
        let casts = self.members.iter().map(|member| {
            let message = message();
            async move { member.reference.cast(message).await.map_err(|error| (member.label(), error)) }
        });
        let mut told = Broadcast::default();
        for result in join_all(casts).await {
            match result {
                Ok(()) => told.sent += 1,
                Err(failed) => told.failed.push(failed),
            }
        }
        told
    }
}

impl<M: Send + 'static> GroupMember<M> {
    fn label(&self) -> String {
        match &self.node {
            Some(node) => format!("{node}:{}", self.path),
            None => self.path.to_string(),
        }
    }
}

impl<M: Send + 'static> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({}: ", self.name)?;
        f.debug_list().entries(&self.members).finish()?;
        write!(f, " and {} more)", self.unseen)
    }
}

impl<M: Send + 'static> fmt::Debug for GroupMember<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.label(), if self.stale { " (stale)" } else { "" })
    }
}
