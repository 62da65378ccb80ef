//! Certificates and signing requests are read here. Everything that arrives is hostile.

use covenant_types::{NodeId, WallTime};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::der_parser::asn1_rs::BitString;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::key::{node_id_of, verify};

/// The longest certificate or signing request.
pub const DER_BYTES_MAX: usize = 4096;

/// What a certificate says, before anything is believed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The only subject alternative name, a URI.
    pub(crate) uri: String,
    pub(crate) public_key: [u8; 32],
    pub(crate) not_before: WallTime,
    pub(crate) not_after: WallTime,
    pub(crate) is_authority: bool,
    /// How many authorities may stand below it; 0 where it does not say.
    pub(crate) authorities_below: u32,
    signed: Vec<u8>,
    signature: [u8; 64],
}

impl Parsed {
    /// Whether the owner of `public` signed this certificate.
    pub(crate) fn is_signed_by(&self, public: &[u8; 32]) -> bool {
        verify(public, &self.signed, &self.signature)
    }
}

/// Reads a certificate.
pub(crate) fn parse_certificate(der: &[u8]) -> Result<Parsed, CertificateError> {
    let (rest, certificate) =
        within_limit(der).and_then(|der| X509Certificate::from_der(der).map_err(|_| Malformed))?;
    if !rest.is_empty() || certificate.signature_algorithm.algorithm != certificate.signature.algorithm {
        return Err(Malformed);
    }
    let uri = only_uri(&certificate)?;
    let seconds = |time: x509_parser::time::ASN1Time| WallTime(u64::try_from(time.timestamp()).unwrap_or(0));
    Ok(Parsed {
        uri,
        public_key: ed25519_key(certificate.public_key())?,
        not_before: seconds(certificate.validity().not_before),
        not_after: seconds(certificate.validity().not_after),
        is_authority: certificate.is_ca(),
        authorities_below: certificate
            .basic_constraints()
            .ok()
            .flatten()
            .and_then(|found| found.value.path_len_constraint)
            .unwrap_or(0),
        signed: certificate.tbs_certificate.as_ref().to_vec(),
        signature: signature(&certificate.signature_algorithm, &certificate.signature_value)?,
    })
}

/// The hash of the key that a certificate is of: what names an authority, and a node.
///
/// # Errors
/// It is malformed.
pub fn key_id_of(certificate: &[u8]) -> Result<NodeId, CertificateError> {
    parse_certificate(certificate).map(|parsed| node_id_of(&parsed.public_key))
}

/// When an authority's certificate, DER, ends.
///
/// # Errors
/// It is malformed.
pub fn authority_ends(der: &[u8]) -> Result<WallTime, CertificateError> {
    parse_certificate(der).map(|parsed| parsed.not_after)
}

/// Checks a signing request and returns the public key whose owner made it.
///
/// # Errors
/// It is malformed, not of an Ed25519 key, or not signed by that key.
pub fn check_csr(der: &[u8]) -> Result<[u8; 32], CertificateError> {
    let (rest, request) =
        within_limit(der).and_then(|der| X509CertificationRequest::from_der(der).map_err(|_| Malformed))?;
    if !rest.is_empty() {
        return Err(Malformed);
    }
    let public_key = ed25519_key(&request.certification_request_info.subject_pki)?;
    let signature = signature(&request.signature_algorithm, &request.signature_value)?;
    if verify(&public_key, request.certification_request_info.raw, &signature) {
        Ok(public_key)
    } else {
        Err(CertificateError::BadSignature)
    }
}

fn within_limit(der: &[u8]) -> Result<&[u8], CertificateError> {
    if der.len() > DER_BYTES_MAX { Err(CertificateError::TooLarge(der.len())) } else { Ok(der) }
}

fn only_uri(certificate: &X509Certificate<'_>) -> Result<String, CertificateError> {
    let mut names = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(found) = extension.parsed_extension() {
            names.extend(found.general_names.iter());
        }
    }
    match names.as_slice() {
        [GeneralName::URI(uri)] => Ok((*uri).to_owned()),
        _ => Err(CertificateError::NotOneUri),
    }
}

fn ed25519_key(info: &SubjectPublicKeyInfo<'_>) -> Result<[u8; 32], CertificateError> {
    plain_ed25519(&info.algorithm)?;
    whole_bytes(&info.subject_public_key)?.try_into().map_err(|_| Malformed)
}

fn signature(algorithm: &AlgorithmIdentifier<'_>, bits: &BitString<'_>) -> Result<[u8; 64], CertificateError> {
    plain_ed25519(algorithm)?;
    whole_bytes(bits)?.try_into().map_err(|_| Malformed)
}

fn plain_ed25519(algorithm: &AlgorithmIdentifier<'_>) -> Result<(), CertificateError> {
    if algorithm.algorithm != OID_SIG_ED25519 {
        return Err(CertificateError::OtherKey);
    }
    // One way to write each: what is outside the signature must not vary.
    if algorithm.parameters.is_some() { Err(Malformed) } else { Ok(()) }
}

fn whole_bytes<'a>(bits: &'a BitString<'_>) -> Result<&'a [u8], CertificateError> {
    if bits.unused_bits == 0 { Ok(&bits.data) } else { Err(Malformed) }
}

use CertificateError::Malformed;

/// A certificate or signing request that says nothing we can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is longer than allowed.
    #[error("{0} bytes are too many for a certificate")]
    TooLarge(usize),
    /// It is not DER of the right kind, or bytes follow it.
    #[error("malformed")]
    Malformed,
    /// Its key or signature is not Ed25519.
    #[error("not an Ed25519 key and signature")]
    OtherKey,
    /// Its signature is not of the key it should be of.
    #[error("the signature is not of the right key")]
    BadSignature,
    /// It has no subject alternative name, several, or one that is not a URI.
    #[error("not exactly one name, a URI")]
    NotOneUri,
    /// The name is not one of a node or operator of a cluster.
    #[error("{uri:?} names no node or operator: {why}")]
    BadName {
        /// The name, cut to 200 characters.
        uri: String,
        /// What is wrong with it.
        why: &'static str,
    },
}
