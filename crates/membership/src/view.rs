//! What we last said about each node, so that only changes are told.

use std::collections::BTreeMap;

use covenant_types::{BootEpoch, NodeId, Uptime};
use foca::{Member, State};

use crate::Identity;
use crate::codec::LEFT;

/// What membership holds of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It answers.
    Alive,
    /// Somebody got no answer. It may still refute.
    Suspect,
    /// It did not refute in time.
    Down,
    /// It said goodbye.
    Left,
}

/// A node is no longer what we last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node.
    pub node: NodeId,
    /// Its boot, never lower than the one last told.
    pub epoch: BootEpoch,
    /// What it is now.
    pub health: Health,
}

/// One node as last told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) identity: Identity,
    pub(crate) incarnation: foca::Incarnation,
    pub(crate) health: Health,
    /// Since when it has been this suspect, if it is one.
    pub(crate) since: Uptime,
}

/// All nodes but ourselves, as last told.
#[derive(Debug, Default)]
pub(crate) struct Views(BTreeMap<NodeId, Seen>);

impl Views {
    /// Takes in what foca holds of one node and returns the change, if it is one.
    pub(crate) fn observe(&mut self, now: Uptime, member: &Member<Identity>) -> Option<Change> {
        let identity = *member.id();
        let health = health(member);
        let seen = Seen { identity, incarnation: member.incarnation(), health, since: now };
        let change = Change { node: identity.node, epoch: identity.epoch, health };
        let Some(last) = self.0.get_mut(&identity.node) else {
            self.0.insert(identity.node, seen);
            return Some(change);
        };
        if identity.epoch < last.identity.epoch {
            return None;
        }
        let told = (last.identity.epoch, last.health) == (identity.epoch, health);
        let same = last.identity == identity && last.incarnation == seen.incarnation && last.health == health;
        if !same {
            *last = seen;
        }
        (!told).then_some(change)
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<&Seen> {
        self.0.get(node)
    }

    pub(crate) fn is_active(&self, node: &NodeId) -> bool {
        self.0.get(node).is_some_and(|seen| matches!(seen.health, Health::Alive | Health::Suspect))
    }

    /// Whether hearing this would make us think worse of its subject.
    pub(crate) fn worsens(&self, member: &Member<Identity>) -> bool {
        let Some(seen) = self.0.get(&member.id().node) else { return false };
        match (seen.health, member.state()) {
            (Health::Alive | Health::Suspect, State::Down) | (Health::Alive, State::Suspect) => true,
            (Health::Suspect, State::Suspect) => member.incarnation() != seen.incarnation,
            (_, State::Alive) | (Health::Down | Health::Left, _) => false,
        }
    }

    /// Everybody, in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.0.values()
    }

    /// Starts all suspicions anew.
    pub(crate) fn renew_suspicions(&mut self, now: Uptime) {
        self.0.values_mut().for_each(|seen| seen.since = now);
    }
}

pub(crate) fn health(member: &Member<Identity>) -> Health {
    match member.state() {
        State::Alive => Health::Alive,
        State::Suspect => Health::Suspect,
        State::Down if member.incarnation() == LEFT => Health::Left,
        State::Down => Health::Down,
    }
}
