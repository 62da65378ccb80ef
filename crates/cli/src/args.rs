//! What can be typed. The help texts are the first thing a newcomer reads.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use covenant_types::{ActorPath, NodeName, Region, RemotePath, Role, TransferId};

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
    /// Run one node, or kill and start nodes of `covenant up`
    #[command(subcommand)]
    Node(NodeVerb),
    /// Who is in the cluster, as one node sees it
    Members,
    /// One node's own state
    Status,
    /// All nodes, one tree, mailboxes, rates and restarts, updated in place
    Top,
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
    /// Datasets that stay readable when links are down
    #[command(subcommand)]
    Content(ContentVerb),
    /// What the watchers noticed
    Incidents,
    /// Chaos scenarios. `run` exits 0 pass, 1 fail, 2 invalid, 3 inconclusive, 6 refused
    #[command(subcommand)]
    Chaos(ChaosVerb),
    /// Begin a cluster: make its root, its issuing certificate and its first node
    Init(Init),
    /// Tokens that let one more node in
    #[command(subcommand)]
    Token(TokenVerb),
    /// Make this machine a node, with a token read from stdin or a file
    Join(Join),
    /// People who may tell nodes what to do
    #[command(subcommand)]
    Operator(OperatorVerb),
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

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerVerb {
    /// Book what each nation owes for a year: 0.01 % of its GDP. Twice books once
    Assess {
        /// The year owed for
        #[arg(long)]
        year: u16,
    },
    /// Book a profit: 50 % to communities, 30 % to nations by GDP, 20 % to the reserve
    Distribute {
        /// Dollars and cents, as 1234.56
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// 1 to 32 hexadecimal digits; the same id twice books once. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// Book one movement of money between two accounts
    Transfer {
        /// The account that gives
        #[arg(long)]
        from: String,
        /// The account that receives
        #[arg(long)]
        to: String,
        /// Dollars and cents, as 1234.56
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// 1 to 32 hexadecimal digits; the same id twice books once. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// What each account holds
    Balances,
    /// Add the whole book up again
    Check,
    /// Print the whole book for another program
    Export {
        /// The form
        #[arg(long, value_enum, default_value = "hledger")]
        format: ExportFormat,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A journal that `hledger check` accepts
    Hledger,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContentVerb {
    /// Publish a folder as a signed dataset
    Publish {
        /// The folder
        dir: PathBuf,
        /// The dataset's name; publishing it again makes a new version
        #[arg(long)]
        name: String,
        /// health, education, fintech or general
        #[arg(long)]
        class: String,
    },
    /// What each node holds, how complete and how fresh
    Ls,
    /// Fetch every dataset of a class from now on
    Subscribe {
        /// health, education, fintech or general
        class: String,
    },
    /// Stop fetching a class; what is here stays
    Unsubscribe {
        /// health, education, fintech or general
        class: String,
    },
    /// Write a dataset that the node holds into a folder, every chunk verified
    Get {
        /// The dataset's name
        name: String,
        /// The folder, which must not exist yet
        #[arg(long)]
        to: PathBuf,
    },
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

#[derive(Clone, Debug, Args)]
pub(crate) struct Init {
    /// A new folder for the node
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The node's name
    #[arg(long)]
    pub(crate) name: NodeName,
    /// Its region
    #[arg(long)]
    pub(crate) region: Region,
    /// The cluster's name
    #[arg(long, default_value = "covenant")]
    pub(crate) cluster: String,
    #[command(flatten)]
    pub(crate) addresses: Addresses,
}

/// Where a new node listens.
#[derive(Clone, Debug, Args)]
pub(crate) struct Addresses {
    /// The UDP address peers reach it at
    #[arg(long, default_value = "127.0.0.1:7700")]
    pub(crate) listen: SocketAddr,
    /// A TCP address for operators with certificates
    #[arg(long)]
    pub(crate) control: Option<SocketAddr>,
    /// A loopback address for /metrics, /livez and /readyz
    #[arg(long)]
    pub(crate) metrics: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token for one node; ask the node that has the issuing certificate
    Create {
        /// The role of the node to be
        #[arg(long)]
        role: Role,
        /// Its region
        #[arg(long)]
        region: Region,
        /// Its name
        #[arg(long)]
        name: NodeName,
        /// How long the token holds, at most 7d
        #[arg(long, default_value = "1h", value_parser = covenant_types::parse_duration)]
        ttl: std::time::Duration,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Join {
    /// A new folder for the node
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// A file with the token, readable by you alone; stdin when left out
    #[arg(long)]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) addresses: Addresses,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorVerb {
    /// Make a key here and have the issuing node certify it
    Create {
        /// The person's name
        name: String,
        /// viewer, operator, chaos or admin
        #[arg(long)]
        role: String,
        /// The file for key and certificate, readable by you alone
        #[arg(long)]
        out: PathBuf,
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
