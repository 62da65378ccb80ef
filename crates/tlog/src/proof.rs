//! Proofs that an entry is in a tree and that a tree extends another, and how they are checked. After RFC 9162, section 2.1,
//! which has the trees and the proofs of RFC 6962.

use crate::Hash;

/// The most hashes of a proof: a path in a tree of less than 2^63 entries, and one more.
pub const PROOF_HASHES_MAX: usize = 64;

/// Checks that the entry whose hash is `leaf` stands at `index` in the tree of `size` entries with the root `root`.
///
/// # Errors
/// The proof does not show it.
pub fn verify_inclusion(index: u64, leaf: Hash, size: u64, root: Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if index >= size || proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError);
    }
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for beside in proof {
        if last == 0 {
            return Err(ProofError);
        }
        if place & 1 == 1 || place == last {
            hash = Hash::node(*beside, hash);
            let up = place.trailing_zeros().min(63);
            (place, last) = (place >> up, last >> up);
        } else {
            hash = Hash::node(hash, *beside);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 && hash == root { Ok(()) } else { Err(ProofError) }
}

/// Checks that the tree of `size` entries with the root `root` begins with the tree of `old_size` and `old_root`.
///
/// Every tree begins with the one without entries, and with itself; the proof of either has no hashes.
///
/// # Errors
/// The proof does not show it.
pub fn verify_consistency(
    (old_size, old_root): (u64, Hash),
    (size, root): (u64, Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > size || proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError);
    }
    if old_size == 0 || old_size == size {
        let same = if old_size == size { root } else { Hash::EMPTY_TREE };
        return if proof.is_empty() && old_root == same { Ok(()) } else { Err(ProofError) };
    }
    // The old tree's last subtree that the new one has as well: where the path begins.
    let up = (old_size - 1).trailing_ones();
    let (mut place, mut last) = ((old_size - 1) >> up, (size - 1) >> up);
    let (first, path) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        let (first, path) = proof.split_first().ok_or(ProofError)?;
        (*first, path)
    };
    let (mut old, mut new) = (first, first);
    for beside in path {
        if last == 0 {
            return Err(ProofError);
        }
        if place & 1 == 1 || place == last {
            (old, new) = (Hash::node(*beside, old), Hash::node(*beside, new));
            let up = place.trailing_zeros().min(63);
            (place, last) = (place >> up, last >> up);
        } else {
            new = Hash::node(new, *beside);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 && old == old_root && new == root { Ok(()) } else { Err(ProofError) }
}

/// A proof that does not show what it should: the proof, a root or a number in it was changed, or history was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not hold")]
pub struct ProofError;
