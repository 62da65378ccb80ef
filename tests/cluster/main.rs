//! Promises that only real processes can show.

mod harness;
mod kill_rounds;
mod up;
