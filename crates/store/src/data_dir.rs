//! The directory of one node: used by one process at a time, and counting its boots.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::EpochFile;

/// A data directory, held by this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock ends with the file, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing, for its owner alone, and takes it for this process.
    ///
    /// # Errors
    /// Another process has it, anybody may write to it, or the disk refused.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        // What is secret inside is unreadable by itself. Who may write here could put other files in its place.
        if std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o002 != 0 {
            return Err(DataDirError::OpenToAll(path.to_owned()));
        }
        let lock = path.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(lock)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is a help, not a fact to rely on.
                let _unreadable = (&mut file).take(20).read_to_string(&mut holder);
                let holder = holder.trim().parse().ok();
                return Err(DataDirError::InUse { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).map_err(io)?;
        write!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How often the node was started.
    pub fn epoch(&self) -> EpochFile {
        EpochFile::of(&self.path)
    }
}

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process has it.
    #[error("{} is in use by {}; stop that one first, or choose another directory", path.display(),
        .holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, as far as it said.
        holder: Option<u32>,
    },
    /// Everybody on this machine may write to it.
    #[error("anybody may write to {}; make it private with chmod 700, or choose another directory", .0.display())]
    OpenToAll(PathBuf),
    /// The counter of boots is not a number.
    #[error("{} is damaged: restore it, or write a number into it that is higher than any epoch the cluster has seen of this node", .0.display())]
    DamagedEpoch(PathBuf),
    /// The disk refused.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_is_made_private_and_one_that_is_open_to_all_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/node");
        drop(DataDir::open(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn another_process_is_refused_and_told_whom_to_stop() {
        const HELD: &str = "COVENANT_TEST_HELD_DIR";
        if let Some(held) = std::env::var_os(HELD) {
            // The other process: this test again, told which directory to try.
            let error = DataDir::open(Path::new(&held)).unwrap_err();
            println!("said: {error}");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let mut other = std::process::Command::new(std::env::current_exe().unwrap());
        other.args(["--exact", "data_dir::tests::another_process_is_refused_and_told_whom_to_stop", "--nocapture"]);
        let output = other.env(HELD, dir.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");
        assert_eq!(data.epoch().bump().unwrap().0, 1, "the holder did not notice");
    }
}
