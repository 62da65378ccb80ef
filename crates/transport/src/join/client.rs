//! The joining side.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use covenant_env::Env;
use covenant_identity::{JoinToken, NodeKey, PeerIdentity, Subject, fingerprint, make_csr};
use covenant_types::NodeId;
use covenant_wire::{decode, encode};
use quinn::{Connection, Endpoint, EndpointConfig};
use tokio::time::timeout;

use super::{ANSWER_BYTES_MAX, JOIN_DEADLINE, JoinAnswer, JoinRefusal, JoinRequest};
use crate::close::{CloseCode, describe};
use crate::tls::{self, Expected};
use crate::{NodeCredentials, Profile};

/// Where and how to renew a certificate.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The cluster.
    pub cluster: String,
    /// The SHA-256 of the cluster's root certificate.
    pub root_fingerprint: [u8; 32],
    /// Issuing hubs to ask, in this order.
    pub issuers: Vec<(NodeId, SocketAddr)>,
    /// The certificate to renew, DER; it may have ended less than 14 days ago.
    pub old_certificate: Vec<u8>,
}

impl Renewal {
    /// The renewal of what `credentials` hold.
    pub fn of(credentials: &NodeCredentials, issuers: Vec<(NodeId, SocketAddr)>) -> Self {
        let root = credentials.roots().first().expect("credentials have a root");
        Self {
            cluster: credentials.cluster().to_owned(),
            root_fingerprint: fingerprint(root),
            issuers,
            old_certificate: credentials.chain().swap_remove(0),
        }
    }
}

/// Redeems a token: the hub that issued it signs `key`, which never leaves this node.
///
/// # Errors
/// See [`JoinError`]; it says for each case whether the token may have been used up.
///
/// # Cancel safety
/// Dropping the future gives up; the token may have been used up.
pub async fn join(token: &JoinToken, key: &NodeKey, env: &Env) -> Result<JoinAnswer, JoinError> {
    let request = JoinRequest::Redeem { token_id: token.id.0, secret: *token.secret, csr: make_csr(key) };
    let hubs: Vec<_> = token.addresses.iter().map(|&address| (token.issuer, address)).collect();
    let asked = Asked { cluster: &token.cluster, root_fingerprint: token.root_fingerprint, key };
    let (answer, identity) = asked.ask_each(&hubs, &request, env).await?;
    let expected = Subject::Node { id: key.node_id(), grant: token.grant.clone() };
    if identity.subject == expected {
        Ok(answer)
    } else {
        Err(JoinError::BadAnswer(format!("the certificate is of {}, the token of another", identity.subject)))
    }
}

/// Renews a certificate, for the same key.
///
/// # Errors
/// See [`JoinError`]. Trying again is safe.
///
/// # Cancel safety
/// Dropping the future gives up; trying again is safe.
pub async fn renew(renewal: &Renewal, key: &NodeKey, env: &Env) -> Result<JoinAnswer, JoinError> {
    let request = JoinRequest::Renew { old_certificate: renewal.old_certificate.clone(), csr: make_csr(key) };
    let asked = Asked { cluster: &renewal.cluster, root_fingerprint: renewal.root_fingerprint, key };
    let (answer, identity) = asked.ask_each(&renewal.issuers, &request, env).await?;
    let old = PeerIdentity::from_certificate(&renewal.old_certificate);
    if old.is_ok_and(|old| old.subject == identity.subject) {
        Ok(answer)
    } else {
        Err(JoinError::BadAnswer(format!("the new certificate is of {}, the old one of another", identity.subject)))
    }
}

struct Asked<'a> {
    cluster: &'a str,
    root_fingerprint: [u8; 32],
    key: &'a NodeKey,
}

impl Asked<'_> {
    /// Asks one hub after the other until one is reached. A hub that was reached has the last word: the token is spent there.
    async fn ask_each(
        &self,
        hubs: &[(NodeId, SocketAddr)],
        request: &JoinRequest,
        env: &Env,
    ) -> Result<(JoinAnswer, PeerIdentity), JoinError> {
        let mut last = JoinError::NoAddress;
        for &(id, address) in hubs.iter().take(HUBS_MAX) {
            let asking = Box::pin(self.ask(id, address, request, env));
            let answer = timeout(JOIN_DEADLINE, asking).await.unwrap_or(Err(JoinError::NoAnswer(address)));
            match answer {
                Err(error @ (JoinError::Unreachable { .. } | JoinError::Local(_))) => last = error,
                Err(error) => return Err(error),
                Ok(answer) => return self.check(answer, env),
            }
        }
        Err(last)
    }

    async fn ask(
        &self,
        id: NodeId,
        address: SocketAddr,
        request: &JoinRequest,
        env: &Env,
    ) -> Result<JoinAnswer, JoinError> {
        let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let local = |error: std::io::Error| JoinError::Local(error.to_string());
        let socket = env.network.bind(SocketAddr::new(any, 0)).map_err(local)?;
        let endpoint = {
            let _inside = env.system.handle().enter();
            let mut config = EndpointConfig::default();
            config.rng_seed(env.network.endpoint_seed());
            Endpoint::new_with_abstract_socket(config, None, socket, env.network.runtime()).map_err(local)?
        };
        let crypto = tls::joiner(self.root_fingerprint, self.cluster, Expected::WithId(id), Arc::clone(&env.clock))
            .map_err(|error| JoinError::Local(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(Profile::Wan.quic()));
        let unreachable = |reason: String| JoinError::Unreachable { address, reason };
        let connecting =
            endpoint.connect_with(config, address, tls::SERVER_NAME).map_err(|error| unreachable(error.to_string()))?;
        let connection = timeout(REACH_DEADLINE, connecting)
            .await
            .map_err(|_| unreachable("nothing answered".to_owned()))?
            .map_err(|error| unreachable(describe(&error)))?;
        let answer = exchange(&connection, address, request).await;
        connection.close(CloseCode::Done.var_int(), b"");
        // So that the hub hears of the end and does not keep a ghost.
        let _heard = timeout(crate::greeting::FAREWELL, endpoint.wait_idle()).await;
        answer
    }

    fn check(&self, answer: JoinAnswer, env: &Env) -> Result<(JoinAnswer, PeerIdentity), JoinError> {
        let bad = |why: String| JoinError::BadAnswer(why);
        if answer.cluster != self.cluster {
            return Err(bad("it names another cluster".to_owned()));
        }
        let identity = tls::verify_chain(&answer.chain, &self.root_fingerprint, self.cluster, env.wall())
            .map_err(|error| bad(error.to_string()))?;
        if identity.public_key != self.key.public_key() {
            return Err(bad("the certificate is of another key".to_owned()));
        }
        Ok((answer, identity))
    }
}

async fn exchange(
    connection: &Connection,
    address: SocketAddr,
    request: &JoinRequest,
) -> Result<JoinAnswer, JoinError> {
    let gone = || match connection.close_reason() {
        Some(error) => JoinError::Interrupted { address, reason: describe(&error) },
        None => JoinError::NoAnswer(address),
    };
    let (mut send, mut recv) = connection.open_bi().await.map_err(|_| gone())?;
    // Too large a request is refused while it is still being written: read what the hub says all the same.
    let _written = send.write_all(&encode(request)).await;
    let _ended = send.finish();
    let bytes = recv.read_to_end(ANSWER_BYTES_MAX).await.map_err(|_| gone())?;
    let answer: Result<JoinAnswer, JoinRefusal> =
        decode(&bytes, ANSWER_BYTES_MAX).map_err(|error| JoinError::BadAnswer(error.to_string()))?;
    answer.map_err(JoinError::Refused)
}

/// The most hubs asked.
const HUBS_MAX: usize = 8;
/// How long one hub has to answer the handshake.
const REACH_DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);

/// Why a node got no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There is no hub to ask.
    #[error("there is no address to ask at")]
    NoAddress,
    /// The hub was not reached, or is not the one the token names. The token is unused; trying again is safe.
    #[error("cannot reach the issuing hub at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// This machine could not open a socket or set TLS up. The token is unused.
    #[error("cannot open a connection from here: {0}")]
    Local(String),
    /// The hub closed the connection before it answered. The token is unused if the reason says that the request was bad.
    #[error("the issuing hub at {address} gave no answer: {reason}")]
    Interrupted {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The hub did not answer in time. The token may have been used up.
    #[error("the issuing hub at {0} did not answer in time, the token may have been used up")]
    NoAnswer(SocketAddr),
    /// The hub refused.
    #[error("the issuing hub refused: {0}")]
    Refused(#[from] JoinRefusal),
    /// The answer cannot be used. The token has been used up.
    #[error("the issuing hub's answer cannot be used: {0}")]
    BadAnswer(String),
}
