//! What voters say to each other, as bytes with bounds.
//!
//! Whatever arrives was made by somebody else: a request is refused unless every byte of it is as it should be, and
//! nothing is allocated on the word of a length.

use covenant_types::canonical::{CanonicalError, Reader, Writer};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};

use crate::codec::{
    decode_entry, encode_entry, read_flag, read_log_id, read_option, read_stored_membership, read_vote, read_voter,
    write_log_id, write_option, write_stored_membership, write_vote, write_voter,
};
use crate::consensus::COMMAND_BYTES_MAX;
use crate::snapshot::{Meta, decode_meta, encode_meta};
use crate::types::{Instance, StoredMembership, Types, Vote, VoterId};

/// The longest request, in bytes: what a reader of the log gives at a time, one entry more, and what is around them.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest answer of the application to a command or a question, in bytes. A longer one is said to be too long.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The longest response, in bytes: an answer and what is around it.
pub const RESPONSE_BYTES_MAX: usize = ANSWER_BYTES_MAX + 4 * 1024;
/// The longest reason for a refusal, in characters.
const REASON_CHARS_MAX: usize = 500;
/// How much of a snapshot is sent at a time.
pub(crate) const PIECE_BYTES_MAX: usize = 1024 * 1024;
/// The most entries in one request.
pub(crate) const ENTRIES_MAX: usize = 512;

/// What a request is for. Each has a stream of its own: a snapshot under way delays no heartbeat and no vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Entries.
    Log,
    /// Votes, heartbeats, and who is a member.
    Vote,
    /// Pieces of a snapshot.
    Snapshot,
    /// Commands and questions of those who are no members, or do not lead.
    Client,
}

/// A request, and between which folders it goes.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// The sender's instance; none where it has no folder.
    pub(crate) from: Instance,
    /// The instance that is meant; none where the sender does not know it.
    pub(crate) to: Instance,
    pub(crate) request: Request,
}

/// What is seen of a request before any work is done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) from: Instance,
    pub(crate) to: Instance,
    pub(crate) says: Says,
}

/// As what a sender speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// As the leader or candidate of this id.
    Votes(VoterId),
    /// As somebody who wants to know who is a member.
    Who,
    /// As somebody who has a command or a question.
    Asks,
}

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<VoterId>),
    Piece(Piece),
    /// Who are you, and who is a member?
    Who,
    /// A command.
    Submit {
        id: u128,
        bytes: Vec<u8>,
    },
    /// A question that changes nothing.
    Query {
        linearizable: bool,
        bytes: Vec<u8>,
    },
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
    /// Who this node is, and who is a member.
    Who(Who),
    /// What the application answered to a command.
    Applied(Vec<u8>),
    /// What the application answered to a question.
    Said(Said),
    /// The command or question was not taken.
    Not(Not),
}

/// What a node knows of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) instance: Instance,
    pub(crate) leader: Option<VoterId>,
    /// Who is a member. Empty where the node is in no group yet.
    pub(crate) members: StoredMembership,
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) bytes: Vec<u8>,
    /// Up to which entry the state was.
    pub(crate) position: u64,
    /// For how long that may not have been all, in milliseconds.
    pub(crate) age_ms: u64,
}

/// Why a command or question was not taken, in what a client does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Not {
    /// Another node leads. Nothing was done.
    Leader(Option<VoterId>),
    /// Nothing was done; it may work after so many milliseconds.
    Busy { retry_after_ms: u64 },
    /// Whether it was done is not known.
    Unknown,
    /// Nothing was done, and here it will not work soon.
    Unable(String),
    /// Nothing was done, and it will never work.
    Never(String),
}

impl Envelope {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(REQUEST);
        writer.u128(self.from.0).u128(self.to.0);
        match &self.request {
            Request::Append(request) => {
                writer.u8(1);
                write_vote(&mut writer, &request.vote);
                write_option(&mut writer, request.prev_log_id.as_ref(), write_log_id);
                write_option(&mut writer, request.leader_commit.as_ref(), write_log_id);
                writer.count(request.entries.len());
                for entry in &request.entries {
                    writer.bytes(&encode_entry(entry));
                }
            }
            Request::Vote(request) => {
                writer.u8(2);
                write_vote(&mut writer, &request.vote);
                write_option(&mut writer, request.last_log_id.as_ref(), write_log_id);
            }
            Request::Piece(piece) => {
                writer.u8(3);
                write_vote(&mut writer, &piece.vote);
                writer.bytes(&encode_meta(&piece.meta)).u64(piece.at).u8(u8::from(piece.last)).bytes(&piece.bytes);
            }
            Request::Who => {
                writer.u8(4);
            }
            Request::Submit { id, bytes } => {
                writer.u8(5).u128(*id).bytes(bytes);
            }
            Request::Query { linearizable, bytes } => {
                writer.u8(6).u8(u8::from(*linearizable)).bytes(bytes);
            }
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CanonicalError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(CanonicalError::BadValue("length"));
        }
        let mut reader = Reader::new(bytes, REQUEST)?;
        let (from, to) = (Instance(reader.u128()?), Instance(reader.u128()?));
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
                Request::Append(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
            }
            2 => {
                let vote = read_vote(&mut reader)?;
                Request::Vote(VoteRequest { vote, last_log_id: read_option(&mut reader, read_log_id)? })
            }
            3 => {
                let vote = read_vote(&mut reader)?;
                let meta = decode_meta(reader.bytes()?)?;
                let (at, last) = (reader.u64()?, read_flag(&mut reader, "last")?);
                let bytes = reader.bytes()?;
                if bytes.len() > PIECE_BYTES_MAX {
                    return Err(CanonicalError::BadValue("piece"));
                }
                Request::Piece(Piece { vote, meta, at, bytes: bytes.to_vec(), last })
            }
            4 => Request::Who,
            5 => Request::Submit { id: reader.u128()?, bytes: read_short(&mut reader)? },
            6 => Request::Query {
                linearizable: read_flag(&mut reader, "linearizable")?,
                bytes: read_short(&mut reader)?,
            },
            _ => return Err(CanonicalError::BadValue("request")),
        };
        reader.finish()?;
        Ok(Self { from, to, request })
    }
}

impl Label {
    /// Reads what stands at the beginning of a request, however long it is.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = Reader::new(bytes, REQUEST)?;
        let (from, to) = (Instance(reader.u128()?), Instance(reader.u128()?));
        let says = match reader.u8()? {
            1..=3 => Says::Votes(read_vote(&mut reader)?.leader_id.node_id),
            4 => Says::Who,
            5 | 6 => Says::Asks,
            _ => return Err(CanonicalError::BadValue("request")),
        };
        Ok(Self { from, to, says })
    }
}

fn read_short(reader: &mut Reader<'_>) -> Result<Vec<u8>, CanonicalError> {
    let bytes = reader.bytes()?;
    if bytes.len() <= COMMAND_BYTES_MAX { Ok(bytes.to_vec()) } else { Err(CanonicalError::BadValue("command")) }
}

fn read_node(reader: &mut Reader<'_>) -> Result<Option<VoterId>, CanonicalError> {
    read_option(reader, read_voter)
}

fn write_node(writer: &mut Writer, node: Option<VoterId>) {
    write_option(writer, node.as_ref(), |writer, node| write_voter(writer, *node));
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
                writer.u8(7).text(&reason(why));
            }
            Self::Who(who) => {
                writer.u8(8).u128(who.instance.0);
                write_node(&mut writer, who.leader);
                write_stored_membership(&mut writer, &who.members);
            }
            Self::Applied(bytes) if bytes.len() <= ANSWER_BYTES_MAX => {
                writer.u8(9).bytes(bytes);
            }
            Self::Said(said) if said.bytes.len() <= ANSWER_BYTES_MAX => {
                writer.u8(10).bytes(&said.bytes).u64(said.position).u64(said.age_ms);
            }
            Self::Applied(bytes) | Self::Said(Said { bytes, .. }) => {
                let why = format!("the answer has {} bytes, and {ANSWER_BYTES_MAX} can be sent", bytes.len());
                return Self::Not(Not::Never(why)).encode();
            }
            Self::Not(not) => {
                writer.u8(11);
                match not {
                    Not::Leader(leader) => write_node(writer.u8(1), *leader),
                    Not::Busy { retry_after_ms } => drop(writer.u8(2).u64(*retry_after_ms)),
                    Not::Unknown => drop(writer.u8(3)),
                    Not::Unable(why) => drop(writer.u8(4).text(&reason(why))),
                    Not::Never(why) => drop(writer.u8(5).text(&reason(why))),
                }
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
            7 => Self::Refused(reason(reader.text()?)),
            8 => {
                let (instance, leader) = (Instance(reader.u128()?), read_node(&mut reader)?);
                Self::Who(Who { instance, leader, members: read_stored_membership(&mut reader)? })
            }
            9 => Self::Applied(read_answer(&mut reader)?),
            10 => {
                let bytes = read_answer(&mut reader)?;
                Self::Said(Said { bytes, position: reader.u64()?, age_ms: reader.u64()? })
            }
            11 => Self::Not(match reader.u8()? {
                1 => Not::Leader(read_node(&mut reader)?),
                2 => Not::Busy { retry_after_ms: reader.u64()? },
                3 => Not::Unknown,
                4 => Not::Unable(reason(reader.text()?)),
                5 => Not::Never(reason(reader.text()?)),
                _ => return Err(CanonicalError::BadValue("not")),
            }),
            _ => return Err(CanonicalError::BadValue("response")),
        };
        reader.finish()?;
        Ok(response)
    }
}

/// A reason in its bound.
fn reason(why: &str) -> String {
    why.chars().take(REASON_CHARS_MAX).collect()
}

fn read_answer(reader: &mut Reader<'_>) -> Result<Vec<u8>, CanonicalError> {
    let bytes = reader.bytes()?;
    if bytes.len() <= ANSWER_BYTES_MAX { Ok(bytes.to_vec()) } else { Err(CanonicalError::BadValue("answer")) }
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
        for bytes in requests().iter().map(Envelope::encode) {
            assert_eq!(Envelope::decode(&bytes).unwrap().encode(), bytes);
            assert!((0..bytes.len()).all(|length| Envelope::decode(&bytes[..length]).is_err()));
            assert!(Envelope::decode(&[&bytes[..], &[0]].concat()).is_err());
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
        let responses = responses.into_iter().chain(crate::fuzz::answers());
        for response in responses {
            assert_eq!(Response::decode(&response.encode()).unwrap(), response);
        }
        assert!(Response::Refused("x".repeat(100_000)).encode().len() <= RESPONSE_BYTES_MAX);
        let long = Response::Applied(vec![0; ANSWER_BYTES_MAX + 1]).encode();
        assert!(matches!(Response::decode(&long), Ok(Response::Not(Not::Never(_)))));
    }

    #[test]
    fn a_label_says_who_speaks_without_the_rest_of_the_request() {
        for envelope in requests() {
            let bytes = envelope.encode();
            let says = match &envelope.request {
                Request::Append(_) | Request::Vote(_) | Request::Piece(_) => Says::Votes(VoterId([1; 16])),
                Request::Who => Says::Who,
                Request::Submit { .. } | Request::Query { .. } => Says::Asks,
            };
            let label = Label { from: envelope.from, to: envelope.to, says };
            assert_eq!(Label::read(&bytes[..bytes.len().min(150)]), Ok(label));
        }
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let mut envelope = requests().swap_remove(0);
        let Request::Append(request) = &mut envelope.request else { panic!("the first one appends") };
        request.entries.swap(0, 1);
        assert!(matches!(Envelope::decode(&envelope.encode()), Err(CanonicalError::BadValue("index"))));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_without_a_panic(at in any::<proptest::sample::Index>(), byte: u8, which in 0usize..6) {
            let mut bytes = requests()[which].encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            crate::fuzz::fuzz_consensus_message(&bytes);
            crate::fuzz::fuzz_consensus_message(&bytes[at..]);
        }
    }
}
