//! What can be typed of authorities and certificates.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use covenant_identity::Scope;
use covenant_types::NodeName;

#[derive(Debug, Subcommand)]
pub(crate) enum CaVerb {
    /// The roots a node trusts, its issuing certificate, and what each member shows of its own
    Show,
    /// Give a hub an issuing certificate, or a fresh one; the root's key signs it here and goes nowhere
    Issue {
        /// The hub; or say it with --node
        hub: Option<NodeName>,
        /// What it may sign for: a region, or everywhere. What it had when left out, its own region where it had none
        #[arg(long = "for", value_name = "SCOPE")]
        scope: Option<Scope>,
        #[command(flatten)]
        key: RootKey,
    },
    /// Replace the cluster's root, one phase at a time, while everything runs
    Rotate(Rotate),
}

/// Where a root's key is.
#[derive(Clone, Debug, Args)]
pub(crate) struct RootKey {
    /// The file with the root's key, readable by you alone; stdin when left out
    #[arg(long, value_name = "FILE")]
    pub(crate) root_key: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Rotate {
    /// prepare: all trust a new root too. switch: all are certified under it. finish: nobody trusts the old one. cancel takes
    /// prepare back
    #[arg(long)]
    pub(crate) phase: Phase,
    /// The key this phase needs: the old root's for prepare and cancel, the new root's for switch and finish
    #[command(flatten)]
    pub(crate) key: RootKey,
    /// A new file for the new root's key, which prepare makes. Take it offline
    #[arg(long, value_name = "FILE")]
    pub(crate) new_root_key: Option<PathBuf>,
    /// With finish: do not believe content published under the old root either. For a root whose key may be in other hands
    #[arg(long)]
    pub(crate) forget: bool,
    /// Go on without members that are not reachable
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would follow, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Phase {
    Prepare,
    Switch,
    Finish,
    Cancel,
}
