//! One endpoint, one connection per pair of nodes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use covenant_env::Env;
use covenant_types::NodeId;

use crate::join::Issuer;
use crate::{CloseCode, Inbound, Peer, TransportConfig};

/// This node on the network. Cheap to clone; the endpoint ends with the last clone, or with [`close`](Self::close).
#[derive(Clone, Debug)]
pub struct Transport;

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
        let _ = (config, env, inbound, issuer);
        Ok(Self)
    }

    /// The connection to the node at `address`: the one that stands, or a new one.
    ///
    /// # Errors
    /// Nobody answered, or it was not `expect`, or it refused us. Nothing is left behind; dial again after a pause.
    ///
    /// # Cancel safety
    /// Dropping the future gives the dial up.
    #[expect(clippy::unused_async, reason = "its body comes next")]
    pub async fn connect(&self, address: SocketAddr, expect: Option<NodeId>) -> Result<Peer, DialError> {
        let _ = (address, expect);
        Err(DialError::Closed)
    }

    /// The open connection to a node.
    pub fn peer(&self, id: NodeId) -> Option<Peer> {
        let _ = id;
        None
    }

    /// All open connections, by id.
    pub fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    /// The address listened at.
    pub fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Closes the connection to a node, if there is one.
    pub fn disconnect(&self, id: NodeId, reason: &str) {
        let _ = (id, reason);
    }

    /// Says goodbye to every peer and stops listening. The port is free afterwards.
    #[expect(clippy::unused_async, reason = "its body comes next")]
    pub async fn close(&self, reason: &str) {
        let _ = reason;
    }
}

/// Why the endpoint could not be opened.
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
