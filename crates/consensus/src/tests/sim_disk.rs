//! A disk in memory: what was written is certain only after a sync, it may be full, and its power may go.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use covenant_env::Random;
use parking_lot::Mutex;
use rand::Rng;

use crate::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    operations: u32,
    cut_after: Option<u32>,
    /// Bytes that all files may have together.
    capacity: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { files: BTreeMap::new(), operations: 0, cut_after: None, capacity: u64::MAX }
    }
}

/// One file.
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
    /// Takes `operations` more, then the power is gone.
    pub(crate) fn cut_after(&self, operations: u32) {
        let mut state = self.0.lock();
        state.cut_after = Some(state.operations + operations);
    }

    pub(crate) fn operations(&self) -> u32 {
        self.0.lock().operations
    }

    /// Has room for `bytes` more than it holds.
    pub(crate) fn room_for(&self, bytes: u64) {
        let used = self.used();
        self.0.lock().capacity = used + bytes;
    }

    /// Has all the room in the world again.
    pub(crate) fn make_room(&self) {
        self.0.lock().capacity = u64::MAX;
    }

    fn used(&self) -> u64 {
        self.0.lock().files.values().map(|content| content.lock().cached.len() as u64).sum()
    }

    /// The disk after the power came back. Of each sector that was written and not synced, luck decides.
    pub(crate) fn after_cut(&self, seed: u64) -> Self {
        self.cut_after(0);
        let mut luck = Random::new(seed).derive("power cut");
        let state = self.0.lock();
        let files = state.files.iter().map(|(name, content)| {
            let content = content.lock();
            let mut left = content.durable.clone();
            let grown = content.cached.len().saturating_sub(left.len());
            // How far the file had grown in the file system's books.
            left.resize(left.len() + luck.random_range(0..=grown), 0);
            let sectors = content.cached.chunks(SECTOR).enumerate();
            for (number, sector) in sectors.filter(|_| content.cached != content.durable) {
                let at = number * SECTOR;
                if at < left.len() && luck.random() {
                    let length = sector.len().min(left.len() - at);
                    left[at..at + length].copy_from_slice(&sector[..length]);
                }
            }
            (name.clone(), Arc::new(Mutex::new(Content { cached: left.clone(), durable: left })))
        });
        let state = State { files: files.collect(), ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Flips a bit of a file, as disks do.
    pub(crate) fn flip(&self, name: &str, bit: usize) {
        let state = self.0.lock();
        let mut content = state.files[name].lock();
        content.cached[bit / 8] ^= 1 << (bit % 8);
        content.durable = content.cached.clone();
    }

    pub(crate) fn bits(&self, name: &str) -> usize {
        self.0.lock().files[name].lock().cached.len() * 8
    }

    fn operate(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.cut_after.is_some_and(|cut| state.operations >= cut) {
            return Err(io::Error::other("the power is gone"));
        }
        state.operations += 1;
        Ok(())
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.operate()?;
        let content = self.0.lock().files.entry(name.to_owned()).or_default().clone();
        Ok(Arc::new(SimFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate()?;
        let mut state = self.0.lock();
        let content = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate()?;
        self.0.lock().files.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let used = self.used();
        Ok(self.0.lock().capacity.saturating_sub(used))
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().cached.len() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let content = self.content.lock();
        let found = content.cached.get(place(at)..place(at) + into.len());
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.operate()?;
        let grows = (at + bytes.len() as u64).saturating_sub(self.bytes()?);
        if self.disk.free_bytes()? < grows {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut content = self.content.lock();
        let end = content.cached.len().max(place(at) + bytes.len());
        content.cached.resize(end, 0);
        content.cached[place(at)..place(at) + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Lengths are in the file system's journal: in order, and not lost.
    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.disk.operate()?;
        let mut content = self.content.lock();
        content.cached.resize(place(bytes), 0);
        content.durable.truncate(place(bytes));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operate()?;
        let mut content = self.content.lock();
        content.durable = content.cached.clone();
        Ok(())
    }
}
