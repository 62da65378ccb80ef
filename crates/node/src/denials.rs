//! `identity/denied`: who is denied, on disk, so that a node that starts again lets nobody in whom it had thrown out.

use std::sync::{Arc, Mutex, PoisonError};

use covenant_env::Env;
use covenant_transport::NodeCredentials;

use crate::files::{FilesError, NodeFiles};

/// How long to wait before a write that failed is tried again.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// The deny-list of this node and the file it is kept in.
pub(crate) struct DenialFile {
    credentials: Arc<NodeCredentials>,
    files: NodeFiles,
    /// Held while the file is written, so that a shorter list never comes after a longer one.
    writing: Mutex<()>,
}

impl DenialFile {
    /// Takes in what the file says. From then on it counts.
    ///
    /// # Errors
    /// The file is damaged: a node that went on without it would let in whom it should not.
    pub(crate) fn open(credentials: Arc<NodeCredentials>, files: NodeFiles) -> Result<Self, FilesError> {
        credentials.denials().restore(&files.read_denied()?);
        Ok(Self { credentials, files, writing: Mutex::new(()) })
    }

    /// Writes the list as it is now. Blocks on the disk.
    pub(crate) fn write(&self) -> Result<(), FilesError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.files.write_denied(&self.credentials.denials().list())
    }

    /// Writes the list whenever it has grown, for as long as the node lives.
    pub(crate) async fn run(self: Arc<Self>, env: Env) {
        let mut changes = self.credentials.denials().changes();
        while changes.changed().await.is_ok() {
            loop {
                let file = Arc::clone(&self);
                match env.blocking(move || file.write()).await {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => tracing::error!(%error, "who is denied could not be written down; trying again"),
                    Err(error) => tracing::error!(%error, "who is denied could not be written down; trying again"),
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use covenant_identity::{Denial, Denied, IssuingAuthority, NodeGrant, NodeKey, RootAuthority, Taken, make_csr};
    use covenant_types::{NodeId, NodeName, Region, Role, WallTime};

    use super::*;

    const NOW: WallTime = WallTime(1_790_000_000);

    fn credentials(issuing: &IssuingAuthority) -> Arc<NodeCredentials> {
        let key = NodeKey::generate();
        let grant = NodeGrant { name: NodeName::new("hub").unwrap(), role: Role::Hub, region: Region::Asia };
        let chain = issuing.chain_for(issuing.sign_node(&make_csr(&key), &grant, NOW).unwrap());
        Arc::new(NodeCredentials::new(Arc::new(key), chain, vec![issuing.root().to_vec()]).unwrap())
    }

    #[test]
    fn whoever_was_denied_is_denied_after_a_restart_and_a_damaged_file_stops_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let files = NodeFiles::new(dir.path());
        files.make_folders(false).unwrap();
        let issuing = RootAuthority::create("demo", NOW).unwrap().issue_issuing(NOW).unwrap();
        let (before, after) = (credentials(&issuing), credentials(&issuing));
        let file = DenialFile::open(before.clone(), files.clone()).unwrap();
        assert!(before.denials().list().is_empty(), "no file denies nobody");
        let who = Denied::Key { id: NodeId([3; 16]), grant: None };
        let denial = Denial { who, at: NOW, reason: "lost".to_owned(), by: "ada".to_owned() };
        assert_eq!(before.deny(issuing.deny(denial).unwrap()), Ok(Taken::New));
        file.write().unwrap();
        let mode = std::fs::metadata(dir.path().join("identity/denied")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _file = DenialFile::open(after.clone(), files.clone()).unwrap();
        assert_eq!(after.denials().list(), before.denials().list());
        std::fs::write(dir.path().join("identity/denied"), b"gone").unwrap();
        let error = DenialFile::open(after, files).err().unwrap().to_string();
        assert!(error.contains("identity/denied") && error.contains("restore"), "{error}");
    }
}
