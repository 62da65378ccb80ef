//! The issuing hub's side of joining: redeems tokens once, renews certificates, certifies operators. Every node has a desk;
//! only one with an issuing authority does anything at it, and it may get one, or another, while it runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use covenant_env::Env;
use covenant_identity::{
    AuthorityError, ClockVerdict, Denial, DenialError, IssuingAuthority, JoinToken, NodeGrant, NodeKey, OperatorName,
    OperatorRole, RedeemError, RenewalError, Scope, SignedDenial, Subject, TokenBook, TokenDraw, TokenId, TokenIssuer,
    check_renewal, fingerprint, node_id_of,
};
use covenant_transport::join::{Issuer, JoinAnswer, JoinRefusal, JoinRequest};
use covenant_transport::{Denials, NodeCredentials};
use covenant_types::{NodeName, WallTime};
use futures_util::future::BoxFuture;

use crate::clock::NodeClock;
use crate::files::{FilesError, NodeFiles};

/// What a hub with an issuing authority can do.
pub(crate) struct HubIssuer {
    authority: RwLock<Option<Arc<IssuingAuthority>>>,
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
    pub(crate) name: NodeName,
    pub(crate) listen: SocketAddr,
    pub(crate) book_home: NodeName,
    pub(crate) credentials: Arc<NodeCredentials>,
    pub(crate) clock: Arc<NodeClock>,
}

/// Why an issuing hub did not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// This node has no issuing authority.
    #[error("this node has no issuing authority")]
    NotAnIssuer,
    #[error(transparent)]
    Issue(#[from] covenant_identity::IssueError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The certificate of the new authority does not fit.
    #[error("the certificate does not fit: {0}")]
    DoesNotFit(String),
}

impl HubIssuer {
    /// Reads the authority, where there is one, and the tokens issued so far.
    pub(crate) fn open(files: NodeFiles, me: Me, env: Env) -> Result<Self, FilesError> {
        let authority = files.issuing_authority()?.map(Arc::new);
        let tokens = Mutex::new(files.read_tokens()?);
        let denials = me.credentials.denials().clone();
        let issuer = Self { authority: RwLock::new(authority), files, me, env, denials, tokens };
        issuer.tell_scope();
        Ok(issuer)
    }

    /// The authority, where there is one that has not ended and whose root is trusted.
    pub(crate) fn authority(&self) -> Option<Arc<IssuingAuthority>> {
        let trusted = self.me.credentials.trusted();
        let counts = |authority: &Arc<IssuingAuthority>| {
            self.env.wall() < authority.not_after() && trusted.roots().iter().any(|root| root == authority.root())
        };
        self.any_authority().filter(counts)
    }

    /// The authority, ended or not.
    pub(crate) fn any_authority(&self) -> Option<Arc<IssuingAuthority>> {
        self.authority.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the others what this node may sign for: nothing any more, when its authority has ended.
    pub(crate) fn tell_scope(&self) {
        let scope = self.authority().map(|authority| authority.scope());
        if self.me.credentials.mark().issues != scope {
            self.me.credentials.set_issuing(scope);
        }
    }

    /// The signing request of this node's next issuing authority. Blocks on the disk.
    pub(crate) fn request_authority(&self) -> Result<Vec<u8>, DeskError> {
        Ok(covenant_identity::make_csr(&self.files.next_issuing_key()?))
    }

    /// Puts the issuing authority in place that a root certified on request. Blocks on the disk.
    pub(crate) fn install(&self, certificate: Vec<u8>, root: Vec<u8>) -> Result<Arc<IssuingAuthority>, DeskError> {
        let misfit = |why: &str| DeskError::DoesNotFit(why.to_owned());
        let key: NodeKey =
            self.files.pending_issuing_key()?.ok_or_else(|| misfit("this node has not asked for one"))?;
        let credentials = &self.me.credentials;
        if !credentials.trusted().roots().contains(&root) {
            return Err(misfit("this node does not trust its root"));
        }
        let authority = IssuingAuthority::assemble(key, certificate, root)?;
        if authority.cluster() != credentials.cluster() {
            return Err(misfit("it is of another cluster"));
        }
        if let Scope::Region(region) = authority.scope()
            && region != credentials.grant().region
        {
            return Err(DeskError::DoesNotFit(format!("it is for {region}, and this node stands elsewhere")));
        }
        if self.env.wall() >= authority.not_after() {
            return Err(AuthorityError::Ended.into());
        }
        self.files.write_issuing(&authority)?;
        self.files.forget_issuing_key()?;
        let authority = Arc::new(authority);
        *self.authority.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&authority));
        self.tell_scope();
        Ok(authority)
    }

    /// Makes a token for one node. Blocks on the disk.
    pub(crate) fn create_token(&self, grant: NodeGrant, lifetime: Duration) -> Result<JoinToken, DeskError> {
        let authority = self.authority().ok_or(DeskError::NotAnIssuer)?;
        let newcomer = Subject::Node { id: covenant_types::NodeId([0; 16]), grant: grant.clone() };
        if !authority.scope().permits(&newcomer) {
            return Err(AuthorityError::OutOfScope(authority.scope()).into());
        }
        // The root that all trust, also while it is being replaced.
        let trusted = self.me.credentials.trusted();
        let issuer = TokenIssuer {
            cluster: authority.cluster().to_owned(),
            id: self.me.credentials.id(),
            addresses: vec![self.me.listen],
            root_fingerprint: fingerprint(&trusted.roots()[0]),
        };
        let now = self.env.wall();
        self.change(|book| book.issue(&issuer, grant, lifetime, TokenDraw::random(), now).map_err(DeskError::from))
    }

    /// Certifies an operator and returns the chain, root last.
    pub(crate) fn certify_operator(
        &self,
        csr: &[u8],
        name: &OperatorName,
        role: OperatorRole,
    ) -> Result<Vec<Vec<u8>>, DeskError> {
        let authority = self.authority().ok_or(DeskError::NotAnIssuer)?;
        // Who was denied begins anew after that.
        let denied = self.denials.list().of_operator(name).map(|signed| signed.denial().at);
        let from = denied.map_or(WallTime(0), |at| WallTime(at.0.saturating_add(1)));
        let certificate = authority.sign_operator_from(csr, name, role, from, self.env.wall())?;
        Ok(authority.chain_for(certificate))
    }

    /// Certifies this hub itself anew.
    pub(crate) fn certify_self(&self, csr: &[u8], grant: &NodeGrant) -> Result<Vec<Vec<u8>>, DeskError> {
        let authority = self.authority().ok_or(DeskError::NotAnIssuer)?;
        let certificate = authority.sign_node(csr, grant, self.env.wall())?;
        Ok(authority.chain_for(certificate))
    }

    /// Signs a denial, which is worth nothing until it is taken in and spread.
    pub(crate) fn deny(&self, denial: Denial) -> Result<SignedDenial, DenialError> {
        let authority = self.authority().ok_or(DenialError::Authority(AuthorityError::Ended))?;
        authority.deny(denial)
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
        let authority = self.authority().ok_or(JoinRefusal::NotAnIssuer)?;
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
        let certificate = authority.sign_node(csr, &grant, now).map_err(|error| internal(&error))?;
        tracing::info!(node = %grant.name, role = %grant.role, region = %grant.region, "a node joined by token");
        Ok(self.answer(&authority, certificate))
    }

    /// Renews what any issuing authority of the cluster signed, within the scope of this one.
    fn renew(&self, chain: &[Vec<u8>], csr: &[u8]) -> Result<JoinAnswer, JoinRefusal> {
        let authority = self.authority().ok_or(JoinRefusal::NotAnIssuer)?;
        let now = self.env.wall();
        let trusted = self.me.credentials.trusted();
        let grant = check_renewal(chain, csr, &trusted, authority.scope(), now).map_err(|error| {
            let too_late = error == RenewalError::TooLate;
            if too_late { JoinRefusal::EndedTooLongAgo } else { JoinRefusal::NotRenewable(error.to_string()) }
        })?;
        let key = covenant_identity::check_csr(csr).map_err(|error| JoinRefusal::BadRequest(error.to_string()))?;
        self.refuse_denied(&key)?;
        let certificate = authority.sign_node(csr, &grant, now).map_err(|error| internal(&error))?;
        tracing::info!(node = %grant.name, "a certificate was renewed");
        Ok(self.answer(&authority, certificate))
    }

    fn answer(&self, authority: &IssuingAuthority, certificate: Vec<u8>) -> JoinAnswer {
        JoinAnswer {
            chain: authority.chain_for(certificate),
            cluster: authority.cluster().to_owned(),
            seeds: vec![(self.me.name.clone(), self.me.credentials.id(), self.me.listen)],
            book_home: self.me.book_home.clone(),
            roots: self.me.credentials.trusted().to_bytes(),
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
                JoinRequest::Renew { chain, csr } => issuer.renew(&chain, &csr),
                // The transport asks `time` for it.
                JoinRequest::Time => Err(JoinRefusal::Internal),
            });
            done.await.unwrap_or_else(|error| Err(internal(&error)))
        })
    }

    fn time(&self) -> Result<WallTime, JoinRefusal> {
        let desk = &self.0;
        desk.authority().ok_or(JoinRefusal::NotAnIssuer)?;
        match desk.me.clock.judge() {
            ClockVerdict::Plausible => Ok(desk.env.wall()),
            ClockVerdict::Behind | ClockVerdict::Ahead => Err(JoinRefusal::ClockDoubted),
        }
    }
}
