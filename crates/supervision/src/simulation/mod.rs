//! A tree in virtual time: what would happen if this child ended now, and that one could not start.
//!
//! Every supervisor of the tree is a [`Supervisor`](crate::Supervisor) of its own, as on a running node. The simulation
//! plays the rest: workers that start and stop, the way of an exit to the supervisor above, and timers. What it is told comes
//! from a script; what happens comes out as lines. The same tree, script and seed give the same lines.
//!
//! # Intuition
//! A supervisor that is a child starts its own core; what that core says of itself (started, start failed, exit) is what the
//! core above hears of its child. Whatever is heard waits in one queue, first come, first served, and nothing takes time but
//! timers and the starts and stops that the script slows down.
//!
//! # Invariants
//! - An event of the script is read when nothing is left to do at its time or before it.
//! - No simulation does more than [`EFFECTS_MAX`] things: a crash loop without end is an error, not a hang.
//!
//! # Reading order
//! 1. [`ScriptedEvent`], [`read_script`]  2. [`Line`], [`TreeState`]  3. [`Simulation`]

mod agenda;
mod engine;
mod line;
mod process;
mod script;
mod state;

pub use engine::{EFFECTS_MAX, Simulation, SimulationError};
pub use line::{Line, What};
pub use script::{
    AdminCall, Happening, NewChild, SCRIPT_BYTES_MAX, SCRIPT_EVENTS_MAX, ScriptError, ScriptedEvent, read_script,
};
pub use state::{ChildStanding, TreeState};

#[cfg(test)]
mod tests;
