//! What a runner saw at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use covenant_types::{ActorPath, ActorPathError, Incarnation, NodeName, RemotePath};
use serde::Serialize;

/// What a runner saw at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The actors of every node that answered.
    pub actors: BTreeMap<(NodeName, ActorPath), ActorSeen>,
    /// For every node that answered, how many members it calls reachable, itself among them.
    pub reachable: BTreeMap<NodeName, u32>,
}

/// One actor as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorSeen {
    /// Whether its supervisor says that it runs.
    pub running: bool,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Whether it answered when the runner asked; `None` where the runner did not ask.
    pub answers: Option<bool>,
}

impl Observation {
    /// How many actors that match `pattern` run. `None` where its node did not answer.
    pub(crate) fn running(&self, pattern: &ActorPattern) -> Option<u32> {
        if !self.actors.keys().any(|(node, _)| *node == pattern.node) {
            return None;
        }
        let matching = self.actors.iter().filter(|((node, path), seen)| pattern.matches(node, path) && seen.running);
        u32::try_from(matching.count()).ok()
    }

    /// The actor that `path` names.
    pub(crate) fn actor(&self, node: &NodeName, path: &ActorPath) -> Option<&ActorSeen> {
        self.actors.get(&(node.clone(), path.clone()))
    }
}

/// Actors of one node: `hub-africa:/sync/scheduler`, or with `*` for one last id `hub-africa:/sync/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorPattern {
    node: NodeName,
    above: ActorPath,
    /// `None` stands for any id below `above`.
    id: Option<String>,
}

impl ActorPattern {
    /// Whether the actor `path` on `node` is meant.
    pub fn matches(&self, node: &NodeName, path: &ActorPath) -> bool {
        *node == self.node
            && path.parent().as_ref() == Some(&self.above)
            && self.id.as_ref().is_none_or(|id| id == path.id())
    }
}

impl FromStr for ActorPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, any) = match text.strip_suffix("/*") {
            Some(above) => (if above.ends_with(':') { format!("{above}/") } else { above.to_owned() }, true),
            None => (text.to_owned(), false),
        };
        let remote: RemotePath = text.parse().map_err(|error: ActorPathError| error.to_string())?;
        let node = remote.node.ok_or("name the node too, as in 'hub-africa:/sync/*'")?;
        if any {
            return Ok(Self { node, above: remote.path, id: None });
        }
        let above = remote.path.parent().ok_or("'/' is the root supervisor: name an actor below it")?;
        Ok(Self { node, above, id: Some(remote.path.id().to_owned()) })
    }
}

impl fmt::Display for ActorPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = if self.above.is_root() { "" } else { self.above.as_str() };
        write!(f, "{}:{above}/{}", self.node, self.id.as_deref().unwrap_or("*"))
    }
}

impl Serialize for ActorPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_id() {
        let hub = NodeName::new("hub-africa").unwrap();
        let pattern: ActorPattern = "hub-africa:/sync/*".parse().unwrap();
        let matches = |path: &str| pattern.matches(&hub, &path.parse().unwrap());
        assert!(matches("/sync/scheduler"));
        assert!(!matches("/sync") && !matches("/sync/a/b") && !matches("/content/store"));
        assert!(!pattern.matches(&NodeName::new("hub-asia").unwrap(), &"/sync/scheduler".parse().unwrap()));
    }

    #[test]
    fn a_pattern_is_printed_as_it_is_written() {
        for text in ["hub-africa:/sync/*", "hub-africa:/*", "hub-africa:/sync/scheduler", "tower-1:/watch"] {
            assert_eq!(text.parse::<ActorPattern>().unwrap().to_string(), text);
        }
        for bad in ["/sync/*", "hub-africa:/", "hub-africa:/s*", "Hub:/sync/*", "*:/sync", ""] {
            assert!(bad.parse::<ActorPattern>().is_err(), "{bad}");
        }
    }
}
