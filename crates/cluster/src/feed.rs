//! What runs on the feed stream: facts too large for a datagram, records, denials. One frame each.

use std::sync::Arc;

use bytes::Bytes;
use covenant_identity::{DENIAL_BYTES_MAX, SignedDenial};
use covenant_runtime::{DECLARED_MAX, Declared};
use covenant_types::NodeId;
use covenant_wire::SchemaHash;

use crate::mail_room::{Letter, LetterId};
use crate::record::{RECORD_BYTES_MAX, SignedRecord};
use crate::remoting::frame::TYPE_NAME_BYTES_MAX;

/// The longest frame.
pub(crate) const FEED_FRAME_BYTES_MAX: usize = 128 * 1024;
/// So many records always fit in one frame.
const RECORDS_PER_FRAME: usize = FEED_FRAME_BYTES_MAX / (RECORD_BYTES_MAX + 2) - 1;
/// So many denials always fit in one frame.
const DENIALS_PER_FRAME: usize = FEED_FRAME_BYTES_MAX / (DENIAL_BYTES_MAX + 2) - 1;

/// The most buckets of a digest: 2 KiB.
const BUCKETS_MAX: usize = 256;

/// How many buckets are worth sending where there are so many records.
pub(crate) fn buckets_for(records: usize) -> usize {
    (records / 4).max(1).next_power_of_two().min(BUCKETS_MAX)
}

/// One message on the feed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FeedFrame<'a> {
    /// What the membership core made; opaque here.
    Members(&'a [u8]),
    /// A membership datagram that no datagram can carry on this path.
    Datagram(&'a [u8]),
    /// Signed records, not yet checked.
    Records(Vec<&'a [u8]>),
    /// What the sender's [`crate::directory::Directory`] comes to, in one number.
    Digest(u64),
    /// The same in buckets: send what differs, and where `answer` is set your own buckets as well.
    Summary { answer: bool, buckets: Vec<u64> },
    /// `asker` wants to be dialled by `target`.
    Seek { target: NodeId, asker: NodeId },
    /// A letter: for the receiver, or to be kept by it.
    Letter(Letter),
    /// The sender has this letter.
    Delivered(LetterId),
    /// Signed denials, not yet checked.
    Denials(Vec<&'a [u8]>),
    /// The digest of the sender's deny-list.
    Denied(u64),
    /// The sender holds the receiver's own record of this number, or a later one.
    Heard(u64),
    /// About names and groups: a [`crate::presence::frame::Frame`].
    Presence(&'a [u8]),
    /// The message types that the sender declares.
    Types(Vec<(String, SchemaHash)>),
    /// Statements about the cluster's roots, not yet checked.
    Roots(&'a [u8]),
}

impl<'a> FeedFrame<'a> {
    /// Reads a frame; `None` if it is none.
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let (kind, rest) = frame.split_first()?;
        match *kind {
            MEMBERS => Some(Self::Members(rest)),
            DATAGRAM => Some(Self::Datagram(rest)),
            PRESENCE => Some(Self::Presence(rest)),
            DIGEST => Some(Self::Digest(u64::from_be_bytes(rest.try_into().ok()?))),
            SUMMARY => {
                let (answer, rest) = rest.split_first()?;
                let (buckets, []) = rest.as_chunks::<8>() else { return None };
                let fits = buckets.len().is_power_of_two() && buckets.len() <= BUCKETS_MAX && *answer <= 1;
                let buckets = buckets.iter().map(|bucket| u64::from_be_bytes(*bucket)).collect();
                fits.then_some(Self::Summary { answer: *answer == 1, buckets })
            }
            SEEK => {
                let (target, rest) = rest.split_first_chunk::<16>()?;
                let asker = rest.try_into().ok()?;
                Some(Self::Seek { target: NodeId(*target), asker: NodeId(asker) })
            }
            LETTER => covenant_wire::decode(rest, FEED_FRAME_BYTES_MAX).ok().map(Self::Letter),
            DELIVERED => covenant_wire::decode(rest, 64).ok().map(Self::Delivered),
            HEARD => Some(Self::Heard(u64::from_be_bytes(rest.try_into().ok()?))),
            DENIED => Some(Self::Denied(u64::from_be_bytes(rest.try_into().ok()?))),
            TYPES => {
                let (mut types, mut rest) = (Vec::new(), rest);
                while !rest.is_empty() {
                    let (hash, tail) = rest.split_first_chunk::<32>()?;
                    let (length, tail) = tail.split_first()?;
                    let (name, tail) = tail.split_at_checked(usize::from(*length))?;
                    let fits = types.len() < DECLARED_MAX && name.len() <= TYPE_NAME_BYTES_MAX;
                    let name = std::str::from_utf8(name).ok().filter(|_| fits)?;
                    types.push((name.to_owned(), SchemaHash(*hash)));
                    rest = tail;
                }
                Some(Self::Types(types))
            }
            RECORDS => pieces(rest).map(Self::Records),
            DENIALS => pieces(rest).map(Self::Denials),
            ROOTS => Some(Self::Roots(rest)),
            _ => None,
        }
    }
}

/// What [`packed`] put together.
fn pieces(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (piece, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        pieces.push(piece);
        rest = tail;
    }
    Some(pieces)
}

/// A frame with what the membership core made.
pub(crate) fn members(data: &[u8]) -> Bytes {
    tagged(MEMBERS, data)
}

/// A frame with a datagram.
pub(crate) fn datagram(data: &[u8]) -> Bytes {
    tagged(DATAGRAM, data)
}

/// A frame with a digest.
pub(crate) fn digest(digest: u64) -> Bytes {
    tagged(DIGEST, &digest.to_be_bytes())
}

/// A frame with a digest in buckets.
pub(crate) fn summary(answer: bool, buckets: &[u64]) -> Bytes {
    let mut data = vec![u8::from(answer)];
    buckets.iter().for_each(|bucket| data.extend_from_slice(&bucket.to_be_bytes()));
    tagged(SUMMARY, &data)
}

/// A frame that asks `target` to dial `asker`.
pub(crate) fn seek(target: NodeId, asker: NodeId) -> Bytes {
    tagged(SEEK, &[target.0, asker.0].concat())
}

/// A frame with a letter.
pub(crate) fn letter(letter: &Letter) -> Bytes {
    tagged(LETTER, &covenant_wire::encode(letter))
}

/// A frame that says that a letter was had.
pub(crate) fn delivered(id: &LetterId) -> Bytes {
    tagged(DELIVERED, &covenant_wire::encode(id))
}

/// A frame that says that the receiver's own record of this number was heard.
pub(crate) fn heard(sequence: u64) -> Bytes {
    tagged(HEARD, &sequence.to_be_bytes())
}

/// A frame about names and groups.
pub(crate) fn presence(data: &[u8]) -> Bytes {
    tagged(PRESENCE, data)
}

/// A frame with the message types that this node declares. It always fits.
pub(crate) fn types(declared: &[Declared]) -> Bytes {
    let mut frame = vec![TYPES];
    for Declared { name, schema } in declared.iter().take(DECLARED_MAX) {
        // One whose name is too long is refused when it is sent.
        if let Some(length) = u8::try_from(name.len()).ok().filter(|_| name.len() <= TYPE_NAME_BYTES_MAX) {
            frame.extend_from_slice(&schema.0);
            frame.push(length);
            frame.extend_from_slice(name.as_bytes());
        }
    }
    Bytes::from(frame)
}

/// A frame with statements about the cluster's roots.
pub(crate) fn roots(statements: &[u8]) -> Bytes {
    tagged(ROOTS, statements)
}

/// Frames with all these records.
pub(crate) fn records(records: &[Arc<SignedRecord>]) -> Vec<Bytes> {
    let frame = |records: &[Arc<SignedRecord>]| packed(RECORDS, records.iter().map(|record| record.bytes()));
    records.chunks(RECORDS_PER_FRAME).map(frame).collect()
}

/// Frames with all these denials.
pub(crate) fn denials(denials: &[SignedDenial]) -> Vec<Bytes> {
    let frame = |denials: &[SignedDenial]| packed(DENIALS, denials.iter().map(SignedDenial::bytes));
    denials.chunks(DENIALS_PER_FRAME).map(frame).collect()
}

/// A frame with the digest of the deny-list.
pub(crate) fn denied(digest: u64) -> Bytes {
    tagged(DENIED, &digest.to_be_bytes())
}

fn packed<'a>(kind: u8, pieces: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut frame = vec![kind];
    for piece in pieces {
        let length = u16::try_from(piece.len()).expect("records and denials have at most 2048 bytes");
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(piece);
    }
    Bytes::from(frame)
}

fn tagged(kind: u8, data: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(1 + data.len());
    frame.push(kind);
    frame.extend_from_slice(data);
    Bytes::from(frame)
}

const MEMBERS: u8 = 1;
const DATAGRAM: u8 = 2;
const RECORDS: u8 = 3;
const DIGEST: u8 = 4;
const HEARD: u8 = 5;
const PRESENCE: u8 = 6;
const SUMMARY: u8 = 7;
const SEEK: u8 = 8;
const LETTER: u8 = 9;
const DELIVERED: u8 = 10;
const DENIALS: u8 = 11;
const DENIED: u8 = 12;
const TYPES: u8 = 13;
const ROOTS: u8 = 14;

#[cfg(test)]
mod tests {
    use covenant_identity::{NodeKey, Scope, TrustMark};
    use covenant_types::{BootEpoch, Fence, LinkTier, NodeId, NodeName, Region, Role, WallTime};

    use crate::Phase;

    use super::*;
    use crate::record::NodeRecord;

    #[test]
    fn all_records_arrive_in_frames_of_bounded_size() {
        let key = NodeKey::generate();
        let record = NodeRecord {
            id: key.node_id(),
            public_key: key.public_key(),
            name: NodeName::new("a-name-of-the-greatest-length-32").unwrap(),
            role: Role::Tower,
            region: Region::LatinAmerica,
            epoch: BootEpoch(1),
            address: "[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().unwrap(),
            tier: LinkTier::Lan,
            phase: Phase::Active,
            version: "1.2.3".to_owned(),
            certificate_issuer: NodeId([9; 16]),
            certificate_begins: WallTime(1_799_000_000),
            certificate_ends: WallTime(1_800_000_000),
            trust: TrustMark { version: 3, roots: 1, under: 2, issues: Some(Scope::Region(Region::LatinAmerica)) },
            sequence: 1,
        };
        let signed = Arc::new(SignedRecord::sign(record, &key));
        let all: Vec<_> = (0..1024).map(|_| Arc::clone(&signed)).collect();
        let frames = records(&all);
        assert!(frames.iter().all(|frame| frame.len() <= FEED_FRAME_BYTES_MAX));
        let read: Vec<_> = frames
            .iter()
            .flat_map(|frame| match FeedFrame::parse(frame) {
                Some(FeedFrame::Records(records)) => records,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(read, vec![all[0].bytes(); 1024]);
    }

    #[test]
    fn other_frames_are_read_as_they_were_written() {
        assert_eq!(FeedFrame::parse(&members(b"m")), Some(FeedFrame::Members(b"m")));
        assert_eq!(FeedFrame::parse(&datagram(b"d")), Some(FeedFrame::Datagram(b"d")));
        assert_eq!(FeedFrame::parse(&digest(7)), Some(FeedFrame::Digest(7)));
        assert_eq!(FeedFrame::parse(&heard(8)), Some(FeedFrame::Heard(8)));
        let (target, asker) = (NodeId([1; 16]), NodeId([2; 16]));
        assert_eq!(FeedFrame::parse(&seek(target, asker)), Some(FeedFrame::Seek { target, asker }));
        let id = LetterId { sender: target, epoch: BootEpoch(3), number: 4 };
        assert_eq!(FeedFrame::parse(&delivered(&id)), Some(FeedFrame::Delivered(id)));
        let letter = Letter {
            to: asker,
            id,
            name: NodeName::new("one").unwrap(),
            role: Role::Hub,
            region: Region::Asia,
            path: "/actor".parse().unwrap(),
            type_name: "test".to_owned(),
            schema: SchemaHash([6; 32]),
            trace: Some(5),
            fence: Some(Fence { key: "/placed".parse().unwrap(), token: 7 }),
            request: vec![1, 2, 3],
        };
        assert_eq!(FeedFrame::parse(&self::letter(&letter)), Some(FeedFrame::Letter(letter)));
        for answer in [true, false] {
            let buckets = vec![1, 2, 3, 4];
            assert_eq!(FeedFrame::parse(&summary(answer, &buckets)), Some(FeedFrame::Summary { answer, buckets }));
        }
        assert_eq!(FeedFrame::parse(&denied(7)), Some(FeedFrame::Denied(7)));
        assert_eq!(
            FeedFrame::parse(&packed(DENIALS, [&b"one"[..], b""].into_iter())),
            Some(FeedFrame::Denials(vec![b"one", b""]))
        );
        assert_eq!(FeedFrame::parse(&roots(b"r")), Some(FeedFrame::Roots(b"r")));
    }

    #[test]
    fn all_message_types_a_node_may_declare_fit_in_a_frame_and_one_more_is_refused() {
        let name: &'static str = "n".repeat(TYPE_NAME_BYTES_MAX).leak();
        let schema = SchemaHash([7; 32]);
        let frame = types(&vec![Declared { name, schema }; DECLARED_MAX + 1]);
        assert!(frame.len() <= FEED_FRAME_BYTES_MAX);
        let all = vec![(name.to_owned(), schema); DECLARED_MAX];
        assert_eq!(FeedFrame::parse(&frame), Some(FeedFrame::Types(all)));
        let one_more = [&frame[..], &frame[1..1 + 33 + TYPE_NAME_BYTES_MAX]].concat();
        assert_eq!(FeedFrame::parse(&one_more), None);
    }

    #[test]
    fn garbage_is_no_frame() {
        for garbage in [
            &[][..],
            &[99],
            &[DIGEST, 1],
            &[RECORDS, 0],
            &[RECORDS, 0, 9, 1],
            &[DENIALS, 0, 9, 1],
            &[DENIED],
            &[SEEK; 32],
            &[SUMMARY, 1],
            &[SUMMARY, 2, 0, 0, 0, 0, 0, 0, 0, 0],
            &[TYPES, 1],
        ] {
            assert_eq!(FeedFrame::parse(garbage), None);
        }
    }
}
