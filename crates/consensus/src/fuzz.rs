//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use covenant_types::WallTime;
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use openraft::{EntryPayload, LeaderId};

use crate::codec::encode_entry;
use crate::frame::{self, Found};
use crate::log::Record;
use crate::message::{Envelope, Label, Not, Piece, RESPONSE_BYTES_MAX, Request, Response, Said, Who};
use crate::plane::{RequestHead, ResponseHead, Turned};
use crate::snapshot::Meta;
use crate::types::{Batch, Command, Entry, Instance, LogId, StoredMembership, Vote, VoterId};

/// What members say to each other.
pub fn fuzz_consensus_message(bytes: &[u8]) {
    let label = Label::read(bytes);
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert_eq!(envelope.encode(), bytes, "a request has one form");
        assert!(label.is_ok_and(|label| label.from == envelope.from), "whoever can be read has a label");
    }
    if let Ok(response) = Response::decode(bytes) {
        assert!(response.encode().len() <= RESPONSE_BYTES_MAX, "an answer keeps its bound");
    }
}

/// Requests and answers of every kind.
pub fn consensus_message_seeds() -> Vec<Vec<u8>> {
    let answers = [Response::Piece(Vote::new(3, voter(2))), Response::Refused("busy".into())];
    let answers = answers.into_iter().chain(self::answers());
    requests().iter().map(Envelope::encode).chain(answers.map(|answer| answer.encode())).collect()
}

/// What stands before requests and answers on a stream.
pub fn fuzz_consensus_head(bytes: &[u8]) {
    if let Some(head) = RequestHead::parse(bytes) {
        assert_eq!(head.write(), bytes, "a head has one form");
    }
    if let Some(head) = ResponseHead::parse(bytes) {
        assert_eq!(head.write(), bytes, "a head has one form");
    }
}

/// A request, an answer, and one that says no.
pub fn consensus_head_seeds() -> Vec<Vec<u8>> {
    let request = RequestHead { number: 7, within_ms: 200, group: "ledger", body: b"vote" };
    let outcomes = [Ok(&b"yes"[..]), Err(Turned::NoGroup), Err(Turned::Busy), Err(Turned::TooLate)];
    let answers = outcomes.map(|outcome| ResponseHead { number: 7, outcome }.write());
    std::iter::once(request.write()).chain(answers).collect()
}

/// What stands in a log file: a frame, and the records in it.
pub fn fuzz_consensus_log(bytes: &[u8]) {
    if let Found::Frame { content, bytes: length } = frame::look(bytes, 1) {
        assert!(content.len() < length && length <= bytes.len(), "a frame lies in what was given");
        assert_eq!(frame::frame(1, &content), bytes[..length], "a frame has one form");
    }
    let mut rest = bytes;
    while let Ok(record) = Record::read(&mut rest) {
        let mut again = Vec::new();
        record.write(&mut again);
        assert!(bytes[..bytes.len() - rest.len()].ends_with(&again), "a record has one form");
    }
}

/// A frame of a few records, and the records without it.
pub fn consensus_log_seeds() -> Vec<Vec<u8>> {
    let mut content = Vec::new();
    let entry = Entry { log_id: log_id(5), payload: EntryPayload::Blank };
    let entry = Record::Entry { log_id: entry.log_id, bytes: encode_entry(&entry).into() };
    let vote = Record::Vote(Vote::new(2, voter(1)));
    for record in [vote, entry, Record::Truncate { since: 5 }, Record::Purge(log_id(4)), Record::Committed(log_id(4))] {
        record.write(&mut content);
    }
    vec![frame::frame(1, &content), content]
}

fn voter(number: u8) -> VoterId {
    VoterId([number; 16])
}

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId::new(2, voter(1)), index)
}

/// A request of every kind.
pub(crate) fn requests() -> Vec<Envelope> {
    let vote = Vote::new_committed(2, voter(1));
    let batch = Batch { at: WallTime(8), commands: vec![Command { id: 9, bytes: b"pay".to_vec(), at: WallTime(8) }] };
    let payloads = [EntryPayload::Normal(batch), EntryPayload::Blank];
    let entries = (5..).zip(payloads).map(|(index, payload)| Entry { log_id: log_id(index), payload }).collect();
    let meta = Meta { last_log_id: Some(log_id(4)), snapshot_id: "2-4".into(), ..Meta::default() };
    let requests = vec![
        Request::Append(AppendEntriesRequest { vote, prev_log_id: Some(log_id(4)), entries, leader_commit: None }),
        Request::Vote(VoteRequest { vote, last_log_id: Some(log_id(4)) }),
        Request::Piece(Piece { vote, meta, at: 7, bytes: b"piece".to_vec(), last: true }),
        Request::Who,
        Request::Submit { id: 9, bytes: b"pay".to_vec() },
        Request::Query { linearizable: true, bytes: b"how much".to_vec() },
    ];
    requests.into_iter().map(|request| Envelope { from: Instance(3), to: Instance(4), request }).collect()
}

/// An answer of every kind to those who are no leaders.
pub(crate) fn answers() -> Vec<Response> {
    let nots = [
        Not::Leader(Some(voter(2))),
        Not::Busy { retry_after_ms: 20 },
        Not::Unknown,
        Not::Unable("the disk is full".into()),
        Not::Never("too long".into()),
    ];
    let who = Who { instance: Instance(3), leader: None, members: StoredMembership::default() };
    let said = Said { bytes: b"much".to_vec(), position: 7, age_ms: 9 };
    let answers = [Response::Who(who), Response::Applied(b"done".to_vec()), Response::Said(said)];
    answers.into_iter().chain(nots.into_iter().map(Response::Not)).collect()
}
