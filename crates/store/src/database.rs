//! Opening a `redb` database with errors that name the file.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;

use crate::sync_dir;

/// Opens or makes the database at `path`, for its owner alone. After a crash redb repairs it from its last commit.
///
/// A database is made beside `path` and moved there when it is whole: redb cannot open one whose making was cut short.
///
/// # Errors
/// The file is not a database, is open already, or the disk refused.
pub fn open_database(path: &Path) -> Result<redb::Database, DatabaseError> {
    let refused = |source| {
        let path = path.to_owned();
        if matches!(source, redb::DatabaseError::DatabaseAlreadyOpen) {
            DatabaseError::Open(path)
        } else {
            DatabaseError::Refused { path, source }
        }
    };
    match std::fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(refused)?,
        Err(error) => return Err(refused(error.into())),
    }
    open(OpenOptions::new().read(true).write(true), path).map_err(refused)
}

fn make(path: &Path) -> Result<(), redb::DatabaseError> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
    let making = path.with_file_name(format!(".{}.making", name.to_string_lossy()));
    let mut options = OpenOptions::new();
    // What a crash left of an earlier try is begun anew.
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    drop(open(&options, &making)?);
    std::fs::rename(&making, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(sync_dir(folder)?)
}

fn open(options: &OpenOptions, path: &Path) -> Result<redb::Database, redb::DatabaseError> {
    let file = FileBackend::new(options.open(path)?)?;
    redb::Builder::new().create_with_backend(file)
}

/// A database that cannot be opened. It was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// Somebody has it open.
    #[error("the database {} is open already, here or in another process; stop that one first", .0.display())]
    Open(PathBuf),
    /// It is damaged, or the disk refused.
    #[error("the database {} cannot be opened: {source}; if it is damaged, restore it from another copy", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: redb::DatabaseError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_database_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.redb");
        std::fs::write(&path, "not a database").unwrap();
        assert!(open_database(&path).unwrap_err().to_string().contains("book.redb"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a database");
    }

    #[test]
    fn a_database_is_its_owners_alone_and_open_once() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.redb");
        let first = open_database(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(open_database(&path), Err(DatabaseError::Open(_))));
        drop(first);
        open_database(&path).unwrap();
    }

    #[test]
    fn a_database_whose_making_was_cut_short_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.redb");
        std::fs::write(dir.path().join(".book.redb.making"), [0; 4096]).unwrap();
        drop(open_database(&path).unwrap());
        open_database(&path).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
