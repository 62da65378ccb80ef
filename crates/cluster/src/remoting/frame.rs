//! The layout of actor messages. All integers big-endian, each frame after its `u32` length.
//!
//! On a lane of the actor plane: kind u8 · flags u8 · then
//! - name: id u32 · schema hash of the message type, 32 bytes · length of the path u16 · path · name of the message type.
//!   Later frames say the id only. With flag 2 the messages to this id are acts under a lease, and between the schema and the
//!   length of the path stand: token u64 · length of the key u16 · key. The same id may be named again with a higher token.
//! - cast: to u32 · request
//! - call: to u32 · call u64 · milliseconds left u32 · request
//!
//! With flag 1 the trace, u64, stands before a request. Other flags are refused, and so are flag 1 on a name and flag 2 elsewhere.
//!
//! On the reply plane: kind u8 · flags u8 (0) · then
//! - reply: call u64 · response
//! - refusal: call u64 · the `CallError`
//! - credit: to u32 · bytes u64
//! - credit taken back: to u32 · bytes u64

use covenant_runtime::Encode;
use covenant_types::{ActorPath, CallError, Fence, TraceId};
use covenant_wire::{FRAME_HEADER_BYTES, SchemaHash, encode_into};

/// The longest frame. Content goes over bulk streams.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// The most paths one node may name to another over one connection.
pub const TARGETS_MAX: u32 = 16_384;
/// The longest name of a message type.
pub(crate) const TYPE_NAME_BYTES_MAX: usize = 128;

/// What comes in on an actor lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ActorFrame<'a> {
    Name { id: u32, schema: SchemaHash, fence: Option<Fence>, path: ActorPath, type_name: &'a str },
    Cast { to: u32, trace: Option<TraceId>, request: &'a [u8] },
    Call { to: u32, call: u64, millis_left: u32, trace: Option<TraceId>, request: &'a [u8] },
}

/// What comes in on the reply plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyFrame<'a> {
    Reply { call: u64, response: &'a [u8] },
    Refusal { call: u64, error: CallError },
    Credit { to: u32, bytes: u64 },
    TakeBack { to: u32, bytes: u64 },
}

const NAME: u8 = 1;
const CAST: u8 = 2;
const CALL: u8 = 3;
/// The flag of a message that is part of a trace.
const TRACED: u8 = 1;
/// The flag of a name whose messages are acts under a lease.
const FENCED: u8 = 2;
const REPLY: u8 = 1;
const REFUSAL: u8 = 2;
const CREDIT: u8 = 3;
const TAKE_BACK: u8 = 4;

impl<'a> ActorFrame<'a> {
    /// Reads a frame; `None` if it is none.
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let ([kind, flags], rest) = frame.split_first_chunk::<2>()?;
        let (to, rest) = u32_from(rest)?;
        match (*kind, *flags) {
            (CAST, 0 | TRACED) => {
                let (trace, request) = trace_from(*flags, rest)?;
                Some(Self::Cast { to, trace, request })
            }
            (CALL, 0 | TRACED) => {
                let (call, rest) = u64_from(rest)?;
                let (millis_left, rest) = u32_from(rest)?;
                let (trace, request) = trace_from(*flags, rest)?;
                Some(Self::Call { to, call, millis_left, trace, request })
            }
            (NAME, 0 | FENCED) => {
                let (schema, rest) = rest.split_first_chunk::<32>()?;
                let (fence, rest) = fence_from(*flags, rest)?;
                let (path, type_name) = path_from(rest)?;
                let fits = to < TARGETS_MAX && type_name.len() <= TYPE_NAME_BYTES_MAX;
                let type_name = std::str::from_utf8(type_name).ok()?;
                fits.then_some(Self::Name { id: to, schema: SchemaHash(*schema), fence, path, type_name })
            }
            _ => None,
        }
    }
}

impl<'a> ReplyFrame<'a> {
    /// Reads a frame; `None` if it is none.
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let ([kind, 0], rest) = frame.split_first_chunk::<2>()? else { return None };
        match *kind {
            REPLY => u64_from(rest).map(|(call, response)| Self::Reply { call, response }),
            REFUSAL => {
                let (call, rest) = u64_from(rest)?;
                let error = covenant_wire::decode(rest, ERROR_BYTES_MAX).ok()?;
                Some(Self::Refusal { call, error })
            }
            CREDIT | TAKE_BACK => {
                let (to, rest) = u32_from(rest)?;
                let (bytes, rest) = u64_from(rest)?;
                let frame = if *kind == CREDIT { Self::Credit { to, bytes } } else { Self::TakeBack { to, bytes } };
                rest.is_empty().then_some(frame)
            }
            _ => None,
        }
    }
}

/// Appends the frame that gives a path its id, as the receiver of messages of one type and, with a fence, under one lease.
pub(crate) fn put_name(
    out: &mut Vec<u8>,
    id: u32,
    schema: SchemaHash,
    fence: Option<&Fence>,
    path: &ActorPath,
    type_name: &str,
) {
    frame(out, |out| {
        out.extend_from_slice(&[NAME, if fence.is_some() { FENCED } else { 0 }]);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&schema.0);
        if let Some(fence) = fence {
            out.extend_from_slice(&fence.token.to_be_bytes());
            put_path(out, &fence.key);
        }
        put_path(out, path);
        out.extend_from_slice(type_name.as_bytes());
    });
}

fn put_path(out: &mut Vec<u8>, path: &ActorPath) {
    let path = path.as_str().as_bytes();
    let length = u16::try_from(path.len()).expect("a path has at most 512 bytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(path);
}

/// Appends a cast and returns the length of its frame.
pub(crate) fn put_cast(out: &mut Vec<u8>, to: u32, trace: Option<TraceId>, request: &(impl Encode + ?Sized)) -> usize {
    frame(out, |out| {
        out.extend_from_slice(&[CAST, flags(trace)]);
        out.extend_from_slice(&to.to_be_bytes());
        put_trace(out, trace);
        request.encode_into(out);
    })
}

/// Appends a call and returns the length of its frame.
pub(crate) fn put_call(
    out: &mut Vec<u8>,
    to: u32,
    call: u64,
    millis_left: u32,
    trace: Option<TraceId>,
    request: &(impl Encode + ?Sized),
) -> usize {
    frame(out, |out| {
        out.extend_from_slice(&[CALL, flags(trace)]);
        out.extend_from_slice(&to.to_be_bytes());
        out.extend_from_slice(&call.to_be_bytes());
        out.extend_from_slice(&millis_left.to_be_bytes());
        put_trace(out, trace);
        request.encode_into(out);
    })
}

/// Appends a reply.
pub(crate) fn put_reply(out: &mut Vec<u8>, call: u64, response: &[u8]) {
    frame(out, |out| {
        out.extend_from_slice(&[REPLY, 0]);
        out.extend_from_slice(&call.to_be_bytes());
        out.extend_from_slice(response);
    });
}

/// Appends a negative reply. A long reason is cut.
pub(crate) fn put_refusal(out: &mut Vec<u8>, call: u64, error: &CallError) {
    frame(out, |out| {
        out.extend_from_slice(&[REFUSAL, 0]);
        out.extend_from_slice(&call.to_be_bytes());
        put_error(out, error);
    });
}

/// Appends why there is no answer. A long reason is cut.
pub(crate) fn put_error(out: &mut Vec<u8>, error: &CallError) {
    let start = out.len();
    encode_into(error, out);
    if out.len() - start > ERROR_BYTES_MAX {
        out.truncate(start);
        encode_into(&shortened(error), out);
    }
}

/// Appends credit for a target.
pub(crate) fn put_credit(out: &mut Vec<u8>, to: u32, bytes: u64) {
    put_credit_of(CREDIT, out, to, bytes);
}

/// Appends that credit for a target is taken back.
pub(crate) fn put_take_back(out: &mut Vec<u8>, to: u32, bytes: u64) {
    put_credit_of(TAKE_BACK, out, to, bytes);
}

fn put_credit_of(kind: u8, out: &mut Vec<u8>, to: u32, bytes: u64) {
    frame(out, |out| {
        out.extend_from_slice(&[kind, 0]);
        out.extend_from_slice(&to.to_be_bytes());
        out.extend_from_slice(&bytes.to_be_bytes());
    });
}

/// The most bytes a reason may take.
pub(crate) const ERROR_BYTES_MAX: usize = 4096;

fn shortened(error: &CallError) -> CallError {
    use covenant_types::ExitReason::{
        Error, Killed, NameConflict, NoConnection, Normal, Panicked, Rebalanced, Shutdown, ShutdownWith,
    };
    let cut = |text: &str| text.chars().take(ERROR_BYTES_MAX / 8).collect::<String>();
    match error {
        CallError::Rejected(why) => CallError::Rejected(cut(why)),
        CallError::Gone(reason) => CallError::Gone(match reason {
            ShutdownWith(why) => ShutdownWith(cut(why)),
            Panicked(why) => Panicked(cut(why)),
            Error(why) => Error(cut(why)),
            NameConflict(holder) => NameConflict(cut(holder)),
            Normal | Shutdown | Killed | NoConnection | Rebalanced => reason.clone(),
        }),
        CallError::Timeout
        | CallError::NoProc
        | CallError::MailboxFull
        | CallError::NoConnection
        | CallError::Draining => error.clone(),
    }
}

/// Appends a frame, and returns its length.
pub(crate) fn frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    write(out);
    let length = out.len() - start - FRAME_HEADER_BYTES;
    let header = u32::try_from(length).expect("a frame in memory is shorter than 4 GiB").to_be_bytes();
    out[start..start + FRAME_HEADER_BYTES].copy_from_slice(&header);
    length
}

fn flags(trace: Option<TraceId>) -> u8 {
    if trace.is_some() { TRACED } else { 0 }
}

fn put_trace(out: &mut Vec<u8>, trace: Option<TraceId>) {
    if let Some(trace) = trace {
        out.extend_from_slice(&trace.get().to_be_bytes());
    }
}

/// What stands before a request, and the request.
fn trace_from(flags: u8, bytes: &[u8]) -> Option<(Option<TraceId>, &[u8])> {
    match flags {
        TRACED => u64_from(bytes).and_then(|(trace, rest)| Some((Some(TraceId::new(trace)?), rest))),
        _ => Some((None, bytes)),
    }
}

/// The lease that a name is used under, and what stands behind it.
fn fence_from(flags: u8, bytes: &[u8]) -> Option<(Option<Fence>, &[u8])> {
    if flags != FENCED {
        return Some((None, bytes));
    }
    let (token, rest) = u64_from(bytes)?;
    let (key, rest) = path_from(rest)?;
    Some((Some(Fence { key, token }), rest))
}

/// A path after its length, and what stands behind it.
fn path_from(bytes: &[u8]) -> Option<(ActorPath, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (path, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let text = std::str::from_utf8(path).ok()?;
    let path: ActorPath = text.parse().ok()?;
    // People may leave the first `/` out, nodes may not: one path has one form here.
    (path.as_str() == text).then_some((path, rest))
}

fn u32_from(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(head, rest)| (u32::from_be_bytes(*head), rest))
}

fn u64_from(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(head, rest)| (u64::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use covenant_types::ExitReason;
    use covenant_wire::FrameReader;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        reader.push(bytes);
        std::iter::from_fn(|| reader.next_frame().unwrap().map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn actor_frames_are_read_as_they_were_written() {
        let mut out = Vec::new();
        let path: ActorPath = "/sync/scheduler".parse().unwrap();
        let schema = SchemaHash([9; 32]);
        put_name(&mut out, 7, schema, None, &path, "sync.message");
        let fence = Fence { key: "/placed/a".parse().unwrap(), token: u64::MAX };
        put_name(&mut out, 8, schema, Some(&fence), &path, "sync.message");
        put_cast(&mut out, 7, None, &5u8);
        put_call(&mut out, 7, 9, 1000, None, &6u8);
        let trace = TraceId::new(0x0102);
        put_cast(&mut out, 7, trace, &5u8);
        put_call(&mut out, 7, 9, 1000, trace, &6u8);
        let frames = read(&out);
        let frames: Vec<_> = frames.iter().map(|frame| ActorFrame::parse(frame).unwrap()).collect();
        assert_eq!(
            frames,
            [
                ActorFrame::Name { id: 7, schema, fence: None, path: path.clone(), type_name: "sync.message" },
                ActorFrame::Name { id: 8, schema, fence: Some(fence), path, type_name: "sync.message" },
                ActorFrame::Cast { to: 7, trace: None, request: &[5] },
                ActorFrame::Call { to: 7, call: 9, millis_left: 1000, trace: None, request: &[6] },
                ActorFrame::Cast { to: 7, trace, request: &[5] },
                ActorFrame::Call { to: 7, call: 9, millis_left: 1000, trace, request: &[6] },
            ]
        );
    }

    #[test]
    fn reply_frames_are_read_as_they_were_written() {
        let mut out = Vec::new();
        put_reply(&mut out, 1, b"yes");
        put_refusal(&mut out, 2, &CallError::Gone(ExitReason::Killed));
        put_credit(&mut out, 3, 4);
        put_take_back(&mut out, 3, 5);
        let frames = read(&out);
        let frames: Vec<_> = frames.iter().map(|frame| ReplyFrame::parse(frame).unwrap()).collect();
        assert_eq!(
            frames,
            [
                ReplyFrame::Reply { call: 1, response: b"yes" },
                ReplyFrame::Refusal { call: 2, error: CallError::Gone(ExitReason::Killed) },
                ReplyFrame::Credit { to: 3, bytes: 4 },
                ReplyFrame::TakeBack { to: 3, bytes: 5 },
            ]
        );
    }

    #[test]
    fn golden_bytes_of_protocol_version_1() {
        let mut out = Vec::new();
        put_cast(&mut out, 1, None, &5u8);
        assert_eq!(out, [0, 0, 0, 7, 2, 0, 0, 0, 0, 1, 5]);
        out.clear();
        put_cast(&mut out, 1, TraceId::new(0x0102), &5u8);
        assert_eq!(out, [0, 0, 0, 15, 2, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 5]);
        let name = |fence: Option<&Fence>| {
            let mut out = Vec::new();
            put_name(&mut out, 1, SchemaHash([9; 32]), fence, &"/a".parse().unwrap(), "t");
            out
        };
        let schema = [9; 32];
        assert_eq!(name(None), [&[0, 0, 0, 43, 1, 0, 0, 0, 0, 1][..], &schema, b"\0\x02/at"].concat());
        let fence = Fence { key: "/k".parse().unwrap(), token: 3 };
        let fenced = [&[0, 0, 0, 55, 1, 2, 0, 0, 0, 1][..], &schema, b"\0\0\0\0\0\0\0\x03\0\x02/k\0\x02/at"];
        assert_eq!(name(Some(&fence)), fenced.concat());
    }

    #[test]
    fn a_reason_of_any_length_arrives() {
        for error in [CallError::Rejected("x".repeat(9000)), CallError::Gone(ExitReason::Panicked("é".repeat(9000)))] {
            let mut out = Vec::new();
            put_refusal(&mut out, 2, &error);
            assert!(matches!(ReplyFrame::parse(&read(&out)[0]), Some(ReplyFrame::Refusal { call: 2, .. })));
        }
    }

    #[test]
    fn cut_and_garbled_frames_are_refused() {
        let mut out = Vec::new();
        put_call(&mut out, 7, 9, 1000, None, &6u8);
        for length in 0..18 {
            assert_eq!(ActorFrame::parse(&out[4..4 + length]), None, "{length}");
        }
        let name = |flags: u8, id: u32, path: &[u8]| {
            let parts = [&[NAME, flags][..], &id.to_be_bytes(), &[0; 32], &[0, 2], path];
            ActorFrame::parse(&parts.concat()).is_some()
        };
        assert!(name(0, 1, b"/a"));
        assert!(!name(0, 1, b"/A") && !name(0, TARGETS_MAX, b"/a") && !name(1, 1, b"/a") && !name(0, 1, b"/"));
        let fenced = |key: &[u8]| {
            let parts = [&[NAME, FENCED, 0, 0, 0, 1][..], &[0; 32], &[0; 8], &[0, 2], key, &[0, 2], b"/a"];
            ActorFrame::parse(&parts.concat()).is_some()
        };
        assert!(fenced(b"/k") && !fenced(b"k") && !fenced(b"/K") && !fenced(b"k1"));
        assert_eq!(ActorFrame::parse(&[CAST, FENCED, 0, 0, 0, 1, 5]), None);
        assert_eq!(ActorFrame::parse(&[CAST, 1, 0, 0, 0, 1]), None);
        assert_eq!(ActorFrame::parse(&[CAST, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(ActorFrame::parse(&[CAST, 2, 0, 0, 0, 1]), None);
        assert_eq!(ReplyFrame::parse(&[REFUSAL, 0, 0, 0, 0, 0, 0, 0, 0, 1, 99]), None);
        assert_eq!(ReplyFrame::parse(&[9, 0]), None);
    }
}
