//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use crate::spiffe::parse_uri;
use crate::x509::parse_certificate;

/// The name in a certificate.
pub fn fuzz_spiffe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((domain, subject)) = parse_uri(text) {
        assert_eq!(subject.uri(&domain), text, "a name has one form");
    }
}

/// A node's and an operator's.
pub fn spiffe_seeds() -> Vec<Vec<u8>> {
    ["spiffe://demo/africa/hub/hub-africa/000102030405060708090a0b0c0d0e0f", "spiffe://demo/operator/ada/chaos"]
        .map(|uri| uri.as_bytes().to_vec())
        .into()
}

/// Any certificate, an authority's as well, and what is signed in it.
pub fn fuzz_certificate(bytes: &[u8]) {
    if let Ok(parsed) = parse_certificate(bytes) {
        let _signed = parsed.is_signed_by(&parsed.public_key);
        let _named = crate::PeerIdentity::from_certificate(bytes);
    }
}
