//! Opening a `redb` database with errors that name the file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;

/// Opens or makes the database at `path`, for its owner alone. After a crash redb repairs it from its last commit.
///
/// # Errors
/// The file is not a database, is open already, or the disk refused.
pub fn open_database(path: &Path) -> Result<redb::Database, DatabaseError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(redb::DatabaseError::from);
    let opened = file.and_then(FileBackend::new).and_then(|file| redb::Builder::new().create_with_backend(file));
    opened.map_err(|source| {
        let path = path.to_owned();
        if matches!(source, redb::DatabaseError::DatabaseAlreadyOpen) {
            DatabaseError::Open(path)
        } else {
            DatabaseError::Refused { path, source }
        }
    })
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
}
