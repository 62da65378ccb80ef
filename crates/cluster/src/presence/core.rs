//! The shards a node holds, and what follows from what it hears. Pure: time, date and the way out are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use covenant_runtime::Entries;
use covenant_types::{ActorPath, BootEpoch, LinkTier, Name, NodeId, NodeName, Region, Role, Uptime, WallTime};

use super::entry::{About, Entry, ShardId, Stamp};
use super::frame::{self, Frame, Whose};
use super::hybrid_clock::{HybridClock, Moment};
use super::shard::{Heard, SHARD_BYTES_MAX, SHARD_ENTRIES_MAX, Shard};
use crate::member::MemberState;

/// The most bytes of all shards of other nodes together, as [`Entry::bytes`] counts them.
const ALL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Time between two questions of a leaf, beside those of its new connections.
const LEAF_DIGEST: Duration = Duration::from_secs(24 * 3600);

/// How often things are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The least time between two rounds of changes.
    pub(crate) round: Duration,
    /// Time between two questions to a peer for what was missed.
    pub(crate) digest: Duration,
    /// How long after its last new connection a node's claims yield to those of any other.
    pub(crate) settle: Duration,
    /// How long at most they do, after its start.
    pub(crate) settle_max: Duration,
}

/// What a node starts into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Leaves are connected to hubs only.
    pub(crate) in_pools: bool,
    /// Others are there, or were.
    pub(crate) has_seeds: bool,
}

/// A node, as far as presence is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) role: Role,
    pub(crate) region: Region,
    pub(crate) tier: LinkTier,
    pub(crate) epoch: BootEpoch,
    pub(crate) state: MemberState,
}

impl Seen {
    /// Whether it hangs on a line that is spared what can be.
    fn is_leaf(&self) -> bool {
        self.role != Role::Hub && self.tier == LinkTier::Satellite
    }
}

/// The way to other nodes.
pub(crate) trait Outbox {
    /// Puts a frame on its way; false where there is no room now.
    fn send(&mut self, to: NodeId, frame: Bytes) -> bool;
}

/// What this node knows of the names and groups of all.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(super) me: Seen,
    pace: Pace,
    /// Leaves have connections to hubs only, which tell them what others say, and others what they say.
    in_pools: bool,
    pub(super) own: Shard,
    pub(super) summary: Shard,
    /// Of other nodes.
    pub(super) shards: BTreeMap<ShardId, Shard>,
    pub(super) members: BTreeMap<NodeId, Seen>,
    /// Those there is a connection to.
    pub(super) peers: BTreeMap<NodeId, Peer>,
    clock: HybridClock,
    claims: BTreeMap<Name, (Moment, ActorPath)>,
    settles: Uptime,
    settles_at_last: Uptime,
    is_settled: bool,
    has_news: bool,
    next_round: Uptime,
    next_digest: Uptime,
    /// Who was asked last.
    asked: Option<NodeId>,
    refused: u64,
}

/// A connected node.
#[derive(Debug)]
pub(super) struct Peer {
    role: Role,
    region: Region,
    /// It said what it holds. Before that nothing is sent.
    has_said: bool,
    /// What it holds of the shards we tell it.
    holds: BTreeMap<ShardId, Stamp>,
    /// The parts of a shard that is not whole yet. A peer tells one after the other.
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    id: ShardId,
    stamp: Stamp,
    next: u16,
    entries: BTreeSet<Entry>,
    bytes: usize,
}

/// An actor of this node whose name another one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) name: Name,
    pub(crate) path: ActorPath,
    /// `node:/path`.
    pub(crate) winner: String,
}

/// A frame that no honest peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dishonest;

impl Presence {
    /// What a node knows at its start.
    pub(crate) fn new(me: Seen, mut pace: Pace, Setting { in_pools, has_seeds }: Setting, now: Uptime) -> Self {
        if in_pools && me.is_leaf() {
            pace.digest = LEAF_DIGEST; // it asks when it connects, and its line costs
        }
        let stamp = Stamp { epoch: me.epoch, version: 0 };
        Self {
            me,
            pace,
            in_pools,
            own: Shard::new(stamp),
            summary: Shard::new(stamp),
            shards: BTreeMap::new(),
            members: BTreeMap::new(),
            peers: BTreeMap::new(),
            clock: HybridClock::default(),
            claims: BTreeMap::new(),
            // Whoever has nobody to hear from has nothing to wait for.
            settles: now.after(if has_seeds { pace.settle_max } else { pace.settle }),
            settles_at_last: now.after(pace.settle_max),
            is_settled: false,
            has_news: false,
            next_round: now,
            next_digest: now.after(pace.digest),
            asked: None,
            refused: 0,
        }
    }

    /// This node goes on in a later boot: what it says is told anew.
    pub(crate) fn reborn(&mut self, epoch: BootEpoch) {
        self.me.epoch = epoch;
        self.own.rise_to(epoch);
        self.summary.rise_to(epoch);
        self.has_news = true;
    }

    /// When [`Presence::work`] has something to do.
    pub(crate) fn next_wake(&self) -> Uptime {
        let mut wake = self.next_digest;
        if !self.is_settled {
            wake = wake.min(self.settles);
        }
        if self.has_news {
            wake = wake.min(self.next_round);
        }
        wake
    }

    /// Whether this node's claims no longer yield to all others.
    pub(crate) fn has_settled(&self) -> bool {
        self.is_settled
    }

    /// How many entries there are of other nodes, and how many shards were not kept for want of room.
    pub(crate) fn size(&self) -> (usize, u64) {
        (self.shards.values().map(|shard| shard.entries().len()).sum(), self.refused)
    }

    /// Does what time has come for: tells news, asks for what was missed.
    pub(crate) fn work(&mut self, now: Uptime, wall: WallTime, out: &mut dyn Outbox) {
        if !self.is_settled && self.settles <= now {
            self.is_settled = true;
            let standing: Vec<(Name, ActorPath)> =
                self.claims.iter().map(|(name, (_, path))| (name.clone(), path.clone())).collect();
            for (name, path) in standing {
                let moment = self.clock.take(wall);
                self.claims.insert(name, (moment, path));
            }
            self.write_own(self.own_members());
        }
        if self.next_digest <= now {
            self.next_digest = now.after(self.pace.digest);
            let next =
                self.peers.keys().find(|id| Some(**id) > self.asked).or_else(|| self.peers.keys().next()).copied();
            self.asked = next;
            if let Some(peer) = next {
                out.send(peer, self.digest_for(peer));
            }
        }
        if self.has_news && self.next_round <= now {
            self.next_round = now.after(self.pace.round);
            self.write_summary();
            self.has_news = !self.tell(out);
        }
    }

    /// A connection to a node stands, a new one perhaps: asks what was missed.
    pub(crate) fn connected(&mut self, now: Uptime, (id, role, region): (NodeId, Role, Region), out: &mut dyn Outbox) {
        // What it has to say comes soon.
        self.settles = now.after(self.pace.settle).min(self.settles_at_last);
        self.peers.insert(id, Peer { role, region, has_said: false, holds: BTreeMap::new(), parts: None });
        out.send(id, self.digest_for(id));
    }

    /// The connection to a node is gone.
    pub(crate) fn disconnected(&mut self, id: NodeId) {
        self.peers.remove(&id);
    }

    /// The members, all of them. Returns which of this node's actors lose their names.
    pub(crate) fn take_members(&mut self, members: Vec<Seen>) -> Vec<Lost> {
        let members: BTreeMap<NodeId, Seen> = members.into_iter().map(|seen| (seen.id, seen)).collect();
        if members == self.members {
            return Vec::new();
        }
        self.members = members;
        let (members, peers) = (&self.members, &self.peers);
        self.shards.retain(|id, shard| match members.get(&id.writer) {
            Some(seen) => {
                !matches!(seen.state, MemberState::Left | MemberState::Removed) && seen.epoch <= shard.stamp().epoch
            }
            None => id.about != About::Actors || peers.contains_key(&id.writer),
        });
        self.has_news = true; // who speaks for the region, and who listens, may be others
        self.all_losses()
    }

    /// What this node's actors say of themselves, all of it. Returns which of them lose their names.
    pub(crate) fn take_own(&mut self, entries: Entries, wall: WallTime) -> Vec<Lost> {
        let mut claims = BTreeMap::new();
        let mut fresh = Vec::new();
        for (name, path) in entries.names {
            let moment = match self.claims.get(&name) {
                Some((moment, before)) if *before == path => *moment,
                Some(_) | None => {
                    fresh.push(name.clone());
                    if self.is_settled { self.clock.take(wall) } else { Moment::NEVER }
                }
            };
            claims.insert(name, (moment, path));
        }
        self.claims = claims;
        let members = entries.members.into_iter();
        self.write_own(members.map(|(group, scope, path)| Entry::Member { group, scope, path }).collect());
        self.losses(&fresh)
    }

    /// A frame of a connected node. Returns which of this node's actors lose their names.
    ///
    /// # Errors
    /// No honest node sends this.
    pub(crate) fn take_frame(&mut self, from: NodeId, frame: Frame, wall: WallTime) -> Result<Vec<Lost>, Dishonest> {
        if !self.peers.contains_key(&from) {
            return Ok(Vec::new()); // its connection went meanwhile
        }
        match frame {
            Frame::Seek { .. } | Frame::Sights { .. } => Ok(Vec::new()), // the keeper's
            Frame::Digest(held) => {
                let me = self.me.id;
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.has_said = true;
                    peer.holds = held.into_iter().map(|(whose, stamp)| (whose.shard(me), stamp)).collect();
                }
                self.has_news = true;
                Ok(Vec::new())
            }
            Frame::Delta { whose, from: since, to, changes } => {
                let id = whose.shard(from);
                if !self.may_tell(from, id) {
                    return Ok(Vec::new());
                }
                let named = changes.iter().filter(|change| change.there).map(|change| change.entry.clone()).collect();
                // What went matters as much as what came: a member that turns to its region alone is both.
                let matters_elsewhere = changes.iter().any(|change| change.entry.matters_elsewhere());
                let mut shard = self.shards.remove(&id).unwrap_or_default();
                let heard = shard.apply(since, to, changes);
                self.heard((from, id), shard, heard, (named, matters_elsewhere), wall)
            }
            Frame::Whole { whose, stamp, part, entries, parts } => {
                let id = whose.shard(from);
                if !self.may_tell(from, id) {
                    return Ok(Vec::new());
                }
                let Some(peer) = self.peers.get_mut(&from) else { return Ok(Vec::new()) };
                let Some(entries) = peer.gather(id, stamp, part, parts, entries)? else { return Ok(Vec::new()) };
                let named = entries.clone();
                let mut shard = self.shards.remove(&id).unwrap_or_default();
                let heard = shard.replace(stamp, entries);
                self.heard((from, id), shard, heard, (named, true), wall)
            }
        }
    }

    /// Puts a shard back that something was heard of: which entries it named, and whether any that came or went matters to
    /// other regions.
    fn heard(
        &mut self,
        (from, id): (NodeId, ShardId),
        shard: Shard,
        heard: Heard,
        (named, matters_elsewhere): (BTreeSet<Entry>, bool),
        wall: WallTime,
    ) -> Result<Vec<Lost>, Dishonest> {
        if shard.stamp() > Stamp::default() {
            self.shards.insert(id, shard);
        }
        match heard {
            Heard::TooLarge => return Err(Dishonest),
            Heard::Known => return Ok(Vec::new()),
            Heard::Gap => {
                // What we hold is said with the next digest, which is now, and goes to this peer.
                self.asked = self.peers.range(..from).next_back().map(|(id, _)| *id);
                self.next_digest = Uptime::ZERO;
                return Ok(Vec::new());
            }
            Heard::News => {}
        }
        if self.all_bytes() > ALL_BYTES_MAX {
            self.shards.remove(&id);
            self.refused += 1;
            return Ok(self.all_losses());
        }
        // Those who do not listen hear of other regions from us, and other regions of ours.
        let is_relayed = id.writer != from || (self.in_pools && self.me.role == Role::Hub);
        self.has_news |= is_relayed || id.about != About::Actors || matters_elsewhere;
        // Of the summaries of a region one is looked at: where it went, another one shows, and all that is in that.
        let mut shows_another =
            id.about != About::Actors && self.shards.get(&id).is_none_or(|shard| shard.entries().is_empty());
        if id.about != About::Actors && !self.members.contains_key(&id.writer) {
            // Its speaker is not known here, nor whether it still is one: of those the latest that was heard holds.
            let (members, before) = (&self.members, self.shards.len());
            self.shards
                .retain(|other, _| *other == id || other.about != id.about || members.contains_key(&other.writer));
            shows_another |= self.shards.len() < before;
        }
        for (_, moment) in named.iter().filter_map(Entry::claim) {
            self.clock.see(moment, wall);
        }
        if shows_another {
            return Ok(self.all_losses());
        }
        let names: Vec<Name> = named.iter().filter_map(|entry| Some(entry.claim()?.0.clone())).collect();
        Ok(self.losses(&names))
    }

    /// Which of this node's claims are not the latest.
    fn all_losses(&self) -> Vec<Lost> {
        self.losses(&self.claims.keys().cloned().collect::<Vec<_>>())
    }

    /// Which of this node's claims to these names are not the latest.
    fn losses(&self, names: &[Name]) -> Vec<Lost> {
        let lost = |name: &Name| {
            let (moment, path) = self.claims.get(name)?;
            let other = self.held_elsewhere(name)?;
            let loses = (other.claimed, other.place.node) > (*moment, self.me.id);
            let winner = format!("{}:{}", other.place.node_name, other.place.path);
            loses.then(|| Lost { name: name.clone(), path: path.clone(), winner })
        };
        names.iter().filter_map(lost).collect()
    }

    fn own_members(&self) -> BTreeSet<Entry> {
        self.own.entries().iter().filter(|entry| matches!(entry, Entry::Member { .. })).cloned().collect()
    }

    fn write_own(&mut self, mut entries: BTreeSet<Entry>) {
        let claims = self.claims.iter();
        entries.extend(claims.map(|(name, (claimed, path))| Entry::Claim {
            name: name.clone(),
            claimed: *claimed,
            path: path.clone(),
        }));
        self.has_news |= self.own.become_these(entries);
    }

    /// Tells every peer that is behind. False where something did not fit.
    fn tell(&mut self, out: &mut dyn Outbox) -> bool {
        let mut all = true;
        let peers: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| peer.has_said).map(|(id, _)| *id).collect();
        for to in peers {
            for id in self.told_to(to) {
                let Some(shard) = self.shard(id) else { continue };
                let Some(peer) = self.peers.get(&to) else { continue };
                let (whose, stamp) = (Whose::of(id, self.me.id), shard.stamp());
                let frames = frame::update(whose, shard, peer.holds.get(&id).copied());
                if frames.is_empty() {
                    continue;
                }
                // Of a whole whose first parts went out alone the next round sends all again.
                if frames.into_iter().all(|frame| out.send(to, frame)) {
                    if let Some(peer) = self.peers.get_mut(&to) {
                        peer.holds.insert(id, stamp);
                    }
                } else {
                    all = false;
                    break;
                }
            }
        }
        all
    }

    fn shard(&self, id: ShardId) -> Option<&Shard> {
        match id.about {
            _ if id.writer != self.me.id => self.shards.get(&id),
            About::Actors => Some(&self.own),
            About::Region(_) => Some(&self.summary),
        }
    }

    /// What we tell this peer.
    fn told_to(&self, to: NodeId) -> Vec<ShardId> {
        let Some(peer) = self.peers.get(&to) else { return Vec::new() };
        let me = self.me.id;
        if peer.region == self.me.region {
            let mut told = vec![ShardId { writer: me, about: About::Actors }];
            if self.listens(me, self.me.role, self.me.region) && !self.listens(to, peer.role, peer.region) {
                told.extend(self.shards.keys().filter(|id| id.about != About::Actors));
            }
            if self.in_pools && self.me.role == Role::Hub {
                let others = self.shards.keys().filter(|id| id.about == About::Actors && id.writer != to);
                // A leaf hears of all from its hubs, and all of a leaf.
                let is_ours = |id: &&ShardId| self.is_leaf(id.writer) && self.peers.contains_key(&id.writer);
                let to_leaf = self.is_leaf(to);
                told.extend(others.filter(|id| to_leaf || is_ours(id)));
            }
            told
        } else if self.summary.stamp().version > 0 && self.listens(to, peer.role, peer.region) {
            vec![ShardId { writer: me, about: About::Region(self.me.region) }]
        } else {
            Vec::new()
        }
    }

    /// Whether it is this peer's to tell of that shard.
    fn may_tell(&self, from: NodeId, id: ShardId) -> bool {
        let Some(peer) = self.peers.get(&from) else { return false };
        match id.about {
            About::Actors if id.writer == from => peer.region == self.me.region,
            // A hub may tell on what a leaf says, or what others say to a leaf. Who is connected speaks for itself.
            About::Actors => {
                self.in_pools
                    && (peer.role, peer.region) == (Role::Hub, self.me.region)
                    && id.writer != self.me.id
                    && !self.peers.contains_key(&id.writer)
                    && (self.me.is_leaf() || self.is_leaf(id.writer))
                    && self.members.get(&id.writer).is_some_and(|seen| seen.region == self.me.region)
            }
            About::Region(region) if region == self.me.region || id.writer == self.me.id => false,
            About::Region(region) if id.writer == from => peer.region == region,
            // Who listens hears it from the speaker.
            About::Region(_) => {
                peer.region == self.me.region
                    && self.listens(from, peer.role, peer.region)
                    && !self.listens(self.me.id, self.me.role, self.me.region)
            }
        }
    }

    /// Whether a node hears the summaries of other regions and tells them on: the hubs of its region do, or all where it has
    /// none.
    fn listens(&self, id: NodeId, role: Role, region: Region) -> bool {
        let is_hub =
            |seen: &Seen| seen.region == region && seen.role == Role::Hub && seen.state == MemberState::Reachable;
        role == Role::Hub || !self.members.values().any(|seen| seen.id != id && is_hub(seen))
    }

    fn is_leaf(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(Seen::is_leaf)
    }

    fn digest_for(&self, to: NodeId) -> Bytes {
        let held = self.shards.iter().filter(|(id, _)| self.may_tell(to, **id));
        let held = held.map(|(id, shard)| (Whose::of(*id, to), shard.stamp()));
        Frame::Digest(held.collect()).bytes()
    }

    fn all_bytes(&self) -> usize {
        self.shards.values().map(Shard::bytes).sum()
    }

    /// The claim of this node's own actor to a name.
    pub(super) fn own_claim(&self, name: &Name) -> Option<&(Moment, ActorPath)> {
        self.claims.get(name)
    }

    /// Marks that there may be something to tell.
    pub(super) fn note_news(&mut self) {
        self.has_news = true;
    }
}

impl Peer {
    /// Adds a part of a shard, and returns the whole with its last one.
    fn gather(
        &mut self,
        id: ShardId,
        stamp: Stamp,
        part: u16,
        parts: u16,
        entries: Vec<Entry>,
    ) -> Result<Option<BTreeSet<Entry>>, Dishonest> {
        if part == 0 {
            self.parts = Some(Parts { id, stamp, next: 0, entries: BTreeSet::new(), bytes: 0 });
        }
        let begun = self.parts.as_mut().filter(|parts| (parts.id, parts.stamp, parts.next) == (id, stamp, part));
        let Some(gathered) = begun else { return Err(Dishonest) };
        gathered.next += 1;
        for entry in entries {
            gathered.bytes += entry.bytes();
            gathered.entries.insert(entry);
        }
        if gathered.bytes > SHARD_BYTES_MAX || gathered.entries.len() > SHARD_ENTRIES_MAX {
            return Err(Dishonest);
        }
        if gathered.next < parts {
            return Ok(None);
        }
        Ok(self.parts.take().map(|parts| parts.entries))
    }
}
