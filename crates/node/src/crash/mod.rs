//! Crash capsules: what is left of an abnormal end, for whoever asks why.
//!
//! [`Book`] decides what is written when, and opens no file; [`Keeper`] reads the log of the node's system and the clock, and
//! does the writing, off every hot path.
//!
//! # Invariants
//! - All crashes of one actor for one reason are one capsule, from boot to boot.
//! - A new capsule is written at once, its count at most once in [`book::UPDATE_EVERY`].
//! - A node keeps at most [`book::CAPSULES_MAX`] capsules of at most [`book::CAPSULE_BYTES_MAX`] bytes each.

mod book;
mod keeper;

pub(crate) use keeper::Keeper;
