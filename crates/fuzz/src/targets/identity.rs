//! Keys, certificates, requests, tokens: what strangers show first.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covenant_identity::{
    Adoption, Denial, Denied, DenyList, IssuingAuthority, JoinToken, NodeGrant, NodeKey, RootAuthority, Scope,
    SignedDenial, TokenBook, TokenDraw, TokenIssuer, TrustedRoots, certificates_from_pem, certificates_to_pem,
    check_csr, check_renewal, fuzz, make_csr, verify_chain,
};
use covenant_types::{NodeId, NodeName, Region, Role, WallTime};

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::new("spiffe", fuzz::fuzz_spiffe, fuzz::spiffe_seeds),
    Target::varying("certificate", fuzz::fuzz_certificate, certificate_seeds),
    Target::varying("csr", fuzz_csr, csr_seeds),
    Target::varying("chain", fuzz_chain, chain_seeds),
    Target::varying("renewal", fuzz_renewal, renewal_seeds),
    Target::varying("roots", fuzz_roots, roots_seeds),
    Target::varying("certificates-pem", fuzz_certificates_pem, certificates_pem_seeds),
    Target::varying("denial", fuzz_denial, denial_seeds),
    Target::varying("deny-list", fuzz_deny_list, deny_list_seeds),
    Target::varying("key-pem", fuzz_key_pem, key_pem_seeds),
    Target::varying("authority-pem", fuzz_authority_pem, authority_pem_seeds),
    Target::varying("join-token", fuzz_join_token, join_token_seeds),
    Target::varying("join-token-body", fuzz_join_token_body, join_token_body_seeds),
    Target::varying("token-book", fuzz_token_book, token_book_seeds),
];

const NOW: WallTime = WallTime(1_790_000_000);

struct Made {
    root: RootAuthority,
    issuing: IssuingAuthority,
    key: NodeKey,
    chain: Vec<Vec<u8>>,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let root = RootAuthority::create("demo", NOW).expect("a root");
        let issuing = root.issue_issuing(NOW).expect("an issuing authority");
        let key = NodeKey::generate();
        let certificate = issuing.sign_node(&make_csr(&key), &grant(), NOW).expect("a certificate");
        let chain = issuing.chain_for(certificate);
        Made { root, issuing, key, chain }
    })
}

fn grant() -> NodeGrant {
    NodeGrant { name: NodeName::new("hub-africa").expect("a name"), role: Role::Hub, region: Region::Africa }
}

fn certificate_seeds() -> Vec<Vec<u8>> {
    made().chain.clone()
}

/// A signing request: whose signature holds is of that key.
fn fuzz_csr(bytes: &[u8]) {
    let _key = check_csr(bytes);
}

fn csr_seeds() -> Vec<Vec<u8>> {
    vec![make_csr(&made().key)]
}

/// Certificates, each after its length. None of them is of our root, so nothing may be believed.
fn fuzz_chain(bytes: &[u8]) {
    static ROOT: OnceLock<Vec<u8>> = OnceLock::new();
    let root = ROOT.get_or_init(|| RootAuthority::create("demo", NOW).expect("a root").certificate().to_vec());
    let chain = pieces(bytes);
    assert!(verify_chain(&chain, &[root], "demo", NOW).is_err(), "a chain of another root was believed");
}

fn chain_seeds() -> Vec<Vec<u8>> {
    vec![joined(&made().chain), joined(&made().chain[..2])]
}

/// The roots of a cluster that has nothing to do with what is made here.
fn strangers_roots() -> &'static TrustedRoots {
    static ROOTS: OnceLock<TrustedRoots> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let root = RootAuthority::create("demo", NOW).expect("a root");
        TrustedRoots::of("demo", root.certificate().to_vec()).expect("a root of the cluster")
    })
}

/// A request and the certificates it is to replace. No issuer of ours signed them, so nothing may be granted.
fn fuzz_renewal(bytes: &[u8]) {
    if let [csr, chain @ ..] = pieces(bytes).as_slice() {
        let granted = check_renewal(chain, csr, strangers_roots(), Scope::Everywhere, NOW);
        assert!(granted.is_err(), "a stranger's certificate was renewed");
    }
}

fn renewal_seeds() -> Vec<Vec<u8>> {
    let request = std::iter::once(make_csr(&made().key));
    vec![joined(&request.chain(made().chain.iter().cloned()).collect::<Vec<_>>())]
}

/// Statements about roots. None is signed by a root that is trusted, so none may change anything.
fn fuzz_roots(bytes: &[u8]) {
    let mut roots = strangers_roots().clone();
    assert!(!matches!(roots.adopt(bytes), Ok(Adoption::New)), "a stranger's root was trusted");
    if let Ok(own) = TrustedRoots::from_own_file("demo", bytes) {
        assert_eq!(own.to_bytes(), bytes, "statements have one form");
    }
}

fn roots_seeds() -> Vec<Vec<u8>> {
    let mut roots = TrustedRoots::of("demo", made().root.certificate().to_vec()).expect("a root of the cluster");
    let next = RootAuthority::create("demo", NOW).expect("a root");
    let prepared = roots.prepare(&made().root, &next, NOW).expect("a statement");
    let adopted = roots.adopt(&prepared);
    assert_eq!(adopted, Ok(Adoption::New));
    vec![roots.to_bytes()]
}

fn joined(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        bytes.extend(u16::try_from(piece.len()).expect("a certificate is short").to_be_bytes());
        bytes.extend(piece);
    }
    bytes
}

fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (piece, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// A denial. Nobody of our root signed it, so nobody is kept out by it.
fn fuzz_denial(bytes: &[u8]) {
    if let Ok(signed) = SignedDenial::parse(bytes) {
        assert_eq!(signed.bytes(), bytes);
        assert!(signed.verify::<Vec<u8>>("demo", &[]).is_err(), "a denial was believed without a root");
    }
}

fn denial_seeds() -> Vec<Vec<u8>> {
    let key = Denied::Key { id: NodeId([9; 16]), grant: Some(grant()) };
    let denial = |who| Denial { who, at: NOW, reason: "its disk was stolen".to_owned(), by: "ada".to_owned() };
    let operator = Denied::Operator("ada".parse().expect("an operator's name"));
    let signed = [key, operator].map(|who| made().issuing.deny(denial(who)).expect("a denial"));
    signed.map(|signed| signed.bytes().to_vec()).into()
}

/// The file of all denials.
fn fuzz_deny_list(bytes: &[u8]) {
    if let Ok(list) = DenyList::from_bytes(bytes) {
        let written = list.to_bytes();
        let again = DenyList::from_bytes(&written).expect("a list is read as it was written");
        assert_eq!((again.to_bytes(), again.digest()), (written, list.digest()));
    }
}

fn deny_list_seeds() -> Vec<Vec<u8>> {
    let mut list = DenyList::new();
    for denial in denial_seeds() {
        let _taken = list.take(SignedDenial::parse(&denial).expect("a denial"));
    }
    vec![list.to_bytes()]
}

fn fuzz_certificates_pem(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(certificates) = certificates_from_pem(text) {
        assert_eq!(certificates_from_pem(&certificates_to_pem(&certificates)), Ok(certificates));
    }
}

fn certificates_pem_seeds() -> Vec<Vec<u8>> {
    vec![certificates_to_pem(&made().chain).into_bytes()]
}

fn fuzz_key_pem(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = NodeKey::from_pem(text) {
        let again = NodeKey::from_pem(&key.to_pem()).expect("a key is read as it was written");
        assert_eq!(again.public_key(), key.public_key());
    }
}

fn key_pem_seeds() -> Vec<Vec<u8>> {
    vec![made().key.to_pem().as_bytes().to_vec()]
}

fn fuzz_authority_pem(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _root = RootAuthority::from_pem(text);
    let _issuing = IssuingAuthority::from_pem(text);
}

fn authority_pem_seeds() -> Vec<Vec<u8>> {
    vec![made().root.to_pem().as_bytes().to_vec(), made().issuing.to_pem().as_bytes().to_vec()]
}

fn token() -> JoinToken {
    let issuer = TokenIssuer {
        cluster: "demo".to_owned(),
        id: NodeId([3; 16]),
        addresses: vec!["127.0.0.1:7700".parse().expect("an address"), "[::1]:7700".parse().expect("an address")],
        root_fingerprint: [4; 32],
    };
    let hour = std::time::Duration::from_secs(3600);
    TokenBook::new().issue(&issuer, grant(), hour, TokenDraw::random(), NOW).expect("a token")
}

/// A token as text. What is read is written the same way.
fn fuzz_join_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.to_text().as_str(), text.trim(), "a token has one form");
    }
}

fn join_token_seeds() -> Vec<Vec<u8>> {
    vec![token().to_text().as_bytes().to_vec()]
}

/// The same, with what stands inside the text.
fn fuzz_join_token_body(bytes: &[u8]) {
    fuzz_join_token(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).as_bytes());
}

fn join_token_body_seeds() -> Vec<Vec<u8>> {
    let text = token().to_text();
    let body = text.strip_prefix(PREFIX).expect("a token has its prefix");
    vec![URL_SAFE_NO_PAD.decode(body).expect("a token is base64")]
}

const PREFIX: &str = "covenant-join-1.";

fn fuzz_token_book(bytes: &[u8]) {
    if let Ok(mut book) = serde_json::from_slice::<TokenBook>(bytes) {
        let _views = book.list(NOW);
        let _expired = book.expire(NOW);
    }
}

fn token_book_seeds() -> Vec<Vec<u8>> {
    let mut book = TokenBook::new();
    let issuer = TokenIssuer {
        cluster: "demo".to_owned(),
        id: NodeId([3; 16]),
        addresses: vec!["127.0.0.1:7700".parse().expect("an address")],
        root_fingerprint: [4; 32],
    };
    let hour = std::time::Duration::from_secs(3600);
    let _token = book.issue(&issuer, grant(), hour, TokenDraw::random(), NOW).expect("a token");
    vec![serde_json::to_vec(&book).expect("a book has a JSON form")]
}
