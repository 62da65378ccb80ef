//! Keeps the capsules of a running node in `<data>/crashes/`, one file each.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covenant_env::Env;
use covenant_runtime::{CrashLog, Taken};

use super::book::{Book, CAPSULE_BYTES_MAX, Effect, UPDATE_EVERY};
use crate::api::actor::{Capsule, CrashSummary};

/// The most files of the folder that are looked at when a node boots.
const FILES_MAX: usize = 1024;
/// Texts of messages can be anybody's.
const FILE_MODE: u32 = 0o600;

/// Reads the crash log of a node, and writes its capsules.
pub(crate) struct Keeper {
    folder: PathBuf,
    env: Env,
    log: CrashLog,
    book: Mutex<Book>,
    /// Held while files are written, so that an older text never replaces a newer.
    writing: tokio::sync::Mutex<()>,
}

impl Keeper {
    /// Takes up what earlier runs have left below the data directory. A file that cannot be used is left alone.
    pub(crate) fn open(data: &Path, env: &Env) -> Arc<Self> {
        let folder = data.join("crashes");
        let mut book = Book::default();
        let mut effects = Vec::new();
        for file in std::fs::read_dir(&folder).into_iter().flatten().flatten().take(FILES_MAX) {
            match read(&file.path()) {
                Ok(Some(capsule)) => effects.extend(book.take_up(capsule)),
                Ok(None) => {}
                Err(why) => tracing::warn!(file = %file.path().display(), why, "a crash capsule cannot be read"),
            }
        }
        perform(&folder, effects);
        let (env, writing) = (env.clone(), tokio::sync::Mutex::new(()));
        Arc::new(Self { folder, env, log: CrashLog::new(), book: Mutex::new(book), writing })
    }

    /// Where the node's system is to tell of crashes.
    pub(crate) fn log(&self) -> CrashLog {
        self.log.clone()
    }

    /// Writes what happens, for as long as the node runs.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let due = self.book().next_due(self.env.now());
            tokio::select! {
                biased;
                () = self.log.told() => {}
                () = tokio::time::sleep(due.unwrap_or(UPDATE_EVERY)), if due.is_some() => {}
            }
            self.write(false).await;
        }
    }

    /// Writes everything that is not written yet. For the end.
    pub(crate) async fn flush(self: &Arc<Self>) {
        self.write(true).await;
    }

    async fn write(self: &Arc<Self>, all: bool) {
        let _in_turn = self.writing.lock().await;
        let Taken { crashes, uncounted } = self.log.take();
        let count = crashes.values().map(|crashes| crashes.count).sum::<u64>() + uncounted;
        if count > 0 {
            self.env.metrics.counter("covenant_actor_crashes_total", &[]).increment(count);
        }
        if uncounted > 0 {
            tracing::error!(uncounted, "more kinds of crashes at a time than are kept apart");
        }
        let now = self.env.now();
        let effects = {
            let mut book = self.book();
            let mut effects = book.add(now, crashes);
            effects.extend(book.due(now, all));
            effects
        };
        if !effects.is_empty() {
            let folder = self.folder.clone();
            if let Err(error) = self.env.blocking(move || perform(&folder, effects)).await {
                tracing::error!(%error, "crash capsules could not be written");
            }
        }
    }

    /// All capsules in short, the newest first.
    pub(crate) fn list(&self) -> Vec<CrashSummary> {
        self.book().capsules().into_iter().map(CrashSummary::from).collect()
    }

    /// The capsule `id`.
    pub(crate) fn find(&self, id: &str) -> Option<Capsule> {
        self.book().find(id).cloned()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None` for a file that is no capsule by its name.
fn read(path: &Path) -> Result<Option<Capsule>, String> {
    let Some(id) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json")) else {
        return Ok(None);
    };
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > CAPSULE_BYTES_MAX as u64 {
        return Err(format!("it is {length} bytes long"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let capsule: Capsule = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if capsule.id == id { Ok(Some(capsule)) } else { Err(format!("it is the capsule {}", capsule.id)) }
}

/// A reader sees the old text or the new one. The disk is not waited for, which may take longer than anybody who reads a
/// fresh capsule would: a power cut may lose it, and the end of the process does not.
fn write(folder: &Path, id: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{id}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
    file.write_all(bytes)?;
    std::fs::rename(&temporary, folder.join(format!("{id}.json")))
}

/// What cannot be written is told and not tried again before it changes: a full disk must not stop a node.
fn perform(folder: &Path, effects: Vec<Effect>) {
    if effects.is_empty() {
        return;
    }
    if let Err(error) = std::fs::create_dir_all(folder) {
        tracing::error!(folder = %folder.display(), %error, "crash capsules have no folder");
        return;
    }
    for effect in effects {
        let (id, done) = match &effect {
            Effect::Write { id, bytes } => (id, write(folder, id, bytes)),
            Effect::Remove { id } => (id, std::fs::remove_file(folder.join(format!("{id}.json")))),
        };
        if let Err(error) = done {
            tracing::error!(id, %error, "a crash capsule could not be written or removed");
        }
    }
}
