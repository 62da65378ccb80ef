//! Keeps the node's certificate alive: renewed at half-life, over a connection of its own, swapped in without closing any.

use std::sync::Arc;
use std::time::Duration;

use covenant_env::Env;
use covenant_identity::{NodeGrant, make_csr};
use covenant_transport::NodeCredentials;
use covenant_transport::join::{Renewal, renew};

use crate::config::IssuerSection;
use crate::files::NodeFiles;
use crate::issuer::HubIssuer;

/// How often the certificate is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long one attempt may take.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(20);

/// What renewing needs.
pub(crate) struct Renewer {
    pub(crate) credentials: Arc<NodeCredentials>,
    pub(crate) grant: NodeGrant,
    pub(crate) files: NodeFiles,
    pub(crate) issuer: Option<Arc<HubIssuer>>,
    pub(crate) issuers: Vec<IssuerSection>,
    pub(crate) env: Env,
}

impl Renewer {
    /// Renews whenever half of the certificate's life is over, for as long as the node lives.
    pub(crate) async fn run(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.is_due()
                && let Err(why) = self.renew().await
            {
                tracing::warn!(why, "the certificate could not be renewed; trying again in a minute");
            }
        }
    }
}

impl Renewer {
    /// Whether half of the certificate's life is over.
    pub(crate) fn is_due(&self) -> bool {
        self.env.wall() >= self.credentials.renew_at()
    }

    /// Gets a fresh certificate for the same key, and puts it on disk and into use.
    pub(crate) async fn renew(&self) -> Result<(), String> {
        let chain = match &self.issuer {
            Some(issuer) => {
                let csr = make_csr(self.credentials.key());
                issuer.certify_self(&csr, &self.grant).map_err(|error| error.to_string())?
            }
            None => self.ask().await?,
        };
        self.files.write_chain(&chain).map_err(|error| error.to_string())?;
        self.credentials.replace_chain(chain).map_err(|error| error.to_string())?;
        tracing::info!("the certificate is renewed");
        Ok(())
    }

    async fn ask(&self) -> Result<Vec<Vec<u8>>, String> {
        if self.issuers.is_empty() {
            return Err("the configuration names no issuer that could renew it".to_owned());
        }
        let denied = self.credentials.denials().list();
        let trusted = self.issuers.iter().filter(|issuer| denied.of_key(issuer.id).is_none());
        let issuers = trusted.map(|issuer| (issuer.id, issuer.address)).collect();
        let renewal = Renewal::of(&self.credentials, issuers);
        match tokio::time::timeout(ATTEMPT_WITHIN, renew(&renewal, self.credentials.key(), &self.env)).await {
            Ok(Ok(answer)) => Ok(answer.chain),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no issuer answered in time".to_owned()),
        }
    }
}
