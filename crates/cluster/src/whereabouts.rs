//! Where a path, a name or a group lives now: asked of the nodes themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use covenant_runtime::Sight;
use covenant_types::{ActorPath, Name, NodeName, RemotePath};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::presence::frame::SEEK_PATHS_MAX;
use crate::{Cluster, MemberState, Place};

/// What is looked for: a path, perhaps with its node, or what is a name or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A path, on the node that is named or on all.
    Path(RemotePath),
    /// The holder of a name and the members of a group.
    Name(Name),
}

/// Where something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// The actors that were found, by node and path.
    pub found: Vec<Found>,
    /// How many more members of the group other regions have.
    pub unseen: u64,
    /// Members that could not be asked, or did not answer: what is there is not known.
    pub silent: Vec<NodeName>,
}

/// One actor that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its node.
    pub node: NodeName,
    /// Where it hangs there.
    pub path: ActorPath,
    /// What led to it.
    pub found_as: FoundAs,
    /// Its node sleeps or cannot be reached at present: it may be there or not.
    pub stale: bool,
    /// What it does, as its node says. `None` where that did not answer, or has no such path any more.
    pub sight: Option<Sight>,
}

/// What led to an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundAs {
    /// It hangs there.
    Path,
    /// It has the name.
    Name,
    /// It is in the group.
    Member,
}

impl Cluster {
    /// Where something is, as the nodes say that have it. Takes up to two seconds where one does not answer.
    pub async fn locate(&self, sought: &Sought) -> Whereabouts {
        let (places, unseen) = self.places_of(sought);
        let mut whereabouts = Whereabouts { unseen, ..Whereabouts::default() };
        let mut by_node: BTreeMap<NodeName, Vec<(Place, FoundAs)>> = BTreeMap::new();
        places.into_iter().for_each(|place| by_node.entry(place.0.node.clone()).or_default().push(place));
        let asked = by_node.into_iter().map(|(node, places)| async move {
            let paths: Vec<ActorPath> = places.iter().map(|(place, _)| place.path.clone()).collect();
            (self.look_at(&node, &paths).await, node, places)
        });
        for (sights, node, places) in join_all(asked).await {
            if sights.is_none() {
                whereabouts.silent.push(node);
            }
            let sights = sights.unwrap_or_else(|| vec![None; places.len()]);
            for ((Place { node, path, stale }, found_as), sight) in places.into_iter().zip(sights) {
                // A path is there where its node says so. A name or a membership was told.
                if sight.is_some() || found_as != FoundAs::Path {
                    whereabouts.found.push(Found { node, path, found_as, stale, sight });
                }
            }
        }
        whereabouts
    }

    /// Where it may be, and how many more there are.
    fn places_of(&self, sought: &Sought) -> (Vec<(Place, FoundAs)>, u64) {
        match sought {
            Sought::Path(RemotePath { node, path }) => {
                let there = self.members().into_iter().filter(|member| {
                    let gone = matches!(member.state, MemberState::Down | MemberState::Left);
                    !gone && node.as_ref().is_none_or(|node| *node == member.name)
                });
                let place = |member: crate::MemberView| {
                    let stale = member.state != MemberState::Reachable;
                    (Place { node: member.name, path: path.clone(), stale }, FoundAs::Path)
                };
                (there.map(place).collect(), 0)
            }
            Sought::Name(name) => {
                let holder = self.holder(name).map(|place| (place, FoundAs::Name));
                let members = self.group_places(name).into_iter().map(|place| (place, FoundAs::Member));
                (holder.into_iter().chain(members).collect(), self.shared.presence.gathering(name).unseen)
            }
        }
    }

    /// What is at these paths of a node; `None` where it did not answer.
    async fn look_at(&self, node: &NodeName, paths: &[ActorPath]) -> Option<Vec<Option<Sight>>> {
        if *node == self.me().name {
            let system = self.shared.system();
            return Some(paths.iter().map(|path| system.as_ref()?.sight(path)).collect());
        }
        let session = self.shared.session_named(node)?;
        let mut sights = Vec::with_capacity(paths.len());
        for some in paths.chunks(SEEK_PATHS_MAX) {
            sights.extend(self.shared.presence.seek(&session, some.to_vec()).await?);
        }
        Some(sights)
    }
}

impl FromStr for Sought {
    type Err = SoughtError;

    /// A text with a `/` is a path, any other a name.
    fn from_str(text: &str) -> Result<Self, SoughtError> {
        if text.contains('/') {
            return text.parse().map(Self::Path).map_err(|error| SoughtError(format!("{error}")));
        }
        Name::new(text).map(Self::Name).map_err(|error| SoughtError(format!("{error}; a path begins with '/'")))
    }
}

impl fmt::Display for Sought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{path}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

/// A text that is neither a path nor a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SoughtError(String);
