//! Restoring the ledger of a node that does not run.

use std::path::Path;

use covenant_consensus::Sender;
use covenant_env::Env;
use covenant_identity::Subject;
use covenant_ledger::{BackupError, BackupFile, Restore, RestoreDone, Until, restore_backup};

use crate::config::{ConfigError, NodeConfig};
use crate::files::{FilesError, NodeFiles};

/// Makes the ledger of the node with the configuration `config` of a backup; see [`restore_backup`].
///
/// # Errors
/// The node's files cannot be read, or what [`restore_backup`] says.
pub async fn restore(
    config: &Path,
    backup: &BackupFile,
    (until, same_cluster, try_only): (Until, bool, bool),
    env: &Env,
    progress: impl FnMut(u64),
) -> Result<RestoreDone, RestoreError> {
    let config = NodeConfig::load(config)?;
    let files = NodeFiles::new(&config.node.data);
    let (_, identity) = files.credentials()?;
    let Subject::Node { id, grant } = identity.subject else {
        return Err(BackupError::Refused("the certificate of the node is a person's".to_owned()).into());
    };
    if !(Sender { node: id, role: grant.role }).may_vote() {
        let what = format!("{} is a {}, which keeps no book: restore on a hub or a voter", grant.name, grant.role);
        return Err(BackupError::Refused(what).into());
    }
    let to = Restore { folder: files.ledger(), me: id, until, same_cluster };
    Ok(restore_backup(backup, &to, env, try_only, progress).await?)
}

/// Why the ledger of a node was not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node's identity cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The backup cannot be restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
}
