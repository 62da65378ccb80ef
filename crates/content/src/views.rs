//! What operators see of content.

use covenant_runtime::Schema;
use covenant_types::NodeName;
use serde::{Deserialize, Serialize};

use crate::Class;

/// What one node holds and wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentView {
    /// The node.
    pub node: NodeName,
    /// Classes it fetches.
    pub subscribed: Vec<Class>,
    /// Names it keeps whatever their class.
    pub pinned: Vec<String>,
    /// The newest version of each dataset it knows.
    pub datasets: Vec<DatasetView>,
    /// Chunks that were dropped because their bytes were wrong, since the node started.
    pub bad_chunks: u64,
}

/// One dataset on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Its id, in hexadecimal.
    pub id: String,
    /// What it is for.
    pub class: Class,
    /// Who published it.
    pub publisher: NodeName,
    /// Chunks that are here.
    pub chunks_have: u64,
    /// Chunks it has.
    pub chunks_total: u64,
    /// Bytes of its files.
    pub bytes_total: u64,
    /// Whether all of it is here.
    pub complete: bool,
    /// Seconds since all of it was here; `None` while it is not.
    pub completed_s_ago: Option<u64>,
}

/// A dataset that was published.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct Published {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Its id, in hexadecimal.
    pub id: String,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Its chunks, each counted once.
    pub chunks: u64,
}
