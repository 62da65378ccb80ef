//! Chaos scenarios: one story per file, with faults to inject, hypotheses to hold, and a verdict.
//!
//! Pure: this reads and judges. Whoever runs a scenario, the command line for now, asks the nodes and injects the faults.
//!
//! # Intuition
//! A [`Scenario`] says what to break and what must be true afterwards. The runner looks once before the first fault (the
//! baseline), breaks things, proves that they broke, and then feeds what it sees to [`Recovery`] until that has an answer.
//!
//! # Invariants
//! - A file is understood completely or refused: a key that is not known, or not supported yet, is an error with its place.
//! - A fault without proof of its effect never leads to [`Verdict::Pass`].
//! - Time is an argument. Nothing here reads a clock.
//!
//! # Reading order
//! 1. [`Verdict`]  2. [`Scenario`], [`Fault`]  3. [`Hypothesis`], [`Observation`]  4. [`Recovery`]
#![deny(clippy::disallowed_methods)]

mod fault;
mod hypothesis;
mod kpi;
mod observation;
mod reader;
mod recovery;
mod scenario;
mod verdict;

pub use fault::{ActorKill, Effect, EffectEvent, Fault, FaultKind};
pub use hypothesis::{Deviation, Expected, Hypothesis, Op, Phase, Probe};
pub use kpi::{Kpi, KpiResult, Stat};
pub use observation::{ActorPattern, ActorSeen, Observation};
pub use reader::InvalidScenario;
pub use recovery::{Progress, Recovery};
pub use scenario::{RecoveryGoal, Scenario, Tier};
pub use verdict::Verdict;
