//! Making a node's ledger of a backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use covenant_consensus::{Folder, Replicated, found};
use covenant_env::Env;
use covenant_types::{NodeId, WallTime};
use serde::{Deserialize, Serialize};

use super::redo::redo;
use super::{BackupError, BackupFile};
use crate::actors::{GROUP, LOG, may_begin_file};

/// Up to where a backup is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All of it.
    End,
    /// Only so many commands.
    Position(u64),
    /// Only what was booked by then.
    Time(WallTime),
}

/// Where a backup is to be restored.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The folder of the ledger of a node that does not run.
    pub folder: PathBuf,
    /// The node.
    pub me: NodeId,
    /// Up to where.
    pub until: Until,
    /// Whether a node that did not begin its cluster may go on with the ledger: where the cluster is the one of before and all
    /// its voters lost theirs. Otherwise only the first node of a new cluster may.
    pub same_cluster: bool,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreDone {
    /// How many commands.
    pub position: u64,
    /// How many transfers.
    pub transfers: u64,
    /// When the last of them was booked, in seconds since 1970 in UTC.
    pub at: WallTime,
    /// The hash of the book, in hexadecimal.
    pub state: String,
    /// False where it was only tried.
    pub restored: bool,
}

/// What is made before the ledger is in its place.
const RESTORING: &str = "restoring";

/// Makes the ledger of a node of a backup: the node is then the only voter of a new group, and others get the book from it
/// when they are given votes. Where `try_only`, everything but the last step is done. Blocks; see [`check`](super::check).
///
/// # Errors
/// See [`BackupError`]. The node is as it was; what was half made is deleted at the next try.
pub async fn restore(
    backup: &BackupFile,
    to: &Restore,
    env: &Env,
    try_only: bool,
    progress: impl FnMut(u64),
) -> Result<RestoreDone, BackupError> {
    judge(to)?;
    let making = to.folder.join(RESTORING);
    remove(&making)?;
    let made = make(backup, to, env, &making, progress).await;
    if let Ok(done) = &made
        && !try_only
    {
        put_in_place(&to.folder, &making)?;
        return Ok(RestoreDone { restored: true, ..done.clone() });
    }
    remove(&making)?;
    made
}

/// Whether this node may be given a ledger.
fn judge(to: &Restore) -> Result<(), BackupError> {
    let shown = to.folder.display();
    for kept in ["book", LOG] {
        if to.folder.join(kept).exists() {
            return Err(BackupError::Refused(format!(
                "this node keeps a book already, in {shown}: a backup is restored on the first node of a new cluster, before it \
                 is started"
            )));
        }
    }
    if !may_begin_file(&to.folder).exists() && !to.same_cluster {
        return Err(BackupError::Refused(
            "this node did not begin its cluster, and two voters that were restored from one backup would be two ledgers: \
             restore on the first node of a new cluster (covenant init), or, where all voters of this cluster lost theirs, on \
             one of them with --same-cluster"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn make(
    backup: &BackupFile,
    to: &Restore,
    env: &Env,
    making: &Path,
    progress: impl FnMut(u64),
) -> Result<RestoreDone, BackupError> {
    let failed = || BackupError::io(format!("the ledger cannot be made in {}", making.display()));
    std::fs::create_dir_all(making).map_err(failed())?;
    let redone = redo(backup, &making.join("scratch"), to.until, progress)?;
    let book = redone.state.book().map_err(failed())?;
    let (head, view) = (*book.head(), redone.state.view().map_err(failed())?);
    let disk = Folder::open(&making.join(LOG)).map_err(failed())?;
    let founded = found(Arc::new(disk), env, GROUP, to.me, head.at, view).await;
    founded.map_err(|error| BackupError::Refused(error.to_string()))?;
    let state = blake3::Hash::from_bytes(redone.state.state_hash()).to_hex().to_string();
    Ok(RestoreDone { position: head.position, transfers: head.transfers, at: head.at, state, restored: false })
}

/// One rename makes it count. After a crash before it there is nothing, after it there is all.
fn put_in_place(folder: &Path, making: &Path) -> Result<(), BackupError> {
    let failed = || BackupError::io(format!("the ledger cannot be put in place in {}", folder.display()));
    std::fs::rename(making.join(LOG), folder.join(LOG)).map_err(failed())?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed())?;
    let begun = std::fs::remove_file(may_begin_file(folder));
    // A node with a ledger begins none, also where this file stays.
    if let Err(error) =
        begun.or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    {
        tracing::warn!(%error, "the file that lets a ledger begin is still there; the node takes it away when it starts");
    }
    remove(making)
}

fn remove(making: &Path) -> Result<(), BackupError> {
    match std::fs::remove_dir_all(making) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::io(format!("{} cannot be deleted", making.display()))(error)),
    }
}
