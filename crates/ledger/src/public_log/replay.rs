//! Does all of a log's commands again, and compares what comes of them.

use std::io;
use std::path::Path;

use covenant_book::{Command, Outcome};
use covenant_consensus::{Command as Handed, Replicated};
use covenant_ledger_state::{Ledger, LedgerConfig, LedgerState, OpenError};
use serde::{Deserialize, Serialize};

use super::Joiner;
use super::entry::STATE_BYTES;
use crate::question::{amount_text, sums};

/// Commands that are applied together.
const BATCH_COMMANDS: usize = 256;
/// Or fewer, with so many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// What stands in a log, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Commands.
    pub commands: u64,
    /// Tables of nations and lists of projects that came into the book.
    pub tables: u64,
    /// Years that were assessed, by the table that their command names.
    pub assessments: u64,
    /// Profits that were shared, by the table that their command names.
    pub distributions: u64,
    /// Commands, and accounts or transfers in them, that the rules refused.
    pub refused: u64,
}

/// What all commands of a log come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// What there was.
    pub counted: Counted,
    /// How many accounts there are.
    pub accounts: u64,
    /// How many transfers there are, each with a number and an id of its own.
    pub transfers: u64,
    /// The hash of the book, in hexadecimal.
    pub state: String,
}

/// A book that is made from the entries of a log, in a folder of its own, with little memory.
#[derive(Debug)]
pub struct Replay {
    joiner: Joiner,
    ledger: Ledger,
    state: LedgerState,
    /// Commands that are not applied yet, each with the index of its last entry.
    batch: Vec<(u64, Vec<u8>)>,
    batch_bytes: usize,
    counted: Counted,
}

impl Replay {
    /// A book that begins, in a folder that is there for nothing else.
    ///
    /// # Errors
    /// The disk refused.
    pub fn new(folder: &Path) -> Result<Self, ReplayError> {
        let config = LedgerConfig { check_on_open: false, ..LedgerConfig::default() };
        let ledger = Ledger::open(folder, config).map_err(ReplayError::Open)?;
        let state = ledger.state().map_err(ReplayError::Disk)?;
        Ok(Self {
            joiner: Joiner::default(),
            ledger,
            state,
            batch: Vec::new(),
            batch_bytes: 0,
            counted: Counted::default(),
        })
    }

    /// Takes the next entry. What is wrong with it may be found with a later one.
    ///
    /// # Errors
    /// An entry is none, or its command did not lead to what it says.
    pub fn entry(&mut self, index: u64, entry: &[u8]) -> Result<(), ReplayError> {
        let whole = self.joiner.push(entry).map_err(|error| ReplayError::Entry { index, what: error.to_string() })?;
        let Some(record) = whole else { return Ok(()) };
        self.batch_bytes += record.len();
        self.batch.push((index, record));
        let full = self.batch.len() == BATCH_COMMANDS || self.batch_bytes >= BATCH_BYTES;
        if full { self.apply() } else { Ok(()) }
    }

    /// Applies what is left and adds all accounts up.
    ///
    /// # Errors
    /// The last command is not whole, an entry did not lead to what it says, or the book does not balance.
    pub fn finish(mut self) -> Result<Replayed, ReplayError> {
        self.apply()?;
        if !self.joiner.is_between() {
            return Err(ReplayError::Cut);
        }
        let book = self.ledger.reader().book().map_err(ReplayError::Disk)?;
        // Every record was made here a moment ago, by the rules: what is left to see is whether what they made balances.
        let (sums, accounts) = sums(&book).map_err(|error| ReplayError::Disk(io::Error::other(error)))?;
        if let Some((asset, sum)) = sums.iter().find(|(_, sum)| **sum != 0) {
            let problem = format!("all accounts of {} sum to {}", asset.code, amount_text(*sum, *asset));
            return Err(ReplayError::Unbalanced(problem));
        }
        let head = book.head();
        let state = blake3::hash(&head.to_bytes()).to_hex().to_string();
        Ok(Replayed { counted: self.counted, accounts, transfers: head.transfers, state })
    }

    fn apply(&mut self) -> Result<(), ReplayError> {
        let (batch, from) = (std::mem::take(&mut self.batch), self.counted.commands);
        self.batch_bytes = 0;
        let handed = |(index, record): &(u64, Vec<u8>)| {
            let bytes = record.get(STATE_BYTES..).unwrap_or_default().to_vec();
            let read = Command::from_bytes(&bytes);
            let command = read.map_err(|error| ReplayError::Entry { index: *index, what: error.to_string() })?;
            Ok(Handed { id: 0, at: command.at, bytes })
        };
        let commands = batch.iter().map(handed).collect::<Result<Vec<_>, ReplayError>>()?;
        if commands.is_empty() {
            return Ok(());
        }
        self.counted.commands += commands.len() as u64;
        let answers = self.state.apply(&commands, &self.counted.commands.to_be_bytes()).map_err(ReplayError::Disk)?;
        let (reader, mut next) = (self.ledger.reader(), from);
        let mut said = batch.iter();
        while next < self.counted.commands {
            let page = reader.commands(next, commands.len()).map_err(ReplayError::Disk)?;
            if page.is_empty() {
                return Err(ReplayError::Disk(io::ErrorKind::UnexpectedEof.into()));
            }
            next += page.len() as u64;
            // What was applied is compared whole: the command, and the hash of the book behind it.
            for (applied, (index, record)) in page.iter().zip(said.by_ref()) {
                if applied.as_bytes() != record.as_slice() {
                    let what = "the book behind its command is another one than it says".to_owned();
                    return Err(ReplayError::Entry { index: *index, what });
                }
            }
        }
        answers.iter().filter_map(|answer| Outcome::from_bytes(answer).ok()).for_each(|outcome| self.count(&outcome));
        Ok(())
    }

    fn count(&mut self, outcome: &Outcome) {
        let counted = &mut self.counted;
        match outcome {
            Outcome::Adopted { .. } => counted.tables += 1,
            Outcome::Assessed { again, .. } => counted.assessments += u64::from(!again),
            Outcome::Distributed { again, .. } => counted.distributions += u64::from(!again),
            Outcome::Refused(_) => counted.refused += 1,
            Outcome::Answers(answers) => {
                counted.refused += answers.iter().filter(|answer| answer.result.is_err()).count() as u64;
            }
            Outcome::Intents(answers) => {
                counted.refused += answers.iter().filter(|answer| answer.is_err()).count() as u64
            }
            Outcome::Expired { .. }
            | Outcome::Closed
            | Outcome::AllowanceOpened { .. }
            | Outcome::WrittenOff { .. }
            | Outcome::Resolved { .. } => {}
        }
    }
}

/// Why a log is not the history of a book.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// An entry is not what can stand there, or says of its command what is not so.
    #[error("entry {index}: {what}")]
    Entry {
        /// Its place in the log.
        index: u64,
        /// What is wrong.
        what: String,
    },
    /// The log ends in the middle of a command.
    #[error("the log ends in the middle of a command")]
    Cut,
    /// The book that comes of it does not hold.
    #[error("the book does not hold: {0}")]
    Unbalanced(String),
    /// The book cannot be made here.
    #[error("the book cannot be made again")]
    Open(#[source] OpenError),
    /// The disk refused. Nothing is known of the log; try where there is room.
    #[error("the book cannot be made again")]
    Disk(#[source] io::Error),
}
