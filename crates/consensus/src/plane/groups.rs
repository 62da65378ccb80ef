//! All groups of a node, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use covenant_env::{Env, Tasks};
use covenant_transport::{Peer, Plane, RecvStream, SendStream, Transport};
use covenant_types::NodeId;
use parking_lot::{Mutex, RwLock};

use super::head::is_name;
use super::line::Line;
use super::serving::{self, STREAMS_PER_PEER_MAX};
use crate::consensus::Consensus;
use crate::gate::Sender;
use crate::message::Lane;
use crate::network::{Call, Network, Unreached};
use crate::replicated::Replicated;

/// Lanes to other nodes that are kept at a time. Those over which nothing is under way give way to others.
const LINES_MAX: usize = 1024;
/// Nodes that may have streams open here at a time.
const PEERS_MAX: usize = 1024;
/// How long a call takes at most that says nothing else. Whoever makes it gives it its own time and drops it then.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Where connections to other nodes are to be had.
pub trait Peers: Send + Sync + 'static {
    /// The connection to `node` that stands, if one does.
    fn peer(&self, node: NodeId) -> Option<Peer>;
}

impl Peers for Transport {
    fn peer(&self, node: NodeId) -> Option<Peer> {
        Transport::peer(self, node)
    }
}

impl<F: Fn(NodeId) -> Option<Peer> + Send + Sync + 'static> Peers for F {
    fn peer(&self, node: NodeId) -> Option<Peer> {
        self(node)
    }
}

/// An answer under way.
pub type Serving<'a> = Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'a>>;

/// A group as the plane sees it, whatever it agrees on.
pub trait Group: Send + Sync + 'static {
    /// Answers a request that `from` sent.
    fn serve<'a>(&'a self, from: Sender, request: &'a [u8]) -> Serving<'a>;
}

impl<R: Replicated> Group for Consensus<R> {
    fn serve<'a>(&'a self, from: Sender, request: &'a [u8]) -> Serving<'a> {
        Box::pin(Consensus::serve(self, from, request))
    }
}

/// The groups of a node and the way to those of others. Cheap to clone; the last one that goes ends the streams.
#[derive(Clone)]
pub struct Groups(Arc<Inner>);

struct Inner {
    env: Env,
    peers: Arc<dyn Peers>,
    table: Arc<Table>,
    lines: Mutex<BTreeMap<(NodeId, Lane), Arc<Line>>>,
    /// Streams that other nodes opened.
    streams: Mutex<BTreeMap<NodeId, Tasks>>,
}

/// Groups by name.
#[derive(Default)]
pub(super) struct Table(RwLock<BTreeMap<String, Weak<dyn Group>>>);

impl Table {
    pub(super) fn group(&self, name: &str) -> Option<Arc<dyn Group>> {
        self.0.read().get(name)?.upgrade()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.table.0.read().keys()).finish()
    }
}

impl Groups {
    /// No group yet.
    pub fn new(env: Env, peers: Arc<dyn Peers>) -> Self {
        Self(Arc::new(Inner { env, peers, table: Arc::default(), lines: Mutex::default(), streams: Mutex::default() }))
    }

    /// The way to the members of the group `name` on other nodes: for [`Consensus::start`].
    ///
    /// # Panics
    /// The name is not one to 32 of `[a-z0-9-]`.
    pub fn network(&self, name: &str) -> Arc<dyn Network> {
        assert!(is_name(name), "a group is named by one to 32 of [a-z0-9-], not {name:?}");
        Arc::new(Way { group: name.to_owned(), groups: Arc::downgrade(&self.0) })
    }

    /// Serves `group` as `name` as long as somebody keeps it, in the place of one of that name before.
    pub fn serve(&self, name: &str, group: &Arc<impl Group>) {
        let weak = Arc::downgrade(group);
        self.0.table.0.write().insert(name.to_owned(), weak);
    }

    /// Serves `name` no more. Requests under way are answered.
    pub fn end(&self, name: &str) {
        self.0.table.0.write().remove(name);
    }

    pub(crate) fn env(&self) -> &Env {
        &self.0.env
    }

    pub(crate) fn group(&self, name: &str) -> Option<Arc<dyn Group>> {
        self.0.table.group(name)
    }

    /// Takes a stream of [`Plane::Consensus`] or [`Plane::Snapshot`] that `peer` opened. Returns at once; a stream too many is
    /// refused.
    pub fn take(&self, peer: &Peer, _plane: Plane, send: SendStream, recv: RecvStream) {
        let node = peer.info().id;
        let spawner = self.0.env.system.clone();
        let mut streams = self.0.streams.lock();
        if streams.len() >= PEERS_MAX {
            streams.retain(|_, tasks| !tasks.is_empty());
        }
        if streams.len() >= PEERS_MAX && !streams.contains_key(&node) {
            tracing::warn!(%node, "as many nodes as may have streams of consensus open here");
            return;
        }
        let tasks = streams.entry(node).or_insert_with(|| Tasks::new(spawner.clone(), STREAMS_PER_PEER_MAX));
        let served = serving::serve(self.0.table.clone(), spawner, peer.clone(), send, recv);
        if !tasks.spawn(served) {
            tracing::warn!(%node, "a node opens more streams of consensus than it may");
        }
    }
}

impl Inner {
    fn line(&self, to: NodeId, lane: Lane) -> Option<Arc<Line>> {
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get(&(to, lane)) {
            return Some(line.clone());
        }
        if lines.len() >= LINES_MAX {
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        if lines.len() >= LINES_MAX {
            return None;
        }
        let line = Arc::new(Line::new(to, lane, self.env.clone()));
        lines.insert((to, lane), line.clone());
        Some(line)
    }
}

/// The way of one group. Leads nowhere once [`Groups`] is gone.
struct Way {
    group: String,
    groups: Weak<Inner>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Way({})", self.group)
    }
}

impl Network for Way {
    fn call(&self, to: NodeId, lane: Lane, request: Vec<u8>) -> Call<'_> {
        Box::pin(async move {
            let unreached = |why: &str| Unreached { to, why: why.to_owned(), sent: false };
            let (peer, line) = {
                let groups = self.groups.upgrade().ok_or_else(|| unreached("this node is stopping"))?;
                let peer = groups.peers.peer(to).ok_or_else(|| unreached("it is not connected"))?;
                let line = groups.line(to, lane).ok_or_else(|| unreached("too many nodes are called already"))?;
                (peer, line)
            };
            line.call(&peer, &self.group, CALL_WITHIN, &request).await
        })
    }
}
