//! What can be typed of trees, single actors and crashes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use covenant_types::{ActorPath, RemotePath};

#[derive(Debug, Subcommand)]
pub(crate) enum TreeVerb {
    /// Draw the running tree of one node
    Show {
        /// Draw it again every second, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Check a tree file and the files it names, and warn of what would not mend itself
    Check {
        /// The file
        file: PathBuf,
        /// How long the node has for an orderly stop: its drain_deadline
        #[arg(long, default_value = "20s", value_parser = covenant_types::parse_duration)]
        drain: std::time::Duration,
        /// Exit with 6 when there are warnings
        #[arg(long)]
        strict: bool,
    },
    /// Compare a file with the running tree: what would start, stop, restart and stay
    Plan {
        /// The root file
        file: PathBuf,
    },
    /// Make the running tree what a file says, exactly as a plan said. Siblings it does not name run on
    Apply {
        /// The root file
        file: PathBuf,
        /// The plan's hash, as `tree plan` printed it; refused when file or tree changed since
        #[arg(long, value_name = "HASH")]
        plan: String,
    },
    /// Whether what runs is what the tree in force says, or a file; exits with 5 when it is not
    Drift {
        /// The root file, instead of the tree in force
        file: Option<PathBuf>,
    },
    /// Play a tree in virtual time: what would its supervisors do? Prints JSON lines
    Simulate(Simulate),
}

/// What to play, and what happens in it.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("script").required(true))]
pub(crate) struct Simulate {
    /// The tree file; its behaviours need not be registered
    pub(crate) file: PathBuf,
    /// What happens: one JSON object a line, as in {"at": 1500, "exit": "sync/scheduler", "reason": "panic"}
    #[arg(long, value_name = "FILE", group = "script")]
    pub(crate) events: Option<PathBuf>,
    /// Instead of events: this child is killed at 0, as /sync/scheduler
    #[arg(long, value_name = "PATH", group = "script")]
    pub(crate) kill: Option<ActorPath>,
    /// Decides the jitter of backoffs
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ActorVerb {
    /// Kill an actor; its supervisor decides what comes next
    Kill {
        /// The actor, as hub-africa:/sync/scheduler
        path: RemotePath,
    },
    /// What can be seen of an actor: mailbox, handler time, last crash, and its state as it chooses to show it
    Inspect {
        /// The actor, as hub-africa:/sync/scheduler
        path: RemotePath,
    },
    /// Print the messages an actor handles: kind, size, handler time. At most 1000 a second; ends by itself
    Trace {
        /// The actor, as hub-africa:/sync/scheduler
        path: RemotePath,
        /// End after so many messages, at most 10000
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// End after so long, at most 5m
        #[arg(long = "for", default_value = "10s", value_parser = covenant_types::parse_duration)]
        time: std::time::Duration,
    },
    /// Let an actor begin no message more, until it is resumed or its incarnation ends
    Suspend {
        /// The actor, as hub-africa:/sync/scheduler
        path: RemotePath,
    },
    /// Let an actor take nothing new, handle what waits and end in order; its supervisor decides what comes next
    Drain {
        /// The actor, as hub-africa:/sync/scheduler
        path: RemotePath,
        /// Stop it after so long, at most 10m; those who still wait are told that it is gone
        #[arg(long, default_value = "30s", value_parser = covenant_types::parse_duration)]
        deadline: std::time::Duration,
    },
    /// Let a suspended actor go on
    Resume {
        /// The actor, as hub-africa:/sync/scheduler
        path: RemotePath,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CrashVerb {
    /// The crashes of one node by actor and reason, the newest first
    Ls,
    /// Everything that is known of one: reason, place, last messages, and what supervisors did
    Show {
        /// Its id, as `covenant crash ls` prints it
        id: String,
    },
}
