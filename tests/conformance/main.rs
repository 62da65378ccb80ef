//! The cases of OTP's `supervisor_SUITE`, by their names, and some of our own from other people's bugs: in the pure core in
//! virtual time, and on real actors. `cases.txt` lists them; `just conformance` prints which ran where, and how.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(clippy::duplicate_mod, reason = "the same cases, once for each bench")]

mod actors;
mod core;

// The core's own bench, which `core` uses as it is, names these from its crate's root.
use covenant_supervision::{
    AdminDone, AdminRequest, AutoShutdown, Backoff, Budget, ChildId, ChildKind, ChildSpec, ChildState, Effect, Event,
    ReportContext, Restart, Shutdown, Strategy, Supervisor, SupervisorSpec, Timer,
};
