//! Where a node keeps what it is: key, certificates, tokens. Secrets are 0600 and never overwritten in place.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use covenant_identity::{
    DENY_LIST_BYTES_MAX, DenyList, IssuingAuthority, NodeKey, PeerIdentity, TokenBook, TrustedRoots,
    certificates_from_pem, certificates_to_pem,
};
use covenant_store::write_atomic;
use covenant_transport::NodeCredentials;
use covenant_types::WallTime;
use zeroize::Zeroizing;

use crate::config::IssuerSection;

/// The longest key, certificate or authority file that is read, in bytes.
const IDENTITY_BYTES_MAX: u64 = 64 * 1024;
/// The longest file with a date, in bytes.
const TIME_BYTES_MAX: u64 = 32;
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

    /// The key of an issuing authority that was asked for and not yet certified.
    fn issuing_next(&self) -> PathBuf {
        self.data.join("identity/issuing-next.key")
    }

    /// Statements about the cluster's roots.
    fn roots(&self) -> PathBuf {
        self.data.join("identity/roots")
    }

    /// Hubs that renew certificates, as last seen.
    fn issuers(&self) -> PathBuf {
        self.data.join("identity/issuers.json")
    }

    /// The date as last written down.
    fn time(&self) -> PathBuf {
        self.data.join("time")
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.data.join("root/root.pem")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.data.join("node.toml")
    }

    /// The folder of the ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.data.join("ledger")
    }

    /// The folder of the table of placement.
    pub(crate) fn placement(&self) -> PathBuf {
        self.data.join("placement")
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

    /// Makes the key of the next issuing authority, or gives the one that waits for its certificate.
    pub(crate) fn next_issuing_key(&self) -> Result<NodeKey, FilesError> {
        let path = self.issuing_next();
        if let Some(key) = self.pending_issuing_key()? {
            return Ok(key);
        }
        let key = NodeKey::generate();
        self.write(&path, key.to_pem().as_bytes(), 0o600)?;
        Ok(key)
    }

    /// The key that waits for its certificate.
    pub(crate) fn pending_issuing_key(&self) -> Result<Option<NodeKey>, FilesError> {
        let path = self.issuing_next();
        if !path.exists() {
            return Ok(None);
        }
        let pem = read_secret(&path, IDENTITY_BYTES_MAX)?;
        NodeKey::from_pem(&pem).map(Some).map_err(|error| FilesError::bad(&path, error))
    }

    /// Forgets the key that waited: it has its certificate.
    pub(crate) fn forget_issuing_key(&self) -> Result<(), FilesError> {
        let path = self.issuing_next();
        std::fs::remove_file(&path).map_err(|source| FilesError::Io { path, source })
    }

    /// Writes what is known of the cluster's roots.
    pub(crate) fn write_roots(&self, statements: &[u8]) -> Result<(), FilesError> {
        self.write(&self.roots(), statements, 0o600)
    }

    /// Writes where issuing hubs are.
    pub(crate) fn write_issuers(&self, issuers: &[IssuerSection]) -> Result<(), FilesError> {
        let text = serde_json::to_vec(issuers).map_err(|error| FilesError::bad(&self.issuers(), error))?;
        self.write(&self.issuers(), &text, 0o600)
    }

    /// Where issuing hubs were; nowhere if that is not known. An address is a hint: whoever answers proves who it is.
    pub(crate) fn read_issuers(&self) -> Vec<IssuerSection> {
        let read = read_text(&self.issuers(), IDENTITY_BYTES_MAX).ok();
        read.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Writes the date down.
    pub(crate) fn write_time(&self, at: WallTime) -> Result<(), FilesError> {
        self.write(&self.time(), format!("{}\n", at.0).as_bytes(), 0o600)
    }

    /// The date as last written down; 0 where there is none.
    pub(crate) fn read_time(&self) -> Result<WallTime, FilesError> {
        let path = self.time();
        if !path.exists() {
            return Ok(WallTime(0));
        }
        let text = read_text(&path, TIME_BYTES_MAX)?;
        text.trim().parse().map(WallTime).map_err(|_| FilesError::bad(&path, "it is not a number of seconds"))
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
        let identity = PeerIdentity::from_certificate(own).map_err(|error| FilesError::bad(&path, error))?;
        let trusted = self.trusted(&identity.trust_domain, &chain)?;
        let credentials = NodeCredentials::with_trust(Arc::new(key), chain, trusted)
            .map_err(|error| FilesError::bad(&path, error))?;
        Ok((credentials, identity))
    }

    /// The roots this node trusts: those it was told of last, or the one it joined by.
    fn trusted(&self, cluster: &str, chain: &[Vec<u8>]) -> Result<TrustedRoots, FilesError> {
        let path = self.roots();
        if !path.exists() {
            let root = chain.last().cloned().unwrap_or_default();
            return TrustedRoots::of(cluster, root).map_err(|error| FilesError::bad(&self.chain(), error));
        }
        let bytes = read_bytes(&path, IDENTITY_BYTES_MAX)?;
        TrustedRoots::from_own_file(cluster, &bytes).map_err(|error| FilesError::bad(&path, error))
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
    // Room for all of it at once: a buffer that grows leaves copies of a secret behind.
    let length = usize::try_from(metadata.len().min(bytes_max)).unwrap_or(0);
    let mut text = Zeroizing::new(String::with_capacity(length.saturating_add(1)));
    let io = |source| FilesError::Io { path: path.to_owned(), source };
    let read = File::open(path).map_err(io)?.take(bytes_max + 1).read_to_string(&mut text).map_err(io)?;
    within(path, read, bytes_max)?;
    Ok(text)
}

fn read_text(path: &Path, bytes_max: u64) -> Result<String, FilesError> {
    String::from_utf8(read_bytes(path, bytes_max)?).map_err(|_| FilesError::bad(path, "it is not text"))
}

fn read_bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FilesError> {
    let io = |source| FilesError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let read = File::open(path).map_err(io)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(io)?;
    within(path, read, bytes_max)?;
    Ok(bytes)
}

fn within(path: &Path, read: usize, bytes_max: u64) -> Result<(), FilesError> {
    if read as u64 > bytes_max {
        return Err(FilesError::bad(path, format!("it is longer than {bytes_max} bytes")));
    }
    Ok(())
}

/// The user this process runs as.
pub fn own_uid() -> u32 {
    // Reading one's own entry in /proc fails only where /proc is not mounted; then nobody but root is let in.
    std::fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid())
}
