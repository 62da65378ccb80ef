//! What a node lends to the actors of content.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use covenant_identity::NodeKey;
use covenant_types::{NodeName, WallTime};

use crate::{Class, ContentStore, StoreError, Trust};

/// Gives the certificate chain in force, DER, leaf first: it changes when the certificate is renewed.
type Chain = Box<dyn Fn() -> Vec<Vec<u8>> + Send + Sync>;

/// What a node lends to the actors of content. A resource.
pub struct ContentConfig {
    /// This node.
    pub me: NodeName,
    /// Where packs and manifests lie.
    pub dir: PathBuf,
    /// Classes to fetch, until an operator says otherwise.
    pub subscribe: Vec<Class>,
    /// Names to fetch whatever their class.
    pub pinned: Vec<String>,
    /// Signs what this node publishes.
    pub key: Arc<NodeKey>,
    /// Whose content to believe.
    pub trust: Trust,
    chain: Chain,
    /// The open store: opened once a process, incarnations of the actors come and go.
    store: Mutex<Option<Arc<ContentStore>>>,
}

impl ContentConfig {
    /// A node's content; `chain` is asked whenever something is published.
    pub fn new(
        me: NodeName,
        dir: PathBuf,
        key: Arc<NodeKey>,
        trust: Trust,
        chain: impl Fn() -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (subscribe, pinned, store) = (Vec::new(), Vec::new(), Mutex::new(None));
        Self { me, dir, subscribe, pinned, key, trust, chain: Box::new(chain), store }
    }

    /// The certificate chain in force.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        (self.chain)()
    }

    /// The store, opened at the first call. Blocks on the disk.
    ///
    /// # Errors
    /// The disk refused, or the store is damaged beyond use.
    pub fn store(&self, now: WallTime) -> Result<Arc<ContentStore>, StoreError> {
        let mut slot = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*slot {
            return Ok(store.clone());
        }
        let store = Arc::new(ContentStore::open(&self.dir, self.trust.clone(), now)?);
        *slot = Some(store.clone());
        Ok(store)
    }
}

impl fmt::Debug for ContentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentConfig").field("me", &self.me).field("dir", &self.dir).finish_non_exhaustive()
    }
}
