//! Where the book is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use covenant_types::NodeName;

use crate::{BookStore, LedgerError, Nations};

/// Where the book is. A resource of the node.
#[derive(Debug)]
pub struct LedgerConfig {
    /// The node that keeps the book.
    pub home: NodeName,
    /// This node.
    pub me: NodeName,
    /// The file of the book, if it is here.
    pub path: PathBuf,
    /// The table of nations that assessments and distributions follow from.
    nations: Arc<Nations>,
    /// The open book. A commit may outlive the incarnation that began it, and a file cannot be opened twice.
    store: Mutex<Option<Arc<BookStore>>>,
}

impl LedgerConfig {
    /// The book is kept by `home`, in the file `path` there; this node is `me`.
    pub fn new(home: NodeName, me: NodeName, path: PathBuf) -> Self {
        Self { home, me, path, nations: Arc::new(Nations::embedded().clone()), store: Mutex::new(None) }
    }

    /// With another table of nations than the one built in. Years that were assessed by another table stay as they are.
    #[must_use]
    pub fn with_nations(self, nations: Nations) -> Self {
        Self { nations: Arc::new(nations), ..self }
    }

    /// The table of nations that assessments and distributions follow from.
    pub fn nations(&self) -> &Nations {
        &self.nations
    }

    /// With a book that is open already.
    #[cfg(test)]
    pub(crate) fn holding(self, store: BookStore) -> Self {
        Self { store: Mutex::new(Some(Arc::new(store))), ..self }
    }

    /// Whether the book is here.
    pub fn is_home(&self) -> bool {
        self.home == self.me
    }

    /// The open book. Blocks on the disk.
    pub(crate) fn open(&self) -> Result<Arc<BookStore>, LedgerError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = store.as_ref() {
            return Ok(Arc::clone(store));
        }
        let opened = Arc::new(BookStore::open(&self.path)?);
        *store = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Lets go of the open book after the disk refused: only opening it again tells what is there.
    pub(crate) fn close(&self) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
