//! What everything else is made of: numbers, names, frames.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use covenant_ledger::{Account, Amount};
use covenant_types::canonical::{Reader, Writer};
use covenant_types::{
    ActorPath, CallError, ExitReason, LinkTier, NodeId, NodeName, Region, RemotePath, Role, TraceId, TransferId,
    parse_duration,
};
use covenant_wire::{FrameReader, decode, encode, frame_into};

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::new("canonical", fuzz_canonical, canonical_seeds),
    Target::new("frame-reader", fuzz_frame_reader, frame_reader_seeds),
    Target::new("wire-values", fuzz_wire_values, wire_value_seeds),
    Target::new("call-error", fuzz_call_error, call_error_seeds),
    Target::new("names", fuzz_names, name_seeds),
];

/// The first bytes say what is read one after the other, as a decoder would.
fn fuzz_canonical(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (program, record) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(mut reader) = Reader::new(record, "d") else { return };
    for step in program {
        let read = match step % 8 {
            0 => reader.u8().map(|_| 1),
            1 => reader.u16().map(|_| 2),
            2 => reader.u32().map(|_| 4),
            3 => reader.u64().map(|_| 8),
            4 => reader.u128().map(|_| 16),
            5 => reader.bytes().map(<[u8]>::len),
            6 => reader.text().map(str::len),
            _ => reader.count(usize::from(step / 8)),
        };
        match read {
            Ok(length) => assert!(length <= record.len(), "what is read was there"),
            Err(_) => return,
        }
    }
    let _left = reader.finish();
}

fn canonical_seeds() -> Vec<Vec<u8>> {
    let mut writer = Writer::new("d");
    writer.u8(1).u16(2).u32(3).u64(4).u128(5).text("seven").count(2).bytes(b"a").bytes(b"");
    let record = writer.finish();
    vec![[&[9, 0, 1, 2, 3, 4, 6, 15, 5, 5][..], &record].concat()]
}

/// The first byte says in which pieces the rest arrives.
fn fuzz_frame_reader(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let mut reader = FrameReader::new(1000);
    let mut written = Vec::new();
    for piece in stream.chunks(usize::from(*piece).max(1)) {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frame_into(frame, &mut written),
                Ok(None) => break,
                Err(_) => return assert!(stream.starts_with(&written)),
            }
        }
    }
    assert!(stream.starts_with(&written), "frames are what was sent");
    assert_eq!(written.len() + reader.pending(), stream.len(), "and nothing is lost");
}

fn frame_reader_seeds() -> Vec<Vec<u8>> {
    let mut stream = vec![7];
    [&b"one"[..], b"", &[9; 300]].iter().for_each(|frame| frame_into(frame, &mut stream));
    vec![stream]
}

/// Values of the shapes that messages have: lists, texts, options, maps.
fn fuzz_wire_values(bytes: &[u8]) {
    fn one<T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + Debug>(bytes: &[u8]) {
        if let Ok(value) = decode::<T>(bytes, 1 << 20) {
            assert_eq!(decode::<T>(&encode(&value), 1 << 20), Ok(value), "a value is read as it was written");
        }
    }
    one::<Vec<u128>>(bytes);
    one::<Vec<Vec<u8>>>(bytes);
    one::<Vec<(String, Option<[u8; 32]>)>>(bytes);
    one::<std::collections::BTreeMap<String, Vec<String>>>(bytes);
    one::<(ActorPath, NodeName, Vec<NodeId>)>(bytes);
}

fn wire_value_seeds() -> Vec<Vec<u8>> {
    let path: ActorPath = "/sync/scheduler".parse().expect("a path");
    let map: std::collections::BTreeMap<_, _> = [("k".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into();
    vec![
        encode(&vec![1_u128, u128::MAX, 300]),
        encode(&vec![vec![1_u8, 2], vec![3]]),
        encode(&vec![("seven".to_owned(), Some([7_u8; 32])), ("none".to_owned(), None)]),
        encode(&map),
        encode(&(path, NodeName::new("hub").expect("a name"), vec![NodeId([1; 16])])),
    ]
}

/// What ends a call that has no answer, and an actor.
fn fuzz_call_error(bytes: &[u8]) {
    if let Ok(error) = decode::<CallError>(bytes, 4096) {
        assert!(!error.to_string().is_empty());
        assert_eq!(decode::<CallError>(&encode(&error), 4096), Ok(error));
    }
    if let Ok(reason) = decode::<ExitReason>(bytes, 4096) {
        assert_eq!(decode::<ExitReason>(&encode(&reason), 4096), Ok(reason));
    }
}

fn call_error_seeds() -> Vec<Vec<u8>> {
    let errors = [
        CallError::Timeout,
        CallError::MailboxFull,
        CallError::Rejected("busy".to_owned()),
        CallError::Gone(ExitReason::ShutdownWith("drained".to_owned())),
    ];
    errors.iter().map(encode).collect()
}

/// Whatever has one form is written as it was read.
fn fuzz_names(bytes: &[u8]) {
    fn one<T: FromStr + Display>(text: &str, has_one_form: bool) {
        if let Ok(value) = text.parse::<T>() {
            let written = value.to_string();
            assert!(written.parse::<T>().is_ok_and(|again| again.to_string() == written), "{written}");
            assert!(!has_one_form || written == text, "{written} was read from {text}");
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    one::<ActorPath>(text, false);
    one::<RemotePath>(text, false);
    one::<NodeName>(text, true);
    one::<Role>(text, true);
    one::<Region>(text, true);
    one::<LinkTier>(text, true);
    one::<NodeId>(text, false);
    one::<TraceId>(text, false);
    let _begun = TraceId::from_traceparent(text);
    one::<TransferId>(text, false);
    one::<Account>(text, true);
    one::<Amount>(text, false);
    let _read = parse_duration(text);
}

fn name_seeds() -> Vec<Vec<u8>> {
    [
        "/sync/scheduler",
        "hub-africa:/sync/scheduler",
        "hub-africa",
        "latin-america",
        "tower",
        "satellite",
        "000102030405060708090a0b0c0d0e0f",
        "pool",
        "KEN",
        "1234567.89",
        "1,234,567",
        "500ms",
        "30d",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
