//! What we last said about each node, so that only changes are told.

use std::collections::{BTreeMap, BTreeSet};

use covenant_types::{BootEpoch, NodeId, Uptime};
use foca::{Member, State};

use crate::Identity;
use crate::codec::LEFT;
use crate::digest::Digest;

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
    /// When we last told it so ourselves.
    pub(crate) warned: Option<Uptime>,
    /// How often we asked others what became of the suspicion.
    pub(crate) asked: u32,
}

impl Seen {
    /// As SWIM says it.
    pub(crate) fn member(&self) -> Member<Identity> {
        let state = match self.health {
            Health::Alive => State::Alive,
            Health::Suspect => State::Suspect,
            Health::Down | Health::Left => State::Down,
        };
        Member::new(self.identity, self.incarnation, state)
    }
}

/// All nodes but ourselves, as last told.
#[derive(Debug, Default)]
pub(crate) struct Views {
    seen: BTreeMap<NodeId, Seen>,
    suspects: BTreeSet<NodeId>,
    digest: Digest,
}

impl Views {
    /// Takes in what foca holds of one node and returns the change, if it is one.
    pub(crate) fn observe(&mut self, now: Uptime, member: &Member<Identity>) -> Option<Change> {
        let identity = *member.id();
        let health = health(member);
        let seen = Seen { identity, incarnation: member.incarnation(), health, since: now, warned: None, asked: 0 };
        let change = Change { node: identity.node, epoch: identity.epoch, health };
        let told = match self.seen.get_mut(&identity.node) {
            None => {
                self.digest.toggle(&seen);
                self.seen.insert(identity.node, seen);
                false
            }
            Some(last) if identity.epoch < last.identity.epoch => return None,
            Some(last) => {
                let told = (last.identity.epoch, last.health) == (identity.epoch, health);
                let same = last.identity == identity && last.incarnation == seen.incarnation && last.health == health;
                if !same {
                    self.digest.toggle(last);
                    self.digest.toggle(&seen);
                    *last = seen;
                }
                told
            }
        };
        if health == Health::Suspect {
            self.suspects.insert(identity.node);
        } else {
            self.suspects.remove(&identity.node);
        }
        (!told).then_some(change)
    }

    /// Forgets a node. What is told of it again is news.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        if let Some(seen) = self.seen.remove(node) {
            self.digest.toggle(&seen);
        }
        self.suspects.remove(node);
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<&Seen> {
        self.seen.get(node)
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether this differs from what was seen last in any respect.
    pub(crate) fn differs(&self, member: &Member<Identity>) -> bool {
        self.seen.get(&member.id().node).is_none_or(|seen| {
            seen.identity != *member.id() || seen.incarnation != member.incarnation() || seen.health != health(member)
        })
    }

    pub(crate) fn is_active(&self, node: &NodeId) -> bool {
        self.seen.get(node).is_some_and(|seen| matches!(seen.health, Health::Alive | Health::Suspect))
    }

    /// Whether hearing this would make us think worse of its subject.
    pub(crate) fn worsens(&self, member: &Member<Identity>) -> bool {
        let Some(seen) = self.seen.get(&member.id().node) else { return false };
        match (seen.health, member.state()) {
            (Health::Alive | Health::Suspect, State::Down) | (Health::Alive, State::Suspect) => true,
            (Health::Suspect, State::Suspect) => member.incarnation() != seen.incarnation,
            (_, State::Alive) | (Health::Down | Health::Left, _) => false,
        }
    }

    /// What all this comes to, without one node, in so many buckets.
    pub(crate) fn digest_without(&self, node: &NodeId, buckets: usize) -> Vec<u64> {
        self.digest.without(self.seen.get(node), buckets)
    }

    /// Everybody, in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.seen.values()
    }

    /// All suspects.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = &Seen> {
        self.suspects.iter().filter_map(|node| self.seen.get(node))
    }

    /// Notes that a suspect was told so.
    pub(crate) fn warned(&mut self, now: Uptime, node: &NodeId) {
        if let Some(seen) = self.seen.get_mut(node) {
            seen.warned = Some(now);
        }
    }

    /// Notes that others were asked what became of a suspicion.
    pub(crate) fn asked(&mut self, node: &NodeId) {
        if let Some(seen) = self.seen.get_mut(node) {
            seen.asked = seen.asked.saturating_add(1);
        }
    }

    /// Starts all suspicions anew.
    pub(crate) fn renew_suspicions(&mut self, now: Uptime) {
        self.seen.values_mut().for_each(|seen| (seen.since, seen.asked) = (now, 0));
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
