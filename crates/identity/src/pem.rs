//! Certificates in files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The most certificates one file may have.
const CERTIFICATES_MAX: usize = 16;
const PEM_BYTES_MAX: usize = 64 * 1024;

/// Certificates, DER, as PEM.
pub fn certificates_to_pem<C: AsRef<[u8]>>(certificates: &[C]) -> String {
    let mut pem = String::new();
    for certificate in certificates {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = STANDARD.encode(certificate);
        for line in body.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|&byte| char::from(byte)));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// The certificates in a PEM text, DER. Other sections are passed over.
///
/// # Errors
/// The text is malformed or too long, or has no certificate.
pub fn certificates_from_pem(pem: &str) -> Result<Vec<Vec<u8>>, PemError> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(PemError);
    }
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        if certificates.len() == CERTIFICATES_MAX {
            return Err(PemError);
        }
        certificates.push(certificate.map_err(|_| PemError)?.to_vec());
    }
    if certificates.is_empty() { Err(PemError) } else { Ok(certificates) }
}

/// A text without certificates in PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to 16 certificates in PEM")]
pub struct PemError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_survive_their_file() {
        let certificates = vec![vec![1; 100], vec![2; 47]];
        assert_eq!(certificates_from_pem(&certificates_to_pem(&certificates)), Ok(certificates));
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"] {
            assert_eq!(certificates_from_pem(bad), Err(PemError), "{bad:?}");
        }
        assert_eq!(certificates_from_pem(&certificates_to_pem(&vec![vec![1u8]; 17])), Err(PemError));
    }
}
