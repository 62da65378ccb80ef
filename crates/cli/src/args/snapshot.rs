//! What can be typed of backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotVerb {
    /// Write a backup of the ledger into a new file, from a node that keeps the book
    Save {
        /// The file
        file: PathBuf,
    },
    /// Do all of a backup again, every command, and add its book up. Exits with 1 where it does not hold
    Verify {
        /// The file
        file: PathBuf,
    },
    /// What a backup says of itself, unchecked
    Inspect {
        /// The file
        file: PathBuf,
    },
    /// Make the ledger of a node of a backup: on the first node of a new cluster, before it is started
    Restore(SnapshotRestore),
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotRestore {
    /// The file
    pub(crate) file: PathBuf,
    /// The configuration of the node, which does not run
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Only the first so many commands, as `position` in `ledger status` counts them
    #[arg(long, conflicts_with = "until")]
    pub(crate) position: Option<u64>,
    /// Only what was booked by this time, in seconds since 1970 in UTC
    #[arg(long)]
    pub(crate) until: Option<u64>,
    /// Restore on a node of the cluster of before, all of whose voters lost their ledger
    #[arg(long)]
    pub(crate) same_cluster: bool,
    /// Do all of it but the last step
    #[arg(long)]
    pub(crate) dry_run: bool,
}
