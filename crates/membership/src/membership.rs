//! The machine itself: events in, effects out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use covenant_types::{BootEpoch, NodeId, Uptime};
use foca::{Codec, Foca, Header, Member, Message, NoCustomBroadcast, OwnedNotification, State};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::codec::FixedCodec;
use crate::dice::Dice;
use crate::event::{Effect, Event, Stats};
use crate::feed::Feed;
use crate::gate::{Gate, Hearing, Sifted};
use crate::view::{Change, Health, Views};
use crate::wheel::{Timer, Wheel};
use crate::{Identity, Profile};

/// Who is in the cluster, as this node sees it.
pub struct Membership {
    profile: Profile,
    swim: Foca<Identity, FixedCodec, Dice, NoCustomBroadcast>,
    /// For what foca does not read or write itself.
    codec: FixedCodec,
    gate: Gate,
    views: Views,
    wheel: Wheel,
    /// The nodes we have a connection to, and how our wooing of those goes that are no members.
    peers: BTreeMap<NodeId, Courtship>,
    rng: StdRng,
    stage: Stage,
    stats: Stats,
}

/// Attempts to make a member of a peer we are connected to.
#[derive(Clone, Copy, Debug)]
struct Courtship {
    next: Uptime,
    wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    In,
    Left,
}

impl Membership {
    /// This node, alone.
    pub fn new(node: NodeId, epoch: BootEpoch, profile: Profile, mut rng: StdRng, now: Uptime) -> Self {
        let leaving = Arc::new(AtomicBool::new(false));
        let codec = || FixedCodec { me: node, leaving: Arc::clone(&leaving) };
        let dice = Dice(StdRng::from_rng(&mut rng));
        let swim = Foca::new(Identity::new(node, epoch), profile.foca(), dice, codec());
        let mut wheel = Wheel::default();
        wheel.set(now.after(profile.sweep), Timer::Sweep);
        // Nodes started together would otherwise exchange together for ever.
        wheel.set(now.after(profile.push_pull.mul_f64(rng.random_range(0.5..1.0))), Timer::PushPull);
        Self {
            codec: codec(),
            profile,
            swim,
            gate: Gate::default(),
            views: Views::default(),
            wheel,
            peers: BTreeMap::new(),
            rng,
            stage: Stage::In,
            stats: Stats::default(),
        }
    }

    /// Advances membership by one event.
    pub fn handle(&mut self, now: Uptime, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match (self.stage, event) {
            (Stage::Left, _) => return effects,
            (Stage::In, Event::PeerUp { node, epoch }) => self.peer_up(now, node, epoch, &mut effects),
            (Stage::In, Event::PeerDown(node)) => {
                self.peers.remove(&node);
                self.gate.forget_budget(&node);
            }
            (Stage::In, Event::EpochKnown { node, epoch }) => {
                if node != self.me().node && !self.gate.epoch_known(node, epoch) {
                    self.stats.held += 1;
                }
            }
            (Stage::In, Event::Datagram { from, data }) => self.datagram(now, from, &data, &mut effects),
            (Stage::In, Event::Feed { from, data }) => self.feed(now, from, &data, &mut effects),
            (Stage::In, Event::Woken) => self.woken(now, &mut effects),
            (Stage::In, Event::Leave) => self.leave(now, &mut effects),
        }
        effects
    }

    /// When [`Event::Woken`] is wanted next.
    pub fn next_wake(&self) -> Option<Uptime> {
        match self.stage {
            Stage::In => self.wheel.first(),
            Stage::Left => None,
        }
    }

    /// This node, as the others know it.
    pub fn me(&self) -> Identity {
        *self.swim.identity()
    }

    /// What was refused so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// All other nodes ever seen, in the order of their ids.
    pub fn members(&self) -> impl Iterator<Item = Change> {
        self.views.iter().map(|seen| Change {
            node: seen.identity.node,
            epoch: seen.identity.epoch,
            health: seen.health,
        })
    }

    fn peer_up(&mut self, now: Uptime, node: NodeId, epoch: BootEpoch, effects: &mut Vec<Effect>) {
        if node == self.me().node || !self.gate.epoch_known(node, epoch) {
            self.stats.held += 1;
            return;
        }
        let wait = self.profile.retry_min;
        self.peers.insert(node, Courtship { next: now.after(wait), wait });
        // Who holds a connection to us is alive; a new boot replaces the old one here and now.
        let alive = Member::alive(Identity::new(node, epoch));
        self.swim(now, effects, |swim, host| swim.apply_many(std::iter::once(alive), true, host));
        self.send_feed(node, true, effects);
    }

    fn datagram(&mut self, now: Uptime, from: NodeId, data: &Bytes, effects: &mut Vec<Effect>) {
        let hearing = Hearing { now, me: self.me(), views: &self.views };
        let known = self.peers.contains_key(&from);
        let sifted = self.gate.sift_datagram(hearing, &mut self.codec, from, data);
        let (true, Some(Sifted { kept, held })) = (known, sifted) else {
            self.stats.refused += 1;
            return;
        };
        self.stats.held += held;
        self.swim(now, effects, |swim, host| swim.handle_data(&kept, host));
    }

    fn feed(&mut self, now: Uptime, from: NodeId, data: &Bytes, effects: &mut Vec<Effect>) {
        let feed = Feed::decode(&mut self.codec, data).ok();
        let genuine = |feed: &Feed| feed.sender.node == from && self.peers.contains_key(&from);
        let Some(feed) = feed.filter(genuine).filter(|feed| self.gate.own_word(feed.sender)) else {
            self.stats.refused += 1;
            return;
        };
        let hearing = Hearing { now, me: self.me(), views: &self.views };
        let Sifted { kept, held } = self.gate.sift_members(hearing, feed.sender, feed.members);
        self.stats.held += held;
        // A whole cluster's worth of news is known to most already: rumours would only repeat it.
        let news = kept.iter().filter(|member| self.is_news(member)).count();
        let updates = std::iter::once(Member::alive(feed.sender)).chain(kept);
        let before = self.me();
        self.swim(now, effects, |swim, host| swim.apply_many(updates, news <= NEWS_MAX, host));
        if feed.answer || self.me() != before {
            self.send_feed(from, false, effects);
        }
    }

    fn is_news(&self, member: &Member<Identity>) -> bool {
        self.views
            .get(&member.id().node)
            .is_none_or(|seen| *member.id() > seen.identity || crate::view::health(member) > seen.health)
    }

    fn woken(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let stalled = self.wheel.first().is_some_and(|first| now.since(first) > self.profile.stall());
        if stalled {
            // This node stood still, so its silence about others proves nothing.
            self.wheel.renew_suspicions(now, self.profile.suspicion);
            self.views.renew_suspicions(now);
        }
        while let Some((due, timer)) = self.wheel.pop_due(now) {
            match timer {
                Timer::Swim(timer) if self.is_stale(&timer) => self.stats.stale_suspicions += 1,
                Timer::Swim(timer) => self.swim(now, effects, |swim, host| swim.handle_timer(timer, host)),
                Timer::Sweep => {
                    self.wheel.set(next_round(now, due, self.profile.sweep), Timer::Sweep);
                    self.sweep(now, effects);
                }
                Timer::PushPull => {
                    self.wheel.set(next_round(now, due, self.profile.push_pull), Timer::PushPull);
                    self.push_pull(effects);
                }
            }
        }
    }

    /// Whether a suspicion expires whose subject has refuted. foca would still tell it that it is dead.
    fn is_stale(&self, timer: &foca::Timer<Identity>) -> bool {
        let foca::Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else { return false };
        let suspect = Member::new(*member_id, *incarnation, State::Suspect);
        !self.swim.iter_membership_state().any(|member| *member == suspect)
    }

    fn sweep(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        self.observe(now, effects);
        let straggler = self.profile.straggler();
        let expired: Vec<_> = self
            .views
            .iter()
            .filter(|seen| seen.health == Health::Suspect && now.since(seen.since) > straggler)
            .map(|seen| Member::new(seen.identity, seen.incarnation, State::Down))
            .collect();
        if !expired.is_empty() {
            self.stats.stragglers += expired.len() as u64;
            self.swim(now, effects, |swim, host| swim.apply_many(expired.into_iter(), true, host));
        }
        self.court(now, effects);
    }

    /// Exchanges everything with connected peers that are no members in our view, again and again but ever more slowly:
    /// the datagrams of a first contact may be lost, and a node wrongly held down must hear of it to come back.
    fn court(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let mut due = Vec::new();
        for (node, courtship) in &mut self.peers {
            if self.views.is_active(node) {
                *courtship = Courtship { next: now.after(self.profile.retry_min), wait: self.profile.retry_min };
            } else if courtship.next <= now {
                let wait = (courtship.wait * 2).min(self.profile.push_pull);
                let jitter = self.rng.random_range(0.5..1.0);
                *courtship = Courtship { next: now.after(wait.mul_f64(jitter)), wait };
                due.push(*node);
            }
        }
        for node in due {
            self.send_feed(node, true, effects);
        }
    }

    fn push_pull(&mut self, effects: &mut Vec<Effect>) {
        let members: Vec<_> = self.peers.keys().filter(|node| self.views.is_active(node)).copied().collect();
        if !members.is_empty() {
            let chosen = members[self.rng.random_range(0..members.len())];
            self.send_feed(chosen, true, effects);
        }
    }

    fn leave(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        self.codec.leaving.store(true, Ordering::Relaxed);
        self.swim(now, effects, |swim, host| swim.leave_cluster(host));
        // That told three. Tell all: a node that missed the word would have to find out by probing.
        let connected = |identity: &Identity| self.peers.contains_key(&identity.node);
        let all: Vec<_> = self.views.iter().map(|seen| seen.identity).filter(connected).collect();
        for dst in all {
            effects.push(Effect::SendDatagram { to: dst.node, data: self.goodbye(dst) });
        }
        self.stage = Stage::Left;
    }

    fn goodbye(&mut self, dst: Identity) -> Bytes {
        let src = self.me();
        let header = Header { src, src_incarnation: 0, dst, message: Message::Gossip };
        let mut buf = BytesMut::new();
        self.codec.encode_header(&header, &mut buf).expect("a growing buffer has room");
        buf.put_u16(1);
        self.codec.encode_member(&Member::down(src), &mut buf).expect("a growing buffer has room");
        buf.freeze()
    }

    fn send_feed(&mut self, to: NodeId, answer: bool, effects: &mut Vec<Effect>) {
        let sender = self.me();
        let others = self.swim.iter_membership_state().filter(|member| member.id().node != sender.node);
        let feed = Feed { sender, answer, members: others.cloned().collect() };
        effects.push(Effect::SendFeed { to, data: feed.encode(&mut self.codec) });
    }

    /// Runs one step of foca and takes in what it did.
    fn swim(&mut self, now: Uptime, effects: &mut Vec<Effect>, step: impl FnOnce(&mut Swim, &mut Host<'_>) -> Step) {
        let mut host = Host { now, effects, wheel: &mut self.wheel, told: false };
        let result = step(&mut self.swim, &mut host);
        let told = host.told;
        match result {
            Ok(()) => {}
            Err(
                foca::Error::Decode(_)
                | foca::Error::MalformedPacket
                | foca::Error::DataTooBig
                | foca::Error::DataFromOurselves
                | foca::Error::IndirectForOurselves,
            ) => self.stats.refused += 1,
            Err(_) => self.stats.faults += 1,
        }
        if told {
            self.observe(now, effects);
        }
    }

    fn observe(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let me = self.me().node;
        for member in self.swim.iter_membership_state().filter(|member| member.id().node != me) {
            effects.extend(self.views.observe(now, member).map(Effect::Changed));
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("me", &self.me()).field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

type Swim = Foca<Identity, FixedCodec, Dice, NoCustomBroadcast>;
type Step = Result<(), foca::Error>;

/// What foca acts upon: our effects and our wheel.
struct Host<'a> {
    now: Uptime,
    effects: &'a mut Vec<Effect>,
    wheel: &'a mut Wheel,
    told: bool,
}

impl foca::Runtime<Identity> for Host<'_> {
    fn notify(&mut self, notification: foca::Notification<'_, Identity>) {
        self.told = true;
        if let OwnedNotification::Rejoin(identity) = notification.to_owned() {
            self.effects.push(Effect::Renewed { bump: identity.bump });
        }
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.effects.push(Effect::SendDatagram { to: to.node, data: Bytes::copy_from_slice(data) });
    }

    fn submit_after(&mut self, event: foca::Timer<Identity>, after: Duration) {
        self.wheel.set(self.now.after(after), Timer::Swim(event));
    }
}

/// The next round of something periodic: on its beat, or from now if the beat was missed.
fn next_round(now: Uptime, due: Uptime, period: Duration) -> Uptime {
    due.after(period).max(now)
}

/// More new facts than this in one feed are not passed on as rumours.
const NEWS_MAX: usize = 64;
