//! Which capsules there are, and which of them are to be written or removed.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_runtime::{CrashKey, Crashes};
use covenant_types::Uptime;
use sha2::{Digest, Sha256};

use crate::api::actor::Capsule;

/// The most capsules of one node. The one that was added to least recently makes room.
pub(crate) const CAPSULES_MAX: usize = 64;
/// The longest capsule, in bytes.
pub(crate) const CAPSULE_BYTES_MAX: usize = 64 * 1024;
/// The shortest time between two writes of the same capsule.
pub(crate) const UPDATE_EVERY: Duration = Duration::from_secs(1);

/// The capsules of one node.
#[derive(Debug, Default)]
pub(super) struct Book {
    capsules: BTreeMap<String, Kept>,
}

#[derive(Debug)]
struct Kept {
    capsule: Capsule,
    /// When it was last written in this run of the node.
    written: Option<Uptime>,
    changed: bool,
}

/// What is to be done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Write this.
    Write { id: String, bytes: Vec<u8> },
    /// Take it away.
    Remove { id: String },
}

impl Book {
    /// Takes up a capsule of an earlier run.
    pub(super) fn take_up(&mut self, capsule: Capsule) -> Vec<Effect> {
        let id = capsule.id.clone();
        self.capsules.insert(id.clone(), Kept { capsule, written: None, changed: false });
        self.make_room(&id)
    }

    /// Adds what happened at or before `now`.
    pub(super) fn add(&mut self, now: Uptime, news: BTreeMap<CrashKey, Crashes>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (key, crashes) in news {
            let id = id_of(&key);
            if let Some(kept) = self.capsules.get_mut(&id) {
                kept.add(crashes);
            } else if let Some(capsule) = begin(&id, key, crashes, now) {
                self.capsules.insert(id.clone(), Kept { capsule, written: None, changed: true });
                effects.extend(self.make_room(&id));
            }
        }
        effects
    }

    /// What is due to be written at `now`; everything that changed where `all` is wanted.
    pub(super) fn due(&mut self, now: Uptime, all: bool) -> Vec<Effect> {
        let due = self.capsules.iter_mut().filter(|(_, kept)| {
            kept.changed && (all || kept.written.is_none_or(|written| now.since(written) >= UPDATE_EVERY))
        });
        due.map(|(id, kept)| {
            (kept.written, kept.changed) = (Some(now), false);
            Effect::Write { id: id.clone(), bytes: encode(&kept.capsule) }
        })
        .collect()
    }

    /// How long after `now` something is due, if nothing happens before.
    pub(super) fn next_due(&self, now: Uptime) -> Option<Duration> {
        let waits = self.capsules.values().filter(|kept| kept.changed).map(|kept| {
            let since = kept.written.map_or(UPDATE_EVERY, |written| now.since(written));
            UPDATE_EVERY.saturating_sub(since)
        });
        waits.min()
    }

    /// All capsules, the newest first.
    pub(super) fn capsules(&self) -> Vec<&Capsule> {
        let mut capsules: Vec<&Capsule> = self.capsules.values().map(|kept| &kept.capsule).collect();
        capsules.sort_by_key(|capsule| std::cmp::Reverse(capsule.last_at));
        capsules
    }

    /// The capsule `id`.
    pub(super) fn find(&self, id: &str) -> Option<&Capsule> {
        self.capsules.get(id).map(|kept| &kept.capsule)
    }

    /// Removes the oldest while there are too many, but not `newest`.
    fn make_room(&mut self, newest: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.capsules.len() > CAPSULES_MAX {
            let others = self.capsules.iter().filter(|(id, _)| *id != newest);
            let Some(oldest) = others.min_by_key(|(_, kept)| kept.capsule.last_at).map(|(id, _)| id.clone()) else {
                break;
            };
            self.capsules.remove(&oldest);
            effects.push(Effect::Remove { id: oldest });
        }
        effects
    }
}

impl Kept {
    fn add(&mut self, crashes: Crashes) {
        let capsule = &mut self.capsule;
        capsule.count += crashes.count;
        if let Some((incarnation, at)) = crashes.last {
            (capsule.last_incarnation, capsule.last_at) = (incarnation, at);
        }
        crashes.chain.into_iter().for_each(|link| link.add_to(&mut capsule.chain));
        self.changed = true;
    }
}

/// `None` where only something further up is told of a crash whose capsule has made room.
fn begin(id: &str, key: CrashKey, crashes: Crashes, now: Uptime) -> Option<Capsule> {
    let first = crashes.first?;
    let (last_incarnation, last_at) = crashes.last.unwrap_or((first.incarnation, first.at));
    let after = now.0.saturating_sub(Duration::from_micros(first.at_us));
    Some(Capsule {
        id: id.to_owned(),
        class: key.class,
        count: crashes.count,
        last_incarnation,
        last_at,
        taken_up_after_us: u64::try_from(after.as_micros()).unwrap_or(u64::MAX),
        first,
        chain: crashes.chain,
        cut: false,
    })
}

fn id_of(key: &CrashKey) -> String {
    let mut hash = Sha256::new();
    hash.update(key.path.as_str());
    hash.update([0]);
    hash.update(&key.class);
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The file's text. Where it would be too long the texts of messages go first, then the record.
fn encode(capsule: &Capsule) -> Vec<u8> {
    let text = |capsule: &Capsule| serde_json::to_vec_pretty(capsule).unwrap_or_default();
    let whole = text(capsule);
    if whole.len() <= CAPSULE_BYTES_MAX {
        return whole;
    }
    let mut cut = Capsule { cut: true, ..capsule.clone() };
    if let Some(record) = &mut cut.first.record {
        record.messages.iter_mut().for_each(|message| message.text = None);
    }
    let without_texts = text(&cut);
    if without_texts.len() <= CAPSULE_BYTES_MAX {
        return without_texts;
    }
    cut.first.record = None;
    text(&cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_runtime::{ChainLink, CrashContext, CrashReport, Decision, FlightRecord, SeenMessage};
    use covenant_types::{ActorPath, Incarnation, WallTime};

    fn path(text: &str) -> ActorPath {
        text.parse().unwrap()
    }

    fn crashes(at: &str, count: u64, wall: u64) -> BTreeMap<CrashKey, Crashes> {
        let first = CrashReport {
            path: path(at),
            incarnation: Incarnation(1),
            context: CrashContext::Running,
            reason: "killed".into(),
            site: None,
            trace: None,
            at: WallTime(wall),
            at_us: 1_000,
            behaviour: None,
            handled: 0,
            waiting: 0,
            took_along: 0,
            record: None,
        };
        let chain = vec![ChainLink { supervisor: path("/"), child: path(at), did: Decision::Restarted, times: count }];
        let last = Some((Incarnation(u32::try_from(count).unwrap()), WallTime(wall)));
        let key = CrashKey { path: path(at), class: "killed".into() };
        [(key, Crashes { count, first: Some(first), last, chain })].into()
    }

    fn written(effects: &[Effect]) -> Vec<Capsule> {
        let bytes = effects.iter().filter_map(|effect| match effect {
            Effect::Write { bytes, .. } => Some(bytes),
            Effect::Remove { .. } => None,
        });
        bytes.map(|bytes| serde_json::from_slice(bytes).unwrap()).collect()
    }

    #[test]
    fn a_new_crash_is_written_at_once_and_its_count_once_a_second() {
        let (mut book, at) = (Book::default(), Uptime::from_millis);
        assert_eq!(book.add(at(3), crashes("/a", 1, 1)), []);
        let first = written(&book.due(at(3), false));
        assert_eq!((first.len(), first[0].count, first[0].taken_up_after_us), (1, 1, 2_000));
        for millis in 4..1003 {
            assert_eq!(book.add(at(millis), crashes("/a", 2, millis)), []);
            assert_eq!(book.due(at(millis), false), []);
        }
        assert_eq!(book.next_due(at(1002)), Some(Duration::from_millis(1)));
        let second = written(&book.due(at(1003), false));
        assert_eq!((second[0].count, second[0].chain[0].times, second[0].id == first[0].id), (1999, 1999, true));
        assert_eq!((second[0].last_at, book.next_due(at(1003))), (WallTime(1002), None));
        let _ = book.add(at(1004), crashes("/a", 1, 9));
        assert_eq!(written(&book.due(at(1004), true))[0].count, 2000, "everything, when the node stops");
    }

    #[test]
    fn the_oldest_capsule_makes_room() {
        let mut book = Book::default();
        for number in 0..CAPSULES_MAX {
            let effects = book.add(Uptime::ZERO, crashes(&format!("/a{number}"), 1, 100 + number as u64));
            assert_eq!(effects, []);
        }
        let _ = book.add(Uptime::ZERO, crashes("/a0", 1, 500));
        let removed = book.add(Uptime::ZERO, crashes("/new", 1, 1));
        let oldest = id_of(&CrashKey { path: path("/a1"), class: "killed".into() });
        assert_eq!(removed, [Effect::Remove { id: oldest.clone() }], "not /a0, which crashed again, nor the new one");
        assert!(book.find(&oldest).is_none());
        assert_eq!(book.capsules()[0].first.path, path("/a0"));
    }

    #[test]
    fn a_capsule_goes_on_counting_where_the_last_run_ended() {
        let mut book = Book::default();
        let _ = book.add(Uptime::ZERO, crashes("/a", 7, 1));
        let capsule = written(&book.due(Uptime::ZERO, true)).remove(0);
        let mut next = Book::default();
        assert_eq!(next.take_up(capsule.clone()), []);
        assert_eq!(next.due(Uptime::ZERO, true), [], "nothing changed");
        let _ = next.add(Uptime::ZERO, crashes("/a", 1, 2));
        assert_eq!(next.find(&capsule.id).unwrap().count, 8);
    }

    #[test]
    fn a_capsule_has_a_size_that_it_never_exceeds() {
        let mut news = crashes("/a", 1, 1);
        let message =
            |text: Option<String>| SeenMessage { kind: "k".repeat(60).into(), size: 1, batch: 1, trace: None, text };
        let loud = (0..300).map(|_| message(Some("\u{1}".repeat(256)))).collect();
        let first = news.values_mut().next().unwrap().first.as_mut().unwrap();
        first.record = Some(FlightRecord { messages: loud, batches: vec![] });
        let mut book = Book::default();
        let _ = book.add(Uptime::ZERO, news);
        let Effect::Write { bytes, .. } = &book.due(Uptime::ZERO, false)[0] else { panic!("it is written") };
        assert!(bytes.len() <= CAPSULE_BYTES_MAX, "{}", bytes.len());
        let kept: Capsule = serde_json::from_slice(bytes).unwrap();
        let messages = kept.first.record.unwrap().messages;
        assert!(kept.cut && messages.len() == 300 && messages.iter().all(|message| message.text.is_none()));
    }
}
