//! The source of leases that the cluster agrees on: asks the group, from any node.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{LeaseAnswer, LeaseError, LeaseSource};
use covenant_consensus::{Freshness, GroupClient, Staleness, SubmitError};
use covenant_env::Env;
use covenant_types::{ActorPath, Fence, NodeId};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use crate::command::{Command, Holder, Outcome};
use crate::config::{GROUP, PlacementConfig};
use crate::question::{LeaseView, Question, Said};
use crate::watch::lasts;

/// The longest that the group is asked.
pub(crate) const ASK_WITHIN: Duration = Duration::from_secs(5);

/// Asks the group in the name of this node, in this boot. Cheap to clone.
#[derive(Clone)]
pub struct GroupLeases(Arc<Inner>);

struct Inner {
    config: Arc<PlacementConfig>,
    client: GroupClient,
    ids: Mutex<StdRng>,
}

impl fmt::Debug for GroupLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupLeases({})", self.0.config.me.node)
    }
}

impl GroupLeases {
    /// For the node of `config`.
    pub fn new(config: Arc<PlacementConfig>, env: &Env) -> Self {
        let client = config.groups.client(GROUP, config.me, &BTreeSet::new());
        let ids = Mutex::new(env.random.derive("placement leases"));
        Self(Arc::new(Inner { config, client, ids }))
    }

    /// Who has the lease of `key`.
    ///
    /// # Errors
    /// The group did not answer in time, or refuses.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn lease(
        &self,
        key: &ActorPath,
        freshness: Freshness,
        within: Duration,
    ) -> Result<(Option<LeaseView>, Staleness), LeaseError> {
        match self.ask(&Question::Lease(key.clone()), freshness, within).await? {
            (Said::Lease(lease), staleness) => Ok((lease, staleness)),
            (Said::Leases(_), _) => Err(another()),
        }
    }

    /// Leases from the key `from` on, by key: [`PAGE_MAX`](crate::PAGE_MAX) of them at most.
    ///
    /// # Errors
    /// As [`GroupLeases::lease`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn leases(&self, from: &ActorPath, within: Duration) -> Result<Vec<LeaseView>, LeaseError> {
        match self.ask(&Question::Leases(from.clone()), Freshness::Linearizable, within).await? {
            (Said::Leases(leases), _) => Ok(leases),
            (Said::Lease(_), _) => Err(another()),
        }
    }

    /// Says which actor of this node a lease of it is of.
    ///
    /// # Errors
    /// The lease is over, or the group did not answer in time.
    pub async fn settle(&self, fence: Fence, path: ActorPath, within: Duration) -> Result<(), LeaseError> {
        let holder = self.0.config.me.node;
        done(self.submit(Command::Settle { fence, holder, path }, within).await?)
    }

    async fn ask(
        &self,
        question: &Question,
        freshness: Freshness,
        within: Duration,
    ) -> Result<(Said, Staleness), LeaseError> {
        let bytes = serde_json::to_vec(question).map_err(|error| LeaseError::Refused(error.to_string()))?;
        self.look();
        let answer = self.0.client.query(bytes, freshness, within).await.map_err(told)?;
        let said = serde_json::from_slice(&answer.bytes).map_err(|error| LeaseError::Refused(error.to_string()))?;
        Ok((said, answer.staleness))
    }

    async fn submit(&self, command: Command, within: Duration) -> Result<Outcome, LeaseError> {
        let id = self.0.ids.lock().random();
        self.look();
        let answer = self.0.client.submit(id, command.encode(), within).await.map_err(told)?;
        Outcome::decode(&answer).map_err(|error| LeaseError::Refused(error.to_string()))
    }

    /// Has the client know whom to ask: those who can be reached before the others.
    fn look(&self) {
        let candidates = self.0.config.surroundings.candidates();
        let of = |wanted| candidates.iter().filter(move |(_, reachable)| **reachable == wanted).map(|(node, _)| *node);
        self.0.client.ask_among(&of(true).chain(of(false)).collect::<Vec<_>>());
    }
}

impl LeaseSource for GroupLeases {
    fn acquire(&self, key: ActorPath, holder: NodeId, span: Duration) -> LeaseAnswer<Fence> {
        let asking = self.clone();
        Box::pin(async move {
            let holder = Holder { node: holder, boot: asking.0.config.boot };
            let command = Command::Acquire { key: key.clone(), holder, span };
            let outcome = asking.submit(command, span.min(ASK_WITHIN)).await?;
            if let Outcome::Granted(token) = outcome { Ok(Fence { key, token }) } else { Err(refused(outcome)) }
        })
    }

    fn renew(&self, fence: Fence, holder: NodeId, span: Duration) -> LeaseAnswer<()> {
        let asking = self.clone();
        Box::pin(async move {
            let command = Command::Renew { fence, holder, span };
            done(asking.submit(command, (span / 2).min(ASK_WITHIN)).await?)
        })
    }

    fn release(&self, fence: Fence, holder: NodeId) -> LeaseAnswer<()> {
        let asking = self.clone();
        Box::pin(async move { done(asking.submit(Command::Release { fence, holder }, ASK_WITHIN).await?) })
    }
}

fn done(outcome: Outcome) -> Result<(), LeaseError> {
    if outcome == Outcome::Done { Ok(()) } else { Err(refused(outcome)) }
}

fn refused(outcome: Outcome) -> LeaseError {
    match outcome {
        // How long ago it was renewed the table does not know.
        Outcome::Held { by, span } => LeaseError::Held { by, left: lasts(span) },
        Outcome::Lost => LeaseError::Lost,
        Outcome::BadSpan => LeaseError::BadSpan,
        Outcome::Full => LeaseError::Full("the cluster grants no more at a time"),
        Outcome::FullOfThis => LeaseError::Full("the cluster grants this node no more at a time"),
        Outcome::Done | Outcome::Granted(_) | Outcome::Malformed => another(),
    }
}

fn another() -> LeaseError {
    LeaseError::Refused("something else was answered than was asked".to_owned())
}

fn told(error: SubmitError) -> LeaseError {
    match error {
        SubmitError::Never(why) => LeaseError::Refused(why),
        SubmitError::Deadline { .. } | _ => LeaseError::Unreachable,
    }
}
