//! The trees a node keeps: `<data>/trees/<hash>/` with the files of each, and `current`, which says the one in force.
//!
//! The first boot seeds it with the program's own tree, or with that of `--trees`. A boot whose own tree differs from the one
//! it was seeded with takes the new one, unless an operator has applied another since: what was applied stays.
//!
//! # Invariants
//! - `current` is written whole or not at all, and only after all files it names are on disk: a power cut at any moment boots
//!   the old tree or the new one.
//! - What lies in `<hash>/` has that hash, or the boot is refused.

use std::io;
use std::path::{Path, PathBuf};

use covenant_store::write_atomic;
use covenant_supervision::{TreeError, TreeFiles, TreeSpec};
use serde::{Deserialize, Serialize};

use crate::Trees;

/// Which tree is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pointer {
    hash: String,
    root: String,
}

/// What an apply is about to do, on disk before it begins and until it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The plan's hash.
    pub(crate) plan: String,
    /// The tree before.
    pub(crate) from: String,
    /// The tree after.
    pub(crate) to: String,
    /// Who wants it.
    pub(crate) who: String,
}

/// The trees of one node.
#[derive(Clone, Debug)]
pub(crate) struct TreeStore {
    folder: PathBuf,
}

/// What a boot found.
#[derive(Debug)]
pub(crate) struct Booted {
    pub(crate) files: TreeFiles,
    pub(crate) tree: TreeSpec,
    /// An apply that did not come to its end.
    pub(crate) interrupted: Option<Journal>,
    /// The program has another tree than the one it was seeded with, and an applied one is in force.
    pub(crate) overruled: bool,
}

/// Why the tree in force cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeStoreError {
    /// The disk refused.
    #[error("the trees in {} cannot be read or written", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file was changed or lost after it was written, or this version does not know what it names.
    #[error(
        "{} cannot be booted: {why}; restore it, or move {} away to boot with the node's own tree",
        path.display(), path.parent().unwrap_or(path).join("current").display()
    )]
    Damaged {
        /// The folder of that tree.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// How many trees are kept beside the one in force and the node's own; the oldest go first.
const KEPT_MAX: usize = 16;
/// Only the node's user reads and writes them.
const MODE: u32 = 0o600;

impl TreeStore {
    pub(crate) fn new(data: &Path) -> Self {
        Self { folder: data.join("trees") }
    }

    /// The tree to boot. `own` is the node's own: the program's, or that of `--trees`.
    pub(crate) fn boot(&self, own: &TreeFiles) -> Result<Booted, TreeStoreError> {
        let (current, seed) = (self.pointer("current")?, self.pointer("seed")?);
        let interrupted = self.read("apply.journal")?;
        let reseeds = current.is_none() || (current == seed && seed != Some(Pointer::to(own)));
        if reseeds {
            self.keep(own)?;
            self.write("seed", &Pointer::to(own))?;
            self.write("current", &Pointer::to(own))?;
        }
        let (files, tree) = self.in_force()?;
        let overruled = !reseeds && current != seed && seed != Some(Pointer::to(own));
        Ok(Booted { files, tree, interrupted, overruled })
    }

    /// The tree that `current` names, as it lies on disk.
    pub(crate) fn in_force(&self) -> Result<(TreeFiles, TreeSpec), TreeStoreError> {
        let damaged = |path: &Path, why: String| TreeStoreError::Damaged { path: path.to_owned(), why };
        let Some(pointer) = self.pointer("current")? else {
            return Err(damaged(&self.folder.join("current"), "it is gone".to_owned()));
        };
        let folder = self.folder.join(&pointer.hash);
        let (files, tree) = TreeFiles::read(&pointer.root, &Trees::folder(&folder))
            .map_err(|error: TreeError| damaged(&folder, error.to_string()))?;
        if files.hash() != pointer.hash {
            return Err(damaged(&folder, "a file in it was changed".to_owned()));
        }
        Ok((files, tree))
    }

    /// The tree in force is whole, and this node cannot run it.
    pub(crate) fn unusable(&self, files: &TreeFiles, why: String) -> TreeStoreError {
        TreeStoreError::Damaged { path: self.folder.join(files.hash()), why }
    }

    /// Puts the files on disk beside the others. Doing it twice does it once.
    pub(crate) fn keep(&self, files: &TreeFiles) -> Result<(), TreeStoreError> {
        let folder = self.folder.join(files.hash());
        std::fs::create_dir_all(&folder).map_err(|source| self.io(&folder, source))?;
        for (name, text) in files.texts() {
            let path = folder.join(format!("{name}.toml"));
            write_atomic(&path, text.as_bytes(), MODE).map_err(|source| self.io(&path, source))?;
        }
        covenant_store::sync_dir(&self.folder).map_err(|source| self.io(&self.folder, source))
    }

    /// Notes what an apply is about to do.
    pub(crate) fn begin(&self, journal: &Journal) -> Result<(), TreeStoreError> {
        self.write("apply.journal", journal)
    }

    /// Puts kept files in force, and forgets the oldest of the others.
    pub(crate) fn put_in_force(&self, files: &TreeFiles) -> Result<(), TreeStoreError> {
        self.write("current", &Pointer::to(files))?;
        self.prune();
        Ok(())
    }

    /// The apply has ended, either way.
    pub(crate) fn end(&self) -> Result<(), TreeStoreError> {
        let path = self.folder.join("apply.journal");
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(self.io(&path, source)),
        }
    }

    fn pointer(&self, name: &str) -> Result<Option<Pointer>, TreeStoreError> {
        self.read(name)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, TreeStoreError> {
        let path = self.folder.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io(&path, source)),
        };
        let read = serde_json::from_str(&text);
        read.map(Some).map_err(|error| TreeStoreError::Damaged { path, why: error.to_string() })
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), TreeStoreError> {
        let path = self.folder.join(name);
        let text = serde_json::to_string(value).map_err(|error| self.io(&path, io::Error::other(error)))?;
        write_atomic(&path, format!("{text}\n").as_bytes(), MODE).map_err(|source| self.io(&path, source))
    }

    /// What cannot be removed now is tried again after the next apply.
    fn prune(&self) {
        let named = ["current", "seed"].map(|name| self.pointer(name).ok().flatten().map(|pointer| pointer.hash));
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let mut others: Vec<_> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| !named.contains(&entry.file_name().into_string().ok()))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        others.sort();
        let surplus = others.len().saturating_sub(KEPT_MAX);
        for (_, path) in others.into_iter().take(surplus) {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "an old tree could not be removed");
            }
        }
    }

    #[expect(clippy::unused_self, reason = "every error of this store is made here")]
    fn io(&self, path: &Path, source: io::Error) -> TreeStoreError {
        TreeStoreError::Io { path: path.to_owned(), source }
    }
}

impl Pointer {
    fn to(files: &TreeFiles) -> Self {
        Self { hash: files.hash(), root: files.root().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use covenant_supervision::{TreeSource, TreeSourceError};

    struct Texts(BTreeMap<String, String>);

    impl TreeSource for Texts {
        fn read(&self, name: &str) -> Result<String, TreeSourceError> {
            self.0.get(name).cloned().ok_or(TreeSourceError::NotFound)
        }
    }

    fn files(behaviour: &str) -> TreeFiles {
        let text = format!("[[child]]\nid = \"a\"\nbehaviour = {behaviour:?}\n");
        TreeFiles::read("main", &Texts([("main".to_owned(), text)].into())).unwrap().0
    }

    fn store() -> (tempfile::TempDir, TreeStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = TreeStore::new(dir.path());
        (dir, store)
    }

    #[test]
    fn the_first_boot_seeds_and_a_new_program_brings_its_new_tree() {
        let (_dir, store) = store();
        assert_eq!(store.boot(&files("x")).unwrap().files, files("x"));
        assert_eq!(store.boot(&files("x")).unwrap().files, files("x"));
        let next = store.boot(&files("y")).unwrap();
        assert_eq!((next.files, next.overruled), (files("y"), false));
    }

    #[test]
    fn what_was_applied_outlives_a_new_program() {
        let (_dir, store) = store();
        store.boot(&files("x")).unwrap();
        store.keep(&files("z")).unwrap();
        store.put_in_force(&files("z")).unwrap();
        let same = store.boot(&files("x")).unwrap();
        assert_eq!((same.files, same.overruled), (files("z"), false));
        let newer = store.boot(&files("y")).unwrap();
        assert_eq!((newer.files, newer.overruled), (files("z"), true));
    }

    #[test]
    fn an_apply_that_did_not_end_boots_the_old_tree_and_is_told_of() {
        let (_dir, store) = store();
        store.boot(&files("x")).unwrap();
        store.keep(&files("z")).unwrap();
        let journal = Journal { plan: "p".into(), from: files("x").hash(), to: files("z").hash(), who: "uid 1".into() };
        store.begin(&journal).unwrap();
        let booted = store.boot(&files("x")).unwrap();
        assert_eq!((booted.files, booted.interrupted), (files("x"), Some(journal)));
        store.end().unwrap();
        store.end().unwrap();
        assert_eq!(store.boot(&files("x")).unwrap().interrupted, None);
    }

    #[test]
    fn a_file_that_was_changed_in_place_is_refused() {
        let (dir, store) = store();
        store.boot(&files("x")).unwrap();
        let path = dir.path().join("trees").join(files("x").hash()).join("main.toml");
        std::fs::write(&path, files("y").texts()["main"].as_bytes()).unwrap();
        let error = store.boot(&files("x")).unwrap_err().to_string();
        assert!(error.contains("was changed") && error.contains("current"), "{error}");
    }

    #[test]
    fn old_trees_are_forgotten_and_those_in_use_are_not() {
        let (dir, store) = store();
        store.boot(&files("x")).unwrap();
        for at in 0..KEPT_MAX + 3 {
            let next = files(&format!("b{at}"));
            store.keep(&next).unwrap();
            store.put_in_force(&next).unwrap();
        }
        let folders = std::fs::read_dir(dir.path().join("trees"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().is_dir());
        assert_eq!(folders.count(), KEPT_MAX + 2, "the one in force and the node's own are kept beside them");
        assert!(dir.path().join("trees").join(files("x").hash()).exists());
    }
}
