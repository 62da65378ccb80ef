//! TLS, for the endpoint and for the control API: 1.3 only, no resumption, no early data, time from [`covenant_env::Clock`].

mod control;
mod quic;
mod verify;

use std::sync::Arc;

use covenant_env::Clock;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

pub use control::{ControlIdentity, control_client_config, control_server_config};
pub use quic::nodes_server_config;
pub(crate) use quic::{client, joiner, server};
pub(crate) use verify::{Believe, BelievedRoot, Expected};

/// The protocol between nodes.
pub(crate) const ALPN: &[u8] = b"covenant/1";

/// The name put into a TLS hello. Nobody reads it: identities are SPIFFE ids, not names of hosts.
pub const SERVER_NAME: &str = "covenant";

/// Credentials TLS cannot be set up with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(pub(crate) String);

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<crate::CredentialsError> for TlsError {
    fn from(error: crate::CredentialsError) -> Self {
        Self(error.to_string())
    }
}

/// The one crypto provider. Passed along, not installed: a process-wide default would be shared by nodes and tests.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The node's date, for certificates.
#[derive(Debug)]
pub(crate) struct NodeTime(pub(crate) Arc<dyn Clock>);

impl TimeProvider for NodeTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.wall().0)))
    }
}
