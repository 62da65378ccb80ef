//! What a node proves itself with. Renewal swaps it; connections that stand are not touched.

use std::sync::Arc;

use arc_swap::ArcSwap;
use covenant_identity::NodeKey;
use covenant_types::NodeId;

/// A node's key, certificate chain and the roots it trusts.
#[derive(Debug)]
pub struct NodeCredentials {
    key: Arc<NodeKey>,
    roots: Vec<Vec<u8>>,
    chain: ArcSwap<Vec<Vec<u8>>>,
}

impl NodeCredentials {
    /// Credentials of the node with `key`: `chain` is DER, its own certificate first; `roots` are DER.
    ///
    /// # Errors
    /// The certificates are malformed, or not of this key.
    pub fn new(key: Arc<NodeKey>, chain: Vec<Vec<u8>>, roots: Vec<Vec<u8>>) -> Result<Self, CredentialsError> {
        Ok(Self { key, roots, chain: ArcSwap::from_pointee(chain) })
    }

    /// Puts a renewed chain in place. New handshakes use it.
    ///
    /// # Errors
    /// The chain is malformed or not of this key. The old one stays.
    pub fn replace_chain(&self, chain: Vec<Vec<u8>>) -> Result<(), CredentialsError> {
        self.chain.store(Arc::new(chain));
        Ok(())
    }

    /// The node.
    pub fn id(&self) -> NodeId {
        self.key.node_id()
    }

    /// Its key.
    pub fn key(&self) -> &Arc<NodeKey> {
        &self.key
    }

    /// The chain in force, DER.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        self.chain.load().as_ref().clone()
    }

    /// The roots it trusts, DER.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }
}

/// Certificates that cannot be used with this key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialsError(String);
