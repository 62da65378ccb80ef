//! The first words on a connection: each side says who it is, and the other checks it against the certificate.

use std::net::SocketAddr;

use covenant_identity::{NodeGrant, PeerIdentity, Subject};
use covenant_types::{BootEpoch, NodeId, NodeName, WallTime};
use covenant_wire::{WireError, decode, encode_into};
use quinn::Connection;
use quinn::crypto::rustls::HandshakeData;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::stream::StreamError;
use crate::{CloseCode, Denials};

/// What a node says of itself. Travels as the version of the protocol, two bytes, and this; only a Hello of the same version
/// is read any further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) cluster: String,
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) epoch: BootEpoch,
    pub(crate) listen: SocketAddr,
    /// The client's count of dials in this boot; the server sends the same number back.
    pub(crate) dial: u64,
    /// Drawn by lot at the start of the process. Two of one boot are two processes with one key.
    pub(crate) instance: u64,
}

/// Why a connection goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// What somebody hears who is denied.
    pub(crate) fn revoked() -> Self {
        Self::new(CloseCode::Revoked, "its certificate was revoked")
    }
}

impl From<StreamError> for Refusal {
    fn from(error: StreamError) -> Self {
        let code = match error {
            StreamError::TooLarge(_) => CloseCode::TooLarge,
            StreamError::EndedEarly => CloseCode::Malformed,
            StreamError::Lost(_) | StreamError::Reset(_) | StreamError::Stopped(_) | StreamError::Closed => {
                CloseCode::Internal
            }
        };
        Self::new(code, error.to_string())
    }
}

impl Hello {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = PROTOCOL_VERSION.to_be_bytes().to_vec();
        encode_into(self, &mut bytes);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Refusal> {
        let Some((version, rest)) = bytes.split_first_chunk::<2>() else {
            return Err(Refusal::new(CloseCode::Malformed, "the hello is cut short"));
        };
        let version = u16::from_be_bytes(*version);
        if version != PROTOCOL_VERSION {
            let reason = format!("the peer speaks version {version}, this node version {PROTOCOL_VERSION}");
            return Err(Refusal::new(CloseCode::WrongVersion, reason));
        }
        decode(rest, HELLO_BYTES_MAX)
            .map_err(|error: WireError| Refusal::new(CloseCode::Malformed, format!("hello: {error}")))
    }

    /// Checks what the peer says of itself against its certificate and our cluster.
    pub(crate) fn check(&self, certified: &Certified, cluster: &str) -> Result<(), Refusal> {
        if self.cluster != cluster {
            let theirs: String = self.cluster.chars().take(64).collect();
            let reason = format!("the peer is of the cluster {theirs:?}, this node of {cluster:?}");
            return Err(Refusal::new(CloseCode::WrongCluster, reason));
        }
        if self.id != certified.id || self.name != certified.grant.name {
            let reason = format!(
                "the peer says it is {} ({}), its certificate {} ({})",
                self.name, self.id, certified.grant.name, certified.id
            );
            return Err(Refusal::new(CloseCode::IdentityMismatch, reason));
        }
        Ok(())
    }
}

/// Who the peer's certificate says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certified {
    pub(crate) id: NodeId,
    pub(crate) grant: NodeGrant,
}

/// The peer's certificate, checked by us once more after the handshake: TLS has checked the chain.
pub(crate) fn certified(connection: &Connection, cluster: &str, now: WallTime) -> Result<Certified, Refusal> {
    let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let Some(own) = chain.as_ref().and_then(|chain| chain.first()) else {
        return Err(Refusal::new(CloseCode::NoCertificate, "a node must show a certificate"));
    };
    let identity = PeerIdentity::from_certificate(own)
        .map_err(|error| Refusal::new(CloseCode::BadCertificate, error.to_string()))?;
    if identity.trust_domain != cluster {
        return Err(Refusal::new(CloseCode::BadCertificate, "the certificate is of another cluster"));
    }
    if !identity.is_valid_at(now) {
        let reason = format!(
            "the certificate counts from {} to {}, and it is {}",
            identity.not_before.0, identity.not_after.0, now.0
        );
        return Err(Refusal::new(CloseCode::CertificateExpired, reason));
    }
    match identity.subject {
        Subject::Node { id, grant } => Ok(Certified { id, grant }),
        Subject::Operator { .. } => Err(Refusal::new(CloseCode::BadCertificate, "an operator is not a node")),
    }
}

/// Whether the peer is on the deny-list, or an authority that vouches for it.
pub(crate) fn is_denied(connection: &Connection, denials: &Denials) -> bool {
    let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let Some((own, above)) = chain.as_ref().and_then(|chain| chain.split_first()) else { return false };
    PeerIdentity::from_certificate(own).is_ok_and(|identity| denials.denies(&identity, above))
}

/// The protocol both ends agreed on in the handshake.
pub(crate) fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data().and_then(|any| any.downcast::<HandshakeData>().ok()).and_then(|data| data.protocol)
}

/// The version of everything that is said on `covenant/1`.
pub(crate) const PROTOCOL_VERSION: u16 = 1;
/// The longest Hello.
pub(crate) const HELLO_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_types::{Region, Role};

    fn hello() -> Hello {
        Hello {
            cluster: "demo".into(),
            id: NodeId([1; 16]),
            name: NodeName::new("hub-africa").unwrap(),
            epoch: BootEpoch(7),
            listen: "127.0.0.1:4000".parse().unwrap(),
            dial: 3,
            instance: 9,
        }
    }

    fn certified() -> Certified {
        let grant = NodeGrant { name: NodeName::new("hub-africa").unwrap(), role: Role::Hub, region: Region::Africa };
        Certified { id: NodeId([1; 16]), grant }
    }

    fn refused(hello: &Hello) -> CloseCode {
        hello.check(&certified(), "demo").unwrap_err().code
    }

    #[test]
    fn a_hello_is_read_as_it_was_said() {
        assert_eq!(Hello::from_bytes(&hello().to_bytes()), Ok(hello()));
        assert_eq!(hello().check(&certified(), "demo"), Ok(()));
    }

    #[test]
    fn a_cut_or_padded_hello_is_malformed() {
        let bytes = hello().to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Hello::from_bytes(&bytes[..length]).unwrap_err().code, CloseCode::Malformed, "{length}");
        }
        assert_eq!(Hello::from_bytes(&[bytes.as_slice(), &[0]].concat()).unwrap_err().code, CloseCode::Malformed);
    }

    #[test]
    fn another_version_is_refused_by_name_whatever_follows() {
        assert_eq!(Hello::from_bytes(&[0, 2, 0xff]).unwrap_err().code, CloseCode::WrongVersion);
    }

    #[test]
    fn a_hello_that_differs_from_the_certificate_is_refused() {
        assert_eq!(refused(&Hello { id: NodeId([2; 16]), ..hello() }), CloseCode::IdentityMismatch);
        assert_eq!(refused(&Hello { name: NodeName::new("x").unwrap(), ..hello() }), CloseCode::IdentityMismatch);
        assert_eq!(refused(&Hello { cluster: "other".into(), ..hello() }), CloseCode::WrongCluster);
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let expected =
            [&[0, 1, 4][..], b"demo", &[1; 16], &[10], b"hub-africa", &[7, 0, 127, 0, 0, 1, 0xfb, 0xa0, 0x0f, 3, 9]]
                .concat();
        assert_eq!(hello().to_bytes(), expected);
    }
}
