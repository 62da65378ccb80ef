//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use covenant_identity::{NodeKey, SignedDenial, TrustMark, TrustedRoots};
use covenant_runtime::{Declared, DownReason, FarOrder, FarTie};
use covenant_types::{
    ActorPath, BootEpoch, CallError, ExitReason, Fence, Incarnation, LinkTier, Name, NodeId, NodeName, Region, Role,
    Scope, TraceId, WallTime,
};
use covenant_wire::{FRAME_HEADER_BYTES, SchemaHash};

use crate::Phase;
use crate::feed::{self, FeedFrame};
use crate::mail_room::{Letter, LetterId};
use crate::placement::Fences;
use crate::presence::entry::{Entry, Place, Stamp};
use crate::presence::frame::{Frame, Whose};
use crate::presence::shard::Change;
use crate::record::{NodeRecord, SignedRecord};
use crate::remoting::frame::{self, ActorFrame, ReplyFrame};
use crate::seeds::{SEEDS_MAX, Seed, seeds_of};
use crate::ties::frame::{Ask, TieFrame, Word};

/// A key that is the same in every run, so that seeds are.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n";

/// A feed frame with what a hub of Africa says of itself, for nodes of tests that are nothing but an endpoint.
pub fn own_record_frame(key: &NodeKey, name: &NodeName, epoch: BootEpoch, sequence: u64) -> Vec<u8> {
    let said = NodeRecord {
        id: key.node_id(),
        public_key: key.public_key(),
        name: name.clone(),
        epoch,
        sequence,
        ..record(Phase::Active).record
    };
    let frames = feed::records(&[Arc::new(SignedRecord::sign(said, key))]);
    frames.concat()
}

fn record(phase: Phase) -> SignedRecord {
    let key = NodeKey::from_pem(KEY).expect("a key");
    let record = NodeRecord {
        id: key.node_id(),
        public_key: key.public_key(),
        name: NodeName::new("hub-africa").expect("a name"),
        role: Role::Hub,
        region: Region::Africa,
        epoch: BootEpoch(7),
        address: "127.0.0.1:7400".parse().expect("an address"),
        tier: LinkTier::Lan,
        phase,
        version: "1.2.3".to_owned(),
        certificate_begins: WallTime(1_799_000_000),
        certificate_ends: WallTime(1_800_000_000),
        certificate_issuer: NodeId([9; 16]),
        trust: TrustMark {
            version: 3,
            roots: 1,
            under: 2,
            issues: Some(covenant_identity::Scope::Region(Region::Africa)),
        },
        sequence: 1,
    };
    SignedRecord::sign(record, &key)
}

/// What a node says of itself, as it travels.
pub fn fuzz_node_record(bytes: &[u8]) {
    if let Ok(signed) = SignedRecord::parse(bytes) {
        assert!(bytes.starts_with(&signed.record.body()), "a record has one form");
        assert_eq!(signed.bytes(), bytes);
        let _forged = signed.verify();
    }
}

/// Records in each phase.
pub fn node_record_seeds() -> Vec<Vec<u8>> {
    let asleep = Phase::Asleep { since: WallTime(5), until: WallTime(9) };
    [Phase::Active, Phase::Draining, asleep].map(|phase| record(phase).bytes().to_vec()).into()
}

/// A frame of the feed stream, down to the records in it.
pub fn fuzz_feed_frame(bytes: &[u8]) {
    match FeedFrame::parse(bytes) {
        Some(FeedFrame::Records(records)) => records.into_iter().for_each(fuzz_node_record),
        Some(FeedFrame::Members(data)) => assert_eq!(feed::members(data), bytes, "a frame has one form"),
        Some(FeedFrame::Datagram(data)) => assert_eq!(feed::datagram(data), bytes, "a frame has one form"),
        Some(FeedFrame::Digest(digest)) => assert_eq!(feed::digest(digest), bytes, "a frame has one form"),
        Some(FeedFrame::Heard(sequence)) => assert_eq!(feed::heard(sequence), bytes, "a frame has one form"),
        Some(FeedFrame::Summary { answer, buckets }) => {
            assert_eq!(feed::summary(answer, &buckets), bytes, "a frame has one form");
        }
        Some(FeedFrame::Seek { target, asker }) => assert_eq!(feed::seek(target, asker), bytes, "a frame has one form"),
        Some(FeedFrame::Letter(letter)) => {
            let written = feed::letter(&letter);
            assert_eq!(FeedFrame::parse(&written), Some(FeedFrame::Letter(letter)));
        }
        Some(FeedFrame::Delivered(id)) => {
            let written = feed::delivered(&id);
            assert_eq!(FeedFrame::parse(&written), Some(FeedFrame::Delivered(id)));
        }
        Some(FeedFrame::Denials(denials)) => {
            // What stands in one has a target of its own.
            denials.into_iter().for_each(|denial| drop(SignedDenial::parse(denial)));
        }
        Some(FeedFrame::Denied(digest)) => assert_eq!(feed::denied(digest), bytes, "a frame has one form"),
        Some(FeedFrame::Types(_)) => {} // their names are ours alone to write
        Some(FeedFrame::Presence(data)) => fuzz_presence_frame(data),
        Some(FeedFrame::Roots(data)) => drop(TrustedRoots::from_own_file("demo", data)),
        None => {}
    }
}

/// A frame about names and groups.
pub fn fuzz_presence_frame(bytes: &[u8]) {
    if let Some(frame) = Frame::parse(bytes) {
        assert_eq!(Frame::parse(&covenant_wire::encode(&frame)), Some(frame), "a frame is read as it was written");
    }
}

/// A frame of each kind.
pub fn presence_frame_seeds() -> Vec<Vec<u8>> {
    let name = |text| Name::new(text).expect("a name");
    let path = || -> ActorPath { "/pool/worker-1".parse().expect("a path") };
    let at = Place { node: NodeId([3; 16]), node_name: NodeName::new("hub-asia").expect("a name"), path: path() };
    let stamp = |version| Stamp { epoch: BootEpoch(3), version };
    let member = Entry::Member { group: name("workers"), scope: Scope::Region, path: path() };
    let far = Whose::Region(Region::Asia, NodeId([3; 16]));
    let frames = [
        Frame::Digest(vec![(Whose::Direct, stamp(7)), (far, stamp(8))]),
        Frame::Delta {
            whose: Whose::Direct,
            from: 7,
            to: stamp(9),
            changes: vec![Change { entry: member, there: true }],
        },
        Frame::Whole {
            whose: far,
            stamp: stamp(8),
            part: 0,
            parts: 2,
            entries: vec![
                Entry::Count { group: name("workers"), count: 70_000 },
                Entry::Delegate { group: name("workers"), at },
            ],
        },
    ];
    frames.iter().map(covenant_wire::encode).collect()
}

/// A frame of each kind.
pub fn feed_frame_seeds() -> Vec<Vec<u8>> {
    let two = [Arc::new(record(Phase::Active)), Arc::new(record(Phase::Draining))];
    let types = feed::types(&[Declared { name: "content.store/1", schema: SchemaHash([5; 32]) }]);
    let frames = [feed::members(b"members"), feed::datagram(b"datagram"), feed::digest(7), feed::heard(8), types];
    let letter = feed::letter(&fenced_letter());
    frames.into_iter().chain(feed::records(&two)).chain([letter]).map(|frame| frame.to_vec()).collect()
}

/// A cast under a lease that waits for a sleeper.
fn fenced_letter() -> Letter {
    let sender = NodeId([3; 16]);
    Letter {
        to: NodeId([4; 16]),
        id: LetterId { sender, epoch: BootEpoch(7), number: 9 },
        name: NodeName::new("hub-asia").expect("a name"),
        role: Role::Hub,
        region: Region::Asia,
        path: "/sync/scheduler".parse().expect("a path"),
        type_name: "content.store/1".to_owned(),
        schema: SchemaHash([5; 32]),
        trace: Some(9),
        fence: Some(fence()),
        request: vec![1, 2, 3],
    }
}

fn fence() -> Fence {
    Fence { key: "/placed/scheduler".parse().expect("a path"), token: 77 }
}

/// A frame of the actor plane.
pub fn fuzz_actor_frame(bytes: &[u8]) {
    if let Some(ActorFrame::Name { id, schema, fence, path, type_name }) = ActorFrame::parse(bytes) {
        let mut written = Vec::new();
        frame::put_name(&mut written, id, schema, fence.as_ref(), &path, type_name);
        assert_eq!(&written[FRAME_HEADER_BYTES..], bytes, "a name has one form");
    }
}

fn framed<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> Vec<u8> {
    let mut out = Vec::new();
    let _length = write(&mut out);
    out.split_off(FRAME_HEADER_BYTES)
}

/// A frame of each kind.
pub fn actor_frame_seeds() -> Vec<Vec<u8>> {
    let path: ActorPath = "/sync/scheduler".parse().expect("a path");
    let trace = TraceId::new(9);
    vec![
        framed(|out| frame::put_name(out, 3, SchemaHash([5; 32]), None, &path, "content.store/1")),
        framed(|out| frame::put_cast(out, 3, None, &(7_u32, "seven"))),
        framed(|out| frame::put_cast(out, 3, trace, &(7_u32, "seven"))),
        framed(|out| frame::put_call(out, 3, 11, 5000, trace, &vec![1_u8; 20])),
        framed(|out| frame::put_name(out, 4, SchemaHash([5; 32]), Some(&fence()), &path, "content.store/1")),
    ]
}

/// The text of a file of seeds.
pub fn fuzz_seeds_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(seeds) = seeds_of(Path::new("seeds"), text) else { return };
    assert!(seeds.len() <= SEEDS_MAX);
    for seed in seeds {
        assert_eq!(seed.to_string().parse::<Seed>(), Ok(seed), "a seed is read as it was written");
    }
}

/// Files with what may stand in them.
pub fn seeds_file_seeds() -> Vec<Vec<u8>> {
    let full: String = (0..SEEDS_MAX).map(|host| format!("hub-{host}.example:7400\n")).collect();
    ["10.0.0.1:7400\n[::1]:7400 # at home\n\n# more\nhub.example:7400", &full]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

/// Acts under leases, one after the other, each a fence after its length: what is accepted is never older than before.
pub fn fuzz_lease_tokens(mut bytes: &[u8]) {
    let fences = Fences::new();
    let mut highest: BTreeMap<ActorPath, u64> = BTreeMap::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (act, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        let Ok(fence) = covenant_wire::decode::<Fence>(act, usize::from(u8::MAX)) else { continue };
        assert_eq!(
            covenant_wire::decode(&covenant_wire::encode(&fence), 1024),
            Ok(fence.clone()),
            "it has one meaning"
        );
        let seen = highest.entry(fence.key.clone()).or_insert(0);
        assert_eq!(fences.check(&fence).is_ok(), fence.token >= *seen, "{fence} after {seen}");
        *seen = fence.token.max(*seen);
    }
}

/// A lease that moves, and one beside it.
pub fn lease_tokens_seeds() -> Vec<Vec<u8>> {
    let acts = [("/placed/a", 1), ("/placed/a", 300), ("/placed/a", 7), ("/b", 2), ("/placed/a", u64::MAX)];
    let act = |(key, token): (&str, u64)| {
        let act = covenant_wire::encode(&Fence { key: key.parse().expect("a path"), token });
        [&[u8::try_from(act.len()).expect("a short one")][..], &act].concat()
    };
    vec![acts.map(act).concat()]
}

/// A frame of the reply plane.
pub fn fuzz_reply_frame(bytes: &[u8]) {
    match ReplyFrame::parse(bytes) {
        Some(ReplyFrame::Reply { call, response }) => {
            assert_eq!(framed(|out| frame::put_reply(out, call, response)), bytes, "a reply has one form");
        }
        Some(ReplyFrame::Refusal { call, error }) => {
            let written = framed(|out| frame::put_refusal(out, call, &error));
            assert_eq!(ReplyFrame::parse(&written), Some(ReplyFrame::Refusal { call, error }));
        }
        Some(ReplyFrame::Credit { to, bytes: credit }) => {
            assert_eq!(framed(|out| frame::put_credit(out, to, credit)), bytes, "credit has one form");
        }
        Some(ReplyFrame::TakeBack { to, bytes: credit }) => {
            assert_eq!(framed(|out| frame::put_take_back(out, to, credit)), bytes, "credit has one form");
        }
        None => {}
    }
}

/// A frame of each kind.
pub fn reply_frame_seeds() -> Vec<Vec<u8>> {
    let gone = CallError::Gone(ExitReason::Panicked("index out of bounds".to_owned()));
    vec![
        framed(|out| frame::put_reply(out, 11, b"response")),
        framed(|out| frame::put_refusal(out, 11, &CallError::NoProc)),
        framed(|out| frame::put_refusal(out, 11, &gone)),
        framed(|out| frame::put_credit(out, 3, 65_536)),
        framed(|out| frame::put_take_back(out, 3, 4096)),
    ]
}

/// A frame of the control plane: about a tie, or an order.
pub fn fuzz_tie_frame(bytes: &[u8]) {
    if let Some(tie) = TieFrame::parse(bytes) {
        let written = framed(|out| tie.put(out));
        assert_eq!(TieFrame::parse(&written), Some(tie), "a frame is read as it was written");
    }
}

/// A frame of each kind.
pub fn tie_frame_seeds() -> Vec<Vec<u8>> {
    let path = || -> ActorPath { "/sync/scheduler".parse().expect("a path") };
    let link = FarTie::Link { from: path(), incarnation: Incarnation(4) };
    let ask = |tie, again| Word::Ask(Ask { path: path(), tie, again, expected: again.then_some(Incarnation(3)) });
    let end = || DownReason::Exited(ExitReason::NameConflict("one".to_owned()));
    let words = [
        ask(FarTie::Monitor, false),
        ask(link, true),
        Word::Untied,
        Word::Exited { incarnation: Some(Incarnation(4)), end: end() },
        Word::Settled,
        Word::Bound(Incarnation(4)),
        Word::Fired { incarnation: None, end: end() },
        Word::LetGo,
        Word::Order { order: FarOrder::Kill, millis_left: 5000, path: path() },
    ];
    words.map(|word| framed(|out| TieFrame { tie: 7, word }.put(out))).into()
}
