//! Names and groups of the whole cluster, as callers ask for them.

use covenant_runtime::{Group, GroupMember, Ref, Remotable};
use covenant_types::{ActorPath, CallError, Fence, Name, NameError, NodeName};

use crate::Cluster;
use crate::presence::account::{Claim, HeldShard};

/// Where an actor is that has a name or is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its node.
    pub node: NodeName,
    /// Where it hangs there.
    pub path: ActorPath,
    /// Its node sleeps or cannot be reached at present: it may be there or not.
    pub stale: bool,
}

impl Cluster {
    /// Who has this name: an actor of this node before any other, or the latest claim that is known.
    ///
    /// Each side of a partition may have one. A claim on another node is known here within a second or two of being made.
    pub fn holder(&self, name: &Name) -> Option<Place> {
        let system = self.shared.system();
        if let Some(path) = system.and_then(|system| system.named(name)) {
            return Some(Place { node: self.me().name, path, stale: false });
        }
        let held = self.shared.presence.held_elsewhere(name)?;
        Some(Place { node: held.place.node_name, path: held.place.path, stale: held.stale })
    }

    /// The latest claim to this name that is known here, by which the cluster decides whose it is. An actor of this node whose
    /// claim is not the latest is about to lose the name.
    pub fn claim(&self, name: &Name) -> Option<Claim> {
        self.shared.presence.claim(name)
    }

    /// The copies that are held here of what nodes say of names and groups, this node's own first. Where nothing changes and
    /// all connections stand, they are the same on all nodes that hold them.
    pub fn held_shards(&self) -> Vec<HeldShard> {
        self.shared.presence.account()
    }

    /// The actor that has this name, wherever it is. It keeps leading to that path: ask again after it has gone.
    ///
    /// # Errors
    /// [`CallError::NoProc`] where nobody is known to have the name, `Rejected` where the text is no name, or an actor of this
    /// node has it whose messages are of another type.
    pub fn whereis<M: Remotable>(&self, name: &str) -> Result<Ref<M>, CallError> {
        let name = Name::new(name).map_err(|error| CallError::Rejected(error.to_string()))?;
        let place = self.holder(&name).ok_or(CallError::NoProc)?;
        self.reference(&place)
    }

    /// Who is in this group, as far as is known here, those of this node first.
    pub fn group_places(&self, group: &Name) -> Vec<Place> {
        let node = self.me().name;
        let own = self.shared.system().map(|system| system.group_paths(group)).unwrap_or_default();
        let own = own.into_iter().map(|(path, _)| Place { node: node.clone(), path, stale: false });
        let others = self.shared.presence.gathering(group).members.into_iter();
        own.chain(others.map(|(at, stale)| Place { node: at.node_name, path: at.path, stale })).collect()
    }

    /// The actors in this group: all of this region, and of each other region a few and the number of all.
    ///
    /// A membership on another node is known here within a second or two. All members take messages of type `M`, or answer that
    /// they do not.
    ///
    /// # Errors
    /// The text is no name.
    pub fn group<M: Remotable>(&self, group: &str) -> Result<Group<M>, NameError> {
        let name = Name::new(group)?;
        let members = self.group_places(&name).into_iter().filter_map(|place| {
            let reference = self.reference(&place).ok()?;
            Some(GroupMember { node: Some(place.node), path: place.path, stale: place.stale, reference })
        });
        let members = members.collect();
        let unseen = self.shared.presence.gathering(&name).unseen;
        Ok(Group::new(name, members, unseen))
    }

    /// Whether what this node's actors claim counts like the claims of others. For a while after its start it yields to them,
    /// so that a node that comes back takes no name from who has it.
    pub fn has_settled(&self) -> bool {
        self.shared.presence.has_settled()
    }

    /// The actor at a place that was found under a lease. What is sent to another node carries the lease's key and token: where a
    /// later holder has acted, it is refused as in [`Cluster::remote_fenced`].
    ///
    /// # Errors
    /// [`CallError::NoProc`] where this node has no such actor, `Rejected` where its messages are of another type.
    pub fn reference_under<M: Remotable>(&self, place: &Place, fence: &Fence) -> Result<Ref<M>, CallError> {
        if place.node == self.me().name {
            return self.reference(place);
        }
        Ok(self.remote_with(&place.node, &place.path, Some(fence.clone())))
    }

    fn reference<M: Remotable>(&self, place: &Place) -> Result<Ref<M>, CallError> {
        if place.node == self.me().name {
            return self.shared.system().ok_or(CallError::NoProc)?.lookup(&place.path);
        }
        Ok(self.remote(&place.node, &place.path))
    }
}
