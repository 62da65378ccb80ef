//! Replays a whole log and finds whatever was changed in it.
//!
//! From the entries alone every tile, and the root, is computed again and compared. So a byte that was flipped in a bundle shows in
//! its tile of hashes, one in a tile shows at once, and one in both shows in the root that the log and its witnesses signed.

use std::collections::BTreeSet;
use std::error::Error;
use std::io;

use crate::note::NOTE_BYTES_MAX;
use crate::{Head, LogFiles, OpenError, Policy, TileBuilder, TileKind, TilePath, file_count, files_of, parse_bundle};

/// The name of the file that says how large a log is and what its root is.
pub const CHECKPOINT_FILE: &str = "checkpoint";

/// What was found true of a log.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Its checkpoint.
    pub head: Head,
    /// Whether the files could be listed. Where not, files that do not belong to the log were not looked for.
    pub listed: bool,
}

/// Checks the log in `files`: signatures, that there are exactly the files of its size, every hash, that it begins as each of
/// `earlier` says. Hands each entry with its index to `entry`, in order, which may refuse it for what it means.
///
/// An entry is handed over before the root above it is known to be right: nothing that `entry` learns counts before all of it
/// was verified.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn verify<E: Error + 'static>(
    files: &dyn LogFiles,
    policy: &Policy,
    earlier: &[Head],
    mut entry: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<Verified, VerifyError<E>> {
    let names = files.list().map_err(|error| VerifyError::Read(".".to_owned(), error))?;
    let head = policy.open(&read(files, CHECKPOINT_FILE, NOTE_BYTES_MAX)?)?;
    if head.unknown() > 0 {
        return Err(VerifyError::UnknownSignatures(head.unknown()));
    }
    if let Some(names) = &names {
        check_names(names, head.size())?;
    }
    if let Some(kept) = earlier.iter().find(|kept| kept.size() > head.size()) {
        return Err(VerifyError::Shorter { size: head.size(), kept: kept.size() });
    }
    let mut builder = TileBuilder::default();
    let check_earlier = |builder: &TileBuilder| {
        let kept = earlier.iter().find(|kept| kept.size() == builder.size() && kept.root() != builder.root());
        kept.map_or(Ok(()), |kept| Err(VerifyError::Rewritten { size: kept.size() }))
    };
    check_earlier(&builder)?;
    let bundles = files_of(head.size()).take_while(|path| path.kind() == TileKind::Entries);
    for path in bundles {
        let bytes = read(files, &path.to_string(), path.bytes_max())?;
        let entries = parse_bundle(&bytes, path.width()).ok_or(VerifyError::Changed(path))?;
        for bytes in entries {
            let index = builder.size();
            for file in builder.append(bytes).expect("an entry of a bundle is not too long") {
                compare(files, &file.path, &file.bytes)?;
            }
            entry(index, bytes).map_err(|source| VerifyError::Entry { index, source })?;
            check_earlier(&builder)?;
        }
    }
    for file in builder.edge() {
        compare(files, &file.path, &file.bytes)?;
    }
    if builder.root() != head.root() {
        return Err(VerifyError::Root);
    }
    Ok(Verified { head, listed: names.is_some() })
}

/// Compares a tile with the file. Entries were read from theirs.
fn compare<E>(files: &dyn LogFiles, path: &TilePath, expected: &[u8]) -> Result<(), VerifyError<E>> {
    let same = path.kind() == TileKind::Entries || read(files, &path.to_string(), path.bytes_max())? == expected;
    if same { Ok(()) } else { Err(VerifyError::Changed(*path)) }
}

fn read<E>(files: &dyn LogFiles, name: &str, bytes_max: usize) -> Result<Vec<u8>, VerifyError<E>> {
    match files.read(name, bytes_max) {
        Ok(bytes) => bytes.ok_or_else(|| VerifyError::Missing(name.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(VerifyError::TooLarge(name.to_owned())),
        Err(error) => Err(VerifyError::Read(name.to_owned(), error)),
    }
}

/// That `names` are exactly those of a log of `size` entries, each once.
fn check_names<E>(names: &[String], size: u64) -> Result<(), VerifyError<E>> {
    let mut found = BTreeSet::new();
    for name in names.iter().filter(|name| *name != CHECKPOINT_FILE) {
        let path: Option<TilePath> = name.parse().ok().filter(|path: &TilePath| path.is_in_tree(size));
        let new = path.is_some_and(|path| found.insert(path));
        if !new {
            return Err(VerifyError::Unknown(name.clone()));
        }
    }
    if found.len() as u64 == file_count(size) {
        return Ok(());
    }
    // Ends after as many steps as there are files: each step but the last finds one.
    let missing = files_of(size).find(|path| !found.contains(path)).expect("fewer files than there should be");
    Err(VerifyError::Missing(missing.to_string()))
}

/// What is wrong with a log. Nothing was changed; reading again helps only where a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError<E: 'static> {
    /// A file cannot be read now. Whether it is right is not known.
    #[error("cannot read {0}")]
    Read(String, #[source] io::Error),
    /// A file that belongs to the log is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A file that does not belong to the log is there.
    #[error("{0:?} does not belong to the log")]
    Unknown(String),
    /// A file is larger than any that could stand there.
    #[error("{0} is too large for what it is")]
    TooLarge(String),
    /// A tile or bundle is not what the entries make it.
    #[error("{0} was changed")]
    Changed(TilePath),
    /// The checkpoint is not to be believed.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] OpenError),
    /// The checkpoint has signatures by keys that are neither the log's nor a witness's.
    #[error("the checkpoint has {0} signatures by unknown keys")]
    UnknownSignatures(usize),
    /// Entries and tiles agree with each other, and not with the root that was signed.
    #[error("the entries do not have the root that was signed")]
    Root,
    /// An earlier checkpoint had more entries.
    #[error("the log has {size} entries and had {kept}")]
    Shorter {
        /// How many there are.
        size: u64,
        /// How many an earlier checkpoint says.
        kept: u64,
    },
    /// The log begins otherwise than an earlier checkpoint says.
    #[error("the first {size} entries are not those that were signed then")]
    Rewritten {
        /// How many entries the earlier checkpoint had.
        size: u64,
    },
    /// An entry means something that cannot be.
    #[error("entry {index} is refused")]
    Entry {
        /// Its place.
        index: u64,
        /// Why.
        #[source]
        source: E,
    },
}
