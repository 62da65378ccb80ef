//! What two nodes tell each other over a stream, to come to know the same.
//!
//! Header: version u8 · kind u8 · the sender's identity · its incarnation u16 · what it holds of the receiver: 0 u8, or 1 u8
//! and a member. Then
//! - kind 1, digest: number of buckets u16 · a u64 for each
//! - kind 3, ping, and kind 4, its answer: the number of the probe u8
//! - kind 2, members: number of buckets u16 · which of them, a bit each, the first bucket in the lowest bit of the first
//!   byte · answer wanted u8 · number of members u16 · all members of these buckets, as in a datagram.
//!
//! The number of buckets is a power of two, at most 256.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use foca::{Codec, Incarnation, Member};

use crate::Identity;
use crate::codec::{CodecError, FixedCodec, IDENTITY_BYTES, MEMBER_BYTES, get_identity, put_identity};
use crate::digest::BUCKETS_MAX;
use crate::gate::NODES_MAX;

const VERSION: u8 = 2;
const DIGEST: u8 = 1;
const MEMBERS: u8 = 2;
const PING: u8 = 3;
const PONG: u8 = 4;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) sender: Identity,
    pub(crate) incarnation: Incarnation,
    /// What the sender holds of the receiver.
    pub(crate) about_you: Option<Member<Identity>>,
    pub(crate) body: Body,
}

/// What a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// What the sender's knowledge comes to.
    Digest(Vec<u64>),
    /// A probe whose datagrams got no answer: a stream loses nothing while the connection stands.
    Ping(u8),
    /// The answer to that.
    Pong(u8),
    /// What the sender knows of the nodes in some buckets.
    Members { buckets: Buckets, answer: bool, members: Vec<Member<Identity>> },
}

/// Some of a number of buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buckets(Vec<bool>);

impl Buckets {
    /// Those in which two digests of one length differ.
    pub(crate) fn differing(one: &[u64], other: &[u64]) -> Self {
        Self(one.iter().zip(other).map(|(one, other)| one != other).collect())
    }

    /// None of one bucket.
    pub(crate) fn none() -> Self {
        Self(vec![false])
    }

    /// How many buckets there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    pub(crate) fn contains(&self, bucket: usize) -> bool {
        self.0[bucket]
    }

    pub(crate) fn put(&self, buf: &mut BytesMut) {
        buf.put_u16(short(self.count()));
        for eight in self.0.chunks(8) {
            buf.put_u8(eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
        }
    }

    pub(crate) fn get(data: &mut &[u8]) -> Result<Self, CodecError> {
        let count = get_count(data)?;
        let (bits, rest) = data.split_at_checked(count.div_ceil(8)).ok_or(CodecError::CutShort)?;
        *data = rest;
        Ok(Self((0..count).map(|bucket| bits[bucket / 8] >> (bucket % 8) & 1 == 1).collect()))
    }
}

/// A number of buckets: a power of two, at most 256.
fn get_count(data: &mut &[u8]) -> Result<usize, CodecError> {
    let count = usize::from(data.try_get_u16()?);
    if count > BUCKETS_MAX || !count.is_power_of_two() { Err(CodecError::Value) } else { Ok(count) }
}

/// The numbers of all buckets, with how many there are.
pub(crate) fn put_digest(digest: &[u64], buf: &mut BytesMut) {
    buf.put_u16(short(digest.len()));
    digest.iter().for_each(|bucket| buf.put_u64(*bucket));
}

/// Reads what [`put_digest`] wrote, and nothing after it.
pub(crate) fn get_digest(mut data: &[u8]) -> Result<Vec<u64>, CodecError> {
    let count = get_count(&mut data)?;
    if data.len() != count * 8 {
        return Err(CodecError::Value);
    }
    Ok((0..count).map(|_| data.get_u64()).collect())
}

fn short(length: usize) -> u16 {
    u16::try_from(length).expect("the bounds fit in 16 bits")
}

impl Feed {
    pub(crate) fn encode(&self, codec: &mut FixedCodec) -> Bytes {
        let mut buf = BytesMut::new();
        buf.put_u8(VERSION);
        buf.put_u8(match self.body {
            Body::Digest(_) => DIGEST,
            Body::Members { .. } => MEMBERS,
            Body::Ping(_) => PING,
            Body::Pong(_) => PONG,
        });
        put_identity(&mut buf, &self.sender);
        buf.put_u16(self.incarnation);
        buf.put_u8(u8::from(self.about_you.is_some()));
        if let Some(member) = &self.about_you {
            put_member(codec, member, &mut buf);
        }
        match &self.body {
            Body::Digest(digest) => put_digest(digest, &mut buf),
            Body::Ping(number) | Body::Pong(number) => buf.put_u8(*number),
            Body::Members { buckets, answer, members } => {
                let members = &members[..members.len().min(NODES_MAX)];
                buckets.put(&mut buf);
                buf.put_u8(u8::from(*answer));
                buf.put_u16(short(members.len()));
                members.iter().for_each(|member| put_member(codec, member, &mut buf));
            }
        }
        buf.freeze()
    }

    pub(crate) fn decode(codec: &mut FixedCodec, mut data: &[u8]) -> Result<Self, CodecError> {
        if data.try_get_u8()? != VERSION {
            return Err(CodecError::Version);
        }
        let kind = data.try_get_u8()?;
        let sender = get_identity(&mut data)?;
        let incarnation = data.try_get_u16()?;
        let about_you = if get_bool(&mut data)? { Some(get_member(codec, &mut data)?) } else { None };
        let body = Self::decode_body(codec, kind, data)?;
        Ok(Self { sender, incarnation, about_you, body })
    }

    fn decode_body(codec: &mut FixedCodec, kind: u8, mut data: &[u8]) -> Result<Body, CodecError> {
        match (kind, data) {
            (PING, [number]) => return Ok(Body::Ping(*number)),
            (PONG, [number]) => return Ok(Body::Pong(*number)),
            _ => {}
        }
        match kind {
            DIGEST => Ok(Body::Digest(get_digest(data)?)),
            MEMBERS => {
                let buckets = Buckets::get(&mut data)?;
                let answer = get_bool(&mut data)?;
                let length = usize::from(data.try_get_u16()?);
                if length > NODES_MAX || data.len() != length * MEMBER_BYTES {
                    return Err(CodecError::Value);
                }
                let members = (0..length).map(|_| get_member(codec, &mut data)).collect::<Result<_, _>>()?;
                Ok(Body::Members { buckets, answer, members })
            }
            _ => Err(CodecError::Value),
        }
    }
}

/// The most bytes a message has.
pub const FEED_BYTES_MAX: usize = 2 + IDENTITY_BYTES + 2 + 1 + MEMBER_BYTES + 2 + 32 + 1 + 2 + NODES_MAX * MEMBER_BYTES;

fn put_member(codec: &mut FixedCodec, member: &Member<Identity>, buf: &mut BytesMut) {
    codec.encode_member(member, buf).expect("a growing buffer has room");
}

fn get_member(codec: &mut FixedCodec, data: &mut &[u8]) -> Result<Member<Identity>, CodecError> {
    let (raw, rest) = data.split_at_checked(MEMBER_BYTES).ok_or(CodecError::CutShort)?;
    *data = rest;
    codec.decode_member(raw)
}

fn get_bool(data: &mut &[u8]) -> Result<bool, CodecError> {
    match data.try_get_u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::Value),
    }
}

#[cfg(test)]
mod tests {
    use covenant_types::{BootEpoch, NodeId};
    use foca::State;

    use super::*;

    fn codec() -> FixedCodec {
        FixedCodec { me: NodeId([9; 16]), own: std::sync::Arc::default() }
    }

    fn feeds() -> Vec<Feed> {
        let identity = |node| Identity::new(NodeId([node; 16]), BootEpoch(3));
        let member = |node| Member::new(identity(node), 7, State::Suspect);
        let one: Vec<u64> = (0..16).collect();
        let other: Vec<u64> = (0..16).map(|number| if number % 5 == 0 { 99 } else { number }).collect();
        let feed = |about_you, body| Feed { sender: identity(1), incarnation: 4, about_you, body };
        let buckets = Buckets::differing(&one, &other);
        vec![
            feed(None, Body::Digest(one)),
            feed(None, Body::Ping(7)),
            feed(Some(member(2)), Body::Pong(8)),
            feed(Some(member(2)), Body::Members { buckets, answer: true, members: vec![member(3), member(4)] }),
            feed(None, Body::Members { buckets: Buckets::none(), answer: false, members: Vec::new() }),
        ]
    }

    #[test]
    fn a_feed_is_read_as_it_was_written_and_a_cut_one_is_refused() {
        for feed in feeds() {
            let bytes = feed.encode(&mut codec());
            assert_eq!(Feed::decode(&mut codec(), &bytes), Ok(feed));
            for length in 0..bytes.len() {
                assert!(Feed::decode(&mut codec(), &bytes[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn buckets_differ_where_digests_do() {
        let buckets = Buckets::differing(&[1, 2, 3, 4], &[1, 0, 3, 0]);
        assert_eq!((0..4).map(|bucket| buckets.contains(bucket)).collect::<Vec<_>>(), [false, true, false, true]);
        assert!(Buckets::differing(&[1], &[1]).is_empty());
    }
}
