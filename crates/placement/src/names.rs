//! Strong names: one actor of the whole cluster has one, also under a partition.
//!
//! # Intuition
//! A strong name is the lease of a key that stands for it. Who takes one acts as long as the lease is held; when that is lost, the
//! incarnation ends with `NameConflict`. Where there is no majority of voters nobody takes one: that is the price.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{Cluster, Lease, LeaseError, LeaseSource, Leases, Place};
use covenant_consensus::{Freshness, Staleness};
use covenant_env::{Env, Tasks};
use covenant_runtime::{Behaviour, Context, Exit, Ref, Remotable, StartError};
use covenant_types::{ActorPath, CallError, ExitReason, Fence, Name, NameError, NodeId, NodeName};
use parking_lot::Mutex;

use crate::config::PlacementConfig;
use crate::keys::key_of_name;
use crate::question::LeaseView;
use crate::source::{ASK_WITHIN, GroupLeases};

/// How long a strong name outlives a node that died: so long nobody else has it.
pub const NAME_SPAN: Duration = Duration::from_secs(5);
/// How long an actor that starts waits for a majority: its siblings wait with it. The supervisor tries again later.
pub const REGISTER_WITHIN: Duration = Duration::from_secs(2);
/// What an actor is told that cannot know whether its name is taken.
const NOBODY_KNOWS: &str = "nobody knows whom: no majority of voters answers";
/// Leases that may be given back at a time. Those beyond are over when their time is.
const RELEASES_MAX: usize = 256;

/// The leases that this node has of the cluster. A resource of the node; cheap to clone.
#[derive(Clone)]
pub struct Placement(Arc<Inner>);

struct Inner {
    me: NodeId,
    env: Env,
    cluster: Arc<Cluster>,
    source: GroupLeases,
    leases: Leases,
    /// Which actor of this node has which name.
    names: Mutex<BTreeMap<Name, ActorPath>>,
    releases: Mutex<Tasks>,
}

/// A strong name that an actor has. The actor keeps it while it runs; its token is what acts of the actor carry.
#[derive(Clone)]
pub struct StrongName(Arc<Held>);

struct Held {
    /// Before the entry: the name is free here when its lease is no longer renewed.
    lease: Lease,
    entry: Entry,
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placement").field("source", &self.0.source).finish_non_exhaustive()
    }
}

impl fmt::Debug for StrongName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StrongName({}, {:?})", self.0.entry.name, self.0.lease)
    }
}

impl Placement {
    /// Of the node that `config` and `cluster` are of.
    pub fn new(config: Arc<PlacementConfig>, cluster: Arc<Cluster>, env: Env) -> Self {
        let me = config.me.node;
        let source = GroupLeases::new(config, &env);
        let releases = Mutex::new(Tasks::new(env.system.clone(), RELEASES_MAX));
        let leases = Leases::new(Arc::new(source.clone()), me, env.clone());
        Self(Arc::new(Inner { me, env, cluster, source, leases, names: Mutex::default(), releases }))
    }

    /// Leases of this node, of any key.
    pub fn leases(&self) -> &Leases {
        &self.0.leases
    }

    /// Where leases come from.
    pub fn source(&self) -> &GroupLeases {
        &self.0.source
    }

    /// Takes the strong name `name` for an actor, as long as this incarnation runs: ask for it in `start`, and each incarnation does
    /// anew. When the lease of it is lost, the incarnation ends with `NameConflict`, which no budget counts.
    ///
    /// # Errors
    /// Another actor has the name, no majority of voters can be reached, or the text is no name. Nothing is held.
    ///
    /// # Cancel safety
    /// A future that is dropped holds nothing; the name may be taken for [`NAME_SPAN`].
    pub async fn register<B: Behaviour>(&self, ctx: &Context<B>, name: &str) -> Result<StrongName, NameRefused> {
        let name = Name::new(name)?;
        let key = key_of_name(&name).ok_or(NameRefused::Lease(LeaseError::Lost))?;
        let entry = self.enter(&name, ctx.path())?;
        let granted = tokio::time::timeout(REGISTER_WITHIN, self.0.leases.acquire(&key, NAME_SPAN)).await;
        let lease = match granted.unwrap_or(Err(LeaseError::Unreachable)) {
            Ok(lease) => lease,
            Err(LeaseError::Held { by, .. }) => {
                let holder = self.name_of(by).map_or_else(|| by.to_string(), |node| node.to_string());
                return Err(NameRefused::Taken { name, holder });
            }
            Err(error) => return Err(error.into()),
        };
        let fence = lease.fence().clone();
        // From here on it is given back with the last handle.
        let held = StrongName(Arc::new(Held { lease, entry }));
        // Whoever asks for the name carries the token here: what was sent to an earlier holder is late now.
        self.0.cluster.check_fence(ctx.path(), &fence).map_err(|_| LeaseError::Lost)?;
        self.0.source.settle(fence, ctx.path().clone(), REGISTER_WITHIN).await?;
        let watched = held.clone();
        let ending = ctx.end_when(async move {
            watched.lost().await;
            ExitReason::NameConflict(format!("the lease of {} is over", watched.0.entry.name))
        });
        if ending.is_err() {
            return Err(NameRefused::ActorFull);
        }
        Ok(held)
    }

    /// Who has the strong name, as of now: a majority of voters was asked.
    ///
    /// # Errors
    /// [`CallError::NoProc`] where nobody has it, `Timeout` where no majority answers in time, `Rejected` where the text is no name.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn holder(&self, name: &str) -> Result<(Place, Fence), CallError> {
        let name = Name::new(name).map_err(|error| CallError::Rejected(error.to_string()))?;
        let key = key_of_name(&name).ok_or(CallError::NoProc)?;
        let asked = self.0.source.lease(&key, Freshness::Linearizable, ASK_WITHIN).await;
        let (lease, _) = asked.map_err(|error| match error {
            LeaseError::Unreachable => CallError::Timeout,
            other @ (LeaseError::Held { .. }
            | LeaseError::Lost
            | LeaseError::BadSpan
            | LeaseError::Refused(_)
            | LeaseError::Full(_)
            | _) => CallError::Rejected(other.to_string()),
        })?;
        let LeaseView { node, token, path, .. } = lease.ok_or(CallError::NoProc)?;
        let (node, path) = (self.name_of(node).ok_or(CallError::NoProc)?, path.ok_or(CallError::NoProc)?);
        Ok((Place { node, path, stale: false }, Fence { key, token }))
    }

    /// The actor that has the strong name. It keeps leading to that actor, under that token: once another has the name and was
    /// heard of there, what is sent is refused. Ask again then.
    ///
    /// # Errors
    /// As [`Placement::holder`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn whereis<M: Remotable>(&self, name: &str) -> Result<Ref<M>, CallError> {
        let (place, fence) = self.holder(name).await?;
        self.0.cluster.reference_under(&place, &fence)
    }

    /// What a member near by knows of the lease of `key`, and how far behind that may be. For views.
    ///
    /// # Errors
    /// No member answered in time.
    pub async fn look(&self, key: &ActorPath, within: Duration) -> Result<(Option<LeaseView>, Staleness), LeaseError> {
        self.0.source.lease(key, Freshness::Stale, within).await
    }

    /// Waits until what is being given back has been, for that long at most: before the node leaves.
    pub async fn given_back(&self, within: Duration) {
        let mut tasks =
            std::mem::replace(&mut *self.0.releases.lock(), Tasks::new(self.0.env.system.clone(), RELEASES_MAX));
        // What was not heard of ends by itself.
        let _in_time = tokio::time::timeout(within, tasks.join_all()).await;
    }

    /// Has the cluster know that a lease is over. Where there is no room for it, the lease ends by itself.
    fn give_back(&self, fence: Fence) {
        let (source, me) = (self.0.source.clone(), self.0.me);
        let _full = self.0.releases.lock().spawn(async move {
            if let Err(error) = source.release(fence, me).await {
                tracing::debug!(%error, "a lease could not be given back; it ends by itself");
            }
        });
    }

    fn enter(&self, name: &Name, path: &ActorPath) -> Result<Entry, NameRefused> {
        let mut names = self.0.names.lock();
        if let Some(holder) = names.get(name) {
            return Err(NameRefused::Taken { name: name.clone(), holder: holder.to_string() });
        }
        names.insert(name.clone(), path.clone());
        Ok(Entry { name: name.clone(), placement: self.clone() })
    }

    fn name_of(&self, node: NodeId) -> Option<NodeName> {
        self.0.cluster.members().into_iter().find(|member| member.id == node).map(|member| member.name)
    }
}

/// That an actor of this node is about to take a name. Dropped, it did not.
struct Entry {
    name: Name,
    placement: Placement,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.placement.0.names.lock().remove(&self.name);
    }
}

impl StrongName {
    /// What acts of the actor carry.
    pub fn fence(&self) -> &Fence {
        self.0.lease.fence()
    }

    /// The lease: for [`Cluster::remote_fenced`].
    pub fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// Whether it is held now: ask before each act.
    pub fn is_held(&self) -> bool {
        self.0.lease.is_held()
    }

    /// Resolves when it is no longer held.
    pub async fn lost(&self) {
        self.0.lease.lost().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.lease.is_held() {
            self.entry.placement.give_back(self.lease.fence().clone());
        }
    }
}

/// Why an actor has no strong name. Nothing is held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameRefused {
    /// The text is no name.
    #[error(transparent)]
    NoName(#[from] NameError),
    /// Another actor has it. In `start` pass it on: the supervisor tries again later, and does not count it.
    #[error("{holder} has the name {name}")]
    Taken {
        /// The name.
        name: Name,
        /// Who has it: a node, or a path of this one.
        holder: String,
    },
    /// The lease of it was not granted. Where no majority answered, passed on from `start` it is tried again as if the name were taken.
    #[error("no lease of the name: {0}")]
    Lease(#[from] LeaseError),
    /// The actor has as many tasks as it may.
    #[error("this actor has too many tasks to hold a name")]
    ActorFull,
}

impl From<NameRefused> for StartError {
    fn from(error: NameRefused) -> Self {
        match error {
            NameRefused::Taken { holder, .. } => Self::NameTaken(holder),
            NameRefused::Lease(LeaseError::Unreachable) => Self::NameTaken(NOBODY_KNOWS.to_owned()),
            other @ (NameRefused::NoName(_) | NameRefused::Lease(_) | NameRefused::ActorFull) => Self::failed(other),
        }
    }
}

impl From<NameRefused> for Exit {
    fn from(error: NameRefused) -> Self {
        match error {
            NameRefused::Taken { holder, .. } => Self(ExitReason::NameConflict(holder)),
            NameRefused::Lease(LeaseError::Unreachable) => Self(ExitReason::NameConflict(NOBODY_KNOWS.to_owned())),
            other @ (NameRefused::NoName(_) | NameRefused::Lease(_) | NameRefused::ActorFull) => Self::error(other),
        }
    }
}
