//! Sleep: a member that falls silent on purpose, so that the others know and nobody takes it for dead.
//!
//! Order matters. First the others hear until when it sleeps, signed, and say so; then membership says goodbye; then the
//! connections close. Who missed all of it sees a node that went away, and learns why from the others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use covenant_types::{NodeName, Role, WallTime};
use tokio::sync::oneshot;

use crate::member::Phase;
use crate::session::Session;
use crate::shared::{Input, Shared};

/// How many hubs must have heard before a node sleeps, or all that are connected where there are fewer.
pub const HUBS_TOLD: usize = 2;
/// How long they may take to say so.
pub const TELLING_WITHIN: Duration = Duration::from_secs(5);
/// When those who have not said so are told again.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the goodbye may travel before the connections close.
const GOODBYE: Duration = Duration::from_millis(200);

/// A node that fell asleep, and who knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// Until when it means to sleep.
    pub until: WallTime,
    /// Who said that they know.
    pub told: Vec<NodeName>,
}

/// Why a node does not sleep. It is awake as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SleepError {
    /// It sleeps already.
    #[error("the node sleeps already: wake it first")]
    Asleep,
    /// The time has passed.
    #[error("the time to sleep until has passed")]
    Past,
    /// Nobody is connected who could be told.
    #[error("no other node is connected: nobody would know that this one sleeps")]
    Alone,
    /// Too few said that they know.
    #[error("only {heard} of {wanted} nodes that should know said so in time: try again when the links are better")]
    Unheard {
        /// How many did.
        heard: usize,
        /// How many should have.
        wanted: usize,
    },
    /// This node has left the cluster, or the time to wake came before all were told.
    #[error("this node takes no part in a cluster, or it was time to wake before all were told")]
    Left,
}

/// Tells the others, says goodbye, closes the connections.
pub(crate) async fn sleep(shared: &Arc<Shared>, until: WallTime) -> Result<Asleep, SleepError> {
    let now = shared.env.wall();
    if shared.is_asleep() {
        return Err(SleepError::Asleep);
    }
    if until <= now {
        return Err(SleepError::Past);
    }
    let mut before = Phase::Active;
    let sequence =
        shared.republish(|record| before = std::mem::replace(&mut record.phase, Phase::Asleep { since: now, until }));
    let undo = Undo { shared, before };
    let told = match tokio::time::timeout(TELLING_WITHIN, heard_by_enough(shared, sequence)).await {
        Ok(told) => told,
        Err(_) => Err(unheard(shared, sequence)),
    };
    let told = told?;
    let (done, said) = oneshot::channel();
    if shared.inbox.send(Input::Sleep(done)).await.is_err() || said.await.is_err() {
        return Err(SleepError::Left);
    }
    std::mem::forget(undo);
    tokio::time::sleep(GOODBYE).await;
    if let Some(transport) = shared.transport() {
        for peer in transport.peers() {
            transport.disconnect(peer.info().id, "asleep");
        }
    }
    Ok(Asleep { until, told })
}

/// Takes back that this node sleeps where it does not come to it: it was not heard, or whoever asked is gone.
struct Undo<'a> {
    shared: &'a Shared,
    before: Phase,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.shared.republish(|record| record.phase = self.before);
    }
}

/// Says that this node is awake, and dials the others.
pub(crate) async fn wake(shared: &Arc<Shared>) -> bool {
    if !shared.is_asleep() {
        return false;
    }
    shared.republish(|record| record.phase = Phase::Active);
    // The driver is gone only with this node's part in the cluster.
    let _gone = shared.inbox.send(Input::Wake).await;
    shared.wanted_changed.notify_one();
    true
}

/// Those whose word is waited for: the hubs that are connected, or all where there is no hub.
fn audience(shared: &Shared) -> Vec<Arc<Session>> {
    let sessions = shared.sessions();
    let hubs: Vec<_> = sessions.iter().filter(|session| session.sender.role == Role::Hub).cloned().collect();
    if hubs.is_empty() { sessions } else { hubs }
}

fn heard_by(shared: &Shared, sequence: u64) -> (Vec<NodeName>, usize) {
    let audience = audience(shared);
    let wanted = audience.len().min(HUBS_TOLD);
    let heard = audience.iter().filter(|session| session.heard.load(Ordering::Relaxed) >= sequence);
    (heard.map(|session| session.sender.name.clone()).collect(), wanted)
}

fn unheard(shared: &Shared, sequence: u64) -> SleepError {
    let (heard, wanted) = heard_by(shared, sequence);
    SleepError::Unheard { heard: heard.len(), wanted }
}

async fn heard_by_enough(shared: &Shared, sequence: u64) -> Result<Vec<NodeName>, SleepError> {
    loop {
        let (heard, wanted) = heard_by(shared, sequence);
        if wanted == 0 {
            return Err(SleepError::Alone);
        }
        if heard.len() >= wanted {
            return Ok(heard);
        }
        // What was lost on the way, or crossed with a copy that came by others, is told again: who holds it says so.
        if tokio::time::timeout(TELL_AGAIN_AFTER, shared.heard.notified()).await.is_err() {
            shared.own_changed.notify_one();
        }
    }
}
