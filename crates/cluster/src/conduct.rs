//! What one member may ask of us, and which members went beyond it. Pure.
//!
//! # Intuition
//! A certificate says who somebody is, not that it behaves. What an honest member sends has a measure, and the measures here
//! are many times that. What goes beyond a measure is dropped or waits. Who does so again and again is named, so that people
//! hear of it, and whose frames are none again and again is not listened to for a while.
//!
//! # Invariants
//! - Everything kept here has a bound, and what one member does counts against that member alone.
//! - A name is told once in [`NAMED_FOR`], however often the reason for it comes again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covenant_types::{NodeId, NodeName, Uptime};

use crate::directory::RECORDS_MAX;

/// How long a member that was named stays so after the last reason for it.
pub const NAMED_FOR: Duration = Duration::from_secs(600);
/// After so many broken connections within [`NAMED_FOR`] a member is not listened to for as long.
const STRIKES_MAX: u32 = 3;
/// What does no harm by itself is named after so many times, and again when half a minute's worth has gone by.
const PATIENCE: Measure = Measure { at_once: 512, per_sec: 8 };

/// What no honest member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Offence {
    /// More datagrams or feeds than membership ever has to say.
    Flooding,
    /// Streams beyond those that a connection has.
    Crowding,
    /// Casts without credit.
    Overspending,
    /// It does not read the answers it asked for.
    Deaf,
    /// New records of itself without end.
    Restless,
}

impl Offence {
    /// The word used in incidents and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Flooding => "flooding",
            Self::Crowding => "crowding",
            Self::Overspending => "overspending",
            Self::Deaf => "deaf",
            Self::Restless => "restless",
        }
    }

    /// Whether nothing but the end of the connection helps.
    pub(crate) fn ends_the_connection(self) -> bool {
        self == Self::Deaf
    }
}

/// So much at once, and so much a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) at_once: u32,
    pub(crate) per_sec: u32,
}

/// What is left of a measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    measure: Measure,
    /// In thousandths.
    left: u64,
    since: Uptime,
}

impl Allowance {
    /// All of it.
    pub(crate) fn new(measure: Measure, now: Uptime) -> Self {
        Self { measure, left: u64::from(measure.at_once) * 1000, since: now }
    }

    /// Takes so much, if there is as much.
    pub(crate) fn take(&mut self, now: Uptime, amount: u32) -> bool {
        self.fill(now);
        let wanted = u64::from(amount) * 1000;
        let enough = wanted <= self.left;
        if enough {
            self.left -= wanted;
        }
        enough
    }

    /// Takes so much, and returns how long to wait for it first. More than is ever there at once counts as all of that.
    pub(crate) fn take_later(&mut self, now: Uptime, amount: u32) -> Duration {
        self.fill(now);
        let wanted = u64::from(amount.min(self.measure.at_once)) * 1000;
        let missing = wanted.saturating_sub(self.left);
        self.left = self.left.saturating_sub(wanted);
        Duration::from_millis(missing.div_ceil(u64::from(self.measure.per_sec.max(1))))
    }

    fn fill(&mut self, now: Uptime) {
        let millis = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        let more = millis.saturating_mul(u64::from(self.measure.per_sec));
        self.left = self.left.saturating_add(more).min(u64::from(self.measure.at_once) * 1000);
        if millis > 0 {
            self.since = now;
        }
    }
}

/// What one connection has asked of us of late.
#[derive(Debug)]
pub(crate) struct Conduct {
    datagrams: Allowance,
    feed: Allowance,
    exchanges: Allowance,
    records: Allowance,
    strangers: Allowance,
    patience: Allowance,
    offences: BTreeSet<Offence>,
}

/// Membership says a few things a second.
const DATAGRAMS: Measure = Measure { at_once: 2000, per_sec: 500 };
/// In KiB, and one for each frame. A node that comes anew hears of everybody, and of all names and groups, at once.
const FEED: Measure = Measure { at_once: 16 * 1024, per_sec: 1024 };
/// All records are sent to whom says that it holds others.
const EXCHANGES: Measure = Measure { at_once: 16, per_sec: 1 };
/// A node says something new of itself when it starts, drains, sleeps, moves and renews.
/// Each is a signature to check at every node of the cluster, and what is left out comes with the next exchange.
const RECORDS: Measure = Measure { at_once: 16, per_sec: 1 };

/// Whoever comes anew is told of everybody at once. After that nodes are new that are made or come back. Whoever goes beyond it
/// is not named: it may be honest, and pass on what others invented.
const STRANGERS: Measure = Measure { at_once: RECORDS_AT_ONCE, per_sec: 4 };
const RECORDS_AT_ONCE: u32 = 1024;
const _: () = assert!(RECORDS_AT_ONCE as usize == RECORDS_MAX);

impl Conduct {
    pub(crate) fn new(now: Uptime) -> Self {
        let all = |measure| Allowance::new(measure, now);
        Self {
            datagrams: all(DATAGRAMS),
            feed: all(FEED),
            exchanges: all(EXCHANGES),
            records: all(RECORDS),
            strangers: all(STRANGERS),
            patience: all(PATIENCE),
            offences: BTreeSet::new(),
        }
    }

    /// A datagram came. False where it is not to be heard.
    pub(crate) fn datagram(&mut self, now: Uptime) -> bool {
        self.datagrams.take(now, 1) || self.bear(now, Offence::Flooding)
    }

    /// A frame of so many bytes came on the feed stream. Returns how long the next one has to wait.
    pub(crate) fn feed(&mut self, now: Uptime, bytes: usize) -> Duration {
        let wait = self.feed.take_later(now, u32::try_from(1 + bytes / 1024).unwrap_or(u32::MAX));
        if !wait.is_zero() {
            self.bear(now, Offence::Flooding);
        }
        wait
    }

    /// It wants everything that we hold. False where it does not get that.
    pub(crate) fn exchange(&mut self, now: Uptime) -> bool {
        self.exchanges.take(now, 1) || self.bear(now, Offence::Flooding)
    }

    /// It says something new of itself. False where that is not to be passed on.
    pub(crate) fn record(&mut self, now: Uptime) -> bool {
        self.records.take(now, 1) || self.bear(now, Offence::Restless)
    }

    /// It tells of a node that is not known here. False where that is not to be kept.
    pub(crate) fn stranger(&mut self, now: Uptime) -> bool {
        self.strangers.take(now, 1)
    }

    /// It did something that does no harm by itself.
    pub(crate) fn bear(&mut self, now: Uptime, offence: Offence) -> bool {
        if !self.patience.take(now, 1) {
            self.offend(offence);
        }
        false
    }

    /// It did something that cannot be borne.
    pub(crate) fn offend(&mut self, offence: Offence) {
        self.offences.insert(offence);
    }

    /// What is to be told of it.
    pub(crate) fn take_offences(&mut self) -> BTreeSet<Offence> {
        std::mem::take(&mut self.offences)
    }
}

/// A member that does what no honest one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misbehaving {
    /// The member.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// What it does, in one word.
    pub why: String,
}

/// Who was named, and who is not listened to.
#[derive(Debug, Default)]
pub(crate) struct ConductBook(BTreeMap<NodeId, Entry>);

#[derive(Debug)]
struct Entry {
    name: NodeName,
    /// The last reason.
    why: String,
    /// All of them that were told. They are words of a few closed sets.
    told: BTreeSet<String>,
    until: Uptime,
    strikes: u32,
}

impl ConductBook {
    /// A member gave a reason to be named. Returns whether that is news.
    pub(crate) fn name(&mut self, now: Uptime, node: NodeId, name: &NodeName, why: &str) -> bool {
        self.forget(now);
        let full = self.0.len() >= RECORDS_MAX;
        let until = now.after(NAMED_FOR);
        match self.0.get_mut(&node) {
            Some(entry) => {
                entry.until = until;
                why.clone_into(&mut entry.why);
                entry.told.insert(why.to_owned())
            }
            None if full => false,
            None => {
                let told = BTreeSet::from([why.to_owned()]);
                let entry = Entry { name: name.clone(), why: why.to_owned(), told, until, strikes: 0 };
                self.0.insert(node, entry);
                true
            }
        }
    }

    /// A connection to a named member was closed for what it did.
    pub(crate) fn strike(&mut self, node: NodeId) {
        if let Some(entry) = self.0.get_mut(&node) {
            entry.strikes += 1;
        }
    }

    /// Whether nothing that this node says is heard.
    pub(crate) fn is_shunned(&self, now: Uptime, node: NodeId) -> bool {
        self.0.get(&node).is_some_and(|entry| entry.strikes >= STRIKES_MAX && entry.until > now)
    }

    /// Forgets whose time is over, and returns those that were shunned until now.
    pub(crate) fn forget(&mut self, now: Uptime) -> Vec<NodeId> {
        let over = |entry: &Entry| entry.until <= now;
        let back = self.0.iter().filter(|(_, entry)| over(entry) && entry.strikes >= STRIKES_MAX);
        let back = back.map(|(node, _)| *node).collect();
        self.0.retain(|_, entry| !over(entry));
        back
    }

    /// Everybody who is named at present.
    pub(crate) fn named(&self, now: Uptime) -> Vec<Misbehaving> {
        let present = self.0.iter().filter(|(_, entry)| entry.until > now);
        present
            .map(|(node, entry)| Misbehaving { node: *node, name: entry.name.clone(), why: entry.why.clone() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Uptime {
        Uptime::from_millis(millis)
    }

    fn name() -> NodeName {
        NodeName::new("liar").unwrap()
    }

    const NODE: NodeId = NodeId([7; 16]);

    #[test]
    fn a_measure_is_so_much_at_once_and_so_much_a_second() {
        let mut allowance = Allowance::new(Measure { at_once: 3, per_sec: 2 }, at(0));
        let taken = |allowance: &mut Allowance, millis| (0..5).filter(|_| allowance.take(at(millis), 1)).count();
        assert_eq!(taken(&mut allowance, 0), 3);
        assert_eq!(taken(&mut allowance, 499), 0);
        assert_eq!(taken(&mut allowance, 1000), 2);
        assert_eq!(taken(&mut allowance, 3_600_000), 3, "it never holds more than at once");
    }

    #[test]
    fn what_has_to_wait_waits_as_long_as_the_measure_needs() {
        let mut allowance = Allowance::new(Measure { at_once: 10, per_sec: 10 }, at(0));
        assert_eq!(allowance.take_later(at(0), 10), Duration::ZERO);
        assert_eq!(allowance.take_later(at(0), 5), Duration::from_millis(500));
        assert_eq!(allowance.take_later(at(10_000), 1000), Duration::ZERO, "too much counts as all there is");
    }

    #[test]
    fn an_honest_pace_of_datagrams_is_never_refused_and_a_flood_is_named() {
        let mut conduct = Conduct::new(at(0));
        assert!((0..60_000).all(|millis| millis % 10 != 0 || conduct.datagram(at(millis))));
        let heard = (0..100_000).filter(|_| conduct.datagram(at(60_000))).count();
        assert_eq!(heard, DATAGRAMS.at_once as usize);
        assert_eq!(conduct.take_offences(), [Offence::Flooding].into());
        assert_eq!(conduct.take_offences(), [].into(), "told once");
    }

    #[test]
    fn a_whole_cluster_may_be_told_of_at_once_and_who_passes_on_more_is_heard_slowly_and_not_named() {
        let mut conduct = Conduct::new(at(0));
        assert!((0..RECORDS_MAX).all(|_| conduct.stranger(at(0))));
        assert!(!conduct.stranger(at(0)));
        let kept = (0..60_000).filter(|_| conduct.stranger(at(10_000))).count();
        assert_eq!(kept, 10 * STRANGERS.per_sec as usize);
        assert_eq!(conduct.take_offences(), [].into(), "it may not be the one that invents");
    }

    #[test]
    fn a_name_is_told_once_in_ten_minutes_and_forgotten_ten_minutes_after_the_last_reason() {
        let mut book = ConductBook::default();
        assert!(book.name(at(0), NODE, &name(), "flooding"));
        assert!(!book.name(at(60_000), NODE, &name(), "flooding"));
        assert!(book.name(at(120_000), NODE, &name(), "deaf"), "another reason is news");
        assert!(!book.name(at(120_000), NODE, &name(), "flooding"), "two by turns are not");
        assert!(!book.name(at(120_000), NODE, &name(), "deaf"));
        assert_eq!(book.named(at(719_999)).len(), 1);
        assert_eq!(book.named(at(720_000)), []);
        assert!(book.name(at(720_000), NODE, &name(), "deaf"));
    }

    #[test]
    fn the_third_broken_connection_closes_our_ears_for_ten_minutes() {
        let mut book = ConductBook::default();
        for strike in 0..3 {
            assert!(!book.is_shunned(at(strike), NODE));
            book.name(at(strike), NODE, &name(), "malformed");
            book.strike(NODE);
        }
        assert!(book.is_shunned(at(3), NODE));
        assert_eq!(book.forget(at(600_001)), []);
        assert_eq!(book.forget(at(600_002)), [NODE], "back");
        assert!(!book.is_shunned(at(600_002), NODE));
    }

    #[test]
    fn no_more_members_are_named_than_there_may_be() {
        let mut book = ConductBook::default();
        for node in 0..2 * RECORDS_MAX as u128 {
            book.name(at(0), NodeId(node.to_be_bytes()), &name(), "flooding");
        }
        assert_eq!(book.named(at(1)).len(), RECORDS_MAX);
    }
}
