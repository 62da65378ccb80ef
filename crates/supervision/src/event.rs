//! Everything that can happen to a supervisor.

use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt};

use crate::{ChildId, ChildSpec, SupervisorSpec};

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
        /// What the child said of itself, for whoever had it started.
        info: Option<String>,
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
    /// Somebody wants a running child to finish what waits and end, within this time. What has not ended by then is stopped
    /// as its spec says; policy decides what comes after.
    DrainRequested {
        /// Which.
        child: ChildId,
        /// How long it may take.
        within: Duration,
    },
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
    /// Start one more instance of a dynamic supervisor's template, by this name. It must be new.
    StartInstance(ChildId),
    /// Be what this says from now on: OTP's code change. Running children keep running, new ones are not started, those
    /// that are not named any more are kept. A spec that is refused changes nothing.
    ReplaceSpecs(SupervisorSpec),
}

/// What a supervisor waits for. The attempt fences timers that fire late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A child that finishes what waits should have ended.
    DrainDeadline(StartAttempt),
    /// A child that was asked to stop should have ended.
    StopDeadline(StartAttempt),
    /// A child that was killed should have ended.
    KillGrace(StartAttempt),
    /// The pause before a restart is over.
    Backoff(StartAttempt),
    /// A restart that failed is tried again.
    RetryStart(StartAttempt),
    /// The instances of a dynamic supervisor that were asked to stop should have ended.
    InstancesDeadline,
    /// The instances that were killed should have ended.
    InstancesGrace,
}

impl Timer {
    /// The attempt it belongs to, if it belongs to one.
    pub fn attempt(self) -> Option<StartAttempt> {
        match self {
            Self::DrainDeadline(attempt)
            | Self::StopDeadline(attempt)
            | Self::KillGrace(attempt)
            | Self::Backoff(attempt)
            | Self::RetryStart(attempt) => Some(attempt),
            Self::InstancesDeadline | Self::InstancesGrace => None,
        }
    }
}
