//! Frames on a stream: a big-endian `u32` length, then that many bytes.

use std::fmt;

use serde::Serialize;

use crate::{WireError, encode_into};

/// The length before each frame.
pub const FRAME_HEADER_BYTES: usize = 4;

/// Consumed bytes are moved out of a reader's buffer once this many have gathered.
const COMPACT_BYTES: usize = 64 * 1024;

/// Appends `payload` as one frame.
///
/// # Panics
/// `payload` is longer than `u32::MAX`: no frame may come near that.
pub fn frame_into(payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(payload.len()));
    out.extend_from_slice(payload);
}

/// Appends `value` as one frame, encoded in place, and returns the length of its payload.
///
/// # Panics
/// As [`crate::encode`].
pub fn frame_value_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    encode_into(value, out);
    let length = out.len() - start - FRAME_HEADER_BYTES;
    out[start..start + FRAME_HEADER_BYTES].copy_from_slice(&header(length));
    length
}

/// The length a header announces, if it is at most `limit`. Check it before allocating for the frame.
///
/// # Errors
/// It is more.
pub fn frame_length(header: [u8; FRAME_HEADER_BYTES], limit: usize) -> Result<usize, WireError> {
    let bytes = u32::from_be_bytes(header) as usize;
    if bytes > limit { Err(WireError::TooLarge { bytes, limit }) } else { Ok(bytes) }
}

fn header(length: usize) -> [u8; FRAME_HEADER_BYTES] {
    u32::try_from(length).expect("a frame is shorter than 4 GiB").to_be_bytes()
}

/// Cuts the bytes of a stream into frames.
///
/// Holds at most one frame that is not complete, plus whatever was pushed at once: read in pieces.
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    limit: usize,
}

impl FrameReader {
    /// A reader that refuses frames of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, limit }
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > COMPACT_BYTES {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame, if there is one.
    ///
    /// # Errors
    /// A frame is announced that is longer than the limit. The stream cannot be read any further: close it.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, WireError> {
        let Some((header, rest)) = self.buffer[self.start..].split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = frame_length(*header, self.limit)?;
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.start + FRAME_HEADER_BYTES;
        self.start = from + length;
        Ok(Some(&self.buffer[from..from + length]))
    }

    /// How many bytes wait for the rest of their frame. Zero at a clean end of a stream.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").field("pending", &self.pending()).field("limit", &self.limit).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_in_pieces(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut reader = FrameReader::new(1000);
        let mut frames = Vec::new();
        for piece in bytes.chunks(piece) {
            reader.push(piece);
            while let Some(frame) = reader.next_frame().unwrap() {
                frames.push(frame.to_vec());
            }
        }
        assert_eq!(reader.pending(), 0);
        frames
    }

    #[test]
    fn a_value_is_framed_in_place() {
        let mut out = vec![9];
        assert_eq!(frame_value_into("ab", &mut out), 3);
        assert_eq!(out, [9, 0, 0, 0, 3, 2, b'a', b'b']);
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_by_its_header_alone() {
        let mut reader = FrameReader::new(3);
        reader.push(&[0, 0, 0, 4]);
        assert_eq!(reader.next_frame(), Err(WireError::TooLarge { bytes: 4, limit: 3 }));
    }

    #[test]
    fn an_unfinished_frame_waits() {
        let mut reader = FrameReader::new(10);
        reader.push(&[0, 0, 0, 2, 1]);
        assert_eq!(reader.next_frame(), Ok(None));
        assert_eq!(reader.pending(), 5);
        reader.push(&[2]);
        assert_eq!(reader.next_frame(), Ok(Some(&[1, 2][..])));
    }

    #[test]
    fn a_long_stream_does_not_gather() {
        let mut reader = FrameReader::new(1000);
        let mut frame = Vec::new();
        frame_into(&[7; 999], &mut frame);
        reader.push(&frame[..1]);
        for _ in 0..1000 {
            reader.push(&frame[1..]);
            assert_eq!(reader.next_frame().unwrap().map(<[u8]>::len), Some(999));
            reader.push(&frame[..1]);
        }
        assert!(reader.buffer.len() < 2 * COMPACT_BYTES);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..10),
            piece in 1usize..20,
        ) {
            let mut bytes = Vec::new();
            frames.iter().for_each(|frame| frame_into(frame, &mut bytes));
            prop_assert_eq!(read_in_pieces(&bytes, piece), frames);
        }
    }
}
