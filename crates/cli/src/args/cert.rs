//! What can be typed of certificates, and of nodes that do not come back.

use std::time::Duration;

use clap::{Args, Subcommand};
use covenant_types::NodeName;

#[derive(Debug, Subcommand)]
pub(crate) enum CertVerb {
    /// The certificates of all members: how long they last, who signed them, and who is denied
    Status,
    /// Take a certificate back: the node or operator is let in nowhere any more. This cannot be undone
    Revoke(Revoke),
    /// Renew a node's certificate now; no connection closes
    Rotate {
        /// The node; or say it with --node
        name: Option<NodeName>,
    },
}

/// Denying somebody.
#[derive(Clone, Debug, Args)]
pub(crate) struct Revoke {
    /// NODE, a node's name or id; or operator NAME
    #[arg(value_name = "WHO", num_args = 1..=2, required = true)]
    pub(crate) who: Vec<String>,
    #[command(flatten)]
    pub(crate) act: FinalAct,
}

/// Giving a node up.
#[derive(Clone, Debug, Args)]
pub(crate) struct Remove {
    /// Its name or id
    #[arg(value_name = "NODE")]
    pub(crate) target: String,
    /// Also where it is not down: it is cut off
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) act: FinalAct,
}

/// Giving a node up and letting a successor in under its name.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replace {
    /// Its name or id
    #[arg(value_name = "NODE")]
    pub(crate) target: String,
    /// Also where it is not down: it is cut off
    #[arg(long)]
    pub(crate) force: bool,
    /// How long the token for the successor holds, at most 7d
    #[arg(long, default_value = "1h", value_parser = covenant_types::parse_duration)]
    pub(crate) ttl: Duration,
    #[command(flatten)]
    pub(crate) act: FinalAct,
}

/// How an act is done that cannot be undone.
#[derive(Clone, Debug, Args)]
pub(crate) struct FinalAct {
    /// Why, for all nodes to show and for the audit log
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Only say what it would do
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask first
    #[arg(long)]
    pub(crate) yes: bool,
}
