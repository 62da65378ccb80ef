//! The book itself: it applies commands in the order of the log, and answers questions.

mod check;
mod covenant;
mod draft;
mod inbox;
mod intents;
mod movement;
mod offline;
mod queries;
mod request;
mod transfers;

use covenant_types::WallTime;
use covenant_types::canonical::Writer;

use crate::codec::Record;
use crate::command::{Command, Order, Outcome};
use crate::records::{BookError, Head, Key};
use crate::store::{Store, Table};
use crate::{BATCH_MAX, Refusal};
pub use check::Checked;
use draft::Draft;
pub use queries::{Line, Point};

/// The latest time that is believed, in seconds: the end of the year 9999.
const TIME_MAX: u64 = 253_402_300_799;

/// What a request came to: `Err` where the store failed, else what was done or why not.
type Judged<T, E> = Result<Result<T, Refusal>, BookError<E>>;

/// Goes on with what was done, or returns why not.
macro_rules! judged {
    ($judged:expr) => {
        match $judged {
            Ok(done) => done,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}
use judged;

/// The state machine that the log drives.
///
/// It holds how far it is, and nothing else: everything it needs to judge a command it reads from its store.
#[derive(Debug)]
pub struct Book<S> {
    store: S,
    head: Head,
}

impl<S: Store> Book<S> {
    /// Opens the book that the store holds, or begins one.
    ///
    /// # Errors
    /// The store failed, or does not begin like a book.
    pub fn open(store: S) -> Result<Self, BookError<S::Error>> {
        let head = store.value(Table::Head, Key::EMPTY.as_bytes()).map_err(BookError::Store)?;
        let head = match head {
            Some(bytes) => Head::from_record(&bytes)
                .map_err(|error| BookError::Damaged { table: Table::Head, what: error.to_string() })?,
            None => Head::default(),
        };
        Ok(Self { store, head })
    }

    /// Applies the next command of the log: all of it, or nothing where it is refused or the store fails.
    ///
    /// Equal commands in equal order make equal books with equal hashes and equal outcomes, on any machine.
    ///
    /// # Errors
    /// The store failed or is damaged. What the store was given of this command may not be kept.
    pub fn apply(&mut self, command: &Command) -> Result<Outcome, BookError<S::Error>> {
        self.apply_record(command, &command.to_record())
    }

    /// Applies the next command of the log from its canonical bytes, as [`apply`](Self::apply) does. Bytes that are no
    /// command change nothing, not even the position: whoever writes the log reads them first.
    ///
    /// # Errors
    /// The bytes are no command, or as for [`apply`](Self::apply).
    pub fn apply_bytes(&mut self, bytes: &[u8]) -> Result<Outcome, BookError<S::Error>> {
        self.apply_record(&Command::from_bytes(bytes).map_err(BookError::NoCommand)?, bytes)
    }

    fn apply_record(&mut self, command: &Command, bytes: &[u8]) -> Result<Outcome, BookError<S::Error>> {
        let mut draft = Draft::new(&self.store, self.head);
        draft.head.position += 1;
        draft.head.at = draft.head.at.max(WallTime(command.at.0.min(TIME_MAX)));
        let outcome = match draft.perform(&command.order)? {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Refused(refusal),
        };
        let (mut head, changes) = draft.finish()?;
        let mut link = Writer::new("covenant/book-chain/1");
        link.bytes(&self.head.chain).u64(head.position).bytes(bytes).bytes(&outcome.to_record());
        head.chain = *blake3::hash(&link.finish()).as_bytes();
        for change in changes {
            let value = change.value.as_deref();
            self.store.set(change.table, change.key.as_bytes(), value).map_err(BookError::Store)?;
        }
        self.store.set(Table::Head, Key::EMPTY.as_bytes(), Some(&head.to_record())).map_err(BookError::Store)?;
        self.head = head;
        Ok(outcome)
    }

    /// The hash of the book: equal exactly where the same commands led to the same records.
    ///
    /// It is BLAKE3 over the head, in which stand two more: the *chain*, in which each link is the hash of the one before,
    /// a command and its outcome; and the *sum* modulo 2^256 of the hashes of all records of accounts, transfers, answers,
    /// standings and the covenant's tables. The sum is kept up to date with each change, and [`check`](Self::check)
    /// computes it anew from the records. The chain tells histories apart that somebody made to sum alike.
    pub fn state_hash(&self) -> [u8; 32] {
        *blake3::hash(&self.head.to_record()).as_bytes()
    }

    /// How far the book is.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What holds the records.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What holds the records, to begin and commit its transactions.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }
}

impl<S: Store> Draft<'_, S> {
    fn perform(&mut self, order: &Order) -> Judged<Outcome, S::Error> {
        match order {
            Order::Open(accounts) => {
                judged!(short_enough(accounts.len()));
                let answers = accounts.iter().map(|account| self.open_requested(account)).collect::<Result<_, _>>()?;
                Ok(Ok(Outcome::Answers(answers)))
            }
            Order::Transfer { transfers, whole } => {
                judged!(short_enough(transfers.len()));
                Ok(Ok(Outcome::Answers(self.transfers(transfers, *whole)?)))
            }
            Order::Expire { most } => self.expire(*most).map(Ok),
            Order::Close { through } => self.close(*through),
            Order::AdoptNations { text } => self.adopt_nations(text),
            Order::AdoptProjects { text } => self.adopt_projects(text),
            Order::Assess { year, table } => self.assess(*year, *table),
            Order::Distribute { id, amount, period, table } => self.distribute(*id, *amount, *period, *table),
            Order::OpenAllowance(order) => self.open_allowance(order),
            Order::Intents(intents) => self.intents(intents),
            Order::WriteOff { device, reason, period } => self.write_off(*device, reason, *period),
            Order::Resolve { entry, decision, reason, period } => self.decide(*entry, *decision, reason, *period),
        }
    }
}

fn short_enough(entries: usize) -> Result<(), Refusal> {
    if entries > BATCH_MAX { Err(Refusal::BatchTooLong(entries as u64)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
