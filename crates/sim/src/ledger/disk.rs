//! A disk in memory. What was written is certain only after a sync, and of the rest luck decides when the power goes. It may
//! be full, fail, or lie about its syncs.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use covenant_consensus::{Disk, DiskFile};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

/// What is written as one, or not at all.
const SECTOR: usize = 512;
/// The room of a disk that is not full.
const ROOM: u64 = 1 << 40;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) full: bool,
    pub(super) sync_fails: bool,
    pub(super) write_fails: bool,
    /// It says that it synced, and did not.
    pub(super) lies: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    faults: Faults,
    /// Whoever used it has no power any more.
    dead: bool,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// What reads see.
    cached: Vec<u8>,
    /// What a sync has put on the disk.
    durable: Vec<u8>,
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    content: Arc<Mutex<Content>>,
}

impl SimDisk {
    /// What is wrong from now on.
    pub(super) fn set(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    pub(super) fn faults(&self) -> Faults {
        self.0.lock().faults
    }

    /// The disk after the power was gone and came back. Whoever still holds the old one writes nowhere.
    pub(super) fn after_cut(&self, luck: &mut StdRng) -> Self {
        let mut state = self.0.lock();
        state.dead = true;
        let mut left = |content: &Arc<Mutex<Content>>| {
            let content = content.lock();
            let mut left = content.durable.clone();
            let grown = content.cached.len().saturating_sub(left.len());
            // How far the file had grown in the books of the file system.
            left.resize(left.len() + luck.random_range(0..=grown), 0);
            for (number, sector) in content.cached.chunks(SECTOR).enumerate() {
                let at = number * SECTOR;
                let length = sector.len().min(left.len().saturating_sub(at));
                if let (Some(place), Some(bytes), true) =
                    (left.get_mut(at..at + length), sector.get(..length), luck.random::<bool>())
                {
                    place.copy_from_slice(bytes);
                }
            }
            Arc::new(Mutex::new(Content { cached: left.clone(), durable: left }))
        };
        let files = state.files.iter().map(|(name, content)| (name.clone(), left(content))).collect();
        let faults = state.faults;
        Self(Arc::new(Mutex::new(State { files, faults, dead: false })))
    }

    fn alive(&self) -> io::Result<Faults> {
        let state = self.0.lock();
        if state.dead { Err(io::Error::other("the power is gone")) } else { Ok(state.faults) }
    }

    /// Whether anything can be written.
    fn writes(&self) -> io::Result<()> {
        let faults = self.alive()?;
        match (faults.full, faults.write_fails) {
            (true, _) => Err(io::ErrorKind::StorageFull.into()),
            (_, true) => Err(io::Error::other("the disk fails")),
            (false, false) => Ok(()),
        }
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.alive()?;
        let known = self.0.lock().files.get(name).cloned();
        let content = match known {
            Some(content) => content,
            None => {
                self.writes()?;
                self.0.lock().files.entry(name.to_owned()).or_default().clone()
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.writes()?;
        let mut state = self.0.lock();
        let content = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.alive()?;
        self.0.lock().files.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(if self.alive()?.full { 0 } else { ROOM })
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().cached.len() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let content = self.content.lock();
        let at = place(at)?;
        let found = content.cached.get(at..at.saturating_add(into.len()));
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.writes()?;
        let mut content = self.content.lock();
        let at = place(at)?;
        let end = content.cached.len().max(at + bytes.len());
        content.cached.resize(end, 0);
        if let Some(place) = content.cached.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Lengths are in the file system's journal: in order, and not lost.
    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.disk.writes()?;
        let mut content = self.content.lock();
        let bytes = place(bytes)?;
        content.cached.resize(bytes, 0);
        content.durable.truncate(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let faults = self.disk.alive()?;
        if faults.sync_fails {
            return Err(io::Error::other("the disk does not sync"));
        }
        if !faults.lies {
            let mut content = self.content.lock();
            content.durable = content.cached.clone();
        }
        Ok(())
    }
}
