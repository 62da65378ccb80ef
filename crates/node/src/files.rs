//! Where a node keeps what it is: key, certificates, tokens. Secrets are 0600 and never overwritten in place.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use covenant_identity::{
    DENY_LIST_BYTES_MAX, DenyList, IssuingAuthority, NodeKey, PeerIdentity, TokenBook, certificates_from_pem,
    certificates_to_pem,
};
use covenant_store::write_atomic;
use covenant_transport::NodeCredentials;
use zeroize::Zeroizing;

/// The longest key, certificate or authority file that is read, in bytes.
const IDENTITY_BYTES_MAX: u64 = 64 * 1024;
/// The longest token book that is read, in bytes.
const TOKENS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The files of one node, by their names.
#[derive(Clone, Debug)]
pub(crate) struct NodeFiles {
    data: PathBuf,
}

/// Why a node's own files cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file says something it should not.
    #[error("{}: {what}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl FilesError {
    pub(crate) fn bad(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::Bad { path: path.to_owned(), what: what.to_string() }
    }
}

impl NodeFiles {
    /// The files below the data directory `data`.
    pub(crate) fn new(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.data.join("identity/node.key")
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.data.join("identity/chain.pem")
    }

    fn issuing(&self) -> PathBuf {
        self.data.join("identity/issuing.pem")
    }

    fn tokens(&self) -> PathBuf {
        self.data.join("identity/tokens.json")
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.data.join("root/root.pem")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.data.join("node.toml")
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.data.join("audit.jsonl")
    }

    /// Makes the folders, for their owner alone.
    pub(crate) fn make_folders(&self, with_root: bool) -> Result<(), FilesError> {
        let mut folders = vec![self.data.clone(), self.data.join("identity")];
        if with_root {
            folders.push(self.data.join("root"));
        }
        for folder in folders {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|source| FilesError::Io { path: folder, source })?;
        }
        Ok(())
    }

    /// Writes the node's key.
    pub(crate) fn write_key(&self, key: &NodeKey) -> Result<(), FilesError> {
        self.write(&self.key(), key.to_pem().as_bytes(), 0o600)
    }

    /// Writes the node's certificate and those that vouch for it, the root last.
    pub(crate) fn write_chain(&self, chain: &[Vec<u8>]) -> Result<(), FilesError> {
        self.write(&self.chain(), certificates_to_pem(chain).as_bytes(), 0o644)
    }

    /// Writes the issuing authority.
    pub(crate) fn write_issuing(&self, issuing: &IssuingAuthority) -> Result<(), FilesError> {
        self.write(&self.issuing(), issuing.to_pem().as_bytes(), 0o600)
    }

    /// Writes the root's key, which is to be taken offline.
    pub(crate) fn write_root(&self, pem: &str) -> Result<(), FilesError> {
        self.write(&self.root_key(), pem.as_bytes(), 0o600)
    }

    /// Writes the tokens and waits until they are on disk.
    pub(crate) fn write_tokens(&self, book: &TokenBook) -> Result<(), FilesError> {
        let text = serde_json::to_vec(book).map_err(|error| FilesError::bad(&self.tokens(), error))?;
        self.write(&self.tokens(), &text, 0o600)
    }

    fn denied(&self) -> PathBuf {
        self.data.join("identity/denied")
    }

    /// Writes who is denied and waits until that is on disk.
    pub(crate) fn write_denied(&self, list: &DenyList) -> Result<(), FilesError> {
        self.write(&self.denied(), &list.to_bytes(), 0o600)
    }

    /// Who is denied. Nobody where there is no file.
    pub(crate) fn read_denied(&self) -> Result<DenyList, FilesError> {
        let path = self.denied();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DenyList::new()),
            Err(source) => return Err(FilesError::Io { path, source }),
        };
        let mut bytes = Vec::new();
        let read = file.take(DENY_LIST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| FilesError::Io { path: path.clone(), source })?;
        DenyList::from_bytes(&bytes).map_err(|error| {
            let what =
                format!("{error}: restore it, or take it away and have the others tell this node again who is denied");
            FilesError::bad(&path, what)
        })
    }

    /// Writes any file whole or not at all.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), FilesError> {
        write_atomic(path, bytes, mode).map_err(|source| FilesError::Io { path: path.to_owned(), source })
    }

    /// Key, chain and root as the transport wants them, and what the certificate says.
    pub(crate) fn credentials(&self) -> Result<(NodeCredentials, PeerIdentity), FilesError> {
        let pem = read_secret(&self.key(), IDENTITY_BYTES_MAX)?;
        let key = NodeKey::from_pem(&pem).map_err(|error| FilesError::bad(&self.key(), error))?;
        let path = self.chain();
        let text = read_text(&path, IDENTITY_BYTES_MAX)?;
        let chain = certificates_from_pem(&text).map_err(|error| FilesError::bad(&path, error))?;
        let own = chain.first().ok_or_else(|| FilesError::bad(&path, "it holds no certificate"))?;
        let root = chain.last().cloned().into_iter().collect();
        let identity = PeerIdentity::from_certificate(own).map_err(|error| FilesError::bad(&path, error))?;
        let credentials =
            NodeCredentials::new(Arc::new(key), chain, root).map_err(|error| FilesError::bad(&path, error))?;
        Ok((credentials, identity))
    }

    /// The issuing authority, on the nodes that have one.
    pub(crate) fn issuing_authority(&self) -> Result<Option<IssuingAuthority>, FilesError> {
        let path = self.issuing();
        if !path.exists() {
            return Ok(None);
        }
        let pem = read_secret(&path, IDENTITY_BYTES_MAX)?;
        IssuingAuthority::from_pem(&pem).map(Some).map_err(|error| FilesError::bad(&path, error))
    }

    /// The tokens issued so far.
    pub(crate) fn read_tokens(&self) -> Result<TokenBook, FilesError> {
        let path = self.tokens();
        if !path.exists() {
            return Ok(TokenBook::new());
        }
        let text = read_secret(&path, TOKENS_BYTES_MAX)?;
        serde_json::from_str(&text).map_err(|error| FilesError::bad(&path, format!("it is not a token book: {error}")))
    }
}

/// Reads a file that nobody but its owner may read.
///
/// # Errors
/// It cannot be read, others can read it too, it is too long, or it is not UTF-8.
pub fn read_secret(path: &Path, bytes_max: u64) -> Result<Zeroizing<String>, FilesError> {
    let metadata = std::fs::metadata(path).map_err(|source| FilesError::Io { path: path.to_owned(), source })?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let what = "others can read this secret: run `chmod 600` on it, and make a new one if they did";
        return Err(FilesError::bad(path, what));
    }
    read_text(path, bytes_max).map(Zeroizing::new)
}

fn read_text(path: &Path, bytes_max: u64) -> Result<String, FilesError> {
    let io = |source| FilesError::Io { path: path.to_owned(), source };
    let mut text = String::new();
    let read = File::open(path).map_err(io)?.take(bytes_max + 1).read_to_string(&mut text).map_err(io)?;
    if read as u64 > bytes_max {
        return Err(FilesError::bad(path, format!("it is longer than {bytes_max} bytes")));
    }
    Ok(text)
}

/// The user this process runs as.
pub fn own_uid() -> u32 {
    // Reading one's own entry in /proc fails only where /proc is not mounted; then nobody but root is let in.
    std::fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid())
}
