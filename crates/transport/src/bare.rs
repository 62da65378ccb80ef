//! The QUIC below: TLS, windows and packet sizes as a node has them, and nothing of ours on it.

use std::io;
use std::sync::Arc;

use covenant_env::Env;
use quinn::{AsyncUdpSocket, ClientConfig, Endpoint, Runtime, ServerConfig};

use crate::transport::{BindError, INCOMING_MAX};
use crate::{TransportConfig, tls};

/// Opens the endpoint that a [`crate::Transport`] of this configuration would stand on, with the way to dial from it.
///
/// A benchmark compares with it. It checks certificates and no more: no Hello, no roles, no bounds.
///
/// # Errors
/// The address cannot be listened at, or the credentials cannot be used for TLS.
pub fn bare_endpoint(config: &TransportConfig, env: &Env) -> Result<(Endpoint, ClientConfig), BindError> {
    endpoint_on(open_socket(config, env)?, env.network.runtime(), config, env)
}

/// Opens the socket that peers reach this node at.
pub(crate) fn open_socket(config: &TransportConfig, env: &Env) -> Result<Arc<dyn AsyncUdpSocket>, BindError> {
    env.network.bind(config.listen).map_err(|error| failed(config, error))
}

/// The endpoint on a socket, its tasks and timers on `runtime`.
pub(crate) fn endpoint_on(
    socket: Arc<dyn AsyncUdpSocket>,
    runtime: Arc<dyn Runtime>,
    config: &TransportConfig,
    env: &Env,
) -> Result<(Endpoint, ClientConfig), BindError> {
    let tls = |error: tls::TlsError| BindError::Tls(error.to_string());
    let server_tls = tls::server(&config.identity, Arc::clone(&env.clock)).map_err(tls)?;
    let mut server = ServerConfig::with_crypto(Arc::new(server_tls));
    // A connection follows its client to another address, which a carrier may give it at any moment: who is at the other end
    // was proved by certificate, and the new path is tried before it is used. A server that moved is dialled anew.
    server.transport_config(Arc::new(config.profile.quic_accepting())).max_incoming(INCOMING_MAX).migration(true);
    let client_tls = tls::client(&config.identity, Arc::clone(&env.clock)).map_err(tls)?;
    let mut client = ClientConfig::new(Arc::new(client_tls));
    client.transport_config(Arc::new(config.profile.quic()));

    let _inside = env.system.handle().enter();
    let mut endpoint = config.profile.endpoint();
    endpoint.rng_seed(env.network.endpoint_seed());
    let quic = Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, runtime);
    Ok((quic.map_err(|error| failed(config, error))?, client))
}

fn failed(config: &TransportConfig, source: io::Error) -> BindError {
    let address = config.listen;
    if source.kind() == io::ErrorKind::AddrInUse {
        BindError::AddressTaken(address)
    } else {
        BindError::Socket { address, source }
    }
}
