//! Writes a log as static files, and picks it up again after the power went.
//!
//! `public/` holds exactly the files of the published checkpoint, and those of the next one while its witnesses are asked. Beside it
//! lies `signed`, the newest checkpoint that the log's key signed: no later one may contradict it, published or not.
//!
//! # Invariants
//! - Every file is on disk before the checkpoint that needs it is signed, and the checkpoint before it is given away.
//! - What a published checkpoint needs stays until the next one is published.
//! - A tree that does not go through the roots in `signed` and `public/checkpoint` is not signed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use covenant_store::{sync_dir, write_atomic};

use crate::{
    CHECKPOINT_FILE, Checkpoint, Directory, EntryTooLong, Hash, Head, LogFiles, NOTE_BYTES_MAX, OpenError, Policy,
    SignedNote, Signer, TILE_WIDTH, TileBuilder, TileFile, TileKind, TilePath, VerifierKey, files_of, parse_bundle,
    sign,
};

/// The log in a folder. One process has it at a time: the lock of the data directory sees to that.
///
/// 1. [`open`](Self::open)  2. [`stage`](Self::stage) entries and have the checkpoint cosigned  3. [`publish`](Self::publish) it
#[derive(Debug)]
pub struct LogWriter {
    folder: PathBuf,
    key: VerifierKey,
    builder: TileBuilder,
    /// Sizes and roots that the tree must go through.
    signed: Vec<(u64, Hash)>,
    /// The newest checkpoint that was signed, while it is not published.
    unpublished: Option<SignedNote>,
    /// Tiles in `public/` that a later tree does not have.
    partial: BTreeSet<TilePath>,
}

/// What was wrong with a log when it was opened, and is mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Files that a write which did not end left behind; they are removed.
    pub left_behind: usize,
    /// Tiles of hashes that were made anew from the entries.
    pub tiles: usize,
    /// From [`LogWriter::size`] up to here entries are lost: they were signed, and must be staged again before anything else.
    pub lost_below: Option<u64>,
}

impl LogWriter {
    /// Opens the log in `folder`, or begins one, whose key is `key`. What a power cut left is mended.
    ///
    /// # Errors
    /// A checkpoint in the folder is not one that this key signed, or the disk refused.
    pub fn open(folder: impl Into<PathBuf>, key: VerifierKey) -> Result<(Self, Mended), WriteError> {
        let folder = folder.into();
        std::fs::create_dir_all(folder.join(PUBLIC)).map_err(|error| WriteError::Disk(folder.clone(), error))?;
        let policy = Policy::new(key.clone(), Vec::new(), 0).map_err(|_| WriteError::Key)?;
        let read = |name: &str| -> Result<Option<Head>, WriteError> {
            let path = folder.join(name);
            let bytes = Directory::new(&folder).read(name, NOTE_BYTES_MAX);
            let bytes = bytes.map_err(|error| WriteError::Disk(path.clone(), error))?;
            bytes.map(|bytes| policy.open(&bytes).map_err(|error| WriteError::Checkpoint(path, error))).transpose()
        };
        let published = read(&format!("{PUBLIC}/{CHECKPOINT_FILE}"))?;
        let newest = read(SIGNED)?;
        let heads: Vec<&Head> = published.iter().chain(&newest).collect();
        let signed: Vec<(u64, Hash)> = heads.iter().map(|head| (head.size(), head.root())).collect();
        let unpublished = newest.as_ref().filter(|head| published.as_ref().is_none_or(|old| old.size() < head.size()));
        let unpublished = unpublished.map(|head| head.note().clone());
        let mut writer =
            Self { folder, key, builder: TileBuilder::default(), signed, unpublished, partial: BTreeSet::new() };
        let mut mended = Mended::default();
        if let Some((size, root)) = writer.signed.iter().copied().max_by_key(|(size, _)| *size) {
            writer.resume(size, root, &mut mended)?;
        }
        writer.sweep(&mut mended)?;
        Ok((writer, mended))
    }

    /// How many entries there are: the index of the next one.
    pub fn size(&self) -> u64 {
        self.builder.size()
    }

    /// The tree that is on disk.
    pub fn tree(&self) -> &TileBuilder {
        &self.builder
    }

    /// Where the files to be served lie.
    pub fn public(&self) -> PathBuf {
        self.folder.join(PUBLIC)
    }

    /// A checkpoint that was signed and is not published: ask the witnesses, again if need be.
    pub fn unpublished(&self) -> Option<&SignedNote> {
        self.unpublished.as_ref()
    }

    /// Puts entries on disk and signs the tree that they make. `None` while entries that were signed before are still
    /// missing: a log does not sign less than it did.
    ///
    /// Work stands in proportion to the files that are touched: many entries at a time cost little more than one.
    ///
    /// # Errors
    /// The entries are too many or too long, or not those that were signed before: nothing changed. Or the disk refused:
    /// nothing was signed, and staging the same again is safe.
    pub fn stage<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a [u8]>,
        signer: &dyn Signer,
    ) -> Result<Option<SignedNote>, WriteError> {
        if signer.public_key() != *self.key.public() {
            return Err(WriteError::Key);
        }
        let (mut builder, mut files, mut bytes) = (self.builder.clone(), Vec::new(), 0);
        for entry in entries {
            bytes += 2 + entry.len();
            if bytes > BATCH_BYTES_MAX {
                return Err(WriteError::BatchTooLarge);
            }
            files.extend(builder.append(entry)?);
            if self.check_signed(&builder)? {
                // What a published checkpoint needs may be what was lost.
                files.extend(builder.edge());
            }
        }
        // Below what was signed, partial tiles are of no use: no checkpoint will ever need them.
        let complete = self.signed.iter().all(|(signed, _)| *signed <= builder.size());
        if complete {
            files.extend(builder.edge());
        }
        // Remembered first: what a write that fails leaves behind goes with the next checkpoint.
        self.partial.extend(files.iter().map(|file| file.path).filter(|path| path.width() < TILE_WIDTH));
        files.iter().try_for_each(|file| self.write(file))?;
        if !complete {
            self.builder = builder;
            return Ok(None);
        }
        let (size, root) = (builder.size(), builder.root());
        let origin = self.key.name().to_string();
        let text = Checkpoint { origin, size, root, extensions: Vec::new() }.to_string();
        let note = sign(self.key.name(), signer, text);
        self.write_whole(SIGNED, note.to_string().as_bytes())?;
        self.builder = builder;
        self.signed = vec![(size, root)];
        self.unpublished = Some(note.clone());
        Ok(Some(note))
    }

    /// Publishes the checkpoint that was signed last, with the cosignatures that came in, and removes what only older ones
    /// needed. Publishing it again, with more cosignatures, is fine.
    ///
    /// # Errors
    /// It is not the one that was signed last, or the disk refused; publishing again is safe.
    pub fn publish(&mut self, note: &SignedNote) -> Result<(), WriteError> {
        let policy = Policy::new(self.key.clone(), Vec::new(), 0).map_err(|_| WriteError::Key)?;
        let bytes = note.to_string().into_bytes();
        let checkpoint = PathBuf::from(CHECKPOINT_FILE);
        let head = policy.open(&bytes).map_err(|error| WriteError::Checkpoint(checkpoint, error))?;
        let newest = self.signed.iter().max_by_key(|(size, _)| *size);
        if newest != Some(&(head.size(), head.root())) || head.size() != self.builder.size() {
            return Err(WriteError::NotNewest);
        }
        self.write_whole(&format!("{PUBLIC}/{CHECKPOINT_FILE}"), &bytes)?;
        self.unpublished = None;
        let gone: Vec<TilePath> = self.partial.iter().copied().filter(|path| !path.is_in_tree(head.size())).collect();
        for path in gone {
            self.remove(&path.to_string())?;
            self.partial.remove(&path);
        }
        Ok(())
    }

    /// Begins again at entry 0, for a caller who has all entries: the way out when what is on disk contradicts what was signed.
    /// Nothing that was signed is forgotten, and files are replaced as entries come.
    pub fn start_over(&mut self) {
        self.builder = TileBuilder::default();
    }

    /// Whether a tree of this size was signed. Then it must be this one.
    fn check_signed(&self, builder: &TileBuilder) -> Result<bool, WriteError> {
        let size = builder.size();
        match self.signed.iter().find(|(signed, _)| *signed == size) {
            Some((_, root)) if *root != builder.root() => Err(WriteError::Contradiction { size }),
            found => Ok(found.is_some()),
        }
    }

    /// Takes up the tree of `size` from its right edge; where that is not what was signed, from its entries.
    fn resume(&mut self, size: u64, root: Hash, mended: &mut Mended) -> Result<(), WriteError> {
        let read = |path| self.read(path).ok().flatten();
        if let Some(builder) = TileBuilder::resume(size, read).filter(|builder| builder.root() == root) {
            self.builder = builder;
            return Ok(());
        }
        let (mut builder, mut other) = (TileBuilder::default(), Vec::new());
        // The tree before the first bundle that does not belong to its tile of hashes, and before the last bundle.
        let (mut suspect, mut last) = (None, TileBuilder::default());
        for path in files_of(size).take_while(|path| path.kind() == TileKind::Entries) {
            last = builder.clone();
            let bytes = self.read(path)?.unwrap_or_default();
            let Some(entries) = parse_bundle(&bytes, path.width()) else { break };
            for entry in entries {
                for file in builder.append(entry)? {
                    self.note_difference(file, &mut other)?;
                }
            }
            if suspect.is_none() && other.iter().any(|file| file.path.kind() == TileKind::Hashes(0)) {
                suspect = Some(last.clone());
            }
        }
        if builder.size() == size && builder.root() == root {
            for file in builder.edge() {
                self.note_difference(file, &mut other)?;
            }
        } else {
            builder = suspect.unwrap_or(last);
            other.retain(|file| file.path.is_in_tree(builder.size()));
            mended.lost_below = Some(size);
        }
        mended.tiles = other.len();
        other.iter().try_for_each(|file| self.write(file))?;
        self.builder = builder;
        Ok(())
    }

    fn note_difference(&self, file: TileFile, other: &mut Vec<TileFile>) -> Result<(), WriteError> {
        let same = file.path.kind() == TileKind::Entries || self.read(file.path)?.as_ref() == Some(&file.bytes);
        if !same {
            other.push(file);
        }
        Ok(())
    }

    /// Removes what no checkpoint needs: tiles of a tree that was never signed, and halves of files. What it does not know it
    /// leaves where it is, for `verify` to find.
    fn sweep(&mut self, mended: &mut Mended) -> Result<(), WriteError> {
        let names = Directory::new(self.public()).list();
        let names = names.map_err(|error| WriteError::Disk(self.public(), error))?.unwrap_or_default();
        for name in names {
            let half = name.rsplit('/').next().is_some_and(|last| last.starts_with('.') && last.ends_with(".tmp"));
            let path: Option<TilePath> = name.parse().ok();
            let needed = path.is_some_and(|path| self.signed.iter().any(|(size, _)| path.is_in_tree(*size)));
            if let Some(path) = path.filter(|path| needed && path.width() < TILE_WIDTH) {
                self.partial.insert(path);
            } else if half || (path.is_some() && !needed) {
                self.remove(&name)?;
                mended.left_behind += 1;
            }
        }
        Ok(())
    }

    fn read(&self, path: TilePath) -> Result<Option<Vec<u8>>, WriteError> {
        match Directory::new(self.public()).read(&path.to_string(), path.bytes_max()) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
            read => read.map_err(|error| WriteError::Disk(self.public().join(path.to_string()), error)),
        }
    }

    fn write(&self, file: &TileFile) -> Result<(), WriteError> {
        self.write_whole(&format!("{PUBLIC}/{}", file.path), &file.bytes)
    }

    fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = self.folder.join(name);
        let written =
            make_folder(path.parent().unwrap_or(&self.folder)).and_then(|()| write_atomic(&path, bytes, 0o644));
        written.map_err(|error| WriteError::Disk(path, error))
    }

    /// Removes a file in `public/`, and the folders that are empty without it.
    fn remove(&self, name: &str) -> Result<(), WriteError> {
        let (public, path) = (self.public(), self.public().join(name));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(WriteError::Disk(path, error)),
            _ => {}
        }
        for above in path.ancestors().skip(1).take_while(|above| *above != public) {
            // One that is not empty stays, and so do those above it.
            if std::fs::remove_dir(above).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Makes a folder and those above it, each found again after a power cut.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(above)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(above),
    }
}

/// The folder that is served.
const PUBLIC: &str = "public";
/// The newest checkpoint that was signed.
const SIGNED: &str = "signed";
/// The most bytes of entries that are staged at once: they are held in memory.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a log was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The disk refused. Nothing was signed; trying again is safe.
    #[error("cannot write or read {0}")]
    Disk(PathBuf, #[source] io::Error),
    /// A checkpoint in the folder is not by this log's key. Put the right key or the right folder in place.
    #[error("{0} is not a checkpoint of this log: {1}")]
    Checkpoint(PathBuf, #[source] OpenError),
    /// The key is not the log's own, or is not one that signs notes. Nothing changed.
    #[error("not the key of this log")]
    Key,
    /// An entry is too long. Nothing changed.
    #[error(transparent)]
    Entry(#[from] EntryTooLong),
    /// More bytes than are staged at once. Nothing changed; stage fewer entries.
    #[error("more than {BATCH_BYTES_MAX} bytes of entries at once")]
    BatchTooLarge,
    /// The entries are not those that the log's key signed before. Nothing of this batch was written. Find out who is right; if the
    /// caller is, [`LogWriter::start_over`] replaces what is on disk.
    #[error("the first {size} entries are not those that were signed")]
    Contradiction {
        /// The size of the tree that was signed.
        size: u64,
    },
    /// A later checkpoint was signed. Publish that one.
    #[error("not the checkpoint that was signed last")]
    NotNewest,
}
