//! Opening a `redb` database with errors that name the file.

use std::path::{Path, PathBuf};

/// Opens or makes the database at `path`. After a crash redb repairs it from its last commit.
///
/// # Errors
/// The file is not a database, is open already, or the disk refused.
pub fn open_database(path: &Path) -> Result<redb::Database, DatabaseError> {
    redb::Database::create(path).map_err(|source| DatabaseError { path: path.to_owned(), source })
}

/// A database that cannot be opened. It was not changed.
#[derive(Debug, thiserror::Error)]
#[error("the database {} cannot be opened: {source}; if it is damaged, restore it from another copy", path.display())]
pub struct DatabaseError {
    path: PathBuf,
    source: redb::DatabaseError,
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
}
