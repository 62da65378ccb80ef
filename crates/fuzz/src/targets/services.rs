//! Content and the ledger.

use std::sync::OnceLock;

use covenant_content::{
    ChunkId, ChunkRef, Class, FileEntry, Manifest, SignedManifest, StoreRequest, StoreResponse, Trust, fuzz,
};
use covenant_history::fuzz as history;
use covenant_identity::{RootAuthority, TrustedRoots};
use covenant_ledger::{Amount, Nations, VotersAnswer, VotersChange, fuzz as ledger, rules};
use covenant_types::{NodeName, WallTime};
use covenant_wire::{decode, encode};

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::new("bulk-request", fuzz::fuzz_bulk_request, fuzz::bulk_request_seeds),
    Target::new("signature", fuzz::fuzz_signature, fuzz::signature_seeds),
    Target::new("subscriptions", fuzz::fuzz_subscriptions, fuzz::subscriptions_seeds),
    Target::new("manifest", fuzz_manifest, manifest_seeds),
    Target::new("signed-manifest", fuzz_signed_manifest, signed_manifest_seeds),
    Target::new("store-message", fuzz_store_message, store_message_seeds),
    Target::new("ledger-entries", ledger::fuzz_ledger_entries, ledger::ledger_entries_seeds),
    Target::new("ledger-question", ledger::fuzz_ledger_question, ledger::ledger_question_seeds),
    Target::new("ledger-outbox", ledger::fuzz_ledger_outbox, ledger::ledger_outbox_seeds),
    Target::new("book-message", fuzz_book_message, book_message_seeds),
    Target::new("nations", fuzz_nations, nations_seeds),
    Target::new("history", history::fuzz_history, history::history_seeds),
];

const NOW: WallTime = WallTime(1_790_000_000);

fn manifest() -> Manifest {
    let chunk = |bytes: &[u8]| ChunkRef { id: ChunkId::of(bytes), sha256: [5; 32], length: 1000 };
    let file = |path: &str, chunks| FileEntry { path: path.to_owned(), chunks };
    Manifest {
        name: "health".to_owned(),
        version: 3,
        class: Class::Health,
        licence: "CC-BY-4.0".to_owned(),
        created: NOW,
        files: vec![file("a/one.txt", vec![chunk(b"one"), chunk(b"two")]), file("b.txt", vec![chunk(b"three")])],
    }
}

fn fuzz_manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::from_bytes(bytes) {
        assert_eq!(manifest.to_bytes(), bytes, "a manifest has one form");
        let _chunks = (manifest.chunks(), manifest.bytes());
    }
}

fn manifest_seeds() -> Vec<Vec<u8>> {
    vec![manifest().to_bytes()]
}

/// A manifest as it lies on the disk. No root of ours vouches for it, so none is believed.
fn fuzz_signed_manifest(bytes: &[u8]) {
    if let Ok(signed) = serde_json::from_slice::<SignedManifest>(bytes) {
        static TRUST: OnceLock<Trust> = OnceLock::new();
        let trust = TRUST.get_or_init(|| {
            let root = RootAuthority::create("demo", NOW).expect("a root");
            Trust::fixed(TrustedRoots::of("demo", root.certificate().to_vec()).expect("a root of the cluster"))
        });
        assert!(signed.verify(trust).is_err(), "a manifest of another root was believed");
    }
}

fn signed_manifest_seeds() -> Vec<Vec<u8>> {
    let signed =
        SignedManifest { manifest: manifest().to_bytes(), signature: "none".to_owned(), chain: vec![vec![0x30; 9]] };
    vec![serde_json::to_vec(&signed).expect("a signed manifest has a JSON form")]
}

/// What the store is asked and answers.
fn fuzz_store_message(bytes: &[u8]) {
    if let Ok(request) = decode::<StoreRequest>(bytes, 1 << 20) {
        assert_eq!(decode::<StoreRequest>(&encode(&request), 1 << 20), Ok(request));
    }
    if let Ok(response) = decode::<StoreResponse>(bytes, 1 << 20) {
        assert_eq!(decode::<StoreResponse>(&encode(&response), 1 << 20), Ok(response));
    }
}

fn store_message_seeds() -> Vec<Vec<u8>> {
    let signed = SignedManifest { manifest: manifest().to_bytes(), signature: "none".to_owned(), chain: Vec::new() };
    let get = StoreRequest::Get { name: "health".to_owned(), to: "/tmp/health".into() };
    vec![
        encode(&StoreRequest::Catalog),
        encode(&StoreRequest::Manifest(manifest().id())),
        encode(&get),
        encode(&StoreResponse::Manifest(Some(Box::new(signed)))),
        encode(&StoreResponse::No("it is not here".to_owned())),
    ]
}

/// Who is to vote on the ledger, and what came of it.
fn fuzz_book_message(bytes: &[u8]) {
    if let Ok(change) = decode::<VotersChange>(bytes, 1 << 20) {
        assert_eq!(decode::<VotersChange>(&encode(&change), 1 << 20), Ok(change));
    }
    if let Ok(answer) = decode::<VotersAnswer>(bytes, 1 << 20) {
        assert_eq!(decode::<VotersAnswer>(&encode(&answer), 1 << 20), Ok(answer));
    }
}

fn book_message_seeds() -> Vec<Vec<u8>> {
    let hub: NodeName = "hub-asia".parse().expect("a name");
    vec![
        encode(&VotersChange::Add(hub.clone())),
        encode(&VotersAnswer::NotLeader(Some(hub))),
        encode(&VotersAnswer::Changed { voters: vec!["hub-asia".to_owned()], warning: None }),
    ]
}

pub(super) const TABLE: &str = "iso2,iso3,name,region,income,population,gdp_usd,gdp_year\n\
    AO,AGO,Angola,africa,upper-middle,38984796,80397000000,2024\n\
    KE,KEN,Kenya,africa,lower-middle,56432944,108040000000,2024\n\
    ER,ERI,Eritrea,africa,low,3535603,,\n";

pub(super) fn few() -> &'static Nations {
    static FEW: std::sync::OnceLock<Nations> = std::sync::OnceLock::new();
    FEW.get_or_init(|| Nations::parse(TABLE).expect("a table"))
}

fn fuzz_nations(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(nations) = Nations::parse(text) {
        let _owed: Vec<_> =
            nations.iter().filter_map(|nation| nation.gdp).map(|gdp| rules::owed(gdp.dollars)).collect();
        let _shared = rules::distribute(Amount::cents(1_000_003), &nations);
    }
}

fn nations_seeds() -> Vec<Vec<u8>> {
    vec![TABLE.as_bytes().to_vec()]
}
