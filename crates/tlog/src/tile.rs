//! Tiles and entry bundles: where they lie, how wide they are, what is in them. After C2SP `tlog-tiles`.
//!
//! The files of a log follow from its size alone ([`files_of`]). A partial tile that an older checkpoint needed is a prefix of
//! the wider one that took its place, so it is not kept: whoever serves the files cuts it with [`cut_tile`].

use std::fmt;
use std::str::FromStr;

use crate::SIZE_MAX;

/// How many hashes or entries a full tile or bundle has.
pub const TILE_WIDTH: u16 = 256;
/// How many bytes a full tile of hashes has.
pub const TILE_BYTES: usize = 256 * 32;
/// The longest entry, in bytes: its length is written in 16 bits.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// The longest bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + ENTRY_BYTES_MAX);
/// The highest level of a tree of [`SIZE_MAX`] entries.
const LEVEL_MAX: u8 = 7;
/// The longest path is far below this.
const PATH_BYTES_MAX: usize = 64;

/// What a tile is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes, each of 256 to the power of this level entries.
    Hashes(u8),
    /// Entries.
    Entries,
}

impl TileKind {
    /// How many times 256 entries a hash is of.
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Hashes(level) => level,
            Self::Entries => 0,
        }
    }
}

/// Names one file of a log, and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TilePath {
    /// The tile of this kind and index in a tree of `size` entries; `None` if there is none.
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        if kind.level() > LEVEL_MAX {
            return None;
        }
        let hashes = size >> (8 * u32::from(kind.level()));
        let width = match index.cmp(&(hashes >> 8)) {
            std::cmp::Ordering::Less => TILE_WIDTH,
            std::cmp::Ordering::Equal => u16::from(hashes.to_le_bytes()[0]),
            std::cmp::Ordering::Greater => 0,
        };
        (width > 0).then_some(Self { kind, index, width })
    }

    /// Hashes or entries, and of which level.
    pub fn kind(self) -> TileKind {
        self.kind
    }

    /// The place of this tile in its level.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes or entries are in it, from 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether a tree of `size` entries has exactly this tile.
    pub fn is_in_tree(self, size: u64) -> bool {
        Self::in_tree(self.kind, self.index, size) == Some(self)
    }

    /// The same tile `width` wide; `None` if that is no width.
    pub fn with_width(self, width: u16) -> Option<Self> {
        (1..=TILE_WIDTH).contains(&width).then_some(Self { width, ..self })
    }

    /// How many bytes the file has at most.
    pub fn bytes_max(self) -> usize {
        match self.kind {
            TileKind::Hashes(_) => usize::from(self.width) * 32,
            TileKind::Entries => usize::from(self.width) * (2 + ENTRY_BYTES_MAX),
        }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups[1..].iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for TilePath {
    type Err = TilePathError;

    fn from_str(text: &str) -> Result<Self, TilePathError> {
        let path = parse_path(text).ok_or(TilePathError)?;
        // What is written in another way, such as with a leading zero too many, is another file.
        if path.to_string() == text { Ok(path) } else { Err(TilePathError) }
    }
}

fn parse_path(text: &str) -> Option<TilePath> {
    let rest = text.strip_prefix("tile/").filter(|_| text.len() <= PATH_BYTES_MAX)?;
    let (kind, rest) = rest.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(level.parse().ok().filter(|level| *level <= LEVEL_MAX)?),
    };
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width))?),
        None => (rest, TILE_WIDTH),
    };
    let mut index = 0u64;
    for group in number.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        index = index.checked_mul(1000)?.checked_add(digits.parse::<u16>().ok()?.into())?;
    }
    (index <= SIZE_MAX >> 8).then_some(TilePath { kind, index, width })
}

/// A path that names no tile and no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct TilePathError;

/// Every tile and bundle of a tree of `size` entries: bundles first, then the levels from the bottom up.
pub fn files_of(size: u64) -> impl Iterator<Item = TilePath> {
    let kinds = std::iter::once(TileKind::Entries).chain((0..=LEVEL_MAX).map(TileKind::Hashes));
    kinds.flat_map(move |kind| (0..).map_while(move |index| TilePath::in_tree(kind, index, size)))
}

/// How many paths [`files_of`] gives.
pub fn file_count(size: u64) -> u64 {
    let of_level = |level: u8| (size >> (8 * u32::from(level))).div_ceil(256);
    of_level(0) + (0..=LEVEL_MAX).map(of_level).sum::<u64>()
}

/// The entries of a bundle of `width`; `None` if it is not exactly that.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::with_capacity(width.min(TILE_WIDTH).into());
    let mut rest = bytes;
    for _ in 0..width.min(TILE_WIDTH) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (entry, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        rest = after;
    }
    rest.is_empty().then_some(entries)
}

/// The first `width` of what is in the tile `path`; `None` if `bytes` are not such a tile or have fewer.
///
/// Who still has an older checkpoint asks for the partial tiles of its size. They are prefixes of what is there now.
pub fn cut_tile(path: TilePath, bytes: &[u8], width: u16) -> Option<&[u8]> {
    if width == 0 || width > path.width {
        return None;
    }
    let end = match path.kind {
        TileKind::Hashes(_) => (bytes.len() == path.bytes_max()).then_some(usize::from(width) * 32)?,
        TileKind::Entries => {
            let entries = parse_bundle(bytes, path.width)?;
            entries.iter().take(width.into()).map(|entry| 2 + entry.len()).sum()
        }
    };
    bytes.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TilePath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_written_as_the_specification_shows() {
        let tile = TilePath { kind: TileKind::Entries, index: 1_234_067, width: 256 };
        assert_eq!(tile.to_string(), "tile/entries/x001/x234/067");
        assert_eq!(path("tile/entries/x001/x234/067"), tile);
        assert_eq!(path("tile/3/001.p/7"), TilePath { kind: TileKind::Hashes(3), index: 1, width: 7 });
    }

    #[test]
    fn a_path_has_one_spelling() {
        for wrong in [
            "",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/1",
            "tile/00/001",
            "tile/0/x000/001",
            "tile/0/0001",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/01",
            "tile/0/001.p/",
            "tile/0/x001",
            "tile/0/+01",
            "tile/64/000",
            "tile/8/000",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/../000",
            "tile/0/001/002",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert!(wrong.parse::<TilePath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tree_of_70_000_has_the_tiles_that_the_specification_counts() {
        let of = |kind| files_of(70_000).filter(move |path| path.kind == kind).collect::<Vec<_>>();
        assert_eq!(of(TileKind::Hashes(0)).len(), 274);
        assert_eq!(of(TileKind::Hashes(0))[273].width, 112);
        assert_eq!(of(TileKind::Hashes(1)).iter().map(|path| path.width).collect::<Vec<_>>(), [256, 17]);
        assert_eq!(of(TileKind::Hashes(2)).iter().map(|path| path.width).collect::<Vec<_>>(), [1]);
        assert_eq!(of(TileKind::Hashes(3)), []);
        assert_eq!(of(TileKind::Entries).len(), 274);
        let names: Vec<String> = files_of(256).map(|path| path.to_string()).collect();
        assert_eq!(names, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    }

    #[test]
    fn files_are_counted_without_being_listed() {
        for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000, 1_000_000] {
            assert_eq!(files_of(size).count() as u64, file_count(size), "{size}");
            assert!(files_of(size).all(|path| path.is_in_tree(size)));
        }
        assert!(file_count(SIZE_MAX) > 1 << 56);
    }

    #[test]
    fn bundles_have_exactly_their_entries() {
        let bundle = b"\0\x01a\0\0\0\x02bc";
        assert_eq!(parse_bundle(bundle, 3), Some(vec![&b"a"[..], b"", b"bc"]));
        assert_eq!(parse_bundle(bundle, 2), None);
        assert_eq!(parse_bundle(bundle, 4), None);
        assert_eq!(parse_bundle(&bundle[..8], 3), None);
        assert_eq!(cut_tile(path("tile/entries/000.p/3"), bundle, 2), Some(&bundle[..5]));
        assert_eq!(cut_tile(path("tile/entries/000.p/3"), bundle, 4), None);
        assert_eq!(cut_tile(path("tile/0/000.p/2"), &[7; 64], 1), Some(&[7; 32][..]));
        assert_eq!(cut_tile(path("tile/0/000.p/2"), &[7; 63], 1), None);
    }
}
