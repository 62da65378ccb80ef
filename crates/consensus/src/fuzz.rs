//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use openraft::raft::{AppendEntriesRequest, VoteRequest};
use openraft::{EntryPayload, LeaderId};

use crate::codec::encode_entry;
use crate::frame::{self, Found};
use crate::log::Record;
use crate::message::{Piece, RESPONSE_BYTES_MAX, Request, Response};
use crate::snapshot::Meta;
use crate::types::{Batch, Command, Entry, LogId, Vote, VoterId};

/// What members say to each other.
pub fn fuzz_consensus_message(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(request.encode(), bytes, "a request has one form");
    }
    if let Ok(response) = Response::decode(bytes) {
        assert!(response.encode().len() <= RESPONSE_BYTES_MAX, "an answer keeps its bound");
    }
}

/// Requests and answers of every kind.
pub fn consensus_message_seeds() -> Vec<Vec<u8>> {
    let answers = [Response::Piece(Vote::new(3, voter(2))), Response::Refused("busy".into())];
    requests().iter().map(Request::encode).chain(answers.iter().map(Response::encode)).collect()
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
pub(crate) fn requests() -> Vec<Request> {
    let vote = Vote::new_committed(2, voter(1));
    let batch = Batch { commands: vec![Command { id: 9, bytes: b"pay".to_vec() }] };
    let payloads = [EntryPayload::Normal(batch), EntryPayload::Blank];
    let entries = (5..).zip(payloads).map(|(index, payload)| Entry { log_id: log_id(index), payload }).collect();
    let meta = Meta { last_log_id: Some(log_id(4)), snapshot_id: "2-4".into(), ..Meta::default() };
    vec![
        Request::Append(AppendEntriesRequest { vote, prev_log_id: Some(log_id(4)), entries, leader_commit: None }),
        Request::Vote(VoteRequest { vote, last_log_id: Some(log_id(4)) }),
        Request::Piece(Piece { vote, meta, at: 7, bytes: b"piece".to_vec(), last: true }),
    ]
}
