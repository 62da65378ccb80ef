//! Tokens for nodes, certificates for people: only where the issuing authority is.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use covenant_cluster::{MemberState, MemberView};
use covenant_identity::{
    NodeGrant, OperatorName, OperatorRole, PeerIdentity, TOKEN_LIFETIME_MAX, Verb, certificates_to_pem,
};

use super::caller::{Caller, Done, act};
use super::{Answer, Control, body};
use crate::api::{ApiError, CreateOperator, CreateToken, ErrorKind, OperatorCreated, TokenCreated};
use crate::issuer::HubIssuer;

pub(crate) async fn create_token(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<TokenCreated> {
    let request: CreateToken = body(&bytes)?;
    let target = format!("{} ({}, {})", request.name, request.role, request.region);
    act(&control, &caller, Verb::TokenCreate, target, async {
        issuer(&control)?;
        let lifetime = Duration::from_secs(request.ttl_s);
        if lifetime.is_zero() || lifetime > TOKEN_LIFETIME_MAX {
            return Err(ApiError::usage("a token holds between one second and seven days; nothing was done"));
        }
        let is_taken = |member: &MemberView| member.name == request.name && member.state != MemberState::Removed;
        if control.cluster.members().iter().any(is_taken) {
            let message =
                format!("{} is a member already; names are unique in a cluster; nothing was done", request.name);
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let grant = NodeGrant { name: request.name, role: request.role, region: request.region };
        let (answer, after) = make_token(&control, grant, lifetime).await?;
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

/// A token for one node, and what the audit log says of it.
pub(crate) async fn make_token(
    control: &Control,
    grant: NodeGrant,
    lifetime: Duration,
) -> Result<(TokenCreated, String), ApiError> {
    let issuer = issuer(control)?;
    let made = control.env.blocking(move || issuer.create_token(grant, lifetime)).await.map_err(ApiError::failure)?;
    let token = made.map_err(|error| ApiError::failure(format!("{error}; no token was made")))?;
    let said = format!("token {} until {}", token.id, token.expires.0);
    Ok((TokenCreated { token: token.to_text().to_string(), expires: token.expires }, said))
}

pub(crate) async fn create_operator(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<OperatorCreated> {
    let request: CreateOperator = body(&bytes)?;
    let target = format!("{} as {}", request.name, request.role);
    act(&control, &caller, Verb::OperatorCreate, target, async {
        let issuer = issuer(&control)?;
        let role: OperatorRole = request.role.parse().map_err(ApiError::usage)?;
        let name: OperatorName = request.name.parse().map_err(ApiError::usage)?;
        let chain = issuer.certify_operator(&request.csr, &name, role).map_err(super::ca::no)?;
        let (root, own) = chain.split_last().ok_or_else(|| ApiError::failure("the chain is empty"))?;
        let identity = PeerIdentity::from_certificate(&chain[0]).map_err(ApiError::failure)?;
        let answer = OperatorCreated {
            chain_pem: certificates_to_pem(own),
            root_pem: certificates_to_pem(std::slice::from_ref(root)),
            expires: identity.not_after,
        };
        let after = format!("certified until {}", identity.not_after.0);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

/// The desk of a node that may sign for others.
pub(crate) fn issuer(control: &Control) -> Result<Arc<HubIssuer>, ApiError> {
    if control.desk.authority().is_some() {
        return Ok(Arc::clone(&control.desk));
    }
    let message = format!(
        "{} has no issuing authority in force; ask one that has, with --node or --address: `covenant ca show` names them; \
         nothing was done",
        control.config.node.name
    );
    Err(ApiError::new(ErrorKind::Refused, message))
}
