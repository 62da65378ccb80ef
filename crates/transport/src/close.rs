//! Why a connection was closed, as a number on the wire.

use std::fmt;

use quinn::{ConnectionError, TransportErrorCode, VarInt};

/// The code a connection is closed with. Numbers are part of the protocol: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The work was done.
    Done = 0,
    /// The node is stopping.
    Leaving = 1,
    /// The peer was disconnected on purpose.
    Disconnected = 2,
    /// A newer connection to the same node took this one's place.
    Replaced = 3,
    /// Both sides dialled at once, and the other connection stays.
    Duplicate = 4,
    /// The peer has been seen with a higher boot epoch: this is its ghost.
    StaleEpoch = 5,
    /// Another process with the same key and the same boot epoch is connected.
    Doubled = 6,
    /// `covenant/1` without a client certificate.
    NoCertificate = 16,
    /// The certificate is not one of a node of this cluster.
    BadCertificate = 17,
    /// The certificate's time is over, or has not come.
    CertificateExpired = 18,
    /// What the peer says of itself is not what its certificate proves.
    IdentityMismatch = 19,
    /// Another node answered than the one that was dialled.
    UnexpectedNode = 20,
    /// The node was dialled by itself.
    DialledSelf = 21,
    /// The peer belongs to another cluster.
    WrongCluster = 22,
    /// The peer speaks another version of the protocol.
    WrongVersion = 23,
    /// The protocol of the connection is not served here.
    WrongProtocol = 24,
    /// The peer, or an authority above it, is on the deny-list.
    Revoked = 25,
    /// A frame was malformed.
    Malformed = 32,
    /// A frame was longer than allowed.
    TooLarge = 33,
    /// The peer took too long.
    TooSlow = 34,
    /// As many peers or handshakes as this node allows are there already.
    TooMany = 35,
    /// Something failed on this side.
    Internal = 36,
}

impl CloseCode {
    /// Every code.
    pub const ALL: [Self; 22] = [
        Self::Done,
        Self::Leaving,
        Self::Disconnected,
        Self::Replaced,
        Self::Duplicate,
        Self::StaleEpoch,
        Self::Doubled,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::CertificateExpired,
        Self::IdentityMismatch,
        Self::UnexpectedNode,
        Self::DialledSelf,
        Self::WrongCluster,
        Self::WrongVersion,
        Self::WrongProtocol,
        Self::Revoked,
        Self::Malformed,
        Self::TooLarge,
        Self::TooSlow,
        Self::TooMany,
        Self::Internal,
    ];

    /// The code with this number, if this version knows it.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| u64::from(code.number()) == number)
    }

    /// The number on the wire.
    pub fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn var_int(self) -> VarInt {
        VarInt::from_u32(self.number())
    }

    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Leaving => "leaving",
            Self::Disconnected => "disconnected",
            Self::Replaced => "replaced",
            Self::Duplicate => "duplicate",
            Self::StaleEpoch => "stale_epoch",
            Self::Doubled => "doubled",
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::CertificateExpired => "certificate_expired",
            Self::IdentityMismatch => "identity_mismatch",
            Self::UnexpectedNode => "unexpected_node",
            Self::DialledSelf => "dialled_self",
            Self::WrongCluster => "wrong_cluster",
            Self::WrongVersion => "wrong_version",
            Self::WrongProtocol => "wrong_protocol",
            Self::Revoked => "revoked",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::TooMany => "too_many",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The code a lost connection was closed with by either side's application, or what its alert of TLS comes to.
pub(crate) fn code_of(error: &ConnectionError) -> Option<CloseCode> {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseCode::from_number(close.error_code.into_inner()),
        ConnectionError::TransportError(error) => revoked(error.code),
        ConnectionError::ConnectionClosed(close) => revoked(close.error_code),
        ConnectionError::VersionMismatch
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => None,
    }
}

/// TLS's alert that a certificate was revoked: ours as they see it, or theirs as we do.
fn revoked(code: TransportErrorCode) -> Option<CloseCode> {
    (code == TransportErrorCode::crypto(ALERT_CERTIFICATE_REVOKED)).then_some(CloseCode::Revoked)
}

/// RFC 8446, section 6.2.
const ALERT_CERTIFICATE_REVOKED: u8 = 44;

/// A lost connection in words for people.
pub(crate) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = match CloseCode::from_number(close.error_code.into_inner()) {
                Some(code) => code.as_str().to_owned(),
                None => format!("code {}", close.error_code),
            };
            // The peer wrote this text: short, and printable.
            let reason: String =
                String::from_utf8_lossy(&close.reason).chars().filter(|c| !c.is_control()).take(200).collect();
            if reason.is_empty() {
                format!("closed by the peer: {code}")
            } else {
                format!("closed by the peer: {code} ({reason})")
            }
        }
        ConnectionError::TimedOut => "nothing heard from the peer for too long".to_owned(),
        ConnectionError::Reset => "the peer no longer knows the connection".to_owned(),
        ConnectionError::LocallyClosed => "closed by this node".to_owned(),
        other @ (ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::CidsExhausted) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_number() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_number(code.number().into()), Some(code));
        }
        assert_eq!(CloseCode::from_number(999), None);
    }
}
