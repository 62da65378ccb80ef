//! Supervision as Erlang/OTP means it: who is started, stopped and restarted, in which order, and when to give up.
//!
//! Pure. The core is told what happened and answers with what to do; it starts nothing, reads no clock and draws no random
//! number that was not passed in. `covenant-runtime` drives it for actors, `covenant up` for processes.
//!
//! # Intuition
//! A supervisor does one thing at a time: it starts its children, it restarts one or a group, or it stops them. What happens
//! meanwhile waits its turn, as in the mailbox of OTP's supervisor. A restart that fails is tried again later and never
//! blocks the answer to an operator.
//!
//! # Invariants
//! - A child has at most one attempt that may be running.
//! - Children start in the order of their specs and stop in the reverse order, one at a time.
//! - An exit or a start that belongs to an older attempt changes nothing.
//! - Every `Start` is answered by the driver exactly once: started, ignored or failed.
//!
//! # Reading order
//! 1. [`SupervisorSpec`], [`ChildSpec`]  2. [`Event`], [`Effect`]  3. [`Supervisor`]  4. [`load_tree`]  5. [`lint_tree`]
//! 6. [`simulation`]
#![deny(clippy::disallowed_methods)]

mod backoff;
mod change;
mod effect;
mod event;
mod files;
mod lint;
mod restart_window;
pub mod simulation;
mod spec;
mod supervisor;
mod tree;

pub use backoff::Backoff;
pub use change::{ChangeError, ChangePlan, ChildChange, RunningChild, SupervisorChange, Tree, plan_change};
pub use effect::{AdminDone, AdminError, AdminResult, Effect, Report, ReportContext};
pub use event::{AdminRequest, Event, Timer};
pub use files::TreeFiles;
pub use lint::{LintCode, LintWarning, lint_tree};
pub use spec::{
    AutoShutdown, Budget, ChildId, ChildKind, ChildSpec, Restart, Shutdown, SpecError, Strategy, SupervisorSpec,
};
pub use supervisor::{ChildState, ChildView, Counts, Supervisor};
pub use tree::{ChildNode, Host, Mailbox, Overflow, TreeError, TreeSource, TreeSourceError, TreeSpec, Work, load_tree};
