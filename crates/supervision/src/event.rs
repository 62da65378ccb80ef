//! Everything that can happen to a supervisor.

use covenant_types::{ExitReason, StartAttempt};

use crate::{ChildId, ChildSpec};

/// Everything that can happen to a supervisor.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The parent wants this supervisor to start its children. First, and once.
    StartRequested,
    /// A child runs.
    ChildStarted {
        /// Which.
        child: ChildId,
        /// The attempt that succeeded.
        attempt: StartAttempt,
    },
    /// A child's start said that there is nothing to run.
    ChildIgnored {
        /// Which.
        child: ChildId,
        /// The attempt.
        attempt: StartAttempt,
    },
    /// A child could not be started.
    ChildStartFailed {
        /// Which.
        child: ChildId,
        /// The attempt that failed.
        attempt: StartAttempt,
        /// Why.
        reason: ExitReason,
    },
    /// A child ended.
    ChildExited {
        /// Which.
        child: ChildId,
        /// The attempt that had started it.
        attempt: StartAttempt,
        /// Why.
        reason: ExitReason,
    },
    /// A timer that was asked for is due.
    TimerFired(Timer),
    /// Somebody wants a running child killed; policy decides what comes after.
    KillRequested(ChildId),
    /// The parent wants this supervisor to stop.
    ShutdownRequested,
    /// An operator wants something; the answer bears the same number.
    Admin {
        /// Names the answer.
        call: u64,
        /// What is wanted.
        request: AdminRequest,
    },
}

/// What an operator can want of a supervisor: OTP's administrative calls.
#[derive(Clone, Debug, PartialEq)]
pub enum AdminRequest {
    /// Stop a child and keep its spec.
    Terminate(ChildId),
    /// Start a child that is stopped.
    Restart(ChildId),
    /// Forget a child that is stopped.
    Delete(ChildId),
    /// Start one more child, the last in order.
    Start(ChildSpec),
}

/// What a supervisor waits for. The attempt fences timers that fire late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A child that was asked to stop should have ended.
    StopDeadline(StartAttempt),
    /// A child that was killed should have ended.
    KillGrace(StartAttempt),
    /// The pause before a restart is over.
    Backoff(StartAttempt),
    /// A restart that failed is tried again.
    RetryStart(StartAttempt),
}

impl Timer {
    /// The attempt it belongs to.
    pub fn attempt(self) -> StartAttempt {
        match self {
            Self::StopDeadline(attempt)
            | Self::KillGrace(attempt)
            | Self::Backoff(attempt)
            | Self::RetryStart(attempt) => attempt,
        }
    }
}
