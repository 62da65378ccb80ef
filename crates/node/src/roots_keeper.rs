//! Writes down which roots the cluster has, whenever that changes: the next boot trusts them.

use std::sync::Arc;

use covenant_env::Env;
use covenant_transport::NodeCredentials;

use crate::files::NodeFiles;

/// Runs for as long as the node lives.
pub(crate) async fn run(credentials: Arc<NodeCredentials>, files: NodeFiles, env: Env) {
    let mut changes = credentials.changes();
    // What came before this began is written as well. Of two rotations that were prepared at once both have one version.
    let mut written = None;
    loop {
        let trusted = credentials.trusted();
        let is = Some((trusted.version(), trusted.digest()));
        if trusted.version() > 0 && is != written {
            let (files, bytes) = (files.clone(), trusted.to_bytes());
            match env.blocking(move || files.write_roots(&bytes)).await {
                Ok(Ok(())) => written = is,
                // Tried again at the next change; until then the others know, and tell this node at its next boot.
                Ok(Err(error)) => tracing::error!(%error, "the cluster's roots could not be written down"),
                Err(error) => tracing::error!(%error, "the cluster's roots could not be written down"),
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
