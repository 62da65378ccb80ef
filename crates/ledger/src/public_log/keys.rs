//! The two keys of a voter: one signs its log, the other cosigns those of the others.

use std::io;
use std::path::Path;

use covenant_identity::NodeKey;
use covenant_runtime::Schema;
use covenant_tlog::{KeyKind, KeyName, VerifierKey};
use covenant_types::NodeName;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const LOG_KEY: &str = "log.key";
const WITNESS_KEY: &str = "witness.key";
const MODE: u32 = 0o600;
/// No key file is longer.
const BYTES_MAX: u64 = 4096;

/// What the log of a node is called.
pub(crate) fn log_name(cluster: &str, node: &NodeName) -> io::Result<KeyName> {
    format!("{cluster}/{node}/ledger").parse().map_err(io::Error::other)
}

/// What a node is called as a witness.
pub(crate) fn witness_name(cluster: &str, node: &NodeName) -> io::Result<KeyName> {
    format!("{cluster}/{node}/witness").parse().map_err(io::Error::other)
}

/// The public halves of a voter's keys, as texts of [`VerifierKey`]s.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct LogKeys {
    /// Of its log.
    pub log: String,
    /// As a witness.
    pub witness: String,
}

/// Both keys, secret.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) log: NodeKey,
    pub(crate) log_name: KeyName,
    pub(crate) witness: NodeKey,
    pub(crate) witness_name: KeyName,
}

impl Keys {
    /// Reads the keys in `folder`; those that are not there are made.
    pub(crate) fn open(folder: &Path, cluster: &str, node: &NodeName) -> io::Result<Self> {
        Ok(Self {
            log: read_or_make(&folder.join(LOG_KEY))?,
            log_name: log_name(cluster, node)?,
            witness: read_or_make(&folder.join(WITNESS_KEY))?,
            witness_name: witness_name(cluster, node)?,
        })
    }

    /// The key that the log is verified with.
    pub(crate) fn verifier(&self) -> VerifierKey {
        VerifierKey::new(self.log_name.clone(), KeyKind::Note, self.log.public_key())
    }

    pub(crate) fn shown(&self) -> LogKeys {
        let witness = VerifierKey::new(self.witness_name.clone(), KeyKind::Cosignature, self.witness.public_key());
        LogKeys { log: self.verifier().to_string(), witness: witness.to_string() }
    }
}

fn read_or_make(path: &Path) -> io::Result<NodeKey> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    match std::fs::metadata(path) {
        Ok(found) if found.len() > BYTES_MAX => return Err(wrong("it is no key")),
        Ok(_) => {
            let pem = Zeroizing::new(std::fs::read_to_string(path)?);
            return NodeKey::from_pem(&pem).map_err(|error| wrong(&error.to_string()));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let key = NodeKey::generate();
    covenant_store::write_atomic(path, key.to_pem().as_bytes(), MODE)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_are_their_owners_alone() {
        let (dir, node) = (tempfile::tempdir().unwrap(), NodeName::new("hub-africa").unwrap());
        let first = Keys::open(dir.path(), "covenant.example", &node).unwrap();
        let again = Keys::open(dir.path(), "covenant.example", &node).unwrap();
        assert_eq!(first.shown(), again.shown());
        assert!(first.shown().log.starts_with("covenant.example/hub-africa/ledger+"));
        assert_ne!(first.log.public_key(), first.witness.public_key());
        for file in [LOG_KEY, WITNESS_KEY] {
            let path = dir.path().join(file);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::write(&path, "no key").unwrap();
            assert!(Keys::open(dir.path(), "covenant.example", &node).is_err(), "{file} is not replaced");
            std::fs::remove_file(&path).unwrap();
        }
    }
}
