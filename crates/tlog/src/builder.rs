//! Grows the tree by one entry at a time and says which files that makes.
//!
//! The same machine writes a log and checks one: whoever verifies appends the entries and compares the files.

use crate::hash::rows;
use crate::{ENTRY_BYTES_MAX, Hash, TILE_BYTES, TILE_WIDTH, TileKind, TilePath};

/// The right edge of a tree: all that is needed to let it grow. At most 8 KiB per level, and one bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileBuilder {
    size: u64,
    /// The hashes of the tile under way, per level, one after the other; always less than a full tile.
    levels: Vec<Vec<u8>>,
    /// The entries of the bundle under way.
    bundle: Vec<u8>,
}

/// One file of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileFile {
    /// Where it lies.
    pub path: TilePath,
    /// All that is in it.
    pub bytes: Vec<u8>,
}

impl TileBuilder {
    /// Appends an entry and returns the tiles that are full with it. No later entry changes those.
    ///
    /// # Errors
    /// The entry is longer than [`ENTRY_BYTES_MAX`]; nothing changed.
    pub fn append(&mut self, entry: &[u8]) -> Result<Vec<TileFile>, EntryTooLong> {
        let length = u16::try_from(entry.len()).map_err(|_| EntryTooLong(entry.len()))?;
        self.size += 1;
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(entry);
        let mut full = Vec::new();
        if self.size.is_multiple_of(TILE_WIDTH.into()) {
            let bytes = std::mem::take(&mut self.bundle);
            full.push(Self::file(TileKind::Entries, self.size, bytes));
        }
        let (mut hash, mut level) = (Hash::leaf(entry), 0);
        loop {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::new());
            }
            let tile = &mut self.levels[usize::from(level)];
            tile.extend_from_slice(&hash.0);
            if tile.len() < TILE_BYTES {
                return Ok(full);
            }
            let bytes = std::mem::take(tile);
            hash = Hash::perfect(&bytes);
            full.push(Self::file(TileKind::Hashes(level), self.size, bytes));
            level += 1;
        }
    }

    /// The tiles and the bundle under way: the partial files of a tree of this size.
    pub fn edge(&self) -> Vec<TileFile> {
        let levels = (0..).zip(&self.levels).map(|(level, bytes)| (TileKind::Hashes(level), bytes));
        let under_way = std::iter::once((TileKind::Entries, &self.bundle)).chain(levels);
        under_way
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(kind, bytes)| Self::file(kind, self.size, bytes.clone()))
            .collect()
    }

    /// How many entries were appended.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        // The widest subtrees stand to the left; the tree is their sum from the right.
        let mut peaks = Vec::new();
        for tile in self.levels.iter().rev() {
            let mut rest = &tile[..];
            while !rest.is_empty() {
                let (peak, after) = rest.split_at(32 << (rest.len() / 32).ilog2());
                peaks.push(Hash::perfect(peak));
                rest = after;
            }
        }
        let sum = peaks.into_iter().rev().reduce(|right, left| Hash::node(left, right));
        sum.unwrap_or(Hash::EMPTY_TREE)
    }

    /// The edge of a tree of `size`, from its partial files as [`edge`](Self::edge) gives them; `None` if they are not those.
    ///
    /// Whether they are right is for the caller to see by [`root`](Self::root): it hashes all of them but the bundle, which is
    /// compared with its hashes here.
    pub fn resume(size: u64, mut read: impl FnMut(TilePath) -> Option<Vec<u8>>) -> Option<Self> {
        let mut builder = Self { size, ..Self::default() };
        for level in 0..8u8 {
            let hashes = size >> (8 * u32::from(level));
            if hashes == 0 {
                break;
            }
            let partial = TilePath::in_tree(TileKind::Hashes(level), hashes >> 8, size);
            let bytes =
                partial.map_or(Some(Vec::new()), |path| read(path).filter(|bytes| bytes.len() == path.bytes_max()))?;
            builder.levels.push(bytes);
        }
        if let Some(path) = TilePath::in_tree(TileKind::Entries, size >> 8, size) {
            builder.bundle = read(path)?;
            let entries = crate::parse_bundle(&builder.bundle, path.width())?;
            let leaves = entries.into_iter().map(Hash::leaf);
            if !leaves.eq(rows(&builder.levels[0])) {
                return None;
            }
        }
        Some(builder)
    }

    /// The file of this kind in which the newest hash or entry of a tree of `size` stands.
    fn file(kind: TileKind, size: u64, bytes: Vec<u8>) -> TileFile {
        let count = size >> (8 * u32::from(kind.level()));
        let path = TilePath::in_tree(kind, (count - 1) >> 8, size).expect("a tile under way is in the tree");
        TileFile { path, bytes }
    }
}

/// An entry whose length, in bytes, does not fit into 16 bits. Nothing changed; it will never fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {0} bytes is longer than {ENTRY_BYTES_MAX}")]
pub struct EntryTooLong(pub usize);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// RFC 6962, section 2.1, word for word.
    fn root_by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::EMPTY_TREE,
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                Hash::node(root_by_definition(left), root_by_definition(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition_and_files_are_those_of_the_size() {
        let (mut builder, mut leaves, mut full) = (TileBuilder::default(), Vec::new(), BTreeMap::new());
        for number in 0..70_000u32 {
            let at_times =
                number < 300 || [511, 512, 4096, 5000, 65_535, 65_536, 65_537, 65_792, 69_999].contains(&number);
            if at_times {
                assert_eq!(builder.root(), root_by_definition(&leaves), "{number}");
                let mut files: Vec<TilePath> =
                    full.keys().copied().chain(builder.edge().iter().map(|file| file.path)).collect();
                let mut expected: Vec<TilePath> = crate::files_of(number.into()).collect();
                files.sort();
                expected.sort();
                assert_eq!(files, expected, "{number}");
                let edge = builder.edge();
                let read = |path| edge.iter().find(|file| file.path == path).map(|file| file.bytes.clone());
                let resumed = TileBuilder::resume(number.into(), read).unwrap();
                assert_eq!((resumed.root(), resumed.edge()), (builder.root(), edge.clone()), "{number}");
            }
            let entry = number.to_le_bytes();
            full.extend(builder.append(&entry).unwrap().into_iter().map(|file| (file.path, file.bytes)));
            leaves.push(Hash::leaf(&entry));
        }
    }

    #[test]
    fn an_entry_that_is_too_long_changes_nothing() {
        let mut builder = TileBuilder::default();
        assert_eq!(builder.append(&[0; ENTRY_BYTES_MAX + 1]), Err(EntryTooLong(ENTRY_BYTES_MAX + 1)));
        assert_eq!(builder, TileBuilder::default());
        builder.append(&[0; ENTRY_BYTES_MAX]).unwrap();
        assert_eq!(builder.size(), 1);
    }
}
