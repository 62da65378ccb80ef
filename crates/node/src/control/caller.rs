//! Who calls, and what they may do here. Every act, allowed or refused, ends in a line of the audit log.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use covenant_identity::{OperatorName, OperatorRole, PeerIdentity, Subject, Verb};
use serde::Serialize;

use crate::api::{ApiError, ErrorKind};
use crate::audit::Act;
use crate::control::{Answer, Control};
use crate::http::Connected;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The user this node runs as, or root: admin of this node alone.
    Owner { uid: u32 },
    /// A person with a certificate.
    Operator { name: OperatorName, role: OperatorRole },
    /// Nobody who may do anything; the text says who it is.
    Stranger(String),
}

impl Caller {
    /// Who is behind a connection.
    ///
    /// A node's certificate is a stranger's: a node never vouches for an operator.
    pub(crate) fn identify(connected: &Connected, own_uid: u32, trust_domain: &str) -> Self {
        match connected {
            Connected::Local { uid } if *uid == own_uid || *uid == 0 => Self::Owner { uid: *uid },
            Connected::Local { uid } => Self::Stranger(format!("uid {uid}")),
            Connected::Anyone => Self::Stranger("nobody with a name".to_owned()),
            Connected::Certified(certificate) => match PeerIdentity::from_certificate(certificate) {
                Ok(PeerIdentity { trust_domain: other, .. }) if other != trust_domain => {
                    Self::Stranger(format!("somebody of {other}"))
                }
                Ok(PeerIdentity { subject: Subject::Operator { name, role }, .. }) => Self::Operator { name, role },
                Ok(PeerIdentity { subject: Subject::Node { grant, .. }, .. }) => {
                    Self::Stranger(format!("the node {}", grant.name))
                }
                Err(_) => Self::Stranger("a certificate without a name of ours".to_owned()),
            },
        }
    }

    fn may(&self, verb: Verb) -> bool {
        match self {
            Self::Owner { .. } => true,
            Self::Operator { role, .. } => covenant_identity::allows(*role, verb),
            Self::Stranger(_) => false,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { uid } => write!(f, "uid {uid}"),
            Self::Operator { name, role } => write!(f, "operator {name} ({role})"),
            Self::Stranger(who) => f.write_str(who),
        }
    }
}

impl crate::node::Shared {
    /// Lets `caller` see a view, or refuses and says so in the audit log.
    pub(crate) async fn allow(self: &Arc<Self>, caller: &Caller, verb: Verb) -> Result<(), ApiError> {
        if caller.may(verb) {
            return Ok(());
        }
        let error = denied(caller, verb);
        let result = error.message.clone();
        self.record(Act { who: caller.to_string(), verb: verb.to_string(), result, ..Act::default() }).await?;
        Err(error)
    }

    /// Writes a line and waits until it is on disk: milliseconds, so not on the thread that answers probes.
    async fn record(self: &Arc<Self>, act: Act) -> Result<(), ApiError> {
        let (shared, at) = (self.clone(), self.env.wall());
        let recorded = self.env.blocking(move || shared.audit.record(at, act)).await.map_err(ApiError::failure)?;
        recorded.map(drop).map_err(|error| {
            tracing::error!(%error, "an act could not be audited");
            ApiError::failure(format!("{error}; what was asked may have been done"))
        })
    }
}

/// What an act leaves behind: the answer, and what the audit log says of before and after.
pub(crate) struct Done<T> {
    pub(crate) answer: T,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// Does `work` for `caller` if the table of verbs allows it, and audits it either way before answering.
pub(crate) async fn act<T: Serialize>(
    control: &Control,
    caller: &Caller,
    verb: Verb,
    target: String,
    work: impl Future<Output = Result<Done<T>, ApiError>>,
) -> Answer<T> {
    let result = if caller.may(verb) { work.await } else { Err(denied(caller, verb)) };
    let (before, after, said) = match &result {
        Ok(done) => (done.before.clone(), done.after.clone(), "ok".to_owned()),
        Err(error) => (String::new(), String::new(), error.message.clone()),
    };
    control
        .record(Act { who: caller.to_string(), verb: verb.to_string(), target, before, after, result: said })
        .await?;
    result.map(|done| Json(done.answer))
}

fn denied(caller: &Caller, verb: Verb) -> ApiError {
    ApiError::new(ErrorKind::Denied, format!("{caller} may not {verb} here; nothing was done"))
}
