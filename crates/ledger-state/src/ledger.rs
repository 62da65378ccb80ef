//! A ledger's state on this node: opened once, written by the group, read by anybody.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use covenant_book::{Book, BookError, Checked, Head};
use parking_lot::{Mutex, RwLock};

use crate::disk_store::DiskStore;
use crate::files::Files;
use crate::journal::{Applied, Journal};
use crate::stack::Stack;
use crate::state::{LedgerState, Writer};

/// How much memory a state may take. The same on all nodes is good, but need not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerConfig {
    /// Rows that no run holds yet, in bytes; past this they become a run before the next commands are applied. While that
    /// cannot be done, twice as much is kept, and then commands are refused. What a crash loses of it is applied again from
    /// the log.
    pub pending_bytes: usize,
    /// Accounts and totals that are kept at hand, in bytes.
    pub cache_bytes: usize,
    /// Whether opening reads every byte and compares the hashes. Without it damage is found when what it hit is read.
    pub check_on_open: bool,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self { pending_bytes: 24 << 20, cache_bytes: 192 << 20, check_on_open: true }
    }
}

/// The state in one folder. Cheap to clone; clones are the same state.
///
/// A group is started with `move || ledger.state()`: each time its files are opened again it gets another [`LedgerState`],
/// and the one before writes no more.
#[derive(Clone)]
pub struct Ledger(Arc<Home>);

/// What a ledger's handles share.
struct Home {
    inner: Arc<Inner>,
    merging: Option<JoinHandle<()>>,
}

pub(crate) struct Inner {
    pub(crate) config: LedgerConfig,
    pub(crate) files: Files,
    pub(crate) journal: Journal,
    pub(crate) writer: Mutex<Writer>,
    /// The newest moment that readers see.
    published: RwLock<Stack>,
    /// Whether a reader came since.
    wanted: AtomicBool,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({:?})", self.0.inner.files)
    }
}

impl Ledger {
    /// Opens the state in `folder`, or begins one. Blocks on the disk.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing was changed.
    pub fn open(folder: &Path, config: LedgerConfig) -> Result<Self, OpenError> {
        let failed = |error: io::Error| {
            let kind = error.kind();
            if kind == io::ErrorKind::ResourceBusy {
                OpenError::InUse(folder.to_owned())
            } else if MADE_BY_DAMAGE.contains(&kind) {
                OpenError::Damaged { folder: folder.to_owned(), source: error }
            } else {
                OpenError::Io(error)
            }
        };
        let files = Files::open(folder).map_err(failed)?;
        if config.check_on_open {
            files.runs().iter().try_for_each(|run| run.check()).map_err(failed)?;
        }
        let journal = Journal::open(folder, files.journal(), config.check_on_open).map_err(failed)?;
        let writer = Writer::open(&files, &config).map_err(failed)?;
        writer.has_all(&journal).map_err(failed)?;
        let published = Stack { layers: Vec::new(), runs: files.runs() };
        let inner = Arc::new(Inner {
            config,
            files,
            journal,
            writer: Mutex::new(writer),
            published: RwLock::new(published),
            wanted: AtomicBool::new(false),
        });
        let merged = inner.clone();
        let merging = std::thread::Builder::new().name("ledger-merge".to_owned());
        let merging = merging.spawn(move || merged.files.keep_merging()).map_err(OpenError::Io)?;
        Ok(Self(Arc::new(Home { inner, merging: Some(merging) })))
    }

    /// Deletes the state in `folder`, which is damaged, so that it can be opened as a new one: the group brings it to its
    /// snapshot and applies the log again. Blocks on the disk.
    ///
    /// # Errors
    /// It is in use, or the disk refused.
    pub fn discard(folder: &Path) -> io::Result<()> {
        Files::discard(folder)
    }

    /// The state for the group to write. Those that were given out before write no more.
    ///
    /// # Errors
    /// After a failure the state is read again from the disk, and it refused.
    pub fn state(&self) -> io::Result<LedgerState> {
        LedgerState::next(self.clone(), self.inner())
    }

    /// A handle for those who read.
    pub fn reader(&self) -> Reader {
        Reader(self.clone())
    }

    /// Waits until no runs are left to merge. For tests and measurements.
    pub fn wait_until_merged(&self) {
        self.inner().files.wait_until_merged();
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0.inner
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.inner.files.stop();
        if let Some(merging) = self.merging.take() {
            // A merge that panicked left the runs as they were.
            let _ended = merging.join();
        }
    }
}

impl Inner {
    /// Shows readers the state as `writer` has it.
    pub(crate) fn publish(&self, writer: &mut Writer) -> Stack {
        self.wanted.store(false, Ordering::Relaxed);
        let stack = writer.freeze();
        *self.published.write() = stack.clone();
        stack
    }

    /// The same, if a reader came since the last time.
    pub(crate) fn publish_if_wanted(&self, writer: &mut Writer) {
        if self.wanted.load(Ordering::Relaxed) {
            self.publish(writer);
        }
    }
}

/// Reads the book beside whoever writes it: neither waits for the other.
#[derive(Clone, Debug)]
pub struct Reader(Ledger);

impl Reader {
    /// The book as it is between two calls of the group, to be asked for accounts, statements, balances at a position, and
    /// totals. Its [`head`](Book::head) says which position it shows, and it never changes. It keeps what it shows on the
    /// disk, so it is for the length of a question or a report.
    ///
    /// What it shows is at most one call of the group behind: while commands are being applied it is as it was before, at
    /// most since the call before this one began. Whoever must see what was committed asks the group first.
    ///
    /// # Errors
    /// The disk refused, or what it holds is damaged.
    pub fn book(&self) -> io::Result<Book<Stack>> {
        let inner = self.0.inner();
        let stack = match inner.writer.try_lock() {
            Some(mut writer) if writer.is_whole() => inner.publish(&mut writer),
            Some(_) | None => {
                inner.wanted.store(true, Ordering::Relaxed);
                inner.published.read().clone()
            }
        };
        Book::open(stack).map_err(refused)
    }

    /// The next commands behind the first `from` that were applied, in order, at most `most` and some megabytes; none where there
    /// are no more. What it says was committed. After a crash fewer may be there, until the log is applied again. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// The disk refused, or what it holds is damaged: nothing of that is given out.
    pub fn commands(&self, from: u64, most: usize) -> io::Result<Vec<Applied>> {
        self.0.inner().journal.page(from, most)
    }

    /// How many commands were applied.
    pub fn applied(&self) -> u64 {
        self.0.inner().journal.commands()
    }

    /// Reads the whole book and does all of it again; see [`Book::check`]. Takes long, and disturbs nobody.
    ///
    /// # Errors
    /// The disk refused, or a record cannot be read.
    pub fn check(&self) -> io::Result<(Head, Checked)> {
        let book = self.book()?;
        let checked = book.check().map_err(refused)?;
        Ok((*book.head(), checked))
    }
}

/// How the disk speaks of files that are not what was written.
const MADE_BY_DAMAGE: [io::ErrorKind; 3] =
    [io::ErrorKind::InvalidData, io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof];

/// Why a state could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it, or this one has it open already.
    #[error("the ledger in {} is in use already; stop that one first", .0.display())]
    InUse(PathBuf),
    /// A file is missing or is not what was written. With [`Ledger::discard`] the group makes it again from its snapshot and log.
    #[error("the ledger in {} is damaged: {source}; nothing was changed", folder.display())]
    Damaged {
        /// Where.
        folder: PathBuf,
        /// What.
        source: io::Error,
    },
    /// The disk refused.
    #[error("the ledger cannot be opened: {0}")]
    Io(#[source] io::Error),
}

/// What the disk said, or what is wrong with what it holds.
pub(crate) fn refused(error: BookError<io::Error>) -> io::Error {
    match error {
        BookError::Store(error) => error,
        error @ (BookError::NoCommand(_) | BookError::Damaged { .. }) => {
            io::Error::new(io::ErrorKind::InvalidData, error.to_string())
        }
    }
}

impl Writer {
    fn open(files: &Files, config: &LedgerConfig) -> io::Result<Self> {
        let book = Book::open(DiskStore::new(files.runs(), config.cache_bytes)).map_err(refused)?;
        Ok(Self::new(book, files.mark()))
    }

    /// Goes back to what is on the disk.
    pub(crate) fn open_again(&mut self, files: &Files, journal: &Journal, config: &LedgerConfig) -> io::Result<()> {
        let again = Self::open(files, config)?;
        journal.open_again(files.journal())?;
        again.has_all(journal)?;
        self.put(again);
        Ok(())
    }
}
