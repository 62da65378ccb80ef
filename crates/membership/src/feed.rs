//! Everything one node knows, in one message on a stream. What a datagram cannot hold.
//!
//! version u8 · answer wanted u8 · the sender's identity · number of members u16 · the members as in a datagram.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use foca::{Codec, Member};

use crate::Identity;
use crate::codec::{CodecError, FixedCodec, IDENTITY_BYTES, MEMBER_BYTES, get_identity, put_identity};
use crate::gate::NODES_MAX;

const VERSION: u8 = 1;

/// One node's whole knowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) sender: Identity,
    pub(crate) answer: bool,
    pub(crate) members: Vec<Member<Identity>>,
}

impl Feed {
    pub(crate) fn encode(&self, codec: &mut FixedCodec) -> Bytes {
        let members = &self.members[..self.members.len().min(NODES_MAX)];
        let mut buf = BytesMut::with_capacity(4 + IDENTITY_BYTES + members.len() * MEMBER_BYTES);
        buf.put_u8(VERSION);
        buf.put_u8(u8::from(self.answer));
        put_identity(&mut buf, &self.sender);
        buf.put_u16(u16::try_from(members.len()).expect("NODES_MAX fits in 16 bits"));
        for member in members {
            codec.encode_member(member, &mut buf).expect("a growing buffer has room");
        }
        buf.freeze()
    }

    pub(crate) fn decode(codec: &mut FixedCodec, mut data: &[u8]) -> Result<Self, CodecError> {
        if data.try_get_u8()? != VERSION {
            return Err(CodecError::Version);
        }
        let answer = match data.try_get_u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::Value),
        };
        let sender = get_identity(&mut data)?;
        let count = usize::from(data.try_get_u16()?);
        if count > NODES_MAX || data.len() != count * MEMBER_BYTES {
            return Err(CodecError::Value);
        }
        let members = data.chunks_exact(MEMBER_BYTES).map(|raw| codec.decode_member(raw)).collect::<Result<_, _>>()?;
        Ok(Self { sender, answer, members })
    }
}
