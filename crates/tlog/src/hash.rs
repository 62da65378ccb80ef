//! The hashes of RFC 6962: of an entry, and of two subtrees.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// A hash of the tree, SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The root of a tree without entries: the hash of nothing.
    pub const EMPTY_TREE: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// The hash of an entry.
    pub fn leaf(entry: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
    }

    /// The hash of two subtrees side by side.
    pub fn node(left: Self, right: Self) -> Self {
        let mut message = [1; 65];
        message[1..33].copy_from_slice(&left.0);
        message[33..].copy_from_slice(&right.0);
        Self(Sha256::digest(message).into())
    }

    /// The root above `hashes`, whose number is a power of two, all of one height.
    pub(crate) fn perfect(hashes: &[u8]) -> Self {
        let mut row: Vec<Self> = rows(hashes).collect();
        debug_assert!(row.len().is_power_of_two());
        while row.len() > 1 {
            row = row.chunks(2).map(|pair| Self::node(pair[0], pair[1])).collect();
        }
        row[0]
    }

    /// The 44 characters of standard base64.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads the one spelling that [`to_base64`](Self::to_base64) writes.
    pub fn from_base64(text: &str) -> Option<Self> {
        if text.len() != 44 {
            return None;
        }
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

/// The hashes that are written one after the other.
pub(crate) fn rows(bytes: &[u8]) -> impl Iterator<Item = Hash> {
    bytes.as_chunks::<32>().0.iter().map(|hash| Hash(*hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_tree_is_the_hash_of_nothing() {
        assert_eq!(Hash::EMPTY_TREE.0, <[u8; 32]>::from(Sha256::digest([])));
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let text = Hash::EMPTY_TREE.to_base64();
        assert_eq!(Hash::from_base64(&text), Some(Hash::EMPTY_TREE));
        // The last character before `=` carries two bits that mean nothing.
        let other = text.replace("U=", "V=");
        assert_ne!(other, text);
        assert_eq!(Hash::from_base64(&other), None);
        assert_eq!(Hash::from_base64(&text[..43]), None);
    }
}
