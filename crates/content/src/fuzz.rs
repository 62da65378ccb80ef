//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use std::collections::BTreeSet;

use covenant_identity::NodeKey;

use crate::bulk::{BulkRequest, REQUEST_BYTES_MAX};
use crate::{ChunkId, Class, signature};

/// A key that is the same in every run, so that seeds are.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n";

/// Which chunks a peer asks for.
pub fn fuzz_bulk_request(bytes: &[u8]) {
    if let Ok(request) = covenant_wire::decode::<BulkRequest>(bytes, REQUEST_BYTES_MAX) {
        assert!(request.chunks.len() * 32 <= bytes.len(), "every chunk that is asked for was named");
    }
}

/// A request.
pub fn bulk_request_seeds() -> Vec<Vec<u8>> {
    let chunks = vec![ChunkId::of(b"one"), ChunkId::of(b"two")];
    vec![covenant_wire::encode(&BulkRequest { chunks })]
}

/// A signature in minisign's format.
pub fn fuzz_signature(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let public = NodeKey::from_pem(KEY).expect("a key").public_key();
        let _signed = signature::is_signed(&public, b"content", text);
    }
}

/// A signature that holds.
pub fn signature_seeds() -> Vec<Vec<u8>> {
    let key = NodeKey::from_pem(KEY).expect("a key");
    vec![signature::sign(&key, b"content", "dataset health version 3").into_bytes()]
}

/// `subscriptions.json`.
pub fn fuzz_subscriptions(bytes: &[u8]) {
    let _read: Result<BTreeSet<Class>, _> = serde_json::from_slice(bytes);
}

/// A file as it is written.
pub fn subscriptions_seeds() -> Vec<Vec<u8>> {
    let classes: BTreeSet<Class> = ["health", "education"].iter().filter_map(|class| class.parse().ok()).collect();
    vec![serde_json::to_vec(&classes).expect("classes have a JSON form")]
}
