//! Answers whoever calls: nodes become peers, joiners are served, everybody else hears why not.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use covenant_env::Tasks;
use covenant_types::Uptime;
use quinn::{ConnectionError, Endpoint, Incoming};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::admission::{Admission, Outcome, Verdict};
use crate::close::code_of;
use crate::driven::{Driven, with_driver};
use crate::greeting::{Greeter, turn_away};
use crate::hello::{Refusal, protocol};
use crate::join::{JOIN_ALPN, JoinService};
use crate::{CloseCode, Peer, link};

/// Runs an endpoint until it is closed. Ending this ends every task of the endpoint.
pub(crate) async fn run(
    endpoint: Endpoint,
    greeter: Arc<Greeter>,
    joins: Arc<JoinService>,
    mut lane: mpsc::Receiver<Peer>,
) {
    let spawner = greeter.env.system.clone();
    let mut handshakes = Tasks::new(spawner.clone(), HANDSHAKES_MAX);
    let mut links = Tasks::new(spawner.clone(), LINKS_MAX);
    let mut denied = greeter.config.identity.denials().changes();
    let admission = Arc::new(Mutex::new(Admission::default()));
    loop {
        tokio::select! {
            // Who must go goes first, and connections that stand go before new ones.
            biased;
            Ok(()) = denied.changed() => greeter.roster.close_denied(),
            Some(peer) = lane.recv() => {
                let (roster, counters) = (Arc::clone(&greeter.roster), Arc::clone(&greeter.counters));
                if !links.spawn(link::serve(peer.clone(), roster, counters, spawner.clone())) {
                    peer.close(CloseCode::TooMany, "too many connections");
                    greeter.roster.remove(&peer, "too many connections");
                }
            }
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                // Who has not shown that it is at its address may not fill the last half.
                if handshakes.len() >= HANDSHAKES_MAX / 2 && incoming.may_retry() {
                    // The only error is that a retry was asked for before.
                    let _retried = incoming.retry();
                    continue;
                }
                let verdict = if handshakes.len() < HANDSHAKES_MAX {
                    Place::take(&admission, &incoming, greeter.env.now())
                } else {
                    Err(Verdict::Refused)
                };
                match verdict {
                    Ok(place) => {
                        // There is room: the bound was checked above.
                        let _room = handshakes.spawn(handshake(incoming, place, Arc::clone(&greeter), Arc::clone(&joins)));
                    }
                    Err(Verdict::Prove) if incoming.may_retry() => {
                        let _retried = incoming.retry();
                    }
                    Err(_) => {
                        greeter.counters.handshake_failed(CloseCode::TooMany.as_str());
                        incoming.refuse();
                    }
                }
            }
        }
    }
}

/// The place of one handshake among those of its address, until it has ended.
struct Place {
    admission: Arc<Mutex<Admission>>,
    from: IpAddr,
    proved: bool,
    outcome: Outcome,
}

impl Place {
    fn take(admission: &Arc<Mutex<Admission>>, incoming: &Incoming, now: Uptime) -> Result<Self, Verdict> {
        let (from, proved) = (incoming.remote_address().ip(), incoming.remote_address_validated());
        match admission.lock().unwrap_or_else(PoisonError::into_inner).begin(from, proved, now) {
            // What ends without a word ended in silence.
            Verdict::Begun => Ok(Self { admission: Arc::clone(admission), from, proved, outcome: Outcome::Silent }),
            refused @ (Verdict::Prove | Verdict::Refused) => Err(refused),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).ended(self.from, self.proved, self.outcome);
    }
}

async fn handshake(incoming: Incoming, mut place: Place, greeter: Arc<Greeter>, joins: Arc<JoinService>) {
    let from = incoming.remote_address();
    let deadline = greeter.config.profile.handshake_deadline();
    let (begun, driver) = with_driver(|| incoming.accept());
    let connection = match timeout(deadline, async { begun?.await }).await {
        Ok(Ok(connection)) => Driven::new(connection, driver),
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "handshake failed");
            if !matches!(error, ConnectionError::TimedOut) {
                place.outcome = Outcome::Failed;
            }
            let why = code_of(&error).map_or("tls", CloseCode::as_str);
            return greeter.counters.handshake_failed(why);
        }
        Err(_) => return greeter.counters.handshake_failed(CloseCode::TooSlow.as_str()),
    };
    // The handshake came to its end, so somebody is at that address.
    (place.proved, place.outcome) = (true, Outcome::Failed);
    if protocol(&connection).as_deref() == Some(JOIN_ALPN) {
        if joins.serve(connection.into_connection()).await {
            place.outcome = Outcome::Fine;
        }
        return;
    }
    let answered = match timeout(deadline, greeter.answer(&connection)).await {
        Ok(answered) => answered.map(|_| ()),
        Err(_) => {
            let refusal = Refusal::new(CloseCode::TooSlow, "the hello took too long");
            turn_away(&connection, &refusal);
            Err(refusal)
        }
    };
    let harmless = |code| matches!(code, CloseCode::Duplicate | CloseCode::DialledSelf | CloseCode::Leaving);
    if answered.as_ref().map_or_else(|refusal| harmless(refusal.code), |()| true) {
        place.outcome = Outcome::Fine;
    }
    if let Err(refusal) = answered {
        tracing::info!(%from, code = %refusal.code, reason = refusal.reason, "connection refused");
        greeter.counters.handshake_failed(refusal.code.as_str());
    }
}

/// The most handshakes, Hellos and joins at a time.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// The most connections served at a time: all peers, and replaced ones on their way out.
const LINKS_MAX: usize = 1024;
