//! What `ractor_cluster` 0.16 says on a stream, as far as the gate has to understand it.
//!
//! A frame is its length, eight bytes, big end first, and a `NetworkMessage` of protobuf. The numbers of fields are those of
//! ractor_cluster's `src/protocol/*.proto`. What the gate lets pass is written anew from what was understood here, so that
//! nothing passes that means something else to the next reader.

use std::io;

use bytes::{Buf, BytesMut};
use prost::{Message, Oneof};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest frame that a client may send.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// The longest frame that goes to a client: what `ractor_cluster` reads unless it is told otherwise.
pub(crate) const OUTWARD_BYTES_MAX: usize = 16 * 1024 * 1024;
const LENGTH_BYTES: usize = 8;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NetworkMessage {
    #[prost(oneof = "Plane", tags = "1, 2, 3")]
    pub(crate) plane: Option<Plane>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Plane {
    #[prost(message, tag = "1")]
    Auth(AuthMessage),
    #[prost(message, tag = "2")]
    Node(NodeMessage),
    #[prost(message, tag = "3")]
    Control(ControlMessage),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthMessage {
    #[prost(oneof = "Auth", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) auth: Option<Auth>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Auth {
    #[prost(message, tag = "1")]
    Name(Name),
    #[prost(bytes, tag = "2")]
    ServerStatus(Vec<u8>),
    #[prost(message, tag = "3")]
    ClientStatus(ClientStatus),
    #[prost(bytes, tag = "4")]
    ServerChallenge(Vec<u8>),
    #[prost(message, tag = "5")]
    ClientChallenge(ClientChallenge),
    #[prost(bytes, tag = "6")]
    ServerAck(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Name {
    /// `node@host`.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) flags: Option<Flags>,
    #[prost(string, tag = "3")]
    pub(crate) connection_string: String,
    #[prost(uint64, tag = "4")]
    pub(crate) connection_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Flags {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClientStatus {
    #[prost(bool, tag = "1")]
    pub(crate) status: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClientChallenge {
    #[prost(uint32, tag = "1")]
    pub(crate) challenge: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) digest: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeMessage {
    #[prost(oneof = "ToActor", tags = "1, 2, 3")]
    pub(crate) message: Option<ToActor>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ToActor {
    #[prost(message, tag = "1")]
    Cast(Cast),
    #[prost(message, tag = "2")]
    Call(Call),
    #[prost(message, tag = "3")]
    Reply(Reply),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Cast {
    #[prost(uint64, tag = "1")]
    pub(crate) to: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) what: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(crate) variant: String,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(crate) metadata: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Call {
    #[prost(uint64, tag = "1")]
    pub(crate) to: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) what: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(crate) tag: u64,
    #[prost(uint64, optional, tag = "4")]
    pub(crate) timeout_ms: Option<u64>,
    #[prost(string, tag = "5")]
    pub(crate) variant: String,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(crate) metadata: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Reply {
    #[prost(uint64, tag = "1")]
    pub(crate) to: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) tag: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) what: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ControlMessage {
    #[prost(oneof = "Control", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub(crate) control: Option<Control>,
}

/// What is in those that are not looked into stays bytes.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Control {
    #[prost(bytes, tag = "1")]
    Spawn(Vec<u8>),
    #[prost(bytes, tag = "2")]
    Terminate(Vec<u8>),
    #[prost(message, tag = "3")]
    Ping(Stamp),
    #[prost(message, tag = "4")]
    Pong(Stamp),
    #[prost(bytes, tag = "5")]
    PgJoin(Vec<u8>),
    #[prost(bytes, tag = "6")]
    PgLeave(Vec<u8>),
    #[prost(bytes, tag = "7")]
    EnumerateNodeSessions(Vec<u8>),
    #[prost(bytes, tag = "8")]
    NodeSessions(Vec<u8>),
    #[prost(message, tag = "9")]
    Ready(Ready),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Stamp {
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ready {}

impl NetworkMessage {
    pub(crate) fn auth(auth: Auth) -> Self {
        Self { plane: Some(Plane::Auth(AuthMessage { auth: Some(auth) })) }
    }

    pub(crate) fn control(control: Control) -> Self {
        Self { plane: Some(Plane::Control(ControlMessage { control: Some(control) })) }
    }

    pub(crate) fn to_actor(message: ToActor) -> Self {
        Self { plane: Some(Plane::Node(NodeMessage { message: Some(message) })) }
    }

    /// The frame of this message.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let length = self.encoded_len();
        let mut frame = Vec::with_capacity(LENGTH_BYTES + length);
        frame.extend_from_slice(&(length as u64).to_be_bytes());
        frame.extend_from_slice(&self.encode_to_vec());
        frame
    }
}

/// Why there will be no more frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes is longer than {1}")]
    TooLong(u64, usize),
    #[error("the stream ended")]
    Ended,
    #[error(transparent)]
    Stream(#[from] io::Error),
}

/// The next frame without its length, once all of it is there.
pub(crate) fn take_frame(buffer: &mut BytesMut, longest: usize) -> Result<Option<BytesMut>, FrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>().map(|bytes| u64::from_be_bytes(*bytes)) else {
        return Ok(None);
    };
    let too_long = FrameError::TooLong(length, longest);
    let length = usize::try_from(length).ok().filter(|length| *length <= longest).ok_or(too_long)?;
    if buffer.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length)))
}

/// Cuts a stream into frames.
pub(crate) struct Frames<R> {
    stream: R,
    buffer: BytesMut,
    longest: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(stream: R, longest: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), longest }
    }

    /// The next frame. Dropping the future loses nothing: what was read stays.
    pub(crate) async fn next(&mut self) -> Result<BytesMut, FrameError> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer, self.longest)? {
                return Ok(frame);
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(FrameError::Ended);
            }
        }
    }
}

/// Room made for each read. The buffer grows with what arrives and not with what a length promises.
const READ_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_out_once_all_of_it_is_there() {
        let frame = NetworkMessage::control(Control::Ready(Ready {})).frame();
        let mut buffer = BytesMut::from(&frame[..frame.len() - 1]);
        assert!(take_frame(&mut buffer, 100).unwrap().is_none());
        buffer.extend_from_slice(&frame[frame.len() - 1..]);
        buffer.extend_from_slice(&frame[..3]);
        let message = take_frame(&mut buffer, 100).unwrap().unwrap();
        assert_eq!(NetworkMessage::decode(message).unwrap(), NetworkMessage::control(Control::Ready(Ready {})));
        assert_eq!(buffer, frame[..3]);
    }

    #[test]
    fn a_length_is_refused_before_anything_is_kept_for_it() {
        for length in [101, u64::MAX] {
            let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
            assert!(matches!(take_frame(&mut buffer, 100), Err(FrameError::TooLong(found, 100)) if found == length));
        }
    }

    #[test]
    fn a_reply_has_the_bytes_that_ractor_cluster_reads() {
        let reply = NetworkMessage::to_actor(ToActor::Reply(Reply { to: 7, tag: 3, what: vec![9] }));
        let expected = [0, 0, 0, 0, 0, 0, 0, 11, 0x12, 9, 0x1a, 7, 0x08, 7, 0x10, 3, 0x1a, 1, 9];
        assert_eq!(reply.frame(), expected);
    }
}
