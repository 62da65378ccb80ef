//! Why the ledger did not do what it was asked.

use covenant_types::NodeName;
use serde::{Deserialize, Serialize};

/// Why the ledger did not do what it was asked, and what that means for the money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LedgerError {
    /// The request makes no sense. Nothing was booked; asking again without a change does not help.
    #[error("{0}")]
    BadRequest(String),
    /// The id was used for something else. Nothing was booked.
    #[error("{0}")]
    Conflict(String),
    /// The covenant's rules do not allow it. Nothing was booked.
    #[error("{0}")]
    Refused(String),
    /// There is no connection to the node that has the book. Nothing was booked.
    #[error(
        "the book lives on {home}, which cannot be reached: nothing was booked; try again with the same id when it is back"
    )]
    Unreachable {
        /// The node.
        home: NodeName,
    },
    /// The request was on its way and no answer came: it may have been booked.
    #[error("the book did not answer: it may have been booked; try again with the same id, which books it once")]
    Timeout,
    /// Something broke. Asking again with the same id is safe.
    #[error("{0}")]
    Failed(String),
}

/// The kinds of [`LedgerError`], for exit codes and statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerErrorKind {
    /// See [`LedgerError::BadRequest`].
    BadRequest,
    /// See [`LedgerError::Conflict`].
    Conflict,
    /// See [`LedgerError::Refused`].
    Refused,
    /// See [`LedgerError::Unreachable`].
    Unreachable,
    /// See [`LedgerError::Timeout`].
    Timeout,
    /// See [`LedgerError::Failed`].
    Failed,
}

impl LedgerError {
    /// Which kind it is.
    pub fn kind(&self) -> LedgerErrorKind {
        match self {
            Self::BadRequest(_) => LedgerErrorKind::BadRequest,
            Self::Conflict(_) => LedgerErrorKind::Conflict,
            Self::Refused(_) => LedgerErrorKind::Refused,
            Self::Unreachable { .. } => LedgerErrorKind::Unreachable,
            Self::Timeout => LedgerErrorKind::Timeout,
            Self::Failed(_) => LedgerErrorKind::Failed,
        }
    }
}
