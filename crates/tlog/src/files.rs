//! Where the files of a log are read from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The files of one log, wherever they lie.
pub trait LogFiles {
    /// The names of all files, in any order; `None` where nobody can list them, as over HTTP. What is there and is no plain
    /// file, such as a link or an empty folder, is named as well: nothing of that is part of a log.
    ///
    /// # Errors
    /// They cannot be listed now.
    fn list(&self) -> io::Result<Option<Vec<String>>>;

    /// All bytes of a file; `None` if it is not there. A file of more than `bytes_max` is an error, of the kind
    /// [`FileTooLarge`](io::ErrorKind::FileTooLarge), and is not read to its end.
    ///
    /// # Errors
    /// It cannot be read now, or is too large.
    fn read(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>>;
}

/// Files in memory.
pub type MemoryFiles = BTreeMap<String, Vec<u8>>;

impl LogFiles for MemoryFiles {
    fn list(&self) -> io::Result<Option<Vec<String>>> {
        Ok(Some(self.keys().cloned().collect()))
    }

    fn read(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        match self.get(name) {
            Some(bytes) if bytes.len() > bytes_max => Err(io::ErrorKind::FileTooLarge.into()),
            found => Ok(found.cloned()),
        }
    }
}

/// The files in a folder.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The files in `folder` and below.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Whether this file is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.join(name).is_file()
    }

    /// The names in the folder `below`; none where there is no such folder.
    ///
    /// # Errors
    /// They cannot be listed now.
    pub fn names(&self, below: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.0.join(below)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn list_below(&self, folder: &Path, prefix: &str, depth_left: usize, into: &mut Vec<String>) -> io::Result<()> {
        let mut empty = true;
        for entry in std::fs::read_dir(folder)? {
            empty = false;
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() && depth_left > 0 {
                self.list_below(&entry.path(), &format!("{name}/"), depth_left - 1, into)?;
            } else {
                // The ending makes it a name that no file of a log has.
                into.push(if kind.is_file() { name } else { format!("{name}{NO_FILE}") });
            }
        }
        if empty && !prefix.is_empty() {
            into.push(prefix.to_owned());
        }
        Ok(())
    }
}

impl LogFiles for Directory {
    fn list(&self) -> io::Result<Option<Vec<String>>> {
        let mut names = Vec::new();
        self.list_below(&self.0, "", DEPTH_MAX, &mut names)?;
        Ok(Some(names))
    }

    fn read(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.0.join(name)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(bytes)) }
    }
}

/// How deep folders are looked into. The deepest tile of the largest tree lies less deep.
const DEPTH_MAX: usize = 16;
/// Stands after the name of what is there and is no file.
const NO_FILE: &str = " (not a plain file)";
