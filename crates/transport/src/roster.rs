//! Who is connected: admits connections, replaces ghosts, and tells the layer above in the right order.
//!
//! # Invariants
//! - At most one connection per node is in the roster, and only one the layer above was not told the end of.
//! - `peer_down` of a replaced connection comes before `peer_up` of the one that replaced it.
//! - Nobody who is denied is in the roster for longer than it takes to close its connection.
//! - The lock is never held while the layer above is called.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covenant_types::NodeId;
use tokio::sync::{mpsc, watch};

use crate::counters::Counters;
use crate::hello::{Refusal, is_denied};
use crate::links::{Verdict, judge};
use crate::{CloseCode, Denials, Inbound, Peer};

pub(crate) struct Roster {
    state: Mutex<State>,
    counters: Arc<Counters>,
    denials: Arc<Denials>,
    /// Counts admissions, for those who wait for one.
    arrivals: watch::Sender<u64>,
}

struct State {
    peers: BTreeMap<NodeId, Peer>,
    /// `None` once closed.
    inbound: Option<Arc<dyn Inbound>>,
}

/// What there was of a node when a connection to it came.
enum Found {
    Nobody,
    Replaced(Peer),
    /// Another process of the same boot, which stays.
    Twin(Peer),
}

impl Roster {
    pub(crate) fn new(inbound: Arc<dyn Inbound>, counters: Arc<Counters>, denials: Arc<Denials>) -> Self {
        let state = State { peers: BTreeMap::new(), inbound: Some(inbound) };
        Self { state: Mutex::new(state), counters, denials, arrivals: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a checked connection in, hands it to `lane` to be served, and tells the layer above.
    ///
    /// # Errors
    /// A connection to the same node stays, the roster is full, or closed. The caller closes the connection.
    pub(crate) fn admit(&self, peer: &Peer, lane: mpsc::Permit<'_, Peer>) -> Result<(), Refusal> {
        let (inbound, found) = self.place(peer)?;
        match found {
            Found::Nobody => {}
            Found::Replaced(old) => {
                old.close(CloseCode::Replaced, "a newer connection took its place");
                old.tell_down(&*inbound, "a newer connection took its place");
            }
            Found::Twin(standing) => {
                inbound.doubled(&standing, peer);
                let reason = format!(
                    "another process with this key and boot epoch is connected from {}: stop one of the two",
                    standing.address()
                );
                return Err(Refusal::new(CloseCode::Doubled, reason));
            }
        }
        peer.tell_up(&*inbound);
        lane.send(peer.clone());
        self.arrivals.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Puts a checked connection in the place of what there is of its node, unless that is another process of this boot.
    fn place(&self, peer: &Peer) -> Result<(Arc<dyn Inbound>, Found), Refusal> {
        let id = peer.info().id;
        let mut state = self.lock();
        let Some(inbound) = state.inbound.clone() else {
            return Err(Refusal::new(CloseCode::Leaving, "this node is stopping"));
        };
        // Under the lock: either this sees the denial, or whoever closes the denied sees this connection.
        if is_denied(peer.connection(), &self.denials) {
            return Err(Refusal::revoked());
        }
        match state.peers.get(&id) {
            Some(existing) if existing.is_open() => match judge(&existing.precedence(), &peer.precedence()) {
                Verdict::Replaces => {}
                Verdict::Stale => {
                    let reason = format!("a newer boot of {} is connected", peer.info().name);
                    return Err(Refusal::new(CloseCode::StaleEpoch, reason));
                }
                Verdict::Duplicate => {
                    return Err(Refusal::new(CloseCode::Duplicate, "another connection between us stays"));
                }
                Verdict::Doubled => return Ok((inbound, Found::Twin(existing.clone()))),
            },
            Some(_) => {}
            None if state.peers.len() >= PEERS_MAX => {
                let reason = format!("this node has {PEERS_MAX} peers already");
                return Err(Refusal::new(CloseCode::TooMany, reason));
            }
            None => {}
        }
        let old = state.peers.insert(id, peer.clone());
        self.count(&state);
        Ok((inbound, old.map_or(Found::Nobody, Found::Replaced)))
    }

    /// Closes the connections of those who are denied. The layer above hears of it as of any that is lost.
    pub(crate) fn close_denied(&self) {
        let refusal = Refusal::revoked();
        let denied: Vec<Peer> = {
            let state = self.lock();
            state.peers.values().filter(|peer| is_denied(peer.connection(), &self.denials)).cloned().collect()
        };
        for peer in denied.iter().filter(|peer| peer.is_open()) {
            tracing::warn!(peer = %peer.info().name, id = %peer.info().id, "denied: closing the connection");
            peer.close(refusal.code, &refusal.reason);
        }
    }

    /// Takes a lost connection out and tells the layer above.
    pub(crate) fn remove(&self, peer: &Peer, reason: &str) {
        let Some(inbound) = self.inbound() else { return };
        // Told first: a successor that is admitted meanwhile finds this one and waits until it has been told.
        peer.tell_down(&*inbound, reason);
        let mut state = self.lock();
        let id = peer.info().id;
        if state.peers.get(&id).is_some_and(|current| current.is_same_connection(peer)) {
            state.peers.remove(&id);
        }
        self.count(&state);
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<Peer> {
        self.lock().peers.get(&id).filter(|peer| peer.is_open()).cloned()
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.lock().peers.values().filter(|peer| peer.is_open()).cloned().collect()
    }

    pub(crate) fn inbound(&self) -> Option<Arc<dyn Inbound>> {
        self.lock().inbound.clone()
    }

    /// Waits until a node is connected. Give it a deadline.
    pub(crate) async fn wait_for(&self, id: NodeId) -> Peer {
        let mut arrivals = self.arrivals.subscribe();
        loop {
            if let Some(peer) = self.peer(id) {
                return peer;
            }
            // The sender lives in `self`.
            let _arrived = arrivals.changed().await;
        }
    }

    /// Closes every connection, tells the layer above, lets go of it, and admits nobody from now on.
    pub(crate) fn close(&self, reason: &str) {
        let (inbound, peers) = {
            let mut state = self.lock();
            let peers = std::mem::take(&mut state.peers);
            self.count(&state);
            (state.inbound.take(), peers)
        };
        for peer in peers.into_values() {
            peer.close(CloseCode::Leaving, reason);
            if let Some(inbound) = &inbound {
                peer.tell_down(&**inbound, "this node is stopping");
            }
        }
    }

    fn count(&self, state: &State) {
        let peers = u32::try_from(state.peers.len()).unwrap_or(u32::MAX);
        self.counters.peers.set(f64::from(peers));
    }
}

/// The most nodes connected at a time. Pools are kept at 200 and below.
const PEERS_MAX: usize = 512;
