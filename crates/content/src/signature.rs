//! Signatures in minisign's format, so that the public `minisign` tool can check what we publish.
//!
//! Form, after <https://jedisct1.github.io/minisign/>: an untrusted comment, base64 of `"Ed" | key id (8) | signature (64)`, a
//! trusted comment, and base64 of a signature over the first signature and the trusted comment. `Ed` signs the bytes
//! themselves. The key id is the first eight bytes of the signer's node id.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use covenant_identity::{NodeKey, node_id_of, verify};

const UNTRUSTED: &str = "untrusted comment: signature by a covenant node";
const TRUSTED: &str = "trusted comment: ";
/// The longest signature text, in bytes.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 1024;

/// Signs `bytes`; `comment` is covered by the signature and has one line.
pub(crate) fn sign(key: &NodeKey, bytes: &[u8], comment: &str) -> String {
    let comment: String = comment.chars().filter(|c| !c.is_control()).take(200).collect();
    let signature = key.sign(bytes);
    let mut packet = b"Ed".to_vec();
    packet.extend_from_slice(&key_id(&key.public_key()));
    packet.extend_from_slice(&signature);
    let global = key.sign(&[&signature[..], comment.as_bytes()].concat());
    format!("{UNTRUSTED}\n{}\n{TRUSTED}{comment}\n{}\n", STANDARD.encode(packet), STANDARD.encode(global))
}

/// Whether `text` is a signature of `bytes` by the key `public`.
pub(crate) fn is_signed(public: &[u8; 32], bytes: &[u8], text: &str) -> bool {
    parse(text).is_some_and(|parsed| {
        parsed.key_id == key_id(public)
            && verify(public, bytes, &parsed.signature)
            && verify(public, &[&parsed.signature[..], parsed.comment.as_bytes()].concat(), &parsed.global)
    })
}

struct Parsed<'a> {
    key_id: [u8; 8],
    /// Over the bytes.
    signature: [u8; 64],
    comment: &'a str,
    /// Over the signature and the comment.
    global: [u8; 64],
}

fn parse(text: &str) -> Option<Parsed<'_>> {
    if text.len() > SIGNATURE_BYTES_MAX {
        return None;
    }
    let mut lines = text.lines();
    lines.next()?.strip_prefix("untrusted comment: ")?;
    let packet = STANDARD.decode(lines.next()?).ok()?;
    let comment = lines.next()?.strip_prefix(TRUSTED)?;
    let global = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
    let rest = packet.strip_prefix(b"Ed")?;
    let (id, signature) = rest.split_at_checked(8)?;
    if lines.next().is_some() {
        return None;
    }
    Some(Parsed { key_id: id.try_into().ok()?, signature: signature.try_into().ok()?, comment, global })
}

fn key_id(public: &[u8; 32]) -> [u8; 8] {
    node_id_of(public).0[..8].try_into().expect("eight of 16 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_implementation_of_minisign_accepts_our_signatures() {
        let key = NodeKey::generate();
        let text = sign(&key, b"the bytes", "dataset first-aid version 3");
        let packet = [&b"Ed"[..], &key_id(&key.public_key()), &key.public_key()].concat();
        let public = minisign_verify::PublicKey::from_base64(&STANDARD.encode(packet)).unwrap();
        let signature = minisign_verify::Signature::decode(&text).unwrap();
        public.verify(b"the bytes", &signature, true).unwrap();
        assert!(public.verify(b"other bytes", &signature, true).is_err());
        assert_eq!(signature.trusted_comment(), "dataset first-aid version 3");
    }

    #[test]
    fn any_changed_letter_breaks_a_signature() {
        let key = NodeKey::generate();
        let text = sign(&key, b"the bytes", "comment");
        assert!(is_signed(&key.public_key(), b"the bytes", &text));
        assert!(!is_signed(&NodeKey::generate().public_key(), b"the bytes", &text));
        // The first line is not covered by anything: minisign calls it untrusted.
        for at in UNTRUSTED.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(
                !is_signed(&key.public_key(), b"the bytes", &changed) || changed.trim_end() == text.trim_end(),
                "{at}: {changed}"
            );
        }
    }
}
