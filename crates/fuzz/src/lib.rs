//! Every decoder, fed with what nobody honest sends.
//!
//! # Intuition
//! A target is a plain function of bytes. The hunt takes an input that the target understands, breaks it a little, and
//! looks at what happens: a panic, a wish for memory that the input does not justify, or a very long time is a finding,
//! and its input is kept in a file. Inputs that lead somewhere new are broken further.
//!
//! # Invariants
//! - One seed, one target and one corpus give the same inputs in the same order, on any machine.
//! - The input under way is in a file before the target sees it, so that even a process that dies leaves it behind.
//!
//! # Not here
//! Coverage by instrumentation: how often and how much a target allocates tells paths apart well enough, and needs no
//! other compiler.
//!
//! # Reading order
//! 1. [`Target`], [`targets`]  2. [`hunt()`]  3. [`Mutator`]  4. [`corpus`]

pub mod corpus;
mod hunt;
mod mutate;
mod target;
mod targets;

pub use hunt::{Bounds, Finding, Hunted, Stop, Trouble, hunt, try_one};
pub use mutate::Mutator;
pub use target::Target;
pub use targets::targets;
