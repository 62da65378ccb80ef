//! Why a client is not served, or not any longer.

use covenant_transport::CloseCode;
use covenant_types::{NodeName, Role};
use quinn::VarInt;

use crate::wire::FrameError;

/// Why the connection of a client is closed by this side. The client is told in these words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the certificate is not one of a node of this cluster")]
    NotANode,
    #[error("nodes of the role {0} are not let in here; the bridge's `roles` say who is")]
    Role(Role),
    #[error("the certificate, or an authority above it, was revoked")]
    Revoked,
    #[error("{0} clients are connected, and that is all there is room for")]
    TooMany(usize),
    #[error("the session before this one does not end")]
    OldSessionStays,
    #[error("a newer connection of the same client took the place of this one")]
    Replaced,
    #[error("the client calls itself {said:?}, and its certificate {certified}: its NodeServer needs that name")]
    OtherName { said: String, certified: NodeName },
    #[error("it was closed here: a newer connection took its place, or the bridge stops")]
    ClosedHere,
    #[error("{0}")]
    TooSlow(&'static str),
    #[error("the stream is not that of a client of ractor_cluster 0.16: {0}")]
    Malformed(String),
    #[error("{0} messages could not be read: the client knows its members by other message types")]
    Unreadable(u32),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the client's NodeServer was not let in: its cookie is another one than the bridge's")]
    OtherCookie,
    #[error("NodeServer ended the session")]
    Left,
    #[error("the client is gone: {0}")]
    Gone(String),
    #[error("the bridge is stopping")]
    Stopping,
}

impl Refusal {
    /// What the connection is closed with.
    pub(crate) fn code(&self) -> CloseCode {
        match self {
            Self::NotANode | Self::Role(_) => CloseCode::BadCertificate,
            Self::Revoked => CloseCode::Revoked,
            Self::TooMany(_) | Self::OldSessionStays => CloseCode::TooMany,
            Self::Replaced => CloseCode::Replaced,
            Self::OtherName { .. } | Self::OtherCookie => CloseCode::IdentityMismatch,
            Self::TooSlow(_) => CloseCode::TooSlow,
            Self::Frame(FrameError::TooLong(..)) => CloseCode::TooLarge,
            Self::Malformed(_) | Self::Unreadable(_) => CloseCode::Malformed,
            Self::Frame(FrameError::Ended | FrameError::Stream(_)) | Self::Left | Self::Gone(_) | Self::ClosedHere => {
                CloseCode::Done
            }
            Self::Stopping => CloseCode::Leaving,
        }
    }

    /// Whether the client only went away.
    pub(crate) fn is_parting(&self) -> bool {
        matches!(self.code(), CloseCode::Done | CloseCode::Leaving | CloseCode::Replaced)
    }

    /// Closes `connection` with it.
    pub(crate) fn close(&self, connection: &quinn::Connection) {
        connection.close(VarInt::from_u32(self.code().number()), self.to_string().as_bytes());
    }
}
