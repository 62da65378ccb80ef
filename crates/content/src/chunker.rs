//! Cutting files where their content says, so that a change moves only the cuts around it (FastCDC, 2020 version).

use std::fmt;
use std::io::Read;

use serde::{Deserialize, Serialize};

/// The name of a chunk: BLAKE3 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

const CHUNK_BYTES_MIN: u32 = 16 * 1024;
const CHUNK_BYTES_AVERAGE: u32 = 64 * 1024;
/// The longest chunk, in bytes.
pub const CHUNK_BYTES_MAX: u32 = 256 * 1024;

/// Cuts everything that `reader` gives, one chunk at a time, in bounded memory.
pub(crate) fn chunks(reader: impl Read) -> impl Iterator<Item = std::io::Result<Vec<u8>>> {
    let cutter =
        fastcdc::v2020::StreamCDC::new(reader, CHUNK_BYTES_MIN as _, CHUNK_BYTES_AVERAGE as _, CHUNK_BYTES_MAX as _);
    cutter.map(|chunk| chunk.map(|chunk| chunk.data).map_err(std::io::Error::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that no compressor likes, the same on every run.
    fn noise(length: usize) -> Vec<u8> {
        let mut output = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut output);
        output
    }

    #[test]
    fn chunks_put_together_are_the_file() {
        let file = noise(3_000_000);
        let cut: Vec<Vec<u8>> = chunks(&file[..]).map(Result::unwrap).collect();
        assert!(cut.len() > 10 && cut.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX as usize));
        assert_eq!(cut.concat(), file);
        assert_eq!(chunks(&[][..]).count(), 0);
    }

    #[test]
    fn two_bytes_in_front_leave_most_chunks_as_they_were() {
        let file = noise(3_000_000);
        let ids = |bytes: &[u8]| {
            chunks(bytes).map(|chunk| ChunkId::of(&chunk.unwrap())).collect::<std::collections::BTreeSet<_>>()
        };
        let (before, after) = (ids(&file), ids(&[&b"xx"[..], &file].concat()));
        assert!(
            after.difference(&before).count() <= 2,
            "{} of {} are new",
            after.difference(&before).count(),
            after.len()
        );
    }
}
