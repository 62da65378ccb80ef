//! Everything a supervisor can ask its driver to do.

use std::fmt;
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt};

use crate::{ChildId, Timer};

/// Everything a supervisor can ask its driver to do, in order.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Effect {
    /// Start this child and answer with [`ChildStarted`](crate::Event::ChildStarted), `ChildIgnored` or `ChildStartFailed`.
    Start {
        /// Which.
        child: ChildId,
        /// Names this attempt.
        attempt: StartAttempt,
    },
    /// Ask this child to stop with reason `shutdown`.
    Stop {
        /// Which.
        child: ChildId,
        /// The attempt that runs.
        attempt: StartAttempt,
    },
    /// Let this child take nothing new, handle what waits, and then end by itself.
    Drain {
        /// Which.
        child: ChildId,
        /// The attempt that runs.
        attempt: StartAttempt,
    },
    /// What still waits for this child, which has not finished in time, is not handled any more: tell those who wait.
    Discard {
        /// Which.
        child: ChildId,
        /// The attempt that runs.
        attempt: StartAttempt,
    },
    /// Kill this child, whether it runs or is still starting.
    Kill {
        /// Which.
        child: ChildId,
        /// The attempt that runs.
        attempt: StartAttempt,
    },
    /// Tell me after this long.
    SetTimer {
        /// What the time is for.
        timer: Timer,
        /// How long.
        after: Duration,
    },
    /// That time does not matter any more.
    CancelTimer(Timer),
    /// This child's spec is gone: whoever waits for it waits in vain.
    Forget(ChildId),
    /// This child has ended and policy does not start it again; its spec is kept.
    ChildEnded {
        /// Which.
        child: ChildId,
    },
    /// Tell people.
    Report(Report),
    /// All children were started.
    Started,
    /// The children could not be started; those that were are stopped again. The supervisor ends.
    StartFailed {
        /// Why.
        reason: ExitReason,
    },
    /// Leave with this reason, so that the parent decides. All children have ended.
    Exit {
        /// Why.
        reason: ExitReason,
    },
    /// Answer an operator.
    Answer {
        /// The number of the call.
        call: u64,
        /// The answer.
        result: AdminResult,
    },
}

/// The answer to an operator.
pub type AdminResult = Result<AdminDone, AdminError>;

/// What an operator's call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminDone {
    /// What was asked.
    Done,
    /// The child runs.
    Started {
        /// The attempt that succeeded.
        attempt: StartAttempt,
        /// What the child said of itself.
        info: Option<String>,
    },
    /// The child's start said that there is nothing to run.
    Ignored,
}

/// Why an operator's call did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// There is no such child.
    #[error("no child of that id")]
    NotFound,
    /// The child runs.
    #[error("the child is running")]
    Running,
    /// The child is being restarted.
    #[error("the child is being restarted")]
    Restarting,
    /// A child of that id runs already.
    #[error("a child of that id runs already")]
    AlreadyStarted,
    /// A child of that id is there and stopped.
    #[error("a child of that id is there, stopped; restart or delete it")]
    AlreadyPresent,
    /// What it stands for is run by somebody else already; the spec is not kept.
    #[error("it runs already as {0}")]
    NameTaken(String),
    /// Instances of a template are ended, never kept.
    #[error("a dynamic supervisor has no child to do that with: its instances are started and terminated")]
    Dynamic,
    /// The spec is wrong.
    #[error("the spec is wrong: {0}")]
    BadSpec(String),
    /// The child's start failed.
    #[error("the child did not start: {0}")]
    StartFailed(ExitReason),
    /// The child was killed and does not end.
    #[error("the child was killed and does not end: its handler never yields")]
    Unkillable,
    /// The supervisor stops.
    #[error("the supervisor is stopping")]
    Stopping,
    /// Too many calls wait already.
    #[error("too many calls wait for this supervisor; try again")]
    Busy,
}

/// What people should know of: OTP's supervisor report without the supervisor's name, which the driver adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What went wrong.
    pub context: ReportContext,
    /// Why.
    pub reason: ExitReason,
    /// With whom; where `count` is more than one, with the template of them all.
    pub offender: ChildId,
    /// With how many, OTP's `nb_children`: instances of one template that ended alike are told of once.
    pub count: usize,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportContext {
    /// A child ended that should not have.
    ChildTerminated,
    /// A child could not be started.
    StartError,
    /// A child that was asked to stop ended otherwise.
    ShutdownError,
    /// One restart too many.
    ReachedMaxIntensity,
    /// A killed child does not end.
    Unkillable,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = match self.context {
            ReportContext::ChildTerminated => "child_terminated",
            ReportContext::StartError => "start_error",
            ReportContext::ShutdownError => "shutdown_error",
            ReportContext::ReachedMaxIntensity => "reached_max_restart_intensity",
            ReportContext::Unkillable => "unkillable",
        };
        write!(f, "{context}: {} ({})", self.offender, self.reason)?;
        if self.count > 1 { write!(f, ", {} of them", self.count) } else { Ok(()) }
    }
}
