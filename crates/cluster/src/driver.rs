//! Runs the membership core: feeds it what happens, does what it asks for. One task, which alone changes the directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use covenant_identity::{DenyList, TrustMark};
use covenant_membership::{Change, Effect, Event, Health, Place, Pools, Standing, Stats, Topology};
use covenant_runtime::Declared;
use covenant_transport::SendError;
use covenant_types::{BootEpoch, LinkTier, NodeId, Role, Uptime};
use tokio::sync::mpsc;

use crate::demand::{self, DEMAND_WAIT_MAX};
use crate::directory::{Detail, Offer};
use crate::feed;
use crate::mail;
use crate::member::{MemberEvent, MemberState, Phase};
use crate::rebirth::{Rebirths, Verdict};
use crate::record::SignedRecord;
use crate::session::Session;
use crate::shared::{Input, Shared};

/// How many inputs may wait for the driver. Datagrams beyond that are dropped and counted.
pub(crate) const INBOX_MAX: usize = 4096;
/// How often calls past their deadline are cleared away.
const JANITOR_PERIOD: Duration = Duration::from_secs(1);
/// How often the date is looked at.
const TICK: Duration = Duration::from_secs(1);
/// So many records are sent whole to whoever connects or holds others; where there are more, digests are compared first.
const RECORDS_AT_ONCE: usize = 64;
/// How long a node that woke may take to hear from the others, before they are given up for their ties.
const WAKING: Duration = Duration::from_secs(60);
/// Every so many ticks the core is told what lines are like.
const LINES_EVERY: u64 = 5;

/// The task's state.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    core: Pools,
    inbox: mpsc::Receiver<Input>,
    /// The sessions the core has heard of.
    known: BTreeMap<NodeId, Arc<Session>>,
    /// Connections that nothing but messages asks for: what they had carried, and since when that has been all.
    idle: BTreeMap<NodeId, (u64, Uptime)>,
    counted: Stats,
    rebirths: Rebirths,
    /// The latest boot of this node that a record of another process of it names.
    own_ahead: Option<BootEpoch>,
    /// Those whose denial was passed on.
    denied: Arc<DenyList>,
    /// When the date is looked at next.
    tick: Uptime,
    ticks: u64,
    /// The message types that the others were told of.
    declared: Vec<Declared>,
    /// Until then others are not given up for their ties.
    ties_from: Uptime,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, core: Pools, inbox: mpsc::Receiver<Input>) -> Self {
        Self {
            shared,
            core,
            inbox,
            known: BTreeMap::new(),
            idle: BTreeMap::new(),
            counted: Stats::default(),
            rebirths: Rebirths::default(),
            own_ahead: None,
            denied: Arc::default(),
            tick: Uptime::ZERO,
            ticks: 0,
            declared: Vec::new(),
            ties_from: Uptime::ZERO,
        }
    }

    /// Runs until this node leaves or the task is dropped.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut denials = shared.credentials.denials().changes();
        denials.mark_changed();
        loop {
            let now = shared.env.now();
            let due = self.core.next_wake().map_or(self.tick, |wake| wake.min(self.tick));
            let wake = due.since(now);
            tokio::select! {
                biased;
                Ok(()) = denials.changed() => self.compare_denials(),
                () = shared.sessions_changed.notified() => self.compare_sessions(),
                () = shared.own_changed.notified() => {
                    self.pass_on(shared.me, &[(shared.me, Detail::Essence)]);
                    self.tell_changed(shared.me);
                }
                input = self.inbox.recv() => match input {
                    Some(Input::Leave(done)) => {
                        self.feed_core(Event::Leave);
                        let _gave_up = done.send(());
                        return;
                    }
                    Some(input) => self.take_in(input),
                    None => return,
                },
                () = tokio::time::sleep(wake) => {}
            }
            if let Some(known) = self.own_ahead.take() {
                self.rise_above(known).await;
            }
            if self.core.next_wake().is_some_and(|wake| wake <= shared.env.now()) {
                self.feed_core(Event::Woken);
            }
            if self.tick <= shared.env.now() {
                self.tick = shared.env.now().after(TICK);
                self.look_at_the_date();
            }
            self.count();
        }
    }

    /// Clears away calls whose deadline has passed, and looks how peers behave: one task for all connections, so that idle
    /// ones need none.
    pub(crate) async fn run_janitor(shared: Arc<Shared>) {
        loop {
            tokio::time::sleep(JANITOR_PERIOD).await;
            let now = shared.env.now();
            shared.sessions().iter().for_each(|session| session.pending.expire(now));
            shared.judge_conduct();
        }
    }

    /// What follows from time alone: sleepers that overslept, a certificate that was renewed, lines that changed.
    fn look_at_the_date(&mut self) {
        let shared = Arc::clone(&self.shared);
        let wall = shared.env.wall();
        if let Phase::Asleep { until, .. } = shared.own_record().phase
            && until <= wall
        {
            shared.republish(|record| record.phase = Phase::Active);
            self.feed_core(Event::Return);
            shared.wanted_changed.notify_one();
        }
        mail::bring(&shared);
        let sleepers = shared.directory_mut().tick(wall);
        sleepers.into_iter().for_each(|node| self.tell_changed(node));
        let identity = shared.credentials.identity();
        if identity.not_after != shared.own_record().certificate_ends {
            shared.republish(|record| {
                record.certificate_issuer = shared.credentials.issuer();
                (record.certificate_begins, record.certificate_ends) = (identity.not_before, identity.not_after);
            });
        }
        for node in shared.ties.nodes() {
            self.review_ties(node, None);
            self.reach_for_ties(node);
        }
        self.tell_declared();
        let trust = shared.transport().map(|transport| transport.credentials().mark());
        if let Some(trust) = trust.filter(|trust| *trust != shared.own_record().trust) {
            shared.republish(|record| record.trust = trust);
            self.send_roots();
        }
        if self.ticks.is_multiple_of(LINES_EVERY) {
            self.send_roots();
            let known: Vec<_> = self.known.iter().map(|(id, session)| (*id, session.peer.rtt())).collect();
            for (node, rtt) in known {
                self.tell_line(node, rtt);
            }
            self.close_idle();
        }
        self.ticks += 1;
    }

    /// Closes connections that were made for messages and carry none, and no ties either. A hub leaves that to whoever looks to it.
    fn close_idle(&mut self) {
        let now = self.shared.env.now();
        let warm = self.shared.warm();
        let is_hub = self.shared.own_record().role == Role::Hub;
        let tied = self.shared.ties.nodes();
        let kept = |id: &NodeId, session: &Session| {
            warm.contains(id)
                || tied.contains(id)
                || (is_hub && session.sender.role != Role::Hub)
                || session.is_awaited()
        };
        let spare: Vec<_> = self.known.iter().filter(|(id, session)| !kept(id, session)).collect();
        let before = std::mem::take(&mut self.idle);
        for (id, session) in spare {
            let carried = session.carried();
            let since = before.get(id).filter(|(last, _)| *last == carried).map_or(now, |(_, since)| *since);
            self.idle.insert(*id, (carried, since));
            if now.since(since) >= self.shared.idle_close
                && let Some(transport) = self.shared.transport()
            {
                self.shared.counters.idle_closed.increment(1);
                transport.disconnect(*id, "idle");
            }
        }
    }

    /// Looks at whether a node is still there for its ties, after a change of its health if there is one. Whoever sleeps, or
    /// woke a moment ago, knows nothing of the others.
    fn review_ties(&mut self, node: NodeId, change: Option<&Change>) {
        let now = self.shared.env.now();
        if self.shared.is_asleep() {
            self.ties_from = now.after(WAKING);
        }
        if self.ties_from <= now {
            let mut seen = self.shared.directory().standing(node, change);
            if self.shared.topology == Topology::Pools && seen.tier == LinkTier::Satellite {
                seen.tier = LinkTier::Lan; // it is down when its lease has run out, and that was its grace
            }
            self.shared.ties.review(&self.shared, node, seen, now);
        }
    }

    /// Has a node dialled that there are ties with and no connection to.
    fn reach_for_ties(&self, node: NodeId) {
        let name = self.shared.directory().record(node).map(|signed| signed.record.name.clone());
        let wanted = name.filter(|_| !self.known.contains_key(&node) && !self.shared.is_asleep());
        if wanted.is_some_and(|name| demand::can_be_reached(&self.shared, &name).is_some()) {
            demand::demand(&self.shared, node, DEMAND_WAIT_MAX);
        }
    }

    /// Tells the others of message types that this node declares since it told them last.
    fn tell_declared(&mut self) {
        let declared = self.shared.declared();
        if declared == self.declared {
            return;
        }
        let frame = feed::types(&declared);
        for session in self.known.values() {
            self.shared.send_feed(session, frame.clone());
            self.shared.compare_schemas(session, &declared);
        }
        self.declared = declared;
    }

    /// Sends what is known of the cluster's roots to those whose records say that they know less, or other ones.
    fn send_roots(&self) {
        let Some(transport) = self.shared.transport() else { return };
        let trusted = transport.credentials().trusted();
        let frame = feed::roots(&trusted.to_bytes());
        for (id, session) in &self.known {
            let theirs = self.shared.directory().record(*id).map(|signed| signed.record.trust);
            // Others of this version are of a rotation that was prepared at the same time: all have to hear of both.
            let lacks = |theirs: TrustMark| {
                theirs.version < trusted.version()
                    || (theirs.version == trusted.version() && theirs.roots != trusted.digest())
            };
            if theirs.is_some_and(lacks) {
                self.shared.send_feed(session, frame.clone());
            }
        }
    }

    fn tell_line(&mut self, node: NodeId, rtt: Duration) {
        let tier = self.shared.directory().record(node).map_or(LinkTier::Lan, |signed| signed.record.tier);
        // quinn keeps the deviation to itself; a quarter is where its own estimate begins to settle.
        self.feed_core(Event::Line { node, tier, rtt, deviation: rtt / 4 });
    }

    fn take_in(&mut self, input: Input) {
        match input {
            // It may have become time to wake up meanwhile: then whoever asked hears nothing, which says so.
            Input::Sleep(done) if self.shared.is_asleep() => {
                self.feed_core(Event::Leave);
                let _gave_up = done.send(());
            }
            Input::Sleep(_) => {}
            Input::Fed(input, place) => {
                self.take_in(*input);
                drop(place);
            }
            Input::Wake => self.feed_core(Event::Return),
            Input::Datagram { from, data, share } => {
                self.feed_core(Event::Datagram { from, data });
                drop(share); // only now: the sender's next one takes its place
            }
            Input::Members { from, data } => self.feed_core(Event::Feed { from, data }),
            Input::Records { from, records } => self.take_in_records(from, records),
            Input::Digest { from, digest } => self.compare(from, digest),
            Input::Summary { from, answer, buckets } => {
                let Some(session) = self.known.get(&from).filter(|session| may_exchange(&self.shared, session)) else {
                    return;
                };
                let detail = self.detail(from);
                if answer {
                    let ours = self.shared.directory().digest(detail, buckets.len());
                    self.shared.send_feed(session, feed::summary(false, &ours));
                }
                let records = self.shared.directory().differing(detail, &buckets);
                feed::records(&records).into_iter().for_each(|frame| self.shared.send_feed(session, frame));
            }
            Input::Seek { from, target, asker } => {
                if let Some(session) = self.known.get(&from) {
                    demand::sought(&self.shared, session, target, asker, &self.core.vouchers(&target));
                }
            }
            Input::Leave(_) => {}
        }
    }

    /// Tells the core which connections came and went since the last time. Whatever happens in between, it ends up with
    /// what there is.
    fn compare_sessions(&mut self) {
        let mut present: BTreeMap<NodeId, Arc<Session>> =
            self.shared.sessions().into_iter().map(|session| (session.sender.node, session)).collect();
        // One that is closed already, and not taken away yet, carries nothing more.
        present.retain(|_, session| session.peer.is_open());
        let known = std::mem::replace(&mut self.known, present.clone());
        for (id, old) in &known {
            let stays = present.get(id).is_some_and(|new| Arc::ptr_eq(new, old));
            if !stays {
                self.shared.directory_mut().disconnected(*id);
                self.feed_core(Event::PeerDown(*id));
                self.tell_changed(*id);
            }
        }
        for (id, new) in &present {
            let known = known.get(id).is_some_and(|old| Arc::ptr_eq(new, old));
            if !known {
                self.connected(*id, new);
            }
        }
        self.shared.wanted_changed.notify_one();
        self.shared.presence.ring();
    }

    /// Passes on who was denied since the last time, and holds them for removed. Their connections the transport closes.
    fn compare_denials(&mut self) {
        let list = self.shared.credentials.denials().list();
        let before = std::mem::replace(&mut self.denied, Arc::clone(&list));
        let news: Vec<_> = list.iter().filter(|signed| before.is_news(signed)).cloned().collect();
        for frame in feed::denials(&news) {
            self.known.values().for_each(|session| self.shared.send_feed(session, frame.clone()));
        }
        self.shared.counters.denied.set(u32::try_from(list.len()).map_or(f64::INFINITY, f64::from));
        let removed = self.shared.directory_mut().deny(list);
        removed.into_iter().for_each(|id| self.tell_changed(id));
        self.shared.wanted_changed.notify_one();
    }

    fn connected(&mut self, id: NodeId, session: &Session) {
        self.shared.directory_mut().make_room(id); // its own comes next
        self.shared.directory_mut().connected(id, &session.sender.name);
        self.pass_forgotten();
        self.shared.send_feed(session, feed::denied(self.denied.digest()));
        self.shared.send_feed(session, feed::types(&self.declared));
        // Before what the core sends, so that its rumours are believed.
        if self.shared.directory().len() <= RECORDS_AT_ONCE {
            self.send_all_records(id);
        } else {
            self.pass_own(session);
            self.send_digest(session);
        }
        self.shared.mail_room().connected(id);
        self.place(id);
        self.feed_core(Event::PeerUp { node: id, epoch: session.peer.info().epoch });
        self.tell_line(id, session.peer.rtt());
        self.tell_changed(id);
    }

    fn take_in_records(&mut self, from: NodeId, records: Vec<SignedRecord>) {
        let mut news = Vec::new();
        for signed in records {
            let (id, epoch, sequence) = (signed.record.id, signed.record.epoch, signed.record.sequence);
            if let Some(session) = self.known.get(&id) {
                let info = session.peer.info();
                // Whoever is connected has proved more than its record says.
                if (&info.name, info.role, info.region)
                    != (&signed.record.name, signed.record.role, signed.record.region)
                {
                    self.shared.counters.record_refused("certificate");
                    continue;
                }
                self.shared.directory_mut().make_room(id);
            }
            let essence = signed.record.essence();
            let before = self.shared.directory().record(id).map(|known| (known.record.epoch, known.record.essence()));
            let detail = if before == Some((epoch, essence)) { Detail::Everything } else { Detail::Essence };
            let offer = self.shared.directory_mut().offer(from, signed);
            self.pass_forgotten();
            match offer {
                Offer::New => {
                    if let Some(session) = self.known.get(&id) {
                        self.shared.directory_mut().connected(id, &session.sender.name);
                        if id == from {
                            self.shared.send_feed(session, feed::heard(sequence));
                        }
                    }
                    if let Some(transport) = self.shared.transport() {
                        transport.end_ghost(id, epoch);
                    }
                    self.place(id);
                    self.review_ties(id, None);
                    self.tell_changed(id);
                    news.push((id, detail));
                }
                // It came from the node itself while a copy by others was already here: it is heard as well.
                Offer::Known if id == from => {
                    if let Some(session) = self.known.get(&id) {
                        self.shared.send_feed(session, feed::heard(sequence));
                    }
                }
                Offer::Known => {}
                Offer::Refused(why) => {
                    tracing::warn!(node = %id, why, "a record was refused");
                    self.shared.counters.record_refused(why);
                }
                // Of several that came together the highest.
                Offer::OwnAhead(known) => self.own_ahead = self.own_ahead.max(Some(known)),
            }
        }
        if !news.is_empty() {
            self.pass_on(from, &news);
            self.shared.wanted_changed.notify_one();
        }
    }

    /// Another process of this node, with its key, had a boot that is not before this one: goes on in a later one, if that can
    /// be. Nothing is to be said in this one meanwhile, so the disk is waited for.
    async fn rise_above(&mut self, known: BootEpoch) {
        let mut verdict = self.rebirths.known(known);
        if let Verdict::Adopt(to) = verdict {
            match self.keep_epoch(to).await {
                Ok(()) => return self.go_on_in(to, known),
                Err(why) => {
                    tracing::error!(why, epoch = %to, "a later boot epoch could not be kept, and is not used");
                    verdict = self.rebirths.stay(known);
                }
            }
        }
        if verdict == Verdict::Tell {
            let ours = self.core.epoch();
            let event = MemberEvent::OwnEpochBehind { ours, known };
            self.shared.name_once(self.shared.me, &self.shared.own_record().name, "behind", event);
        }
    }

    async fn keep_epoch(&self, to: BootEpoch) -> Result<(), String> {
        let keeper = self.shared.epochs.clone().ok_or("this node has no place to keep it")?;
        let kept = self.shared.env.blocking(move || keeper.raise(to)).await;
        kept.unwrap_or_else(|gone| Err(gone.to_string()))
    }

    /// Goes on in a later boot, as a restart of this node alone in its cluster: its actors run on.
    fn go_on_in(&mut self, epoch: BootEpoch, known: BootEpoch) {
        let shared = Arc::clone(&self.shared);
        if let Some(transport) = shared.transport() {
            transport.adopt_epoch(epoch);
        }
        shared.republish(|record| record.epoch = epoch);
        shared.presence.reborn(epoch);
        self.idle.clear();
        for id in std::mem::take(&mut self.known).into_keys() {
            shared.directory_mut().disconnected(id);
            self.tell_changed(id);
        }
        self.feed_core(Event::Reborn(epoch));
        shared.wanted_changed.notify_one();
        shared.counters.rebirths.increment(1);
        let event = MemberEvent::OwnEpochRaised { known, epoch };
        shared.name_once(shared.me, &shared.own_record().name, "restored", event);
    }

    /// Has the core forget those whose records gave way.
    fn pass_forgotten(&mut self) {
        let forgotten = self.shared.directory_mut().take_forgotten();
        forgotten.into_iter().for_each(|id| self.feed_core(Event::Forgotten(id)));
    }

    /// Tells the core where a node belongs: as its certificate says where it is connected, else as its record does.
    fn place(&mut self, id: NodeId) {
        let Some((epoch, mut place)) =
            self.shared.directory().record(id).map(|signed| (signed.record.epoch, signed.record.place()))
        else {
            return;
        };
        if let Some(session) = self.known.get(&id) {
            let info = session.peer.info();
            place = Place { role: info.role, region: info.region, ..place };
        }
        let effects = self.core.placed(self.shared.env.now(), id, epoch, place);
        self.perform_all(effects);
    }

    /// What is compared with a node, and passed on to it: a leaf at either end is spared what is not essential.
    fn detail(&self, with: NodeId) -> Detail {
        let leaf = |place: Place| place.standing() == Standing::Leaf;
        let theirs = self.shared.directory().record(with).map(|signed| signed.record.place());
        let pools = self.shared.topology == Topology::Pools;
        if pools && (leaf(self.shared.own_record().place()) || theirs.is_some_and(leaf)) {
            Detail::Essence
        } else {
            Detail::Everything
        }
    }

    /// Answers a digest that is not ours: with everything where that is little, else with a longer digest.
    fn compare(&self, from: NodeId, digest: u64) {
        let detail = self.detail(from);
        let (Some(session), directory) = (self.known.get(&from), self.shared.directory()) else { return };
        if directory.digest(detail, 1) == [digest] || !may_exchange(&self.shared, session) {
            return;
        }
        if directory.len() <= RECORDS_AT_ONCE && detail == Detail::Everything {
            drop(directory);
            self.send_all_records(from);
        } else {
            let buckets = directory.digest(detail, feed::buckets_for(directory.len()));
            self.shared.send_feed(session, feed::summary(true, &buckets));
        }
    }

    fn send_digest(&self, session: &Session) {
        let detail = self.detail(session.sender.node);
        let digest = self.shared.directory().digest(detail, 1);
        self.shared.send_feed(session, feed::digest(digest[0]));
    }

    fn pass_own(&self, session: &Session) {
        let own = self.shared.directory().record(self.shared.me).cloned();
        feed::records(own.as_slice()).into_iter().for_each(|frame| self.shared.send_feed(session, frame));
    }

    /// Passes records on, each to those who look at what is new in it.
    fn pass_on(&self, from: NodeId, news: &[(NodeId, Detail)]) {
        let frames = |least: &[Detail]| {
            let directory = self.shared.directory();
            let news = news.iter().filter(|(_, detail)| least.contains(detail));
            let records: Vec<_> = news.filter_map(|(id, _)| directory.record(*id)).cloned().collect();
            feed::records(&records)
        };
        let (all, essential) = (frames(&[Detail::Everything, Detail::Essence]), frames(&[Detail::Essence]));
        for (id, session) in self.known.iter().filter(|(id, _)| **id != from) {
            let frames = if self.detail(*id) == Detail::Everything { &all } else { &essential };
            frames.iter().for_each(|frame| self.shared.send_feed(session, frame.clone()));
        }
    }

    fn send_all_records(&self, to: NodeId) {
        let Some(session) = self.known.get(&to) else { return };
        let records: Vec<_> = self.shared.directory().records().cloned().collect();
        for frame in feed::records(&records) {
            self.shared.send_feed(session, frame);
        }
    }

    fn feed_core(&mut self, event: Event) {
        let effects = self.core.handle(self.shared.env.now(), event);
        self.perform_all(effects);
    }

    fn perform_all(&mut self, effects: Vec<Effect>) {
        effects.into_iter().for_each(|effect| self.perform(effect));
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::SendDatagram { to, data } => {
                let Some(session) = self.known.get(&to) else {
                    return self.shared.counters.datagrams_unsent.increment(1);
                };
                match session.peer.send_datagram(data.clone()) {
                    Ok(()) => {}
                    Err(SendError::TooLarge(_) | SendError::NoDatagrams) => {
                        self.shared.send_feed(session, feed::datagram(&data));
                    }
                    Err(_) => self.shared.counters.datagrams_unsent.increment(1),
                }
            }
            Effect::SendFeed { to, data } => {
                let Some(session) = self.known.get(&to) else { return };
                self.shared.send_feed(session, feed::members(&data));
                self.send_digest(session);
                self.shared.send_feed(session, feed::denied(self.denied.digest()));
            }
            Effect::Changed(change) => {
                tracing::info!(node = %change.node, epoch = %change.epoch, health = ?change.health, "membership changed");
                // First: who sees a node down finds its calls and monitors ended.
                if let Some(session) = self.known.get(&change.node) {
                    let gone = matches!(change.health, Health::Down | Health::Left);
                    session.suspend(gone);
                }
                let vouched = self.core.is_vouched_for(&change.node);
                self.shared.directory_mut().vouched_for(change.node, vouched);
                self.review_ties(change.node, Some(&change));
                self.shared.directory_mut().health(change);
                self.tell_changed(change.node);
                self.shared.wanted_changed.notify_one();
            }
            Effect::Renewed { bump } => {
                tracing::warn!(bump, "the cluster had given this node up; it is coming back");
                self.shared.counters.renewals.increment(1);
            }
            Effect::Quarantined { node, why } => {
                self.shared.name_misbehaving(node, None, why.as_str());
            }
        }
    }

    fn tell_changed(&self, id: NodeId) {
        let changed = self.shared.directory_mut().changed(id);
        if let Some(view) = changed {
            self.shared.tell(MemberEvent::Changed(view));
            self.shared.presence.ring();
            let views = self.shared.directory().views();
            let reachable = views.iter().filter(|view| view.state == MemberState::Reachable).count();
            self.shared.counters.members.set(u32::try_from(reachable).map_or(f64::INFINITY, f64::from));
        }
    }

    fn count(&mut self) {
        let stats = self.core.stats();
        self.shared.counters.swim_refused.increment(stats.refused - self.counted.refused);
        self.shared.counters.swim_held.increment(stats.held - self.counted.held);
        self.counted = stats;
    }
}

/// Whether what a peer holds may be compared with what we do: that costs us far more than it.
fn may_exchange(shared: &Shared, session: &Session) -> bool {
    session.conduct().exchange(shared.env.now())
}
