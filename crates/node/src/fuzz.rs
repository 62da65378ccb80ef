//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use covenant_runtime::BehaviourRegistry;
use covenant_types::WallTime;

use crate::api::tree::TreeBundle;
use crate::audit::{Act, AuditLine, hash_of, verify_lines};
use crate::control::body;
use crate::live_tree::{Journal, read_bundle};

/// The lines of an audit log.
pub fn fuzz_audit(mut bytes: &[u8]) {
    let _end = verify_lines(Path::new("audit.jsonl"), &mut bytes);
}

/// A log of two acts.
pub fn audit_seeds() -> Vec<Vec<u8>> {
    let mut log = Vec::new();
    let mut previous = String::new();
    for (seq, verb) in [(1, "actor kill"), (2, "drain")] {
        let [who, target, before, after, result] = ["uid 0", "/sync", "", "2", "ok"].map(str::to_owned);
        let act = Act { who, verb: verb.to_owned(), target, before, after, result };
        let mut line = AuditLine { seq, at: WallTime(7), act, previous, hash: String::new() };
        line.hash = hash_of(&line);
        serde_json::to_writer(&mut log, &line).expect("a line has a JSON form");
        log.push(b'\n');
        previous = line.hash;
    }
    vec![log]
}

/// `peers.json`.
pub fn fuzz_known_peers(bytes: &[u8]) {
    let _read: Result<BTreeSet<SocketAddr>, _> = serde_json::from_slice(bytes);
}

/// A file of two peers.
pub fn known_peers_seeds() -> Vec<Vec<u8>> {
    vec![br#"["127.0.0.1:7700","[2001:db8::1]:7700"]"#.to_vec()]
}

/// What a change of the tree leaves behind while it is under way.
pub fn fuzz_tree_journal(bytes: &[u8]) {
    let _read: Result<Journal, _> = serde_json::from_slice(bytes);
}

/// A tree that a request carries.
pub fn fuzz_tree_bundle(bytes: &[u8]) {
    static REGISTRY: OnceLock<BehaviourRegistry> = OnceLock::new();
    if let Ok(bundle) = body::<TreeBundle>(bytes) {
        let _read = read_bundle(bundle, REGISTRY.get_or_init(crate::registry));
    }
}

/// A tree of two files.
pub fn tree_bundle_seeds() -> Vec<Vec<u8>> {
    let root = "strategy = \"one_for_one\"\n[[child]]\nid = \"watch\"\ntree = \"watch\"\n".to_owned();
    let watch = "strategy = \"one_for_all\"\nintensity = 3\nperiod = \"30s\"\n[[child]]\nid = \"watcher\"\nbehaviour = \"watch.watcher\"\n";
    let files = [("hub".to_owned(), root), ("watch".to_owned(), watch.to_owned())].into();
    vec![serde_json::to_vec(&TreeBundle { root: "hub".to_owned(), files }).expect("a bundle has a JSON form")]
}
