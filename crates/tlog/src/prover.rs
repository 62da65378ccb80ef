//! Makes proofs from a log's tiles.

use std::collections::BTreeMap;
use std::io;

use crate::hash::rows;
use crate::{Hash, Head, LogFiles, TileKind, TilePath, verify_consistency};

/// Reads tiles of a tree and proves things of it. It believes the tiles: whoever checks a proof does not.
pub struct Prover<'a> {
    files: &'a dyn LogFiles,
    size: u64,
    /// Tiles that were read; at most [`TILES_KEPT_MAX`].
    tiles: BTreeMap<TilePath, Vec<u8>>,
}

impl<'a> Prover<'a> {
    /// Proves things of the tree of `size` entries that `files` hold.
    pub fn new(files: &'a dyn LogFiles, size: u64) -> Self {
        Self { files, size, tiles: BTreeMap::new() }
    }

    /// The proof that the entry at `index` is in the tree, for [`verify_inclusion`](crate::verify_inclusion).
    ///
    /// # Errors
    /// There is no such entry, or a tile cannot be read.
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, ProveError> {
        if index >= self.size {
            return Err(ProveError::OutOfRange { asked: index, size: self.size });
        }
        let (mut start, mut end, mut proof) = (0, self.size, Vec::new());
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                proof.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                proof.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// The proof that the tree extends the one of `old_size`, for [`verify_consistency`].
    ///
    /// # Errors
    /// The tree is smaller, or a tile cannot be read.
    pub fn consistency(&mut self, old_size: u64) -> Result<Vec<Hash>, ProveError> {
        if old_size > self.size {
            return Err(ProveError::OutOfRange { asked: old_size, size: self.size });
        }
        if old_size == 0 {
            return Ok(Vec::new());
        }
        let (mut start, mut end, mut proof) = (0, self.size, Vec::new());
        while old_size < end {
            let middle = start + split(end - start);
            if old_size <= middle {
                proof.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                proof.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        if start > 0 {
            proof.push(self.subtree(start, end)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// The root that the tree had at `size`.
    ///
    /// # Errors
    /// The tree is smaller, or a tile cannot be read.
    pub fn root_at(&mut self, size: u64) -> Result<Hash, ProveError> {
        match size {
            0 => Ok(Hash::EMPTY_TREE),
            size if size > self.size => Err(ProveError::OutOfRange { asked: size, size: self.size }),
            size => self.subtree(0, size),
        }
    }

    /// The hash of the entries from `start` to before `end`, where the tree has a subtree that begins there.
    fn subtree(&mut self, start: u64, end: u64) -> Result<Hash, ProveError> {
        let count = end - start;
        if count.is_power_of_two() {
            return self.perfect(count.ilog2(), start);
        }
        let middle = start + split(count);
        let left = self.subtree(start, middle)?;
        Ok(Hash::node(left, self.subtree(middle, end)?))
    }

    /// The hash of the two to the power of `height` entries from `start`: they share a tile.
    fn perfect(&mut self, height: u32, start: u64) -> Result<Hash, ProveError> {
        let level = height / 8;
        let first = start >> (8 * level);
        let kind = TileKind::Hashes(level.to_le_bytes()[0]);
        let path = TilePath::in_tree(kind, first >> 8, self.size).expect("a subtree of the tree has its tile");
        let within = usize::from(first.to_le_bytes()[0]);
        let tile = self.tile(path)?;
        let hashes = tile.get(within * 32..(within + (1 << (height % 8))) * 32).ok_or(ProveError::Malformed(path))?;
        Ok(Hash::perfect(hashes))
    }

    fn tile(&mut self, path: TilePath) -> Result<&[u8], ProveError> {
        if !self.tiles.contains_key(&path) {
            let bytes = match self.files.read(&path.to_string(), path.bytes_max()) {
                Ok(bytes) => bytes.ok_or(ProveError::Missing(path))?,
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(ProveError::Malformed(path)),
                Err(error) => return Err(ProveError::Read(path, error)),
            };
            if rows(&bytes).count() != usize::from(path.width()) || bytes.len() != path.bytes_max() {
                return Err(ProveError::Malformed(path));
            }
            if self.tiles.len() == TILES_KEPT_MAX {
                self.tiles.clear();
            }
            self.tiles.insert(path, bytes);
        }
        Ok(&self.tiles[&path])
    }
}

impl std::fmt::Debug for Prover<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prover").field("size", &self.size).field("tiles", &self.tiles.len()).finish_non_exhaustive()
    }
}

/// Checks that the log of the checkpoint `now` begins with that of `earlier`, by a proof from its tiles.
///
/// Both must have been opened under the log's keys. [`verify()`](crate::verify()) checks the same from the entries themselves.
///
/// # Errors
/// History was rewritten or cut, or a tile cannot be read.
pub fn check_history(files: &dyn LogFiles, earlier: &Head, now: &Head) -> Result<(), ProveError> {
    let proof = Prover::new(files, now.size()).consistency(earlier.size())?;
    let (old, new) = ((earlier.size(), earlier.root()), (now.size(), now.root()));
    verify_consistency(old, new, &proof).map_err(|_| ProveError::Rewritten { size: earlier.size() })
}

/// Where a tree of `count` entries, two or more, divides: the largest power of two below it.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// How many tiles a prover keeps: all that one proof needs, at 8 KiB each.
const TILES_KEPT_MAX: usize = 32;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The tree is smaller than that.
    #[error("{asked} is beyond a tree of {size} entries")]
    OutOfRange {
        /// The index or size that was asked for.
        asked: u64,
        /// How many entries there are.
        size: u64,
    },
    /// The tile is not there.
    #[error("{0} is missing")]
    Missing(TilePath),
    /// The tile does not have its width.
    #[error("{0} is not a tile of its width")]
    Malformed(TilePath),
    /// The tile cannot be read now.
    #[error("cannot read {0}")]
    Read(TilePath, #[source] io::Error),
    /// The log does not begin as it did when it had `size` entries, or its tiles do not belong to its checkpoint.
    #[error("the first {size} entries are not those that were signed then")]
    Rewritten {
        /// How many entries the earlier checkpoint had.
        size: u64,
    },
}
