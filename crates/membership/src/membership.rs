//! The machine itself: events in, effects out.

mod suspects;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use covenant_types::{BootEpoch, LinkTier, NodeId, Uptime};
use foca::{Codec, Foca, Header, Member, Message, NoCustomBroadcast, Notification, State};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::codec::{FixedCodec, OwnWord};
use crate::dice::Dice;
use crate::digest::{bucket_of, buckets_for};
use crate::event::{Effect, Event, Stats};
use crate::feed::{Body, Buckets, Feed};
use crate::gate::{Gate, Hearing, Sifted};
use crate::pace::Pace;
use crate::view::{Change, Health, Views};
use crate::wheel::{Timer, Wheel};
use crate::{Identity, Profile};

/// Who is in the cluster, as this node sees it.
pub struct Membership {
    profile: Profile,
    swim: Swim,
    /// For what foca does not read or write itself.
    codec: FixedCodec,
    gate: Gate,
    views: Views,
    pace: Pace,
    wheel: Wheel,
    /// The nodes we have a connection to.
    peers: BTreeSet<NodeId>,
    /// Those of them that are no members in our view, and how our wooing of them goes.
    courted: BTreeMap<NodeId, Courtship>,
    rng: StdRng,
    stage: Stage,
    stats: Stats,
    probe: Option<Probe>,
    began: Uptime,
    /// How often rumours are passed on at present.
    transmissions: u8,
}

/// Attempts to make a member of a peer we are connected to.
#[derive(Clone, Copy, Debug)]
struct Courtship {
    next: Uptime,
    wait: Duration,
}

/// The probe under way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    target: Identity,
    number: u8,
    answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    In,
    Left,
}

impl Membership {
    /// This node, alone, on a line of this tier.
    pub fn new(node: NodeId, epoch: BootEpoch, tier: LinkTier, profile: Profile, mut rng: StdRng, now: Uptime) -> Self {
        let codec = FixedCodec { me: node, own: Arc::default() };
        let swim = new_swim(Identity::new(node, epoch), &profile, &codec.own, &mut rng);
        let mut membership = Self {
            profile,
            swim,
            codec,
            gate: Gate::default(),
            views: Views::default(),
            pace: Pace::new(tier),
            wheel: Wheel::default(),
            peers: BTreeSet::new(),
            courted: BTreeMap::new(),
            rng,
            stage: Stage::In,
            stats: Stats::default(),
            probe: None,
            began: now,
            transmissions: 0,
        };
        membership.set_rounds(now);
        membership
    }

    fn set_rounds(&mut self, now: Uptime) {
        self.wheel.set(now.after(self.profile.sweep), Timer::Sweep);
        // Nodes started together would otherwise exchange together for ever.
        let first = self.profile.push_pull.mul_f64(self.rng.random_range(0.5..1.0));
        self.wheel.set(now.after(first), Timer::PushPull);
    }

    /// Advances membership by one event.
    pub fn handle(&mut self, now: Uptime, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match (self.stage, event) {
            (Stage::Left, Event::Return) => self.come_back(now, &mut effects),
            (stage, Event::Reborn(epoch)) => {
                self.begin_anew(now, Identity::new(self.me().node, epoch));
                self.stage = stage;
            }
            // Connections come and go and records arrive also while this node rests.
            (_, Event::PeerDown(node)) => {
                self.peers.remove(&node);
                self.courted.remove(&node);
                self.gate.forget_budget(&node);
            }
            (_, Event::EpochKnown { node, epoch }) => {
                if node != self.me().node && !self.gate.epoch_known(node, epoch) {
                    self.stats.held += 1;
                }
            }
            (_, Event::Forgotten(node)) => {
                if !self.views.is_active(&node) && !self.peers.contains(&node) {
                    self.gate.forget(&node);
                    self.views.forget(&node);
                }
            }
            (_, Event::Line { node, tier, rtt, deviation }) => {
                // Bounded, because the gate bounds whom it knows.
                if self.gate.knows(&node) {
                    self.pace.line(node, tier, rtt, deviation);
                }
            }
            (Stage::Left, Event::PeerUp { node, epoch }) => {
                if node != self.me().node && self.gate.epoch_known(node, epoch) {
                    self.peers.insert(node);
                }
            }
            (Stage::In, Event::Return)
            | (Stage::Left, Event::Datagram { .. } | Event::Feed { .. } | Event::Woken | Event::Leave) => {}
            (Stage::In, Event::PeerUp { node, epoch }) => self.peer_up(now, node, epoch, &mut effects),
            (Stage::In, Event::Datagram { from, data }) => self.datagram(now, from, &data, &mut effects),
            (Stage::In, Event::Feed { from, data }) => self.feed(now, from, &data, &mut effects),
            (Stage::In, Event::Woken) => self.woken(now, &mut effects),
            (Stage::In, Event::Leave) => self.leave(now, &mut effects),
        }
        effects.extend(self.take_misconduct());
        effects
    }

    /// A peer sent what is no word of this pool.
    pub(crate) fn forged(&mut self, now: Uptime, from: NodeId) -> Vec<Effect> {
        self.gate.forged(now, from);
        self.take_misconduct()
    }

    fn take_misconduct(&mut self) -> Vec<Effect> {
        let misconduct = self.gate.take_misconduct();
        misconduct.into_iter().map(|(node, why)| Effect::Quarantined { node, why }).collect()
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

    /// How little this node trusts its own ears: 0 when all is well, at most 8 (Lifeguard's local health).
    pub fn local_health(&self) -> u8 {
        self.pace.health.score()
    }

    /// What is held of one other node.
    pub fn member(&self, node: &NodeId) -> Option<Change> {
        self.views.get(node).map(|seen| Change { node: *node, epoch: seen.identity.epoch, health: seen.health })
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
        self.peers.insert(node);
        // Who holds a connection to us is alive; a new boot replaces the old one here and now.
        // That is news for the others, unless it is this node that is new here.
        let pass_on = now.since(self.began) > self.profile.retry_min * 4;
        self.learn(now, vec![Member::alive(Identity::new(node, epoch))], pass_on, effects);
        self.court_or_not(now, node);
        self.send_digest(node, effects);
    }

    /// Whether a node is to be courted changes with its connection and with what we hold of it.
    fn court_or_not(&mut self, now: Uptime, node: NodeId) {
        if self.peers.contains(&node) && !self.views.is_active(&node) {
            let wait = self.profile.retry_min;
            self.courted.entry(node).or_insert(Courtship { next: now.after(wait), wait });
        } else {
            self.courted.remove(&node);
        }
    }

    fn hearing(&self, now: Uptime) -> Hearing<'_> {
        Hearing { now, me: self.me(), views: &self.views, profile: &self.profile, pace: &self.pace }
    }

    fn datagram(&mut self, now: Uptime, from: NodeId, data: &Bytes, effects: &mut Vec<Effect>) {
        let known = self.peers.contains(&from);
        let mut gate = std::mem::take(&mut self.gate);
        let mut codec = self.codec.clone();
        let sifted = gate.sift_datagram(self.hearing(now), &mut codec, from, data);
        self.gate = gate;
        let (true, Some(Sifted { kept, held, doubted })) = (known, sifted) else {
            self.stats.refused += 1;
            return;
        };
        self.stats.held += held;
        self.stats.doubted += doubted;
        let touched = self.subjects(&kept);
        self.swim(now, effects, touched, |swim, host| swim.handle_data(&kept, host));
    }

    /// Of whom a sifted datagram says anything that is news to us. Notes the answer to a probe.
    fn subjects(&mut self, datagram: &Bytes) -> Vec<NodeId> {
        let mut rest = &datagram[..];
        let Ok(header) = self.codec.decode_header(&mut rest) else { return Vec::new() };
        if let (Message::Ack(number), Some(probe)) = (&header.message, self.probe.as_mut()) {
            probe.answered |= (probe.target, probe.number) == (header.src, *number);
        }
        let sender = Member::new(header.src, header.src_incarnation, State::Alive);
        let members = rest.get(2..).unwrap_or_default().chunks_exact(crate::codec::MEMBER_BYTES);
        let members = members.filter_map(|raw| self.codec.decode_member(raw).ok());
        std::iter::once(sender)
            .chain(members)
            .filter(|member| self.views.differs(member))
            .map(|member| member.id().node)
            .collect()
    }

    fn feed(&mut self, now: Uptime, from: NodeId, data: &Bytes, effects: &mut Vec<Effect>) {
        let feed = Feed::decode(&mut self.codec, data).ok();
        let genuine = |feed: &Feed| feed.sender.node == from && self.peers.contains(&from);
        let Some(feed) = feed.filter(genuine).filter(|feed| self.gate.own_word(now, feed.sender)) else {
            self.gate.forged(now, from);
            self.stats.refused += 1;
            return;
        };
        // Before the sender's own word is taken in: if we held it for less than alive it must hear so.
        let was_well = self.views.get(&from).is_some_and(|seen| {
            seen.health == Health::Alive && seen.identity == feed.sender && seen.incarnation == feed.incarnation
        });
        self.learn(now, vec![Member::new(feed.sender, feed.incarnation, State::Alive)], true, effects);
        let mistaken =
            feed.about_you.as_ref().is_none_or(|member| *member.id() != self.me() || member.state() != State::Alive);
        if let Some(member) = feed.about_you {
            self.hear_of_us(now, from, member, effects);
        }
        match feed.body {
            Body::Ping(number) => self.send_feed(from, Body::Pong(number), effects),
            Body::Pong(number) => self.answered_by_stream(now, feed.sender, feed.incarnation, number, effects),
            Body::Digest(theirs) => {
                let ours = self.views.digest_without(&from, theirs.len());
                let differing = Buckets::differing(&ours, &theirs);
                if !differing.is_empty() || mistaken || !was_well {
                    self.send_members(from, differing, true, effects);
                }
            }
            Body::Members { buckets, answer, members } => {
                self.take_in(now, feed.sender, members, effects);
                if answer && !buckets.is_empty() {
                    self.send_members(from, buckets, false, effects);
                } else if mistaken {
                    self.send_members(from, Buckets::none(), false, effects);
                }
            }
        }
    }

    /// Lets foca have the answer as if it had come by datagram.
    fn answered_by_stream(
        &mut self,
        now: Uptime,
        sender: Identity,
        incarnation: foca::Incarnation,
        number: u8,
        effects: &mut Vec<Effect>,
    ) {
        let Some(probe) = self.probe.as_mut().filter(|probe| (probe.target, probe.number) == (sender, number)) else {
            return;
        };
        probe.answered = true;
        let header =
            Header { src: sender, src_incarnation: incarnation, dst: self.me(), message: Message::Ack(number) };
        let mut ack = BytesMut::new();
        // Not by our own codec: that notes our incarnation from what it writes.
        let mut codec = FixedCodec { me: self.me().node, own: Arc::default() };
        codec.encode_header(&header, &mut ack).expect("a growing buffer has room");
        self.swim(now, effects, Vec::new(), |swim, host| swim.handle_data(&ack, host));
    }

    /// Takes in what a peer holds of us. One that holds us for less than alive hears our answer.
    fn hear_of_us(&mut self, now: Uptime, from: NodeId, member: Member<Identity>, effects: &mut Vec<Effect>) {
        let mut gate = std::mem::take(&mut self.gate);
        let heard = gate.sift_about_us(self.hearing(now), from, &member);
        self.gate = gate;
        if heard {
            self.swim(now, effects, Vec::new(), |swim, host| swim.apply_many(std::iter::once(member), true, host));
        }
    }

    fn take_in(&mut self, now: Uptime, sender: Identity, members: Vec<Member<Identity>>, effects: &mut Vec<Effect>) {
        let mut gate = std::mem::take(&mut self.gate);
        let Sifted { kept, held, doubted } = gate.sift_members(self.hearing(now), sender, members);
        self.gate = gate;
        self.stats.held += held;
        self.stats.doubted += doubted;
        let news: Vec<_> = kept.into_iter().filter(|member| self.views.differs(member)).collect();
        // A whole cluster's worth of news is known to most already: rumours would only repeat it.
        let pass_on = news.len() <= NEWS_MAX;
        self.learn(now, news, pass_on, effects);
    }

    fn learn(&mut self, now: Uptime, news: Vec<Member<Identity>>, pass_on: bool, effects: &mut Vec<Effect>) {
        let touched = news.iter().filter(|member| self.views.differs(member)).map(|member| member.id().node).collect();
        self.swim(now, effects, touched, |swim, host| swim.apply_many(news.into_iter(), pass_on, host));
    }

    fn woken(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let late = self.wheel.first().map_or(Duration::ZERO, |first| now.since(first));
        if late > LATE {
            self.pace.health.trouble();
        }
        if late > self.profile.stall() {
            // This node stood still, so its silence about others proves nothing.
            self.wheel.renew_suspicions(now, |node| self.pace.suspicion(&self.profile, node));
            self.views.renew_suspicions(now);
        }
        while let Some((due, timer)) = self.wheel.pop_due(now) {
            match timer {
                Timer::Swim(timer) => self.swim_timer(now, timer, effects),
                Timer::Sweep => {
                    self.wheel.set(next_round(now, due, self.profile.sweep), Timer::Sweep);
                    self.sweep(now, effects);
                    self.court(now, effects);
                }
                Timer::PushPull => {
                    self.wheel.set(next_round(now, due, self.profile.push_pull), Timer::PushPull);
                    self.push_pull(effects);
                }
            }
        }
    }

    fn swim_timer(&mut self, now: Uptime, timer: foca::Timer<Identity>, effects: &mut Vec<Effect>) {
        let (mut touched, mut probed) = (Vec::new(), false);
        let failures = self.stats.probes_failed;
        match &timer {
            // foca would still tell a suspect that has refuted that it is dead.
            foca::Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                let suspect = Member::new(*member_id, *incarnation, State::Suspect);
                if self.views.differs(&suspect) {
                    self.stats.stale_suspicions += 1;
                    return;
                }
                touched.push(member_id.node);
            }
            foca::Timer::ProbeRandomMember(_) => probed = self.probe.take().is_some(),
            foca::Timer::SendIndirectProbe { probed_id, .. } => self.probe_by_stream(probed_id, effects),
            foca::Timer::PeriodicAnnounce(_)
            | foca::Timer::PeriodicAnnounceDown(_)
            | foca::Timer::PeriodicGossip(_)
            | foca::Timer::RemoveDown(_) => {}
        }
        self.swim(now, effects, touched, |swim, host| swim.handle_timer(timer, host));
        // Only now: a failure must not lengthen the suspicion that it raised itself.
        match (probed, self.stats.probes_failed > failures) {
            (true, true) => self.pace.health.trouble(),
            (true, false) => self.pace.health.answered(),
            (false, _) => {}
        }
    }

    /// Asks over the stream as well who did not answer a datagram, while others are asked to ask it.
    fn probe_by_stream(&mut self, target: &Identity, effects: &mut Vec<Effect>) {
        if let Some(probe) = self.probe.filter(|probe| probe.target == *target && !probe.answered)
            && self.peers.contains(&target.node)
        {
            self.send_feed(target.node, Body::Ping(probe.number), effects);
        }
    }

    /// Exchanges everything with connected peers that are no members in our view, again and again but ever more slowly:
    /// the datagrams of a first contact may be lost, and a node wrongly held down must hear of it to come back.
    fn court(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let mut due = Vec::new();
        for (node, courtship) in self.courted.iter_mut().filter(|(_, courtship)| courtship.next <= now) {
            let wait = (courtship.wait * 2).min(self.profile.push_pull);
            let jitter = self.rng.random_range(0.5..1.0);
            *courtship = Courtship { next: now.after(wait.mul_f64(jitter)), wait };
            due.push(*node);
        }
        for node in due {
            self.send_digest(node, effects);
        }
    }

    fn push_pull(&mut self, effects: &mut Vec<Effect>) {
        let members: Vec<_> = self.peers.iter().filter(|node| !self.courted.contains_key(node)).copied().collect();
        if !members.is_empty() {
            let chosen = members[self.rng.random_range(0..members.len())];
            self.send_digest(chosen, effects);
        }
    }

    fn leave(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        self.codec.own.leaving.store(true, Ordering::Relaxed);
        self.swim(now, effects, Vec::new(), |swim, host| swim.leave_cluster(host));
        // That told three. Tell all: a node that missed the word would have to find out by probing.
        let connected = |identity: &Identity| self.peers.contains(&identity.node);
        let all: Vec<_> = self.views.iter().map(|seen| seen.identity).filter(connected).collect();
        for dst in all {
            let data = self.gossip(dst, &Member::down(self.me()));
            effects.push(Effect::SendDatagram { to: dst.node, data });
        }
        self.stage = Stage::Left;
    }

    /// Begins anew after sleep.
    fn come_back(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let me = self.me();
        // The others hold this life for one that has left, so it goes on as the next.
        let again = Identity { bump: me.bump.saturating_add(1), ..me };
        self.begin_anew(now, again);
        effects.push(Effect::Renewed { bump: again.bump });
        let peers: Vec<NodeId> = self.peers.iter().copied().collect();
        for node in peers {
            self.court_or_not(now, node);
            self.send_digest(node, effects);
        }
    }

    /// Goes on as `me`. Late timers would otherwise fire all at once, and what they say of others is as old as they are.
    fn begin_anew(&mut self, now: Uptime, me: Identity) {
        let own = Arc::<OwnWord>::default();
        self.codec.own = Arc::clone(&own);
        self.swim = new_swim(me, &self.profile, &own, &mut self.rng);
        (self.wheel, self.views, self.probe, self.transmissions) = (Wheel::default(), Views::default(), None, 0);
        (self.stage, self.began) = (Stage::In, now);
        self.set_rounds(now);
    }

    /// A datagram that says one thing, as foca would.
    fn gossip(&mut self, dst: Identity, about: &Member<Identity>) -> Bytes {
        let src_incarnation = self.codec.own.incarnation.load(Ordering::Relaxed);
        let header = Header { src: self.me(), src_incarnation, dst, message: Message::Gossip };
        let mut buf = BytesMut::new();
        self.codec.encode_header(&header, &mut buf).expect("a growing buffer has room");
        buf.put_u16(1);
        self.codec.encode_member(about, &mut buf).expect("a growing buffer has room");
        buf.freeze()
    }

    fn send_digest(&mut self, to: NodeId, effects: &mut Vec<Effect>) {
        let buckets = buckets_for(self.views.len());
        let digest = self.views.digest_without(&to, buckets);
        self.send_feed(to, Body::Digest(digest), effects);
    }

    fn send_members(&mut self, to: NodeId, buckets: Buckets, answer: bool, effects: &mut Vec<Effect>) {
        let count = buckets.count();
        let wanted = |seen: &&crate::view::Seen| {
            seen.identity.node != to && buckets.contains(bucket_of(&seen.identity.node, count))
        };
        let members = self.views.iter().filter(wanted).map(crate::view::Seen::member).collect();
        self.send_feed(to, Body::Members { buckets, answer, members }, effects);
    }

    fn send_feed(&mut self, to: NodeId, body: Body, effects: &mut Vec<Effect>) {
        let incarnation = self.codec.own.incarnation.load(Ordering::Relaxed);
        let about_you = self.views.get(&to).map(crate::view::Seen::member);
        let feed = Feed { sender: self.me(), incarnation, about_you, body };
        effects.push(Effect::SendFeed { to, data: feed.encode(&mut self.codec) });
    }

    /// Passes rumours on as often as the size of the cluster asks for.
    fn retune(&mut self) {
        let wanted = self.profile.transmissions_among(self.views.len());
        if wanted != self.transmissions {
            self.transmissions = wanted;
            // Refused only where it would change a period, which it does not.
            if self.swim.set_config(self.profile.foca(self.views.len())).is_err() {
                self.stats.faults += 1;
            }
        }
    }

    /// Runs one step of foca and takes in what it did to those it may have touched.
    fn swim(
        &mut self,
        now: Uptime,
        effects: &mut Vec<Effect>,
        mut touched: Vec<NodeId>,
        step: impl FnOnce(&mut Swim, &mut Host<'_>) -> Step,
    ) {
        let incarnation = self.codec.own.incarnation.load(Ordering::Relaxed);
        let mut codec = FixedCodec { me: self.me().node, own: Arc::default() };
        let mut host = Host {
            now,
            effects,
            wheel: &mut self.wheel,
            pace: &mut self.pace,
            profile: &self.profile,
            probe: &mut self.probe,
            codec: &mut codec,
            touched: &mut touched,
            stats: &mut self.stats,
            own: &self.codec.own,
        };
        let result = step(&mut self.swim, &mut host);
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
        if self.codec.own.incarnation.load(Ordering::Relaxed) > incarnation {
            // We had to say that we live.
            self.pace.health.trouble();
        }
        if !touched.is_empty() {
            let me = self.me().node;
            let members = self.swim.iter_membership_state();
            let changed = members.filter(|member| member.id().node != me && touched.contains(&member.id().node));
            for member in changed {
                if member.state() == State::Alive {
                    self.gate.lives(&member.id().node);
                }
                effects.extend(self.views.observe(now, member).map(Effect::Changed));
            }
            for node in touched {
                self.court_or_not(now, node);
            }
            self.retune();
        }
    }
}

fn new_swim(me: Identity, profile: &Profile, own: &Arc<OwnWord>, rng: &mut StdRng) -> Swim {
    let codec = FixedCodec { me: me.node, own: Arc::clone(own) };
    Foca::new(me, profile.foca(0), Dice::new(StdRng::from_rng(rng)), codec)
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
    pace: &'a mut Pace,
    profile: &'a Profile,
    probe: &'a mut Option<Probe>,
    codec: &'a mut FixedCodec,
    /// Whose state may have changed.
    touched: &'a mut Vec<NodeId>,
    stats: &'a mut Stats,
    own: &'a OwnWord,
}

impl foca::Runtime<Identity> for Host<'_> {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        match notification {
            Notification::MemberUp(id) | Notification::MemberDown(id) => self.touched.push(id.node),
            Notification::Rename(_, id) => self.touched.push(id.node),
            Notification::Rejoin(id) => {
                self.own.incarnation.store(0, Ordering::Relaxed);
                self.effects.push(Effect::Renewed { bump: id.bump });
            }
            Notification::ProbeFailed(_, id) => {
                self.touched.push(id.node);
                self.stats.probes_failed += 1;
            }
            Notification::Active
            | Notification::Idle
            | Notification::Defunct
            | Notification::DataReceived(_)
            | Notification::DataSent(_) => {}
        }
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        // foca tells the number of its probe nowhere else.
        if let Ok(Header { message: Message::Ping(number), .. }) = self.codec.decode_header(data) {
            *self.probe = Some(Probe { target: to, number, answered: false });
        }
        self.effects.push(Effect::SendDatagram { to: to.node, data: Bytes::copy_from_slice(data) });
    }

    fn submit_after(&mut self, event: foca::Timer<Identity>, after: Duration) {
        let after = match &event {
            foca::Timer::SendIndirectProbe { probed_id, .. } => self.pace.begin_probe(self.profile, &probed_id.node),
            foca::Timer::ProbeRandomMember(_) => self.pace.period(self.profile),
            foca::Timer::ChangeSuspectToDown { member_id, .. } => self.pace.suspicion(self.profile, &member_id.node),
            foca::Timer::PeriodicAnnounce(_)
            | foca::Timer::PeriodicAnnounceDown(_)
            | foca::Timer::PeriodicGossip(_)
            | foca::Timer::RemoveDown(_) => after,
        };
        self.wheel.set(self.now.after(after), Timer::Swim(event));
    }
}

/// The next round of something periodic: on its beat, or from now if the beat was missed.
fn next_round(now: Uptime, due: Uptime, period: Duration) -> Uptime {
    due.after(period).max(now)
}

/// More new facts than this in one feed are not passed on as rumours.
const NEWS_MAX: usize = 64;
/// A timer later than this says that this node has trouble of its own.
const LATE: Duration = Duration::from_millis(100);
