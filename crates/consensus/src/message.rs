//! What voters say to each other, as bytes with bounds.
//!
//! Whatever arrives was made by somebody else: a request is refused unless every byte of it is as it should be, and
//! nothing is allocated on the word of a length.

use covenant_types::canonical::{CanonicalError, Reader, Writer};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};

use crate::codec::{
    decode_entry, encode_entry, read_flag, read_log_id, read_option, read_vote, write_log_id, write_option, write_vote,
};
use crate::snapshot::{Meta, decode_meta, encode_meta};
use crate::types::{Types, Vote, VoterId};

/// The longest request, in bytes: what a reader of the log gives at a time, one entry more, and what is around them.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest answer, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024;
/// How much of a snapshot is sent at a time.
pub(crate) const PIECE_BYTES_MAX: usize = 1024 * 1024;
/// The most entries in one request.
pub(crate) const ENTRIES_MAX: usize = 512;

/// Who is asked, and what for. Each has a stream of its own: a snapshot under way delays no heartbeat and no vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Entries, and heartbeats, which are empty ones.
    Log,
    /// Votes.
    Vote,
    /// Pieces of a snapshot.
    Snapshot,
}

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<VoterId>),
    Piece(Piece),
}

/// Part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) vote: Vote,
    pub(crate) meta: Meta,
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
    /// Whether it is the last one.
    pub(crate) last: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Response {
    Append(AppendEntriesResponse<VoterId>),
    Vote(VoteResponse<VoterId>),
    /// The piece was taken, or the vote tells why not.
    Piece(Vote),
    /// This node cannot answer, and nothing was changed.
    Refused(String),
}

impl Request {
    /// The node that says this of itself: the leader or the candidate.
    pub(crate) fn sender(&self) -> VoterId {
        let vote = match self {
            Self::Append(request) => &request.vote,
            Self::Vote(request) => &request.vote,
            Self::Piece(piece) => &piece.vote,
        };
        vote.leader_id.node_id
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(REQUEST);
        match self {
            Self::Append(request) => {
                writer.u8(1);
                write_vote(&mut writer, &request.vote);
                write_option(&mut writer, request.prev_log_id.as_ref(), write_log_id);
                write_option(&mut writer, request.leader_commit.as_ref(), write_log_id);
                writer.count(request.entries.len());
                for entry in &request.entries {
                    writer.bytes(&encode_entry(entry));
                }
            }
            Self::Vote(request) => {
                writer.u8(2);
                write_vote(&mut writer, &request.vote);
                write_option(&mut writer, request.last_log_id.as_ref(), write_log_id);
            }
            Self::Piece(piece) => {
                writer.u8(3);
                write_vote(&mut writer, &piece.vote);
                writer.bytes(&encode_meta(&piece.meta)).u64(piece.at).u8(u8::from(piece.last)).bytes(&piece.bytes);
            }
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CanonicalError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(CanonicalError::BadValue("length"));
        }
        let mut reader = Reader::new(bytes, REQUEST)?;
        let request = match reader.u8()? {
            1 => {
                let vote = read_vote(&mut reader)?;
                let prev_log_id = read_option(&mut reader, read_log_id)?;
                let leader_commit = read_option(&mut reader, read_log_id)?;
                let count = reader.count(5)?;
                if count > ENTRIES_MAX {
                    return Err(CanonicalError::BadValue("entries"));
                }
                let mut entries = Vec::new();
                for _ in 0..count {
                    let entry = decode_entry(reader.bytes()?)?;
                    // The engine takes it as given that entries follow each other.
                    let next = entries.last().map_or(prev_log_id, |last: &crate::types::Entry| Some(last.log_id));
                    if entry.log_id.index != next.map_or(0, |before| before.index.saturating_add(1)) {
                        return Err(CanonicalError::BadValue("index"));
                    }
                    entries.push(entry);
                }
                Self::Append(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
            }
            2 => {
                let vote = read_vote(&mut reader)?;
                Self::Vote(VoteRequest { vote, last_log_id: read_option(&mut reader, read_log_id)? })
            }
            3 => {
                let vote = read_vote(&mut reader)?;
                let meta = decode_meta(reader.bytes()?)?;
                let (at, last) = (reader.u64()?, read_flag(&mut reader, "last")?);
                let bytes = reader.bytes()?;
                if bytes.len() > PIECE_BYTES_MAX {
                    return Err(CanonicalError::BadValue("piece"));
                }
                Self::Piece(Piece { vote, meta, at, bytes: bytes.to_vec(), last })
            }
            _ => return Err(CanonicalError::BadValue("request")),
        };
        reader.finish()?;
        Ok(request)
    }
}

impl Response {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(RESPONSE);
        match self {
            Self::Append(AppendEntriesResponse::Success) => {
                writer.u8(1);
            }
            Self::Append(AppendEntriesResponse::PartialSuccess(upto)) => {
                writer.u8(2);
                write_option(&mut writer, upto.as_ref(), write_log_id);
            }
            Self::Append(AppendEntriesResponse::Conflict) => {
                writer.u8(3);
            }
            Self::Append(AppendEntriesResponse::HigherVote(vote)) => write_vote(writer.u8(4), vote),
            Self::Vote(response) => {
                write_vote(writer.u8(5), &response.vote);
                writer.u8(u8::from(response.vote_granted));
                write_option(&mut writer, response.last_log_id.as_ref(), write_log_id);
            }
            Self::Piece(vote) => write_vote(writer.u8(6), vote),
            Self::Refused(why) => {
                let why: String = why.chars().take(RESPONSE_BYTES_MAX / 8).collect();
                writer.u8(7).text(&why);
            }
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CanonicalError> {
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Err(CanonicalError::BadValue("length"));
        }
        let mut reader = Reader::new(bytes, RESPONSE)?;
        let response = match reader.u8()? {
            1 => Self::Append(AppendEntriesResponse::Success),
            2 => Self::Append(AppendEntriesResponse::PartialSuccess(read_option(&mut reader, read_log_id)?)),
            3 => Self::Append(AppendEntriesResponse::Conflict),
            4 => Self::Append(AppendEntriesResponse::HigherVote(read_vote(&mut reader)?)),
            5 => {
                let vote = read_vote(&mut reader)?;
                let vote_granted = read_flag(&mut reader, "granted")?;
                Self::Vote(VoteResponse { vote, vote_granted, last_log_id: read_option(&mut reader, read_log_id)? })
            }
            6 => Self::Piece(read_vote(&mut reader)?),
            7 => Self::Refused(reader.text()?.to_owned()),
            _ => return Err(CanonicalError::BadValue("response")),
        };
        reader.finish()?;
        Ok(response)
    }
}

const REQUEST: &str = "covenant/consensus-request/1";
const RESPONSE: &str = "covenant/consensus-response/1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::requests;
    use proptest::prelude::*;

    #[test]
    fn requests_and_responses_have_one_form_and_cut_or_padded_ones_are_refused() {
        for bytes in requests().iter().map(Request::encode) {
            assert_eq!(Request::decode(&bytes).unwrap().encode(), bytes);
            assert!((0..bytes.len()).all(|length| Request::decode(&bytes[..length]).is_err()));
            assert!(Request::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        let vote = Vote::new(3, VoterId::from(2));
        let responses = [
            Response::Append(AppendEntriesResponse::Success),
            Response::Append(AppendEntriesResponse::PartialSuccess(None)),
            Response::Append(AppendEntriesResponse::Conflict),
            Response::Append(AppendEntriesResponse::HigherVote(vote)),
            Response::Vote(VoteResponse { vote, vote_granted: true, last_log_id: None }),
            Response::Piece(vote),
            Response::Refused("busy".into()),
        ];
        for response in responses {
            assert_eq!(Response::decode(&response.encode()).unwrap(), response);
        }
        assert!(Response::Refused("x".repeat(100_000)).encode().len() <= RESPONSE_BYTES_MAX);
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let Some(Request::Append(mut request)) = requests().into_iter().next() else { panic!("the first one appends") };
        request.entries.swap(0, 1);
        assert!(matches!(Request::decode(&Request::Append(request).encode()), Err(CanonicalError::BadValue("index"))));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_without_a_panic(at in any::<proptest::sample::Index>(), byte: u8, which in 0usize..3) {
            let mut bytes = requests()[which].encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            crate::fuzz::fuzz_consensus_message(&bytes);
            crate::fuzz::fuzz_consensus_message(&bytes[at..]);
        }
    }
}
