//! What can be typed of clusters that begin, nodes that join and people who may act.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use covenant_identity::Scope;
use covenant_types::{NodeName, Region, Role};

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
    /// What its issuing certificate may sign for: everywhere, which lets nodes of other regions in, or its own region by name
    #[arg(long, default_value = "everywhere")]
    pub(crate) issue_for: Scope,
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
    /// An address where anybody reads the public log of the ledger, over plain HTTP; for nodes that vote
    #[arg(long)]
    pub(crate) ledger: Option<SocketAddr>,
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
