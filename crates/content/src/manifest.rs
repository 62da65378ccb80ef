//! What a dataset consists of. Its canonical bytes are what is hashed and signed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use covenant_runtime::Schema;
use covenant_types::WallTime;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use serde::{Deserialize, Serialize};

use crate::chunker::CHUNK_BYTES_MAX;
use crate::{ChunkId, Class};

/// The name of one version of a dataset: BLAKE3 of its manifest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Schema, Serialize, Deserialize)]
pub struct DatasetId(pub [u8; 32]);

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatasetId({self})")
    }
}

/// One version of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// `[a-z0-9-]`, at most 64 bytes.
    pub name: String,
    /// Counts up with every publishing of this name.
    pub version: u64,
    /// What it is for.
    pub class: Class,
    /// Under which terms it may be passed on.
    pub licence: String,
    /// When it was published, as the publisher's clock told it.
    pub created: WallTime,
    /// Its files, by path.
    pub files: Vec<FileEntry>,
}

/// One file of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Relative, with `/` between its parts; never leaves the dataset.
    pub path: String,
    /// Its chunks in order.
    pub chunks: Vec<ChunkRef>,
}

/// One chunk of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// BLAKE3 of its bytes.
    pub id: ChunkId,
    /// SHA-256 of its bytes, for readers that know nothing else.
    pub sha256: [u8; 32],
    /// How many bytes.
    pub length: u32,
}

const DOMAIN: &str = "covenant/manifest/1";
/// The longest manifest, in bytes: with chunks of 64 KiB a dataset of about 800 MiB.
pub(crate) const MANIFEST_BYTES_MAX: usize = 900 * 1024;
const NAME_BYTES_MAX: usize = 64;
const LICENCE_BYTES_MAX: usize = 1024;
const PATH_BYTES_MAX: usize = 512;
const FILES_MAX: usize = 10_000;
/// Bytes of one chunk reference.
const CHUNK_REF_BYTES: usize = 68;

impl Manifest {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.text(&self.name).u64(self.version).text(self.class.as_str()).text(&self.licence).u64(self.created.0);
        writer.count(self.files.len());
        for file in &self.files {
            writer.text(&file.path).count(file.chunks.len());
            for chunk in &file.chunks {
                for half in [&chunk.id.0, &chunk.sha256] {
                    let (high, low) = half.split_at(16);
                    let word = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().expect("16 of 32 bytes"));
                    writer.u128(word(high)).u128(word(low));
                }
                writer.u32(chunk.length);
            }
        }
        writer.finish()
    }

    /// Reads canonical bytes from anywhere.
    ///
    /// # Errors
    /// They are no manifest, or one that no publisher may make.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong(bytes.len()));
        }
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let name = reader.text()?.to_owned();
        let version = reader.u64()?;
        let class = reader.text()?.parse().map_err(|_| CanonicalError::BadValue("class"))?;
        let licence = reader.text()?.to_owned();
        let created = WallTime(reader.u64()?);
        let mut files = Vec::new();
        for _ in 0..reader.count(8)? {
            let path = reader.text()?.to_owned();
            let count = reader.count(CHUNK_REF_BYTES)?;
            let mut chunks = Vec::with_capacity(count);
            for _ in 0..count {
                let mut hash = || -> Result<[u8; 32], CanonicalError> {
                    let (high, low) = (reader.u128()?.to_be_bytes(), reader.u128()?.to_be_bytes());
                    let mut whole = [0; 32];
                    whole[..16].copy_from_slice(&high);
                    whole[16..].copy_from_slice(&low);
                    Ok(whole)
                };
                let (id, sha256) = (ChunkId(hash()?), hash()?);
                chunks.push(ChunkRef { id, sha256, length: reader.u32()? });
            }
            files.push(FileEntry { path, chunks });
        }
        reader.finish()?;
        let manifest = Self { name, version, class, licence, created, files };
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what the form alone does not.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return Err(ManifestError::BadName(self.name.chars().take(64).collect()));
        }
        if self.licence.len() > LICENCE_BYTES_MAX {
            return Err(ManifestError::BadLicence);
        }
        if self.files.is_empty() || self.files.len() > FILES_MAX {
            return Err(ManifestError::BadFileCount(self.files.len()));
        }
        let mut last = None;
        for file in &self.files {
            check_path(&file.path)?;
            if last.is_some_and(|last: &str| last >= file.path.as_str()) {
                return Err(ManifestError::BadPath(file.path.clone(), "paths must be sorted, each once"));
            }
            last = Some(file.path.as_str());
            if file.chunks.iter().any(|chunk| chunk.length == 0 || chunk.length > CHUNK_BYTES_MAX) {
                return Err(ManifestError::BadChunk(file.path.clone()));
            }
        }
        let folders: BTreeSet<&str> =
            self.files.iter().flat_map(|file| file.path.match_indices('/').map(|(at, _)| &file.path[..at])).collect();
        match self.files.iter().find(|file| folders.contains(file.path.as_str())) {
            Some(file) => Err(ManifestError::BadPath(file.path.clone(), "it is a file and a folder")),
            None => Ok(()),
        }
    }

    /// Its name as a version.
    pub fn id(&self) -> DatasetId {
        DatasetId(*blake3::hash(&self.to_bytes()).as_bytes())
    }

    /// Every chunk once, with its length.
    pub fn chunks(&self) -> BTreeMap<ChunkId, ChunkRef> {
        self.files.iter().flat_map(|file| &file.chunks).map(|chunk| (chunk.id, *chunk)).collect()
    }

    /// The bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().flat_map(|file| &file.chunks).map(|chunk| u64::from(chunk.length)).sum()
    }
}

/// Whether a path stays inside its dataset and means the same everywhere.
fn check_path(path: &str) -> Result<(), ManifestError> {
    let bad = |why| Err(ManifestError::BadPath(path.chars().take(128).collect(), why));
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return bad("it is empty or longer than 512 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return bad("it has control characters or backslashes");
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return bad("it is absolute, or has an empty part, '.' or '..'");
    }
    Ok(())
}

/// Why bytes or a list of files are no manifest. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is longer than a manifest may be.
    #[error("a manifest of {0} bytes is longer than the {MANIFEST_BYTES_MAX} it may have; publish the folder in parts")]
    TooLong(usize),
    /// The bytes are no record of this kind.
    #[error(transparent)]
    Form(#[from] CanonicalError),
    /// The name cannot be one.
    #[error("{0:?} is not a dataset's name: use 1 to 64 of a-z, 0-9 and '-'")]
    BadName(String),
    /// The licence is too long.
    #[error("a licence has at most {LICENCE_BYTES_MAX} bytes; name it and give its address")]
    BadLicence,
    /// No file, or too many.
    #[error("a dataset has 1 to {FILES_MAX} files, not {0}")]
    BadFileCount(usize),
    /// A path that could leave the dataset, or means different things on different systems.
    #[error("the path {0:?} cannot be published: {1}")]
    BadPath(String, &'static str),
    /// A chunk with an impossible length.
    #[error("{0:?} has a chunk that is empty or longer than {CHUNK_BYTES_MAX} bytes")]
    BadChunk(String),
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn sample() -> Manifest {
        let chunk = |byte: u8| ChunkRef { id: ChunkId([byte; 32]), sha256: [byte ^ 1; 32], length: 7 };
        let file = |path: &str, chunks| FileEntry { path: path.to_owned(), chunks };
        Manifest {
            name: "first-aid".into(),
            version: 3,
            class: Class::Health,
            licence: "CC0".into(),
            created: WallTime(1_790_000_000),
            files: vec![
                file("a.txt", vec![chunk(1), chunk(2)]),
                file("b/c.txt", vec![chunk(1)]),
                file("empty", vec![]),
            ],
        }
    }

    #[test]
    fn a_manifest_survives_its_bytes() {
        let manifest = sample();
        assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).unwrap(), manifest);
        assert_eq!((manifest.chunks().len(), manifest.bytes()), (2, 21));
    }

    #[test]
    fn hostile_manifests_are_refused() {
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = sample();
            change(&mut manifest);
            assert!(Manifest::from_bytes(&manifest.to_bytes()).is_err(), "{manifest:?}");
        };
        for path in ["/etc/passwd", "../up", "a/../b", "a//b", "a/", "", "a\0b", "a\\b", "./a", &"x".repeat(600)] {
            refused(&|manifest| manifest.files[0].path = path.to_owned());
        }
        refused(&|manifest| manifest.files[1].path = "a.txt".into());
        refused(&|manifest| manifest.files[1].path = "a.txt/below".into());
        refused(&|manifest| manifest.files.clear());
        refused(&|manifest| manifest.name = "../x".into());
        refused(&|manifest| manifest.files[0].chunks[0].length = 0);
        refused(&|manifest| manifest.files[0].chunks[0].length = CHUNK_BYTES_MAX + 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), flip in 0..400usize, bit in 0..8u8) {
            let _any_result = Manifest::from_bytes(&bytes);
            let mut changed = sample().to_bytes();
            let at = flip % changed.len();
            changed[at] ^= 1 << bit;
            if let Ok(read) = Manifest::from_bytes(&changed) {
                prop_assert_ne!(read, sample(), "a changed byte changes what is read");
            }
        }
    }
}
