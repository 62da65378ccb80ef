//! Where tree files come from: built into the program, or a folder given with `--trees`.

use std::path::{Path, PathBuf};

use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, Work};

/// The files of `supervisor-trees/`, as they were when the program was built.
const BUILT_IN: [(&str, &str); 9] = [
    ("hub", include_str!("../../../supervisor-trees/hub.toml")),
    ("tower", include_str!("../../../supervisor-trees/tower.toml")),
    ("voter", include_str!("../../../supervisor-trees/voter.toml")),
    ("content", include_str!("../../../supervisor-trees/content.toml")),
    ("desk", include_str!("../../../supervisor-trees/desk.toml")),
    ("ledger", include_str!("../../../supervisor-trees/ledger.toml")),
    ("placement", include_str!("../../../supervisor-trees/placement.toml")),
    ("sync", include_str!("../../../supervisor-trees/sync.toml")),
    ("watch", include_str!("../../../supervisor-trees/watch.toml")),
];

/// The longest tree file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A source of tree files.
#[derive(Clone, Debug)]
pub enum Trees {
    /// Those built into the program.
    BuiltIn,
    /// Those of a folder.
    Folder(PathBuf),
}

impl Trees {
    /// Those built into the program.
    pub fn built_in() -> Self {
        Self::BuiltIn
    }

    /// Name and text of each that is built into the program.
    pub fn files_built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILT_IN.into_iter()
    }

    /// Those of `folder`.
    pub fn folder(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }

    /// The folder a file lies in, and the file's name there.
    ///
    /// # Errors
    /// The path does not end in `NAME.toml`.
    pub fn around(file: &Path) -> Result<(String, Self), String> {
        let name = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".toml"));
        let name = name.ok_or_else(|| format!("{} is not a tree file: its name must end in .toml", file.display()))?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((name.to_owned(), Self::folder(folder)))
    }
}

impl TreeSource for Trees {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        match self {
            Self::BuiltIn => {
                let found = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
                found.map(|(_, text)| (*text).to_owned()).ok_or(TreeSourceError::NotFound)
            }
            Self::Folder(folder) => {
                let path = folder.join(format!("{name}.toml"));
                let length = std::fs::metadata(&path).map_err(|error| no(&error))?.len();
                if length > FILE_BYTES_MAX {
                    return Err(TreeSourceError::Unreadable(format!(
                        "it is {length} bytes long, at most {FILE_BYTES_MAX} are read"
                    )));
                }
                std::fs::read_to_string(&path).map_err(|error| no(&error))
            }
        }
    }
}

fn no(error: &std::io::Error) -> TreeSourceError {
    if error.kind() == std::io::ErrorKind::NotFound {
        TreeSourceError::NotFound
    } else {
        TreeSourceError::Unreadable(error.to_string())
    }
}

/// The names of all behaviours that a tree runs, each once.
pub fn behaviours_of(tree: &TreeSpec) -> Vec<String> {
    let mut names = Vec::new();
    for child in &tree.children {
        match &child.work {
            Work::Behaviour { name, .. } => names.push(name.clone()),
            Work::Tree(below) => names.extend(behaviours_of(below)),
        }
    }
    names.sort();
    names.dedup();
    names
}
