//! `/sync/scheduler`: where an actor hangs in its node's tree.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::NodeName;

/// The ids from the root of a node's tree down to one child, written `/sync/scheduler`. The root itself is `/`.
///
/// Ids are `[a-z0-9_-]+`; a path has at most [`ActorPath::DEPTH_MAX`] of them and 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActorPath(Arc<str>);

impl ActorPath {
    /// The most ids a path may have.
    pub const DEPTH_MAX: usize = 32;

    /// The root supervisor of a node.
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// The path of the child `id` of this supervisor.
    ///
    /// # Errors
    /// `id` is not `[a-z0-9_-]+`, or the path would become too long.
    pub fn child(&self, id: &str) -> Result<Self, ActorPathError> {
        let base = if self.is_root() { "" } else { &self.0 };
        // Only the id is new: what is above it was looked at when this path was made.
        if !id_fits(id) || base.len() + id.len() > BYTES_MAX - 1 || self.ids().count() >= Self::DEPTH_MAX {
            return format!("{base}/{id}").parse();
        }
        let mut text = String::with_capacity(base.len() + 1 + id.len());
        text.push_str(base);
        text.push('/');
        text.push_str(id);
        Ok(Self(Arc::from(text)))
    }

    /// The supervisor above; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        match self.0.rfind('/') {
            Some(0) | None => Some(Self::root()),
            Some(at) => Some(Self(Arc::from(&self.0[..at]))),
        }
    }

    /// The last id; empty for the root.
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The ids from the root down.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|id| !id.is_empty())
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The path as text, with its leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The longest path, its leading `/` included.
const BYTES_MAX: usize = 512;

fn id_fits(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

impl fmt::Display for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ActorPath {
    type Err = ActorPathError;

    /// Accepts a path with or without its leading `/`.
    fn from_str(text: &str) -> Result<Self, ActorPathError> {
        let bad = |why| ActorPathError { text: text.chars().take(128).collect(), why };
        let body = text.strip_prefix('/').unwrap_or(text);
        if body.is_empty() {
            return if text == "/" { Ok(Self::root()) } else { Err(bad("it is empty")) };
        }
        if body.len() > BYTES_MAX - 1 {
            return Err(bad("it is longer than 512 bytes"));
        }
        if body.split('/').count() > Self::DEPTH_MAX {
            return Err(bad("it has more than 32 ids"));
        }
        if !body.split('/').all(id_fits) {
            return Err(bad("ids are one or more of a-z, 0-9, '_' and '-'"));
        }
        Ok(Self(Arc::from(format!("/{body}"))))
    }
}

impl TryFrom<String> for ActorPath {
    type Error = ActorPathError;
    fn try_from(text: String) -> Result<Self, ActorPathError> {
        text.parse()
    }
}

impl From<ActorPath> for String {
    fn from(path: ActorPath) -> Self {
        path.0.to_string()
    }
}

/// A text that is not an actor's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an actor path: {why}")]
pub struct ActorPathError {
    text: String,
    why: &'static str,
}

/// `hub-africa:/sync/scheduler`: an actor on a named node. Without the node part it means "this node".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePath {
    /// The node; `None` where the text named none.
    pub node: Option<NodeName>,
    /// The path there.
    pub path: ActorPath,
}

impl FromStr for RemotePath {
    type Err = ActorPathError;

    fn from_str(text: &str) -> Result<Self, ActorPathError> {
        let Some((node, path)) = text.split_once(':') else {
            return Ok(Self { node: None, path: text.parse()? });
        };
        let bad =
            ActorPathError { text: text.chars().take(128).collect(), why: "the node before ':' is not a node name" };
        Ok(Self { node: Some(NodeName::new(node).map_err(|_| bad)?), path: path.parse()? })
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{node}:{}", self.path),
            None => write!(f, "{}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leading_slash_may_be_left_out() {
        assert_eq!("sync/scheduler".parse::<ActorPath>().unwrap().as_str(), "/sync/scheduler");
    }

    #[test]
    fn a_path_knows_its_parent_and_child() {
        let path: ActorPath = "/sync/scheduler".parse().unwrap();
        assert_eq!(path.parent().unwrap().as_str(), "/sync");
        assert_eq!(path.parent().unwrap().parent(), Some(ActorPath::root()));
        assert_eq!(ActorPath::root().child("sync").unwrap().as_str(), "/sync");
        assert_eq!(path.id(), "scheduler");
        assert_eq!(ActorPath::root().parent(), None);
    }

    #[test]
    fn hostile_paths_are_refused() {
        for bad in ["", "//", "/a//b", "/a/", "/A", "/a b", "/../x", &format!("/{}", "x".repeat(600)), &"/a".repeat(40)]
        {
            assert!(bad.parse::<ActorPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_child_is_refused_what_a_path_is() {
        let deep: ActorPath = "/a".repeat(31).parse().unwrap();
        let long: ActorPath = format!("/{}", "x".repeat(300)).parse().unwrap();
        for (above, id) in [
            (&deep, "b"),
            (&deep.child("b").unwrap(), "c"),
            (&long, &*"y".repeat(210)),
            (&long, &*"y".repeat(211)),
            (&ActorPath::root(), &*"y".repeat(512)),
            (&long, ""),
            (&long, "A"),
            (&long, "a/b"),
        ] {
            let base = if above.is_root() { "" } else { above.as_str() };
            assert_eq!(above.child(id), format!("{base}/{id}").parse(), "{above} {id}");
        }
    }

    #[test]
    fn a_remote_path_names_its_node() {
        let path: RemotePath = "hub-africa:/sync/scheduler".parse().unwrap();
        assert_eq!(path.node.as_ref().map(NodeName::as_str), Some("hub-africa"));
        assert_eq!(path.to_string(), "hub-africa:/sync/scheduler");
        assert!("Hub:/x".parse::<RemotePath>().is_err());
    }
}
