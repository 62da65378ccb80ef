//! What nodes send each other about presence, after the tag of the feed frame.

use std::collections::BTreeSet;

use bytes::Bytes;
use covenant_runtime::Sight;
use covenant_types::{ActorPath, NodeId, Region};
use serde::{Deserialize, Serialize};

use super::entry::{About, Entry, ShardId, Stamp};
use super::shard::{Change, SHARD_ENTRIES_MAX, Shard};
use crate::{RECORDS_MAX, feed};

/// A frame is closed once its entries come to this.
const FRAME_ENTRIES_BYTES: usize = 48 * 1024;
/// The longest frame that is read.
const FRAME_BYTES_MAX: usize = 120 * 1024;
/// The most shards one digest names: those of all nodes there may be, the speakers of regions, and some that no longer are.
const DIGEST_MAX: usize = RECORDS_MAX + 64;

/// The most paths that are asked for at once.
pub(crate) const SEEK_PATHS_MAX: usize = 128;

/// A message between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// The copies that the sender holds of what the receiver may tell it. A shard that is not named it does not hold.
    Digest(Vec<(Whose, Stamp)>),
    /// What changed after the version `from`.
    Delta { whose: Whose, from: u64, to: Stamp, changes: Vec<Change> },
    /// A part of a whole shard. The parts come in order, over one stream.
    Whole { whose: Whose, stamp: Stamp, part: u16, parts: u16, entries: Vec<Entry> },
    /// What is at these paths of the receiver?
    Seek { question: u32, paths: Vec<ActorPath> },
    /// That is, in the order of the paths.
    Sights { question: u32, sights: Vec<Option<Sight>> },
}

/// A shard, as named between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Whose {
    /// About the actors of the sender; in a digest, about the receiver's.
    Direct,
    /// About a region, by this speaker.
    Region(Region, NodeId),
    /// About the actors of this node, told on by a hub.
    Actors(NodeId),
}

impl Whose {
    /// The shard, where `direct` is the node that [`Whose::Direct`] means.
    pub(crate) fn shard(self, direct: NodeId) -> ShardId {
        match self {
            Self::Direct => ShardId { writer: direct, about: About::Actors },
            Self::Region(region, writer) => ShardId { writer, about: About::Region(region) },
            Self::Actors(writer) => ShardId { writer, about: About::Actors },
        }
    }

    /// The name of a shard, where `direct` is the node that [`Whose::Direct`] means.
    pub(crate) fn of(shard: ShardId, direct: NodeId) -> Self {
        match shard.about {
            About::Actors if shard.writer == direct => Self::Direct,
            About::Actors => Self::Actors(shard.writer),
            About::Region(region) => Self::Region(region, shard.writer),
        }
    }
}

impl Frame {
    /// Reads a frame; `None` if it is none, or one that no honest node sends.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let frame: Self = covenant_wire::decode(bytes, FRAME_BYTES_MAX).ok()?;
        let fits = match &frame {
            Self::Digest(held) => held.len() <= DIGEST_MAX,
            Self::Seek { paths, .. } => paths.len() <= SEEK_PATHS_MAX,
            Self::Sights { sights, .. } => sights.len() <= SEEK_PATHS_MAX,
            Self::Delta { whose, from, to, changes } => {
                let about = whose.shard(NodeId([0; 16])).about;
                *from < to.version && changes.iter().all(|change| change.entry.belongs_to(about))
            }
            Self::Whole { whose, part, parts, entries, .. } => {
                let about = whose.shard(NodeId([0; 16])).about;
                part < parts
                    && usize::from(*parts) <= SHARD_ENTRIES_MAX
                    && entries.iter().all(|entry| entry.belongs_to(about))
            }
        };
        fits.then_some(frame)
    }

    /// As the feed stream carries it.
    pub(crate) fn bytes(&self) -> Bytes {
        feed::presence(&covenant_wire::encode(self))
    }
}

/// The frames that bring a copy of `shard` up to date that is at `held`, if there is one; none where it is.
pub(crate) fn update(whose: Whose, shard: &Shard, held: Option<Stamp>) -> Vec<Bytes> {
    let stamp = shard.stamp();
    if held >= Some(stamp) {
        return Vec::new();
    }
    let since =
        held.filter(|held| held.epoch == stamp.epoch).and_then(|held| Some((held.version, shard.since(held.version)?)));
    if let Some((from, changes)) = since
        && changes.iter().map(|change| change.entry.bytes()).sum::<usize>() <= FRAME_ENTRIES_BYTES
    {
        return vec![Frame::Delta { whose, from, to: stamp, changes }.bytes()];
    }
    whole(whose, stamp, shard.entries())
}

fn whole(whose: Whose, stamp: Stamp, all: &BTreeSet<Entry>) -> Vec<Bytes> {
    let mut pieces = vec![Vec::new()];
    let mut bytes = 0;
    for entry in all {
        bytes += entry.bytes();
        if bytes > FRAME_ENTRIES_BYTES {
            pieces.push(Vec::new());
            bytes = entry.bytes();
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(entry.clone());
        }
    }
    let parts = u16::try_from(pieces.len()).expect("a shard of 2 MiB has fewer parts");
    let frame = |(part, entries)| Frame::Whole { whose, stamp, part, parts, entries }.bytes();
    (0..).zip(pieces).map(frame).collect()
}

#[cfg(test)]
mod tests {
    use covenant_types::{BootEpoch, Name, Scope};
    use proptest::prelude::*;

    use super::*;

    const SPEAKER: NodeId = NodeId([7; 16]);

    fn member(number: usize) -> Entry {
        let path: ActorPath = format!("/pool/worker-{number}").parse().unwrap();
        Entry::Member { group: Name::new("workers").unwrap(), scope: Scope::Region, path }
    }

    fn parse(bytes: &Bytes) -> Frame {
        let Some(feed::FeedFrame::Presence(frame)) = feed::FeedFrame::parse(bytes) else { panic!("of the wrong kind") };
        Frame::parse(frame).unwrap()
    }

    fn shard(members: usize) -> Shard {
        let mut shard = Shard::new(Stamp { epoch: BootEpoch(3), version: 0 });
        shard.become_these((0..members).map(member).collect());
        shard
    }

    #[test]
    fn a_large_shard_crosses_in_parts_of_bounded_size() {
        let shard = shard(10_000);
        let frames = update(Whose::Direct, &shard, None);
        assert!(frames.len() > 3, "{}", frames.len());
        let mut read = BTreeSet::new();
        for (at, bytes) in frames.iter().enumerate() {
            assert!(bytes.len() <= FRAME_BYTES_MAX);
            let Frame::Whole { part, parts, entries, .. } = parse(bytes) else { panic!("no part") };
            assert_eq!((usize::from(part), usize::from(parts)), (at, frames.len()));
            read.extend(entries);
        }
        assert_eq!(&read, shard.entries());
    }

    #[test]
    fn a_change_costs_less_than_twice_what_changed() {
        let mut shard = shard(100);
        let held = shard.stamp();
        let mut more = shard.entries().clone();
        more.insert(member(100));
        shard.become_these(more);
        let frames = update(Whose::Direct, &shard, Some(held));
        let payload = "workers".len() + "/pool/worker-100".len();
        assert!(frames.len() == 1 && frames[0].len() <= 2 * payload, "{} bytes for {payload}", frames[0].len());
        assert_eq!(update(Whose::Direct, &shard, Some(shard.stamp())), Vec::<Bytes>::new());
    }

    #[test]
    fn golden_bytes_of_a_delta_and_a_digest() {
        let changes = vec![Change { entry: member(1), there: true }];
        let delta =
            Frame::Delta { whose: Whose::Direct, from: 1, to: Stamp { epoch: BootEpoch(3), version: 2 }, changes };
        let mut expected = vec![6, 1, 0, 1, 3, 2, 1, 0, 7];
        expected.extend(b"workers\x01\x0e/pool/worker-1\x01");
        assert_eq!(delta.bytes(), expected);
        let digest = Frame::Digest(vec![(Whose::Direct, Stamp { epoch: BootEpoch(3), version: 2 })]);
        assert_eq!(digest.bytes(), [6, 0, 1, 0, 3, 2].as_slice());
    }

    #[test]
    fn what_no_honest_node_sends_is_no_frame() {
        let stamp = Stamp { epoch: BootEpoch(1), version: 1 };
        let local = Entry::Member { group: Name::new("g").unwrap(), scope: Scope::Local, path: ActorPath::root() };
        let count = Entry::Count { group: Name::new("g").unwrap(), count: 1 };
        for frame in [
            Frame::Digest(vec![(Whose::Direct, stamp); DIGEST_MAX + 1]),
            Frame::Delta { whose: Whose::Direct, from: 1, to: stamp, changes: Vec::new() },
            Frame::Delta {
                whose: Whose::Direct,
                from: 0,
                to: stamp,
                changes: vec![Change { entry: count.clone(), there: true }],
            },
            Frame::Whole { whose: Whose::Direct, stamp, part: 0, parts: 1, entries: vec![local] },
            Frame::Whole {
                whose: Whose::Region(Region::Asia, SPEAKER),
                stamp,
                part: 0,
                parts: 1,
                entries: vec![member(1)],
            },
            Frame::Whole { whose: Whose::Direct, stamp, part: 1, parts: 1, entries: Vec::new() },
            Frame::Seek { question: 1, paths: vec![ActorPath::root(); SEEK_PATHS_MAX + 1] },
            Frame::Sights { question: 1, sights: vec![None; SEEK_PATHS_MAX + 1] },
        ] {
            assert_eq!(Frame::parse(&covenant_wire::encode(&frame)), None, "{frame:?}");
        }
        let good = Frame::Whole {
            whose: Whose::Region(Region::Asia, SPEAKER),
            stamp,
            part: 0,
            parts: 1,
            entries: vec![count],
        };
        assert_eq!(Frame::parse(&covenant_wire::encode(&good)), Some(good));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Frame::parse(&bytes));
        }
    }
}
