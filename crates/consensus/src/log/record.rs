//! What a frame carries: records, one after another.
//!
//! A record is `kind u8 | length u32 | body`. The body of an entry begins with a checksum of its own, so that one entry is
//! read without the whole frame around it.

use std::sync::Arc;

use covenant_types::canonical::{CanonicalError, Reader, Writer};

use crate::codec::{decode_entry, read_log_id, read_vote, write_log_id, write_vote};
use crate::types::{LogId, Vote};

/// One change of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Whom this node voted for.
    Vote(Vote),
    /// Up to where the log is known to be committed.
    Committed(LogId),
    /// One more entry, encoded.
    Entry { log_id: LogId, bytes: Arc<[u8]> },
    /// Entries from here on are no more.
    Truncate { since: u64 },
    /// Entries up to here are in a snapshot and no more in the log.
    Purge(LogId),
}

/// What comes before an entry in its record.
pub(crate) const ENTRY_HEADER_BYTES: usize = HEADER_BYTES + CHECKSUM_BYTES;
const HEADER_BYTES: usize = 5;
const CHECKSUM_BYTES: usize = 8;

impl Record {
    /// How many bytes it takes in a frame, or a little more.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Entry { bytes, .. } => ENTRY_HEADER_BYTES + bytes.len(),
            Self::Vote(_) | Self::Committed(_) | Self::Truncate { .. } | Self::Purge(_) => 64,
        }
    }

    /// Appends the record to a frame's content.
    pub(crate) fn write(&self, content: &mut Vec<u8>) {
        let (kind, body) = match self {
            Self::Vote(vote) => (1, small(|writer| write_vote(writer, vote))),
            Self::Committed(committed) => (2, small(|writer| write_log_id(writer, committed))),
            Self::Entry { bytes, .. } => (3, [&checksum(bytes)[..], bytes].concat()),
            Self::Truncate { since } => (4, since.to_be_bytes().to_vec()),
            Self::Purge(upto) => (5, small(|writer| write_log_id(writer, upto))),
        };
        content.push(kind);
        content.extend_from_slice(&u32::try_from(body.len()).expect("a frame has a bound").to_be_bytes());
        content.extend_from_slice(&body);
    }

    /// Takes the record at the beginning of `content` off it.
    pub(crate) fn read(content: &mut &[u8]) -> Result<Self, CanonicalError> {
        let (header, rest) = content.split_at_checked(HEADER_BYTES).ok_or(CanonicalError::CutShort)?;
        let length = u32::from_be_bytes(header[1..].try_into().map_err(|_| CanonicalError::CutShort)?) as usize;
        let (body, rest) = rest.split_at_checked(length).ok_or(CanonicalError::CutShort)?;
        *content = rest;
        match header[0] {
            1 => from_small(body, read_vote).map(Self::Vote),
            2 => from_small(body, read_log_id).map(Self::Committed),
            3 => {
                let bytes = entry_of(body).ok_or(CanonicalError::BadValue("checksum"))?;
                Ok(Self::Entry { log_id: decode_entry(bytes)?.log_id, bytes: bytes.into() })
            }
            4 => body.try_into().map(u64::from_be_bytes).map(|since| Self::Truncate { since }).map_err(|_| BAD_LENGTH),
            5 => from_small(body, read_log_id).map(Self::Purge),
            _ => Err(CanonicalError::BadValue("kind")),
        }
    }
}

const BAD_LENGTH: CanonicalError = CanonicalError::BadValue("length");

/// The entry in the body of its record, if that is as it was written.
pub(crate) fn entry_of(body: &[u8]) -> Option<&[u8]> {
    let (sum, bytes) = body.split_at_checked(CHECKSUM_BYTES)?;
    (sum == checksum(bytes)).then_some(bytes)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    blake3::hash(bytes).as_bytes()[..CHECKSUM_BYTES].try_into().expect("eight of 32 bytes")
}

fn small(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(SMALL);
    write(&mut writer);
    writer.finish()
}

fn from_small<T>(
    body: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, CanonicalError>,
) -> Result<T, CanonicalError> {
    let mut reader = Reader::new(body, SMALL)?;
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

const SMALL: &str = "covenant/log-record/1";
