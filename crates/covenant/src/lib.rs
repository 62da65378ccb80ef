//! Supervised actors that survive crashes, power cuts and lost links: what the author of a behaviour needs.
//!
//! A behaviour is a struct and three functions; a tree file says what a crash means; [`prelude`] has the words for both.
//! `examples/channel_pool.rs` builds one, crashes it and shows it answer again.
#![deny(clippy::disallowed_methods)]

mod start;

pub use covenant_cluster as cluster;
pub use covenant_env as env;
pub use covenant_placement as placement;
pub use covenant_runtime as runtime;
pub use covenant_supervision as supervision;
pub use covenant_types as types;
pub use start::{StartTreeError, start};

pub mod prelude {
    //! Everything a behaviour and its tree are written with.

    pub use covenant_cluster::Cluster;
    pub use covenant_env::Env;
    pub use covenant_runtime::{
        Behaviour, BehaviourRegistry, Callers, Context, Down, DownReason, Exit, Group, GroupMember, Machine,
        MonitorRef, NoConfig, Ref, Remotable, Reply, Resources, Schema, StartError, StateMachine, Step, System,
        SystemConfig,
    };
    pub use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, load_tree};
    pub use covenant_types::{ActorPath, CallError, ExitReason, Incarnation, NodeName, RemotePath, Role, Scope};
}
