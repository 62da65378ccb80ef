//! Files that are written together or not at all.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use covenant_node::api::{ApiError, ErrorKind};

/// What is to be written. Nothing is, until [`Changes::apply`].
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<Change>);

#[derive(Debug)]
struct Change {
    path: PathBuf,
    /// What is there now; none where the file is to be new.
    before: Option<String>,
    after: String,
}

impl Changes {
    /// A file that must not be there yet.
    pub(super) fn create(&mut self, path: PathBuf, text: String) {
        self.0.push(Change { path, before: None, after: text });
    }

    /// A file that is there, or is among those to be created.
    pub(super) fn change(&mut self, path: PathBuf, before: String, after: String) {
        match self.0.iter_mut().find(|change| change.path == path) {
            Some(change) => change.after = after,
            None => self.0.push(Change { path, before: Some(before), after }),
        }
    }

    /// The text that a file is to have, where it is among these.
    pub(super) fn text(&self, path: &Path) -> Option<&str> {
        self.0.iter().find(|change| change.path == path).map(|change| change.after.as_str())
    }

    /// Writes all, or takes back what was written. Returns what was created and what was changed.
    pub(super) fn apply(self) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ApiError> {
        for (done, change) in self.0.iter().enumerate() {
            if let Err(error) = change.apply() {
                let left: Vec<String> =
                    self.0[..done].iter().rev().filter_map(|change| change.take_back().err()).collect();
                let told = format!("{}: {error}", change.path.display());
                let after = if left.is_empty() { "nothing was changed".to_owned() } else { left.join("; ") };
                let taken = error.kind() == io::ErrorKind::AlreadyExists;
                let kind = if taken { ErrorKind::Conflict } else { ErrorKind::Failure };
                return Err(ApiError::new(kind, format!("{told}; {after}")));
            }
        }
        let (created, changed): (Vec<_>, Vec<_>) = self.0.into_iter().partition(|change| change.before.is_none());
        let paths = |changes: Vec<Change>| changes.into_iter().map(|change| change.path).collect();
        Ok((paths(created), paths(changed)))
    }
}

impl Change {
    fn apply(&self) -> io::Result<()> {
        let Some(before) = &self.before else {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut file = OpenOptions::new().write(true).create_new(true).open(&self.path)?;
            return file.write_all(self.after.as_bytes());
        };
        if std::fs::read_to_string(&self.path)? != *before {
            return Err(io::Error::other("somebody else changed it just now"));
        }
        // Beside it and then over it: whoever reads it meanwhile, or a power cut, finds the old or the new.
        let beside = self.path.with_extension("new~");
        std::fs::write(&beside, &self.after)?;
        std::fs::rename(&beside, &self.path)
    }

    /// # Errors
    /// What is left behind, in words.
    fn take_back(&self) -> Result<(), String> {
        let done = match &self.before {
            None => std::fs::remove_file(&self.path),
            Some(before) => std::fs::write(&self.path, before),
        };
        done.map_err(|error| format!("{} could not be taken back: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_completely_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("old"), "old").unwrap();
        std::fs::write(at("taken"), "somebody's").unwrap();
        let mut changes = Changes::default();
        changes.create(at("new"), "new".to_owned());
        changes.change(at("old"), "old".to_owned(), "changed".to_owned());
        changes.create(at("taken"), "ours".to_owned());
        let refused = changes.apply().unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Conflict);
        assert!(refused.message.contains("taken") && refused.message.contains("nothing was changed"), "{refused}");
        assert!(!at("new").exists());
        assert_eq!(std::fs::read_to_string(at("old")).unwrap(), "old");
        assert_eq!(std::fs::read_to_string(at("taken")).unwrap(), "somebody's");
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "theirs").unwrap();
        let mut changes = Changes::default();
        changes.change(path.clone(), "as it was read".to_owned(), "ours".to_owned());
        assert!(changes.apply().unwrap_err().message.contains("somebody else"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "theirs");
    }
}
