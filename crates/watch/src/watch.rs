//! The watch: every detector of one node, and the incidents they opened.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use covenant_types::{ActorPath, BootEpoch, ExitReason, Incarnation, NodeName, Uptime};

use crate::detector::{MailboxDepth, MailboxMarks, MemberReach, MemberState, RestartRate, Signal};
use crate::incident::{Incident, IncidentKind, Moment};

/// What counts as wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// So many restarts of one actor within `window` open an incident.
    pub restarts: u32,
    /// The window for them; so long without one closes it.
    pub window: Duration,
    /// A mailbox this full opens an incident.
    pub mailbox_open_percent: u8,
    /// A mailbox less full than this closes it.
    pub mailbox_close_percent: u8,
    /// For how long a mailbox must be so, or a member be back.
    pub sustain: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            restarts: 3,
            window: Duration::from_secs(60),
            mailbox_open_percent: 80,
            mailbox_close_percent: 50,
            sustain: Duration::from_secs(5),
        }
    }
}

/// Everything the watch takes notice of.
#[derive(Clone, Debug)]
pub enum Event {
    /// An actor started.
    Started {
        /// The actor.
        path: ActorPath,
        /// Which start it was.
        incarnation: Incarnation,
    },
    /// A start of an actor failed; it counts as a restart, which it was meant to be.
    StartFailed {
        /// The actor.
        path: ActorPath,
        /// Why.
        reason: ExitReason,
    },
    /// An actor ended.
    Exited {
        /// The actor.
        path: ActorPath,
        /// Why.
        reason: ExitReason,
    },
    /// The whole tree was looked at. Time passes only here: send it about once a second.
    Sampled(Vec<ActorSample>),
    /// Membership told of a member.
    MemberTold {
        /// The member.
        name: NodeName,
        /// Its state.
        state: MemberState,
        /// The boot it is in.
        epoch: BootEpoch,
    },
    /// This is what is wrong now of one kind, and nothing else of that kind: with whom, and what.
    Told(Told),
}

/// What is wrong now, as somebody tells who watches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The kind of thing.
    pub kind: IncidentKind,
    /// Subjects, and what is wrong with each. The words stay the same while the matter does.
    pub wrong: Vec<(String, String)>,
    /// What is said of one that is here no more.
    pub over: &'static str,
}

/// One actor as the tree showed it.
#[derive(Clone, Debug)]
pub struct ActorSample {
    /// The actor.
    pub path: ActorPath,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// How many messages wait.
    pub depth: usize,
    /// How many may; zero for what has no mailbox.
    pub capacity: usize,
}

/// What the watch has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// An incident was opened.
    Opened(Incident),
    /// An incident was closed.
    Closed(Incident),
}

/// Watches one node. Reads no clock: every event comes with its moment.
///
/// # Invariants
/// - At most one open incident per kind and subject.
/// - Everything kept is bounded: see the constants of this file.
#[derive(Debug)]
pub struct Watch {
    thresholds: Thresholds,
    actors: BTreeMap<ActorPath, Actor>,
    members: BTreeMap<NodeName, MemberReach>,
    /// What was told last, by kind and subject.
    told: BTreeMap<IncidentKind, BTreeMap<String, String>>,
    open: BTreeMap<(IncidentKind, String), Incident>,
    closed: VecDeque<Incident>,
    opened: u64,
    overlooked: u64,
}

#[derive(Debug)]
struct Actor {
    incarnation: Incarnation,
    last_exit: Option<ExitReason>,
    seen: Uptime,
    restarts: RestartRate,
    mailbox: MailboxDepth,
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            actors: BTreeMap::new(),
            members: BTreeMap::new(),
            told: BTreeMap::new(),
            open: BTreeMap::new(),
            closed: VecDeque::new(),
            opened: 0,
            overlooked: 0,
        }
    }

    /// Takes notice of one event.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Started { path, incarnation } => self.saw_incarnation(now, &path, incarnation, &mut effects),
            Event::StartFailed { path, reason } => {
                self.saw_incarnation(now, &path, Incarnation(0), &mut effects);
                if let Some(actor) = self.actors.get_mut(&path) {
                    actor.last_exit = Some(reason);
                    self.restarted(now, &path, 1, &mut effects);
                }
            }
            Event::Exited { path, reason } => {
                if let Some(actor) = self.actors.get_mut(&path) {
                    actor.last_exit = Some(reason);
                }
            }
            Event::Sampled(samples) => {
                for sample in &samples {
                    self.saw_incarnation(now, &sample.path, sample.incarnation, &mut effects);
                    self.saw_mailbox(now, sample, &mut effects);
                }
                self.tick(now, &mut effects);
            }
            Event::MemberTold { name, state, epoch } => self.saw_member(now, name, state, epoch, &mut effects),
            Event::Told(told) => self.saw_told(now, told, &mut effects),
        }
        effects
    }

    /// The incidents: open ones first, each group newest first.
    pub fn incidents(&self) -> Vec<Incident> {
        let mut open: Vec<Incident> = self.open.values().cloned().collect();
        open.sort_by_key(|incident| std::cmp::Reverse(incident.id));
        open.extend(self.closed.iter().rev().cloned());
        open
    }

    /// How many incidents of `kind` are open.
    pub fn open_count(&self, kind: IncidentKind) -> usize {
        self.open.keys().filter(|(open, _)| *open == kind).count()
    }

    /// How many actors, members and incidents found no room. Above zero, what this says is incomplete.
    pub fn overlooked(&self) -> u64 {
        self.overlooked
    }

    /// Counts restarts by incarnations, which starts and samples both tell: a start whose event was lost is not.
    fn saw_incarnation(&mut self, now: Moment, path: &ActorPath, seen: Incarnation, effects: &mut Vec<Effect>) {
        let Some(actor) = self.actors.get_mut(path) else {
            if self.actors.len() >= ACTORS_MAX {
                self.overlooked += 1;
                return;
            }
            let actor = Actor {
                incarnation: seen,
                last_exit: None,
                seen: now.uptime,
                restarts: RestartRate::default(),
                mailbox: MailboxDepth::default(),
            };
            self.actors.insert(path.clone(), actor);
            return;
        };
        actor.seen = now.uptime;
        let restarts = seen.0.saturating_sub(actor.incarnation.0).min(self.thresholds.restarts.max(1));
        actor.incarnation = actor.incarnation.max(seen);
        self.restarted(now, path, restarts, effects);
    }

    fn restarted(&mut self, now: Moment, path: &ActorPath, times: u32, effects: &mut Vec<Effect>) {
        let Some(actor) = self.actors.get_mut(path) else { return };
        let why = actor.last_exit.as_ref().map_or_else(String::new, |reason| format!(" after {reason}"));
        let Thresholds { restarts, window, .. } = self.thresholds;
        let mut signals = Vec::new();
        for _ in 0..times {
            signals.extend(actor.restarts.restarted(now.uptime, restarts, window, &why));
        }
        for signal in signals {
            self.act(now, IncidentKind::RestartRate, path.as_str(), signal, effects);
        }
    }

    fn saw_mailbox(&mut self, now: Moment, sample: &ActorSample, effects: &mut Vec<Effect>) {
        let marks = MailboxMarks {
            open_percent: self.thresholds.mailbox_open_percent,
            close_percent: self.thresholds.mailbox_close_percent,
            sustain: self.thresholds.sustain,
        };
        let Some(actor) = self.actors.get_mut(&sample.path) else { return };
        let signal = actor.mailbox.observe(now.uptime, sample.depth, sample.capacity, marks);
        if let Some(signal) = signal {
            self.act(now, IncidentKind::MailboxDepth, sample.path.as_str(), signal, effects);
        }
    }

    fn saw_member(
        &mut self,
        now: Moment,
        name: NodeName,
        state: MemberState,
        epoch: BootEpoch,
        effects: &mut Vec<Effect>,
    ) {
        if !self.members.contains_key(&name) && self.members.len() >= MEMBERS_MAX {
            self.overlooked += 1;
            return;
        }
        let member = self.members.entry(name.clone()).or_default();
        if let Some(signal) = member.observe(now.uptime, state, &format!("epoch {epoch}")) {
            self.act(now, IncidentKind::MemberState, name.as_str(), signal, effects);
        }
        if state == MemberState::Left {
            self.members.remove(&name);
        }
    }

    /// Whoever tells says itself when it is over, so that nothing is to be waited for here.
    fn saw_told(&mut self, now: Moment, Told { kind, wrong, over }: Told, effects: &mut Vec<Effect>) {
        let present: BTreeMap<String, String> = wrong.into_iter().take(MEMBERS_MAX).collect();
        let before = self.told.insert(kind, present.clone()).unwrap_or_default();
        for (name, what) in &present {
            let signal = match before.get(name) {
                None => Signal::Open(what.clone()),
                Some(known) if known == what => continue,
                Some(_) => Signal::Note(what.clone()),
            };
            self.act(now, kind, name, signal, effects);
        }
        for name in before.keys().filter(|name| !present.contains_key(*name)) {
            self.act(now, kind, name, Signal::Close(over.into()), effects);
        }
    }

    /// Lets time pass: closes what has been well for long enough, and forgets actors that have been gone for a window.
    fn tick(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Thresholds { window, sustain, .. } = self.thresholds;
        let mut signals = Vec::new();
        self.actors.retain(|path, actor| {
            if let Some(signal) = actor.restarts.tick(now.uptime, window) {
                signals.push((IncidentKind::RestartRate, path.as_str().to_owned(), signal));
            }
            let gone = now.uptime.since(actor.seen) > window;
            if gone {
                for kind in [IncidentKind::RestartRate, IncidentKind::MailboxDepth] {
                    signals.push((kind, path.as_str().to_owned(), Signal::Close("the actor is gone".into())));
                }
            }
            !gone
        });
        for (name, member) in &mut self.members {
            if let Some(signal) = member.tick(now.uptime, sustain) {
                signals.push((IncidentKind::MemberState, name.as_str().to_owned(), signal));
            }
        }
        for (kind, subject, signal) in signals {
            self.act(now, kind, &subject, signal, effects);
        }
    }

    fn act(&mut self, now: Moment, kind: IncidentKind, subject: &str, signal: Signal, effects: &mut Vec<Effect>) {
        let key = (kind, subject.to_owned());
        match signal {
            Signal::Open(_) if self.open.len() >= OPEN_MAX => self.overlooked += 1,
            Signal::Open(what) => {
                self.opened += 1;
                let incident = Incident::open(self.opened, kind, key.1.clone(), now, what);
                effects.push(Effect::Opened(incident.clone()));
                self.open.insert(key, incident);
            }
            Signal::Note(what) => {
                if let Some(incident) = self.open.get_mut(&key) {
                    incident.note(now, what);
                }
            }
            Signal::Close(what) => {
                if let Some(mut incident) = self.open.remove(&key) {
                    incident.close(now, what);
                    effects.push(Effect::Closed(incident.clone()));
                    if self.closed.len() >= CLOSED_KEPT {
                        self.closed.pop_front();
                    }
                    self.closed.push_back(incident);
                }
            }
        }
    }
}

/// The most actors that are watched.
pub const ACTORS_MAX: usize = 4096;
/// The most members that are watched.
pub const MEMBERS_MAX: usize = 1024;
/// The most incidents that are open at once.
pub const OPEN_MAX: usize = 256;
/// How many closed incidents are kept.
pub const CLOSED_KEPT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_types::WallTime;

    fn at(seconds: u64) -> Moment {
        Moment { uptime: Uptime::from_millis(seconds * 1000), wall: WallTime(1_700_000_000 + seconds) }
    }

    fn sample(path: &str, incarnation: u32, depth: usize) -> Event {
        Event::Sampled(vec![ActorSample {
            path: path.parse().unwrap(),
            incarnation: Incarnation(incarnation),
            depth,
            capacity: 10,
        }])
    }

    /// The effects as words: `+kind subject` and `-kind subject`.
    fn feed(watch: &mut Watch, seconds: u64, event: Event) -> Vec<String> {
        let words = |effect| match effect {
            Effect::Opened(incident) => format!("+{} {}", incident.kind, incident.subject),
            Effect::Closed(incident) => format!("-{} {}", incident.kind, incident.subject),
        };
        watch.handle(at(seconds), event).into_iter().map(words).collect()
    }

    #[test]
    fn a_crash_loop_becomes_one_incident_with_its_reasons_and_closes_when_it_ends() {
        let mut watch = Watch::new(Thresholds::default());
        let path: ActorPath = "/sync/scheduler".parse().unwrap();
        let mut words = feed(&mut watch, 0, sample("/sync/scheduler", 1, 0));
        for incarnation in 2..=5 {
            let seconds = u64::from(incarnation);
            let reason = ExitReason::Panicked(format!("number {incarnation}"));
            words.extend(feed(&mut watch, seconds, Event::Exited { path: path.clone(), reason }));
            let started = Event::Started { path: path.clone(), incarnation: Incarnation(incarnation) };
            words.extend(feed(&mut watch, seconds, started));
        }
        assert_eq!(words, ["+restart-rate /sync/scheduler"]);
        let evidence: Vec<String> = watch.incidents()[0].evidence.iter().map(|seen| seen.what.clone()).collect();
        assert_eq!(
            evidence,
            ["3 restarts within 1m, the last after panic: number 4", "restarted again after panic: number 5"]
        );
        assert_eq!(feed(&mut watch, 65, sample("/sync/scheduler", 5, 0)), [""; 0]);
        assert_eq!(feed(&mut watch, 66, sample("/sync/scheduler", 5, 0)), ["-restart-rate /sync/scheduler"]);
        assert_eq!(watch.incidents()[0].closed, Some(at(66).wall));
    }

    #[test]
    fn an_actor_that_never_starts_is_an_incident_too() {
        let mut watch = Watch::new(Thresholds::default());
        let failed = || Event::StartFailed { path: "/a".parse().unwrap(), reason: ExitReason::Error("disk".into()) };
        assert_eq!(feed(&mut watch, 0, failed()), [""; 0]);
        assert_eq!(feed(&mut watch, 1, failed()), [""; 0]);
        assert_eq!(feed(&mut watch, 2, failed()), ["+restart-rate /a"]);
        assert_eq!(watch.incidents()[0].evidence[0].what, "3 restarts within 1m, the last after error: disk");
    }

    #[test]
    fn restarts_whose_events_were_lost_are_counted_by_the_next_sample() {
        let mut watch = Watch::new(Thresholds::default());
        let _ = feed(&mut watch, 0, sample("/a", 7, 0));
        assert_eq!(feed(&mut watch, 1, sample("/a", 4_000_000, 0)), ["+restart-rate /a"]);
    }

    #[test]
    fn a_member_that_misbehaves_is_an_incident_until_the_cluster_says_that_it_is_over() {
        let mut watch = Watch::new(Thresholds::default());
        let told = |members: &[&str]| {
            let wrong = members.iter().map(|why| ("tower-kandy".to_owned(), (*why).to_owned())).collect();
            Event::Told(Told { kind: IncidentKind::Misconduct, wrong, over: "nothing more of it was seen" })
        };
        assert_eq!(feed(&mut watch, 0, told(&[])), [""; 0]);
        assert_eq!(feed(&mut watch, 1, told(&["flooding"])), ["+misconduct tower-kandy"]);
        assert_eq!(feed(&mut watch, 2, told(&["flooding"])), [""; 0]);
        assert_eq!(feed(&mut watch, 3, told(&["deaf"])), [""; 0]);
        assert_eq!(feed(&mut watch, 4, told(&[])), ["-misconduct tower-kandy"]);
        let evidence: Vec<String> = watch.incidents()[0].evidence.iter().map(|seen| seen.what.clone()).collect();
        assert_eq!(evidence, ["flooding", "deaf", "nothing more of it was seen"]);
    }

    #[test]
    fn what_is_told_of_one_kind_says_nothing_of_another() {
        let mut watch = Watch::new(Thresholds::default());
        let told = |kind, wrong: &[&str]| {
            let wrong = wrong.iter().map(|subject| ((*subject).to_owned(), "so".to_owned())).collect();
            Event::Told(Told { kind, wrong, over: "over" })
        };
        let (schema, authority) = (IncidentKind::SchemaDiffers, IncidentKind::Authority);
        assert_eq!(feed(&mut watch, 0, told(schema, &["hub-asia"])), ["+schema-differs hub-asia"]);
        assert_eq!(feed(&mut watch, 1, told(authority, &["hub-asia"])), ["+authority hub-asia"]);
        assert_eq!(feed(&mut watch, 2, told(schema, &[])), ["-schema-differs hub-asia"]);
        assert_eq!((watch.open_count(schema), watch.open_count(authority)), (0, 1));
    }

    #[test]
    fn what_ran_before_the_watch_began_is_no_restart() {
        let mut watch = Watch::new(Thresholds::default());
        assert_eq!(feed(&mut watch, 0, sample("/a", 50, 0)), [""; 0]);
        assert_eq!(feed(&mut watch, 1, sample("/a", 50, 0)), [""; 0]);
    }

    #[test]
    fn an_actor_that_is_gone_for_a_window_is_forgotten_and_its_incidents_close() {
        let mut watch = Watch::new(Thresholds::default());
        let mut words = Vec::new();
        for second in 0..=5 {
            words.extend(feed(&mut watch, second, sample("/a", 1, 10)));
        }
        words.extend(feed(&mut watch, 65, sample("/b", 1, 0)));
        words.extend(feed(&mut watch, 66, sample("/b", 1, 0)));
        assert_eq!(words, ["+mailbox-depth /a", "-mailbox-depth /a"]);
        assert_eq!(watch.actors.len(), 1);
    }

    #[test]
    fn a_lost_node_is_an_incident_until_it_has_been_back_for_a_while() {
        let mut watch = Watch::new(Thresholds::default());
        let told = |state, epoch| Event::MemberTold {
            name: NodeName::new("hub-asia").unwrap(),
            state,
            epoch: BootEpoch(epoch),
        };
        let mut words = feed(&mut watch, 0, told(MemberState::Reachable, 1));
        words.extend(feed(&mut watch, 1, told(MemberState::Down, 1)));
        words.extend(feed(&mut watch, 9, told(MemberState::Reachable, 2)));
        words.extend(feed(&mut watch, 13, Event::Sampled(vec![])));
        assert_eq!((words.len(), watch.open_count(IncidentKind::MemberState)), (1, 1));
        words.extend(feed(&mut watch, 14, Event::Sampled(vec![])));
        assert_eq!(words, ["+member-state hub-asia", "-member-state hub-asia"]);
        let evidence: Vec<&str> = watch.closed[0].evidence.iter().map(|seen| seen.what.as_str()).collect();
        assert_eq!(evidence, ["down, epoch 1", "reachable, epoch 2", "reachable for 5s"]);
    }

    #[test]
    fn nothing_kept_grows_without_bound() {
        let mut watch = Watch::new(Thresholds { restarts: 1, ..Thresholds::default() });
        for number in 0..6000 {
            let path: ActorPath = format!("/a{number}").parse().unwrap();
            for incarnation in [1, 2] {
                let _ =
                    watch.handle(at(0), Event::Started { path: path.clone(), incarnation: Incarnation(incarnation) });
            }
        }
        assert_eq!((watch.actors.len(), watch.open.len()), (ACTORS_MAX, OPEN_MAX));
        assert!(watch.overlooked() > 0);
        let _ = watch.handle(at(1000), Event::Sampled(vec![]));
        assert_eq!((watch.actors.len(), watch.open.len(), watch.closed.len()), (0, 0, CLOSED_KEPT));
        assert_eq!(watch.incidents().len(), CLOSED_KEPT);
    }
}
