//! What is here: chunks in packs, manifests beside them, and what is complete since when.
//!
//! The index of chunks lives in memory and is read from the packs at the start, so that it can never disagree with them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use covenant_store::{Position, SegmentLog, SegmentLogError, write_atomic};
use covenant_types::{NodeName, WallTime};

use crate::chunker::CHUNK_BYTES_MAX;
use crate::plan::Summary;
use crate::{ChunkId, ChunkRef, DatasetId, DatasetView, Manifest, SignedManifest, Trust, Untrusted};

/// The content of one node. Its functions block on the disk.
#[derive(Debug)]
pub struct ContentStore {
    dir: PathBuf,
    trust: Trust,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    packs: SegmentLog,
    index: BTreeMap<ChunkId, Position>,
    datasets: BTreeMap<DatasetId, Dataset>,
    bad_chunks: u64,
}

#[derive(Clone, Debug)]
struct Dataset {
    signed: SignedManifest,
    manifest: Manifest,
    publisher: NodeName,
    completed: Option<WallTime>,
}

/// The longest stored manifest file, in bytes: manifest, signature and chain as JSON.
const MANIFEST_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The most datasets one node keeps manifests of.
const DATASETS_MAX: usize = 1000;

impl ContentStore {
    /// Opens the store in `dir`, or begins one. Manifests that do not verify are left where they are and not used.
    ///
    /// # Errors
    /// The disk refused.
    pub fn open(dir: &Path, trust: Trust, now: WallTime) -> Result<Self, StoreError> {
        let folder = dir.join("manifests");
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|source| StoreError::Io { path: folder.clone(), source })?;
        let mut index = BTreeMap::new();
        let (packs, opened) = SegmentLog::open(&dir.join("packs"), |position, chunk| {
            index.insert(ChunkId::of(chunk), position);
        })?;
        if opened.cut_bytes > 0 || !opened.damaged.is_empty() {
            tracing::warn!(?opened, "the packs were damaged; what is missing will be fetched again");
        }
        let inner = Inner { packs, index, datasets: BTreeMap::new(), bad_chunks: 0 };
        let store = Self { dir: dir.to_owned(), trust, inner: Mutex::new(inner) };
        for entry in std::fs::read_dir(&folder).map_err(|source| StoreError::Io { path: folder.clone(), source })? {
            let path = entry.map_err(|source| StoreError::Io { path: folder.clone(), source })?.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Err(error) = store.load(&path, now)
            {
                tracing::warn!(path = %path.display(), %error, "a stored manifest is not used");
            }
        }
        Ok(store)
    }

    fn load(&self, path: &Path, now: WallTime) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(io)?.len() > MANIFEST_FILE_BYTES_MAX {
            return Err(StoreError::Untrusted(Untrusted::TooLarge));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let signed: SignedManifest = serde_json::from_slice(&bytes).map_err(|error| io(io::Error::other(error)))?;
        self.adopt(signed, now).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom this store believes.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Takes a manifest that verifies, writes it down, and says which of its chunks are missing.
    ///
    /// # Errors
    /// It does not verify, there are too many, or the disk refused. Nothing was stored.
    pub fn add_manifest(&self, signed: SignedManifest, now: WallTime) -> Result<Vec<ChunkRef>, StoreError> {
        let id = signed.id();
        let path = self.dir.join("manifests").join(format!("{id}.json"));
        if !path.exists() {
            signed.verify(&self.trust)?;
            if self.lock().datasets.len() >= DATASETS_MAX {
                return Err(StoreError::TooMany);
            }
            let io = |source| StoreError::Io { path: path.clone(), source };
            let text = serde_json::to_vec(&signed).map_err(|error| io(io::Error::other(error)))?;
            write_atomic(&path, &text, 0o600).map_err(io)?;
        }
        self.adopt(signed, now)
    }

    /// Puts a verified manifest into memory and returns its missing chunks.
    fn adopt(&self, signed: SignedManifest, now: WallTime) -> Result<Vec<ChunkRef>, StoreError> {
        let (manifest, publisher) = signed.verify(&self.trust)?;
        let id = signed.id();
        let mut inner = self.lock();
        let dataset = Dataset { signed, manifest, publisher, completed: None };
        inner.datasets.entry(id).or_insert(dataset);
        let missing = inner.missing(id);
        inner.note_completion(id, now);
        drop(inner);
        Ok(missing)
    }

    /// Chunks of a dataset that are not here.
    pub fn missing(&self, id: DatasetId) -> Vec<ChunkRef> {
        self.lock().missing(id)
    }

    /// Stores chunks whose bytes were checked against their name, and waits until they are on disk. Returns how many were new.
    ///
    /// # Errors
    /// A chunk is not what it is called, or the disk refused. Chunks before it may be stored.
    pub fn put_chunks(&self, chunks: &[(ChunkId, Vec<u8>)]) -> Result<usize, StoreError> {
        for (id, bytes) in chunks {
            if bytes.is_empty() || bytes.len() > CHUNK_BYTES_MAX as usize || ChunkId::of(bytes) != *id {
                return Err(StoreError::WrongBytes(*id));
            }
        }
        let mut inner = self.lock();
        let mut fresh = 0;
        for (id, bytes) in chunks {
            if !inner.index.contains_key(id) {
                let position = inner.packs.append(bytes)?;
                inner.index.insert(*id, position);
                fresh += 1;
            }
        }
        if fresh > 0 {
            inner.packs.sync()?;
        }
        Ok(fresh)
    }

    /// Notes that a dataset is complete, if it is. Older versions of its name are forgotten then.
    pub fn complete(&self, id: DatasetId, now: WallTime) -> bool {
        let mut inner = self.lock();
        let complete = inner.note_completion(id, now);
        let old = if complete { inner.older_than(id) } else { Vec::new() };
        for old in &old {
            inner.datasets.remove(old);
        }
        drop(inner);
        for old in old {
            let path = self.dir.join("manifests").join(format!("{old}.json"));
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an old manifest could not be removed");
            }
        }
        complete
    }

    /// Reads a chunk and checks it. A bad one is dropped, so that it is missing and fetched again.
    ///
    /// # Errors
    /// It is not here, or its bytes were wrong.
    pub fn chunk(&self, id: ChunkId) -> Result<Vec<u8>, StoreError> {
        let mut inner = self.lock();
        let position = *inner.index.get(&id).ok_or(StoreError::NotHere(id))?;
        let read = inner.packs.read(position);
        match read {
            Ok(bytes) if ChunkId::of(&bytes) == id => Ok(bytes),
            Ok(_) | Err(SegmentLogError::Damaged(_) | SegmentLogError::TooLong(_)) => {
                inner.index.remove(&id);
                inner.bad_chunks += 1;
                let holders: Vec<DatasetId> = inner.holders(id);
                for dataset in holders {
                    if let Some(dataset) = inner.datasets.get_mut(&dataset) {
                        dataset.completed = None;
                    }
                }
                tracing::warn!(chunk = %id, "a chunk had the wrong bytes; it is dropped and will be fetched again");
                Err(StoreError::WrongBytes(id))
            }
            Err(error @ SegmentLogError::Io { .. }) => Err(error.into()),
        }
    }

    /// What this node can offer: every complete dataset.
    pub fn catalog(&self) -> Vec<Summary> {
        let inner = self.lock();
        let complete = inner.datasets.iter().filter(|(_, dataset)| dataset.completed.is_some());
        complete.map(|(id, dataset)| dataset.summary(*id)).collect()
    }

    /// The newest complete version of each name.
    pub fn held(&self) -> BTreeMap<String, (u64, DatasetId)> {
        let mut held = BTreeMap::new();
        for summary in self.catalog() {
            let rank = (summary.version, summary.id);
            let best = held.entry(summary.name).or_insert(rank);
            *best = rank.max(*best);
        }
        held
    }

    /// The newest version of a name that is known here, complete or not.
    pub fn newest(&self, name: &str) -> Option<(u64, DatasetId)> {
        let inner = self.lock();
        let of_name = inner.datasets.iter().filter(|(_, dataset)| dataset.manifest.name == name);
        of_name.map(|(id, dataset)| (dataset.manifest.version, *id)).max()
    }

    /// A manifest as it was signed.
    pub fn signed(&self, id: DatasetId) -> Option<SignedManifest> {
        self.lock().datasets.get(&id).map(|dataset| dataset.signed.clone())
    }

    /// What operators see: the newest version of each name.
    pub fn views(&self, now: WallTime) -> Vec<DatasetView> {
        let inner = self.lock();
        let mut views: BTreeMap<String, (u64, DatasetId)> = BTreeMap::new();
        for (id, dataset) in &inner.datasets {
            let rank = (dataset.manifest.version, *id);
            let best = views.entry(dataset.manifest.name.clone()).or_insert(rank);
            *best = rank.max(*best);
        }
        views.into_values().filter_map(|(_, id)| inner.view(id, now)).collect()
    }

    /// Chunks dropped because their bytes were wrong, since the store was opened.
    pub fn bad_chunks(&self) -> u64 {
        self.lock().bad_chunks
    }

    /// Writes every file of the newest complete version of `name` into the new folder `target`, every chunk checked.
    ///
    /// # Errors
    /// It is not here whole, `target` exists, or the disk refused. What was written is removed again.
    pub fn materialise(&self, name: &str, target: &Path) -> Result<DatasetId, StoreError> {
        let id = self
            .held()
            .get(name)
            .map(|(_, id)| *id)
            .ok_or_else(|| StoreError::NoDataset(name.chars().take(64).collect()))?;
        let manifest = self.lock().datasets.get(&id).map(|dataset| dataset.manifest.clone());
        let manifest = manifest.ok_or_else(|| StoreError::NoDataset(name.to_owned()))?;
        std::fs::create_dir(target).map_err(|source| StoreError::Io { path: target.to_owned(), source })?;
        let written =
            manifest.files.iter().try_for_each(|file| self.write_file(&target.join(&file.path), &file.chunks));
        if written.is_err() {
            // The first error is the one to tell.
            let _best_effort = std::fs::remove_dir_all(target);
        }
        written.map(|()| id)
    }

    fn write_file(&self, path: &Path, chunks: &[ChunkRef]) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let mut file = std::fs::File::create_new(path).map_err(io)?;
        for chunk in chunks {
            file.write_all(&self.chunk(chunk.id)?).map_err(io)?;
        }
        file.sync_all().map_err(io)
    }
}

impl Inner {
    fn missing(&self, id: DatasetId) -> Vec<ChunkRef> {
        let Some(dataset) = self.datasets.get(&id) else { return Vec::new() };
        dataset.manifest.chunks().into_values().filter(|chunk| !self.index.contains_key(&chunk.id)).collect()
    }

    fn note_completion(&mut self, id: DatasetId, now: WallTime) -> bool {
        if !self.datasets.contains_key(&id) || !self.missing(id).is_empty() {
            return false;
        }
        if let Some(dataset) = self.datasets.get_mut(&id) {
            dataset.completed.get_or_insert(now);
        }
        true
    }

    fn older_than(&self, id: DatasetId) -> Vec<DatasetId> {
        let Some(newest) = self.datasets.get(&id) else { return Vec::new() };
        let rank = (newest.manifest.version, id);
        let same_name = self.datasets.iter().filter(|(_, dataset)| dataset.manifest.name == newest.manifest.name);
        same_name.filter(|(id, dataset)| (dataset.manifest.version, **id) < rank).map(|(id, _)| *id).collect()
    }

    fn holders(&self, chunk: ChunkId) -> Vec<DatasetId> {
        let holds = |dataset: &Dataset| {
            dataset.manifest.files.iter().flat_map(|file| &file.chunks).any(|held| held.id == chunk)
        };
        self.datasets.iter().filter(|(_, dataset)| holds(dataset)).map(|(id, _)| *id).collect()
    }

    fn view(&self, id: DatasetId, now: WallTime) -> Option<DatasetView> {
        let dataset = self.datasets.get(&id)?;
        let total = dataset.manifest.chunks().len() as u64;
        let missing = self.missing(id).len() as u64;
        Some(DatasetView {
            name: dataset.manifest.name.clone(),
            version: dataset.manifest.version,
            id: id.to_string(),
            class: dataset.manifest.class,
            publisher: dataset.publisher.clone(),
            chunks_have: total - missing,
            chunks_total: total,
            bytes_total: dataset.manifest.bytes(),
            // With the last chunk it is whole, but neither offered nor written out before that was noted.
            complete: dataset.completed.is_some(),
            completed_s_ago: dataset.completed.map(|at| now.0.saturating_sub(at.0)),
        })
    }
}

impl Dataset {
    fn summary(&self, id: DatasetId) -> Summary {
        let Manifest { name, version, class, .. } = &self.manifest;
        Summary { id, name: name.clone(), version: *version, class: *class }
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The manifest is not to be believed. Nothing was stored.
    #[error("the manifest is refused: {0}")]
    Untrusted(#[from] Untrusted),
    /// There are as many datasets as a node keeps.
    #[error("this node keeps {DATASETS_MAX} datasets already")]
    TooMany,
    /// A chunk is not what it is called. It was not stored, or is dropped.
    #[error("the bytes of chunk {0} are wrong")]
    WrongBytes(ChunkId),
    /// A chunk is not here.
    #[error("chunk {0} is not here")]
    NotHere(ChunkId),
    /// A dataset is not here, or not whole.
    #[error("no complete dataset {0:?} is here")]
    NoDataset(String),
    /// The packs cannot be used.
    #[error(transparent)]
    Packs(#[from] SegmentLogError),
    /// The disk refused.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;
    use crate::publish::publish;
    use crate::signed::tests::publisher;
    use covenant_types::Role;

    const NOW: WallTime = WallTime(1_790_000_000);

    struct World {
        dir: tempfile::TempDir,
        source: PathBuf,
        trust: Trust,
        key: covenant_identity::NodeKey,
        chain: Vec<Vec<u8>>,
    }

    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir_all(source.join("deep")).unwrap();
        std::fs::write(source.join("a.txt"), vec![7; 300_000]).unwrap();
        let mut noise = vec![0; 2_000_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        std::fs::write(source.join("deep/b.bin"), noise).unwrap();
        std::fs::write(source.join("empty"), "").unwrap();
        let (key, chain, trust) = publisher(Role::Hub);
        World { dir, source, trust, key, chain }
    }

    impl World {
        fn store(&self, name: &str) -> ContentStore {
            ContentStore::open(&self.dir.path().join(name), self.trust.clone(), NOW).unwrap()
        }

        fn publish(&self, store: &ContentStore) -> DatasetId {
            let done =
                publish(store, &self.source, "first-aid", Class::Health, &self.key, self.chain.clone(), NOW).unwrap();
            store.newest(&done.name).unwrap().1
        }
    }

    fn copy(from: &ContentStore, to: &ContentStore, id: DatasetId, limit: usize) {
        let missing = to.add_manifest(from.signed(id).unwrap(), NOW).unwrap();
        let chunks: Vec<_> =
            missing.iter().take(limit).map(|chunk| (chunk.id, from.chunk(chunk.id).unwrap())).collect();
        to.put_chunks(&chunks).unwrap();
        to.complete(id, NOW);
    }

    #[test]
    fn what_is_published_is_read_back_byte_for_byte_on_another_node() {
        let world = world();
        let (hub, tower) = (world.store("hub"), world.store("tower"));
        let id = world.publish(&hub);
        copy(&hub, &tower, id, usize::MAX);
        let target = world.dir.path().join("read");
        assert_eq!(tower.materialise("first-aid", &target).unwrap(), id);
        for file in ["a.txt", "deep/b.bin", "empty"] {
            assert_eq!(std::fs::read(target.join(file)).unwrap(), std::fs::read(world.source.join(file)).unwrap());
        }
        assert!(tower.materialise("first-aid", &target).is_err(), "an existing folder is never overwritten");
        assert!(tower.materialise("other", &world.dir.path().join("x")).is_err());
    }

    #[test]
    fn a_fetch_that_was_cut_short_goes_on_where_it_was() {
        let world = world();
        let hub = world.store("hub");
        let id = world.publish(&hub);
        let all = {
            let tower = world.store("tower");
            copy(&hub, &tower, id, 5);
            tower.views(NOW)[0].chunks_total
        };
        let tower = world.store("tower");
        let view = &tower.views(NOW)[0];
        assert_eq!((view.chunks_have, view.complete), (5, false));
        assert_eq!(tower.missing(id).len() as u64, all - 5);
        assert!(tower.catalog().is_empty(), "what is not whole is not offered");
        copy(&hub, &tower, id, usize::MAX);
        assert!(tower.views(NOW)[0].complete);
    }

    #[test]
    fn what_is_shown_as_complete_can_be_written_out() {
        let world = world();
        let (hub, tower) = (world.store("hub"), world.store("tower"));
        let id = world.publish(&hub);
        let missing = tower.add_manifest(hub.signed(id).unwrap(), NOW).unwrap();
        let chunks: Vec<_> = missing.iter().map(|chunk| (chunk.id, hub.chunk(chunk.id).unwrap())).collect();
        tower.put_chunks(&chunks).unwrap();
        let target = world.dir.path().join("read");
        // The last chunk is here, and nobody has noted yet that nothing is missing.
        assert!(!tower.views(NOW)[0].complete && tower.materialise("first-aid", &target).is_err());
        assert!(tower.complete(id, NOW) && tower.views(NOW)[0].complete);
        assert_eq!(tower.materialise("first-aid", &target).unwrap(), id);
    }

    #[test]
    fn a_chunk_that_went_bad_on_disk_is_dropped_and_can_be_fetched_again() {
        let world = world();
        let (hub, tower) = (world.store("hub"), world.store("tower"));
        let id = world.publish(&hub);
        copy(&hub, &tower, id, usize::MAX);
        let pack = world.dir.path().join("tower/packs/00000000.seg");
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
        let target = world.dir.path().join("read");
        assert!(matches!(tower.materialise("first-aid", &target), Err(StoreError::WrongBytes(_))));
        assert!(!target.exists(), "half a dataset is not left behind");
        assert_eq!((tower.missing(id).len(), tower.bad_chunks()), (1, 1));
        copy(&hub, &tower, id, usize::MAX);
        tower.materialise("first-aid", &target).unwrap();
    }

    #[test]
    fn bytes_that_are_not_what_they_are_called_are_not_stored() {
        let world = world();
        let (hub, tower) = (world.store("hub"), world.store("tower"));
        let id = world.publish(&hub);
        let missing = tower.add_manifest(hub.signed(id).unwrap(), NOW).unwrap();
        assert!(matches!(tower.put_chunks(&[(missing[0].id, b"tampered".to_vec())]), Err(StoreError::WrongBytes(_))));
        assert_eq!(tower.missing(id).len(), missing.len());
        let mut forged = hub.signed(id).unwrap();
        forged.signature.push('x');
        forged.manifest.push(0);
        assert!(tower.add_manifest(forged, NOW).is_err());
    }

    #[test]
    fn a_new_version_replaces_the_old_one_and_moves_only_what_changed() {
        let world = world();
        let (hub, tower) = (world.store("hub"), world.store("tower"));
        let first = world.publish(&hub);
        copy(&hub, &tower, first, usize::MAX);
        std::fs::write(world.source.join("a.txt"), "changed").unwrap();
        let second = world.publish(&hub);
        let missing = tower.add_manifest(hub.signed(second).unwrap(), NOW).unwrap();
        assert_eq!(missing.len(), 1);
        copy(&hub, &tower, second, usize::MAX);
        let views = tower.views(NOW);
        assert_eq!((views.len(), views[0].version), (1, 2));
        assert!(tower.signed(first).is_none());
        assert_eq!(world.store("tower").views(NOW).len(), 1, "also after a restart");
    }
}
