//! The covenant's book: accounts, transfers that never change, and the covenant's rules. A state machine that a log drives.
//!
//! Pure: no disk, no clock, no chance, no other node. Commands come in the order of a log and carry the time that counts;
//! records go to a [`Store`]. Whoever applies the same commands has the same book, and the same hash of it.
//!
//! # Intuition
//! Money never appears or goes: a transfer takes an amount from one account and gives it to another, at once or in two steps.
//! Whoever wants one makes its id first, so that a request whose answer was lost can be sent again. An id gets one answer
//! for ever, be it a booking or a refusal. Nothing is changed afterwards: a mistake is corrected by another transfer.
//!
//! # Invariants
//! - Every transfer takes as much as it gives, so that all balances of an asset sum to zero.
//! - An id is applied at most once. The same again gets the same answer; something else under it is refused, and what
//!   differs is named.
//! - Amounts are whole minor units in `i128`. What would not fit is refused; nothing wraps and nothing is a float.
//! - A chain, and a batch that is asked for whole, is booked whole or not at all.
//! - What is pending is posted at most once, never after its time, and time is what commands say.
//! - Nothing is posted in a period that is closed.
//! - The same commands in the same order give the same outcomes, records and hash.
//! - The core keeps no accounts and no transfers in memory: a command reads and writes the few records that it touches.
//!
//! # The covenant
//! Each nation owes 0.01 % of its GDP a year, to the nearest cent. A profit is shared: half to communities, three tenths to
//! nations by their GDP, two tenths to the reserve, with what rounding left from before ([`Entitlements`]). Payments that
//! touch a project name it, its sector and a nation. Tables of nations and lists of projects come into the book by the log,
//! and what follows from a table names it by its hash. A nation without a known GDP owes nothing and is listed.
//!
//! # While nobody hears
//! A device signs *intents* to spend from an *allowance* that was filled for it, and numbers them. They are applied in the
//! order of their numbers, each at most once, or get a record of why not; a gap waits; two that differ under one number
//! quarantine the device. An allowance ends by its device's closing statement or an operator's write-off, and what cannot be
//! settled then is in the *inbox*, where a person decides, once. The book verifies the signatures itself, so that whoever
//! replays the log does too.
//!
//! # Not here
//! Who may ask for what, agreement between nodes, files, and proofs for others.
//!
//! # Reading order
//! 1. [`Account`], [`Transfer`], [`NewTransfer`]  2. [`Command`], [`Outcome`], [`Refusal`]  3. [`Book`]  4. [`Store`]
//! 5. [`Nations`], [`Projects`], [`rules`], [`Entitlements`]  6. [`Intent`], [`Allowance`], [`InboxEntry`]
#![deny(clippy::disallowed_methods)]

mod account;
mod amount;
mod book;
mod codec;
mod codes;
mod command;
mod compact;
mod entitlement;
mod nations;
mod offline;
mod records;
mod refusal;
pub mod rules;
mod sector;
mod store;
mod sum;
mod transfer;

pub use account::{Account, AccountId, Balances, Limit, NewAccount, Purpose};
pub use amount::{Amount, AmountError};
pub use book::{Book, Checked, Line, Point};
pub use codes::{Alpha3, Asset, AssetCode, CodeError, ProjectCode};
pub use command::{AccountOrder, Answer, Command, Order, Outcome};
pub use entitlement::{Due, Entitlements, GRID, Party};
pub use nations::{Gdp, NATIONS_BYTES_MAX, Nation, Nations, NationsError};
pub use offline::{
    Allowance, AllowanceOrder, AllowanceState, Decision, DeviceError, DeviceId, InboxEntry, InboxReason, Intent,
    IntentState, KeptIntent, Resolution, SignedIntent, Wish,
};
pub use records::{BookError, Dimension, Head, Side, Total, TotalKey};
pub use refusal::{Difference, Refusal};
pub use sector::{PROJECTS_BYTES_MAX, PROJECTS_MAX, Project, Projects, ProjectsError, Sector};
pub use store::{KEY_BYTES_MAX, MemoryStore, Row, Store, Table};
pub use sum::BookSum;
pub use transfer::{Action, Kind, Movement, NewTransfer, Period, Standing, Tags, Transfer};

/// The most transfers or accounts in one command.
pub const BATCH_MAX: usize = 8192;
/// The longest command, in bytes: a table of nations, or a full batch.
pub const COMMAND_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most rows that one question is answered with.
pub const PAGE_MAX: usize = 1000;
/// The most intents in one command: each has a signature to check.
pub const INTENTS_MAX: usize = 256;
/// How far ahead of the next one an intent may be: so many wait for one that is missing, and no more.
pub const WAITING_MAX: u64 = 1024;
/// The most intents of one device that wait for a person.
pub const INBOX_MAX: u32 = 10_000;
/// The longest reason of an operator, in bytes.
pub const REASON_BYTES_MAX: usize = 500;
/// The most problems that a check lists.
pub const PROBLEMS_MAX: usize = 20;
