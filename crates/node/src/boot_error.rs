//! Why a node did not start.

use covenant_cluster::ClusterError;
use covenant_transport::BindError;

use crate::api::{ApiError, ErrorKind};

/// Why a node did not start. Unless it says otherwise nothing was changed, and trying again after mending is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// A tree file is wrong, or names a behaviour that does not exist.
    #[error("the tree cannot be used: {0}")]
    Tree(#[from] covenant_supervision::TreeError),
    /// The configured table of nations is wrong.
    #[error(transparent)]
    Nations(#[from] covenant_ledger::NationsError),
    /// The data directory is missing, locked or damaged.
    #[error(transparent)]
    Data(#[from] covenant_store::DataDirError),
    /// The identity is missing, damaged or not the configured one.
    #[error(transparent)]
    Files(#[from] crate::files::FilesError),
    /// The certificate and the configuration name different nodes.
    #[error("the certificate is for {certificate}, the configuration for {configured}; one of them is another node's")]
    WrongIdentity {
        /// What the certificate says.
        certificate: String,
        /// What the configuration says.
        configured: String,
    },
    /// The certificate has ended, and an issuing hub said that it renews it no more.
    #[error(
        "the certificate has ended and is renewed no more: {0}; remove the folder and join with a new token, or, where \
             only the clock was wrong, set it right and start again"
    )]
    CertificateEnded(String),
    /// The tree in force is damaged or cannot be kept.
    #[error(transparent)]
    TreeStore(#[from] crate::TreeStoreError),
    /// The audit log is damaged.
    #[error(transparent)]
    Audit(#[from] crate::audit::AuditError),
    /// The file of seeds is missing or wrong.
    #[error("the seeds cannot be used: {0}")]
    Seeds(#[from] covenant_cluster::SeedsFileError),
    /// Peers cannot be listened for.
    #[error("the node cannot take part in the cluster: {0}")]
    Cluster(#[from] covenant_cluster::ClusterError),
    /// An actor of the tree could not be started.
    #[error("the tree did not start: {0}")]
    System(#[from] covenant_runtime::BootError),
    /// The control API or the metrics cannot listen.
    #[error(transparent)]
    Listen(#[from] crate::http::ListenError),
    /// TLS for the control API cannot be set up.
    #[error("TLS for the control API cannot be set up: {0}")]
    Tls(String),
}

impl BootError {
    /// The error and what it comes from, in one line.
    pub fn told(&self) -> String {
        let mut told = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors tell their cause themselves.
            if !told.contains(&text) {
                told = format!("{told}: {text}");
            }
            cause = error.source();
        }
        told
    }

    /// The error as a verb ends with it.
    pub fn into_api(self) -> ApiError {
        let kind = match &self {
            Self::Tree(_)
            | Self::Nations(_)
            | Self::Seeds(_)
            | Self::System(
                covenant_runtime::BootError::UnknownBehaviour { .. } | covenant_runtime::BootError::BadConfig { .. },
            ) => ErrorKind::Usage,
            Self::Data(_)
            | Self::TreeStore(crate::TreeStoreError::Damaged { .. })
            | Self::WrongIdentity { .. }
            | Self::Listen(_)
            | Self::Cluster(ClusterError::Bind(BindError::AddressTaken(_))) => ErrorKind::Conflict,
            Self::Files(_)
            | Self::CertificateEnded(_)
            | Self::Audit(_)
            | Self::TreeStore(_)
            | Self::Cluster(_)
            | Self::System(_)
            | Self::Tls(_) => ErrorKind::Failure,
        };
        ApiError::new(kind, self.told())
    }
}
