//! The log of this node and what it witnessed of others, on the disk. All of it blocks.

use std::io;
use std::path::{Path, PathBuf};

use covenant_ledger_state::Reader;
use covenant_runtime::Schema;
use covenant_tlog::{
    AddCheckpoint, BUNDLE_BYTES_MAX, Checkpoint, Directory, Hash, LogFiles, LogWriter, Prover, Refusal, SignatureLine,
    SignedNote, TILE_WIDTH, TileBuilder, TileKind, TilePath, VerifierKey, Witness, WriteError, parse_bundle,
    verify_consistency, verify_inclusion,
};
use covenant_types::NodeName;
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::{entries_of, place_of};

/// The folder of the log.
pub(crate) const LOG: &str = "log";
/// Where a log lies that could not be gone on with.
const LOG_BEFORE: &str = "log.damaged";
/// What this node cosigned last of each log.
const WITNESSED: &str = "witnessed";
/// Commands that are staged at a time.
const COMMANDS_AT_ONCE: usize = 4096;

/// What a witness says to a request.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub enum CosignAnswer {
    /// The signature line.
    Cosigned(String),
    /// It saw the log at this size: prove from there.
    Conflict(u64),
    /// Its own commands do not reach as far yet. It may be asked again.
    Behind,
    /// It never cosigns that: it is not what was agreed on, or not what it saw before.
    Differs {
        /// Which log it is of.
        log: String,
        /// What is different.
        what: String,
    },
    /// It does not cosign that now.
    Refused(String),
}

/// What is wrong with a log. It is told of as long as it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The log or the node.
    pub(crate) subject: String,
    /// What is wrong, and what is done about it.
    pub(crate) what: String,
}

/// Which entry comes next: of the command behind the first `commands`, all of them or, where some are there, the last so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Next {
    commands: u64,
    left: Option<u16>,
}

impl Next {
    /// The entries to come of that command.
    fn entries_of(self, record: &[u8]) -> Vec<Vec<u8>> {
        let mut entries: Vec<_> = entries_of(self.commands + 1, record).collect();
        let there = self.left.map_or(0, |left| entries.len().saturating_sub(left.into()));
        entries.drain(..there);
        entries
    }

    /// What comes behind that entry; `None` if it is no entry.
    fn behind(entry: &[u8]) -> Option<Self> {
        let (place, _) = place_of(entry)?;
        Some(match place.left {
            0 => Self { commands: place.position, left: None },
            left => Self { commands: place.position.checked_sub(1)?, left: Some(left) },
        })
    }
}

/// A tree that is not on the disk, and the entry that comes next.
#[derive(Clone, Debug, Default)]
struct Tree {
    builder: TileBuilder,
    next: Next,
}

/// The log of this node and what it witnessed.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
    keys: Keys,
    writer: LogWriter,
    next: Next,
    /// Up to where the log is to be made again.
    lost_below: u64,
    /// Whether it was begun again, and has signed nothing since.
    over: bool,
    known: Vec<VerifierKey>,
    witness: Witness,
    /// Runs ahead of what is on the disk, to know the roots that others sign.
    ahead: Tree,
}

impl Keeper {
    /// Opens the log in `folder`, or begins one. One that is damaged is mended or begun again, and said to be so.
    pub(crate) fn open(folder: &Path, cluster: &str, node: &NodeName) -> io::Result<(Self, Option<Trouble>)> {
        std::fs::create_dir_all(folder)?;
        let keys = Keys::open(folder, cluster, node)?;
        let (path, before) = (folder.join(LOG), folder.join(LOG_BEFORE));
        let (writer, mended, unusable) = match LogWriter::open(&path, keys.verifier()) {
            Ok((writer, mended)) => (writer, mended, None),
            Err(WriteError::Checkpoint(file, error)) => {
                // Nothing that was signed can be taken back: the same commands make the same tree.
                if before.exists() {
                    std::fs::remove_dir_all(&before)?;
                }
                std::fs::rename(&path, &before)?;
                let (writer, mended) = LogWriter::open(&path, keys.verifier()).map_err(io::Error::other)?;
                let what = format!(
                    "{} is no checkpoint of this log ({error}): the log is made anew from the commands, and what was there is in {}",
                    file.display(),
                    before.display()
                );
                (writer, mended, Some(what))
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut found = unusable;
        if let Some(size) = mended.lost_below {
            let what =
                format!("entries from {} up to {size} were lost and are made anew from the commands", writer.size());
            found = found.or(Some(what));
        } else if mended.tiles > 0 {
            tracing::warn!(tiles = mended.tiles, "tiles of the public log were damaged and are made anew");
        }
        let remembered = match std::fs::read_to_string(folder.join(WITNESSED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let witness = Witness::new(keys.witness_name.clone(), Vec::new(), &remembered).map_err(|error| {
            let what = format!("{}: {error}; whoever forgets what it cosigned may cosign two histories", WITNESSED);
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        let (folder, lost_below) = (folder.to_owned(), mended.lost_below.unwrap_or(0));
        let mut keeper = Self {
            folder,
            keys,
            writer,
            next: Next::default(),
            lost_below,
            over: false,
            known: Vec::new(),
            witness,
            ahead: Tree::default(),
        };
        match keeper.find_next()? {
            Some(next) => keeper.next = next,
            None => {
                keeper.start_over();
                found = found
                    .or(Some("its last entry is not what was signed: it is made anew from the commands".to_owned()));
            }
        }
        let subject = keeper.keys.log_name.to_string();
        Ok((keeper, found.map(|what| Trouble { subject, what })))
    }

    /// Makes the log anew from the commands. Nothing that was signed is forgotten.
    fn start_over(&mut self) {
        self.lost_below = self.lost_below.max(self.writer.size());
        self.writer.start_over();
        (self.next, self.ahead, self.over) = (Next::default(), Tree::default(), true);
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether the log has all that it ever signed.
    pub(crate) fn is_whole(&self) -> bool {
        self.writer.size() >= self.lost_below
    }

    /// A checkpoint that was signed and not published.
    pub(crate) fn unpublished(&self) -> Option<SignedNote> {
        self.writer.unpublished().cloned()
    }

    /// Puts the next commands into the log and signs it. Says whether there may be more.
    ///
    /// # Errors
    /// The disk refused. Or the commands are not those that were signed before, even from the beginning: nothing is signed then.
    pub(crate) fn grow(&mut self, reader: &Reader) -> Result<bool, WriteError> {
        let page = reader.commands(self.next.commands, COMMANDS_AT_ONCE);
        let page = page.map_err(|error| WriteError::Disk(self.folder.clone(), error))?;
        if page.is_empty() {
            return Ok(false);
        }
        let mut next = self.next;
        let mut entries: Vec<Vec<u8>> = Vec::with_capacity(page.len());
        for applied in &page {
            entries.extend(next.entries_of(applied.as_bytes()));
            next = Next { commands: next.commands + 1, left: None };
        }
        match self.writer.stage(entries.iter().map(Vec::as_slice), &self.keys.log) {
            Ok(signed) => self.over &= signed.is_none(),
            Err(WriteError::Contradiction { .. }) if !self.over => {
                // What is on the disk is not what was signed; the commands may be.
                self.start_over();
                return Ok(true);
            }
            Err(error) => return Err(error),
        }
        self.next = next;
        Ok(page.len() == COMMANDS_AT_ONCE)
    }

    /// Publishes the checkpoint that was signed last, with these cosignatures.
    pub(crate) fn publish(&mut self, note: SignedNote, lines: Vec<SignatureLine>) -> Result<(), WriteError> {
        self.writer.publish(&lines.into_iter().fold(note, SignedNote::with))
    }

    /// Shows that the log began as it did when it had `from` entries.
    pub(crate) fn proof(&self, from: u64) -> Option<Vec<Hash>> {
        Prover::new(&Directory::new(self.writer.public()), self.writer.size()).consistency(from).ok()
    }

    /// Witnesses the log that has this key, in place of one with the same name.
    pub(crate) fn know(&mut self, key: VerifierKey) -> io::Result<()> {
        if self.known.contains(&key) {
            return Ok(());
        }
        self.known.retain(|known| known.name() != key.name());
        self.known.push(key);
        let (name, remembered) = (self.keys.witness_name.clone(), self.witness.to_text());
        self.witness = Witness::new(name, self.known.clone(), &remembered).map_err(io::Error::other)?;
        Ok(())
    }

    /// Cosigns a checkpoint of another voter if it extends what was seen of its log and its root is that of the own commands.
    ///
    /// # Errors
    /// The disk refused: nothing was cosigned.
    pub(crate) fn cosign(&mut self, reader: &Reader, request: &str, time: u64) -> io::Result<CosignAnswer> {
        let refused = |what: &dyn std::fmt::Display| Ok(CosignAnswer::Refused(what.to_string()));
        let request = match AddCheckpoint::parse(request.as_bytes()) {
            Ok(request) => request,
            Err(error) => return refused(&error),
        };
        let Ok(checkpoint) = Checkpoint::parse(request.checkpoint.text()) else {
            return refused(&Refusal::Malformed);
        };
        match self.agrees(reader, checkpoint.size, checkpoint.root)? {
            None => return Ok(CosignAnswer::Behind),
            // Whoever only says that it is of a log is not believed to have signed for it.
            Some(false) if self.is_signed(&checkpoint.origin, &request.checkpoint) => {
                let what = OtherHistory(checkpoint.size).to_string();
                return Ok(CosignAnswer::Differs { log: checkpoint.origin, what });
            }
            Some(false) => return refused(&Refusal::NotSigned),
            Some(true) => {}
        }
        let agreed = match self.witness.add_checkpoint(&request, time, &self.keys.witness) {
            Ok(agreed) => agreed,
            Err(Refusal::Conflict { size }) => return Ok(CosignAnswer::Conflict(size)),
            Err(refusal @ Refusal::Inconsistent) => {
                return Ok(CosignAnswer::Differs { log: checkpoint.origin, what: refusal.to_string() });
            }
            Err(refusal) => return refused(&refusal),
        };
        let remembered = self.witness.to_text();
        covenant_store::write_atomic(&self.folder.join(WITNESSED), remembered.as_bytes(), 0o600)?;
        Ok(CosignAnswer::Cosigned(agreed.line.to_string()))
    }

    /// Whether the log of this name, which is known here, signed that.
    fn is_signed(&self, log: &str, note: &SignedNote) -> bool {
        let key = self.known.iter().find(|key| key.name().as_str() == log);
        key.is_some_and(|key| note.signatures().iter().any(|line| key.verify(note.text(), line).is_some()))
    }

    /// Whether `root` is that of the first `size` entries that the commands here make; `None` while there are fewer.
    fn agrees(&mut self, reader: &Reader, size: u64, root: Hash) -> io::Result<Option<bool>> {
        let (own, own_root) = (self.writer.size(), self.writer.tree().root());
        if size < own {
            let Some(proof) = self.proof(size) else { return Ok(None) };
            return Ok(Some(verify_consistency((size, root), (own, own_root), &proof).is_ok()));
        }
        let ahead = self.ahead.builder.size();
        if ahead < own || ahead > size {
            self.ahead = Tree { builder: self.writer.tree().clone(), next: self.next };
        }
        while self.ahead.builder.size() < size {
            let page = reader.commands(self.ahead.next.commands, COMMANDS_AT_ONCE)?;
            if page.is_empty() {
                return Ok(None);
            }
            for applied in page {
                self.ahead.take(applied.as_bytes(), size)?;
                if self.ahead.builder.size() == size {
                    break;
                }
            }
        }
        Ok(Some(self.ahead.builder.root() == root))
    }

    /// Which entry comes next, by the last one on the disk; `None` if that is not the one of the tree.
    fn find_next(&self) -> io::Result<Option<Next>> {
        let (size, root) = (self.writer.size(), self.writer.tree().root());
        let Some(last) = size.checked_sub(1) else { return Ok(Some(Next::default())) };
        let Some(path) = TilePath::in_tree(TileKind::Entries, last / u64::from(TILE_WIDTH), size) else {
            return Ok(None);
        };
        let files = Directory::new(self.writer.public());
        // The bundle under way may not be on the disk, where what was signed is still to be made again.
        let own = self.writer.tree().edge().into_iter().find(|file| file.path == path).map(|file| file.bytes);
        let bytes = match own {
            Some(bytes) => Some(bytes),
            None => match files.read(&path.to_string(), BUNDLE_BYTES_MAX) {
                Err(error) if error.kind() != io::ErrorKind::FileTooLarge => return Err(error),
                read => read.ok().flatten(),
            },
        };
        let entries = bytes.as_deref().and_then(|bytes| parse_bundle(bytes, path.width()));
        let Some(entry) = entries.and_then(|entries| entries.last().copied()) else { return Ok(None) };
        let proof = Prover::new(&files, size).inclusion(last).ok();
        let proved = proof.is_some_and(|proof| verify_inclusion(last, Hash::leaf(entry), size, root, &proof).is_ok());
        Ok(Next::behind(entry).filter(|_| proved))
    }
}

impl Tree {
    /// Takes the entries of the next command that are not there yet, up to a tree of `size`.
    fn take(&mut self, record: &[u8], size: u64) -> io::Result<()> {
        for entry in self.next.entries_of(record) {
            if self.builder.size() == size {
                break;
            }
            self.builder.append(&entry).map_err(io::Error::other)?;
            self.next = Next::behind(&entry).ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(())
    }
}

/// A checkpoint that is signed for commands that are not those that were agreed on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its first {0} entries are not those of the commands that were agreed on")]
pub(crate) struct OtherHistory(u64);
