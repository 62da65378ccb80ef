//! The folder that a group keeps its log and snapshots in, as a trait: tests put a disk under it that loses power.
//!
//! These calls block; the crate makes them through `Env::blocking` alone.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of files.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// The names of all files, sorted.
    ///
    /// # Errors
    /// The disk refused. So for all below.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file, and makes it where it is not there. Its name is on disk when this returns.
    ///
    /// # Errors
    /// The disk refused.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, in place of the one that has it. It is on disk when this returns.
    ///
    /// # Errors
    /// The disk refused.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file away. It is gone from the disk when this returns.
    ///
    /// # Errors
    /// The disk refused.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// How many bytes can still be written.
    ///
    /// # Errors
    /// The disk refused.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// How long it is.
    ///
    /// # Errors
    /// The disk refused. So for all below.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `into` from `at`.
    ///
    /// # Errors
    /// The file ends before, or the disk refused.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `at`. Safe only after [`sync`](Self::sync).
    ///
    /// # Errors
    /// The disk refused; part of it may be written.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// The disk refused.
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;
    /// Waits until everything written is on disk.
    ///
    /// # Errors
    /// The disk refused: what was written since the last sync may be lost.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the file system, held by one process at a time.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked as long as this lives.
    _lock: File,
}

impl Folder {
    /// Opens or makes the folder at `path`.
    ///
    /// # Errors
    /// Somebody else has it open, or the disk refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other(format!("{} is in use by another process", path.display())),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names: io::Result<Vec<_>> = names.collect();
        let mut names: Vec<String> = names?.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| name != LOCK);
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok(Arc::new(OpenFile(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
                self.sync_names()?;
                Ok(Arc::new(OpenFile(file)))
            }
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))?;
        self.sync_names()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))?;
        self.sync_names()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

#[derive(Debug)]
struct OpenFile(File);

impl DiskFile for OpenFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_used_by_one_at_a_time_and_its_files_are_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert!(Folder::open(dir.path()).unwrap_err().to_string().contains("in use"));
        folder.open("a").unwrap().write_at(0, b"x").unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777, 0o600);
        folder.rename("a", "b").unwrap();
        assert_eq!(folder.list().unwrap(), ["b"]);
        assert!(folder.free_bytes().unwrap() > 0);
        drop(folder);
        Folder::open(dir.path()).unwrap();
    }
}
