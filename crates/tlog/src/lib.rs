//! A transparency log: what was written can be proved, and can no longer be changed without being found out.
//!
//! After C2SP's `tlog-tiles`, `tlog-checkpoint`, `signed-note`, `tlog-cosignature` (version 1, Ed25519) and `tlog-witness`,
//! over the Merkle tree of RFC 6962 with SHA-256. Tools that know these read our logs, and ours read theirs.
//!
//! # Intuition
//! All entries are the leaves of one tree of hashes, and its root stands for all of them. The log signs the root and the number of
//! entries: a checkpoint. Witnesses, who remember what they saw last, add their signatures only to a checkpoint that
//! extends it. So a log that shows different people different histories needs the help of its witnesses, and whoever kept one
//! old checkpoint can prove that history was rewritten.
//!
//! # Invariants
//! - What is in a log's folder follows from its checkpoint alone, down to the byte: one file too many or too few is found.
//! - Nothing is signed before it is on disk, and the tree goes through every root that was signed before.
//! - Lengths and counts from outside are bounded before anything is reserved for them.
//!
//! # Not here
//! What an entry means: [`verify()`] hands each to its caller, in order. Who serves the files, and when a checkpoint is due.
//!
//! # Reading order
//! 1. [`struct@Hash`], [`TileBuilder`]  2. [`TilePath`], [`files_of`]  3. [`SignedNote`], [`Checkpoint`], [`Policy`]  4. [`Prover`]
//! 5. [`Witness`]  6. [`LogWriter`]  7. [`verify()`]
#![deny(clippy::disallowed_methods)]

mod builder;
mod checkpoint;
mod files;
mod hash;
mod note;
mod policy;
mod proof;
mod prover;
mod tile;
mod verify;
mod witness;
mod writer;

pub use builder::{EntryTooLong, TileBuilder, TileFile};
pub use checkpoint::{Checkpoint, CheckpointError, SIZE_MAX};
pub use files::{Directory, LogFiles, MemoryFiles};
pub use hash::Hash;
pub use note::{KeyError, KeyKind, KeyName, NOTE_BYTES_MAX, NoteError, SIGNATURES_MAX};
pub use note::{SignatureLine, SignedNote, Signer, VerifierKey, cosign, sign};
pub use policy::{Cosignature, Head, OpenError, Policy, PolicyError};
pub use proof::{PROOF_HASHES_MAX, ProofError, verify_consistency, verify_inclusion};
pub use prover::{ProveError, Prover, check_history};
pub use tile::{BUNDLE_BYTES_MAX, ENTRY_BYTES_MAX, TILE_BYTES, TILE_WIDTH, TileKind, TilePath, TilePathError};
pub use tile::{cut_tile, file_count, files_of, parse_bundle};
pub use verify::{CHECKPOINT_FILE, Verified, VerifyError, verify};
pub use witness::{AddCheckpoint, Agreed, Refusal, RequestError, Witness, WitnessRecord};
pub use writer::{LogWriter, Mended, WriteError};
