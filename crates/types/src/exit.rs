//! Why an actor ended, and why a call did not end in a reply.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an actor ended. OTP's exit reasons, closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// It had nothing more to do.
    Normal,
    /// It was asked to stop, or its supervisor gave up.
    Shutdown,
    /// It was asked to stop, and was told why.
    ShutdownWith(String),
    /// Its code panicked; the text is the panic's message.
    Panicked(String),
    /// Its handler or start returned an error.
    Error(String),
    /// It was killed: by its supervisor's deadline, an operator or a chaos engineer.
    Killed,
    /// The node it ran on cannot be reached.
    NoConnection,
    /// What it stands for is run by this one already. Nobody's fault: no restart is counted for it.
    NameConflict(String),
    /// It belongs elsewhere now. Nobody's fault either.
    Rebalanced,
}

impl ExitReason {
    /// Whether a restart after this end is counted against a supervisor's intensity.
    pub fn is_counted(&self) -> bool {
        !matches!(self, Self::NameConflict(_) | Self::Rebalanced)
    }

    /// Whether this end ends whoever is linked with it and does not trap exits. All but `normal` do, as in OTP: one that was
    /// asked to stop takes its partner along, in order and without a crash report.
    pub fn passes_links(&self) -> bool {
        *self != Self::Normal
    }

    /// Whether this end is orderly, so that a transient child is not restarted after it.
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Normal | Self::Shutdown | Self::ShutdownWith(_) => true,
            Self::Panicked(_)
            | Self::Error(_)
            | Self::Killed
            | Self::NoConnection
            | Self::NameConflict(_)
            | Self::Rebalanced => false,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ShutdownWith(why) => write!(f, "shutdown: {why}"),
            Self::Panicked(message) => write!(f, "panic: {message}"),
            Self::Error(message) => write!(f, "error: {message}"),
            Self::Killed => f.write_str("killed"),
            Self::NoConnection => f.write_str("noconnection"),
            Self::NameConflict(holder) => write!(f, "name conflict: {holder} runs already"),
            Self::Rebalanced => f.write_str("rebalanced"),
        }
    }
}

/// How a call ended when it did not end in a reply. The same words for local and remote calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CallError {
    /// No reply came before the deadline. The request may or may not have been handled.
    #[error("no reply before the deadline")]
    Timeout,
    /// No such actor is known at that path. Nothing was done.
    #[error("no actor at that path")]
    NoProc,
    /// The actor ended, or dropped the request, before it replied. The request may have been handled in part.
    #[error("the actor ended before it replied: {0}")]
    Gone(ExitReason),
    /// The mailbox was full and its policy is not to wait. Nothing was done.
    #[error("the mailbox is full")]
    MailboxFull,
    /// The node cannot be reached. If the request was under way it may have been handled.
    #[error("no connection to the node")]
    NoConnection,
    /// The other side refused the request and says why. Nothing was done.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The actor finishes what waits for it and takes nothing new. Nothing was done. If it comes back it takes messages again;
    /// if not, this becomes `Gone`.
    #[error("the actor is draining: it takes nothing new")]
    Draining,
}
