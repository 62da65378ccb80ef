//! The issuing hub's side of joining: redeems tokens once, renews certificates, certifies operators.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covenant_env::Env;
use covenant_identity::{
    Denial, DenialError, IssuingAuthority, JoinToken, NodeGrant, OperatorName, OperatorRole, RedeemError, SignedDenial,
    TokenBook, TokenDraw, TokenId, TokenIssuer, check_renewal, fingerprint, node_id_of,
};
use covenant_transport::Denials;
use covenant_transport::join::{Issuer, JoinAnswer, JoinRefusal, JoinRequest};
use covenant_types::{NodeId, NodeName, WallTime};
use futures_util::future::BoxFuture;

use crate::files::{FilesError, NodeFiles};

/// What a hub with an issuing authority can do.
pub(crate) struct HubIssuer {
    authority: IssuingAuthority,
    files: NodeFiles,
    me: Me,
    env: Env,
    denials: Arc<Denials>,
    /// Changed only together with the file: see [`HubIssuer::change`].
    tokens: Mutex<TokenBook>,
}

/// The issuing hub as a seed, and what every newcomer must know.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) listen: SocketAddr,
    pub(crate) book_home: NodeName,
}

/// Why no token could be made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    Issue(#[from] covenant_identity::IssueError),
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl HubIssuer {
    /// Reads the tokens issued so far.
    pub(crate) fn open(
        authority: IssuingAuthority,
        files: NodeFiles,
        me: Me,
        env: Env,
        denials: Arc<Denials>,
    ) -> Result<Self, FilesError> {
        let tokens = Mutex::new(files.read_tokens()?);
        Ok(Self { authority, files, me, env, denials, tokens })
    }

    /// Makes a token for one node. Blocks on the disk.
    pub(crate) fn create_token(&self, grant: NodeGrant, lifetime: Duration) -> Result<JoinToken, TokenError> {
        let issuer = TokenIssuer {
            cluster: self.authority.cluster().to_owned(),
            id: self.me.id,
            addresses: vec![self.me.listen],
            root_fingerprint: fingerprint(self.authority.root()),
        };
        let now = self.env.wall();
        self.change(|book| book.issue(&issuer, grant, lifetime, TokenDraw::random(), now).map_err(TokenError::from))
    }

    /// Certifies an operator and returns the chain, root last, and when it ends.
    pub(crate) fn certify_operator(
        &self,
        csr: &[u8],
        name: &OperatorName,
        role: OperatorRole,
    ) -> Result<Vec<Vec<u8>>, covenant_identity::AuthorityError> {
        // Who was denied begins anew after that.
        let denied = self.denials.list().of_operator(name).map(|signed| signed.denial().at);
        let from = denied.map_or(WallTime(0), |at| WallTime(at.0.saturating_add(1)));
        let certificate = self.authority.sign_operator_from(csr, name, role, from, self.env.wall())?;
        Ok(self.authority.chain_for(certificate))
    }

    /// Certifies this hub itself anew.
    pub(crate) fn certify_self(
        &self,
        csr: &[u8],
        grant: &NodeGrant,
    ) -> Result<Vec<Vec<u8>>, covenant_identity::AuthorityError> {
        let certificate = self.authority.sign_node(csr, grant, self.env.wall())?;
        Ok(self.authority.chain_for(certificate))
    }

    /// Signs a denial, which is worth nothing until it is taken in and spread.
    pub(crate) fn deny(&self, denial: Denial) -> Result<SignedDenial, DenialError> {
        self.authority.deny(denial)
    }

    /// Refuses a key that is denied.
    fn refuse_denied(&self, key: &[u8; 32]) -> Result<(), JoinRefusal> {
        let denied = self.denials.list().of_key(node_id_of(key)).is_some();
        if denied { Err(JoinRefusal::Revoked) } else { Ok(()) }
    }

    /// Changes the book in memory only after the changed one is on disk.
    fn change<T, E: From<FilesError>>(&self, change: impl FnOnce(&mut TokenBook) -> Result<T, E>) -> Result<T, E> {
        let mut book = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = book.clone();
        let result = change(&mut changed)?;
        self.files.write_tokens(&changed)?;
        *book = changed;
        Ok(result)
    }

    fn redeem(&self, id: TokenId, secret: &[u8; 32], csr: &[u8]) -> Result<JoinAnswer, JoinRefusal> {
        // A request that cannot be signed must not use the token up.
        let key = covenant_identity::check_csr(csr).map_err(|error| JoinRefusal::BadRequest(error.to_string()))?;
        self.refuse_denied(&key)?;
        let now = self.env.wall();
        let grant =
            self.change(|book| book.redeem(id, secret, now).map_err(Refused::Token)).map_err(
                |refused| match refused {
                    Refused::Token(RedeemError::Unknown) => JoinRefusal::UnknownToken,
                    Refused::Token(RedeemError::Used) => JoinRefusal::UsedToken,
                    Refused::Token(RedeemError::Expired) => JoinRefusal::ExpiredToken,
                    Refused::Token(_) => JoinRefusal::UnknownToken,
                    Refused::Files(error) => internal(&error),
                },
            )?;
        let certificate = self.authority.sign_node(csr, &grant, now).map_err(|error| internal(&error))?;
        tracing::info!(node = %grant.name, role = %grant.role, region = %grant.region, "a node joined by token");
        Ok(self.answer(certificate))
    }

    fn renew(&self, old: &[u8], csr: &[u8]) -> Result<JoinAnswer, JoinRefusal> {
        let now = self.env.wall();
        let refused = |error: &dyn std::fmt::Display| JoinRefusal::NotRenewable(error.to_string());
        let issuers = [self.authority.certificate()];
        let grant =
            check_renewal(old, csr, self.authority.cluster(), &issuers, now).map_err(|error| refused(&error))?;
        let key = covenant_identity::check_csr(csr).map_err(|error| refused(&error))?;
        self.refuse_denied(&key)?;
        let certificate = self.authority.sign_node(csr, &grant, now).map_err(|error| internal(&error))?;
        tracing::info!(node = %grant.name, "a certificate was renewed");
        Ok(self.answer(certificate))
    }

    fn answer(&self, certificate: Vec<u8>) -> JoinAnswer {
        JoinAnswer {
            chain: self.authority.chain_for(certificate),
            cluster: self.authority.cluster().to_owned(),
            seeds: vec![(self.me.name.clone(), self.me.id, self.me.listen)],
            book_home: self.me.book_home.clone(),
        }
    }
}

enum Refused {
    Token(RedeemError),
    Files(FilesError),
}

impl From<FilesError> for Refused {
    fn from(error: FilesError) -> Self {
        Self::Files(error)
    }
}

fn internal(error: &dyn std::fmt::Display) -> JoinRefusal {
    tracing::error!(%error, "a join request could not be served");
    JoinRefusal::Internal
}

/// The transport asks this; the work blocks on the disk, so it is done beside.
pub(crate) struct IssuerHandle(pub(crate) Arc<HubIssuer>);

impl Issuer for IssuerHandle {
    fn handle(&self, request: JoinRequest, _from: IpAddr) -> BoxFuture<'static, Result<JoinAnswer, JoinRefusal>> {
        let issuer = self.0.clone();
        Box::pin(async move {
            let env = issuer.env.clone();
            let done = env.blocking(move || match request {
                JoinRequest::Redeem { token_id, secret, csr } => issuer.redeem(TokenId(token_id), &secret, &csr),
                JoinRequest::Renew { old_certificate, csr } => issuer.renew(&old_certificate, &csr),
            });
            done.await.unwrap_or_else(|error| Err(internal(&error)))
        })
    }
}
