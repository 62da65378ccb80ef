//! Making a dataset out of a folder.

use std::fs::File;
use std::path::{Path, PathBuf};

use covenant_identity::NodeKey;
use covenant_types::WallTime;
use sha2::{Digest, Sha256};

use crate::chunker::chunks;
use crate::{
    ChunkId, ChunkRef, Class, ContentStore, FileEntry, Manifest, ManifestError, Published, SignedManifest, StoreError,
};

/// Chunks that are stored with one sync.
const BATCH_CHUNKS: usize = 64;
/// How deep folders may be nested.
const DEPTH_MAX: usize = 32;
/// The licence where nobody says another.
const LICENCE: &str = "unstated";

/// Reads `folder`, stores its chunks, signs the list of them, and returns what it is.
///
/// # Errors
/// The folder cannot be read, or cannot be a dataset. Chunks may have been stored; nothing was published.
pub(crate) fn publish(
    store: &ContentStore,
    folder: &Path,
    name: &str,
    class: Class,
    key: &NodeKey,
    chain: Vec<Vec<u8>>,
    now: WallTime,
) -> Result<Published, PublishError> {
    let version = store.newest(name).map_or(0, |(version, _)| version) + 1;
    let mut paths = Vec::new();
    list(folder, folder, 0, &mut paths)?;
    paths.sort();
    let entry = |path: &String| FileEntry { path: path.clone(), chunks: Vec::new() };
    let mut manifest = Manifest {
        name: name.to_owned(),
        version,
        class,
        licence: LICENCE.to_owned(),
        created: now,
        files: paths.iter().map(entry).collect(),
    };
    // Names and paths are checked before any byte is read.
    manifest.check()?;
    for file in &mut manifest.files {
        file.chunks = store_file(store, &folder.join(&file.path))?;
    }
    let bytes = manifest.to_bytes();
    if bytes.len() > crate::manifest::MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLong(bytes.len()).into());
    }
    let signed = SignedManifest::sign(&manifest, key, chain);
    let id = signed.id();
    store.add_manifest(signed, now)?;
    store.complete(id, now);
    Ok(Published {
        name: manifest.name.clone(),
        version,
        id: id.to_string(),
        files: manifest.files.len() as u64,
        bytes: manifest.bytes(),
        chunks: manifest.chunks().len() as u64,
    })
}

fn store_file(store: &ContentStore, path: &Path) -> Result<Vec<ChunkRef>, PublishError> {
    let io = |source| PublishError::Read { path: path.to_owned(), source };
    let mut references = Vec::new();
    let mut batch = Vec::with_capacity(BATCH_CHUNKS);
    for chunk in chunks(File::open(path).map_err(io)?) {
        let bytes = chunk.map_err(io)?;
        let id = ChunkId::of(&bytes);
        let length = u32::try_from(bytes.len()).expect("a chunk is at most 256 KiB");
        references.push(ChunkRef { id, sha256: Sha256::digest(&bytes).into(), length });
        batch.push((id, bytes));
        if batch.len() == BATCH_CHUNKS {
            store.put_chunks(&batch)?;
            batch.clear();
        }
    }
    store.put_chunks(&batch)?;
    Ok(references)
}

/// Lists the files below `folder` by their path relative to `root`. Links are refused: they lead out of it.
fn list(root: &Path, folder: &Path, depth: usize, found: &mut Vec<String>) -> Result<(), PublishError> {
    let io = |source| PublishError::Read { path: folder.to_owned(), source };
    if depth > DEPTH_MAX {
        return Err(PublishError::TooDeep(folder.to_owned()));
    }
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(io)?);
        if kind.is_dir() {
            list(root, &path, depth + 1, found)?;
        } else if kind.is_file() {
            let relative = path.strip_prefix(root).ok().and_then(Path::to_str);
            found.push(relative.ok_or_else(|| PublishError::NotUtf8(path.clone()))?.to_owned());
        } else {
            return Err(PublishError::NotAFile(path));
        }
    }
    Ok(())
}

/// Why a folder was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file or folder cannot be read.
    #[error("{} cannot be read: {source}; nothing was published", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Folders within folders.
    #[error("{} is nested deeper than {DEPTH_MAX} folders; nothing was published", .0.display())]
    TooDeep(PathBuf),
    /// A name that cannot be written everywhere.
    #[error("the name {} is not UTF-8; nothing was published", .0.display())]
    NotUtf8(PathBuf),
    /// A link, device or socket.
    #[error("{} is neither a file nor a folder; remove it or put a copy in its place; nothing was published", .0.display())]
    NotAFile(PathBuf),
    /// The folder cannot be a dataset.
    #[error("{0}; nothing was published")]
    Manifest(#[from] ManifestError),
    /// The store refused.
    #[error("{0}; nothing was published")]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::tests::publisher;
    use covenant_types::Role;

    #[test]
    fn links_and_empty_folders_and_bad_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (key, chain, trust) = publisher(Role::Hub);
        let now = WallTime(1_790_000_000);
        let store = ContentStore::open(&dir.path().join("store"), trust, now).unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir(&source).unwrap();
        let attempt = |name: &str| publish(&store, &source, name, Class::Health, &key, chain.clone(), now).map(drop);
        assert!(matches!(attempt("x"), Err(PublishError::Manifest(ManifestError::BadFileCount(0)))));
        std::os::unix::fs::symlink("/etc/passwd", source.join("link")).unwrap();
        assert!(matches!(attempt("x"), Err(PublishError::NotAFile(_))));
        std::fs::remove_file(source.join("link")).unwrap();
        std::fs::write(source.join("page"), "text").unwrap();
        assert!(matches!(attempt("X y"), Err(PublishError::Manifest(ManifestError::BadName(_)))));
        assert!(store.views(now).is_empty());
        attempt("x").unwrap();
    }
}
