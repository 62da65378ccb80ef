//! The book as the state of a group.

use std::io::{self, Read, Write};

use covenant_book::Book;
use covenant_consensus::{Command, Replicated, View};

use crate::disk_store::DiskStore;
use crate::files::Files;
use crate::journal::{Applied, Journal, JournalWriter};
use crate::ledger::{Inner, Ledger, LedgerConfig, refused};
use crate::run::RunWriter;
use crate::stack::Stack;
use crate::stream;

/// The level of a run that holds a whole state: it is merged when as many of its kind have come as of any other.
const WHOLE_LEVEL: u8 = 2;

/// The right to write a ledger, for one member of a group.
///
/// Commands are the book's, in [`Command::bytes`](covenant_book::Command::to_bytes), and answers its
/// [`Outcome`](covenant_book::Outcome)s; bytes that are no command change nothing and get an empty answer. The time that
/// counts is the one that the group's leader gave the command, not the one in its bytes. That an id is done once is the
/// book's business, by the ids inside of its commands; the id of the group's command is not looked at.
#[derive(Debug)]
pub struct LedgerState {
    ledger: Ledger,
    /// Which of those that were given out this is.
    turn: u64,
}

/// What is written, and how far it is.
#[derive(Debug)]
pub(crate) struct Writer {
    book: Book<DiskStore>,
    mark: Option<Vec<u8>>,
    /// Who writes.
    turn: u64,
    /// Whether commands were applied whose mark was not kept.
    broken: bool,
}

impl Writer {
    pub(crate) fn new(book: Book<DiskStore>, mark: Option<Vec<u8>>) -> Self {
        Self { book, mark, turn: 0, broken: false }
    }

    /// Puts another one in its place, with the same right to write.
    pub(crate) fn put(&mut self, other: Self) {
        *self = Self { turn: self.turn, ..other };
    }

    pub(crate) fn is_whole(&self) -> bool {
        !self.broken
    }

    pub(crate) fn freeze(&mut self) -> Stack {
        self.book.store_mut().freeze()
    }

    /// Whether the journal has the commands that led to this book.
    pub(crate) fn has_all(&self, journal: &Journal) -> io::Result<()> {
        if journal.commands() == self.book.head().position {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "there are not as many commands as the book has seen"))
    }

    /// About how much memory that takes which is not on the disk.
    fn pending_bytes(&self, journal: &Journal) -> usize {
        self.book.store().pending_bytes() + journal.pending_bytes()
    }

    /// Makes a run of what is pending, with the commands and the mark. After an error everything is as it was.
    fn flush(&mut self, files: &Files, journal: &Journal) -> io::Result<()> {
        let pending = Stack { layers: self.freeze().layers, ..Stack::default() };
        if pending.layers.is_empty() {
            return Ok(());
        }
        let mut run = files.begin(0, pending.filtered_most())?;
        let mut rows = pending.merged(None, None)?;
        while let Some((key, value)) = rows.next()? {
            run.push(&key, value.as_deref())?;
        }
        let run = run.finish()?;
        files.add(run, journal.write(|| files.number())?, self.mark.clone())?;
        self.book.store_mut().settle(files.runs());
        Ok(())
    }

    fn apply(&mut self, commands: &[Command], journal: &Journal) -> io::Result<Vec<Vec<u8>>> {
        let mut applied = Vec::with_capacity(commands.len());
        let answer = |handed: &Command| {
            let Ok(command) = covenant_book::Command::from_bytes(&handed.bytes) else { return Ok(Vec::new()) };
            // The time is the leader's: a sender whose clock is wrong would end what is pending.
            let command = covenant_book::Command { at: handed.at, ..command };
            let outcome = self.book.apply(&command).map_err(refused)?;
            applied.push(Applied::new(&self.book.state_hash(), &command.to_bytes()));
            Ok(outcome.to_bytes())
        };
        let answers = commands.iter().map(answer).collect::<io::Result<_>>()?;
        journal.push(applied);
        Ok(answers)
    }
}

impl LedgerState {
    /// The next one to write.
    pub(crate) fn next(ledger: Ledger, inner: &Inner) -> io::Result<Self> {
        let mut writer = inner.writer.lock();
        if writer.broken {
            writer.open_again(&inner.files, &inner.journal, &inner.config)?;
        }
        writer.turn += 1;
        let turn = writer.turn;
        drop(writer);
        Ok(Self { ledger, turn })
    }

    /// A handle for those who read.
    pub fn reader(&self) -> crate::Reader {
        self.ledger.reader()
    }

    /// The book as it is now, to be asked. Never behind: it is for those who asked the group first.
    ///
    /// # Errors
    /// The disk refused, or the last commands failed and the group has not gone back yet.
    pub fn book(&self) -> io::Result<Book<Stack>> {
        let inner = self.ledger.inner();
        let mut writer = inner.writer.lock();
        if writer.broken {
            return Err(io::Error::other("the state failed; the group opens it again"));
        }
        let stack = inner.publish(&mut writer);
        drop(writer);
        Book::open(stack).map_err(refused)
    }

    /// The writer, if it is this one's turn.
    fn writer(&self) -> io::Result<parking_lot::MutexGuard<'_, Writer>> {
        let writer = self.ledger.inner().writer.lock();
        if writer.turn != self.turn {
            return Err(io::Error::other("another one writes this ledger now"));
        }
        Ok(writer)
    }
}

impl Replicated for LedgerState {
    fn apply(&mut self, commands: &[Command], mark: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let inner = self.ledger.inner();
        let mut writer = self.writer()?;
        if writer.broken {
            return Err(io::Error::other("the state failed and was not opened again"));
        }
        let LedgerConfig { pending_bytes, .. } = inner.config;
        if writer.pending_bytes(&inner.journal) >= pending_bytes {
            match writer.flush(&inner.files, &inner.journal) {
                // Readers let go of the layers.
                Ok(()) => drop(inner.publish(&mut writer)),
                Err(error) if writer.pending_bytes(&inner.journal) >= 2 * pending_bytes => return Err(error),
                // While there is memory the group goes on, and the next call tries again.
                Err(error) => tracing::warn!(%error, "the book stays in memory; it is written with the next commands"),
            }
        }
        let runs = inner.files.runs();
        writer.book.store_mut().refresh(runs);
        let answers = writer.apply(commands, &inner.journal);
        if answers.is_err() {
            writer.broken = true;
            return answers;
        }
        writer.mark = Some(mark.to_vec());
        inner.publish_if_wanted(&mut writer);
        answers
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.writer()?.mark.clone())
    }

    fn view(&self) -> io::Result<View> {
        let inner = self.ledger.inner();
        let mut writer = self.writer()?;
        if writer.broken {
            return Err(io::Error::other("the state failed and was not opened again"));
        }
        // With a snapshot the log before it goes: what is on the disk may not be older.
        writer.flush(&inner.files, &inner.journal)?;
        let (stack, journal) = (inner.publish(&mut writer), inner.journal.written());
        Ok(Box::new(move |out: &mut dyn Write| stream::write(&stack, &journal, out)))
    }

    fn restore(&mut self, from: &mut dyn Read, mark: &[u8]) -> io::Result<()> {
        let inner = self.ledger.inner();
        let mut writer = self.writer()?;
        let (filtered_most, from) = stream::begin(from)?;
        let mut run: RunWriter = inner.files.begin(WHOLE_LEVEL, filtered_most)?;
        let mut journal = JournalWriter::new(inner.files.folder(), inner.files.number())?;
        stream::read(from, |key, value| run.push(key, Some(value)), |applied| journal.push(applied))?;
        let run = run.finish()?;
        inner.files.replace(run, journal.finish()?.name(), Some(mark.to_vec()))?;
        let opened = writer.open_again(&inner.files, &inner.journal, &inner.config);
        writer.broken = opened.is_err();
        opened?;
        inner.publish(&mut writer);
        Ok(())
    }

    fn state_hash(&self) -> [u8; 32] {
        self.ledger.inner().writer.lock().book.state_hash()
    }
}
