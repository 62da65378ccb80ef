//! A node's key: who it is, for life.

use std::fmt;

use covenant_types::NodeId;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// An Ed25519 key. Its memory is wiped when it is dropped, and its `Debug` shows the public half only.
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// A new key, from the operating system's randomness.
    ///
    /// # Panics
    /// The operating system gives no random bytes. Nothing safe can be done then.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0u8; 32]);
        random_bytes(&mut *seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads the PKCS#8 PEM that [`to_pem`](Self::to_pem) writes. Other tools' Ed25519 PKCS#8 is read as well.
    ///
    /// # Errors
    /// The text is not an Ed25519 private key in PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.len() > PEM_BYTES_MAX {
            return Err(KeyError);
        }
        SigningKey::from_pkcs8_pem(pem.trim()).map(Self).map_err(|_| KeyError)
    }

    /// The key as PKCS#8 PEM: write it to a file only its owner can read.
    pub fn to_pem(&self) -> Zeroizing<String> {
        use base64::Engine;
        let der = self.to_pkcs8_der();
        let body = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*der));
        Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *body))
    }

    /// The key as PKCS#8 DER, for TLS.
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + 32));
        der.extend_from_slice(&PKCS8_PREFIX);
        der.extend_from_slice(self.0.as_bytes());
        der
    }

    /// The node this key makes.
    pub fn node_id(&self) -> NodeId {
        node_id_of(&self.public_key())
    }

    /// The public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.node_id())
    }
}

/// Whether `signature` is the owner of `public` saying `message`.
///
/// Strict: weak keys and the malleable forms of a signature are refused.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    VerifyingKey::from_bytes(public).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// The node whose public key this is: the first 16 bytes of its BLAKE3 hash.
pub fn node_id_of(public: &[u8; 32]) -> NodeId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(public).as_bytes()[..16]);
    NodeId(id)
}

/// Keys, serials and secrets need the operating system's randomness, not a seed that can be replayed.
pub(crate) fn random_bytes(bytes: &mut [u8]) {
    use rand::TryRngCore;
    rand::rngs::OsRng.try_fill_bytes(bytes).expect("the operating system gives random bytes");
}

/// A text that is not an Ed25519 private key. What it was is not repeated: it may be another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 private key in PKCS#8 PEM")]
pub struct KeyError;

/// PKCS#8 version 1 around 32 bytes of Ed25519 seed. Every tool reads this form; version 2 has two spellings.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

const PEM_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file() {
        let key = NodeKey::generate();
        let read = NodeKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!((read.public_key(), read.node_id()), (key.public_key(), key.node_id()));
    }

    #[test]
    fn garbage_is_no_key() {
        let pem = NodeKey::generate().to_pem();
        for cut in [0, 10, 40, 80, pem.len() - 30] {
            assert!(NodeKey::from_pem(&pem[..cut]).is_err(), "{cut}");
        }
        assert!(NodeKey::from_pem(&"x".repeat(10_000)).is_err());
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_message() {
        let key = NodeKey::generate();
        let signature = key.sign(b"yes");
        assert!(verify(&key.public_key(), b"yes", &signature));
        assert!(!verify(&key.public_key(), b"no", &signature));
        assert!(!verify(&NodeKey::generate().public_key(), b"yes", &signature));
        assert!(!verify(&[0; 32], b"yes", &signature), "a weak key");
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = NodeKey::generate();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("NodeKey({})", key.node_id()));
    }

    #[test]
    fn the_id_of_a_key_never_changes() {
        assert_eq!(node_id_of(&[0; 32]).to_string(), blake3::hash(&[0; 32]).to_hex()[..32].to_owned());
    }
}
