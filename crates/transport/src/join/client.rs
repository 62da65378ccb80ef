//! The joining side.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use covenant_env::Env;
use covenant_identity::{HUBS_ASKED, JoinToken, NodeKey, PeerIdentity, Subject, TrustedRoots, counts_from, make_csr};
use covenant_types::{NodeId, WallTime};
use covenant_wire::{decode, encode};
use quinn::{Connection, Endpoint, EndpointConfig};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{ANSWER_BYTES_MAX, JOIN_DEADLINE, JoinAnswer, JoinRefusal, JoinRequest};
use crate::close::{CloseCode, describe};
use crate::credentials::root_store;
use crate::tls::{self, Believe, BelievedRoot, Expected};
use crate::{NodeCredentials, Profile};

/// Where and how to renew a certificate.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The roots this node trusts.
    pub trusted: TrustedRoots,
    /// It is at least this late: hubs are believed as of then, whatever this node's clock says.
    pub floor: WallTime,
    /// Issuing hubs to ask, in this order.
    pub issuers: Vec<(NodeId, SocketAddr)>,
    /// The certificate to renew and those above it, DER; it may have ended less than 14 days ago.
    pub chain: Vec<Vec<u8>>,
}

impl Renewal {
    /// The renewal of what `credentials` hold.
    pub fn of(credentials: &NodeCredentials, issuers: Vec<(NodeId, SocketAddr)>, floor: WallTime) -> Self {
        let trusted = TrustedRoots::clone(&credentials.trusted());
        Self { trusted, floor, issuers, chain: credentials.chain() }
    }
}

/// A certificate that was renewed.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// What the hub answered; its statements about roots are not taken in yet.
    pub answer: JoinAnswer,
    /// The hub.
    pub by: NodeId,
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
    let believe = Believe { root: BelievedRoot::Pinned(token.root_fingerprint), floor: env.wall() };
    let asked = Asked { cluster: &token.cluster, believe, env };
    let mut last = JoinError::NoAddress;
    for &address in token.addresses.iter().take(HUBS_MAX) {
        let answer: JoinAnswer = match asked.ask(token.issuer, address, &request).await {
            // Who was not reached has not spent the token.
            Err(error @ (JoinError::Unreachable { .. } | JoinError::Local(_))) => {
                last = error;
                continue;
            }
            other => other?,
        };
        let bad = |error: &dyn std::fmt::Display| JoinError::BadAnswer(error.to_string());
        let print = &token.root_fingerprint;
        let trusted = TrustedRoots::pinned(&token.cluster, print, &answer.chain, &answer.roots);
        let trusted = trusted.map_err(|error| bad(&error))?;
        let identity = checked(&answer, &trusted, env.wall(), key)?;
        let expected = Subject::Node { id: key.node_id(), grant: token.grant.clone() };
        return if identity.subject == expected {
            Ok(answer)
        } else {
            Err(bad(&format!("the certificate is of {}, the token of another", identity.subject)))
        };
    }
    Err(last)
}

/// Renews a certificate, for the same key: asks one issuing hub after the other until one does it.
///
/// # Errors
/// None did; the error is that of the last. Trying again is safe.
///
/// # Cancel safety
/// Dropping the future gives up; trying again is safe.
pub async fn renew(renewal: &Renewal, key: &NodeKey, env: &Env) -> Result<Renewed, JoinError> {
    let request = JoinRequest::Renew { chain: renewal.chain.clone(), csr: make_csr(key) };
    let asked = Asked { cluster: renewal.trusted.cluster(), believe: renewal.believe()?, env };
    let mut last = JoinError::NoAddress;
    for &(by, address) in renewal.issuers.iter().take(HUBS_MAX) {
        let answered = asked.ask(by, address, &request).await;
        match answered.and_then(|answer| renewal.check(answer, key)) {
            Ok(answer) => return Ok(Renewed { answer, by }),
            Err(error) => {
                tracing::debug!(%by, %error, "a hub did not renew the certificate");
                last = error;
            }
        }
    }
    Err(last)
}

/// Asks issuing hubs what time it is, until [`HUBS_ASKED`] have answered. Those that do not answer are passed over.
///
/// # Cancel safety
/// Dropping the future gives up; trying again is safe.
pub async fn ask_time(renewal: &Renewal, env: &Env) -> Vec<WallTime> {
    let mut said = Vec::new();
    let Ok(believe) = renewal.believe() else { return said };
    let asked = Asked { cluster: renewal.trusted.cluster(), believe, env };
    for &(id, address) in renewal.issuers.iter().take(HUBS_MAX) {
        match asked.ask(id, address, &JoinRequest::Time).await {
            Ok(time) => said.push(time),
            Err(error) => tracing::debug!(%address, %error, "a hub did not tell the time"),
        }
        if said.len() == HUBS_ASKED {
            break;
        }
    }
    said
}

impl Renewal {
    fn believe(&self) -> Result<Believe, JoinError> {
        let roots = root_store(self.trusted.roots()).map_err(|error| JoinError::Local(error.to_string()))?;
        Ok(Believe { root: BelievedRoot::Known(Arc::new(roots)), floor: self.floor })
    }

    fn check(&self, answer: JoinAnswer, key: &NodeKey) -> Result<JoinAnswer, JoinError> {
        let mut trusted = self.trusted.clone();
        if !answer.roots.is_empty() {
            trusted.adopt(&answer.roots).map_err(|error| JoinError::BadAnswer(error.to_string()))?;
        }
        let identity = checked(&answer, &trusted, self.floor, key)?;
        let old = self.chain.first().map(|old| PeerIdentity::from_certificate(old));
        if old.is_some_and(|old| old.is_ok_and(|old| old.subject == identity.subject)) {
            Ok(answer)
        } else {
            Err(JoinError::BadAnswer(format!("the new certificate is of {}, the old one of another", identity.subject)))
        }
    }
}

/// What the certificate of an answer says; it must be believed as of some moment from `floor` on, and be of this key.
fn checked(
    answer: &JoinAnswer,
    trusted: &TrustedRoots,
    floor: WallTime,
    key: &NodeKey,
) -> Result<PeerIdentity, JoinError> {
    if answer.cluster != trusted.cluster() {
        return Err(JoinError::BadAnswer("it names another cluster".to_owned()));
    }
    let identity = trusted
        .verify_chain(&answer.chain, counts_from(&answer.chain).max(floor))
        .map_err(|error| JoinError::BadAnswer(error.to_string()))?;
    if identity.public_key != key.public_key() {
        return Err(JoinError::BadAnswer("the certificate is of another key".to_owned()));
    }
    Ok(identity)
}

/// How one asks issuing hubs, whichever.
struct Asked<'a> {
    cluster: &'a str,
    believe: Believe,
    env: &'a Env,
}

impl Asked<'_> {
    /// Asks one hub, within [`JOIN_DEADLINE`].
    async fn ask<T: DeserializeOwned>(
        &self,
        id: NodeId,
        address: SocketAddr,
        request: &JoinRequest,
    ) -> Result<T, JoinError> {
        let asking = Box::pin(self.ask_at(id, address, request));
        timeout(JOIN_DEADLINE, asking).await.unwrap_or(Err(JoinError::NoAnswer(address)))
    }

    async fn ask_at<T: DeserializeOwned>(
        &self,
        id: NodeId,
        address: SocketAddr,
        request: &JoinRequest,
    ) -> Result<T, JoinError> {
        let env = self.env;
        let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let local = |error: std::io::Error| JoinError::Local(error.to_string());
        let socket = env.network.bind(SocketAddr::new(any, 0)).map_err(local)?;
        let endpoint = {
            let _inside = env.system.handle().enter();
            let mut config = EndpointConfig::default();
            config.rng_seed(env.network.endpoint_seed());
            Endpoint::new_with_abstract_socket(config, None, socket, env.network.runtime()).map_err(local)?
        };
        let crypto = tls::joiner(self.believe.clone(), self.cluster, Expected::WithId(id), Arc::clone(&env.clock))
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
}

async fn exchange<T: DeserializeOwned>(
    connection: &Connection,
    address: SocketAddr,
    request: &JoinRequest,
) -> Result<T, JoinError> {
    let gone = || match connection.close_reason() {
        Some(error) => JoinError::Interrupted { address, reason: describe(&error) },
        None => JoinError::NoAnswer(address),
    };
    let (mut send, mut recv) = connection.open_bi().await.map_err(|_| gone())?;
    // Too large a request is refused while it is still being written: read what the hub says all the same.
    let _written = send.write_all(&encode(request)).await;
    let _ended = send.finish();
    let bytes = recv.read_to_end(ANSWER_BYTES_MAX).await.map_err(|_| gone())?;
    let answer: Result<T, JoinRefusal> =
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
