//! What can be typed. The help texts are the first thing a newcomer reads.

mod actors;
mod authorities;
mod cert;
mod fault;
mod identity;
mod part;
mod services;
mod snapshot;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use covenant_types::NodeName;

pub(crate) use actors::{ActorVerb, CrashVerb, Simulate, TreeVerb};
pub(crate) use authorities::{CaVerb, Phase, RootKey, Rotate};
pub(crate) use cert::{CertVerb, Remove, Replace, Revoke};
pub(crate) use fault::FaultVerb;
pub(crate) use identity::{Addresses, Init, Join, OperatorVerb, TokenVerb};
pub(crate) use part::{Drain, DrainVerb, Events, Leave, Sleep, Wait, Wanted};
pub(crate) use services::{AllowanceVerb, ContentVerb, ExportFormat, InboxVerb, LedgerVerb, VerifyArgs, VotersVerb};
pub(crate) use snapshot::{SnapshotRestore, SnapshotVerb};

/// Trees of supervised actors on clustered nodes that mend themselves.
///
/// New here? Run `covenant up`: it starts five nodes on this machine, and shows what to try next.
#[derive(Debug, Parser)]
#[command(name = "covenant", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 denied, 5 conflict, 6 refused, 7 timeout, 8 unreachable."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes: whom to ask, and how to print.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Print JSON on stdout instead of tables
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print without colours, as NO_COLOR does
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) no_color: bool,
    /// The folder of a cluster started by `covenant up`
    #[arg(long, global = true, env = "COVENANT_FOLDER", default_value = "covenant-data", help_heading = "Whom to ask")]
    pub(crate) folder: PathBuf,
    /// The node to ask; the first of the folder that answers when left out
    #[arg(long, global = true, value_name = "NAME", help_heading = "Whom to ask")]
    pub(crate) node: Option<NodeName>,
    /// The control socket to ask, for a node outside such a folder
    #[arg(long, global = true, value_name = "PATH", conflicts_with_all = ["address", "node"], help_heading = "Whom to ask")]
    pub(crate) socket: Option<PathBuf>,
    /// The control address of a node on another machine; needs --as and --node
    #[arg(long, global = true, value_name = "HOST:PORT", requires_all = ["operator", "node"], help_heading = "Whom to ask")]
    pub(crate) address: Option<SocketAddr>,
    /// The file with your operator certificate, made by `covenant operator create`
    #[arg(long = "as", global = true, value_name = "FILE", requires = "address", help_heading = "Whom to ask")]
    pub(crate) operator: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a small cluster on this machine, and watch it live
    Up(Up),
    /// Run one node, replace a lost one, or kill and start nodes of `covenant up`
    #[command(subcommand)]
    Node(NodeVerb),
    /// Who is in the cluster, as one node sees it
    Members {
        /// Also what passes on each connection, by plane
        #[arg(long)]
        wide: bool,
    },
    /// One node's own state
    Status,
    /// Have a node take nothing new and finish what it has; `drain cancel` takes that back
    Drain(Drain),
    /// Let a node fall silent for a while: the others hold it for asleep, not for down
    Sleep(Sleep),
    /// Wake a node that sleeps
    Wake,
    /// Stop a node in order; it stays a member and comes back when it is started again
    Leave(Leave),
    /// Give up a node that does not come back: it is never let in again
    Remove(Remove),
    /// Wait until the cluster is as it should be
    Wait(Wait),
    /// What happened to members, as one node saw it
    Events(Events),
    /// What is wrong with a node and its machine, with what to do about it. Exits with 1 where something is
    Doctor,
    /// All nodes, one tree, mailboxes, rates and restarts, updated in place
    Top,
    /// Where a path, a name or a group lives now: on which nodes, in which incarnation
    Where {
        /// A path as /sync/scheduler or hub-africa:/sync/scheduler, a name, or a group
        what: String,
    },
    /// Supervision trees: show, check, compare and change them
    #[command(subcommand)]
    Tree(TreeVerb),
    /// Single actors
    #[command(subcommand)]
    Actor(ActorVerb),
    /// Begin something of your own: a behaviour, with its test and its place in a tree
    #[command(subcommand)]
    New(NewVerb),
    /// Why actors crashed
    #[command(subcommand)]
    Crash(CrashVerb),
    /// The covenant's money
    #[command(subcommand)]
    Ledger(LedgerVerb),
    /// Backups of the ledger: save, check, look at and restore them
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Datasets that stay readable when links are down
    #[command(subcommand)]
    Content(ContentVerb),
    /// What the watchers noticed
    Incidents,
    /// Faults of a node's network, on loan: they end by themselves
    #[command(subcommand)]
    Fault(FaultVerb),
    /// Chaos scenarios. `run` exits 0 pass, 1 fail, 2 invalid, 3 inconclusive, 6 refused
    #[command(subcommand)]
    Chaos(ChaosVerb),
    /// Begin a cluster: make its root, its issuing certificate and its first node
    Init(Init),
    /// The authorities that sign nodes: give hubs issuing certificates, replace the root
    #[command(subcommand)]
    Ca(CaVerb),
    /// Tokens that let one more node in
    #[command(subcommand)]
    Token(TokenVerb),
    /// Make this machine a node, with a token read from stdin or a file
    Join(Join),
    /// People who may tell nodes what to do
    #[command(subcommand)]
    Operator(OperatorVerb),
    /// Certificates: how they do, and taking them back
    #[command(subcommand)]
    Cert(CertVerb),
    /// The record of what operators did
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Print a completion script for your shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Up {
    /// Run the whole story once on a new folder of its own: find, work, lose an actor and a node, mend, stop. Exits 0 when
    /// all of it held
    #[arg(long)]
    pub(crate) check: bool,
    /// Print progress lines instead of the live view, even on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// A folder of tree files to use instead of those in the program
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    pub(crate) trees: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NewVerb {
    /// Write a behaviour that compiles, with its test, and hang it into a tree. In an empty folder: a whole package
    Behaviour(NewBehaviour),
}

#[derive(Debug, Args)]
pub(crate) struct NewBehaviour {
    /// What it is called: small words, as in greeter or door_bell
    pub(crate) name: String,
    /// The folder of a package that depends on `covenant`, or an empty one for a new package
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
    /// The tree file it becomes the last child of; supervisor-trees/hub.toml of the package when left out
    #[arg(long, value_name = "FILE")]
    pub(crate) tree: Option<PathBuf>,
    /// Where covenant's source lies, for a new package: the folder with its `crates`
    #[arg(long, value_name = "DIR")]
    pub(crate) covenant: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// Run one node until SIGTERM or SIGINT
    Run(NodeRun),
    /// Give up a lost node, and make a token for another one under its name
    Replace(Replace),
    /// The processes that `covenant up` runs
    Ls,
    /// SIGKILL a node that `covenant up` started; its policy restarts it
    Kill {
        /// The node
        node: NodeName,
        /// Leave it down until `covenant node start`
        #[arg(long)]
        hold: bool,
    },
    /// Start a node that was killed with --hold
    Start {
        /// The node
        node: NodeName,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NodeRun {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// A folder of tree files to boot from instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub(crate) trees: Option<PathBuf>,
    /// Stop in order when stdin ends, so that no node outlives whoever started it
    #[arg(long)]
    pub(crate) stop_on_eof: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChaosVerb {
    /// Check a scenario file
    Check {
        /// The file
        file: PathBuf,
    },
    /// Run a scenario on the cluster of `covenant up`, and judge it
    Run {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Check the chain of an audit.jsonl
    Verify {
        /// The file
        file: PathBuf,
    },
}
