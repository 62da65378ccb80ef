//! The file of a backup: written as it comes, read from end to end.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::{BackupError, BackupHead};

const MAGIC: &[u8; 16] = b"covenant/backup1";
const HASH_BYTES: usize = 32;
/// What a backup says of itself is never longer.
const HEAD_BYTES_MAX: usize = 4096;
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes a backup whose state `state` writes.
///
/// # Errors
/// `out` refused, or the state cannot be read.
pub fn write(
    head: &BackupHead,
    out: &mut dyn Write,
    state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = Hashed { inner: out, hasher: blake3::Hasher::new() };
    let said = serde_json::to_vec(head).map_err(io::Error::other)?;
    out.write_all(MAGIC)?;
    out.write_all(&u32::try_from(said.len()).map_err(io::Error::other)?.to_be_bytes())?;
    out.write_all(&said)?;
    state(&mut out)?;
    let hash = out.hasher.finalize();
    out.inner.write_all(hash.as_bytes())
}

/// A backup that is there to be read.
#[derive(Clone, Debug)]
pub struct BackupFile {
    path: PathBuf,
    head: BackupHead,
    bytes: u64,
}

impl BackupFile {
    /// Reads what the backup says of itself; whether the rest is whole, [`check`](super::check) finds out.
    ///
    /// # Errors
    /// It is no backup, or the disk refused.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let (state, head) = begin(path)?;
        Ok(Self { path: path.to_owned(), head, bytes: state.bytes })
    }

    /// What it says of itself.
    pub fn head(&self) -> &BackupHead {
        &self.head
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads all of it and compares its hash, which a copy that was cut off has not.
    ///
    /// # Errors
    /// It is not what was written.
    pub fn check_hash(&self) -> Result<(), BackupError> {
        self.read(|state| io::copy(state, &mut io::sink())).map(drop)
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> BackupError {
        BackupError::Damaged { file: self.path.display().to_string(), what: what.into() }
    }

    /// Shows `see` the state, which it reads to its end, and compares the hash of the whole file.
    pub(super) fn read<T>(&self, see: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> Result<T, BackupError> {
        let (mut state, head) = begin(&self.path)?;
        if head != self.head {
            return Err(self.damaged("it was changed while it was read"));
        }
        let seen = see(&mut state).map_err(|error| self.damaged(error.to_string()))?;
        if state.left != 0 {
            return Err(self.damaged("there is more in it than a state"));
        }
        let hash = state.hasher.finalize();
        let mut said = [0; HASH_BYTES];
        state.inner.read_exact(&mut said).map_err(|error| self.damaged(error.to_string()))?;
        if *hash.as_bytes() != said {
            return Err(self.damaged("its hash is another one"));
        }
        Ok(seen)
    }
}

/// Opens a file and reads up to its state.
fn begin(path: &Path) -> Result<(State, BackupHead), BackupError> {
    let name = || path.display().to_string();
    let file = File::open(path).map_err(BackupError::io(format!("{} cannot be opened", name())))?;
    let about = file.metadata().map_err(BackupError::io(format!("{} cannot be read", name())))?;
    let damaged = |what: &str| BackupError::Damaged { file: name(), what: what.to_owned() };
    let short = |_: io::Error| damaged("it ends too early");
    if !about.is_file() {
        return Err(damaged("it is no file"));
    }
    let (inner, hasher) = (BufReader::with_capacity(BUFFER_BYTES, file), blake3::Hasher::new());
    let left = about.len().checked_sub(HASH_BYTES as u64).ok_or_else(|| damaged("it is too short"))?;
    let mut state = State { inner, hasher, left, bytes: about.len() };
    let (mut magic, mut length) = ([0; MAGIC.len()], [0; 4]);
    state.read_exact(&mut magic).map_err(short)?;
    if magic != *MAGIC {
        return Err(damaged("it does not begin like one of this version"));
    }
    state.read_exact(&mut length).map_err(short)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > HEAD_BYTES_MAX {
        return Err(damaged("what it says of itself is too long"));
    }
    let mut said = vec![0; length];
    state.read_exact(&mut said).map_err(short)?;
    let head = serde_json::from_slice(&said).map_err(|_| damaged("what it says of itself cannot be read"))?;
    Ok((state, head))
}

/// The part of a file that is hashed.
struct State {
    inner: BufReader<File>,
    hasher: blake3::Hasher,
    /// What of that part is not read yet.
    left: u64,
    /// The whole file.
    bytes: u64,
}

impl Read for State {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let Some(into) = into.get_mut(..most) else { return Ok(0) };
        let read = self.inner.read(into)?;
        self.hasher.update(into.get(..read).unwrap_or_default());
        self.left -= read as u64;
        Ok(read)
    }
}

struct Hashed<'a> {
    inner: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
