//! Everybody's record, health and connection, and the view that follows from them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use covenant_identity::DenyList;
use covenant_membership::{Change, Health, Neighbour};
use covenant_types::{BootEpoch, LinkTier, NodeId, NodeName, WallTime};

use crate::member::{MemberState, MemberView};
use crate::record::{SignedRecord, mix};
use crate::ties::book::Standing;

/// The most nodes we keep records of.
pub const RECORDS_MAX: usize = 1024;
/// The most records that one peer told us of nodes that nobody has met. A record proves that somebody has a key, and not that
/// the cluster let it in: anybody can make a thousand. Half of all, so that no one peer decides whom we know.
pub const UNMET_MAX: usize = RECORDS_MAX / 2;

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

    /// Makes room for the record of `id`, which is connected, where it has none yet: at the cost of one that nobody met, or one
    /// that died, or else one that we did not meet.
    pub(crate) fn make_room(&mut self, id: NodeId) {
        if self.records.len() >= RECORDS_MAX && !self.records.contains_key(&id) {
            let spare = self.most_told(Self::unmet).or_else(|| self.most_told(Self::gone)).map(|(_, oldest)| oldest);
            let rumour = || self.records.iter().find(|(_, known)| !known.proven).map(|(id, _)| *id);
            if let Some(id) = spare.or_else(rumour) {
                self.forget(id);
            }
        }
    }

    /// Whether there is a place for the record of a node that is new, told by `from`: the oldest of the same teller that
    /// nobody met gives way where it told of as many as it may, and where all places are taken the oldest of whoever
    /// told of most; then, for one that was met, one that died.
    fn find_place(&mut self, id: NodeId, from: NodeId) -> bool {
        let met = self.health.contains_key(&id) || id == from;
        let (own, oldest) = self.those(Self::unmet).filter(|(_, known)| known.told.0 == from).fold(
            (0, None::<(u64, NodeId)>),
            |(count, oldest), (id, known)| {
                let this = (known.told.1, id);
                (count + 1, Some(oldest.map_or(this, |oldest| oldest.min(this))))
            },
        );
        if !met && own >= UNMET_MAX {
            oldest.into_iter().for_each(|(_, id)| self.forget(id));
        }
        if self.records.len() < RECORDS_MAX {
            return true;
        }
        let unmet = self.most_told(Self::unmet).filter(|(count, _)| met || *count > own);
        let gone = || self.most_told(Self::gone).filter(|_| met);
        let gives_way = unmet.or_else(gone).map(|(_, oldest)| oldest);
        gives_way.into_iter().for_each(|id| self.forget(id));
        gives_way.is_some()
    }

    /// Whether nobody said more of it than what stands in its record.
    fn unmet(&self, id: NodeId, known: &Known) -> bool {
        !known.proven && !self.health.contains_key(&id)
    }

    /// Whether it is held for dead, and was never here: a node that was invented ends so once somebody spreads rumours of it. A
    /// real one is told of anew when it is back.
    fn gone(&self, id: NodeId, known: &Known) -> bool {
        let dead = |(epoch, health): &(BootEpoch, Health)| {
            *epoch >= known.signed.record.epoch && matches!(health, Health::Down | Health::Left)
        };
        let awaited = known.signed.record.phase.excuses_silence(self.wall) || self.vouched.contains(&id);
        !known.proven && !awaited && self.health.get(&id).is_some_and(dead)
    }

    fn those(&self, are: fn(&Self, NodeId, &Known) -> bool) -> impl Iterator<Item = (NodeId, &Known)> {
        self.records.iter().map(|(id, known)| (*id, known)).filter(move |(id, known)| are(self, *id, known))
    }

    /// How many of those come from whoever told of most of them, and the oldest of these.
    fn most_told(&self, are: fn(&Self, NodeId, &Known) -> bool) -> Option<(usize, NodeId)> {
        let mut by_teller: BTreeMap<NodeId, (usize, u64, NodeId)> = BTreeMap::new();
        for (id, known) in self.those(are) {
            let (teller, number) = known.told;
            let (count, first, oldest) = by_teller.entry(teller).or_insert((0, number, id));
            *count += 1;
            if number < *first {
                (*first, *oldest) = (number, id);
            }
        }
        by_teller.into_values().max_by_key(|(count, _, _)| *count).map(|(count, _, oldest)| (count, oldest))
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

    /// What the records come to in so many buckets, a power of two. Two directories share these numbers when they hold the
    /// same, as far as `detail` looks.
    pub(crate) fn digest(&self, detail: Detail, buckets: usize) -> Vec<u64> {
        let mut digest = vec![0; buckets];
        for signed in self.records() {
            let record = &signed.record;
            let version = match detail {
                Detail::Everything => record.sequence,
                Detail::Essence => record.essence(),
            };
            let parts = [&record.id.0[..], &record.epoch.0.to_be_bytes(), &version.to_be_bytes()];
            digest[bucket_of(record.id, buckets)] ^= mix(parts.into_iter().flatten().copied());
        }
        digest
    }

    /// The records in the buckets in which this directory differs from one that comes to `theirs`.
    pub(crate) fn differing(&self, detail: Detail, theirs: &[u64]) -> Vec<Arc<SignedRecord>> {
        let ours = self.digest(detail, theirs.len());
        let differs = |id: NodeId| {
            let bucket = bucket_of(id, theirs.len());
            ours[bucket] != theirs[bucket]
        };
        self.records().filter(|signed| differs(signed.record.id)).cloned().collect()
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

/// What two nodes that compare their records look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Each record's number.
    Everything,
    /// What others have to know. A leaf is spared news such as that a certificate was renewed.
    Essence,
}

fn bucket_of(id: NodeId, buckets: usize) -> usize {
    // Ids are hashes: any of their bytes will do.
    usize::from(id.0[15]) & (buckets - 1)
}

#[cfg(test)]
mod tests {
    use covenant_identity::NodeKey;
    use covenant_types::{LinkTier, Region, Role, WallTime};

    use super::*;
    use crate::member::Phase;
    use crate::record::NodeRecord;

    /// Two that pass on records of others.
    const TELLER: NodeId = NodeId([1; 16]);
    const OTHER: NodeId = NodeId([2; 16]);

    fn record(key: &NodeKey, name: &str, epoch: u64) -> SignedRecord {
        let record = NodeRecord {
            id: key.node_id(),
            public_key: key.public_key(),
            name: NodeName::new(name).unwrap(),
            role: Role::Tower,
            region: Region::Asia,
            epoch: BootEpoch(epoch),
            address: "127.0.0.1:1".parse().unwrap(),
            tier: LinkTier::Lan,
            phase: Phase::Active,
            version: "1.2.3".to_owned(),
            certificate_issuer: NodeId([9; 16]),
            certificate_begins: WallTime(1_799_000_000),
            certificate_ends: WallTime(1_800_000_000),
            trust: covenant_identity::TrustMark::default(),
            sequence: 1,
        };
        SignedRecord::sign(record, key)
    }

    fn directory() -> (Directory, NodeKey) {
        let key = NodeKey::generate();
        (Directory::new(record(&key, "me", 3)), key)
    }

    fn alive(id: NodeId, epoch: u64) -> Change {
        Change { node: id, epoch: BootEpoch(epoch), health: Health::Alive }
    }

    #[test]
    fn only_a_newer_record_is_news() {
        let (mut directory, _) = directory();
        let key = NodeKey::generate();
        assert_eq!(directory.offer(TELLER, record(&key, "a", 2)), Offer::New);
        assert_eq!(directory.offer(TELLER, record(&key, "a", 2)), Offer::Known);
        assert_eq!(directory.offer(TELLER, record(&key, "a", 1)), Offer::Known);
        assert_eq!(directory.offer(TELLER, record(&key, "a", 3)), Offer::New);
    }

    #[test]
    fn a_member_that_says_it_woke_is_awaited_for_a_minute_and_not_gone() {
        let (mut directory, _) = directory();
        let key = NodeKey::generate();
        let (id, sleeping) = (key.node_id(), Phase::Asleep { since: WallTime(100), until: WallTime(200) });
        let says = |sequence, phase| {
            let record = NodeRecord { phase, sequence, ..record(&key, "a", 1).record };
            SignedRecord::sign(record, &key)
        };
        let at = |directory: &mut Directory, secs| {
            let dated = directory.tick(WallTime(secs));
            (directory.view(id).map(|view| view.state), dated.len())
        };
        at(&mut directory, 100);
        assert_eq!(directory.offer(TELLER, says(1, sleeping)), Offer::New);
        directory.health(Change { health: Health::Left, ..alive(id, 1) });
        assert_eq!(at(&mut directory, 110), (Some(MemberState::Asleep), 1));
        assert_eq!(directory.offer(TELLER, says(2, Phase::Active)), Offer::New);
        assert_eq!(at(&mut directory, 170), (Some(MemberState::Unreachable), 1));
        assert_eq!(at(&mut directory, 171), (Some(MemberState::Down), 1), "it was not heard of again");
        directory.health(alive(id, 1));
        directory.health(Change { health: Health::Left, ..alive(id, 1) });
        assert_eq!(at(&mut directory, 172), (Some(MemberState::Left), 0), "this time it left");
    }

    #[test]
    fn a_member_that_membership_heard_of_before_its_record_said_that_it_woke_has_left_when_it_leaves() {
        let (mut directory, _) = directory();
        let key = NodeKey::generate();
        let id = key.node_id();
        let says = |sequence, phase| {
            let record = NodeRecord { phase, sequence, ..record(&key, "a", 1).record };
            SignedRecord::sign(record, &key)
        };
        let sleeping = Phase::Asleep { since: WallTime(100), until: WallTime(200) };
        assert_eq!(directory.offer(TELLER, says(1, sleeping)), Offer::New);
        directory.health(Change { health: Health::Left, ..alive(id, 1) });
        directory.health(alive(id, 1));
        assert_eq!(directory.offer(TELLER, says(2, Phase::Active)), Offer::New);
        directory.health(Change { health: Health::Left, ..alive(id, 1) });
        directory.tick(WallTime(110));
        assert_eq!(directory.view(id).map(|view| view.state), Some(MemberState::Left));
    }

    #[test]
    fn our_own_record_that_is_not_of_this_process_is_an_incident() {
        let (mut directory, key) = directory();
        assert_eq!(directory.offer(TELLER, record(&key, "me", 9)), Offer::OwnAhead(BootEpoch(9)));
        assert_eq!(directory.offer(TELLER, record(&key, "me", 3)), Offer::Known);
        let moved = NodeRecord { address: "127.0.0.1:2".parse().unwrap(), ..record(&key, "me", 3).record };
        let of_a_twin = SignedRecord::sign(moved, &key);
        assert_eq!(directory.offer(TELLER, of_a_twin.clone()), Offer::OwnAhead(BootEpoch(3)));
        directory.set_own(record(&key, "me", 4));
        assert_eq!(directory.offer(TELLER, of_a_twin), Offer::Known);
    }

    #[test]
    fn a_name_belongs_to_whoever_proved_it() {
        let (mut directory, _) = directory();
        let (honest, thief) = (NodeKey::generate(), NodeKey::generate());
        let name = NodeName::new("hub").unwrap();
        assert_eq!(directory.offer(TELLER, record(&honest, "hub", 1)), Offer::New);
        directory.connected(honest.node_id(), &name);
        assert_eq!(directory.offer(TELLER, record(&thief, "hub", 1)), Offer::Refused("name"));
        assert_eq!(directory.offer(TELLER, record(&thief, "me", 1)), Offer::Refused("name"));
        assert_eq!(directory.offer(TELLER, record(&honest, "else", 2)), Offer::Refused("name"));
    }

    #[test]
    fn a_squatter_loses_the_name_when_its_owner_connects() {
        let (mut directory, _) = directory();
        let (honest, thief) = (NodeKey::generate(), NodeKey::generate());
        assert_eq!(directory.offer(TELLER, record(&thief, "hub", 1)), Offer::New);
        directory.connected(honest.node_id(), &NodeName::new("hub").unwrap());
        assert!(directory.record(thief.node_id()).is_none());
        assert_eq!(directory.offer(TELLER, record(&honest, "hub", 1)), Offer::New);
    }

    #[test]
    fn a_member_is_reachable_only_with_a_connection_and_good_health_in_its_present_boot() {
        let (mut directory, _) = directory();
        let key = NodeKey::generate();
        let id = key.node_id();
        let state = |directory: &Directory| directory.view(id).map(|view| view.state);
        assert_eq!(directory.offer(TELLER, record(&key, "a", 1)), Offer::New);
        assert_eq!(state(&directory), None);
        directory.health(alive(id, 1));
        assert_eq!(state(&directory), Some(MemberState::Unreachable));
        directory.connected(id, &NodeName::new("a").unwrap());
        assert_eq!(state(&directory), Some(MemberState::Reachable));
        directory.health(Change { health: Health::Down, ..alive(id, 1) });
        assert_eq!(state(&directory), Some(MemberState::Down));
        assert_eq!(directory.offer(TELLER, record(&key, "a", 2)), Offer::New);
        assert_eq!(state(&directory), Some(MemberState::Unreachable));
        directory.health(alive(id, 2));
        assert_eq!(state(&directory), Some(MemberState::Reachable));
        directory.health(alive(id, 3));
        assert_eq!(
            directory.view(id).map(|view| view.epoch),
            Some(BootEpoch(3)),
            "before its record of that boot came"
        );
    }

    #[test]
    fn rumoured_nodes_are_bounded_and_give_way_to_connected_ones() {
        let (mut directory, _) = directory();
        for number in 1..RECORDS_MAX {
            let key = NodeKey::generate();
            directory.health(alive(key.node_id(), 1));
            assert_eq!(directory.offer(TELLER, record(&key, &format!("n{number}"), 1)), Offer::New);
        }
        let late = NodeKey::generate();
        assert_eq!(directory.offer(TELLER, record(&late, "late", 1)), Offer::Refused("full"));
        directory.make_room(late.node_id());
        assert_eq!(directory.offer(TELLER, record(&late, "late", 1)), Offer::New);
        directory.make_room(late.node_id());
        assert_eq!(directory.records().count(), RECORDS_MAX, "it has its place, and costs nobody another");
    }

    #[test]
    fn where_all_is_full_the_dead_that_never_were_here_give_way_to_who_was_met_and_to_nobody_else() {
        let (mut directory, _) = directory();
        let keys: Vec<NodeKey> = (1..RECORDS_MAX).map(|_| NodeKey::generate()).collect();
        for (number, key) in keys.iter().enumerate() {
            directory.health(alive(key.node_id(), 1));
            assert_eq!(directory.offer(TELLER, record(key, &format!("n{number}"), 1)), Offer::New);
        }
        directory.connected(keys[0].node_id(), &NodeName::new("n0").unwrap());
        directory.disconnected(keys[0].node_id());
        for key in &keys[..2] {
            directory.health(Change { health: Health::Down, ..alive(key.node_id(), 1) });
        }
        let invented = NodeKey::generate();
        assert_eq!(directory.offer(OTHER, record(&invented, "invented", 1)), Offer::Refused("full"));
        let real = NodeKey::generate();
        assert_eq!(directory.offer(real.node_id(), record(&real, "real", 1)), Offer::New);
        directory.connected(real.node_id(), &NodeName::new("real").unwrap());
        assert_eq!(directory.take_forgotten(), [keys[1].node_id()], "one that was here stays");
        let late = NodeKey::generate();
        assert_eq!(directory.offer(late.node_id(), record(&late, "late", 1)), Offer::Refused("full"));
    }

    #[test]
    fn whoever_tells_of_nodes_that_nobody_met_fills_half_and_displaces_its_own() {
        let (mut directory, _) = directory();
        let honest: Vec<NodeKey> = (0..40).map(|_| NodeKey::generate()).collect();
        for (number, key) in honest.iter().enumerate() {
            assert_eq!(directory.offer(OTHER, record(key, &format!("h{number}"), 1)), Offer::New);
        }
        let mut first = None;
        for number in 0..UNMET_MAX + 100 {
            let key = NodeKey::generate();
            first = first.or(Some(key.node_id()));
            assert_eq!(directory.offer(TELLER, record(&key, &format!("n{number}"), 1)), Offer::New);
        }
        assert_eq!(directory.len(), 1 + honest.len() + UNMET_MAX);
        let forgotten = directory.take_forgotten();
        assert_eq!((forgotten.len(), forgotten.first().copied()), (100, first), "the oldest first");
        assert!(honest.iter().all(|key| directory.record(key.node_id()).is_some()), "others' are not touched");
    }

    #[test]
    fn where_all_is_full_those_that_nobody_met_give_way_and_of_these_whose_teller_told_of_most() {
        let (mut directory, _) = directory();
        for (teller, name, count) in [(TELLER, "a", UNMET_MAX), (OTHER, "b", UNMET_MAX - 1)] {
            for number in 0..count {
                let signed = record(&NodeKey::generate(), &format!("{name}{number}"), 1);
                assert_eq!(directory.offer(teller, signed), Offer::New);
            }
        }
        assert_eq!(directory.len(), RECORDS_MAX);
        let told = |directory: &Directory, by| {
            directory.those(Directory::unmet).filter(|(_, known)| known.told.0 == by).count()
        };
        // A third teller, and a node that says itself that it is there.
        assert_eq!(directory.offer(NodeId([8; 16]), record(&NodeKey::generate(), "late", 1)), Offer::New);
        let real = NodeKey::generate();
        assert_eq!(directory.offer(real.node_id(), record(&real, "real", 1)), Offer::New);
        assert_eq!(directory.len(), RECORDS_MAX);
        assert_eq!(told(&directory, TELLER) + told(&directory, OTHER), RECORDS_MAX - 3);
        // And one of whom membership has heard, from whoever told of most.
        let heard_of = NodeKey::generate();
        directory.health(alive(heard_of.node_id(), 1));
        assert_eq!(directory.offer(TELLER, record(&heard_of, "heard-of", 1)), Offer::New);
    }

    #[test]
    fn a_member_that_sleeps_is_asleep_until_it_overslept_by_as_long_again() {
        let (mut directory, _) = directory();
        let key = NodeKey::generate();
        let id = key.node_id();
        let mut sleepy = record(&key, "a", 1).record;
        sleepy.phase = Phase::Asleep { since: WallTime(100), until: WallTime(400) };
        assert_eq!(directory.offer(TELLER, SignedRecord::sign(sleepy, &key)), Offer::New);
        for silence in [Health::Left, Health::Down] {
            directory.health(Change { health: silence, ..alive(id, 1) });
            for (now, state) in [
                (150, MemberState::Asleep),
                (400, MemberState::Asleep),
                (700, MemberState::Asleep),
                (701, MemberState::Down),
            ] {
                assert_eq!(directory.tick(WallTime(now)), [id]);
                assert_eq!(directory.view(id).map(|view| view.state), Some(state), "at {now}");
            }
        }
    }

    #[test]
    fn a_node_that_hubs_answer_for_needs_no_connection_to_be_reachable() {
        let (mut directory, _) = directory();
        let key = NodeKey::generate();
        let id = key.node_id();
        assert_eq!(directory.offer(TELLER, record(&key, "a", 1)), Offer::New);
        directory.health(alive(id, 1));
        directory.vouched_for(id, true);
        assert_eq!(directory.view(id).map(|view| view.state), Some(MemberState::Reachable));
        directory.vouched_for(id, false);
        assert_eq!(directory.view(id).map(|view| view.state), Some(MemberState::Unreachable));
    }

    #[test]
    fn two_directories_exchange_only_records_in_buckets_that_differ() {
        let (mut one, key) = directory();
        let mut other = Directory::new(record(&key, "me", 3));
        for number in 0..100 {
            let signed = record(&NodeKey::generate(), &format!("n{number}"), 1);
            assert_eq!(other.offer(TELLER, signed.clone()), Offer::New);
            assert_eq!(one.offer(TELLER, signed), Offer::New);
        }
        assert_eq!(one.digest(Detail::Everything, 1), other.digest(Detail::Everything, 1));
        let late = NodeKey::generate();
        assert_eq!(one.offer(TELLER, record(&late, "late", 1)), Offer::New);
        assert_ne!(one.digest(Detail::Everything, 1), other.digest(Detail::Everything, 1));
        let sent = one.differing(Detail::Everything, &other.digest(Detail::Everything, 32));
        assert!((1..20).contains(&sent.len()), "{}", sent.len());
        assert!(sent.iter().any(|signed| signed.record.id == late.node_id()));
    }

    #[test]
    fn a_renewed_certificate_is_no_news_of_essence_and_a_new_phase_is() {
        let (mut directory, _) = directory();
        let key = NodeKey::generate();
        let first = record(&key, "a", 1);
        assert_eq!(directory.offer(TELLER, first.clone()), Offer::New);
        let digests =
            |directory: &Directory| [Detail::Everything, Detail::Essence].map(|detail| directory.digest(detail, 1));
        let before = digests(&directory);
        let renewed = NodeRecord { certificate_ends: WallTime(1_900_000_000), sequence: 2, ..first.record };
        assert_eq!(directory.offer(TELLER, SignedRecord::sign(renewed.clone(), &key)), Offer::New);
        let after = digests(&directory);
        assert!(before[0] != after[0] && before[1] == after[1]);
        let draining = NodeRecord { phase: Phase::Draining, sequence: 3, ..renewed };
        assert_eq!(directory.offer(TELLER, SignedRecord::sign(draining, &key)), Offer::New);
        assert_ne!(digests(&directory)[1], after[1]);
    }

    #[test]
    fn a_change_is_told_once() {
        let (mut directory, _) = directory();
        let key = NodeKey::generate();
        assert_eq!(directory.offer(TELLER, record(&key, "a", 1)), Offer::New);
        directory.health(alive(key.node_id(), 1));
        assert!(directory.changed(key.node_id()).is_some());
        assert!(directory.changed(key.node_id()).is_none());
    }
}
