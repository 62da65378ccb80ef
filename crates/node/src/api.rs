//! The words of the control API: what a node answers, and how it says no. The same types serve node and client.

pub mod actor;
pub mod ca;
pub mod cert;
pub mod doctor;
pub mod fault;
pub mod part;
pub mod tree;
pub mod whereabouts;

use std::net::SocketAddr;

use covenant_ledger::Step;
use covenant_types::{
    ActorPath, BootEpoch, CallError, Incarnation, NodeId, NodeName, Region, Role, TransferId, WallTime,
};
use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The node's name.
    pub name: NodeName,
    /// Its id.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// Its region.
    pub region: Region,
    /// The cluster it belongs to.
    pub cluster: String,
    /// How often its process has started.
    pub epoch: BootEpoch,
    /// The version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Whether its tree is up and nothing in it is beyond control.
    pub ready: bool,
    /// Why it is not ready; empty when it is.
    pub not_ready_because: String,
    /// Its resident memory, in bytes.
    pub rss_bytes: u64,
    /// When its certificate ends.
    pub certificate_ends: WallTime,
    /// The address peers reach it at.
    pub listen: SocketAddr,
    /// The node that keeps the book.
    pub book_home: NodeName,
}

/// `POST /v1/actor/kill`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillActor {
    /// The actor.
    pub path: ActorPath,
}

/// What killing an actor did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActorKilled {
    /// The actor.
    pub path: ActorPath,
    /// The incarnation that was killed.
    pub incarnation: Incarnation,
}

/// `POST /v1/ledger/assess`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assess {
    /// The year owed for.
    pub year: u16,
}

/// `POST /v1/ledger/distribute`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribute {
    /// Dollars and cents, as `1234.56`.
    pub amount: String,
    /// The client's id; doing it twice does it once.
    pub id: TransferId,
}

/// `POST /v1/ledger/transfer`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The client's id; doing it twice does it once.
    pub id: TransferId,
    /// The account that gives.
    pub from: String,
    /// The account that receives.
    pub to: String,
    /// Dollars and cents, as `1234.56`.
    pub amount: String,
    /// The nation that a payment into a project concerns, by its ISO alpha-3 code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nation: Option<String>,
}

/// `POST /v1/ledger/steps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerStep {
    /// The client's id; doing it twice does it once.
    pub id: TransferId,
    /// What is to happen.
    pub step: Step,
}

/// `POST /v1/ledger/close`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseBooks {
    /// The last year to close, for ever.
    pub through: u16,
}

/// `POST /v1/ledger/voters`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voters {
    /// A hub or voter of the cluster.
    pub node: NodeName,
    /// Whether it gets a vote or loses it.
    pub add: bool,
}

/// `POST /v1/ledger/allowances`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAllowance {
    /// The device's public key in hexadecimal.
    pub device: String,
    /// The client's id; doing it twice does it once.
    pub id: TransferId,
    /// The account that fills it.
    pub from: String,
    /// Dollars and cents, as `1234.56`.
    pub amount: String,
}

/// `POST /v1/ledger/allowances/write-off`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteOff {
    /// The device.
    pub device: String,
    /// Why.
    pub reason: String,
}

/// `POST /v1/ledger/inbox/resolve`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// The number of the entry.
    pub entry: u64,
    /// Whether it is booked, or rejected.
    pub book: bool,
    /// Why.
    pub reason: String,
}

/// `POST /v1/content/publish`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// A folder on the node's machine, absolute.
    pub dir: String,
    /// The dataset's name.
    pub name: String,
    /// Its class.
    pub class: String,
}

/// `POST /v1/content/get`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetDataset {
    /// The dataset's name.
    pub name: String,
    /// A folder on the node's machine, absolute, which must not exist yet.
    pub to: String,
}

/// A dataset that was written into a folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    /// Its id.
    pub id: String,
    /// The folder.
    pub to: String,
}

/// `POST /v1/content/subscribe`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// The class.
    pub class: String,
    /// False ends the subscription.
    pub on: bool,
}

/// `POST /v1/token`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The role of the node to be.
    pub role: Role,
    /// Its region.
    pub region: Region,
    /// Its name.
    pub name: NodeName,
    /// Seconds until the token ends.
    pub ttl_s: u64,
}

/// A token, which is a secret: it is shown once and never logged.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenCreated {
    /// The text to give to `covenant join`.
    pub token: String,
    /// When it ends.
    pub expires: WallTime,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// `POST /v1/operator`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateOperator {
    /// The person's name.
    pub name: String,
    /// Their role: viewer, operator, chaos or admin.
    pub role: String,
    /// Their certificate signing request, DER. Their key never leaves their machine.
    pub csr: Vec<u8>,
}

/// A person's certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatorCreated {
    /// Certificate and issuing certificate, PEM.
    pub chain_pem: String,
    /// The cluster's root, PEM.
    pub root_pem: String,
    /// When it ends.
    pub expires: WallTime,
}

/// What kind of no an answer is. Each has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Something failed here.
    Failure,
    /// The request is malformed.
    Usage,
    /// What it names does not exist.
    NotFound,
    /// The caller may not do this.
    Denied,
    /// It contradicts what is already there.
    Conflict,
    /// It was understood and will not be done.
    Refused,
    /// No answer came in time; it may have been done.
    Timeout,
    /// Whoever must answer cannot be reached.
    Unreachable,
}

impl ErrorKind {
    /// The exit code of a verb that ends this way.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::Conflict => 5,
            Self::Refused => 6,
            Self::Timeout => 7,
            Self::Unreachable => 8,
        }
    }

    /// The HTTP status of an answer of this kind.
    pub fn status(self) -> u16 {
        match self {
            Self::Failure => 500,
            Self::Usage => 400,
            Self::NotFound => 404,
            Self::Denied => 403,
            Self::Conflict => 409,
            Self::Refused => 422,
            Self::Timeout => 504,
            Self::Unreachable => 503,
        }
    }
}

/// A no: what failed, what changed, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of no.
    pub kind: ErrorKind,
    /// What failed and what to do, for people.
    pub message: String,
}

impl ApiError {
    /// A no of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A request that makes no sense.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Usage, message.to_string())
    }

    /// Something failed here.
    pub fn failure(message: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Failure, message.to_string())
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let kind = match &error {
            CallError::Timeout => ErrorKind::Timeout,
            CallError::NoProc => ErrorKind::NotFound,
            CallError::Gone(_) => ErrorKind::Failure,
            CallError::MailboxFull | CallError::Rejected(_) | CallError::Draining => ErrorKind::Refused,
            CallError::NoConnection => ErrorKind::Unreachable,
        };
        Self::new(kind, error.to_string())
    }
}
