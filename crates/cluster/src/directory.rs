//! Everybody's record, health and connection, and the view that follows from them. Pure.

mod digest;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use covenant_identity::DenyList;
use covenant_membership::{Change, Health, Neighbour};
use covenant_types::{BootEpoch, LinkTier, NodeId, NodeName, WallTime};

use crate::member::{MemberState, MemberView};
use crate::record::SignedRecord;
use crate::ties::book::Standing;

pub(crate) use digest::Detail;
pub use places::{RECORDS_MAX, UNMET_MAX};

/// What this node holds of all nodes.
#[derive(Debug)]
pub(crate) struct Directory {
    me: NodeId,
    records: BTreeMap<NodeId, Known>,
    names: BTreeMap<NodeName, NodeId>,
    health: BTreeMap<NodeId, (BootEpoch, Health)>,
    /// Those for whom hubs answer: they need no connection to be reachable.
    vouched: BTreeSet<NodeId>,
    told: BTreeMap<NodeId, MemberView>,
    /// Who is denied. Their records are kept to be shown and for nothing else, until a successor takes the name.
    denied: Arc<DenyList>,
    /// The date, as last told.
    wall: WallTime,
    /// How many records came so far.
    arrivals: u64,
    /// Whose records gave way, for membership to forget them too.
    forgotten: Vec<NodeId>,
}

#[derive(Debug)]
struct Known {
    signed: Arc<SignedRecord>,
    /// Who told of it first, and as which of all.
    told: (NodeId, u64),
    /// The node itself proved its name with a certificate, over a connection to us.
    proven: bool,
    connected: bool,
    /// When its record said that it no longer sleeps, until membership hears of it too.
    woke: Option<WallTime>,
}

/// How long after its record says that a member is awake membership may take to hear from it, in seconds. Until then it is
/// unreachable, and not gone.
const WAKING_SECS: u64 = 60;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is news: pass it on.
    New,
    /// It was known, or is older than what is.
    Known,
    /// It is not kept, and why.
    Refused(&'static str),
    /// It is about this node, genuine, and none of this process: of a later boot, or of another process in this one.
    OwnAhead(BootEpoch),
}

impl Known {
    /// Whether it said a moment ago that it is awake.
    fn is_waking(&self, now: WallTime) -> bool {
        self.woke.is_some_and(|woke| now.0 <= woke.0.saturating_add(WAKING_SECS))
    }
}

impl Directory {
    /// A directory that knows this node only.
    pub(crate) fn new(own: SignedRecord) -> Self {
        let me = own.record.id;
        let names = BTreeMap::from([(own.record.name.clone(), me)]);
        let known = Known { signed: Arc::new(own), told: (me, 0), proven: true, connected: true, woke: None };
        Self {
            me,
            records: BTreeMap::from([(me, known)]),
            names,
            health: BTreeMap::new(),
            vouched: BTreeSet::new(),
            told: BTreeMap::new(),
            denied: Arc::default(),
            wall: WallTime(0),
            arrivals: 0,
            forgotten: Vec::new(),
        }
    }

    /// Replaces this node's own record.
    pub(crate) fn set_own(&mut self, own: SignedRecord) {
        if let Some(known) = self.records.get_mut(&self.me) {
            known.signed = Arc::new(own);
        }
    }

    /// Whether this record would be news. Ask before paying for its signature.
    pub(crate) fn is_news(&self, offered: &SignedRecord) -> bool {
        let id = offered.record.id;
        let is_newer = |known: &Known| {
            let (held, offered_is) = (known.signed.record.version(), offered.record.version());
            // Each number of ours was given once, so another record of that number is somebody else's.
            held < offered_is || (id == self.me && held == offered_is && known.signed.bytes() != offered.bytes())
        };
        !self.is_denied(id) && self.records.get(&id).is_none_or(is_newer)
    }

    fn is_denied(&self, id: NodeId) -> bool {
        self.denied.of_key(id).is_some()
    }

    /// Takes in who is denied. Returns the members that were not before.
    pub(crate) fn deny(&mut self, list: Arc<DenyList>) -> Vec<NodeId> {
        let before = std::mem::replace(&mut self.denied, list);
        let is_new = |id: &NodeId| self.denied.of_key(*id).is_some() && before.of_key(*id).is_none();
        let removed: Vec<NodeId> = self.records.keys().copied().filter(is_new).collect();
        for id in &removed {
            let Some(known) = self.records.get_mut(id) else { continue };
            // The first to give way where there is no room.
            (known.proven, known.connected) = (false, false);
            let name = &known.signed.record.name;
            if self.names.get(name) == Some(id) {
                self.names.remove(name);
            }
        }
        removed
    }

    /// Takes in a record that `from` passed on, and whose signature was checked.
    pub(crate) fn offer(&mut self, from: NodeId, offered: SignedRecord) -> Offer {
        if !self.is_news(&offered) {
            return Offer::Known;
        }
        let (id, name) = (offered.record.id, offered.record.name.clone());
        if id == self.me {
            return Offer::OwnAhead(offered.record.epoch);
        }
        if self.records.get(&id).is_some_and(|known| known.proven && known.signed.record.name != name) {
            return Offer::Refused("name");
        }
        match self.names.get(&name) {
            // Names are unique by certificate. A record alone proves none, so who proved its name keeps it.
            Some(holder) if *holder != id && self.records.get(holder).is_some_and(|known| known.proven) => {
                return Offer::Refused("name");
            }
            Some(_) | None => {}
        }
        if !self.records.contains_key(&id) && !self.find_place(id, from) {
            return Offer::Refused("full");
        }
        self.arrivals += 1;
        let (told, proven, connected, woke) = match self.records.get(&id) {
            Some(known) => {
                self.names.remove(&known.signed.record.name);
                let (before, after) = (&known.signed.record, &offered.record);
                let woke = before.epoch == after.epoch && before.phase.is_asleep() && !after.phase.is_asleep();
                // Membership may have heard of it before its record came: then it is back, and not awaited.
                let heard = self.health.get(&id) == Some(&(after.epoch, Health::Alive));
                let woke = woke && !heard;
                (known.told, known.proven, known.connected, woke.then_some(self.wall))
            }
            None => ((from, self.arrivals), false, false, None),
        };
        self.forget_predecessors(&name);
        self.names.insert(name, id);
        self.records.insert(id, Known { signed: Arc::new(offered), told, proven, connected, woke });
        Offer::New
    }

    /// Notes that a connection to this node stands, and the name it proved over it.
    pub(crate) fn connected(&mut self, id: NodeId, name: &NodeName) {
        let impostor = self.names.get(name).copied().filter(|holder| *holder != id && *holder != self.me);
        if let Some(impostor) = impostor {
            self.forget(impostor);
        }
        let lied = self.records.get(&id).is_some_and(|known| known.signed.record.name != *name);
        if lied {
            self.forget(id);
        }
        if let Some(known) = self.records.get_mut(&id) {
            (known.proven, known.connected) = (true, true);
        }
    }

    /// Notes that the connection is gone.
    pub(crate) fn disconnected(&mut self, id: NodeId) {
        if let Some(known) = self.records.get_mut(&id) {
            known.connected = false;
        }
    }

    /// Whose records gave way since this was asked last.
    pub(crate) fn take_forgotten(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.forgotten)
    }

    /// Takes in what membership says of a node.
    pub(crate) fn health(&mut self, change: Change) {
        self.health.insert(change.node, (change.epoch, change.health));
        if change.health == Health::Alive
            && let Some(known) = self.records.get_mut(&change.node)
        {
            known.woke = None;
        }
    }

    /// Whether hubs answer for a node, and no pool that it shares with us.
    pub(crate) fn vouched_for(&mut self, id: NodeId, vouched: bool) {
        if vouched {
            self.vouched.insert(id);
        } else {
            self.vouched.remove(&id);
        }
    }

    /// Whether they do.
    pub(crate) fn is_vouched_for(&self, id: NodeId) -> bool {
        self.vouched.contains(&id)
    }

    /// The node of this name, as far as is known.
    pub(crate) fn named(&self, name: &NodeName) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    /// Tells the date, and returns those whose state may follow from it: members that said they would sleep, or
    /// that they woke.
    pub(crate) fn tick(&mut self, wall: WallTime) -> Vec<NodeId> {
        self.wall = wall;
        let dated = |known: &&Known| known.signed.record.phase.is_asleep() || known.woke.is_some();
        self.records.values().filter(dated).map(|known| known.signed.record.id).collect()
    }

    /// Whoever was removed is shown until a successor has its name.
    fn forget_predecessors(&mut self, name: &NodeName) {
        let has_it = |id: &NodeId| self.records.get(id).is_some_and(|known| known.signed.record.name == *name);
        let all: Vec<NodeId> = self.denied.keys().filter(has_it).collect();
        all.into_iter().for_each(|id| self.forget(id));
    }

    /// The view of `id` if it differs from the one last told.
    pub(crate) fn changed(&mut self, id: NodeId) -> Option<MemberView> {
        let view = self.view(id)?;
        if self.told.get(&id) == Some(&view) {
            return None;
        }
        self.told.insert(id, view.clone());
        Some(view)
    }

    /// How a node stands for its ties, after a change of its health if there is one.
    pub(crate) fn standing(&self, id: NodeId, change: Option<&Change>) -> Standing {
        let health = change.map(|change| (change.epoch, change.health)).or_else(|| self.health.get(&id).copied());
        let view = health.and_then(|health| self.view_as(id, health));
        let record = self.records.get(&id).map(|known| &known.signed.record);
        Standing {
            state: view.as_ref().map(|view| view.state),
            tier: record.map_or(LinkTier::Lan, |record| record.tier),
            epoch: view.map(|view| view.epoch).or(record.map(|record| record.epoch)).unwrap_or_default(),
        }
    }

    /// One member, if both its record and its health are known.
    pub(crate) fn view(&self, id: NodeId) -> Option<MemberView> {
        let health = if id == self.me { (BootEpoch(0), Health::Alive) } else { *self.health.get(&id)? };
        self.view_as(id, health)
    }

    fn view_as(&self, id: NodeId, health: (BootEpoch, Health)) -> Option<MemberView> {
        let known = self.records.get(&id)?;
        let record = &known.signed.record;
        let (epoch, state) = if self.is_denied(id) {
            (record.epoch, MemberState::Removed)
        } else if id == self.me {
            (record.epoch, MemberState::Reachable)
        } else {
            let (epoch, health) = health;
            let state = match health {
                // What was said about an earlier boot says nothing about this one.
                _ if epoch < record.epoch => MemberState::Unreachable,
                Health::Alive if known.connected || self.vouched.contains(&id) => MemberState::Reachable,
                Health::Alive | Health::Suspect => MemberState::Unreachable,
                Health::Down | Health::Left if record.phase.excuses_silence(self.wall) => MemberState::Asleep,
                Health::Down | Health::Left if known.is_waking(self.wall) => MemberState::Unreachable,
                Health::Down => MemberState::Down,
                // It woke, and was not heard of again.
                Health::Left if known.woke.is_some() => MemberState::Down,
                // It said that it would be back by now.
                Health::Left if record.phase.is_asleep() => MemberState::Down,
                Health::Left => MemberState::Left,
            };
            // The node may be back before its new record is.
            (epoch.max(record.epoch), state)
        };
        Some(MemberView {
            id,
            name: record.name.clone(),
            role: record.role,
            region: record.region,
            epoch,
            state,
            phase: record.phase,
            tier: record.tier,
            address: record.address,
            version: record.version.clone(),
            certificate_issuer: record.certificate_issuer,
            certificate_begins: record.certificate_begins,
            certificate_ends: record.certificate_ends,
            trust: record.trust,
            rtt_ms: None,
            loss_permille: None,
            schema_differs: Vec::new(),
        })
    }

    /// All members, by id.
    pub(crate) fn views(&self) -> Vec<MemberView> {
        self.records.keys().filter_map(|id| self.view(*id)).collect()
    }

    /// All records of those who are not denied, by id.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Arc<SignedRecord>> {
        self.records.values().map(|known| &known.signed).filter(|signed| !self.is_denied(signed.record.id))
    }

    /// The record of one node that is not denied.
    pub(crate) fn record(&self, id: NodeId) -> Option<&Arc<SignedRecord>> {
        self.records.get(&id).map(|known| &known.signed).filter(|_| !self.is_denied(id))
    }

    /// Whether dialling this node may make sense: it has not left, or a later boot of it is known.
    pub(crate) fn worth_dialling(&self, id: NodeId) -> bool {
        let Some(signed) = self.record(id) else { return false };
        match self.health.get(&id) {
            Some((epoch, Health::Left)) => *epoch < signed.record.epoch,
            Some((_, Health::Alive | Health::Suspect | Health::Down)) | None => id != self.me,
        }
    }

    /// All others, as far as it matters to whom this node keeps a connection.
    pub(crate) fn neighbours(&self) -> Vec<Neighbour> {
        let others = self.records().filter(|signed| signed.record.id != self.me);
        others
            .map(|signed| {
                let (id, place) = (signed.record.id, signed.record.place());
                let gone = |(epoch, health): &(BootEpoch, Health)| {
                    *epoch >= signed.record.epoch && matches!(health, Health::Down | Health::Left)
                };
                Neighbour { id, place, usable: !self.health.get(&id).is_some_and(gone) }
            })
            .collect()
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    fn forget(&mut self, id: NodeId) {
        // Membership forgets the dead of its own pools as well.
        let dead = self.health.get(&id).is_some_and(|(_, health)| matches!(health, Health::Down | Health::Left));
        if dead && !self.vouched.contains(&id) {
            self.health.remove(&id);
        }
        if let Some(known) = self.records.remove(&id) {
            let name = &known.signed.record.name;
            if self.names.get(name) == Some(&id) {
                self.names.remove(name);
            }
        }
        self.told.remove(&id);
        self.forgotten.push(id);
    }
}

#[cfg(test)]
mod tests;
