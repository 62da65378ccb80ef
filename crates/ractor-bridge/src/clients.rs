//! Who is connected: one session for each client, and for all together no more than [`CLIENTS_MAX`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_types::NodeName;
use metrics::Gauge;
use quinn::Connection;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::refusal::Refusal;

/// The most clients at a time.
pub const CLIENTS_MAX: usize = 64;
/// How long the session before may take to end when its client connects again.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);

/// The clients that are connected. They go by the names in their certificates, as they do for `NodeServer`: a client that has a
/// new key is the same one.
#[derive(Clone)]
pub(crate) struct Clients(Arc<Shared>);

struct Shared {
    by_name: Mutex<BTreeMap<NodeName, Taken>>,
    connected: Gauge,
}

struct Taken {
    connection: Connection,
    gone: watch::Receiver<()>,
}

/// The place of one session. The next one of the same client waits until this is dropped.
pub(crate) struct Place {
    clients: Clients,
    client: NodeName,
    _gone: watch::Sender<()>,
}

impl Clients {
    pub(crate) fn new(connected: Gauge) -> Self {
        connected.set(0.0);
        Self(Arc::new(Shared { by_name: Mutex::default(), connected }))
    }

    /// Takes the place of `client` for `connection`. A session that stands is closed, and waited for: `NodeServer` would else let
    /// chance decide between a program that started again and its ghost.
    ///
    /// # Errors
    /// There are too many clients, or the old session does not end.
    pub(crate) async fn take(&self, client: &NodeName, connection: &Connection) -> Result<Place, Refusal> {
        let taking = async {
            loop {
                let mut before = match self.try_take(client, connection)? {
                    Ok(place) => return Ok(place),
                    Err(gone) => gone,
                };
                // Its sender is dropped with the place, and never sends.
                let _gone = before.changed().await;
            }
        };
        timeout(REPLACED_WITHIN, taking).await.unwrap_or(Err(Refusal::OldSessionStays))
    }

    fn try_take(
        &self,
        client: &NodeName,
        connection: &Connection,
    ) -> Result<Result<Place, watch::Receiver<()>>, Refusal> {
        let mut by_name = self.lock();
        if let Some(before) = by_name.get(client) {
            Refusal::Replaced.close(&before.connection);
            return Ok(Err(before.gone.clone()));
        }
        if by_name.len() >= CLIENTS_MAX {
            return Err(Refusal::TooMany(CLIENTS_MAX));
        }
        let (sender, gone) = watch::channel(());
        by_name.insert(client.clone(), Taken { connection: connection.clone(), gone });
        self.count(&by_name);
        Ok(Ok(Place { clients: self.clone(), client: client.clone(), _gone: sender }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, Taken>> {
        self.0.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::cast_precision_loss, reason = "at most CLIENTS_MAX")]
    fn count(&self, by_name: &BTreeMap<NodeName, Taken>) {
        self.0.connected.set(by_name.len() as f64);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_name = self.clients.lock();
        by_name.remove(&self.client);
        self.clients.count(&by_name);
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}
