//! What runs on the feed stream: facts too large for a datagram, and records. One frame each.

use std::sync::Arc;

use bytes::Bytes;

use crate::record::{RECORD_BYTES_MAX, SignedRecord};

/// The longest frame.
pub(crate) const FEED_FRAME_BYTES_MAX: usize = 128 * 1024;
/// So many records always fit in one frame.
const RECORDS_PER_FRAME: usize = FEED_FRAME_BYTES_MAX / (RECORD_BYTES_MAX + 2) - 1;

/// One message on the feed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FeedFrame<'a> {
    /// What the membership core made; opaque here.
    Members(&'a [u8]),
    /// A membership datagram that no datagram can carry on this path.
    Datagram(&'a [u8]),
    /// Signed records, not yet checked.
    Records(Vec<&'a [u8]>),
    /// The sender's [`crate::directory::Directory::digest`].
    Digest(u64),
    /// The sender holds the receiver's own record of this number, or a later one.
    Heard(u64),
    /// About names and groups: a [`crate::presence::frame::Frame`].
    Presence(&'a [u8]),
}

impl<'a> FeedFrame<'a> {
    /// Reads a frame; `None` if it is none.
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let (kind, mut rest) = frame.split_first()?;
        match *kind {
            MEMBERS => Some(Self::Members(rest)),
            DATAGRAM => Some(Self::Datagram(rest)),
            PRESENCE => Some(Self::Presence(rest)),
            DIGEST => Some(Self::Digest(u64::from_be_bytes(rest.try_into().ok()?))),
            HEARD => Some(Self::Heard(u64::from_be_bytes(rest.try_into().ok()?))),
            RECORDS => {
                let mut records = Vec::new();
                while !rest.is_empty() {
                    let (length, tail) = rest.split_first_chunk::<2>()?;
                    let (record, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                    records.push(record);
                    rest = tail;
                }
                Some(Self::Records(records))
            }
            _ => None,
        }
    }
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

/// A frame that says that the receiver's own record of this number was heard.
pub(crate) fn heard(sequence: u64) -> Bytes {
    tagged(HEARD, &sequence.to_be_bytes())
}

/// A frame about names and groups.
pub(crate) fn presence(data: &[u8]) -> Bytes {
    tagged(PRESENCE, data)
}

/// Frames with all these records.
pub(crate) fn records(records: &[Arc<SignedRecord>]) -> Vec<Bytes> {
    let frame = |records: &[Arc<SignedRecord>]| {
        let mut frame = vec![RECORDS];
        for record in records {
            let length = u16::try_from(record.bytes().len()).expect("a record has at most 512 bytes");
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(record.bytes());
        }
        Bytes::from(frame)
    };
    records.chunks(RECORDS_PER_FRAME).map(frame).collect()
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

#[cfg(test)]
mod tests {
    use covenant_identity::NodeKey;
    use covenant_types::{BootEpoch, LinkTier, NodeName, Region, Role, WallTime};

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
            certificate_ends: WallTime(1_800_000_000),
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
    }

    #[test]
    fn garbage_is_no_frame() {
        for garbage in [&[][..], &[9], &[DIGEST, 1], &[RECORDS, 0], &[RECORDS, 0, 9, 1]] {
            assert_eq!(FeedFrame::parse(garbage), None);
        }
    }
}
