//! All that a node knows of who is there: its pools, its leases, and what hubs say of the rest.
//!
//! # Intuition
//! Of a node in one of our pools SWIM tells. Of one that keeps in touch with us the lease tells. Of all others the hubs we
//! hear tell: a hub keeps a [board](crate::board) of those it watches or leases, shows that to the other hubs, and shows
//! what all of them together come to to its region and leaves. Nobody repeats a hub's word to another hub, so that no word
//! outlives its reason.
//!
//! # Invariants
//! - A datagram or feed of a pool counts only if both ends belong to that pool.
//! - Of several hubs that speak of one node the best word counts: that one cannot see it proves nothing.
//! - A hub's word counts for as long as we hold the hub itself for living. A goodbye stays.
//! - Only hubs' words about others count, and only about boots that the subject's own record names.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use covenant_types::{BootEpoch, NodeId, Uptime};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::board::Word;
use crate::boards::{Audience, Boards};
use crate::digest::buckets_for;
use crate::feed::Buckets;
use crate::gate::NODES_MAX;
use crate::lease::Leases;
use crate::note::Note;
use crate::{Change, Effect, Event, Health, Membership, Paces, Place, PoolId, Standing, Stats, Topology};

/// Who is in the cluster, as this node sees it through pools, leases and hubs.
///
/// Takes the events and gives the effects of one [`Membership`], and may stand wherever one does.
pub struct Pools {
    me: NodeId,
    epoch: BootEpoch,
    topology: Topology,
    place: Place,
    paces: Paces,
    /// The nearest first.
    cores: Vec<(PoolId, Membership)>,
    known: BTreeMap<NodeId, Known>,
    peers: BTreeMap<NodeId, Link>,
    leases: Leases,
    boards: Boards,
    left: bool,
    refused: u64,
}

/// What a node said of itself.
#[derive(Clone, Copy, Debug)]
struct Known {
    epoch: BootEpoch,
    place: Option<Place>,
}

/// A connection.
#[derive(Clone, Debug)]
struct Link {
    epoch: BootEpoch,
    /// The pools that were told of it.
    pools: Vec<PoolId>,
    leased: bool,
    /// When it was last given a part of a board that it asked for.
    copied: Option<Uptime>,
}

impl Pools {
    /// This node, alone.
    pub fn new(
        (me, epoch): (NodeId, BootEpoch),
        (topology, place): (Topology, Place),
        paces: Paces,
        mut rng: StdRng,
        now: Uptime,
    ) -> Self {
        let mut core = |pool: PoolId| {
            let pace = if pool == PoolId::HUBS { &paces.hubs } else { &paces.pool };
            let rng = StdRng::from_rng(&mut rng);
            (pool, Membership::new(me, epoch, place.tier, pace.clone(), rng, now))
        };
        let cores = topology.pools_of(&place).into_iter().map(&mut core).collect();
        let is_hub = topology == Topology::Pools && place.is_hub();
        let boards = Boards::new(is_hub, &paces, now);
        let (known, peers) = (BTreeMap::new(), BTreeMap::new());
        let leases = Leases::default();
        Self { me, epoch, topology, place, paces, cores, known, peers, leases, boards, left: false, refused: 0 }
    }

    /// Takes in where a node belongs, by its certificate and its signed record.
    pub fn placed(&mut self, now: Uptime, node: NodeId, epoch: BootEpoch, place: Place) -> Vec<Effect> {
        let mut effects = Vec::new();
        if node == self.me || !self.know(node, epoch) {
            return effects;
        }
        if let Some(known) = self.known.get_mut(&node) {
            known.place = Some(place);
        }
        self.tell_epoch(now, node, &mut effects);
        self.settle(now, node, &mut effects);
        self.refresh(now, node, &mut effects);
        effects
    }

    /// Advances by one event.
    pub fn handle(&mut self, now: Uptime, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::PeerUp { node, epoch } => {
                if node != self.me && self.know(node, epoch) {
                    self.peers.insert(node, Link { epoch, pools: Vec::new(), leased: false, copied: None });
                    self.settle(now, node, &mut effects);
                }
            }
            Event::PeerDown(node) => self.peer_down(now, node, &mut effects),
            Event::EpochKnown { node, epoch } => {
                if node != self.me && self.know(node, epoch) {
                    self.tell_epoch(now, node, &mut effects);
                    self.refresh(now, node, &mut effects);
                }
            }
            Event::Forgotten(node) => {
                let dead = |it: &Change| matches!(it.health, Health::Down | Health::Left);
                // What hubs say of others is theirs to forget.
                let is_spent = self.member(&node).is_none_or(|it| dead(&it) && self.authority(&node).is_some());
                if is_spent && !self.peers.contains_key(&node) {
                    self.known.remove(&node);
                    self.all_cores(now, &event, &mut effects);
                }
            }
            Event::Line { .. } => self.all_cores(now, &event, &mut effects),
            Event::Datagram { from, data } => match self.in_pool(from, &data) {
                Some((pool, data)) => self.core(now, pool, Event::Datagram { from, data }, &mut effects),
                None => self.refuse(now, from, &mut effects),
            },
            Event::Feed { from, data } => match (self.in_pool(from, &data), data.strip_prefix(NOTE)) {
                (Some((pool, data)), _) => self.core(now, pool, Event::Feed { from, data }, &mut effects),
                (None, Some(note)) => self.note(now, from, note, &mut effects),
                (None, None) => self.refuse(now, from, &mut effects),
            },
            Event::Woken => self.woken(now, &mut effects),
            Event::Leave => {
                self.all_cores(now, &event, &mut effects);
                for node in self.leases.connected() {
                    effects.push(Effect::SendFeed { to: node, data: Note::Goodbye.to_bytes(NOTE) });
                }
                self.left = true;
            }
            Event::Return => {
                self.left = false;
                self.all_cores(now, &event, &mut effects);
                self.leases.restart(now);
            }
            Event::Reborn(epoch) => {
                let peers: Vec<NodeId> = self.peers.keys().copied().collect();
                peers.into_iter().for_each(|node| self.peer_down(now, node, &mut effects));
                self.epoch = epoch;
                self.all_cores(now, &event, &mut effects);
            }
        }
        effects
    }

    /// When [`Event::Woken`] is wanted next.
    pub fn next_wake(&self) -> Option<Uptime> {
        if self.left {
            return None;
        }
        let cores = self.cores.iter().filter_map(|(_, core)| core.next_wake());
        cores.chain(self.leases.next()).chain(self.boards.next()).min()
    }

    /// This boot.
    pub fn epoch(&self) -> BootEpoch {
        self.epoch
    }

    /// What was refused so far, in all pools.
    pub fn stats(&self) -> Stats {
        let start = Stats { refused: self.refused, ..Stats::default() };
        self.cores.iter().map(|(_, core)| core.stats()).fold(start, |sum, stats| Stats {
            refused: sum.refused + stats.refused,
            held: sum.held + stats.held,
            doubted: sum.doubted + stats.doubted,
            probes_failed: sum.probes_failed + stats.probes_failed,
            stale_suspicions: sum.stale_suspicions + stats.stale_suspicions,
            stragglers: sum.stragglers + stats.stragglers,
            faults: sum.faults + stats.faults,
        })
    }

    /// What is held of one other node.
    pub fn member(&self, node: &NodeId) -> Option<Change> {
        let told = |word: Word| Change { node: *node, epoch: word.epoch, health: word.health };
        match self.authority(node) {
            Some(pool) => self.core_of(pool).and_then(|core| core.member(node)),
            None => self.boards.all.get(node).map(told),
        }
    }

    /// Whether hubs answer for a node, and not a pool that it shares with this one: there need be no connection to it.
    pub fn is_vouched_for(&self, node: &NodeId) -> bool {
        self.topology == Topology::Pools && self.authority(node).is_none()
    }

    /// The hubs that say that a node is there.
    pub fn vouchers(&self, node: &NodeId) -> Vec<NodeId> {
        let says = |board: &crate::board::Board| board.get(node).is_some_and(|word| word.health == Health::Alive);
        self.boards.heard.iter().filter(|(_, board)| says(board)).map(|(hub, _)| *hub).collect()
    }

    /// Notes that a node has this boot, or a later one. False where too many nodes are known.
    fn know(&mut self, node: NodeId, epoch: BootEpoch) -> bool {
        if !self.known.contains_key(&node) && self.known.len() >= NODES_MAX {
            return false;
        }
        let known = self.known.entry(node).or_insert(Known { epoch, place: None });
        known.epoch = known.epoch.max(epoch);
        true
    }

    /// Where a node belongs. In a flat cluster that is the same for all.
    fn place_of(&self, node: &NodeId) -> Option<Place> {
        match self.topology {
            Topology::Flat => Some(self.place),
            Topology::Pools => self.known.get(node)?.place,
        }
    }

    /// The pool whose word about a node counts.
    fn authority(&self, node: &NodeId) -> Option<PoolId> {
        self.topology.shared(&self.place, &self.place_of(node)?)
    }

    fn core_of(&self, pool: PoolId) -> Option<&Membership> {
        self.cores.iter().find(|(id, _)| *id == pool).map(|(_, core)| core)
    }

    /// Tells the pools that a node is in of its boot.
    fn tell_epoch(&mut self, now: Uptime, node: NodeId, effects: &mut Vec<Effect>) {
        let (Some(known), Some(place)) = (self.known.get(&node).copied(), self.place_of(&node)) else { return };
        for pool in self.topology.pools_of(&place) {
            self.core(now, pool, Event::EpochKnown { node, epoch: known.epoch }, effects);
        }
    }

    /// Tells pools and leases of a connection, as far as the node at its other end belongs to them.
    fn settle(&mut self, now: Uptime, node: NodeId, effects: &mut Vec<Effect>) {
        let (Some(link), Some(place)) = (self.peers.get(&node).cloned(), self.place_of(&node)) else { return };
        let theirs = self.topology.pools_of(&place);
        let pools: Vec<PoolId> =
            self.cores.iter().map(|(pool, _)| *pool).filter(|pool| theirs.contains(pool)).collect();
        let leased = self.topology == Topology::Pools && self.topology.leases(&self.place, &place);
        if (&pools, leased) == (&link.pools, link.leased) {
            return;
        }
        self.peers.insert(node, Link { pools: pools.clone(), leased, ..link.clone() });
        for gone in link.pools.iter().filter(|pool| !pools.contains(pool)) {
            self.core(now, *gone, Event::PeerDown(node), effects);
        }
        for new in pools.iter().filter(|pool| !link.pools.contains(pool)) {
            self.core(now, *new, Event::PeerUp { node, epoch: link.epoch }, effects);
        }
        if leased && !link.leased {
            let leaf = self.place.standing() == Standing::Leaf || place.standing() == Standing::Leaf;
            let period = if leaf { self.paces.leaf_lease } else { self.paces.lease };
            if self.leases.begin(now, node, link.epoch, period, !self.place.is_hub()) {
                self.lease_changed(now, node, effects);
            }
        } else if link.leased && !leased {
            self.leases.cut(&node);
        }
        if self.topology == Topology::Pools && self.place.is_hub() && !pools.is_empty() {
            self.show(node, effects);
        }
        // It may be a hub whose word now counts.
        self.refresh_vouched(now, node, effects);
    }

    fn peer_down(&mut self, now: Uptime, node: NodeId, effects: &mut Vec<Effect>) {
        let Some(link) = self.peers.remove(&node) else { return };
        for pool in link.pools {
            self.core(now, pool, Event::PeerDown(node), effects);
        }
        if link.leased {
            self.leases.cut(&node);
            self.lease_changed(now, node, effects);
        }
        self.refresh_vouched(now, node, effects);
    }

    /// The pool that bytes from a peer are for, if both ends belong to it, and what follows its name.
    fn in_pool(&self, from: NodeId, data: &Bytes) -> Option<(PoolId, Bytes)> {
        let (head, _) = data.split_first_chunk::<PREFIX_BYTES>()?;
        let [CHANNEL_SWIM, VERSION, high, low] = *head else { return None };
        let pool = PoolId(u16::from_be_bytes([high, low]));
        let link = self.peers.get(&from)?;
        link.pools.contains(&pool).then(|| (pool, data.slice(PREFIX_BYTES..)))
    }

    fn all_cores(&mut self, now: Uptime, event: &Event, effects: &mut Vec<Effect>) {
        let pools: Vec<PoolId> = self.cores.iter().map(|(pool, _)| *pool).collect();
        for pool in pools {
            self.core(now, pool, event.clone(), effects);
        }
    }

    /// Runs one step of one pool.
    fn core(&mut self, now: Uptime, pool: PoolId, event: Event, effects: &mut Vec<Effect>) {
        let Some((_, core)) = self.cores.iter_mut().find(|(id, _)| *id == pool) else { return };
        for effect in core.handle(now, event) {
            match effect {
                Effect::SendDatagram { to, data } => {
                    effects.push(Effect::SendDatagram { to, data: named(pool, &data) });
                }
                Effect::SendFeed { to, data } => effects.push(Effect::SendFeed { to, data: named(pool, &data) }),
                Effect::Changed(change) => self.pool_changed(now, pool, change, effects),
                Effect::Renewed { .. } | Effect::Quarantined { .. } => effects.push(effect),
            }
        }
    }

    fn pool_changed(&mut self, now: Uptime, pool: PoolId, change: Change, effects: &mut Vec<Effect>) {
        if self.authority(&change.node) != Some(pool) {
            return;
        }
        effects.push(Effect::Changed(change));
        if self.topology == Topology::Flat {
            return;
        }
        let (node, word) = (change.node, Word { epoch: change.epoch, health: change.health });
        self.boards.tell_all(now, node, word);
        if self.place_of(&node).is_some_and(|place| place.is_hub()) {
            self.refresh_vouched(now, node, effects);
        } else {
            self.boards.tell_own(now, node, word);
        }
    }

    fn lease_changed(&mut self, now: Uptime, node: NodeId, effects: &mut Vec<Effect>) {
        let hub = self.place_of(&node).is_some_and(|place| place.is_hub());
        if let (Some((epoch, health)), false) = (self.leases.get(&node), hub) {
            self.boards.tell_own(now, node, Word { epoch, health });
        }
        self.refresh(now, node, effects);
        self.refresh_vouched(now, node, effects);
    }

    /// What we find out about a hub or a leaf ourselves.
    fn direct(&self, node: &NodeId) -> Option<Health> {
        match self.authority(node) {
            Some(pool) => self.core_of(pool)?.member(node).map(|member| member.health),
            None => self.leases.get(node).map(|(_, health)| health),
        }
    }

    /// Comes anew to what those say of a node who are not in a pool with it, and tells it if it changed.
    fn refresh(&mut self, now: Uptime, node: NodeId, effects: &mut Vec<Effect>) {
        let Some(Known { epoch, place: Some(_) }) = self.known.get(&node).copied() else { return };
        if node == self.me || !self.is_vouched_for(&node) {
            return;
        }
        let leased = self.leases.get(&node).filter(|(of, _)| *of == epoch).map(|(_, health)| health);
        let vouched = self.boards.heard.iter().filter_map(|(hub, board)| {
            let word = board.get(&node).filter(|word| word.epoch == epoch)?;
            Some(through(self.direct(hub)?, self.peers.contains_key(hub), word.health))
        });
        let Some(health) = leased.into_iter().chain(vouched).max_by_key(|health| standing_of(*health)) else { return };
        if self.boards.tell_all(now, node, Word { epoch, health }) {
            effects.push(Effect::Changed(Change { node, epoch, health }));
        }
    }

    /// Comes anew to all of whom a hub speaks.
    fn refresh_vouched(&mut self, now: Uptime, hub: NodeId, effects: &mut Vec<Effect>) {
        let nodes: Vec<NodeId> = self.boards.heard.get(&hub).into_iter().flat_map(crate::board::Board::nodes).collect();
        nodes.into_iter().for_each(|node| self.refresh(now, node, effects));
    }

    /// Who hears which board of ours.
    fn audience(&self, node: &NodeId) -> Option<Audience> {
        if self.topology == Topology::Flat || !self.place.is_hub() {
            return None;
        }
        let link = self.peers.get(node).filter(|link| link.leased || !link.pools.is_empty())?;
        let place = self.place_of(node)?;
        Some(match (place.is_hub(), link.leased) {
            (true, _) => Audience::Hub,
            (false, false) => Audience::Region,
            (false, true) => Audience::Leased,
        })
    }

    /// Shows a peer what the board for it comes to.
    fn show(&self, to: NodeId, effects: &mut Vec<Effect>) {
        if let Some(audience) = self.audience(&to) {
            let digest = self.boards.for_whom(audience).digest(1)[0];
            effects.push(Effect::SendFeed { to, data: Note::Digest(digest).to_bytes(NOTE) });
        }
    }

    /// What is neither of a pool of both of us nor a note. A well node sends such at most for a moment.
    fn refuse(&mut self, now: Uptime, from: NodeId, effects: &mut Vec<Effect>) {
        self.refused += 1;
        if let Some((_, core)) = self.cores.first_mut() {
            effects.extend(core.forged(now, from));
        }
    }

    fn note(&mut self, now: Uptime, from: NodeId, data: &[u8], effects: &mut Vec<Effect>) {
        let link = self.peers.get(&from).filter(|link| link.leased || !link.pools.is_empty()).cloned();
        let (Some(link), Some(place), Ok(note)) = (link, self.place_of(&from), Note::decode(data)) else {
            self.refuse(now, from, effects);
            return;
        };
        if link.leased {
            self.leases.heard(now, &from);
        }
        match note {
            Note::Renew(period) if link.leased && self.place.is_hub() => {
                self.leases.renewed(now, &from, period);
                self.show(from, effects);
            }
            Note::Goodbye if link.leased => self.leases.left(&from),
            Note::Digest(theirs) if place.is_hub() => {
                let board = self.boards.heard.entry(from).or_default();
                if board.digest(1) != [theirs] {
                    let copy = Note::Copy(board.digest(buckets_for(board.len())));
                    effects.push(Effect::SendFeed { to: from, data: copy.to_bytes(NOTE) });
                }
            }
            Note::Copy(theirs) => self.send_words(now, from, &theirs, effects),
            Note::Words(buckets, words) if place.is_hub() => {
                let changed = self.boards.heard.entry(from).or_default().replace(&buckets, words);
                changed.into_iter().for_each(|node| self.refresh(now, node, effects));
            }
            Note::News(words) if place.is_hub() => {
                for (node, word) in words {
                    if self.boards.heard.entry(from).or_default().set(node, word) {
                        self.refresh(now, node, effects);
                    }
                }
            }
            Note::Renew(_) | Note::Goodbye | Note::Digest(_) | Note::Words(..) | Note::News(_) => {
                self.refused += 1;
            }
        }
        if link.leased {
            self.lease_changed(now, from, effects);
        }
    }

    fn send_words(&mut self, now: Uptime, to: NodeId, theirs: &[u64], effects: &mut Vec<Effect>) {
        let (Some(audience), Some(link)) = (self.audience(&to), self.peers.get_mut(&to)) else {
            self.refused += 1;
            return;
        };
        // A few bytes ask for many.
        if link.copied.is_some_and(|copied| now.since(copied) < self.paces.pool.sweep) {
            self.refused += 1;
            return;
        }
        link.copied = Some(now);
        let board = self.boards.for_whom(audience);
        let differing = Buckets::differing(&board.digest(theirs.len()), theirs);
        let words = board.of(&differing);
        effects.push(Effect::SendFeed { to, data: Note::Words(differing, words).to_bytes(NOTE) });
    }

    fn woken(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let due: Vec<PoolId> = self
            .cores
            .iter()
            .filter(|(_, core)| core.next_wake().is_some_and(|wake| wake <= now))
            .map(|(pool, _)| *pool)
            .collect();
        due.into_iter().for_each(|pool| self.core(now, pool, Event::Woken, effects));
        if self.left {
            return;
        }
        let due = self.leases.due(now);
        let period = if self.place.standing() == Standing::Leaf { self.paces.leaf_lease } else { self.paces.lease };
        for to in due.renew {
            effects.push(Effect::SendFeed { to, data: Note::Renew(period).to_bytes(NOTE) });
        }
        due.ended.into_iter().for_each(|node| self.lease_changed(now, node, effects));
        self.tell_hearers(now, effects);
    }

    /// Passes on what changed on the boards, and now and then what they come to.
    fn tell_hearers(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let due = self.boards.due(now);
        let hearers: Vec<(NodeId, Audience)> =
            self.peers.keys().filter_map(|node| Some((*node, self.audience(node)?))).collect();
        for (to, audience) in hearers {
            match due.news(audience) {
                Some(words) => effects.push(Effect::SendFeed { to, data: Note::News(words).to_bytes(NOTE) }),
                None if due.compares(audience) => self.show(to, effects),
                None => {}
            }
        }
    }
}

/// How good it is to hear this of a node, where several speak of it.
fn standing_of(health: Health) -> u8 {
    match health {
        Health::Alive => 3,
        Health::Suspect => 2,
        Health::Left => 1,
        Health::Down => 0,
    }
}

/// What a hub's word is worth, given how the hub is and whether it can still change its word.
fn through(hub: Health, connected: bool, word: Health) -> Health {
    match (hub, word) {
        (_, Health::Left) => Health::Left,
        (Health::Down | Health::Left, _) => Health::Down,
        (Health::Alive, Health::Alive) if connected => Health::Alive,
        (Health::Alive | Health::Suspect, Health::Alive | Health::Suspect) => Health::Suspect,
        (Health::Alive | Health::Suspect, Health::Down) => Health::Down,
    }
}

fn named(pool: PoolId, data: &Bytes) -> Bytes {
    let mut named = BytesMut::with_capacity(PREFIX_BYTES + data.len());
    named.put_slice(&[CHANNEL_SWIM, VERSION]);
    named.put_u16(pool.0);
    named.put_slice(data);
    named.freeze()
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").field("me", &self.me).field("cores", &self.cores).finish_non_exhaustive()
    }
}

/// The first byte of what one pool's SWIM says, the version of this envelope, and the pool.
const PREFIX_BYTES: usize = 4;
const CHANNEL_SWIM: u8 = 1;
const VERSION: u8 = 1;
/// What stands before a note.
const NOTE: &[u8] = &[2, VERSION];
