//! What is said of nodes, one word each: what a hub tells the others, and what they told.
//!
//! Two that hold a board each find out by one number whether the boards are equal, and by one number a bucket where they
//! differ. Only what differs crosses.

use std::collections::BTreeMap;

use covenant_types::{BootEpoch, NodeId};

use crate::Health;
use crate::digest::bucket_of;
use crate::feed::Buckets;
use crate::gate::NODES_MAX;

/// What is said of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Of which boot.
    pub(crate) epoch: BootEpoch,
    /// How it is.
    pub(crate) health: Health,
}

/// A word about each of some nodes, at most [`NODES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Board(BTreeMap<NodeId, Word>);

impl Board {
    /// Sets the word about a node. Returns whether it is another than before.
    pub(crate) fn set(&mut self, node: NodeId, word: Word) -> bool {
        if !self.0.contains_key(&node) && self.0.len() >= NODES_MAX {
            return false;
        }
        self.0.insert(node, word) != Some(word)
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<Word> {
        self.0.get(node).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    /// What it comes to, in so many buckets: a power of two, at most 256.
    pub(crate) fn digest(&self, buckets: usize) -> Vec<u64> {
        let mut digest = vec![0; buckets];
        for (node, word) in &self.0 {
            digest[bucket_of(node, buckets)] ^= hash(node, word);
        }
        digest
    }

    /// The words about the nodes in some buckets.
    pub(crate) fn of(&self, buckets: &Buckets) -> Vec<(NodeId, Word)> {
        let count = buckets.count();
        let wanted = |node: &NodeId| buckets.contains(bucket_of(node, count));
        self.0.iter().filter(|(node, _)| wanted(node)).map(|(node, word)| (*node, *word)).collect()
    }

    /// Makes the words about the nodes in some buckets these. Returns those whose word is another.
    pub(crate) fn replace(&mut self, buckets: &Buckets, words: Vec<(NodeId, Word)>) -> Vec<NodeId> {
        let count = buckets.count();
        let old = std::mem::take(&mut self.0);
        let (inside, outside): (BTreeMap<_, _>, BTreeMap<_, _>) =
            old.into_iter().partition(|(node, _)| buckets.contains(bucket_of(node, count)));
        self.0 = outside;
        let fit = words.into_iter().filter(|(node, _)| buckets.contains(bucket_of(node, count)));
        let mut changed = Vec::new();
        for (node, word) in fit {
            if self.set(node, word) && inside.get(&node) != Some(&word) {
                changed.push(node);
            }
        }
        changed.extend(inside.into_keys().filter(|node| !self.0.contains_key(node)));
        changed
    }
}

/// FNV-1a and one round of splitmix64, as for SWIM's own digest.
fn hash(node: &NodeId, word: &Word) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let parts: [&[u8]; 3] = [&node.0, &word.epoch.0.to_be_bytes(), &[word.health as u8]];
    for byte in parts.into_iter().flatten() {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::buckets_for;

    fn word(health: Health) -> Word {
        Word { epoch: BootEpoch(1), health }
    }

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    fn board(numbers: std::ops::Range<u8>) -> Board {
        Board(numbers.map(|number| (node(number), word(Health::Alive))).collect())
    }

    #[test]
    fn two_boards_become_equal_by_exchanging_what_differs_alone() {
        let mut one = board(0..100);
        let mut other = board(0..98);
        one.set(node(7), word(Health::Down));
        other.set(node(200), word(Health::Alive));
        assert_ne!(one.digest(1), other.digest(1));
        let count = buckets_for(one.len());
        let differing = Buckets::differing(&one.digest(count), &other.digest(count));
        let words = one.of(&differing);
        assert!(words.len() < 30, "{}", words.len());
        let mut changed = other.replace(&differing, words);
        changed.sort_unstable();
        assert_eq!(changed, [7, 98, 99, 200].map(node));
        assert_eq!(one, other);
        assert_eq!(one.digest(1), other.digest(1));
    }

    #[test]
    fn a_board_is_bounded_and_takes_no_words_of_other_buckets() {
        let mut board = Board::default();
        for number in 0..=NODES_MAX {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            assert_eq!(board.set(NodeId(id), word(Health::Alive)), number < NODES_MAX);
        }
        assert_eq!(board.len(), NODES_MAX);
        let second = Buckets::differing(&[1, 1], &[1, 2]);
        let mut board = self::board(0..1);
        assert_eq!(board.replace(&second, vec![(node(2), word(Health::Down))]), []);
        assert_eq!(board, self::board(0..1), "node 2 is of the first bucket");
    }
}
