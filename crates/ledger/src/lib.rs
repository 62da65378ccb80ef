//! The covenant's money: one book, double entry, exact to the cent.
//!
//! # Intuition
//! Money never appears or goes: it moves between accounts, and every entry of the book sums to zero. Whoever intends a
//! movement gives it an id first, so that a request whose answer was lost can be sent again and still books once.
//!
//! # Accounts
//! | account | what it holds | below zero |
//! |---|---|---|
//! | `nation:XXX` | what the nation was paid, less what it owes | yes: it owes |
//! | `pool` | what all nations were assessed | never |
//! | `treasury` | the world outside, which profits and payments come from | yes: what came in from there |
//! | `communities` | what communities have to spend | never |
//! | `reserve` | for maintenance | yes: an advance, which later distributions bring back |
//!
//! An assessment moves what a nation owes from `nation:XXX` to `pool`. A distribution moves a profit from `treasury`:
//! 50 % to `communities`, 30 % to the nations by their share of all GDP, 20 % to `reserve`. A nation that pays is a transfer
//! from `treasury` to `nation:XXX`.
//!
//! # Invariants
//! - Every entry sums to zero, and so does the book.
//! - An id books at most once; used for something else it is refused.
//! - A request is answered after its entries are on disk. All entries of one request are booked, or none.
//! - A year is assessed by one table of nations, which is kept in the book.
//! - Amounts are whole cents in `i128`; nothing is a float, and what would not fit is refused.
//!
//! # How it is kept
//! The rules and records are [`covenant_book`]'s, its files [`covenant_ledger_state`]'s. The hubs that vote agree on one log of
//! commands ([`covenant_consensus`]): an answer is given after a majority has the command on disk, and the death of a
//! minority loses none. A desk on each node brings requests to whoever leads.
//!
//! # Not here
//! The rules themselves, agreement, files.
//!
//! # Reading order
//! 1. [`Account`]  2. `order`, `question`, `journal`  3. [`LedgerConfig`], [`Places`]  4. [`Desk`], [`Book`]  5. `public_log`, [`Log`]
//! 1. [`Account`]  2. `order`, `question`, `offline`, `journal`  3. [`LedgerConfig`], [`Places`]  4. [`Desk`], [`Book`], [`OutboxActor`]
#![deny(clippy::disallowed_methods)]

mod account;
mod actors;
mod backup;
mod error;
pub mod fuzz;
mod journal;
mod member;
mod nations_file;
mod offline;
mod order;
mod places;
mod public_log;
mod question;
mod report;
mod statement;
mod views;

pub use account::{Account, AccountError};
pub use actors::{Backup, Book, BookMessage, Desk, DeskMessage, LedgerConfig, Log, LogMessage};
pub use actors::{OfflineMessage, OutboxActor, OutboxMessage, VOTERS, VotersAnswer, VotersChange, register};
pub use backup::{
    BackupChecked, BackupError, BackupFile, BackupHead, Restore, RestoreDone, Until, check as check_backup,
    restore as restore_backup, write as write_backup,
};
pub use covenant_book::{Alpha3, Amount, AmountError, Gdp, Nation, Nations, NationsError, rules};
pub use error::{LedgerError, LedgerErrorKind};
pub use journal::EXPORT_PAGE_BYTES_MAX;
pub use nations_file::read_nations;
pub use offline::{
    AllowanceList, AllowanceOpened, AllowanceView, Inbox, InboxView, IntentView, IntentWanted, OutboxView, Resolved,
    WrittenOff,
};
pub use order::{EXPIRES_AFTER_MAX, Step};
pub use places::{Place, Places};
pub use public_log::{CosignAnswer, Counted, LogKeys, Replay, ReplayError, Replayed};
pub use public_log::{entries_of, public_folder, quorum_of};
pub use report::{NationYear, ProjectYear, RegionYear, SectorYear, Sums, YearReport, plot};
pub use views::{
    AccountBalance, AsOf, AssessmentDone, Balances, CheckDone, ClosedDone, DistributionDone, ExportForm, ExportPage,
    LedgerKeys, LedgerStatus, Statement, StatementLine, TransferDone, VoterKeys, VotersDone,
};

/// The most problems a check lists.
pub const PROBLEMS_MAX: usize = covenant_book::PROBLEMS_MAX;
