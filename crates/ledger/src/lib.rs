//! The covenant's money: one book, double entry, exact to the cent.
#![deny(clippy::disallowed_methods)]

mod account;
mod amount;
mod error;
mod views;

pub use account::{Account, AccountError, Alpha3};
pub use amount::{Amount, AmountError};
pub use error::{LedgerError, LedgerErrorKind};
pub use views::{
    AccountBalance, AssessmentDone, Balances, CheckDone, DistributionDone, ExportPage, LedgerStatus, TransferDone,
};

/// The most text one page of an export has.
pub const EXPORT_PAGE_BYTES_MAX: usize = 1024 * 1024;
/// The most problems a check lists.
pub const PROBLEMS_MAX: usize = 100;
