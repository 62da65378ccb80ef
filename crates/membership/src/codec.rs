//! The fixed layout of a SWIM datagram.
//!
//! Header: version u8 · message u8 · source identity · its incarnation u16 · destination identity · probe number u8 and
//! identity, for the messages that have them. Then, where a message carries rumours, their number as u16 and the members:
//! identity · incarnation u16 · state u8. An identity is the node's 16 bytes, its epoch u64, its bump u32. Big-endian.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use bytes::{Buf, BufMut};
use covenant_types::{BootEpoch, NodeId};
use foca::{Header, Member, Message, State};

use crate::Identity;

/// An identity on the wire.
pub(crate) const IDENTITY_BYTES: usize = 28;
/// A member on the wire.
pub(crate) const MEMBER_BYTES: usize = IDENTITY_BYTES + 3;
/// A `Down` member with this incarnation has left by its own will. No living member has it: one that gets so far renews.
pub(crate) const LEFT: foca::Incarnation = foca::Incarnation::MAX;

const VERSION: u8 = 1;

/// Writes and reads the fixed layout.
#[derive(Clone, Debug)]
pub(crate) struct FixedCodec {
    pub(crate) me: NodeId,
    pub(crate) own: Arc<OwnWord>,
}

/// What foca's words about ourselves mean, and show.
#[derive(Debug, Default)]
pub(crate) struct OwnWord {
    /// Set once this node leaves: from then on `Down` about ourselves means that we left.
    pub(crate) leaving: AtomicBool,
    /// Our incarnation as the last datagram had it; foca shows it nowhere else.
    pub(crate) incarnation: AtomicU16,
}

impl foca::Codec<Identity> for FixedCodec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, mut buf: impl BufMut) -> Result<(), CodecError> {
        let (tag, probe, third) = match &header.message {
            Message::Ping(probe) => (0, Some(*probe), None),
            Message::Ack(probe) => (1, Some(*probe), None),
            Message::PingReq { target, probe_number } => (2, Some(*probe_number), Some(target)),
            Message::IndirectPing { origin, probe_number } => (3, Some(*probe_number), Some(origin)),
            Message::IndirectAck { target, probe_number } => (4, Some(*probe_number), Some(target)),
            Message::ForwardedAck { origin, probe_number } => (5, Some(*probe_number), Some(origin)),
            Message::Announce => (6, None, None),
            Message::Feed => (7, None, None),
            Message::Gossip => (8, None, None),
            Message::Broadcast => (9, None, None),
            Message::TurnUndead => (10, None, None),
        };
        self.own.incarnation.store(header.src_incarnation, Ordering::Relaxed);
        let third_bytes = third.map_or(0, |_| IDENTITY_BYTES);
        fits(&buf, 4 + 2 * IDENTITY_BYTES + usize::from(probe.is_some()) + third_bytes)?;
        buf.put_u8(VERSION);
        buf.put_u8(tag);
        put_identity(&mut buf, &header.src);
        buf.put_u16(header.src_incarnation);
        put_identity(&mut buf, &header.dst);
        if let Some(probe) = probe {
            buf.put_u8(probe);
        }
        if let Some(third) = third {
            put_identity(&mut buf, third);
        }
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        if buf.try_get_u8()? != VERSION {
            return Err(CodecError::Version);
        }
        let tag = buf.try_get_u8()?;
        let src = get_identity(&mut buf)?;
        let src_incarnation = buf.try_get_u16()?;
        let dst = get_identity(&mut buf)?;
        let message = match tag {
            0 => Message::Ping(buf.try_get_u8()?),
            1 => Message::Ack(buf.try_get_u8()?),
            2 => Message::PingReq { probe_number: buf.try_get_u8()?, target: get_identity(&mut buf)? },
            3 => Message::IndirectPing { probe_number: buf.try_get_u8()?, origin: get_identity(&mut buf)? },
            4 => Message::IndirectAck { probe_number: buf.try_get_u8()?, target: get_identity(&mut buf)? },
            5 => Message::ForwardedAck { probe_number: buf.try_get_u8()?, origin: get_identity(&mut buf)? },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            10 => Message::TurnUndead,
            _ => return Err(CodecError::Value),
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Identity>, mut buf: impl BufMut) -> Result<(), CodecError> {
        fits(&buf, MEMBER_BYTES)?;
        let down = member.state() == State::Down;
        let left = down && member.id().node == self.me && self.own.leaving.load(Ordering::Relaxed);
        put_identity(&mut buf, member.id());
        buf.put_u16(if left { LEFT } else { member.incarnation() });
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        let id = get_identity(&mut buf)?;
        let incarnation = buf.try_get_u16()?;
        let state = match buf.try_get_u8()? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(CodecError::Value),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

pub(crate) fn put_identity(buf: &mut impl BufMut, identity: &Identity) {
    buf.put_slice(&identity.node.0);
    buf.put_u64(identity.epoch.0);
    buf.put_u32(identity.bump);
}

pub(crate) fn get_identity(buf: &mut impl Buf) -> Result<Identity, CodecError> {
    let mut node = [0; 16];
    buf.try_copy_to_slice(&mut node)?;
    Ok(Identity { node: NodeId(node), epoch: BootEpoch(buf.try_get_u64()?), bump: buf.try_get_u32()? })
}

fn fits(buf: &impl BufMut, needed: usize) -> Result<(), CodecError> {
    if buf.remaining_mut() < needed { Err(CodecError::CutShort) } else { Ok(()) }
}

/// Bytes that are not a datagram of ours. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("cut short")]
    CutShort,
    #[error("of another version")]
    Version,
    #[error("a field has a value it may not have")]
    Value,
}

impl From<bytes::TryGetError> for CodecError {
    fn from(_: bytes::TryGetError) -> Self {
        Self::CutShort
    }
}
