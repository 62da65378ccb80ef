//! The counter of a node's boots.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use covenant_types::BootEpoch;

use crate::{DataDirError, write_atomic};

/// The file that counts the boots of a node. To be used only while the [`DataDir`](crate::DataDir) it is of is held.
#[derive(Clone, Debug)]
pub struct EpochFile(PathBuf);

impl EpochFile {
    pub(crate) fn of(directory: &Path) -> Self {
        Self(directory.join("boot_epoch"))
    }

    /// Counts one more boot. The new number is on disk before it is returned, so that it is never used twice.
    ///
    /// # Errors
    /// The disk refused, or the counter is damaged: then no number is safe to use.
    pub fn bump(&self) -> Result<BootEpoch, DataDirError> {
        let next = self.last()?.checked_add(1).ok_or_else(|| DataDirError::DamagedEpoch(self.0.clone()))?;
        self.write(next)?;
        Ok(BootEpoch(next))
    }

    /// Sees to it that the next boot is later than `to`, and that `to` is on disk before this returns. A counter that is
    /// there already stays.
    ///
    /// # Errors
    /// As [`EpochFile::bump`]. The epoch must not be used then.
    pub fn raise(&self, to: BootEpoch) -> Result<(), DataDirError> {
        if self.last()? < to.0 { self.write(to.0) } else { Ok(()) }
    }

    fn last(&self) -> Result<u64, DataDirError> {
        let damaged = || DataDirError::DamagedEpoch(self.0.clone());
        let mut text = String::new();
        let read = File::open(&self.0).and_then(|file| file.take(EPOCH_BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => text.trim().parse().map_err(|_| damaged()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged()),
            Err(error) => Err(self.io(error)),
        }
    }

    fn write(&self, epoch: u64) -> Result<(), DataDirError> {
        write_atomic(&self.0, format!("{epoch}\n").as_bytes(), 0o600).map_err(|error| self.io(error))
    }

    fn io(&self, source: io::Error) -> DataDirError {
        DataDirError::Io { path: self.0.clone(), source }
    }
}

/// The digits of a `u64`, and room for what an editor appends.
const EPOCH_BYTES_MAX: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, EpochFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = EpochFile::of(dir.path());
        (dir, file)
    }

    #[test]
    fn every_boot_has_a_higher_epoch() {
        let (dir, file) = file();
        for boot in 1..4 {
            assert_eq!(file.bump().unwrap(), BootEpoch(boot));
            assert_eq!(EpochFile::of(dir.path()).last().unwrap(), boot);
        }
    }

    #[test]
    fn a_raised_epoch_is_on_disk_and_never_lowered() {
        let (_dir, file) = file();
        file.raise(BootEpoch(7)).unwrap();
        file.raise(BootEpoch(3)).unwrap();
        assert_eq!(file.bump().unwrap(), BootEpoch(8));
    }

    #[test]
    fn a_damaged_epoch_is_never_guessed() {
        let (dir, file) = file();
        for damaged in [&b"x"[..], b"", b"-1", b"\xff\xfe", b"18446744073709551615", &[b'1'; 1000]] {
            std::fs::write(dir.path().join("boot_epoch"), damaged).unwrap();
            assert!(matches!(file.bump(), Err(DataDirError::DamagedEpoch(_))), "{damaged:?}");
            assert_eq!(std::fs::read(dir.path().join("boot_epoch")).unwrap(), damaged, "it is kept as it was");
        }
        std::fs::write(dir.path().join("boot_epoch"), "x").unwrap();
        assert!(matches!(file.raise(BootEpoch(7)), Err(DataDirError::DamagedEpoch(_))));
    }
}
