//! Inputs that are kept: seeds, and what was found once and must never come back.

use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// Where the corpus of this repository lies.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Everything kept for a target, by the names of the files.
///
/// # Errors
/// A file cannot be read. A target without a folder has no inputs.
pub fn kept(folder: &Path, target: &Target) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let entries = match std::fs::read_dir(folder.join(target.name)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(&path).map(|bytes| (path, bytes))).collect()
}

/// What a hunt begins with.
///
/// # Errors
/// A file of the corpus cannot be read.
pub fn begin_with(folder: &Path, target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let mut inputs = if target.seeds_vary { Vec::new() } else { (target.seeds)() };
    inputs.extend(kept(folder, target)?.into_iter().map(|(_, bytes)| bytes));
    Ok(inputs)
}

/// Writes a target's seeds into the corpus, over those that are there.
///
/// # Errors
/// A file cannot be written.
pub fn write_seeds(folder: &Path, target: &Target) -> io::Result<usize> {
    let folder = folder.join(target.name);
    std::fs::create_dir_all(&folder)?;
    let seeds = (target.seeds)();
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
    }
    Ok(seeds.len())
}
