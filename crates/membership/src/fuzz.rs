//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use bytes::BytesMut;
use covenant_types::{BootEpoch, NodeId};
use foca::{Codec, Header, Member, Message, State};

use crate::Health;
use crate::Identity;
use crate::board::Word;
use crate::codec::{FixedCodec, MEMBER_BYTES};
use crate::feed::{Body, Buckets, Feed};
use crate::note::Note;

fn codec() -> FixedCodec {
    FixedCodec { me: NodeId([9; 16]), own: std::sync::Arc::default() }
}

fn identity(node: u8) -> Identity {
    Identity::new(NodeId([node; 16]), BootEpoch(3))
}

/// A header, and the statements after it.
pub fn fuzz_swim_packet(bytes: &[u8]) {
    let mut codec = codec();
    let mut rest = bytes;
    let Ok(header) = codec.decode_header(&mut rest) else { return };
    let mut written = BytesMut::new();
    codec.encode_header(&header, &mut written).expect("a growing buffer has room");
    assert_eq!(written, bytes[..bytes.len() - rest.len()], "a header has one form");
    for raw in rest.chunks_exact(MEMBER_BYTES) {
        if let Ok(member) = codec.decode_member(raw) {
            let mut written = BytesMut::new();
            codec.encode_member(&member, &mut written).expect("a growing buffer has room");
            assert_eq!(written, raw, "a statement has one form");
        }
    }
}

/// A packet of each kind.
pub fn swim_packet_seeds() -> Vec<Vec<u8>> {
    let messages = [
        Message::Ping(1),
        Message::Ack(2),
        Message::PingReq { target: identity(3), probe_number: 3 },
        Message::IndirectPing { origin: identity(4), probe_number: 4 },
        Message::IndirectAck { target: identity(5), probe_number: 5 },
        Message::ForwardedAck { origin: identity(6), probe_number: 6 },
        Message::Announce,
        Message::Feed,
        Message::Gossip,
        Message::Broadcast,
        Message::TurnUndead,
    ];
    let packet = |message| {
        let header = Header { src: identity(1), src_incarnation: 7, dst: identity(2), message };
        let mut packet = BytesMut::new();
        codec().encode_header(&header, &mut packet).expect("a growing buffer has room");
        for state in [State::Alive, State::Suspect, State::Down] {
            codec().encode_member(&Member::new(identity(3), 9, state), &mut packet).expect("a growing buffer has room");
        }
        packet.to_vec()
    };
    messages.into_iter().map(packet).collect()
}

/// What two nodes tell each other over a stream.
pub fn fuzz_swim_feed(bytes: &[u8]) {
    if let Ok(feed) = Feed::decode(&mut codec(), bytes) {
        let written = feed.encode(&mut codec());
        assert_eq!(Feed::decode(&mut codec(), &written), Ok(feed), "a feed is read as it was written");
    }
}

/// A feed of each kind.
pub fn swim_feed_seeds() -> Vec<Vec<u8>> {
    let member = |node| Member::new(identity(node), 7, State::Suspect);
    let bodies = [
        Body::Digest((0..16).collect()),
        Body::Ping(7),
        Body::Pong(8),
        Body::Members { buckets: Buckets::none(), answer: false, members: Vec::new() },
        Body::Members {
            buckets: Buckets::differing(&[1, 2, 3, 4], &[1, 0, 3, 0]),
            answer: true,
            members: vec![member(3), member(4)],
        },
    ];
    let feed = |body| Feed { sender: identity(1), incarnation: 4, about_you: Some(member(2)), body };
    bodies.map(|body| feed(body).encode(&mut codec()).to_vec()).into()
}

/// What hubs and those who look to them write to each other.
pub fn fuzz_note(bytes: &[u8]) {
    if let Ok(note) = Note::decode(bytes) {
        let mut written = BytesMut::new();
        note.encode(&mut written);
        assert_eq!(Note::decode(&written), Ok(note), "a note is read as it was written");
    }
}

/// A note of each kind.
pub fn note_seeds() -> Vec<Vec<u8>> {
    let word = |node, health| (NodeId([node; 16]), Word { epoch: BootEpoch(3), health });
    let words = || vec![word(1, Health::Alive), word(2, Health::Left)];
    let notes = [
        Note::Renew(std::time::Duration::from_secs(600)),
        Note::Goodbye,
        Note::Digest(7),
        Note::Copy(vec![1, 2, 3, 4]),
        Note::Words(Buckets::differing(&[1, 2], &[1, 3]), words()),
        Note::News(words()),
    ];
    notes.map(|note| note.to_bytes(&[]).to_vec()).into()
}
