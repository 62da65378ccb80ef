//! A whole log: written, proved, witnessed, verified by others, and tampered with.
#![allow(clippy::unwrap_used, reason = "tests")]

mod edits;
mod fixture;
mod hostile;
mod oracles;
mod proofs;
mod python;
mod tampering;
mod witnesses;
mod writing;
