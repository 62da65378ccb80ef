//! What hubs and those who look to them write to each other beside SWIM: leases, and what is said of others.
//!
//! kind u8, then
//! - 1, renew: the period in milliseconds u32 · 2, goodbye
//! - 3, digest of the sender's board: u64
//! - 4, the receiver's copy of it in buckets: number of buckets u16 · a u64 for each
//! - 5, all words of some buckets: number of buckets u16 · which, a bit each · words to the end
//! - 6, news: words to the end
//!
//! A word: node, 16 bytes · epoch u64 · health u8.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use covenant_types::{BootEpoch, NodeId};

use crate::Health;
use crate::board::Word;
use crate::codec::CodecError;
use crate::feed::{Buckets, get_digest, put_digest};
use crate::gate::NODES_MAX;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// I am here, and will say so again after this long. Answered with a digest.
    Renew(Duration),
    /// I go, or sleep.
    Goodbye,
    /// What my board comes to.
    Digest(u64),
    /// What I have of your board comes to this.
    Copy(Vec<u64>),
    /// All of my board that lies in these buckets.
    Words(Buckets, Vec<(NodeId, Word)>),
    /// What changed on my board.
    News(Vec<(NodeId, Word)>),
}

impl Note {
    pub(crate) fn encode(&self, buf: &mut BytesMut) {
        match self {
            Self::Renew(period) => {
                buf.put_u8(1);
                buf.put_u32(u32::try_from(period.as_millis()).unwrap_or(u32::MAX));
            }
            Self::Goodbye => buf.put_u8(2),
            Self::Digest(digest) => {
                buf.put_u8(3);
                buf.put_u64(*digest);
            }
            Self::Copy(digest) => {
                buf.put_u8(4);
                put_digest(digest, buf);
            }
            Self::Words(buckets, words) => {
                buf.put_u8(5);
                buckets.put(buf);
                words.iter().for_each(|word| put_word(word, buf));
            }
            Self::News(words) => {
                buf.put_u8(6);
                words.iter().for_each(|word| put_word(word, buf));
            }
        }
    }

    /// By itself.
    pub(crate) fn to_bytes(&self, prefix: &[u8]) -> Bytes {
        let mut buf = BytesMut::from(prefix);
        self.encode(&mut buf);
        buf.freeze()
    }

    pub(crate) fn decode(mut data: &[u8]) -> Result<Self, CodecError> {
        let kind = data.try_get_u8()?;
        match (kind, data) {
            (1, [_, _, _, _]) => Ok(Self::Renew(Duration::from_millis(data.get_u32().into()))),
            (2, []) => Ok(Self::Goodbye),
            (3, _) if data.len() == 8 => Ok(Self::Digest(data.get_u64())),
            (4, _) => Ok(Self::Copy(get_digest(data)?)),
            (5, _) => {
                let buckets = Buckets::get(&mut data)?;
                Ok(Self::Words(buckets, get_words(data)?))
            }
            (6, _) => Ok(Self::News(get_words(data)?)),
            _ => Err(CodecError::Value),
        }
    }
}

const WORD_BYTES: usize = 16 + 8 + 1;

fn put_word((node, word): &(NodeId, Word), buf: &mut BytesMut) {
    buf.put_slice(&node.0);
    buf.put_u64(word.epoch.0);
    buf.put_u8(match word.health {
        Health::Alive => 0,
        Health::Suspect => 1,
        Health::Down => 2,
        Health::Left => 3,
    });
}

fn get_words(data: &[u8]) -> Result<Vec<(NodeId, Word)>, CodecError> {
    if !data.len().is_multiple_of(WORD_BYTES) || data.len() / WORD_BYTES > NODES_MAX {
        return Err(CodecError::Value);
    }
    data.chunks_exact(WORD_BYTES).map(get_word).collect()
}

fn get_word(mut data: &[u8]) -> Result<(NodeId, Word), CodecError> {
    let mut id = [0; 16];
    data.try_copy_to_slice(&mut id)?;
    let epoch = BootEpoch(data.try_get_u64()?);
    let health = match data.try_get_u8()? {
        0 => Health::Alive,
        1 => Health::Suspect,
        2 => Health::Down,
        3 => Health::Left,
        _ => return Err(CodecError::Value),
    };
    Ok((NodeId(id), Word { epoch, health }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_cut_or_longer_one_is_refused() {
        let word = |number, health| (NodeId([number; 16]), Word { epoch: BootEpoch(7), health });
        let words =
            vec![word(1, Health::Alive), word(2, Health::Suspect), word(3, Health::Down), word(4, Health::Left)];
        let buckets = Buckets::differing(&[1, 2, 3, 4], &[0, 2, 3, 0]);
        for note in [
            Note::Renew(Duration::from_secs(600)),
            Note::Goodbye,
            Note::Digest(9),
            Note::Copy(vec![1, 2, 3, 4]),
            Note::Words(buckets, words.clone()),
            Note::News(words),
        ] {
            let bytes = note.to_bytes(&[]);
            assert_eq!(Note::decode(&bytes), Ok(note.clone()));
            let mut longer = bytes.to_vec();
            longer.push(0);
            assert!(Note::decode(&longer).is_err(), "{note:?}");
            for length in 0..bytes.len() {
                let cut = Note::decode(&bytes[..length]);
                // Words may end after any word.
                let shorter = matches!(cut, Ok(Note::Words(..) | Note::News(_)));
                assert!(cut.is_err() || shorter, "{note:?} cut to {length}");
            }
        }
        assert!(Note::decode(&[]).is_err() && Note::decode(&[99]).is_err());
    }

    #[test]
    fn more_words_than_nodes_may_be_known_are_refused() {
        let mut bytes = vec![6];
        bytes.resize(1 + WORD_BYTES * (NODES_MAX + 1), 0);
        assert!(Note::decode(&bytes).is_err());
    }
}
