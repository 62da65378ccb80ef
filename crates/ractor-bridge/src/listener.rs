//! The bridge's endpoint: who calls is looked at before anything is done for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_env::{Env, Tasks};
use covenant_identity::{PeerIdentity, Subject};
use covenant_types::Role;
use quinn::{Connection, Endpoint, EndpointConfig, Incoming, ServerConfig, TransportConfig, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use crate::clients::{CLIENTS_MAX, Clients};
use crate::refusal::Refusal;
use crate::session::{self, Shared, Who};
use crate::{BridgeConfig, tls};

/// The most handshakes under way and sessions at a time, those on their way out included.
const CONNECTIONS_MAX: usize = 2 * CLIENTS_MAX;
/// The most that wait to be looked at.
const INCOMING_MAX: usize = 64;
/// How long a TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(8);
/// A client that is silent for so long is gone.
const IDLE_MAX_MS: u32 = 15_000;
/// How often this side asks for a sign of life.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
/// What a client may send ahead of what was read.
const RECEIVE_WINDOW_BYTES: u32 = 1024 * 1024;

/// Opens the endpoint.
pub(crate) fn bind(listen: SocketAddr, shared: &Shared) -> std::io::Result<Endpoint> {
    let env = &shared.env;
    let crypto = tls::for_clients(&shared.credentials, Arc::clone(&env.clock)).map_err(std::io::Error::other)?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MAX_MS).into()))
        .keep_alive_interval(Some(KEEP_ALIVE_EVERY))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES));
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(transport)).max_incoming(INCOMING_MAX);
    let socket = env.network.bind(listen)?;
    let _inside = env.system.handle().enter();
    Endpoint::new_with_abstract_socket(EndpointConfig::default(), Some(server), socket, env.network.runtime())
}

/// Answers until the endpoint is closed. Ending this ends all sessions.
pub(crate) async fn run(endpoint: Endpoint, config: BridgeConfig, shared: Arc<Shared>, env: Env) {
    let mut connections = Tasks::new(env.work.clone(), CONNECTIONS_MAX);
    let desk = Arc::new(Desk {
        clients: Clients::new(shared.counters.connected.clone()),
        roles: config.roles,
        served: AtomicU64::new(0),
        shared,
    });
    while let Some(incoming) = endpoint.accept().await {
        // Who has not shown that it is at its address may not fill the last half.
        if connections.len() >= CONNECTIONS_MAX / 2 && incoming.may_retry() {
            // The only error is that a retry was asked for before.
            let _retried = incoming.retry();
            continue;
        }
        if connections.len() >= CONNECTIONS_MAX {
            desk.shared.counters.refused(&Refusal::TooMany(CLIENTS_MAX));
            incoming.refuse();
            continue;
        }
        let desk = Arc::clone(&desk);
        // There is room: the bound was checked above.
        let _room = connections.spawn(async move { desk.receive(incoming).await });
    }
}

/// Where clients are received.
struct Desk {
    clients: Clients,
    roles: Vec<Role>,
    /// How many were, so that no two sessions are called alike.
    served: AtomicU64,
    shared: Arc<Shared>,
}

impl Desk {
    async fn receive(&self, incoming: Incoming) {
        let from = incoming.remote_address();
        let connection = match timeout(HANDSHAKE_WITHIN, async { incoming.await }).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::debug!(%from, %error, "handshake failed");
                return self.shared.counters.handshake_failed();
            }
            Err(_) => return self.shared.counters.handshake_failed(),
        };
        let why = match self.look_at(&connection) {
            Ok(who) => {
                let why = Box::pin(self.serve(&who, &connection)).await;
                tracing::info!(%from, client = who.label, %why, "a client's session ended");
                why
            }
            Err(why) => {
                tracing::info!(%from, %why, "a client was refused");
                why
            }
        };
        why.close(&connection);
        if !why.is_parting() {
            self.shared.counters.refused(&why);
        }
    }

    /// Who it is, if it may come here.
    fn look_at(&self, connection: &Connection) -> Result<Who, Refusal> {
        let chain = connection.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        let chain = chain.ok_or(Refusal::NotANode)?;
        let (own, above) = chain.split_first().ok_or(Refusal::NotANode)?;
        let identity = PeerIdentity::from_certificate(own).map_err(|_| Refusal::NotANode)?;
        let Subject::Node { grant, .. } = &identity.subject else { return Err(Refusal::NotANode) };
        if !self.roles.contains(&grant.role) {
            return Err(Refusal::Role(grant.role));
        }
        let name = grant.name.clone();
        let label = format!("{name}#{}", self.served.fetch_add(1, Ordering::Relaxed));
        Ok(Who { name, identity, above: above.iter().map(|der| der.to_vec()).collect(), label })
    }

    async fn serve(&self, who: &Who, connection: &Connection) -> Refusal {
        let _place = match self.clients.take(&who.name, connection).await {
            Ok(place) => place,
            Err(why) => return why,
        };
        tracing::info!(client = who.label, "a client is connected");
        session::run(&self.shared, who, connection).await
    }
}
