//! What an act under a lease carries.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ActorPath;

/// A lease of `key` under its token. Of two that act for one key the one with the higher token is the later holder, and what
/// the other still does is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// What is acted for.
    pub key: ActorPath,
    /// Higher in every later grant of the key.
    pub token: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.key, self.token)
    }
}
