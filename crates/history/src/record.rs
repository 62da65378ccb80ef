//! What a history consists of.

use std::collections::BTreeMap;
use std::sync::Arc;

use covenant_types::TransferId;

/// An account by its name. Cheap to clone: a long history names the same few.
pub type Account = Arc<str>;

/// The largest amount and balance of a history, in minor units, either way: sums over all its lines fit.
pub const AMOUNT_MAX: i128 = 1 << 96;

/// Everything that was asked and answered, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What accounts held before. Those that are not named held nothing.
    pub opening: BTreeMap<Account, i128>,
    /// Each try of each transfer. Tries of one transfer have one id.
    pub attempts: Vec<Attempt>,
    /// Each linearizable read that was answered.
    pub reads: Vec<Read>,
    /// What the book has at the end, in its order.
    pub book: Vec<Booked>,
    /// What each replica has at the end.
    pub replicas: Vec<Replica>,
}

/// When something was asked and when it was answered, in microseconds since the history began, by one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Not later than the request left.
    pub invoked: u64,
    /// Not earlier than the answer was there, or than nobody waited for one any longer.
    pub returned: u64,
}

/// One try of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who asked.
    pub client: u32,
    /// When.
    pub span: Span,
    /// What the client called it. A later try has the same.
    pub id: TransferId,
    /// The account that gives.
    pub from: Account,
    /// The account that gains.
    pub to: Account,
    /// How much, in minor units; above zero.
    pub amount: i128,
    /// What came of it, as far as the client knows.
    pub outcome: Outcome,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged.
    Booked {
        /// Its number in the book.
        number: u64,
        /// Whether this try booked it. An earlier one did where it is false.
        fresh: bool,
    },
    /// The book's rules refused it.
    Refused,
    /// Nobody took it, so this try did nothing.
    NotDone,
    /// It may have been booked, now or later.
    Unknown,
}

/// A linearizable read of some accounts at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Who asked.
    pub client: u32,
    /// When.
    pub span: Span,
    /// What each account that was looked at held.
    pub balances: BTreeMap<Account, i128>,
}

/// A transfer as the book has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Its number.
    pub number: u64,
    /// The client's id.
    pub id: TransferId,
    /// The account that gave.
    pub from: Account,
    /// The account that gained.
    pub to: Account,
    /// How much, in minor units.
    pub amount: i128,
}

/// The book of one replica when all was quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Which one.
    pub node: Account,
    /// How many commands it applied.
    pub position: u64,
    /// The hash of its state, as it writes it.
    pub state: String,
    /// What its accounts hold. Where it lists none, its hash stands for them.
    pub balances: BTreeMap<Account, i128>,
    /// What its own check of the book found.
    pub problems: Vec<String>,
}
