//! Promises that only real processes can show.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod actor_kills;
mod actors;
mod authorities;
mod cli;
mod denied;
mod harness;
mod kill_rounds;
mod new;
mod offline;
mod part;
mod snapshots;
mod standalone;
mod trees;
mod up;
mod verify;
mod weather;
