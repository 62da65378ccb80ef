//! Why the ledger did not do what it was asked.

use std::fmt;

use covenant_runtime::Schema;
use serde::{Deserialize, Serialize};

/// Why the ledger did not do what it was asked, and what that means for the money.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct LedgerError {
    /// What sort of failure, for exit codes and statuses.
    pub kind: LedgerErrorKind,
    /// For people: what failed, what happened to the money, what to do.
    pub message: String,
}

/// What sort of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Schema, Serialize, Deserialize)]
pub enum LedgerErrorKind {
    /// The request makes no sense. Nothing was booked; asking again without a change does not help.
    BadRequest,
    /// The id was used for something else. Nothing was booked.
    Conflict,
    /// The covenant's rules do not allow it. Nothing was booked.
    Refused,
    /// Nobody who keeps the book can be reached, or they have no leader. Nothing was booked.
    Unreachable,
    /// The request was on its way and no answer came: it may have been booked. The same id books it once.
    Timeout,
    /// Something broke; the message says what that means. Asking again with the same id is safe.
    Failed,
}

impl LedgerError {
    pub(crate) fn new(kind: LedgerErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A request that makes no sense.
    pub(crate) fn bad(what: impl fmt::Display) -> Self {
        Self::new(LedgerErrorKind::BadRequest, format!("{what}; nothing was booked"))
    }

    /// A request that the rules do not allow.
    pub(crate) fn refused(what: impl fmt::Display) -> Self {
        Self::new(LedgerErrorKind::Refused, format!("{what}; nothing was booked"))
    }

    /// Something broke when the answer was near: it may be on disk.
    pub(crate) fn unsure(what: impl fmt::Display) -> Self {
        Self::failed(format_args!("{what}; it may have been booked; try again with the same id, which books it once"))
    }

    /// Something broke.
    pub(crate) fn failed(what: impl fmt::Display) -> Self {
        Self::new(LedgerErrorKind::Failed, format!("the book cannot be used: {what}"))
    }
}
