//! The folder of one state: its runs, the manifest that says which of them count, and the merging of many into few.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::journal::{self, JOURNAL, JournalName};
use crate::manifest::{MANIFEST, Manifest, RUNS_MAX};
use crate::run::{Run, RunWriter};
use crate::stack::Stack;

/// Runs of one level that are merged into one of the next.
const MERGED_AT_ONCE: usize = 8;
/// With more runs than this whoever would add one waits until some are merged, unless merging failed.
const RUNS_BEFORE_WAITING: usize = 64;
const LOCK: &str = "lock";
const RUN: &str = "run-";

/// The folder, held by one process at a time.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    /// Locked as long as this lives.
    _lock: File,
    shape: Mutex<Shape>,
    /// Told when runs came or went, merging failed, or is to stop.
    changed: Condvar,
}

#[derive(Debug)]
struct Shape {
    manifest: Manifest,
    /// Those of the manifest, in its order.
    runs: Arc<Vec<Arc<Run>>>,
    /// Why the last merge did not work. It is tried again when the next run comes.
    failed: Option<io::Error>,
    stopped: bool,
}

impl Files {
    /// Opens the folder, or makes it. What no manifest names is deleted: a crash left it.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let lock = Self::lock(folder)?;
        let manifest = Manifest::read(folder)?.unwrap_or_default();
        let runs: Vec<_> =
            manifest.runs.iter().map(|run| Run::open(folder, *run).map(Arc::new)).collect::<io::Result<_>>()?;
        sweep(folder, &manifest)?;
        let shape = Shape { manifest, runs: Arc::new(runs), failed: None, stopped: false };
        Ok(Self { folder: folder.to_owned(), _lock: lock, shape: Mutex::new(shape), changed: Condvar::new() })
    }

    /// Deletes whatever state the folder holds.
    pub(crate) fn discard(folder: &Path) -> io::Result<()> {
        let _lock = Self::lock(folder)?;
        match std::fs::remove_file(folder.join(MANIFEST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => covenant_store::sync_dir(folder)?,
        }
        sweep(folder, &Manifest::default())
    }

    fn lock(folder: &Path) -> io::Result<File> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK))?;
        let in_use = || format!("{} is in use by another process", folder.display());
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(io::ErrorKind::ResourceBusy, in_use())),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The runs in force, from the newest to the oldest.
    pub(crate) fn runs(&self) -> Arc<Vec<Arc<Run>>> {
        self.shape.lock().runs.clone()
    }

    pub(crate) fn mark(&self) -> Option<Vec<u8>> {
        self.shape.lock().manifest.mark.clone()
    }

    /// Up to where the commands are kept that led to the runs in force.
    pub(crate) fn journal(&self) -> JournalName {
        self.shape.lock().manifest.journal
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A number that no file here has.
    pub(crate) fn number(&self) -> u64 {
        let mut shape = self.shape.lock();
        let number = shape.manifest.next;
        shape.manifest.next += 1;
        number
    }

    /// Begins a run of at most so many rows whose keys are filtered.
    pub(crate) fn begin(&self, level: u8, filtered_most: u64) -> io::Result<RunWriter> {
        RunWriter::new(&self.folder, self.number(), level, filtered_most)
    }

    /// Makes `run` the newest, up to `mark`, by the commands in `journal`. It is so after a crash when this returns.
    pub(crate) fn add(&self, run: Run, journal: JournalName, mark: Option<Vec<u8>>) -> io::Result<()> {
        let mut shape = self.shape.lock();
        while shape.runs.len() >= RUNS_BEFORE_WAITING && shape.failed.is_none() && !shape.stopped {
            self.changed.wait(&mut shape);
        }
        if shape.runs.len() >= RUNS_MAX {
            return Err(shape.failed.take().unwrap_or_else(|| io::Error::other("there are too many runs")));
        }
        let runs = std::iter::once(Arc::new(run)).chain(shape.runs.iter().cloned()).collect();
        self.put(&mut shape, runs, journal, mark)?;
        shape.failed = None;
        self.changed.notify_all();
        Ok(())
    }

    /// Puts `run` in place of all others, up to `mark`, and `journal` in place of the one before.
    pub(crate) fn replace(&self, run: Run, journal: JournalName, mark: Option<Vec<u8>>) -> io::Result<()> {
        let mut shape = self.shape.lock();
        self.put(&mut shape, vec![Arc::new(run)], journal, mark)?;
        self.changed.notify_all();
        Ok(())
    }

    /// Puts these runs in force; those that are no longer among them are deleted when nobody reads them.
    fn put(
        &self,
        shape: &mut Shape,
        runs: Vec<Arc<Run>>,
        journal: JournalName,
        mark: Option<Vec<u8>>,
    ) -> io::Result<()> {
        let names = runs.iter().map(|run| run.name()).collect();
        let manifest = Manifest { next: shape.manifest.next, runs: names, journal, mark };
        if let Err(error) = manifest.write(&self.folder) {
            // The rename may have happened before the folder could not be synced: then the new files are needed.
            if Manifest::read(&self.folder).ok().flatten().as_ref() != Some(&manifest) {
                runs.iter().filter(|run| !shape.manifest.runs.contains(&run.name())).for_each(|run| run.is_obsolete());
            }
            return Err(error);
        }
        let gone = shape.runs.iter().filter(|run| !manifest.runs.contains(&run.name()));
        gone.for_each(|run| run.is_obsolete());
        let before = shape.manifest.journal;
        if before.bytes > 0 && before.number != journal.number {
            // Whoever reads it has it open. What stays is deleted at the next start.
            let _best_effort = std::fs::remove_file(journal::path_of(&self.folder, before.number));
        }
        shape.manifest = manifest;
        shape.runs = Arc::new(runs);
        Ok(())
    }

    /// Merges runs as they come, until [`stop`](Self::stop).
    pub(crate) fn keep_merging(&self) {
        let mut shape = self.shape.lock();
        while !shape.stopped {
            let due = if shape.failed.is_none() { due(&shape.runs) } else { None };
            let Some(due) = due else {
                self.changed.wait(&mut shape);
                continue;
            };
            let stack = Stack { layers: Vec::new(), runs: Arc::new(shape.runs[due.clone()].to_vec()) };
            let is_last = due.end == shape.runs.len();
            drop(shape);
            let merged = self.merge(&stack, is_last);
            shape = self.shape.lock();
            let done = merged.and_then(|run| match run {
                Some(run) => self.put_merged(&mut shape, &stack.runs, run),
                None => Ok(()),
            });
            if let Err(error) = done {
                tracing::warn!(%error, "runs of the book were not merged; it is tried again");
                shape.failed = Some(error);
            }
            self.changed.notify_all();
        }
    }

    /// One run that says what these say; `None` where merging was stopped. The last of all forgets what was removed.
    fn merge(&self, stack: &Stack, is_last: bool) -> io::Result<Option<Run>> {
        let level = stack.runs.iter().map(|run| run.name().level).max().unwrap_or(0).saturating_add(1);
        let mut writer = self.begin(level, stack.filtered_most())?;
        let mut rows = stack.merged(None, None)?;
        let mut count = 0u64;
        while let Some((key, value)) = rows.next()? {
            if value.is_some() || !is_last {
                writer.push(&key, value.as_deref())?;
            }
            count += 1;
            if count.is_multiple_of(LOOK_EVERY) && self.shape.lock().stopped {
                return Ok(None);
            }
        }
        writer.finish().map(Some)
    }

    fn put_merged(&self, shape: &mut Shape, merged: &[Arc<Run>], run: Run) -> io::Result<()> {
        let start = shape.runs.windows(merged.len()).position(|runs| {
            let pairs = runs.iter().zip(merged);
            pairs.into_iter().all(|(run, merged)| Arc::ptr_eq(run, merged))
        });
        // Another state may have been put in their place meanwhile.
        let Some(start) = start else {
            run.is_obsolete();
            return Ok(());
        };
        let mut runs = shape.runs.to_vec();
        runs.splice(start..start + merged.len(), [Arc::new(run)]);
        let (journal, mark) = (shape.manifest.journal, shape.manifest.mark.clone());
        self.put(shape, runs, journal, mark)
    }

    pub(crate) fn stop(&self) {
        self.shape.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits until nothing is left to merge, or merging failed.
    pub(crate) fn wait_until_merged(&self) {
        let mut shape = self.shape.lock();
        while due(&shape.runs).is_some() && shape.failed.is_none() && !shape.stopped {
            self.changed.wait(&mut shape);
        }
    }
}

/// Rows after which a merge looks whether it is to stop.
const LOOK_EVERY: u64 = 4096;

/// The newest runs of one level of which there are enough to be merged.
fn due(runs: &[Arc<Run>]) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for same in runs.chunk_by(|run, next| run.name().level == next.name().level) {
        if same.len() >= MERGED_AT_ONCE {
            return Some(start..start + same.len());
        }
        start += same.len();
    }
    None
}

/// Deletes runs and journals that no manifest names, and what a manifest that was not finished left.
fn sweep(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let number_of = |prefix| name.strip_prefix(prefix).map(|number| u64::from_str_radix(number, 16));
        let is_left = match (number_of(RUN), number_of(JOURNAL)) {
            (Some(Ok(number)), _) => manifest.runs.iter().all(|run| run.number != number),
            (_, Some(Ok(number))) => manifest.journal.bytes == 0 || manifest.journal.number != number,
            (None, None) => name.starts_with('.') && name.contains(MANIFEST),
            (Some(Err(_)), _) | (_, Some(Err(_))) => false,
        };
        if is_left {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
