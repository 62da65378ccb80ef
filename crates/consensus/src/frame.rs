//! Frames of the log file: what one write puts on disk, and how its end is told from damage.
//!
//! # Intuition
//! The log is written in frames, one for each group of requests that share a sync, and the next frame is written only after
//! the last one is on disk. So a crash can spoil the last frame alone, and only in the ways in which a disk leaves a write
//! half done: the file ends early, or a sector was never written and reads as zeros. A bad frame that looks like that was
//! promised to nobody, and is cut off. Any other bad frame was promised: it is damage, and nothing is cut.
//! (`covenant_store`'s segment log need not know this difference: what it loses can be fetched again.)
//!
//! # Form
//! `sequence u64 | length u32 | checksum of these 4 B | checksum of the content 16 B | content | padding`, big-endian; frames
//! begin at multiples of 64 bytes, so no header spans two sectors. The content is mixed with a stream of the frame's own, so
//! that no written sector is ever zeros, whatever people send; the padding is the stream itself and is checked as well.

/// The most bytes one frame carries.
pub(crate) const CONTENT_BYTES_MAX: usize = 16 * 1024 * 1024;
pub(crate) const HEADER_BYTES: usize = 32;
const ALIGNMENT: usize = 64;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// How many bytes a frame with so much content takes in the file.
pub(crate) fn frame_bytes(content: usize) -> usize {
    (HEADER_BYTES + content).next_multiple_of(ALIGNMENT)
}

/// The frame of `content`.
///
/// # Panics
/// The content is longer than [`CONTENT_BYTES_MAX`]: whoever fills a frame counts.
pub(crate) fn frame(sequence: u64, content: &[u8]) -> Vec<u8> {
    assert!(content.len() <= CONTENT_BYTES_MAX, "a frame is filled up to its bound");
    let length = u32::try_from(content.len()).expect("the bound fits");
    let mut bytes = Vec::with_capacity(frame_bytes(content.len()));
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&header_checksum(sequence, length));
    bytes.extend_from_slice(&content_checksum(sequence, content));
    bytes.extend_from_slice(content);
    bytes.resize(frame_bytes(content.len()), 0);
    mix(sequence, 0, &mut bytes[HEADER_BYTES..]);
    bytes
}

/// Mixes `bytes`, which lie `offset` bytes after the header, with the stream of the frame. Doing it twice undoes it.
pub(crate) fn mix(sequence: u64, offset: usize, bytes: &mut [u8]) {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let word = stream_word(sequence, (at / 8) as u64).to_be_bytes();
        let skip = at % 8;
        let (head, tail) = rest.split_at_mut(rest.len().min(8 - skip));
        head.iter_mut().zip(&word[skip..]).for_each(|(byte, mixed)| *byte ^= mixed);
        at += head.len();
        rest = tail;
    }
}

/// One round of splitmix64 over a counter.
fn stream_word(sequence: u64, number: u64) -> u64 {
    let mut word =
        sequence.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn header_checksum(sequence: u64, length: u32) -> [u8; 4] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"covenant/log-frame/1").update(&sequence.to_be_bytes()).update(&length.to_be_bytes());
    hasher.finalize().as_bytes()[..4].try_into().expect("four of 32 bytes")
}

fn content_checksum(sequence: u64, content: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&sequence.to_be_bytes()).update(content);
    hasher.finalize().as_bytes()[..16].try_into().expect("16 of 32 bytes")
}

/// What stands at one place of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame, which takes `bytes` of the file.
    Frame { content: Vec<u8>, bytes: usize },
    /// What a crash left of a frame that was promised to nobody.
    Torn,
    /// What was promised and is no more what was written.
    Damaged,
}

/// Looks at `rest`, which begins at a multiple of 64 in its file and ends with the file, for the frame `sequence`.
pub(crate) fn look(rest: &[u8], sequence: u64) -> Found {
    let Some(header) = rest.get(..HEADER_BYTES) else { return Found::Torn };
    let length = u32::from_be_bytes(header[8..12].try_into().expect("four bytes"));
    let header_ok = header[..8] == sequence.to_be_bytes()
        && header[12..16] == header_checksum(sequence, length)
        && length as usize <= CONTENT_BYTES_MAX;
    if !header_ok {
        return if never_written(rest) { Found::Torn } else { Found::Damaged };
    }
    let bytes = frame_bytes(length as usize);
    let Some(body) = rest.get(HEADER_BYTES..bytes) else { return Found::Torn };
    let mut content = body.to_vec();
    mix(sequence, 0, &mut content);
    let padding = content.split_off(length as usize);
    if header[16..] == content_checksum(sequence, &content) && padding.iter().all(|byte| *byte == 0) {
        return Found::Frame { content, bytes };
    }
    // Something after it: the next frame was begun, so this one had been promised.
    if rest.len() == bytes && never_written(rest) { Found::Torn } else { Found::Damaged }
}

/// Whether some sector of `frame` still reads as zeros. A frame begins at a multiple of 64, so each of its parts in a sector
/// is long enough not to be zeros by chance; where in its sector it begins does not matter for runs of 64 zeros.
fn never_written(frame: &[u8]) -> bool {
    frame.chunks(ALIGNMENT).any(|part| part.iter().all(|byte| *byte == 0))
}

const _: () = assert!(HEADER_BYTES <= ALIGNMENT && SECTOR.is_multiple_of(ALIGNMENT));

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_is_found_as_it_was_written_and_is_never_zeros() {
        for content in [&b""[..], b"x", &[0; 5000], &[0xff; 31]] {
            let bytes = frame(9, content);
            assert_eq!(bytes.len(), frame_bytes(content.len()));
            assert!(!never_written(&bytes));
            assert_eq!(look(&bytes, 9), Found::Frame { content: content.to_vec(), bytes: bytes.len() });
            assert_eq!(look(&bytes, 8), Found::Damaged, "a frame out of its order");
        }
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let whole = frame(3, &[0; 300]);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(look(&bytes, 3), Found::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn a_bad_frame_with_another_behind_it_is_damage_even_if_it_reads_as_zeros() {
        let mut bytes = frame(3, &[1; 3000]);
        bytes[512..1024].fill(0);
        assert_eq!(look(&bytes, 3), Found::Torn);
        bytes.extend(frame(4, b"next"));
        assert_eq!(look(&bytes, 3), Found::Damaged);
    }

    proptest! {
        #[test]
        fn whatever_a_power_cut_leaves_of_a_frame_is_torn(
            content in proptest::collection::vec(any::<u8>(), 0..4000),
            start in 0usize..8,
            written in proptest::collection::vec(any::<bool>(), 10),
            end in any::<proptest::sample::Index>(),
        ) {
            let whole = frame(5, &content);
            let mut bytes = whole.clone();
            // Sectors of the file, in which the frame begins at a multiple of 64.
            for (at, byte) in bytes.iter_mut().enumerate() {
                if !written[(at + start * ALIGNMENT) / SECTOR] {
                    *byte = 0;
                }
            }
            bytes.truncate(end.index(whole.len() + 1));
            let found = look(&bytes, 5);
            if bytes.is_empty() || bytes != whole {
                prop_assert_eq!(found, Found::Torn);
            }
        }

        #[test]
        fn any_bytes_are_looked_at_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500), sequence: u64) {
            let _ = look(&bytes, sequence);
        }
    }
}
