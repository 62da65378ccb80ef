//! Proofs that our prover makes from tiles, and that our checks accept or refuse.

use covenant_tlog::{Hash, Prover, TileBuilder, check_history, verify_consistency, verify_inclusion};
use proptest::prelude::*;

use crate::fixture::{Authors, entries, tiles};

/// Sizes around every edge that a tile has.
const SIZES: [u64; 14] = [1, 2, 3, 7, 8, 9, 255, 256, 257, 511, 513, 1000, 4096, 5000];

fn roots(all: &[Vec<u8>]) -> Vec<Hash> {
    let mut builder = TileBuilder::default();
    let mut roots = vec![builder.root()];
    for entry in all {
        builder.append(entry).unwrap();
        roots.push(builder.root());
    }
    roots
}

#[test]
fn every_entry_of_small_trees_is_proved_to_be_where_it_is_and_nowhere_else() {
    let all = entries(40);
    let roots = roots(&all);
    for size in 1..=40 {
        let (files, _) = tiles(&all[..size]);
        let (length, root) = (size as u64, roots[size]);
        let mut prover = Prover::new(&files, length);
        for (index, entry) in (0..).zip(&all[..size]) {
            let proof = prover.inclusion(index).unwrap();
            assert_eq!(verify_inclusion(index, Hash::leaf(entry), length, root, &proof), Ok(()));
            for elsewhere in (0..length + 2).filter(|place| *place != index) {
                assert!(verify_inclusion(elsewhere, Hash::leaf(entry), length, root, &proof).is_err());
            }
            assert!(verify_inclusion(index, Hash::leaf(b"other"), length, root, &proof).is_err());
        }
        assert!(prover.inclusion(length).is_err());
    }
}

#[test]
fn every_small_tree_is_proved_to_begin_as_it_did_and_not_otherwise() {
    let all = entries(40);
    let roots = roots(&all);
    for size in 0..=40usize {
        let (files, _) = tiles(&all[..size]);
        let now = (size as u64, roots[size]);
        for (old_size, old_root) in roots.iter().enumerate().take(size + 1) {
            let old = (old_size as u64, *old_root);
            let proof = Prover::new(&files, now.0).consistency(old.0).unwrap();
            assert_eq!(verify_consistency(old, now, &proof), Ok(()), "{old_size} {size}");
            assert!(verify_consistency((old.0, Hash::leaf(b"x")), now, &proof).is_err(), "{old_size} {size}");
            let mut longer = proof.clone();
            longer.push(Hash::leaf(b"x"));
            assert!(verify_consistency(old, now, &longer).is_err(), "{old_size} {size}");
            for place in 0..proof.len() {
                let mut other = proof.clone();
                other[place].0[7] ^= 1;
                assert!(verify_consistency(old, now, &other).is_err(), "{old_size} {size} {place}");
                assert!(verify_consistency(old, now, &proof[..place]).is_err(), "{old_size} {size} {place}");
            }
            if old_size > 0 && old_size < size {
                assert!(verify_consistency(old, (now.0, Hash::leaf(b"x")), &proof).is_err(), "{old_size} {size}");
            }
        }
        assert!(Prover::new(&files, now.0).consistency(now.0 + 1).is_err());
    }
}

#[test]
fn proofs_across_tiles_hold() {
    let all = entries(5000);
    let roots = roots(&all);
    for size in SIZES {
        let length = usize::try_from(size).unwrap();
        let (files, builder) = tiles(&all[..length]);
        assert_eq!(builder.root(), roots[length]);
        let mut prover = Prover::new(&files, size);
        for old in SIZES.into_iter().filter(|old| *old <= size) {
            let old_root = roots[usize::try_from(old).unwrap()];
            assert_eq!(prover.root_at(old).unwrap(), old_root);
            let proof = prover.consistency(old).unwrap();
            assert_eq!(verify_consistency((old, old_root), (size, builder.root()), &proof), Ok(()), "{old} {size}");
            let proof = prover.inclusion(old - 1).unwrap();
            let leaf = Hash::leaf(&all[usize::try_from(old - 1).unwrap()]);
            assert_eq!(verify_inclusion(old - 1, leaf, size, builder.root(), &proof), Ok(()), "{old} {size}");
        }
    }
}

#[test]
fn a_history_is_checked_against_what_was_kept() {
    let authors = Authors::new(2);
    let mut all = entries(1000);
    let kept = authors.head(&all[..300]);
    check_history(&authors.files(&all), &kept, &authors.head(&all)).unwrap();
    assert!(check_history(&authors.files(&all[..200]), &kept, &authors.head(&all[..200])).is_err(), "entries are gone");
    all[299].push(b'!');
    assert!(check_history(&authors.files(&all), &kept, &authors.head(&all)).is_err(), "an entry is another");
}

proptest! {
    #[test]
    fn hostile_proofs_prove_nothing(
        (old, size, index) in (any::<u64>(), any::<u64>(), any::<u64>()),
        proof in proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash), 0..80),
    ) {
        let (a, b) = (Hash::leaf(b"a"), Hash::leaf(b"b"));
        prop_assert!(verify_inclusion(index, a, size, b, &proof).is_err());
        prop_assert!(verify_consistency((old, a), (size, b), &proof).is_err());
    }
}
