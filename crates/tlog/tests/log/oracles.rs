//! Implementations that we did not write accept our notes, tiles and proofs, and refuse what was changed.

use covenant_tlog::{CHECKPOINT_FILE, Hash, MemoryFiles, Prover, TileKind, TilePath};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use sha2::Sha256;
use signed_note::{Note, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::{Tile, TileHashReader, TileReader};

use crate::fixture::{Authors, entries, tiles};

#[test]
fn ct_merkle_has_the_same_roots_and_accepts_our_proofs() {
    let all = entries(700);
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut their_roots = vec![theirs.root()];
    for entry in &all {
        theirs.push(entry.clone());
        their_roots.push(theirs.root());
    }
    for size in [1, 2, 3, 255, 256, 257, 300, 511, 512, 700usize] {
        let (files, ours) = tiles(&all[..size]);
        let root = &their_roots[size];
        assert_eq!(ours.root().0[..], root.as_bytes()[..], "{size}");
        let mut prover = Prover::new(&files, ours.size());
        for index in (0..size).step_by(7).chain([size - 1]) {
            let proof = digests(&prover.inclusion(index as u64).unwrap());
            let proof = InclusionProof::<Sha256>::from_digests(&proof);
            root.verify_inclusion(&all[index], index as u64, &proof).unwrap();
            assert!(root.verify_inclusion(b"another entry", index as u64, &proof).is_err());
        }
        for old in (1..size).step_by(11) {
            let proof = digests(&prover.consistency(old as u64).unwrap());
            let proof = ConsistencyProof::<Sha256>::from_digests(&proof);
            root.verify_consistency(&their_roots[old], &proof).unwrap();
        }
    }
}

fn digests(hashes: &[Hash]) -> Vec<ct_merkle::digest::Output<Sha256>> {
    hashes.iter().map(|hash| hash.0.into()).collect()
}

/// Our files as that crate reads them.
struct OurTiles<'a>(&'a MemoryFiles);

impl TileReader for OurTiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            // That crate writes the height into a path, as Go's checksum database does. The rest is as specified.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            let parsed: TilePath = path.parse().map_err(|_| tlog_tiles::Error::InvalidTile)?;
            assert_eq!((parsed.kind(), parsed.index()), (TileKind::Hashes(tile.level()), tile.level_index()));
            self.0.get(&path).cloned().ok_or(tlog_tiles::Error::InvalidTile)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[test]
fn tlog_tiles_reads_our_tiles_makes_the_same_proofs_and_accepts_ours() {
    let all = entries(70_000);
    let (mut files, ours) = tiles(&all);
    let (size, root) = (ours.size(), tlog_tiles::Hash(ours.root().0));
    let converted = |proof: Vec<Hash>| proof.into_iter().map(|hash| tlog_tiles::Hash(hash.0)).collect::<Vec<_>>();
    let reader = OurTiles(&files);
    let theirs = TileHashReader::new(size, root, &reader);
    let mut prover = Prover::new(&files, size);
    for index in [0, 1, 255, 256, 40_000, 65_535, 65_536, 69_999] {
        let proof = converted(prover.inclusion(index).unwrap());
        assert_eq!(proof, tlog_tiles::prove_record(size, index, &theirs).unwrap(), "{index}");
        let leaf = tlog_tiles::record_hash(&all[usize::try_from(index).unwrap()]);
        tlog_tiles::check_record(&proof, size, root, index, leaf).unwrap();
    }
    for old in [1, 255, 256, 257, 40_000, 65_536, 65_537, 70_000] {
        let proof = converted(prover.consistency(old).unwrap());
        assert_eq!(proof, tlog_tiles::prove_tree(size, old, &theirs).unwrap(), "{old}");
        let old_root = tlog_tiles::Hash(prover.root_at(old).unwrap().0);
        tlog_tiles::check_tree(&proof, size, root, old, old_root).unwrap();
    }
    files.get_mut("tile/0/273.p/112").unwrap()[40] ^= 1;
    let reader = OurTiles(&files);
    let theirs = TileHashReader::new(size, root, &reader);
    assert!(tlog_tiles::prove_record(size, 0, &theirs).is_err());
}

/// A witness's key for that crate, which knows only logs' keys: the message is put together by the specification.
struct Cosigner {
    id: u32,
    key: covenant_tlog::VerifierKey,
}

impl Verifier for Cosigner {
    fn name(&self) -> &str {
        self.key.name().as_str()
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let (time, signature) = signature.split_first_chunk::<8>().unwrap();
        let header = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(*time));
        let message = [header.as_bytes(), text].concat();
        covenant_identity::verify(self.key.public(), &message, signature.try_into().unwrap())
    }
}

#[test]
fn signed_note_verifies_our_checkpoints() {
    let authors = Authors::new(2);
    let files = authors.files(&entries(300));
    let bytes = &files[CHECKPOINT_FILE];
    let (note, policy) = (Note::from_bytes(bytes).unwrap(), &authors.policy);
    let mut keys: Vec<Box<dyn Verifier>> = vec![Box::new(StandardVerifier::new(&policy.log().to_string()).unwrap())];
    for key in policy.witnesses() {
        let material = [&[4][..], key.public()].concat();
        let id = signed_note::key_id(key.name().as_str(), &material);
        keys.push(Box::new(Cosigner { id, key: key.clone() }));
    }
    let (verified, unverified) = note.verify(&VerifierList::new(keys)).unwrap();
    assert_eq!((verified.len(), unverified.len()), (3, 0));
    assert_eq!(note.to_bytes(), *bytes);
    let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    let ours = policy.open(bytes).unwrap();
    assert_eq!((theirs.origin(), theirs.size()), (policy.log().name().as_str(), ours.size()));
    assert_eq!(theirs.hash().0, ours.root().0);
    let changed = bytes.iter().map(|byte| if *byte == b'3' { b'4' } else { *byte }).collect::<Vec<u8>>();
    let key: Box<dyn Verifier> = Box::new(StandardVerifier::new(&policy.log().to_string()).unwrap());
    assert!(Note::from_bytes(&changed).is_ok_and(|note| note.verify(&VerifierList::new(vec![key])).is_err()));
}
