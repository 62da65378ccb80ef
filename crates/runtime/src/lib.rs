//! Supervised actors: one `Behaviour` trait, one `Ref`, one bounded lane per actor that outlives its incarnations.
//!
//! The decisions are made by the pure core in `covenant-supervision`; this crate performs them: supervisors and hosted
//! behaviours are actors of ractor's, light ones are bare tasks. It reads no clock of its own and starts no task without
//! an owner.
//!
//! # Intuition
//! A tree file says what runs and what a crash means. [`System::start`] builds a record and a mailbox for every path,
//! then starts the root supervisor, which starts the rest. A [`Ref`] points to the mailbox and not to a process, so that
//! a crash is a short pause for callers: messages wait for the next incarnation, and only the one in hand is lost.
//!
//! # Invariants
//! - Every call ends: in a reply, or in a `CallError` that says why there is none.
//! - A supervisor hears of a child's end when nothing of that child runs any more, exactly once, with the reason.
//! - A monitor fires exactly once, and no bound of a mailbox can lose what it tells.
//! - Two systems share nothing, also not through ractor's process-wide registries.
//!
//! # Reading order
//! 1. [`Behaviour`], [`Context`], [`Ref`], [`Reply`]  2. `lane`, `host`  3. `notice`, `supervisor`  4. `tie`  5. `names`
//! 6. [`System`]
#![deny(clippy::disallowed_methods)]

mod admin;
mod behaviour;
mod callers;
mod context;
mod deadline;
mod drain;
mod event;
mod following;
mod host;
mod kill;
mod lane;
mod mailbox;
mod names;
mod notice;
mod observe;
mod plan;
mod reference;
mod registry;
mod remote;
mod reply;
mod resources;
mod scope;
mod slot;
mod state_machine;
mod supervisor;
mod system;
mod tie;
mod travelling;
mod view;

pub use admin::{AdminFailure, Rework, Started};
pub use behaviour::{Behaviour, Exit, NoConfig, StartError};
pub use callers::Callers;
pub use context::{Context, SpawnRefused, TASKS_MAX, TIMERS_MAX};
pub use deadline::Deadlines;
pub use drain::{DrainError, Drained};
pub use event::{EVENTS_MAX, RuntimeEvent};
pub use following::{current_trace, traced, with_trace};
pub use kill::{KillError, ORDER_WITHIN};
pub use names::{Broadcast, ENTRIES_MAX, ENTRIES_PER_ACTOR_MAX, Entries, Group, GroupMember, NotEntered, OtherNodes};
pub use observe::{
    ASKS_MAX, CHAIN_MAX, CRASHES_MAX, ChainLink, CrashContext, CrashKey, CrashLog, CrashReport, Crashes, Decision,
    FlightRecord, Inspection, LastCrash, Observe, ObserveError, PanicSite, RECORDED_MAX, SeenBatch, SeenMessage,
    TRACE_RATE_MAX, TRACED_MAX, Taken, Trace, TraceEnd, TraceEnded, TraceLimits, TracedMessage, note_panic_sites,
};
pub use plan::{BootError, check_tree};
pub use reference::{CAST_WAIT_MAX, Outlet, Ref, Sending};
pub use registry::BehaviourRegistry;
pub use remote::{
    DECLARED_MAX, Declared, Entered, Inlet, Lobby, REMOTE_PAYLOAD_BYTES_MAX, Remotable, RemoteReply, RemoteSender,
};
pub use reply::Reply;
pub use resources::Resources;
pub use state_machine::{Machine, StateMachine, Step};
pub use system::{StopReport, System, SystemConfig};
pub use tie::{
    Abroad, Down, DownReason, FarEnd, FarOrder, FarTie, Monitor, MonitorRef, NearEnd, Ordered, Place, TIES_MAX,
    TiesView, TooManyTies,
};
pub use travelling::{Answered, Encode, Reading, Resolver, Way, answered};
pub use view::{ActorKind, ActorState, MailboxView, Sight, TreeView};

pub use covenant_macros::{Remotable, Schema};
pub use covenant_wire::{Describe, Schema, SchemaHash};

/// What derived code names. No part of the interface.
#[doc(hidden)]
pub mod derived {
    pub use covenant_types::CallError;
    pub use serde;
}

use std::any::Any;

/// The message of a panic.
fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic without a message".to_owned())
}
