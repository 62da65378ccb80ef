//! One endpoint, one connection per pair of nodes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use covenant_env::{Env, Task};
use covenant_types::{BootEpoch, NodeId};
use quinn::{Connection, ConnectionError, Endpoint};
use rand::Rng;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::bare::{endpoint_on, open_socket};
use crate::close::{CloseCode, describe};
use crate::counters::Counters;
use crate::dial::Dials;
use crate::driven::{Driven, DriverRuntime, with_driver};
use crate::greeting::{Boot, FAREWELL, Greeter, turn_away};
use crate::hello::Refusal;
use crate::join::{Issuer, JoinService};
use crate::roster::Roster;
use crate::{Faults, FaultySocket, Inbound, NodeCredentials, Peer, TransportConfig, accept, tls};

/// This node on the network. Cheap to clone; the endpoint ends with the last clone, or with [`close`](Self::close).
#[derive(Clone)]
pub struct Transport {
    greeter: Arc<Greeter>,
    endpoint: Arc<OwnEndpoint>,
}

/// The endpoint and the task that runs it. Ends both when dropped.
struct OwnEndpoint {
    quic: Endpoint,
    client: quinn::ClientConfig,
    local: SocketAddr,
    runner: Task,
    faults: Arc<Faults>,
    _weather: Task,
}

impl Transport {
    /// Opens the endpoint and starts to answer.
    ///
    /// # Errors
    /// The address cannot be listened at, or the credentials cannot be used for TLS.
    pub fn bind(
        config: TransportConfig,
        env: Env,
        inbound: Arc<dyn Inbound>,
        issuer: Option<Arc<dyn Issuer>>,
    ) -> Result<Self, BindError> {
        let credentials = &config.identity;
        if credentials.cluster() != config.cluster || credentials.grant().name != config.name {
            return Err(BindError::Tls(format!(
                "the certificate is of {} in {:?}, the configuration of {} in {:?}",
                credentials.grant().name,
                credentials.cluster(),
                config.name,
                config.cluster
            )));
        }
        let listen = config.listen;
        let (socket, faults, weather) = FaultySocket::wrap(open_socket(&config, &env)?, &env);
        let runtime = DriverRuntime::new(env.network.runtime(), env.system.handle().clone());
        let (quic, client) = endpoint_on(socket, Arc::new(runtime), &config, &env)?;
        let local = quic.local_addr().map_err(|source| BindError::Socket { address: listen, source })?;

        let counters = Arc::new(Counters::new(env.metrics.clone()));
        let (lane, served) = mpsc::channel(LANE_LENGTH);
        let greeter = Arc::new(Greeter {
            id: credentials.id(),
            boot: Boot::new(config.epoch, env.random.derive("transport.instance").random()),
            listen: config.advertise.unwrap_or(local),
            roster: Arc::new(Roster::new(inbound, Arc::clone(&counters), Arc::clone(credentials.denials()))),
            counters: Arc::clone(&counters),
            dials: Dials::default(),
            env: env.clone(),
            config,
            lane,
        });
        let joins = Arc::new(JoinService::new(issuer, env.clone(), counters));
        let runner = env.system.spawn(accept::run(quic.clone(), Arc::clone(&greeter), joins, served));
        let endpoint = Arc::new(OwnEndpoint { quic, client, local, runner, faults, _weather: weather });
        Ok(Self { greeter, endpoint })
    }

    /// The connection to the node at `address`: the one that stands, or a new one.
    ///
    /// Of several callers for one address one dials. Where both nodes dial each other at once, both get the connection
    /// that stays.
    ///
    /// # Errors
    /// Nobody answered, or it was not `expect`, or it refused us. Nothing is left behind; dial again after a pause.
    ///
    /// # Cancel safety
    /// Dropping the future gives the dial up.
    pub async fn connect(&self, address: SocketAddr, expect: Option<NodeId>) -> Result<Peer, DialError> {
        if expect == Some(self.greeter.id) {
            return Err(DialError::from(Refusal::new(CloseCode::DialledSelf, "this node dialled itself")));
        }
        let dialling = Box::pin(self.dial(address, expect));
        let dialled = timeout(self.greeter.config.profile.handshake_deadline(), dialling).await;
        let result = dialled.unwrap_or(Err(DialError::TimedOut(address)));
        if let Err(error) = &result {
            self.greeter.counters.handshake_failed(error.word());
        }
        result
    }

    async fn dial(&self, address: SocketAddr, expect: Option<NodeId>) -> Result<Peer, DialError> {
        if let Some(peer) = self.standing(address, expect) {
            return Ok(peer);
        }
        let _turn = self.greeter.dials.turn(address, expect).await.ok_or(DialError::TooMany)?;
        if let Some(peer) = self.standing(address, expect) {
            return Ok(peer);
        }
        let failed = |reason: String| DialError::Failed { address, reason };
        let (quic, client) = (&self.endpoint.quic, self.endpoint.client.clone());
        let (connecting, driver) = with_driver(|| quic.connect_with(client, address, tls::SERVER_NAME));
        let connecting = connecting.map_err(|error| {
            if error == quinn::ConnectError::EndpointStopping { DialError::Closed } else { failed(error.to_string()) }
        })?;
        let connection = Driven::new(connecting.await.map_err(|error| lost(address, &error))?, driver);
        let number = self.greeter.dials.next_number();
        let (refusal, id) = match self.greeter.greet(&connection, expect, number).await {
            Ok(peer) => return Ok(peer),
            Err(refused) => refused,
        };
        let error = refused(address, &connection, refusal).await;
        match (&error, id) {
            // The other side, or our own roster, keeps another connection between us: that is the one asked for.
            (DialError::Refused { code: CloseCode::Duplicate | CloseCode::Replaced, .. }, Some(id)) => {
                Ok(self.greeter.roster.wait_for(id).await)
            }
            // Lost without a word, but connected all the same.
            (_, Some(id)) => self.greeter.roster.peer(id).filter(|_| expect.is_none_or(|e| e == id)).ok_or(error),
            (_, None) => Err(error),
        }
    }

    fn standing(&self, address: SocketAddr, expect: Option<NodeId>) -> Option<Peer> {
        match expect {
            Some(id) => self.peer(id),
            None => {
                self.peers().into_iter().find(|peer| peer.info().listen == address || peer.info().address == address)
            }
        }
    }

    /// The open connection to a node.
    pub fn peer(&self, id: NodeId) -> Option<Peer> {
        self.greeter.roster.peer(id)
    }

    /// All open connections, by id.
    pub fn peers(&self) -> Vec<Peer> {
        self.greeter.roster.peers()
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.greeter.id
    }

    /// What this node proves itself with.
    pub fn credentials(&self) -> &Arc<NodeCredentials> {
        &self.greeter.config.identity
    }

    /// The address listened at.
    pub fn local_addr(&self) -> SocketAddr {
        self.endpoint.local
    }

    /// Closes the connection to a node if it is to an earlier boot than `epoch`, which is known to have begun: nobody is at the
    /// other end any more.
    pub fn end_ghost(&self, id: NodeId, epoch: BootEpoch) {
        if let Some(ghost) = self.peer(id).filter(|peer| peer.info().epoch < epoch) {
            ghost.close(CloseCode::Replaced, "a later boot of the node is known");
        }
    }

    /// Goes on in a later boot epoch: closes all connections, so that each is made anew by a Hello that says so. Whoever is
    /// told of this epoch before, and still has a connection of the former one, closes that itself. A lower epoch changes
    /// nothing.
    pub fn adopt_epoch(&self, epoch: BootEpoch) {
        if epoch <= self.greeter.boot.epoch() {
            return;
        }
        self.greeter.boot.rise_to(epoch);
        for peer in self.peers() {
            peer.close(CloseCode::Disconnected, "this node goes on in a later boot epoch");
        }
    }

    /// The faults of this node's socket.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.endpoint.faults
    }

    /// Closes the connection to a node, if there is one. The peer hears `reason`.
    pub fn disconnect(&self, id: NodeId, reason: &str) {
        if let Some(peer) = self.peer(id) {
            peer.close(CloseCode::Disconnected, reason);
        }
    }

    /// Says goodbye to every peer and stops. The layer above hears `peer_down` of every peer, then nothing more.
    ///
    /// The port is free once the clones of this transport and of its peers are dropped.
    pub async fn close(&self, reason: &str) {
        self.greeter.roster.close(reason);
        self.endpoint.quic.close(CloseCode::Leaving.var_int(), reason.as_bytes());
        // Peers that do not answer are not waited for.
        let _all_heard = timeout(FAREWELL_TO_ALL, self.endpoint.quic.wait_idle()).await;
        self.endpoint.runner.abort();
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("name", &self.greeter.config.name)
            .field("local", &self.endpoint.local)
            .finish()
    }
}

impl Drop for OwnEndpoint {
    fn drop(&mut self) {
        self.quic.close(CloseCode::Leaving.var_int(), b"");
    }
}

/// Closes a connection that came to nothing, and finds out whose refusal it was.
async fn refused(address: SocketAddr, connection: &Connection, refusal: Refusal) -> DialError {
    if refusal.code == CloseCode::Internal {
        // A stream failed, and the connection with it: the reason is the connection's, and may be a moment behind.
        if let Ok(error) = timeout(FAREWELL, connection.closed()).await {
            return lost(address, &error);
        }
    }
    turn_away(connection, &refusal);
    DialError::from(refusal)
}

fn lost(address: SocketAddr, error: &ConnectionError) -> DialError {
    match (error, crate::close::code_of(error)) {
        (_, Some(code)) => DialError::Refused { code, reason: describe(error) },
        (ConnectionError::TimedOut, None) => DialError::TimedOut(address),
        (ConnectionError::LocallyClosed, None) => DialError::Closed,
        (
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::ApplicationClosed(_)
            | ConnectionError::Reset
            | ConnectionError::CidsExhausted,
            None,
        ) => DialError::Failed { address, reason: describe(error) },
    }
}

/// Connections waiting to be served.
const LANE_LENGTH: usize = 64;
/// Handshakes quinn may hold before the accept loop has seen them.
pub(crate) const INCOMING_MAX: usize = 256;
/// How long a stopping node waits for its peers to hear of it.
const FAREWELL_TO_ALL: Duration = Duration::from_secs(2);

/// Why the endpoint could not be opened. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process listens there.
    #[error("{0} is taken by another process: stop it or choose another port")]
    AddressTaken(SocketAddr),
    /// The system refused.
    #[error("cannot listen on {address}")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The credentials cannot be used for TLS.
    #[error("the node's credentials cannot be used for TLS: {0}")]
    Tls(String),
}

/// Why there is no connection. Nothing is left behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nothing answered in time. Trying again later may help.
    #[error("{0} did not answer in time")]
    TimedOut(SocketAddr),
    /// The handshake failed: wrong cluster, wrong certificate, or lost. Trying again helps only after the cause is gone.
    #[error("no connection to {address}: {reason}")]
    Failed {
        /// Who was dialled.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// The other side refused us by name, or we refused what it turned out to be.
    #[error("refused ({code}): {reason}")]
    Refused {
        /// Why, as a code.
        code: CloseCode,
        /// Why, in words.
        reason: String,
    },
    /// As many dials as allowed are under way. Try again.
    #[error("too many dials are under way, try again")]
    TooMany,
    /// The transport has been closed.
    #[error("this node's transport is closed")]
    Closed,
}

impl DialError {
    fn word(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "timed_out",
            Self::Failed { .. } => "tls",
            Self::Refused { code, .. } => code.as_str(),
            Self::TooMany => "too_many_dials",
            Self::Closed => "closed",
        }
    }
}

impl From<Refusal> for DialError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code, reason: refusal.reason }
    }
}
