//! Promises that only real processes can show.

mod cli;
mod harness;
mod kill_rounds;
mod standalone;
mod up;
