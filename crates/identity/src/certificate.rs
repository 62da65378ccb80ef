//! Certificates and signing requests are written here, and only here: `rcgen` is not used anywhere else.

use covenant_types::WallTime;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::NodeKey;
use crate::key::random_bytes;

/// What a certificate shall say.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// For people; nothing is decided by it.
    pub(crate) common_name: String,
    /// The SPIFFE id.
    pub(crate) uri: String,
    pub(crate) kind: Kind,
    pub(crate) public_key: &'a [u8; 32],
    pub(crate) not_before: WallTime,
    pub(crate) not_after: WallTime,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Signs certificates; so many authorities may stand below it.
    Authority { below: u8 },
    /// A node: answers and calls.
    Node,
    /// An operator: calls only.
    Operator,
}

/// The certificate of `draft`, signed by itself.
pub(crate) fn self_signed(draft: &Draft<'_>, key: &NodeKey) -> Result<Vec<u8>, MintError> {
    let key = Signing::new(key);
    Ok(params(draft)?.self_signed(&key)?.der().to_vec())
}

/// The certificate of `draft`, signed by the authority with this certificate and key.
pub(crate) fn signed_by(draft: &Draft<'_>, authority: &[u8], key: &NodeKey) -> Result<Vec<u8>, MintError> {
    let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(authority), Signing::new(key))?;
    Ok(params(draft)?.signed_by(&Public(*draft.public_key), &issuer)?.der().to_vec())
}

/// A signing request, which proves that its sender holds `key`. It asks for nothing: what a certificate says is decided by
/// who signs it.
pub(crate) fn request(key: &NodeKey) -> Result<Vec<u8>, MintError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&Signing::new(key))?.der().to_vec())
}

fn params(draft: &Draft<'_>) -> Result<CertificateParams, MintError> {
    let mut params = CertificateParams::default();
    params.not_before = date(draft.not_before)?;
    params.not_after = date(draft.not_after)?;
    params.serial_number = Some(random_serial());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, draft.common_name.clone());
    params.subject_alt_names = vec![SanType::URI(draft.uri.clone().try_into()?)];
    params.use_authority_key_identifier_extension = true;
    match draft.kind {
        Kind::Authority { below } => {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
        Kind::Node => {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        }
        Kind::Operator => {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
    }
    Ok(params)
}

fn date(at: WallTime) -> Result<OffsetDateTime, MintError> {
    i64::try_from(at.0)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .filter(|date| date.year() < 9999)
        .ok_or_else(|| MintError("the date lies beyond what a certificate can say".to_owned()))
}

/// Sixteen random bytes; positive, as the standard asks.
fn random_serial() -> SerialNumber {
    let mut serial = [0; 16];
    random_bytes(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

/// Lets rcgen sign with our key, so that no copy of the key is made.
struct Signing<'a>(&'a NodeKey, [u8; 32]);

impl<'a> Signing<'a> {
    fn new(key: &'a NodeKey) -> Self {
        Self(key, key.public_key())
    }
}

impl PublicKeyData for Signing<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.1
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for Signing<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).to_vec())
    }
}

struct Public([u8; 32]);

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// A certificate that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MintError(String);

impl From<rcgen::Error> for MintError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}
