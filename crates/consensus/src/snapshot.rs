//! Snapshots as files: written whole or not at all, checked before they are used or sent.
//!
//! Form: a magic of 16 bytes · length u32 and what it is a snapshot of, canonical · the time of the last command in it, u64
//! of seconds · the state · BLAKE3 of all before. A
//! snapshot is made under another name and renamed when it is on disk.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use covenant_types::WallTime;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use openraft::SnapshotMeta;

use crate::codec::{
    read_log_id, read_option, read_stored_membership, write_log_id, write_option, write_stored_membership,
};
use crate::disk::{Disk, DiskFile};
use crate::types::{Member, VoterId};

pub(crate) type Meta = SnapshotMeta<VoterId, Member>;

/// The snapshot that is in force.
pub(crate) const CURRENT: &str = "snapshot";
/// One that is being made.
const MAKING: &str = "snapshot.making";
/// One that a leader sent, while it is checked.
const COPYING: &str = "snapshot.copying";
/// One that a leader sends.
const RECEIVING: &str = "snapshot.receiving";

const MAGIC: &[u8; 16] = b"covenant/snap/1\n";
const HASH_BYTES: u64 = 32;
/// What a snapshot says of itself is never longer: a membership has a bound.
const META_BYTES_MAX: usize = 16 * 1024;
/// What is read or written at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// A snapshot's file, to read or to fill.
#[derive(Clone)]
pub struct SnapshotFile(Arc<dyn DiskFile>);

impl fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SnapshotFile {
    /// The snapshot in force, if there is one.
    pub(crate) fn current(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let there = disk.list()?.iter().any(|name| name == CURRENT);
        if there { disk.open(CURRENT).map(|file| Some(Self(file))) } else { Ok(None) }
    }

    /// An empty file for one that a leader sends. What was left of an earlier one is gone.
    pub(crate) fn receiving(disk: &dyn Disk) -> io::Result<Self> {
        let file = disk.open(RECEIVING)?;
        file.set_bytes(0)?;
        Ok(Self(file))
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }

    /// Reads `length` bytes from `at`, or fewer where the file ends.
    pub(crate) fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.bytes()?.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut piece = vec![0; length.min(left)];
        self.0.read_at(at, &mut piece)?;
        Ok(piece)
    }

    /// Appends what a leader sent.
    pub(crate) fn write(&self, at: u64, piece: &[u8]) -> io::Result<()> {
        self.0.write_at(at, piece)
    }

    /// Reads all of it once, shows it to `see` piece by piece, and gives back what it is a snapshot of.
    pub(crate) fn check(&self, mut see: impl FnMut(&[u8]) -> io::Result<()>) -> Result<Meta, SnapshotError> {
        let hashed = self.bytes()?.checked_sub(HASH_BYTES).ok_or(SnapshotError::Damaged)?;
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < hashed {
            let length = usize::try_from(hashed - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let piece = self.read(at, length)?;
            hasher.update(&piece);
            see(&piece)?;
            at += piece.len() as u64;
        }
        if hasher.finalize().as_bytes()[..] != self.read(hashed, 32)? {
            return Err(SnapshotError::Damaged);
        }
        Ok(self.head()?.meta)
    }

    /// The state in it, which [`check`](Self::check) found whole.
    pub(crate) fn state(&self) -> Result<impl Read + use<>, SnapshotError> {
        let at = self.head()?.length;
        Ok(StateReader { file: self.clone(), at, end: self.bytes()? - HASH_BYTES, piece: Vec::new(), read: 0 })
    }

    /// When the last command that is in it was applied.
    pub(crate) fn time(&self) -> Result<WallTime, SnapshotError> {
        Ok(self.head()?.time)
    }

    /// What it says of itself.
    fn head(&self) -> Result<Head, SnapshotError> {
        let head = self.read(0, MAGIC.len() + 4 + META_BYTES_MAX + 8)?;
        let rest = head.strip_prefix(MAGIC).ok_or(SnapshotError::Damaged)?;
        let (length, rest) = rest.split_first_chunk().ok_or(SnapshotError::Damaged)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (meta, rest) = rest.split_at_checked(length).ok_or(SnapshotError::Damaged)?;
        let meta = decode_meta(meta).map_err(|_| SnapshotError::Damaged)?;
        let time = rest.first_chunk().ok_or(SnapshotError::Damaged)?;
        let time = WallTime(u64::from_be_bytes(*time));
        Ok(Head { meta, time, length: (MAGIC.len() + 4 + length + 8) as u64 })
    }
}

/// What a snapshot begins with.
struct Head {
    meta: Meta,
    time: WallTime,
    /// Where the state begins.
    length: u64,
}

/// Makes the snapshot `meta`, up to a command of that time, of what `state` writes.
pub(crate) fn make(
    disk: &dyn Disk,
    meta: &Meta,
    time: WallTime,
    state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<Made> {
    let mut writer = HashedFile::new(disk, MAKING)?;
    let encoded = encode_meta(meta);
    writer.write_all(MAGIC)?;
    writer.write_all(&u32::try_from(encoded.len()).map_err(io::Error::other)?.to_be_bytes())?;
    writer.write_all(&encoded)?;
    writer.write_all(&time.0.to_be_bytes())?;
    state(&mut writer)?;
    writer.finish()
}

/// Makes a copy of `received`, if it is whole and what `meta` says.
pub(crate) fn copy(disk: &dyn Disk, meta: &Meta, received: &SnapshotFile) -> Result<Made, SnapshotError> {
    let mut writer = HashedFile::new(disk, COPYING)?;
    let found = received.check(|piece| writer.write_all(piece))?;
    if found != *meta {
        return Err(SnapshotError::Other);
    }
    Ok(writer.finish()?)
}

/// A snapshot that is whole and on disk, and not in force yet.
pub(crate) struct Made {
    name: &'static str,
    file: SnapshotFile,
}

impl Made {
    /// Puts it in force, in place of the one before.
    pub(crate) fn put_in_force(self, disk: &dyn Disk) -> io::Result<SnapshotFile> {
        disk.rename(self.name, CURRENT)?;
        Ok(self.file)
    }

    /// The file as it is, for one that came too late to be in force.
    pub(crate) fn keep_apart(self) -> SnapshotFile {
        self.file
    }
}

/// A file that is hashed as it is written.
struct HashedFile {
    name: &'static str,
    file: Arc<dyn DiskFile>,
    hasher: blake3::Hasher,
    at: u64,
    piece: Vec<u8>,
}

impl HashedFile {
    fn new(disk: &dyn Disk, name: &'static str) -> io::Result<Self> {
        let file = disk.open(name)?;
        // What a crash left of an earlier try is begun anew.
        file.set_bytes(0)?;
        Ok(Self { name, file, hasher: blake3::Hasher::new(), at: 0, piece: Vec::with_capacity(PIECE_BYTES) })
    }

    fn write_piece(&mut self) -> io::Result<()> {
        self.file.write_at(self.at, &self.piece)?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Made> {
        let hash = self.hasher.finalize();
        self.piece.extend_from_slice(hash.as_bytes());
        self.write_piece()?;
        self.file.sync()?;
        Ok(Made { name: self.name, file: SnapshotFile(self.file) })
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.write_piece()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct StateReader {
    file: SnapshotFile,
    at: u64,
    end: u64,
    piece: Vec<u8>,
    /// How much of the piece was given out.
    read: usize,
}

impl Read for StateReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            let length = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            self.piece = self.file.read(self.at, length)?;
            self.at += self.piece.len() as u64;
            self.read = 0;
        }
        let given = into.len().min(self.piece.len() - self.read);
        into[..given].copy_from_slice(&self.piece[self.read..self.read + given]);
        self.read += given;
        Ok(given)
    }
}

pub(crate) fn encode_meta(meta: &Meta) -> Vec<u8> {
    let mut writer = Writer::new(META);
    write_option(&mut writer, meta.last_log_id.as_ref(), write_log_id);
    write_stored_membership(&mut writer, &meta.last_membership);
    writer.text(&meta.snapshot_id);
    writer.finish()
}

pub(crate) fn decode_meta(bytes: &[u8]) -> Result<Meta, CanonicalError> {
    let mut reader = Reader::new(bytes, META)?;
    let last_log_id = read_option(&mut reader, read_log_id)?;
    let last_membership = read_stored_membership(&mut reader)?;
    let snapshot_id = reader.text()?.to_owned();
    reader.finish()?;
    Ok(Meta { last_log_id, last_membership, snapshot_id })
}

const META: &str = "covenant/snapshot/1";

/// Why a snapshot cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It is not what was written.
    #[error(
        "the snapshot is damaged; nothing was changed: let this node leave the group, empty its folder, and add it \
         again, so that the others give it a good copy"
    )]
    Damaged,
    /// It is whole, and not the one that was announced.
    #[error("the snapshot that came is another one than was announced")]
    Other,
    /// The disk refused.
    #[error("the snapshot cannot be used: {0}")]
    Io(#[from] io::Error),
}
