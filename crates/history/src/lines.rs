//! A history as lines of JSON, so that one that was kept can be looked at again.
//!
//! The first line is `{"history":{"version":1,…}}`; each that follows is one attempt, read, entry of the book or replica.
//! Amounts are text, because JSON numbers end at 53 bits.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};

use covenant_types::TransferId;
use serde::{Deserialize, Serialize};

use crate::record::{AMOUNT_MAX, Account, Attempt, Booked, History, Outcome, Read, Replica, Span};

/// The longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// The most lines.
pub const LINES_MAX: usize = 1 << 25;
/// The longest name of an account or a node, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The version that is written.
const VERSION: u32 = 1;

/// Why a file is not a history. Nothing of it is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// A line does not say what lines say.
    #[error("line {line} is none of a history: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// It is of another version.
    #[error("it is of version {0}; this program reads {VERSION}")]
    Version(u32),
    /// It is empty, or its first line does not begin a history.
    #[error("its first line does not begin a history")]
    NoBeginning,
    /// There are more lines than are read.
    #[error("it has more than {LINES_MAX} lines")]
    TooLong,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    History(Beginning),
    Attempt(AttemptLine),
    Read(ReadLine),
    Booked(BookedLine),
    Replica(ReplicaLine),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beginning {
    version: u32,
    opening: BTreeMap<String, Amount>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptLine {
    client: u32,
    invoked: u64,
    returned: u64,
    id: TransferId,
    from: String,
    to: String,
    amount: Amount,
    outcome: OutcomeLine,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum OutcomeLine {
    Booked { number: u64, fresh: bool },
    Refused,
    NotDone,
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadLine {
    client: u32,
    invoked: u64,
    returned: u64,
    balances: BTreeMap<String, Amount>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BookedLine {
    number: u64,
    id: TransferId,
    from: String,
    to: String,
    amount: Amount,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaLine {
    node: String,
    position: u64,
    state: String,
    balances: BTreeMap<String, Amount>,
    problems: Vec<String>,
}

/// Minor units as text, within [`AMOUNT_MAX`].
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Amount(i128);

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.0.to_string()
    }
}

impl TryFrom<String> for Amount {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let amount: i128 = text.parse().map_err(|_| "an amount is a whole number")?;
        if amount.unsigned_abs() > AMOUNT_MAX.unsigned_abs() {
            return Err("an amount is larger than any that is counted");
        }
        Ok(Self(amount))
    }
}

impl History {
    /// Writes all of it.
    ///
    /// # Errors
    /// `out` refused.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |line: &Line| -> io::Result<()> {
            serde_json::to_writer(&mut *out, line)?;
            out.write_all(b"\n")
        };
        line(&Line::History(Beginning { version: VERSION, opening: amounts_out(&self.opening) }))?;
        for attempt in &self.attempts {
            line(&Line::Attempt(attempt_out(attempt)))?;
        }
        for read in &self.reads {
            let Span { invoked, returned } = read.span;
            let balances = amounts_out(&read.balances);
            line(&Line::Read(ReadLine { client: read.client, invoked, returned, balances }))?;
        }
        for entry in &self.book {
            let Booked { number, id, from, to, amount } = entry;
            let (from, to, amount) = (from.to_string(), to.to_string(), Amount(*amount));
            line(&Line::Booked(BookedLine { number: *number, id: *id, from, to, amount }))?;
        }
        for replica in &self.replicas {
            let Replica { node, position, state, balances, problems } = replica;
            let (state, problems) = (state.clone(), problems.clone());
            let (node, balances) = (node.to_string(), amounts_out(balances));
            line(&Line::Replica(ReplicaLine { node, position: *position, state, balances, problems }))?;
        }
        Ok(())
    }

    /// Reads what [`write_to`](Self::write_to) wrote. Memory grows with what the lines hold, and not with what they claim.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn read_from(from: &mut dyn BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        let (mut names, mut bytes) = (Names::default(), Vec::new());
        for number in 1..=LINES_MAX {
            bytes.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            if io::Read::take(&mut *from, limit).read_until(b'\n', &mut bytes)? == 0 {
                return if number == 1 { Err(HistoryError::NoBeginning) } else { Ok(history) };
            }
            let bad = |why: String| HistoryError::Line { line: number, why };
            if bytes.len() > LINE_BYTES_MAX {
                return Err(bad(format!("it is longer than {LINE_BYTES_MAX} bytes")));
            }
            let line: Line = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
            match (number, line) {
                (1, Line::History(beginning)) if beginning.version == VERSION => {
                    history.opening = names.amounts(beginning.opening).map_err(bad)?;
                }
                (1, Line::History(beginning)) => return Err(HistoryError::Version(beginning.version)),
                (1, _) => return Err(HistoryError::NoBeginning),
                (_, line) => history.take(line, &mut names).map_err(bad)?,
            }
        }
        Err(HistoryError::TooLong)
    }

    fn take(&mut self, line: Line, names: &mut Names) -> Result<(), String> {
        match line {
            Line::History(_) => return Err("a history begins once".to_owned()),
            Line::Attempt(line) => self.attempts.push(Attempt {
                client: line.client,
                span: span(line.invoked, line.returned)?,
                id: line.id,
                from: names.name(line.from)?,
                to: names.name(line.to)?,
                amount: positive(line.amount)?,
                outcome: match line.outcome {
                    OutcomeLine::Booked { number, fresh } => Outcome::Booked { number, fresh },
                    OutcomeLine::Refused => Outcome::Refused,
                    OutcomeLine::NotDone => Outcome::NotDone,
                    OutcomeLine::Unknown => Outcome::Unknown,
                },
            }),
            Line::Read(line) => self.reads.push(Read {
                client: line.client,
                span: span(line.invoked, line.returned)?,
                balances: names.amounts(line.balances)?,
            }),
            Line::Booked(line) => self.book.push(Booked {
                number: line.number,
                id: line.id,
                from: names.name(line.from)?,
                to: names.name(line.to)?,
                amount: positive(line.amount)?,
            }),
            Line::Replica(line) => self.replicas.push(Replica {
                node: names.name(line.node)?,
                position: line.position,
                state: line.state,
                balances: names.amounts(line.balances)?,
                problems: line.problems,
            }),
        }
        Ok(())
    }
}

fn attempt_out(attempt: &Attempt) -> AttemptLine {
    AttemptLine {
        client: attempt.client,
        invoked: attempt.span.invoked,
        returned: attempt.span.returned,
        id: attempt.id,
        from: attempt.from.to_string(),
        to: attempt.to.to_string(),
        amount: Amount(attempt.amount),
        outcome: match attempt.outcome {
            Outcome::Booked { number, fresh } => OutcomeLine::Booked { number, fresh },
            Outcome::Refused => OutcomeLine::Refused,
            Outcome::NotDone => OutcomeLine::NotDone,
            Outcome::Unknown => OutcomeLine::Unknown,
        },
    }
}

fn amounts_out(amounts: &BTreeMap<Account, i128>) -> BTreeMap<String, Amount> {
    amounts.iter().map(|(account, amount)| (account.to_string(), Amount(*amount))).collect()
}

fn span(invoked: u64, returned: u64) -> Result<Span, String> {
    if returned < invoked {
        return Err("it was answered before it was asked".to_owned());
    }
    Ok(Span { invoked, returned })
}

fn positive(amount: Amount) -> Result<i128, String> {
    if amount.0 > 0 { Ok(amount.0) } else { Err("an amount that moves is above zero".to_owned()) }
}

/// The names of a file, each held once.
#[derive(Default)]
struct Names(BTreeSet<Account>);

impl Names {
    fn name(&mut self, name: String) -> Result<Account, String> {
        if let Some(known) = self.0.get(name.as_str()) {
            return Ok(known.clone());
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        let name: Account = name.into();
        self.0.insert(name.clone());
        Ok(name)
    }

    fn amounts(&mut self, amounts: BTreeMap<String, Amount>) -> Result<BTreeMap<Account, i128>, String> {
        amounts.into_iter().map(|(name, amount)| Ok((self.name(name)?, amount.0))).collect()
    }
}
