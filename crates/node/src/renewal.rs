//! Keeps the node's certificate alive: renewed at half-life, over a connection of its own, swapped in without closing any.
//!
//! Any issuing hub that may sign for this node's region will do. Where none does, the pauses between attempts grow to a
//! bound, and no two nodes have the same. A node whose certificate has ended does the same: it can do nothing else until then.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use covenant_cluster::{Cluster, MemberState, MemberView};
use covenant_env::Env;
use covenant_identity::{NODE_LIFETIME, NodeGrant, PeerIdentity, Subject, make_csr, retry_after, root_print};
use covenant_transport::NodeCredentials;
use covenant_transport::join::{JoinError, JoinRefusal, Renewal, ask_time, renew};
use covenant_types::{NodeId, Uptime, WallTime, format_duration};
use metrics::Counter;
use rand::RngCore;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::sync::Mutex as AsyncMutex;

use crate::clock::NodeClock;
use crate::config::IssuerSection;
use crate::doctor::ISSUING_SOON;
use crate::files::NodeFiles;
use crate::issuer::HubIssuer;

/// How often the certificate is looked at where nothing calls for it.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How long one attempt may take over all hubs.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(20);
/// How long a node may have no connection before it asks whether it missed a rotation of the roots.
const LONELY_AFTER: Duration = Duration::from_secs(30);
/// How many issuing hubs are asked, and remembered.
const ISSUERS_MAX: usize = 8;
/// Over how long a cluster spreads the renewals of a rotation, for each of its members.
const SPREAD_PER_MEMBER: Duration = Duration::from_millis(50);
/// How often the end of an issuing authority is warned of.
const WARN_EVERY: Duration = Duration::from_hours(24);
/// The longest such spread.
const SPREAD_MAX: Duration = Duration::from_secs(60);

/// Renews this node's certificate. One attempt at a time.
pub(crate) struct Renewer {
    parts: RenewerParts,
    cluster: OnceLock<Weak<Cluster>>,
    random: Mutex<StdRng>,
    attempt: AsyncMutex<()>,
    renewed: Counter,
    failed: Counter,
}

/// What a renewer is made of.
pub(crate) struct RenewerParts {
    pub(crate) credentials: Arc<NodeCredentials>,
    pub(crate) grant: NodeGrant,
    pub(crate) files: NodeFiles,
    pub(crate) desk: Arc<HubIssuer>,
    pub(crate) configured: Vec<IssuerSection>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) env: Env,
}

/// Why a certificate was not renewed. The old one stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RenewError {
    /// A hub said that it never will.
    #[error("{0}")]
    Refused(String),
    /// Nobody did. Trying again is safe.
    #[error("{0}")]
    Failed(String),
}

impl Renewer {
    pub(crate) fn new(parts: RenewerParts) -> Self {
        let env = &parts.env;
        let count = |result| env.metrics.counter("covenant_certificate_renewals_total", &[("result", result)]);
        let (renewed, failed) = (count("renewed"), count("failed"));
        let random = Mutex::new(env.random.derive("node.renewal"));
        let (cluster, attempt) = (OnceLock::new(), AsyncMutex::default());
        Self { parts, cluster, random, attempt, renewed, failed }
    }

    /// From now on the members of `cluster` are asked as well. To be called once.
    pub(crate) fn attach(&self, cluster: &Arc<Cluster>) {
        let _once = self.cluster.set(Arc::downgrade(cluster));
    }

    /// Before the node takes part: learns the time where its own is doubted, and renews where that is due. A node that
    /// reaches nobody comes up all the same, and goes on trying.
    ///
    /// # Errors
    /// A hub said that it will never renew this certificate.
    pub(crate) async fn come_up(&self) -> Result<(), String> {
        self.ask_time().await;
        if !self.is_due() {
            return Ok(());
        }
        match self.renew().await {
            Ok(_) => Ok(()),
            Err(RenewError::Refused(why)) if !self.parts.credentials.identity().is_valid_at(self.parts.env.wall()) => {
                Err(why)
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate could not be renewed yet");
                Ok(())
            }
        }
    }

    /// Renews whenever that is due, for as long as the node lives.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut changes = self.parts.credentials.changes();
        let mut failures = 0;
        let mut alone_since = None;
        let mut warned = None;
        loop {
            let pause = if failures == 0 { LOOK_EVERY } else { retry_after(failures, self.draw()) };
            tokio::select! {
                biased;
                // The sender lives as long as the credentials that this holds.
                _ = changes.changed() => {
                    if self.is_under_another_root() {
                        tokio::time::sleep(self.spread()).await;
                    } else {
                        continue;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.parts.desk.tell_scope();
            self.warn_of_authority(&mut warned);
            self.remember_issuers().await;
            self.ask_time().await;
            let lonely = self.is_lonely(&mut alone_since);
            if !self.is_due() && !self.is_under_another_root() && !lonely {
                failures = 0;
                continue;
            }
            // Who is alone has perhaps missed a rotation, and its own authority with it.
            let result = if lonely { self.renew_by_others().await } else { self.renew().await };
            match result {
                Ok(_) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(%error, failures, "the certificate could not be renewed; trying again");
                }
            }
        }
    }

    /// Says once a day that this hub's issuing authority ends soon, or has ended.
    fn warn_of_authority(&self, warned: &mut Option<Uptime>) {
        let Some(authority) = self.parts.desk.any_authority() else { return };
        let left = Duration::from_secs(authority.not_after().0.saturating_sub(self.parts.env.wall().0));
        let now = self.parts.env.now();
        let is_time = warned.is_none_or(|at| now.since(at) >= WARN_EVERY);
        if left < ISSUING_SOON && is_time {
            *warned = Some(now);
            let left = format_duration(left);
            tracing::warn!(left, "the issuing authority ends: run `covenant ca issue` with the root's key");
        }
    }

    /// Whether half of the certificate's life is over.
    pub(crate) fn is_due(&self) -> bool {
        self.parts.env.wall() >= self.parts.credentials.renew_at()
    }

    /// Whether all are to be certified under another root than this node is.
    fn is_under_another_root(&self) -> bool {
        self.parts.credentials.mark().under != root_print(&self.parts.credentials.trusted().roots()[0])
    }

    /// Whether this node has had no connection for so long that its roots may be out of date, though there are hubs to ask.
    fn is_lonely(&self, since: &mut Option<Uptime>) -> bool {
        let me = self.parts.credentials.id();
        let in_company = self.members().iter().any(|member| member.id != me && is_reachable(member));
        if in_company || self.issuers().is_empty() {
            *since = None;
            return false;
        }
        let now = self.parts.env.now();
        now.since(*since.get_or_insert(now)) >= LONELY_AFTER
    }

    /// Gets a fresh certificate for the same key, and puts it on disk and into use. Returns who signed it.
    pub(crate) async fn renew(&self) -> Result<String, RenewError> {
        let _one_at_a_time = self.attempt.lock().await;
        let own = self.authority_serves_me();
        let signed = if own { self.by_own_authority() } else { self.ask_hubs().await };
        let signed = match signed {
            // An authority about to end is better than none.
            Err(_) if !own && self.parts.desk.authority().is_some() => self.by_own_authority(),
            other => other,
        };
        self.take(signed).await
    }

    /// The same, by another hub whatever this node has itself.
    async fn renew_by_others(&self) -> Result<String, RenewError> {
        let _one_at_a_time = self.attempt.lock().await;
        let signed = self.ask_hubs().await;
        self.take(signed).await
    }

    /// Puts a fresh certificate on disk and into use, and counts.
    async fn take(&self, signed: Result<(Vec<Vec<u8>>, String), RenewError>) -> Result<String, RenewError> {
        let taken = async {
            let (chain, by) = signed?;
            let failed = |error: &dyn std::fmt::Display| RenewError::Failed(error.to_string());
            let (files, written) = (self.parts.files.clone(), chain.clone());
            let done =
                self.parts.env.blocking(move || files.write_chain(&written)).await.map_err(|error| failed(&error))?;
            done.map_err(|error| failed(&error))?;
            self.parts.credentials.replace_chain(chain).map_err(|error| failed(&error))?;
            self.parts.clock.certified(&self.parts.credentials.identity());
            Ok(by)
        };
        let taken = taken.await;
        match &taken {
            Ok(by) => {
                self.renewed.increment(1);
                tracing::info!(by, ends = self.parts.credentials.identity().not_after.0, "the certificate is renewed");
            }
            Err(_) => self.failed.increment(1),
        }
        taken
    }

    /// Whether this node has an authority that may sign for it, and for a whole life.
    fn authority_serves_me(&self) -> bool {
        let me = Subject::Node { id: self.parts.credentials.id(), grant: self.parts.grant.clone() };
        let lasts = WallTime(self.parts.env.wall().0.saturating_add(NODE_LIFETIME.as_secs()));
        let authority = self.parts.desk.authority();
        authority.is_some_and(|authority| authority.scope().permits(&me) && authority.not_after() >= lasts)
    }

    fn by_own_authority(&self) -> Result<(Vec<Vec<u8>>, String), RenewError> {
        let csr = make_csr(self.parts.credentials.key());
        let chain = self
            .parts
            .desk
            .certify_self(&csr, &self.parts.grant)
            .map_err(|error| RenewError::Failed(error.to_string()))?;
        Ok((chain, self.parts.grant.name.to_string()))
    }

    async fn ask_hubs(&self) -> Result<(Vec<Vec<u8>>, String), RenewError> {
        let issuers = self.issuers();
        if issuers.is_empty() {
            let why = "no issuing hub is known: see `covenant ca show`, and the configuration's cluster.issuers";
            return Err(RenewError::Failed(why.to_owned()));
        }
        let renewal = Renewal::of(&self.parts.credentials, issuers, self.parts.clock.floor());
        let asking = renew(&renewal, self.parts.credentials.key(), &self.parts.env);
        let renewed = match tokio::time::timeout(ATTEMPT_WITHIN, asking).await {
            Ok(Ok(renewed)) => renewed,
            Ok(Err(error @ JoinError::Refused(JoinRefusal::EndedTooLongAgo))) => {
                return Err(RenewError::Refused(error.to_string()));
            }
            Ok(Err(error)) => return Err(RenewError::Failed(error.to_string())),
            Err(_) => return Err(RenewError::Failed("no issuing hub answered in time".to_owned())),
        };
        if !renewed.answer.roots.is_empty()
            && let Err(error) = self.parts.credentials.adopt_roots(&renewed.answer.roots)
        {
            return Err(RenewError::Failed(error.to_string()));
        }
        let name =
            self.members().into_iter().find(|member| member.id == renewed.by).map(|member| member.name.to_string());
        Ok((renewed.answer.chain, name.unwrap_or_else(|| renewed.by.to_string())))
    }

    /// Asks issuing hubs for the time where the machine's is doubted.
    async fn ask_time(&self) {
        if !self.parts.clock.wants_to_ask() {
            return;
        }
        let issuers = self.issuers();
        let known = issuers.len();
        let renewal = Renewal::of(&self.parts.credentials, issuers, self.parts.clock.floor());
        let verdict = self.parts.clock.judge();
        let said = tokio::time::timeout(ATTEMPT_WITHIN, ask_time(&renewal, &self.parts.env)).await.unwrap_or_default();
        if self.parts.clock.hear(&said, known) {
            tracing::warn!(
                ?verdict,
                now = self.parts.env.wall().0,
                "the machine's clock was doubted, and hubs told the time"
            );
        } else {
            tracing::error!(
                ?verdict,
                answers = said.len(),
                "the machine's clock is doubted, and too few hubs told the time"
            );
        }
    }

    /// Whom to ask, in order: reachable ones first, by lot, so that no hub is asked by all.
    fn issuers(&self) -> Vec<(NodeId, std::net::SocketAddr)> {
        let mut sections = choose_issuers(&self.members(), &self.parts.grant, self.parts.credentials.id());
        sections.shuffle(&mut *self.random.lock().unwrap_or_else(PoisonError::into_inner));
        sections.sort_by_key(|(reachable, _)| !reachable);
        let members = sections.into_iter().map(|(_, issuer)| issuer);
        let denied = self.parts.credentials.denials().list();
        let mut issuers: Vec<(NodeId, std::net::SocketAddr)> = Vec::new();
        for issuer in members.chain(self.parts.files.read_issuers()).chain(self.parts.configured.iter().cloned()) {
            let known = issuers.iter().any(|(id, address)| *id == issuer.id && *address == issuer.address);
            let is_denied = denied.of_key(issuer.id).is_some();
            if !known && !is_denied && issuer.id != self.parts.credentials.id() && issuers.len() < ISSUERS_MAX {
                issuers.push((issuer.id, issuer.address));
            }
        }
        issuers
    }

    /// Writes down where issuing hubs are, for a boot that finds nobody to ask.
    async fn remember_issuers(&self) {
        let mut now: Vec<IssuerSection> =
            choose_issuers(&self.members(), &self.parts.grant, self.parts.credentials.id())
                .into_iter()
                .filter_map(|(reachable, issuer)| reachable.then_some(issuer))
                .take(ISSUERS_MAX)
                .collect();
        now.sort_by_key(|issuer| issuer.id);
        if now.is_empty() {
            return;
        }
        let files = self.parts.files.clone();
        let written = self
            .parts
            .env
            .blocking(move || if files.read_issuers() == now { Ok(()) } else { files.write_issuers(&now) });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "the issuing hubs could not be written down");
        }
    }

    fn members(&self) -> Vec<MemberView> {
        self.cluster.get().and_then(Weak::upgrade).map(|cluster| cluster.members()).unwrap_or_default()
    }

    fn spread(&self) -> Duration {
        let members = u32::try_from(self.members().len()).unwrap_or(u32::MAX);
        let over = SPREAD_PER_MEMBER.saturating_mul(members).min(SPREAD_MAX);
        over.mul_f64(f64::from(self.draw()) / f64::from(u32::MAX))
    }

    fn draw(&self) -> u32 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).next_u32()
    }
}

/// The members that say that they may sign for a node with this grant, and whether they are reachable.
fn choose_issuers(members: &[MemberView], grant: &NodeGrant, me: NodeId) -> Vec<(bool, IssuerSection)> {
    let subject = Subject::Node { id: me, grant: grant.clone() };
    let may_sign = |member: &&MemberView| member.trust.issues.is_some_and(|scope| scope.permits(&subject));
    members
        .iter()
        .filter(|member| member.id != me)
        .filter(may_sign)
        .map(|member| (is_reachable(member), IssuerSection { id: member.id, address: member.address }))
        .collect()
}

fn is_reachable(member: &MemberView) -> bool {
    member.state == MemberState::Reachable
}

/// Whether the certificate still counts; for people.
pub(crate) fn ended(identity: &PeerIdentity, now: WallTime) -> Option<String> {
    (now > identity.not_after).then(|| "its certificate has ended, and no issuing hub has renewed it yet".to_owned())
}
