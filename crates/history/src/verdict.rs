//! What is wrong with a history.

use std::collections::BTreeMap;
use std::fmt;

use covenant_types::TransferId;

use crate::record::{Account, Span};

/// Faults of one kind that are listed. All are counted.
pub const FAULTS_LISTED_MAX: usize = 20;

/// What looking at a history came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong, at most [`FAULTS_LISTED_MAX`] of each kind.
    pub faults: Vec<Fault>,
    counts: BTreeMap<Kind, u64>,
}

/// A sort of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Acknowledged, and gone.
    Lost,
    /// Booked twice.
    Doubled,
    /// A read, or the order of the book, that leaves out what was acknowledged before.
    Stale,
    /// Booked though it was refused or never asked for.
    Phantom,
    /// Sums that do not come out.
    Unbalanced,
    /// Booked otherwise than it was asked for or acknowledged.
    Altered,
    /// A read of what never was.
    Impossible,
    /// Replicas that differ.
    Diverged,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::Doubled,
        Self::Stale,
        Self::Phantom,
        Self::Unbalanced,
        Self::Altered,
        Self::Impossible,
        Self::Diverged,
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Stale => "stale",
            Self::Phantom => "phantom",
            Self::Unbalanced => "unbalanced",
            Self::Altered => "altered",
            Self::Impossible => "impossible",
            Self::Diverged => "diverged",
        }
    }
}

/// One thing that is wrong. Attempts, reads and entries are named by their place in the history, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It was acknowledged and is not in the book.
    Lost {
        /// The transfer.
        id: TransferId,
        /// The try that was acknowledged.
        attempt: usize,
    },
    /// It was acknowledged, and a later try was refused as if it were new.
    Forgotten {
        /// The transfer.
        id: TransferId,
        /// The try that was refused.
        attempt: usize,
    },
    /// The book has it, and a replica's balances do not.
    EffectMissing {
        /// A transfer that would explain it.
        id: TransferId,
        /// Where it is missing.
        node: Account,
    },
    /// The book has the id twice.
    Twice {
        /// The transfer.
        id: TransferId,
        /// Its numbers.
        numbers: (u64, u64),
    },
    /// Two tries were told that they booked it.
    FreshTwice {
        /// The transfer.
        id: TransferId,
        /// The tries.
        attempts: (usize, usize),
    },
    /// The book has it once, and a replica's balances have it twice.
    EffectTwice {
        /// A transfer that would explain it.
        id: TransferId,
        /// Where.
        node: Account,
    },
    /// A read leaves out a transfer that was acknowledged before it began.
    StaleRead {
        /// The read.
        read: usize,
        /// When it was.
        span: Span,
        /// What is not in it.
        missing: TransferId,
    },
    /// A read is of an older state than one that had ended before it began.
    BackwardsRead {
        /// The read.
        read: usize,
        /// When it was.
        span: Span,
        /// The read before it that saw more.
        behind: usize,
    },
    /// The book has it before one that was acknowledged before it was asked for.
    Reordered {
        /// The transfer that was asked for later.
        id: TransferId,
        /// The one that was acknowledged before.
        behind: TransferId,
    },
    /// It is in the book, and each of its tries was told that nothing was booked.
    Phantom {
        /// The transfer.
        id: TransferId,
        /// Its number in the book.
        number: u64,
    },
    /// It is in the book, and nobody asked for it.
    NeverAsked {
        /// The transfer.
        id: TransferId,
        /// Its number in the book.
        number: u64,
    },
    /// The balances of a read that saw all accounts do not sum to what accounts held in the beginning.
    ReadUnbalanced {
        /// The read.
        read: usize,
        /// What they sum to.
        sum: i128,
        /// What they should sum to.
        wanted: i128,
    },
    /// An account of a replica does not hold what the book adds up to.
    Balance {
        /// Where.
        node: Account,
        /// The account.
        account: Account,
        /// What it holds.
        held: i128,
        /// What it should hold.
        wanted: i128,
    },
    /// A replica's own check of its book failed.
    Check {
        /// Where.
        node: Account,
        /// What it found.
        problem: String,
    },
    /// It is in the book with other accounts or another amount.
    Altered {
        /// The transfer.
        id: TransferId,
        /// Its number in the book.
        number: u64,
    },
    /// It was acknowledged with another number than it has.
    Misnumbered {
        /// The transfer.
        id: TransferId,
        /// The number that was told.
        told: u64,
        /// The number in the book.
        number: u64,
    },
    /// The numbers of the book do not rise.
    Disordered {
        /// The first whose number does not.
        number: u64,
    },
    /// Two tries with one id asked for different things.
    Reused {
        /// The id.
        id: TransferId,
        /// The second try.
        attempt: usize,
    },
    /// A read saw what the book never held.
    ImpossibleRead {
        /// The read.
        read: usize,
        /// When it was.
        span: Span,
    },
    /// A read saw what was asked for after it had ended.
    FutureRead {
        /// The read.
        read: usize,
        /// When it was.
        span: Span,
        /// A transfer that it cannot have seen.
        holds: TransferId,
    },
    /// Two replicas have different states.
    Diverged {
        /// One.
        one: Account,
        /// Another.
        other: Account,
    },
}

impl Fault {
    /// What sort of fault it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Lost { .. } | Self::Forgotten { .. } | Self::EffectMissing { .. } => Kind::Lost,
            Self::Twice { .. } | Self::FreshTwice { .. } | Self::EffectTwice { .. } => Kind::Doubled,
            Self::StaleRead { .. } | Self::BackwardsRead { .. } | Self::Reordered { .. } => Kind::Stale,
            Self::Phantom { .. } | Self::NeverAsked { .. } => Kind::Phantom,
            Self::ReadUnbalanced { .. } | Self::Balance { .. } | Self::Check { .. } => Kind::Unbalanced,
            Self::Altered { .. } | Self::Misnumbered { .. } | Self::Disordered { .. } | Self::Reused { .. } => {
                Kind::Altered
            }
            Self::ImpossibleRead { .. } | Self::FutureRead { .. } => Kind::Impossible,
            Self::Diverged { .. } => Kind::Diverged,
        }
    }
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn holds(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many faults of a kind there are.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        let count = self.counts.entry(fault.kind()).or_default();
        *count += 1;
        if *count <= FAULTS_LISTED_MAX as u64 {
            self.faults.push(fault);
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind().name())?;
        match self {
            Self::Lost { id, attempt } => write!(f, "{id} was acknowledged (attempt {attempt}) and is not in the book"),
            Self::Forgotten { id, attempt } => {
                write!(f, "{id} was acknowledged, and a later try (attempt {attempt}) was refused")
            }
            Self::EffectMissing { id, node } => write!(f, "{id} is in the book and not in the balances of {node}"),
            Self::Twice { id, numbers: (one, other) } => {
                write!(f, "{id} is in the book twice, as {one} and as {other}")
            }
            Self::FreshTwice { id, attempts: (one, other) } => {
                write!(f, "{id} was booked newly twice (attempts {one} and {other})")
            }
            Self::EffectTwice { id, node } => write!(f, "{id} is twice in the balances of {node}"),
            Self::StaleRead { read, span, missing } => {
                write!(f, "read {read} ({span}) leaves out {missing}, acknowledged before it began")
            }
            Self::BackwardsRead { read, span, behind } => {
                write!(
                    f,
                    "read {read} ({span}) is of an older state than read {behind}, which had ended before it began"
                )
            }
            Self::Reordered { id, behind } => {
                write!(f, "{id} is in the book before {behind}, which was acknowledged before it was asked for")
            }
            Self::Phantom { id, number } => write!(f, "{id} is in the book as {number}, and every try was refused"),
            Self::NeverAsked { id, number } => write!(f, "{id} is in the book as {number}, and nobody asked for it"),
            Self::ReadUnbalanced { read, sum, wanted } => {
                write!(f, "the balances of read {read} sum to {sum} and not to {wanted}")
            }
            Self::Balance { node, account, held, wanted } => {
                write!(f, "{account} holds {held} at {node} and not {wanted}")
            }
            Self::Check { node, problem } => write!(f, "the book of {node} does not hold: {problem}"),
            Self::Altered { id, number } => {
                write!(f, "{id} is in the book as {number} with other accounts or another amount than were asked for")
            }
            Self::Misnumbered { id, told, number } => write!(f, "{id} was acknowledged as {told} and is {number}"),
            Self::Disordered { number } => write!(f, "the number {number} of the book is not above the one before it"),
            Self::Reused { id, attempt } => write!(f, "attempt {attempt} asks for something else by the id {id}"),
            Self::ImpossibleRead { read, span } => write!(f, "read {read} ({span}) saw what the book never held"),
            Self::FutureRead { read, span, holds } => {
                write!(f, "read {read} ({span}) saw {holds} or a later one, asked for after it had ended")
            }
            Self::Diverged { one, other } => write!(f, "the states of {one} and {other} differ"),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} us", self.invoked, self.returned)
    }
}
