//! Where every child of a tree stands at the end of a simulation.

use covenant_types::{ActorPath, ExitReason};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::line::{Reason, written};
use crate::ChildState;

/// Where every child stands. Those below a supervisor that does not run are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeState {
    /// Why the root has ended, if it has.
    pub ended: Option<ExitReason>,
    /// The children of every supervisor that runs, each followed by its own.
    pub children: Vec<(ActorPath, ChildStanding)>,
}

/// Where one child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildStanding {
    /// Where.
    pub state: ChildState,
    /// How often its path was started, also under supervisors that are gone.
    pub incarnation: u64,
}

impl Serialize for TreeState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("final", &Paths(self))?;
        map.end()
    }
}

struct Paths<'a>(&'a TreeState);

impl Serialize for Paths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.children.len() + 1))?;
        map.serialize_entry("/", &Root(self.0.ended.as_ref()))?;
        for (path, standing) in &self.0.children {
            map.serialize_entry(written(path), standing)?;
        }
        map.end()
    }
}

struct Root<'a>(Option<&'a ExitReason>);

impl Serialize for Root<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("state", if self.0.is_some() { "exited" } else { "running" })?;
        if let Some(reason) = self.0 {
            map.serialize_entry("reason", &Reason(reason))?;
        }
        map.end()
    }
}

impl Serialize for ChildStanding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = match self.state {
            ChildState::Undefined => "undefined",
            ChildState::Starting => "starting",
            ChildState::Running => "running",
            ChildState::Restarting => "restarting",
            ChildState::Stopping => "stopping",
            ChildState::Unkillable => "unkillable",
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("state", state)?;
        if self.state == ChildState::Running {
            map.serialize_entry("incarnation", &self.incarnation)?;
        }
        map.end()
    }
}
